//! Objects in storage that nothing refers to any more. The API cannot reach storage; whoever can is told of
//! them with the next commit.

use sqlx::AnyConnection;

use super::Sql;
use crate::clock;

/// So many are handed out at a time.
const BATCH: i64 = 50;

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

/// The next ones: they are forgotten here, and the caller deletes them.
pub(crate) async fn take(db: &mut AnyConnection) -> Sql<Vec<String>> {
    let keys: Vec<(String,)> = sqlx::query_as(
        "DELETE FROM discarded_objects WHERE object_key IN \
         (SELECT object_key FROM discarded_objects ORDER BY since, object_key LIMIT $1) RETURNING object_key",
    )
    .bind(BATCH)
    .fetch_all(db)
    .await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}
