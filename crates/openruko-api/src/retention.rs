//! What is kept in storage: by rule, in small steps, each a transaction of its own.
//!
//! A step marks what is not kept any more and puts it on a list; whoever reaches storage deletes what is on the list
//! and says so. So nothing is deleted that a release could still name, whatever dies in between, and whoever else
//! works on the same database.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use sqlx::AnyConnection;

use crate::api::Api;
use crate::clock::{self, Millis};
use crate::places;
use crate::settings::Retention;
use crate::store::retention::{self, Gone, Runnable};
use crate::store::{Sql, apps, discarded, pushes, repos};

/// So many apps, or pushes, are looked at in one transaction.
const STEP: u32 = 20;

/// So many steps are taken of a kind in one go; what is left then is seen to the next time.
const STEPS: u32 = 500;

const DAY: Millis = 24 * 60 * 60 * 1000;

/// What goes by one rule.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Slugs that an app keeps no more.
    Slugs,
    /// Slugs whose apps are gone.
    Unreleased,
    /// Old versions of repositories.
    Repositories,
    /// What pushes left.
    Orphans,
    /// The caches of apps to which nobody pushes.
    Caches,
}

const KINDS: [Kind; 5] = [Kind::Slugs, Kind::Unreleased, Kind::Repositories, Kind::Orphans, Kind::Caches];

/// The rule, at a moment.
#[derive(Clone, Copy)]
struct Rule {
    keep: Retention,
    now: Millis,
}

/// Takes all steps, and gives what is not kept any more.
pub(crate) async fn go(api: &Api) -> Sql<Vec<Gone>> {
    walk(api, true).await
}

/// What [`go`] would give: every step is undone. Two apps may have a slug that neither keeps.
pub(crate) async fn dry_run(api: &Api) -> Sql<Vec<Gone>> {
    let mut seen = BTreeSet::new();
    let mut gone = walk(api, false).await?;
    gone.retain(|gone| seen.insert(gone.key.clone()));
    Ok(gone)
}

/// What may go is looked for without the write lock: nobody waits for that, however much there is. Each step then
/// looks again at what it found, and is short.
async fn walk(api: &Api, for_good: bool) -> Sql<Vec<Gone>> {
    let rule = Rule { keep: api.settings.retention, now: clock::now() };
    let mut all = Vec::new();
    for kind in KINDS {
        let mut after = String::new();
        for _ in 0..STEPS {
            let found = kind.find(&mut *api.store.read().await?, &rule, &after).await?;
            let Some(last) = found.last() else { break };
            after.clone_from(last);
            let mut db = api.store.write().await?;
            let mut gone = Vec::new();
            for id in &found {
                gone.extend(kind.let_go(&mut db, &rule, id).await?);
            }
            let keys: Vec<String> = gone.iter().map(|gone| gone.key.clone()).collect();
            discarded::insert(&mut db, &keys).await?;
            if for_good && !gone.is_empty() {
                db.commit().await?;
            }
            all.append(&mut gone);
        }
    }
    Ok(all)
}

/// From time to time.
pub(crate) async fn tidy(api: &Api) -> Sql<()> {
    let gone = go(api).await?;
    log(&gone);
    if !gone.is_empty() {
        api.storage_due.notify_waiters();
    }
    let (now, listed) = (clock::now(), api.files_listed.load(Ordering::Relaxed));
    if api.settings.storage.are_files() && now - listed > DAY {
        api.files_listed.store(now, Ordering::Relaxed);
        api.files_due.store(true, Ordering::Relaxed);
        api.storage_due.notify_waiters();
    }
    Ok(())
}

pub(crate) fn log(gone: &[Gone]) {
    if !gone.is_empty() {
        let bytes = gone.iter().filter_map(|gone| gone.bytes).sum();
        tracing::info!(
            "storage: {} objects are not kept any more ({})",
            gone.len(),
            ruko_core::message::bytes(bytes)
        );
    }
}

impl Kind {
    /// The next ids, after one, of what may go: of apps, or of the slugs and the pushes themselves.
    async fn find(self, db: &mut AnyConnection, rule: &Rule, after: &str) -> Sql<Vec<String>> {
        let Rule { keep, now } = *rule;
        match self {
            Self::Slugs => retention::apps_with_slugs_beyond(db, keep.releases, after, STEP).await,
            Self::Unreleased => retention::unreleased_slugs(db, after, STEP).await,
            Self::Repositories => retention::apps_with_repos_beyond(db, keep.repositories, after, STEP).await,
            Self::Orphans => retention::unswept(db, now - keep.orphans, after, STEP).await,
            Self::Caches => retention::apps_with_idle_caches(db, now - keep.caches, after, STEP).await,
        }
    }

    /// Lets go what is not kept of one that was found, if that is so still.
    async fn let_go(self, db: &mut AnyConnection, rule: &Rule, id: &str) -> Sql<Vec<Gone>> {
        let Rule { keep, now } = *rule;
        match self {
            Self::Slugs => slugs(db, &keep, id).await,
            Self::Unreleased => Ok(retention::forget_unreleased_slug(db, id).await?.into_iter().collect()),
            Self::Repositories => repositories(db, &keep, id).await,
            Self::Orphans => orphans(db, now - keep.orphans, id).await,
            Self::Caches => cache(db, now - keep.caches, id).await,
        }
    }
}

/// The slugs of an app that no app keeps.
async fn slugs(db: &mut AnyConnection, rule: &Retention, app_id: &str) -> Sql<Vec<Gone>> {
    let runnable = retention::runnable(db, app_id).await?;
    let kept = kept(&runnable, &retention::live_versions(db, app_id).await?, rule.releases);
    let mut gone = Vec::new();
    for slug in runnable.iter().map(|one| &one.slug).collect::<BTreeSet<_>>() {
        if !kept.contains(slug.as_str()) && !another_keeps(db, rule, slug, app_id).await? {
            gone.extend(retention::let_slug_go(db, slug).await?);
        }
    }
    Ok(gone)
}

/// Whether an app to which a slug was promoted, or from which it came, keeps it.
async fn another_keeps(db: &mut AnyConnection, rule: &Retention, slug: &str, app_id: &str) -> Sql<bool> {
    for other in retention::other_apps(db, slug, app_id).await? {
        let runnable = retention::runnable(db, &other).await?;
        if kept(&runnable, &retention::live_versions(db, &other).await?, rule.releases).contains(slug) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The slugs that are kept of an app whose releases, newest first, are these: those that run or are to, and those of
/// the last so many deploys to which it can go back. (A release that changed config vars alone has the slug of the
/// one before it, and counts as that one.)
fn kept<'a>(runnable: &'a [Runnable], live: &BTreeSet<u64>, keep: u32) -> BTreeSet<&'a str> {
    let mut kept = BTreeSet::new();
    for one in runnable.iter().filter(|one| one.wanted) {
        if kept.len() < keep as usize {
            kept.insert(one.slug.as_str());
        }
    }
    kept.extend(runnable.iter().filter(|one| live.contains(&one.version)).map(|one| one.slug.as_str()));
    kept
}

async fn repositories(db: &mut AnyConnection, rule: &Retention, app_id: &str) -> Sql<Vec<Gone>> {
    let Some(app) = apps::find_by_id(db, app_id).await? else { return Ok(Vec::new()) };
    let mut gone = Vec::new();
    for key in repos::retire(db, app_id, app.repo_version, rule.repositories).await? {
        gone.push(Gone { bytes: retention::repo_bytes(db, &key).await?, key });
    }
    Ok(gone)
}

/// What a push stored that ended, or died, before its commit.
async fn orphans(db: &mut AnyConnection, before: Millis, id: &str) -> Sql<Vec<Gone>> {
    let Some((id, keys)) = retention::left_by(db, before, id).await? else { return Ok(Vec::new()) };
    // Written down as lost first: a commit that comes after all is refused then.
    if let Some(push) = pushes::find(db, &id).await? {
        pushes::lose(db, &push).await?;
    }
    retention::swept(db, &id).await?;
    Ok(keys.map(|key| Gone { key, bytes: None }).into())
}

/// The cache of an app to which nobody pushes. The next build makes one with another key, so that it cannot lose it.
async fn cache(db: &mut AnyConnection, before: Millis, app_id: &str) -> Sql<Vec<Gone>> {
    let Some(cache) = retention::idle_cache(db, before, app_id).await? else { return Ok(Vec::new()) };
    apps::throw_cache_away(db, app_id).await?;
    retention::cache_gone(db, app_id).await?;
    Ok(vec![Gone { key: places::cache(app_id, cache), bytes: None }])
}

/// Of objects that were found in storage, and are no longer new, those that nothing refers to are not kept. What has
/// no name of ours is left alone.
pub(crate) async fn judge_found(db: &mut AnyConnection, found: &[String]) -> Sql<Vec<Gone>> {
    let mut gone = Vec::new();
    for key in found {
        let unknown = match places::kind(key) {
            None => false,
            Some(places::Kind::Cache { app_id, thrown_away }) => {
                retention::cache_of(db, app_id).await? != Some(thrown_away)
                    && !retention::is_known(db, key).await?
            }
            Some(places::Kind::OfPush) => !retention::is_known(db, key).await?,
        };
        if unknown {
            gone.push(Gone { key: key.clone(), bytes: None });
        }
    }
    let keys: Vec<String> = gone.iter().map(|gone| gone.key.clone()).collect();
    discarded::insert(db, &keys).await?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version, slug, and `+` where it may be gone back to.
    fn releases(list: &[(u64, &str, char)]) -> Vec<Runnable> {
        let one = |&(version, slug, wanted): &(u64, &str, char)| Runnable {
            version,
            slug: slug.to_owned(),
            wanted: wanted == '+',
        };
        list.iter().map(one).collect()
    }

    fn kept_of(list: &[(u64, &str, char)], live: &[u64], keep: u32) -> String {
        kept(&releases(list), &live.iter().copied().collect(), keep).into_iter().collect()
    }

    #[test]
    fn the_last_deploys_and_whatever_runs_are_kept() {
        let plain = [(9, "d", '+'), (8, "c", '+'), (7, "b", '+'), (6, "a", '+')];
        assert_eq!(kept_of(&plain, &[9], 2), "cd");
        assert_eq!(kept_of(&plain, &[6], 2), "acd", "a host still runs the oldest");
        assert_eq!(kept_of(&plain, &[], 9), "abcd");
        // Config changes make releases of the same slug.
        let config = [(9, "d", '+'), (8, "d", '+'), (7, "d", '+'), (6, "a", '+')];
        assert_eq!(kept_of(&config, &[9], 2), "ad");
        // What failed is nothing to go back to, and takes nobody's place.
        let failed = [(9, "e", '-'), (8, "d", '-'), (7, "b", '+'), (6, "a", '+')];
        assert_eq!(kept_of(&failed, &[7], 2), "ab");
        assert_eq!(kept_of(&failed, &[7, 9], 1), "be", "the newest, on which the next one builds");
        assert_eq!(kept_of(&[], &[1], 3), "");
    }
}
