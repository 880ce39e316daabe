//! Slugs, releases and their process types.

use std::collections::{BTreeMap, BTreeSet};

use ruko_api_types::{CommitRelease, Release, Stored};
use ruko_core::{ProcessType, PushId, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, big, count, parsed};
use crate::clock;

/// A release, and the key of its slug in storage.
pub(crate) struct ReleaseRow {
    pub(crate) release: Release,
    pub(crate) slug_key: String,
}

impl FromRow<'_, AnyRow> for ReleaseRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let release = Release {
            version: count(row.try_get("version")?)?,
            description: row.try_get("description")?,
            user: parsed(row.try_get("user_name")?)?,
            created_at: clock::rfc3339(row.try_get("created_at")?),
            commit: Some(parsed(row.try_get("commit_id")?)?),
            buildpack: Some(row.try_get("buildpack")?),
            process_types: BTreeMap::new(),
            slug_url: None,
            slug: Some(Stored { bytes: count(row.try_get("bytes")?)?, sha256: row.try_get("sha256")? }),
        };
        Ok(Self { release, slug_key: row.try_get("object_key")? })
    }
}

/// Newest first, with their process types.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str, limit: u32) -> Sql<Vec<ReleaseRow>> {
    let mut rows: Vec<ReleaseRow> = sqlx::query_as(
        "SELECT r.version, r.description, r.user_name, r.created_at, s.commit_id, s.buildpack, s.bytes, \
         s.sha256, s.object_key FROM releases r JOIN slugs s ON s.id = r.slug_id WHERE r.app_id = $1 \
         ORDER BY r.version DESC LIMIT $2",
    )
    .bind(app_id)
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let oldest = rows.last().map_or(0, |row| row.release.version);
    let mut types = process_types(db, app_id, oldest).await?;
    for row in &mut rows {
        row.release.process_types = types.remove(&row.release.version).unwrap_or_default();
    }
    Ok(rows)
}

type ProcessTypes = BTreeMap<ProcessType, String>;

/// By version, from a version on.
async fn process_types(db: &mut AnyConnection, app_id: &str, from: u64) -> Sql<BTreeMap<u64, ProcessTypes>> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT version, name, command FROM process_types WHERE app_id = $1 AND version >= $2",
    )
    .bind(app_id)
    .bind(big(from)?)
    .fetch_all(db)
    .await?;
    let mut by_version: BTreeMap<u64, ProcessTypes> = BTreeMap::new();
    for (version, name, command) in rows {
        by_version.entry(count(version)?).or_default().insert(parsed(name)?, command);
    }
    Ok(by_version)
}

/// The slug that a push made. Its id is the push's.
pub(crate) async fn insert_slug(
    db: &mut AnyConnection,
    app_id: &str,
    push: &PushId,
    key: &str,
    built: &CommitRelease,
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO slugs (id, app_id, object_key, bytes, sha256, commit_id, branch, buildpack, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(push.as_str())
    .bind(app_id)
    .bind(key)
    .bind(big(built.slug.bytes)?)
    .bind(built.slug.sha256.as_str())
    .bind(built.manifest.commit.as_str())
    .bind(built.manifest.branch.as_str())
    .bind(built.manifest.buildpack.as_str())
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// A release of a slug, as yet without process types.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    description: &str,
    user: &UserName,
    slug_id: &str,
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO releases (app_id, version, description, user_name, slug_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(app_id)
    .bind(big(version)?)
    .bind(description)
    .bind(user.as_str())
    .bind(slug_id)
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

pub(crate) async fn insert_process_types(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    built: &CommitRelease,
) -> Sql<()> {
    let defaults: BTreeSet<_> = built.manifest.default_types.iter().collect();
    for (name, command) in &built.manifest.process_types {
        sqlx::query(
            "INSERT INTO process_types (app_id, version, name, command, from_buildpack) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(app_id)
        .bind(big(version)?)
        .bind(name.as_str())
        .bind(command.as_str())
        .bind(i64::from(defaults.contains(name)))
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

pub(crate) async fn slug_id(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<String> {
    let (id,): (String,) = sqlx::query_as("SELECT slug_id FROM releases WHERE app_id = $1 AND version = $2")
        .bind(app_id)
        .bind(big(version)?)
        .fetch_one(db)
        .await?;
    Ok(id)
}

pub(crate) async fn copy_process_types(db: &mut AnyConnection, app_id: &str, from: u64, to: u64) -> Sql<()> {
    sqlx::query(
        "INSERT INTO process_types (app_id, version, name, command, from_buildpack) \
         SELECT app_id, $1, name, command, from_buildpack FROM process_types \
         WHERE app_id = $2 AND version = $3",
    )
    .bind(big(to)?)
    .bind(app_id)
    .bind(big(from)?)
    .execute(db)
    .await
    .map(drop)
}
