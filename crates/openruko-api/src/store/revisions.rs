//! Revisions: each app has one, which rises with whatever changes of what runs or of where requests go. They are
//! counted for all apps together, so that one number says what somebody has seen.
//!
//! Whoever writes such a thing raises it in the same transaction: the functions of this store do so themselves. There
//! is one writer at a time, so that whoever sees a revision sees everything up to it.

use sqlx::AnyConnection;

use super::{Sql, big, count};

const REVISION: &str = "revision";

/// The revision up to which gone apps are forgotten.
const FORGOTTEN: &str = "forgotten";

/// So many gone apps are remembered, for those who ask what changed.
const REMEMBERED: u64 = 10_000;

/// The last one that was given.
pub(crate) async fn current(db: &mut AnyConnection) -> Sql<u64> {
    counter(db, REVISION).await
}

/// Gone apps up to this one are forgotten.
pub(crate) async fn forgotten(db: &mut AnyConnection) -> Sql<u64> {
    counter(db, FORGOTTEN).await
}

async fn counter(db: &mut AnyConnection, name: &str) -> Sql<u64> {
    let found: Option<(i64,)> =
        sqlx::query_as("SELECT value FROM counters WHERE name = $1").bind(name).fetch_optional(db).await?;
    count(found.map_or(0, |(value,)| value))
}

async fn next(db: &mut AnyConnection) -> Sql<u64> {
    let (value,): (i64,) = sqlx::query_as(
        "INSERT INTO counters (name, value) VALUES ($1, 1) \
         ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
    )
    .bind(REVISION)
    .fetch_one(db)
    .await?;
    count(value)
}

/// Something of the app changed. Gives its new revision.
pub(crate) async fn raise(db: &mut AnyConnection, app_id: &str) -> Sql<u64> {
    let revision = next(db).await?;
    sqlx::query("UPDATE apps SET revision = $1 WHERE id = $2")
        .bind(big(revision)?)
        .bind(app_id)
        .execute(db)
        .await?;
    Ok(revision)
}

/// The app goes.
pub(crate) async fn remember_gone(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
    let revision = next(db).await?;
    sqlx::query("INSERT INTO gone_apps (app_id, revision) VALUES ($1, $2)")
        .bind(app_id)
        .bind(big(revision)?)
        .execute(&mut *db)
        .await?;
    forget_beyond(db, REMEMBERED).await
}

/// Forgets all but the last so many.
async fn forget_beyond(db: &mut AnyConnection, kept: u64) -> Sql<()> {
    let last: Option<(i64,)> =
        sqlx::query_as("SELECT revision FROM gone_apps ORDER BY revision DESC LIMIT 1 OFFSET $1")
            .bind(big(kept)?)
            .fetch_optional(&mut *db)
            .await?;
    let Some((last,)) = last else { return Ok(()) };
    sqlx::query("DELETE FROM gone_apps WHERE revision <= $1").bind(last).execute(&mut *db).await?;
    sqlx::query(
        "INSERT INTO counters (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(FORGOTTEN)
    .bind(last)
    .execute(db)
    .await
    .map(drop)
}

/// Ids of apps that went after a revision, up to another one.
pub(crate) async fn gone(db: &mut AnyConnection, after: u64, up_to: u64) -> Sql<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT app_id FROM gone_apps WHERE revision > $1 AND revision <= $2 ORDER BY revision",
    )
    .bind(big(after)?)
    .bind(big(up_to)?)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[test]
    fn only_the_last_of_the_gone_are_remembered_and_what_is_forgotten_is_known() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::in_dir(dir.path()).await;
            let mut db = store.write().await.unwrap();
            assert_eq!(current(&mut db).await.unwrap(), 0);
            for app in ["a", "b", "c"] {
                remember_gone(&mut db, app).await.unwrap();
            }
            assert_eq!((current(&mut db).await.unwrap(), forgotten(&mut db).await.unwrap()), (3, 0));
            forget_beyond(&mut db, 2).await.unwrap();
            assert_eq!(forgotten(&mut db).await.unwrap(), 1);
            assert_eq!(gone(&mut db, 1, 3).await.unwrap(), ["b", "c"]);
            assert_eq!(gone(&mut db, 1, 2).await.unwrap(), ["b"]);
            forget_beyond(&mut db, 2).await.unwrap();
            assert_eq!(forgotten(&mut db).await.unwrap(), 1);
        });
    }
}
