//! How web dynos prove themselves and when they sleep; and whether they do.

use ruko_api_types::host::WebSettings;
use sqlx::AnyConnection;

use super::{Sql, big, count, revisions};
use crate::clock::{self, Millis};

/// The usual ones where nobody said otherwise.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<WebSettings> {
    let row: Option<(Option<String>, Option<i64>, i64)> =
        sqlx::query_as("SELECT check_path, idle_after, force_https FROM web_settings WHERE app_id = $1")
            .bind(app_id)
            .fetch_optional(db)
            .await?;
    let Some((check_path, idle_after, force_https)) = row else { return Ok(WebSettings::default()) };
    Ok(WebSettings {
        check_path,
        idle_after_seconds: idle_after.map(count).transpose()?,
        force_https: force_https != 0,
    })
}

/// An app that is to sleep from now on is as if it had been asked for just now; one that is not, is awake.
pub(crate) async fn set(db: &mut AnyConnection, app_id: &str, settings: &WebSettings) -> Sql<()> {
    let now = clock::now();
    sqlx::query(
        "INSERT INTO web_settings (app_id, check_path, idle_after, force_https, updated_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (app_id) DO UPDATE SET check_path = excluded.check_path, \
         idle_after = excluded.idle_after, force_https = excluded.force_https, updated_at = excluded.updated_at",
    )
    .bind(app_id)
    .bind(settings.check_path.as_deref())
    .bind(settings.idle_after_seconds.map(big).transpose()?)
    .bind(i64::from(settings.force_https))
    .bind(now)
    .execute(&mut *db)
    .await?;
    match settings.idle_after_seconds {
        None => rouse(db, app_id, now).await,
        Some(_) => active(db, app_id, now).await,
    }?;
    revisions::raise(db, app_id).await.map(drop)
}

/// The app was asked for at this moment.
pub(crate) async fn active(db: &mut AnyConnection, app_id: &str, at: Millis) -> Sql<()> {
    sqlx::query("UPDATE apps SET active_at = $1 WHERE id = $2 AND active_at < $1")
        .bind(at)
        .bind(app_id)
        .execute(db)
        .await
        .map(drop)
}

/// The app sleeps no more. Raises no revision: see [`wake`].
pub(crate) async fn rouse(db: &mut AnyConnection, app_id: &str, now: Millis) -> Sql<()> {
    sqlx::query("UPDATE apps SET asleep = 0, active_at = $1 WHERE id = $2")
        .bind(now)
        .bind(app_id)
        .execute(db)
        .await
        .map(drop)
}

/// Somebody asks for the app, asleep or not. `false`: it is not there.
pub(crate) async fn wake(db: &mut AnyConnection, app_id: &str, now: Millis) -> Sql<bool> {
    let found: Option<(i64,)> =
        sqlx::query_as("SELECT asleep FROM apps WHERE id = $1").bind(app_id).fetch_optional(&mut *db).await?;
    let Some((asleep,)) = found else { return Ok(false) };
    rouse(db, app_id, now).await?;
    if asleep != 0 {
        revisions::raise(db, app_id).await?;
    }
    Ok(true)
}

/// Ids of apps that nobody had asked for at a moment as long as they are to stay awake for, and of which no release has
/// to prove itself now.
pub(crate) async fn tired(db: &mut AnyConnection, at: Millis) -> Sql<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT a.id FROM apps a JOIN web_settings w ON w.app_id = a.id \
         JOIN releases r ON r.app_id = a.id AND r.version = a.serving \
         WHERE w.idle_after IS NOT NULL AND a.asleep = 0 AND a.candidate IS NULL AND r.slug_id IS NOT NULL \
         AND a.active_at <= $1 - w.idle_after * 1000",
    )
    .bind(at)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The app sleeps, and no request goes to its dynos from now on.
pub(crate) async fn put_to_sleep(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
    sqlx::query("UPDATE apps SET asleep = 1 WHERE id = $1").bind(app_id).execute(&mut *db).await?;
    sqlx::query("UPDATE dynos SET routed = 0 WHERE app_id = $1").bind(app_id).execute(&mut *db).await?;
    revisions::raise(db, app_id).await.map(drop)
}
