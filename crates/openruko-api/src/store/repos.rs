//! The versions of apps' repositories.

use ruko_api_types::Stored;
use ruko_core::PushId;
use sqlx::AnyConnection;

use super::{Sql, big};
use crate::clock;

/// The object of a version.
pub(crate) async fn object_key(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<Option<String>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT object_key FROM repo_versions WHERE app_id = $1 AND version = $2")
            .bind(app_id)
            .bind(big(version)?)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(key,)| key))
}

pub(crate) async fn insert(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    key: &str,
    stored: &Stored,
    push: &PushId,
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO repo_versions (app_id, version, object_key, bytes, sha256, push_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(app_id)
    .bind(big(version)?)
    .bind(key)
    .bind(big(stored.bytes)?)
    .bind(stored.sha256.as_str())
    .bind(push.as_str())
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// Marks the objects of all versions below `version` as gone, and gives their keys.
pub(crate) async fn retire_below(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<Vec<String>> {
    let keys: Vec<(String,)> = sqlx::query_as(
        "SELECT object_key FROM repo_versions WHERE app_id = $1 AND version < $2 AND gone_at IS NULL \
         ORDER BY version",
    )
    .bind(app_id)
    .bind(big(version)?)
    .fetch_all(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE repo_versions SET gone_at = $1 WHERE app_id = $2 AND version < $3 AND gone_at IS NULL",
    )
    .bind(clock::now())
    .bind(app_id)
    .bind(big(version)?)
    .execute(db)
    .await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}
