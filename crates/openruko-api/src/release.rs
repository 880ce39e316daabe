//! Making releases: whatever changes what an app runs makes a new one, in the transaction of the change.

use ruko_api_types::CommitRelease;
use ruko_core::UserName;
use sqlx::AnyConnection;

use crate::store::releases::{self, NewRelease};
use crate::store::{Sql, apps, config_vars};
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
    let new = NewRelease { version, description, user, slug_id, config_vars: &config_vars };
    releases::insert(db, app_id, new).await?;
    match runs {
        Runs::Nothing => {}
        Runs::Built { built, .. } => releases::insert_process_types(db, app_id, version, built).await?,
        Runs::Same { app_id: from, version: earlier, .. } => {
            releases::copy_process_types(db, (from, earlier), (app_id, version)).await?;
        }
    }
    webhooks::tell_release(db, app_id, version).await?;
    Ok(version)
}

/// A release that runs what the current one does: only something beside it changed.
pub(crate) async fn repeat(
    db: &mut AnyConnection,
    app_id: &str,
    current: u64,
    user: &UserName,
    description: &str,
) -> Sql<u64> {
    let release = releases::find(db, app_id, current).await?.ok_or(sqlx::Error::RowNotFound)?;
    let slug = release.slug.as_ref().map(|slug| slug.id.as_str());
    make(db, app_id, user, description, Runs::Same { slug, app_id, version: current }).await
}

/// A release that runs what an earlier one of the app with this slug ran, and has its config vars. Where
/// these were not recorded, they stay as they are.
pub(crate) async fn back_to(
    db: &mut AnyConnection,
    app_id: &str,
    (slug, earlier): (&str, u64),
    user: &UserName,
) -> Sql<u64> {
    if let Some(vars) = releases::config_vars(db, app_id, earlier).await? {
        config_vars::replace(db, app_id, &vars).await?;
    }
    let runs = Runs::Same { slug: Some(slug), app_id, version: earlier };
    make(db, app_id, user, &format!("Rollback to v{earlier}"), runs).await
}
