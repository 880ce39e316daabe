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

/// So many steps are taken in one go; what is left then is seen to the next time.
const STEPS: u32 = 500;

const DAY: Millis = 24 * 60 * 60 * 1000;

/// How far a go has come.
#[derive(Debug, Default)]
struct Progress {
    /// The app whose slugs were looked at last.
    slugs_after: String,
    slugs_done: bool,
    /// The same of repositories: of some there is one version more that is kept.
    repos_after: String,
    repos_done: bool,
}

/// Takes all steps, and gives what is not kept any more.
pub(crate) async fn go(api: &Api) -> Sql<Vec<Gone>> {
    let (mut progress, mut all) = (Progress::default(), Vec::new());
    for _ in 0..STEPS {
        let mut db = api.store.write().await?;
        let Some(gone) = step(&mut db, &api.settings.retention, &mut progress).await? else { break };
        db.commit().await?;
        all.extend(gone);
    }
    Ok(all)
}

/// What [`go`] would give: done in one transaction, which then comes to nothing.
pub(crate) async fn dry_run(api: &Api) -> Sql<Vec<Gone>> {
    let (mut progress, mut all) = (Progress::default(), Vec::new());
    let mut db = api.store.write().await?;
    for _ in 0..STEPS {
        let Some(gone) = step(&mut db, &api.settings.retention, &mut progress).await? else { break };
        all.extend(gone);
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

/// One step; none when there is nothing left to do.
async fn step(db: &mut AnyConnection, rule: &Retention, progress: &mut Progress) -> Sql<Option<Vec<Gone>>> {
    let gone = match next(db, rule, progress).await? {
        Some(gone) => gone,
        None => return Ok(None),
    };
    let keys: Vec<String> = gone.iter().map(|gone| gone.key.clone()).collect();
    discarded::insert(db, &keys).await?;
    Ok(Some(gone))
}

async fn next(db: &mut AnyConnection, rule: &Retention, progress: &mut Progress) -> Sql<Option<Vec<Gone>>> {
    let now = clock::now();
    if !progress.slugs_done {
        let ids = retention::apps_with_slugs_beyond(db, rule.releases, &progress.slugs_after, STEP).await?;
        let mut gone = Vec::new();
        for id in &ids {
            gone.extend(slugs(db, rule, id).await?);
        }
        match ids.into_iter().next_back() {
            Some(last) => progress.slugs_after = last,
            None => progress.slugs_done = true,
        }
        return Ok(Some(gone));
    }
    let gone = retention::forget_unreleased_slugs(db, STEP).await?;
    if !gone.is_empty() {
        return Ok(Some(gone));
    }
    if !progress.repos_done {
        let beyond =
            retention::apps_with_repos_beyond(db, rule.repositories, &progress.repos_after, STEP).await?;
        let mut keys = Vec::new();
        for (id, version) in &beyond {
            keys.extend(repos::retire(db, id, *version, rule.repositories).await?);
        }
        match beyond.into_iter().next_back() {
            Some((last, _)) => progress.repos_after = last,
            None => progress.repos_done = true,
        }
        return Ok(Some(with_sizes(db, keys).await?));
    }
    let orphans = orphans(db, now - rule.orphans).await?;
    if !orphans.is_empty() {
        return Ok(Some(orphans));
    }
    let caches = caches(db, now - rule.caches).await?;
    Ok(if caches.is_empty() { None } else { Some(caches) })
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

async fn with_sizes(db: &mut AnyConnection, keys: Vec<String>) -> Sql<Vec<Gone>> {
    let mut gone = Vec::new();
    for key in keys {
        gone.push(Gone { bytes: retention::repo_bytes(db, &key).await?, key });
    }
    Ok(gone)
}

/// What pushes stored that ended, or died, before their commit.
async fn orphans(db: &mut AnyConnection, before: Millis) -> Sql<Vec<Gone>> {
    let mut gone = Vec::new();
    for (id, keys) in retention::unswept(db, before, STEP).await? {
        // Written down as lost first: a commit that comes after all is refused then.
        if let Some(push) = pushes::find(db, &id).await? {
            pushes::lose(db, &push).await?;
        }
        retention::swept(db, &id).await?;
        gone.extend(keys.map(|key| Gone { key, bytes: None }));
    }
    Ok(gone)
}

/// The caches of apps to which nobody pushes. The next build makes one with another key, so that it cannot lose it.
async fn caches(db: &mut AnyConnection, before: Millis) -> Sql<Vec<Gone>> {
    let mut gone = Vec::new();
    for (id, cache) in retention::apps_with_idle_caches(db, before, STEP).await? {
        apps::throw_cache_away(db, &id).await?;
        retention::cache_gone(db, &id).await?;
        gone.push(Gone { key: places::cache(&id, cache), bytes: None });
    }
    Ok(gone)
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
