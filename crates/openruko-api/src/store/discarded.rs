//! Objects in storage that nothing refers to any more, until they are deleted there. The API reaches no storage;
//! whoever does is told of them, and says when they are gone.

use sqlx::AnyConnection;

use super::{Sql, count};
use crate::clock::{self, Millis};

/// So many are handed out at a time.
const BATCH: i64 = 20;

/// So long somebody who was told of an object may take to delete it. Then another is told.
const AGAIN: Millis = 5 * 60 * 1000;

pub(crate) async fn insert(db: &mut AnyConnection, keys: &[String]) -> Sql<()> {
    for key in keys {
        sqlx::query(
            "INSERT INTO discarded_objects (object_key, since) VALUES ($1, $2) \
             ON CONFLICT (object_key) DO NOTHING",
        )
        .bind(key.as_str())
        .bind(clock::now())
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// The next ones. Whatever else went wrong: nothing that is kept is ever among them.
pub(crate) async fn hand_out(db: &mut AnyConnection) -> Sql<Vec<String>> {
    let now = clock::now();
    let keys: Vec<(String,)> = sqlx::query_as(
        "UPDATE discarded_objects SET handed_at = $1 WHERE object_key IN \
         (SELECT d.object_key FROM discarded_objects d WHERE (d.handed_at IS NULL OR d.handed_at < $2) \
          AND NOT EXISTS (SELECT 1 FROM slugs s WHERE s.object_key = d.object_key AND s.gone_at IS NULL) \
          AND NOT EXISTS (SELECT 1 FROM repo_versions v WHERE v.object_key = d.object_key AND v.gone_at IS NULL) \
          ORDER BY d.since, d.object_key LIMIT $3) RETURNING object_key",
    )
    .bind(now)
    .bind(now - AGAIN)
    .bind(BATCH)
    .fetch_all(db)
    .await?;
    let mut keys: Vec<String> = keys.into_iter().map(|(key,)| key).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// They are deleted.
pub(crate) async fn forget(db: &mut AnyConnection, keys: &[String]) -> Sql<()> {
    for key in keys {
        sqlx::query("DELETE FROM discarded_objects WHERE object_key = $1")
            .bind(key.as_str())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// How many there are.
pub(crate) async fn waiting(db: &mut AnyConnection) -> Sql<u64> {
    let (waiting,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM discarded_objects").fetch_one(db).await?;
    count(waiting)
}
