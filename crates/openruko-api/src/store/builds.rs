//! Builds: pushes as the Platform API shows them, and what the build of a tarball has beside.

use ruko_api_types::Tarball;
use ruko_core::PushId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::Sql;
use super::pushes::PushRow;

/// What a [`BuildRow`] needs. A push that moved other branches alone built nothing.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.app_id, p.user_name, p.request_id, p.status, p.reason, p.repo_key, p.slug_key, \
             p.lease_ends, p.answer, p.release, p.output_bytes, p.created_at, p.ended_at, u.id AS user_id, \
             u.email AS user_email, r.id AS release_id, s.id AS slug_id, s.commit_id, s.stack, b.version, \
             b.buildpacks FROM pushes p LEFT JOIN users u ON u.name = p.user_name \
             LEFT JOIN releases r ON r.app_id = p.app_id AND r.version = p.release \
             LEFT JOIN slugs s ON s.id = p.id LEFT JOIN builds b ON b.id = p.id \
             WHERE NOT (p.status = 'succeeded' AND p.release IS NULL) AND ",
            $rest
        )
    };
}

/// A build.
pub(crate) struct BuildRow {
    pub(crate) push: PushRow,
    /// None when the user is gone.
    pub(crate) user_id: Option<String>,
    pub(crate) user_email: Option<String>,
    pub(crate) release_id: Option<String>,
    pub(crate) slug_id: Option<String>,
    /// What its user called the tarball, or the commit, once that is known.
    pub(crate) version: Option<String>,
    /// The slug's stack.
    pub(crate) stack: Option<String>,
    /// Those that were asked for; none for the app's own.
    pub(crate) buildpacks: Option<Vec<String>>,
}

impl FromRow<'_, AnyRow> for BuildRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let version: Option<String> = row.try_get("version")?;
        let commit: Option<String> = row.try_get("commit_id")?;
        Ok(Self {
            push: PushRow::from_row(row)?,
            user_id: row.try_get("user_id")?,
            user_email: row.try_get("user_email")?,
            release_id: row.try_get("release_id")?,
            slug_id: row.try_get("slug_id")?,
            version: version.or(commit).filter(|version| !version.is_empty()),
            stack: row.try_get("stack")?,
            buildpacks: buildpacks(row.try_get("buildpacks")?)?,
        })
    }
}

fn buildpacks(json: Option<String>) -> Sql<Option<Vec<String>>> {
    json.map(|json| serde_json::from_str(&json).map_err(|e| sqlx::Error::Decode(Box::new(e)))).transpose()
}

/// Newest first.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str, limit: u32) -> Sql<Vec<BuildRow>> {
    sqlx::query_as(select!("p.app_id = $1 ORDER BY p.id DESC LIMIT $2"))
        .bind(app_id)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
}

pub(crate) async fn find(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<Option<BuildRow>> {
    sqlx::query_as(select!("p.app_id = $1 AND p.id = $2")).bind(app_id).bind(id).fetch_optional(db).await
}

/// The build of a tarball, beside its push.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    id: &PushId,
    source_id: &str,
    version: Option<&str>,
    buildpacks: Option<&[String]>,
) -> Sql<()> {
    let buildpacks = buildpacks.map(serde_json::to_string).transpose();
    sqlx::query("INSERT INTO builds (id, source_id, version, buildpacks) VALUES ($1, $2, $3, $4)")
        .bind(id.as_str())
        .bind(source_id)
        .bind(version)
        .bind(buildpacks.map_err(|e| sqlx::Error::Encode(Box::new(e)))?)
        .execute(db)
        .await
        .map(drop)
}

/// What the build of a tarball is made of, and with.
pub(crate) struct Wanted {
    pub(crate) source_id: String,
    pub(crate) tarball: Tarball,
    /// None for the app's own.
    pub(crate) buildpacks: Option<Vec<String>>,
}

/// None when it is a git push.
pub(crate) async fn wanted(db: &mut AnyConnection, id: &PushId) -> Sql<Option<Wanted>> {
    let found: Option<(String, Option<String>, Option<String>)> =
        sqlx::query_as("SELECT source_id, version, buildpacks FROM builds WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(db)
            .await?;
    let Some((source_id, version, json)) = found else { return Ok(None) };
    Ok(Some(Wanted { source_id, tarball: Tarball { version }, buildpacks: buildpacks(json)? }))
}
