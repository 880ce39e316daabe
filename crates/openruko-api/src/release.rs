//! Making releases: whatever changes what an app runs makes a new one, in the transaction of the change.
//!
//! Where a host runs dynos, a release with something to run has to prove itself: it is the app's candidate, and what
//! served before goes on serving until the host says that requests go to the new dynos ([`serve`]), or that it came
//! to nothing ([`fail`]). A newer candidate takes its place. Elsewhere a release serves at once.

use std::collections::BTreeMap;

use ruko_api_types::CommitRelease;
use ruko_api_types::host::ReleaseStatus;
use ruko_core::{ConfigVarName, UserName};
use sqlx::AnyConnection;

use crate::clock;
use crate::settings::Settings;
use crate::store::apps::AppRow;
use crate::store::releases::{self, NewRelease};
use crate::store::{Sql, apps, config_vars, repos, web};
use crate::webhooks;

/// What the new release runs.
pub(crate) enum Runs<'a> {
    /// Nothing yet: the app was just created.
    Nothing,
    /// What a push built: the slug of that id.
    Built { slug: &'a str, built: &'a CommitRelease },
    /// What an earlier release runs, perhaps another app's.
    Same { slug: Option<&'a str>, app_id: &'a str, version: u64 },
}

/// Makes the app's next release, with its config vars as they are in this transaction, and gives its version.
pub(crate) async fn make(
    db: &mut AnyConnection,
    settings: &Settings,
    app_id: &str,
    user: &UserName,
    description: &str,
    runs: Runs<'_>,
) -> Sql<u64> {
    let version = apps::next_release(db, app_id).await?;
    let config_vars = config_vars::of_app(db, app_id).await?;
    let slug_id = match &runs {
        Runs::Nothing => None,
        Runs::Built { slug, .. } => Some(*slug),
        Runs::Same { slug, .. } => *slug,
    };
    let proves = settings.runs_dynos && slug_id.is_some();
    let status = if proves { ReleaseStatus::Pending } else { ReleaseStatus::Succeeded };
    expire_candidate(db, app_id).await?;
    let new = NewRelease { version, description, user, slug_id, status, config_vars: &config_vars };
    releases::insert(db, app_id, new).await?;
    match runs {
        Runs::Nothing => {}
        Runs::Built { built, .. } => releases::insert_process_types(db, app_id, version, built).await?,
        Runs::Same { app_id: from, version: earlier, .. } => {
            releases::copy_process_types(db, (from, earlier), (app_id, version)).await?;
        }
    }
    match proves {
        true => {
            releases::note_phase(db, app_id, version).await?;
            releases::forget_old_output(db, app_id, version).await?;
            apps::set_candidate(db, app_id, Some(version)).await?;
            // Its dynos start beside the others.
            web::rouse(db, app_id, clock::now()).await?;
        }
        false => apps::serve(db, app_id, version).await?,
    }
    releases::forget_old(db, app_id, version).await?;
    webhooks::tell_release(db, app_id, version, "create").await?;
    Ok(version)
}

/// A candidate that is there has been overtaken.
async fn expire_candidate(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
    let app = apps::by_id(db, app_id).await?;
    let Some(version) = app.candidate else { return Ok(()) };
    releases::end(db, app_id, version, ReleaseStatus::Expired, None).await?;
    webhooks::tell_release(db, app_id, version, "update").await
}

/// The candidate serves from now on.
pub(crate) async fn serve(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<()> {
    follow_push(db, app_id, version, true).await?;
    releases::end(db, app_id, version, ReleaseStatus::Succeeded, None).await?;
    apps::serve(db, app_id, version).await?;
    webhooks::tell_release(db, app_id, version, "update").await
}

/// The candidate did not prove itself: what served goes on serving, and the push that made it is taken back.
pub(crate) async fn fail(db: &mut AnyConnection, app_id: &str, version: u64, reason: &str) -> Sql<()> {
    releases::end(db, app_id, version, ReleaseStatus::Failed, Some(reason)).await?;
    apps::set_candidate(db, app_id, None).await?;
    follow_push(db, app_id, version, false).await?;
    webhooks::tell_release(db, app_id, version, "update").await
}

/// The repository is that of the push whose slug serves for the first time, where it was taken back; or goes back to
/// before the one whose slug never did: git would say "Everything up-to-date" over code that never went live. Where
/// other pushes came since, it stays as it is.
async fn follow_push(db: &mut AnyConnection, app_id: &str, version: u64, serves: bool) -> Sql<()> {
    let release = releases::find(db, app_id, version).await?;
    let Some(slug) = release.and_then(|release| release.slug) else { return Ok(()) };
    if releases::has_served(db, app_id, &slug.id).await? {
        return Ok(());
    }
    let current = apps::by_id(db, app_id).await?.repo_version;
    // A slug has the id of the push that made it. Of one that was taken back the version is the one before.
    let of_push = if serves { current.saturating_sub(1) } else { current };
    if repos::push_of(db, app_id, of_push).await?.as_deref() != Some(slug.id.as_str()) {
        return Ok(());
    }
    let to = match serves {
        true if repos::went_back(db, app_id, current).await? => Some(of_push),
        true => return Ok(()),
        false => repos::standing_before(db, app_id, current).await?,
    };
    repos::go_back(db, app_id, current, to).await?;
    apps::swap_repo_version(db, app_id, current, current + 1).await.map(drop)
}

/// Where no host runs dynos any more nobody would ever judge the candidates that are left: they serve.
pub(crate) async fn settle(db: &mut AnyConnection) -> Sql<()> {
    for (app_id, version) in releases::pending(db).await? {
        serve(db, &app_id, version).await?;
    }
    Ok(())
}

/// A release that runs what the last one does ([`AppRow::base`]): only something beside it changed.
pub(crate) async fn repeat(
    db: &mut AnyConnection,
    settings: &Settings,
    app: &AppRow,
    user: &UserName,
    description: &str,
) -> Sql<u64> {
    let (app_id, base) = (app.id.as_str(), app.base());
    let release = releases::find(db, app_id, base).await?.ok_or(sqlx::Error::RowNotFound)?;
    let slug = release.slug.as_ref().map(|slug| slug.id.as_str());
    make(db, settings, app_id, user, description, Runs::Same { slug, app_id, version: base }).await
}

/// A release that runs what an earlier one of the app with this slug ran, and has its config vars.
pub(crate) async fn back_to(
    db: &mut AnyConnection,
    settings: &Settings,
    app_id: &str,
    (slug, earlier): (&str, u64),
    vars: &BTreeMap<ConfigVarName, String>,
    user: &UserName,
) -> Sql<u64> {
    config_vars::replace(db, app_id, vars).await?;
    let runs = Runs::Same { slug: Some(slug), app_id, version: earlier };
    make(db, settings, app_id, user, &format!("Rollback to v{earlier}"), runs).await
}
