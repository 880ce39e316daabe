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

/// The latest version before another one that may stay what it is: the release of its push has served, or it has made
/// none. Where its object is gone it is nothing to go back to.
pub(crate) async fn standing_before(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<Option<u64>> {
    let (found,): (Option<i64>,) = sqlx::query_as(
        "SELECT MAX(v.version) FROM repo_versions v WHERE v.app_id = $1 AND v.version < $2 AND v.gone_at IS NULL \
         AND (NOT EXISTS (SELECT 1 FROM releases r WHERE r.app_id = $1 AND r.slug_id = v.push_id) \
          OR EXISTS (SELECT 1 FROM releases r WHERE r.app_id = $1 AND r.slug_id = v.push_id AND r.status = 'succeeded'))",
    )
    .bind(app_id)
    .bind(big(version)?)
    .fetch_one(db)
    .await?;
    found.map(count).transpose()
}

/// Whether a version was made by [`go_back`]: it is what an earlier one is, or nothing.
pub(crate) async fn went_back(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<bool> {
    let (own,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM repo_versions v WHERE v.app_id = $1 AND v.version = $2 AND NOT EXISTS \
         (SELECT 1 FROM repo_versions e WHERE e.app_id = $1 AND e.version < $2 AND e.push_id = v.push_id)",
    )
    .bind(app_id)
    .bind(big(version)?)
    .fetch_one(db)
    .await?;
    Ok(own == 0)
}

/// Makes the version after the current one, which is what an earlier one was: nothing, where there was none. Versions
/// only rise, so that a push that began with the current one is refused.
pub(crate) async fn go_back(db: &mut AnyConnection, app_id: &str, current: u64, to: Option<u64>) -> Sql<()> {
    sqlx::query(
        "INSERT INTO repo_versions (app_id, version, object_key, bytes, sha256, push_id, created_at) \
         SELECT app_id, $1, object_key, bytes, sha256, push_id, $2 FROM repo_versions \
         WHERE app_id = $3 AND version = $4",
    )
    .bind(big(current + 1)?)
    .bind(clock::now())
    .bind(app_id)
    .bind(big(to.unwrap_or(0))?)
    .execute(db)
    .await
    .map(drop)
}

/// Marks the objects of all but the last so many versions as gone, and gives their keys. Kept is an object that a later
/// version still has, since a push was taken back, and the one to which the current version would be.
pub(crate) async fn retire(
    db: &mut AnyConnection,
    app_id: &str,
    current: u64,
    keep: u32,
) -> Sql<Vec<String>> {
    let oldest = (current + 1).saturating_sub(u64::from(keep));
    let standing = standing_before(db, app_id, current).await?.unwrap_or(current);
    let (oldest, standing) = (big(oldest)?, big(standing)?);
    let keys: Vec<(String,)> = sqlx::query_as(
        "SELECT object_key FROM repo_versions WHERE app_id = $1 AND version < $2 AND gone_at IS NULL \
         AND object_key NOT IN (SELECT object_key FROM repo_versions \
          WHERE app_id = $1 AND (version >= $2 OR version = $3)) ORDER BY version",
    )
    .bind(app_id)
    .bind(oldest)
    .bind(standing)
    .fetch_all(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE repo_versions SET gone_at = $1 WHERE app_id = $2 AND version < $3 AND gone_at IS NULL \
         AND object_key NOT IN (SELECT object_key FROM repo_versions \
          WHERE app_id = $2 AND (version >= $3 OR version = $4))",
    )
    .bind(clock::now())
    .bind(app_id)
    .bind(oldest)
    .bind(standing)
    .execute(db)
    .await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}
