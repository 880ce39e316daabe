//! The commit of a push: repository version, slug and release, all or nothing.

use axum::Json;
use axum::extract::State;
use ruko_api_types::{BuildStatus, Commit, CommitRelease, Committed, Stored, Tarball};
use ruko_core::PushId;
use sqlx::AnyConnection;

use super::pushes::{Outcome, lease_lost, log_end, push_named, write_down_if_lost};
use super::to_the_end;
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::judge;
use crate::release::{self, Runs};
use crate::store::apps::AppRow;
use crate::store::pushes::{self, PushRow};
use crate::store::{apps, builds, discarded, repos, slugs};
use crate::webhooks;

/// `POST /internal/pushes/{id}/commit`
pub(crate) async fn create(
    State(api): State<Api>,
    At(id): At<PushId>,
    Body(commit): Body<Commit>,
) -> Answer<Json<Committed>> {
    judge::commit(&commit, &api.settings)?;
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let push = push_named(&mut db, &id).await?;
        if let Some(answer) = push.answer()? {
            return Ok(Json(answer));
        }
        let now = clock::now();
        if push.status(now) != BuildStatus::Pending {
            write_down_if_lost(&api, db, &push, now).await?;
            return Err(lease_lost(&push, now));
        }
        let app = apps::by_id(&mut db, &push.app_id).await?;
        let answer = carry_out(&mut db, &api, &push, &app, &commit).await?;
        db.commit().await?;
        log_end(&push, &app.name, &Outcome::Committed(answer.release));
        api.tell_push_ended();
        api.storage_due.notify_waiters();
        Ok(Json(answer))
    })
    .await
}

async fn carry_out(
    db: &mut AnyConnection,
    api: &Api,
    push: &PushRow,
    app: &AppRow,
    commit: &Commit,
) -> Answer<Committed> {
    let wanted = builds::wanted(db, &push.id).await?;
    if commit.base_version != app.repo_version {
        return Err(repo_moved(app, commit));
    }
    let repo_version = match (&commit.repo, &wanted) {
        (Some(repo), None) => {
            store_repo(db, api, push, app, commit, repo).await?;
            app.repo_version + 1
        }
        (None, Some(_)) => app.repo_version,
        (Some(_), Some(_)) => return Err(ApiFault::invalid("The build of a tarball stores no repository.")),
        (None, None) => return Err(ApiFault::invalid("A push stores a repository.")),
    };
    let tarball = wanted.as_ref().map(|wanted| &wanted.tarball);
    let release = match &commit.release {
        Some(built) => Some(release(db, api, push, app, built, tarball).await?),
        None => None,
    };
    let answer = Committed { repo_version, release, web_url: api.settings.web_url(&app.name) };
    pushes::succeed(db, &push.id, &commit.refs, &answer).await?;
    if answer.release.is_some() {
        webhooks::tell_build(db, push, answer.release).await?;
    }
    Ok(answer)
}

fn repo_moved(app: &AppRow, commit: &Commit) -> ApiFault {
    let (name, is, was) = (&app.name, app.repo_version, commit.base_version);
    let message = format!("The repository of `{name}` is at version {is}, the push began with {was}.");
    ApiFault::conflict("repo_moved", message)
}

/// Makes what was stored the app's repository. The previous version is always kept: a fetch that began before this
/// commit still reads it.
async fn store_repo(
    db: &mut AnyConnection,
    api: &Api,
    push: &PushRow,
    app: &AppRow,
    commit: &Commit,
    repo: &Stored,
) -> Answer<()> {
    let version = app.repo_version + 1;
    if !apps::swap_repo_version(db, &app.id, app.repo_version, version).await? {
        return Err(repo_moved(app, commit));
    }
    repos::insert(db, &app.id, version, &push.repo_key, repo, &push.id).await?;
    let retired = repos::retire(db, &app.id, version, api.settings.retention.repositories).await?;
    Ok(discarded::insert(db, &retired).await?)
}

async fn release(
    db: &mut AnyConnection,
    api: &Api,
    push: &PushRow,
    app: &AppRow,
    built: &CommitRelease,
    tarball: Option<&Tarball>,
) -> Answer<u64> {
    slugs::insert(db, &app.id, &push.id, &push.slug_key, built, tarball).await?;
    let runs = Runs::Built { slug: push.id.as_str(), built };
    let description = description(built, tarball);
    Ok(release::make(db, &api.settings, &app.id, &push.user, &description, runs).await?)
}

/// As Heroku words it: the commit's first digits, or what the tarball is called.
fn description(built: &CommitRelease, tarball: Option<&Tarball>) -> String {
    let short = built.manifest.head.as_ref().map(|head| head.commit.as_str().chars().take(8).collect());
    match short.or_else(|| tarball.and_then(|tarball| tarball.version.clone())) {
        Some(version) => format!("Deploy {version}"),
        None => "Deploy".to_owned(),
    }
}
