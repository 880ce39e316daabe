//! What there is in storage by the database, and what of it is not kept.

use std::collections::BTreeSet;

use ruko_api_types::host::ReleaseStatus;
use ruko_core::{AppName, PushId};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::releases::status_word;
use super::{Sql, count, parsed};
use crate::clock::{self, Millis};

/// An object that is not kept any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) key: String,
    /// None where it is not known, nor whether there is any.
    pub(crate) bytes: Option<u64>,
}

/// A release with a slug that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runnable {
    pub(crate) version: u64,
    pub(crate) slug: String,
    /// It may be gone back to, or is to serve yet.
    pub(crate) wanted: bool,
}

/// Apps whose releases have more than so many different slugs.
pub(crate) async fn apps_with_slugs_beyond(
    db: &mut AnyConnection,
    keep: u32,
    after: &str,
    limit: u32,
) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> = sqlx::query_as(
        "SELECT r.app_id FROM releases r JOIN slugs s ON s.id = r.slug_id WHERE s.gone_at IS NULL \
         AND r.app_id > $1 GROUP BY r.app_id HAVING COUNT(DISTINCT r.slug_id) > $2 ORDER BY r.app_id LIMIT $3",
    )
    .bind(after)
    .bind(i64::from(keep))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// The releases of an app whose slugs are there, newest first.
pub(crate) async fn runnable(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<Runnable>> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT r.version, r.slug_id, r.status FROM releases r JOIN slugs s ON s.id = r.slug_id \
         WHERE r.app_id = $1 AND s.gone_at IS NULL ORDER BY r.version DESC",
    )
    .bind(app_id)
    .fetch_all(db)
    .await?;
    let wanted = [ReleaseStatus::Succeeded, ReleaseStatus::Pending].map(status_word);
    rows.into_iter()
        .map(|(version, slug, status)| {
            Ok(Runnable { version: count(version)?, slug, wanted: wanted.contains(&status.as_str()) })
        })
        .collect()
}

/// Selects the versions of an app (`$1`) that [`live_versions`] gives, each as `version`, and perhaps NULL.
pub(super) const LIVE: &str = "SELECT serving AS version FROM apps WHERE id = $1 \
     UNION SELECT candidate FROM apps WHERE id = $1 UNION SELECT release FROM apps WHERE id = $1 UNION SELECT release FROM dynos WHERE app_id = $1 \
     UNION SELECT release FROM one_offs WHERE app_id = $1";

/// The versions that run, are to run, or that the next release builds on: whatever the rule says, they stay.
pub(crate) async fn live_versions(db: &mut AnyConnection, app_id: &str) -> Sql<BTreeSet<u64>> {
    let rows: Vec<(Option<i64>,)> = sqlx::query_as(LIVE).bind(app_id).fetch_all(db).await?;
    rows.into_iter().filter_map(|(version,)| version).map(count).collect()
}

/// The other apps that have released a slug.
pub(crate) async fn other_apps(db: &mut AnyConnection, slug: &str, app_id: &str) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> =
        sqlx::query_as("SELECT DISTINCT app_id FROM releases WHERE slug_id = $1 AND app_id <> $2")
            .bind(slug)
            .bind(app_id)
            .fetch_all(db)
            .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// A slug is not kept any more: its record stays, since releases refer to it.
pub(crate) async fn let_slug_go(db: &mut AnyConnection, slug: &str) -> Sql<Option<Gone>> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "UPDATE slugs SET gone_at = $1 WHERE id = $2 AND gone_at IS NULL RETURNING object_key, bytes",
    )
    .bind(clock::now())
    .bind(slug)
    .fetch_optional(db)
    .await?;
    row.map(|(key, bytes)| Ok(Gone { key, bytes: Some(count(bytes)?) })).transpose()
}

/// Slugs that no release has: those whose apps are gone.
pub(crate) async fn unreleased_slugs(db: &mut AnyConnection, after: &str, limit: u32) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> = sqlx::query_as(
        "SELECT s.id FROM slugs s WHERE s.id > $1 AND NOT EXISTS \
         (SELECT 1 FROM releases r WHERE r.slug_id = s.id) ORDER BY s.id LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Forgets one of them; none when a release has it.
pub(crate) async fn forget_unreleased_slug(db: &mut AnyConnection, id: &str) -> Sql<Option<Gone>> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "DELETE FROM slugs WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM releases r WHERE r.slug_id = $1) \
         RETURNING object_key, bytes",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.map(|(key, bytes)| Ok(Gone { key, bytes: Some(count(bytes)?) })).transpose()
}

/// Apps that have more than so many versions of their repository.
pub(crate) async fn apps_with_repos_beyond(
    db: &mut AnyConnection,
    keep: u32,
    after: &str,
    limit: u32,
) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> = sqlx::query_as(
        "SELECT a.id FROM apps a WHERE a.id > $2 AND EXISTS (SELECT 1 FROM repo_versions v \
         WHERE v.app_id = a.id AND v.gone_at IS NULL AND v.version <= a.repo_version - $1 AND NOT EXISTS \
         (SELECT 1 FROM repo_versions l WHERE l.app_id = a.id AND l.version > a.repo_version - $1 \
          AND l.object_key = v.object_key)) ORDER BY a.id LIMIT $3",
    )
    .bind(i64::from(keep))
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// The condition on a push that ended before a moment (`$1`) without a commit, and may have stored something.
const UNSWEPT: &str = "swept = 0 AND status <> 'succeeded' \
     AND ((status IN ('failed', 'lost') AND ended_at < $1) OR (status = 'pending' AND lease_ends < $1))";

/// Pushes that ended before a moment without a commit, and may have stored something.
pub(crate) async fn unswept(
    db: &mut AnyConnection,
    before: Millis,
    after: &str,
    limit: u32,
) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT id FROM pushes WHERE {UNSWEPT} AND id > $2 ORDER BY id LIMIT $3"
    )))
    .bind(before)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Where one of them may have stored something; none if it is none of them.
pub(crate) async fn left_by(
    db: &mut AnyConnection,
    before: Millis,
    id: &str,
) -> Sql<Option<(PushId, [String; 2])>> {
    let row: Option<(String, String, String)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT id, repo_key, slug_key FROM pushes WHERE {UNSWEPT} AND id = $2"
    )))
    .bind(before)
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.map(|(id, repo, slug)| Ok((parsed(id)?, [repo, slug]))).transpose()
}

/// What a push may have stored was seen to.
pub(crate) async fn swept(db: &mut AnyConnection, id: &PushId) -> Sql<()> {
    sqlx::query("UPDATE pushes SET swept = 1 WHERE id = $1").bind(id.as_str()).execute(db).await.map(drop)
}

/// Where pushes of an app that were not committed may have stored something.
pub(crate) async fn uncommitted_of(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<String>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT repo_key, slug_key FROM pushes WHERE app_id = $1 AND swept = 0 AND status <> 'succeeded'",
    )
    .bind(app_id)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().flat_map(|(repo, slug)| [repo, slug]).collect())
}

/// Where the versions of an app's repository are that are there.
pub(crate) async fn repos_of(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<String>> {
    let keys: Vec<(String,)> =
        sqlx::query_as("SELECT DISTINCT object_key FROM repo_versions WHERE app_id = $1 AND gone_at IS NULL")
            .bind(app_id)
            .fetch_all(db)
            .await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}

/// Selects from the apps `a` to which nobody has pushed since a moment (`$1`), and whose cache was not let go since
/// then. The ids of pushes rise with time.
const IDLE: &str = "FROM (SELECT a.id, a.cache, a.cache_gone_at, (SELECT p.created_at FROM pushes p \
     WHERE p.app_id = a.id ORDER BY p.id DESC LIMIT 1) AS latest FROM apps a) a \
     WHERE a.latest < $1 AND (a.cache_gone_at IS NULL OR a.cache_gone_at < a.latest)";

/// Apps to which nobody has pushed since a moment, and whose cache was not let go since then.
pub(crate) async fn apps_with_idle_caches(
    db: &mut AnyConnection,
    before: Millis,
    after: &str,
    limit: u32,
) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> =
        sqlx::query_as(AssertSqlSafe(format!("SELECT a.id {IDLE} AND a.id > $2 ORDER BY a.id LIMIT $3")))
            .bind(before)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(db)
            .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// Which cache one of them has; none if it is none of them.
pub(crate) async fn idle_cache(db: &mut AnyConnection, before: Millis, app_id: &str) -> Sql<Option<u64>> {
    let row: Option<(i64,)> = sqlx::query_as(AssertSqlSafe(format!("SELECT a.cache {IDLE} AND a.id = $2")))
        .bind(before)
        .bind(app_id)
        .fetch_optional(db)
        .await?;
    row.map(|(cache,)| count(cache)).transpose()
}

/// The app's cache was let go.
pub(crate) async fn cache_gone(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
    sqlx::query("UPDATE apps SET cache_gone_at = $1 WHERE id = $2")
        .bind(clock::now())
        .bind(app_id)
        .execute(db)
        .await
        .map(drop)
}

/// Whether anything refers to an object: a slug, a version of a repository, a push that has not ended; or whether it
/// waits to be deleted already.
pub(crate) async fn is_known(db: &mut AnyConnection, key: &str) -> Sql<bool> {
    let known: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM slugs WHERE object_key = $1 AND gone_at IS NULL \
         UNION ALL SELECT 1 FROM repo_versions WHERE object_key = $1 AND gone_at IS NULL \
         UNION ALL SELECT 1 FROM discarded_objects WHERE object_key = $1 \
         UNION ALL SELECT 1 FROM pushes WHERE status IN ('queued', 'pending') \
         AND (repo_key = $1 OR slug_key = $1) LIMIT 1",
    )
    .bind(key)
    .fetch_optional(db)
    .await?;
    Ok(known.is_some())
}

/// Which cache an app has; none if there is no such app.
pub(crate) async fn cache_of(db: &mut AnyConnection, app_id: &str) -> Sql<Option<u64>> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT cache FROM apps WHERE id = $1").bind(app_id).fetch_optional(db).await?;
    row.map(|(cache,)| count(cache)).transpose()
}

/// What an app has in storage.
pub(crate) struct Usage {
    pub(crate) app: AppName,
    pub(crate) slugs: (u64, u64),
    pub(crate) repos: (u64, u64),
}

/// Of each app: number and bytes of slugs that were built for it, and of the versions of its repository. A version
/// that was gone back to is counted once.
pub(crate) async fn usage(db: &mut AnyConnection) -> Sql<Vec<Usage>> {
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT a.name, \
         (SELECT COUNT(*) FROM slugs s WHERE s.app_id = a.id AND s.gone_at IS NULL), \
         (SELECT CAST(COALESCE(SUM(s.bytes), 0) AS BIGINT) FROM slugs s WHERE s.app_id = a.id AND s.gone_at IS NULL), \
         (SELECT COUNT(DISTINCT v.object_key) FROM repo_versions v WHERE v.app_id = a.id AND v.gone_at IS NULL), \
         (SELECT CAST(COALESCE(SUM(u.bytes), 0) AS BIGINT) FROM (SELECT DISTINCT v.object_key, v.bytes \
          FROM repo_versions v WHERE v.app_id = a.id AND v.gone_at IS NULL) u) \
         FROM apps a ORDER BY a.name",
    )
    .fetch_all(db)
    .await?;
    let usage = |(app, slugs, slug_bytes, repos, repo_bytes): (String, i64, i64, i64, i64)| {
        Ok(Usage {
            app: parsed(app)?,
            slugs: (count(slugs)?, count(slug_bytes)?),
            repos: (count(repos)?, count(repo_bytes)?),
        })
    };
    rows.into_iter().map(usage).collect()
}

/// The size of a version of a repository.
pub(crate) async fn repo_bytes(db: &mut AnyConnection, key: &str) -> Sql<Option<u64>> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT bytes FROM repo_versions WHERE object_key = $1 LIMIT 1")
        .bind(key)
        .fetch_optional(db)
        .await?;
    row.map(|(bytes,)| count(bytes)).transpose()
}
