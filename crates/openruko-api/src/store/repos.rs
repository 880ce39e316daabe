//! The versions of apps' repositories.

use ruko_api_types::Stored;
use ruko_core::PushId;
use sqlx::AnyConnection;

use super::{Sql, big, count};
use crate::clock;

/// The object of a version, and what was stored there.
pub(crate) async fn object(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
) -> Sql<Option<(String, Stored)>> {
    let row: Option<(String, i64, String)> = sqlx::query_as(
        "SELECT object_key, bytes, sha256 FROM repo_versions WHERE app_id = $1 AND version = $2",
    )
    .bind(app_id)
    .bind(big(version)?)
    .fetch_optional(db)
    .await?;
    row.map(|(key, bytes, sha256)| Ok((key, Stored { bytes: count(bytes)?, sha256 }))).transpose()
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

/// The push that made a version.
pub(crate) async fn push_of(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<Option<String>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT push_id FROM repo_versions WHERE app_id = $1 AND version = $2")
            .bind(app_id)
            .bind(big(version)?)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(push,)| push))
}

/// Makes the version after this one, which is what the one before it was: nothing, where there was none. Versions only
/// rise, so that a push that began with this one is refused.
pub(crate) async fn step_back(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<()> {
    sqlx::query(
        "INSERT INTO repo_versions (app_id, version, object_key, bytes, sha256, push_id, created_at) \
         SELECT app_id, $1, object_key, bytes, sha256, push_id, $2 FROM repo_versions \
         WHERE app_id = $3 AND version = $4",
    )
    .bind(big(version + 1)?)
    .bind(clock::now())
    .bind(app_id)
    .bind(big(version.saturating_sub(1))?)
    .execute(db)
    .await
    .map(drop)
}

/// Marks the objects of all versions below `version` as gone, and gives their keys. An object that a later version
/// still has, since a push was taken back, is kept.
pub(crate) async fn retire_below(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<Vec<String>> {
    let keys: Vec<(String,)> = sqlx::query_as(
        "SELECT object_key FROM repo_versions WHERE app_id = $1 AND version < $2 AND gone_at IS NULL \
         AND object_key NOT IN (SELECT object_key FROM repo_versions WHERE app_id = $1 AND version >= $2) \
         ORDER BY version",
    )
    .bind(app_id)
    .bind(big(version)?)
    .fetch_all(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE repo_versions SET gone_at = $1 WHERE app_id = $2 AND version < $3 AND gone_at IS NULL \
         AND object_key NOT IN (SELECT object_key FROM repo_versions WHERE app_id = $2 AND version >= $3)",
    )
    .bind(clock::now())
    .bind(app_id)
    .bind(big(version)?)
    .execute(db)
    .await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}
