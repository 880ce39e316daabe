//! Releases and their process types.

use std::collections::{BTreeMap, BTreeSet};

use ruko_api_types::host::ReleaseStatus;
use ruko_api_types::{CommitRelease, Release, Stored};
use ruko_core::{CommitId, ConfigVarName, ProcessType, StackName, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, FromRow, Row};

use super::retention::LIVE;
use super::{Sql, big, count, new_id, parsed};
use crate::clock::{self, Millis};

/// What a [`ReleaseRow`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.version, r.description, r.user_name, u.id AS user_id, u.email AS user_email, \
             r.status, r.reason, r.has_phase, CASE WHEN r.config_vars IS NULL THEN 0 ELSE 1 END AS has_config_vars, r.output_bytes, r.slug_id, r.created_at, r.updated_at, s.commit_id, s.buildpack, s.bytes, s.sha256, \
             s.object_key, s.gone_at, s.stack AS slug_stack, s.created_at AS slug_created_at FROM releases r LEFT JOIN slugs s ON s.id = r.slug_id \
             LEFT JOIN users u ON u.name = r.user_name ",
            $rest
        )
    };
}

/// The process type whose command is a release's phase: it runs once before the release serves, and no dyno of the
/// formation runs it (<https://devcenter.heroku.com/articles/release-phase>).
pub(crate) const PHASE: &str = "release";

/// The config vars of so many releases of an app that served are kept, and of so many that did not.
pub(crate) const CONFIG_VARS_KEPT: u64 = 100;

/// What the phases of so many releases of an app printed is kept.
const OUTPUTS_KEPT: u64 = 20;

/// A release.
pub(crate) struct ReleaseRow {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) description: String,
    pub(crate) user: UserName,
    /// None when the user is gone, or was a component.
    pub(crate) user_id: Option<String>,
    pub(crate) user_email: Option<String>,
    pub(crate) status: ReleaseStatus,
    /// Why it failed.
    pub(crate) reason: Option<String>,
    /// Whether it has a release phase, which a host runs.
    pub(crate) has_phase: bool,
    /// Whether its config vars are kept: else it is nothing to go back to.
    pub(crate) has_config_vars: bool,
    /// How far what that printed reaches.
    pub(crate) output_bytes: u64,
    pub(crate) slug: Option<SlugOfRelease>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

/// What a release tells of its slug.
pub(crate) struct SlugOfRelease {
    pub(crate) id: String,
    /// None when it was not built from a commit.
    pub(crate) commit: Option<CommitId>,
    pub(crate) buildpack: String,
    pub(crate) stored: Stored,
    pub(crate) object_key: String,
    /// Its object is not kept any more.
    pub(crate) is_gone: bool,
    pub(crate) stack: StackName,
    pub(crate) created_at: Millis,
}

impl FromRow<'_, AnyRow> for ReleaseRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let slug = match row.try_get::<Option<String>, _>("slug_id")? {
            Some(id) => Some(slug(id, row)?),
            None => None,
        };
        Ok(Self {
            id: row.try_get("id")?,
            version: count(row.try_get("version")?)?,
            description: row.try_get("description")?,
            user: parsed(row.try_get("user_name")?)?,
            user_id: row.try_get("user_id")?,
            user_email: row.try_get("user_email")?,
            status: status_called(row.try_get("status")?)?,
            reason: row.try_get("reason")?,
            has_phase: row.try_get::<i64, _>("has_phase")? != 0,
            has_config_vars: row.try_get::<i64, _>("has_config_vars")? != 0,
            output_bytes: count(row.try_get("output_bytes")?)?,
            slug,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

fn status_called(word: String) -> Sql<ReleaseStatus> {
    let known =
        [ReleaseStatus::Pending, ReleaseStatus::Succeeded, ReleaseStatus::Failed, ReleaseStatus::Expired];
    let found = known.into_iter().find(|status| status_word(*status) == word);
    found.ok_or_else(|| sqlx::Error::Decode(format!("there is no status `{word}` of releases").into()))
}

/// As the database and the Platform API have it.
pub(crate) const fn status_word(status: ReleaseStatus) -> &'static str {
    match status {
        ReleaseStatus::Pending => "pending",
        ReleaseStatus::Succeeded => "succeeded",
        ReleaseStatus::Failed => "failed",
        ReleaseStatus::Expired => "expired",
    }
}

fn slug(id: String, row: &AnyRow) -> Sql<SlugOfRelease> {
    let commit: String = row.try_get("commit_id")?;
    Ok(SlugOfRelease {
        id,
        commit: if commit.is_empty() { None } else { Some(parsed(commit)?) },
        buildpack: row.try_get("buildpack")?,
        stored: Stored { bytes: count(row.try_get("bytes")?)?, sha256: row.try_get("sha256")? },
        object_key: row.try_get("object_key")?,
        is_gone: row.try_get::<Option<i64>, _>("gone_at")?.is_some(),
        stack: parsed(row.try_get("slug_stack")?)?,
        created_at: row.try_get("slug_created_at")?,
    })
}

impl ReleaseRow {
    /// As the internal API tells it, `url` giving the place of an object.
    pub(crate) fn internal(self, types: ProcessTypes, url: impl Fn(&str) -> String) -> Release {
        let slug = self.slug.as_ref();
        Release {
            version: self.version,
            description: self.description,
            user: self.user,
            created_at: clock::rfc3339(self.created_at),
            commit: slug.and_then(|slug| slug.commit.clone()),
            buildpack: slug.map(|slug| slug.buildpack.clone()),
            process_types: types,
            slug_url: slug.filter(|slug| !slug.is_gone).map(|slug| url(&slug.object_key)),
            slug: slug.map(|slug| slug.stored.clone()),
        }
    }

    /// What stands for its user where an address is shown.
    pub(crate) fn user_address(&self) -> &str {
        self.user_email.as_deref().unwrap_or(self.user.as_str())
    }
}

/// Newest first.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str, limit: u32) -> Sql<Vec<ReleaseRow>> {
    sqlx::query_as(select!("WHERE r.app_id = $1 ORDER BY r.version DESC LIMIT $2"))
        .bind(app_id)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
}

/// Where a piece of an app's releases begins, and how long it is.
pub(crate) struct Piece {
    /// It begins after the release of this version, or at the end of them all.
    pub(crate) after: Option<u64>,
    /// Newest first.
    pub(crate) descending: bool,
    /// At most so many.
    pub(crate) limit: u32,
}

/// By version.
pub(crate) async fn piece(db: &mut AnyConnection, app_id: &str, piece: &Piece) -> Sql<Vec<ReleaseRow>> {
    let after = piece.after.map(big).transpose()?;
    let (sql, after) = match piece.descending {
        true => (
            select!("WHERE r.app_id = $1 AND r.version < $2 ORDER BY r.version DESC LIMIT $3"),
            after.unwrap_or(i64::MAX),
        ),
        false => (
            select!("WHERE r.app_id = $1 AND r.version > $2 ORDER BY r.version LIMIT $3"),
            after.unwrap_or(0),
        ),
    };
    sqlx::query_as(sql).bind(app_id).bind(after).bind(i64::from(piece.limit)).fetch_all(db).await
}

/// The latest release of the app that runs the slug.
pub(crate) async fn latest_of_slug(
    db: &mut AnyConnection,
    app_id: &str,
    slug_id: &str,
) -> Sql<Option<ReleaseRow>> {
    sqlx::query_as(select!("WHERE r.app_id = $1 AND r.slug_id = $2 ORDER BY r.version DESC LIMIT 1"))
        .bind(app_id)
        .bind(slug_id)
        .fetch_optional(db)
        .await
}

/// Whether any release of the app with this slug served.
pub(crate) async fn has_served(db: &mut AnyConnection, app_id: &str, slug_id: &str) -> Sql<bool> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM releases WHERE app_id = $1 AND slug_id = $2 AND status = 'succeeded'",
    )
    .bind(app_id)
    .bind(slug_id)
    .fetch_one(db)
    .await?;
    Ok(count > 0)
}

/// Those after a version, oldest first.
pub(crate) async fn after(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    limit: u32,
) -> Sql<Vec<ReleaseRow>> {
    sqlx::query_as(select!("WHERE r.app_id = $1 AND r.version > $2 ORDER BY r.version LIMIT $3"))
        .bind(app_id)
        .bind(big(version)?)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
}

pub(crate) async fn find(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<Option<ReleaseRow>> {
    sqlx::query_as(select!("WHERE r.app_id = $1 AND r.version = $2"))
        .bind(app_id)
        .bind(big(version)?)
        .fetch_optional(db)
        .await
}

/// By its id alone: the app's id as well.
pub(crate) async fn of_id(db: &mut AnyConnection, id: &str) -> Sql<Option<(String, ReleaseRow)>> {
    let app: Option<(String,)> =
        sqlx::query_as("SELECT app_id FROM releases WHERE id = $1").bind(id).fetch_optional(&mut *db).await?;
    let Some((app_id,)) = app else { return Ok(None) };
    Ok(find_by_id(db, &app_id, id).await?.map(|release| (app_id, release)))
}

pub(crate) async fn find_by_id(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<Option<ReleaseRow>> {
    sqlx::query_as(select!("WHERE r.app_id = $1 AND r.id = $2"))
        .bind(app_id)
        .bind(id)
        .fetch_optional(db)
        .await
}

/// Name and command of each process type.
pub(crate) type ProcessTypes = BTreeMap<ProcessType, String>;

/// By version, from a version on.
pub(crate) async fn process_types_from(
    db: &mut AnyConnection,
    app_id: &str,
    from: u64,
) -> Sql<BTreeMap<u64, ProcessTypes>> {
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

/// Those of one release.
pub(crate) async fn process_types(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<ProcessTypes> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, command FROM process_types WHERE app_id = $1 AND version = $2")
            .bind(app_id)
            .bind(big(version)?)
            .fetch_all(db)
            .await?;
    rows.into_iter().map(|(name, command)| Ok((parsed(name)?, command))).collect()
}

/// A release as yet without process types.
pub(crate) struct NewRelease<'a> {
    pub(crate) version: u64,
    pub(crate) description: &'a str,
    pub(crate) user: &'a UserName,
    pub(crate) slug_id: Option<&'a str>,
    pub(crate) status: ReleaseStatus,
    pub(crate) config_vars: &'a BTreeMap<ConfigVarName, String>,
}

pub(crate) async fn insert(db: &mut AnyConnection, app_id: &str, new: NewRelease<'_>) -> Sql<()> {
    let config_vars = serde_json::to_string(new.config_vars).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    sqlx::query(
        "INSERT INTO releases (id, app_id, version, description, user_name, slug_id, status, config_vars, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(new_id())
    .bind(app_id)
    .bind(big(new.version)?)
    .bind(new.description)
    .bind(new.user.as_str())
    .bind(new.slug_id)
    .bind(status_word(new.status))
    .bind(config_vars)
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// The release ends as it says, and why. Its status is told from the database again.
pub(crate) async fn end(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    status: ReleaseStatus,
    reason: Option<&str>,
) -> Sql<()> {
    sqlx::query(
        "UPDATE releases SET status = $1, reason = $2, updated_at = $3 WHERE app_id = $4 AND version = $5",
    )
    .bind(status_word(status))
    .bind(reason)
    .bind(clock::now())
    .bind(app_id)
    .bind(big(version)?)
    .execute(db)
    .await
    .map(drop)
}

/// Whether it has a release phase is known once its process types are there.
pub(crate) async fn note_phase(db: &mut AnyConnection, app_id: &str, version: u64) -> Sql<()> {
    sqlx::query(
        "UPDATE releases SET has_phase = 1 WHERE app_id = $1 AND version = $2 AND EXISTS \
         (SELECT 1 FROM process_types t WHERE t.app_id = $1 AND t.version = $2 AND t.name = $3)",
    )
    .bind(app_id)
    .bind(big(version)?)
    .bind(PHASE)
    .execute(db)
    .await
    .map(drop)
}

/// Id of the app and version of each release that has to prove itself.
pub(crate) async fn pending(db: &mut AnyConnection) -> Sql<Vec<(String, u64)>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT app_id, version FROM releases WHERE status = 'pending' ORDER BY app_id")
            .fetch_all(db)
            .await?;
    rows.into_iter().map(|(app, version)| Ok((app, count(version)?))).collect()
}

/// Stores a piece of what a release phase prints, and how far it reaches then.
pub(crate) async fn append_output(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    piece: &super::output::Piece,
    reaches: u64,
) -> Sql<()> {
    sqlx::query("INSERT INTO release_output (app_id, version, start, text) VALUES ($1, $2, $3, $4)")
        .bind(app_id)
        .bind(big(version)?)
        .bind(big(piece.start)?)
        .bind(piece.text.as_str())
        .execute(&mut *db)
        .await?;
    sqlx::query("UPDATE releases SET output_bytes = $1 WHERE app_id = $2 AND version = $3")
        .bind(big(reaches)?)
        .bind(app_id)
        .bind(big(version)?)
        .execute(db)
        .await
        .map(drop)
}

/// The next pieces of it, from the one on in which a position lies.
pub(crate) async fn output_pieces(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
    from: u64,
    limit: u32,
) -> Sql<Vec<super::output::Piece>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT start, text FROM release_output WHERE app_id = $1 AND version = $2 \
         AND start >= COALESCE((SELECT MAX(o.start) FROM release_output o \
         WHERE o.app_id = $1 AND o.version = $2 AND o.start <= $3), 0) ORDER BY start LIMIT $4",
    )
    .bind(app_id)
    .bind(big(version)?)
    .bind(big(from)?)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|(start, text)| Ok(super::output::Piece { start: count(start)?, text })).collect()
}

/// What is printed of releases older than so many is not kept.
pub(crate) async fn forget_old_output(db: &mut AnyConnection, app_id: &str, newest: u64) -> Sql<()> {
    sqlx::query("DELETE FROM release_output WHERE app_id = $1 AND version <= $2")
        .bind(app_id)
        .bind(big(newest.saturating_sub(OUTPUTS_KEPT))?)
        .execute(db)
        .await
        .map(drop)
}

/// Of releases older than the last so many of which config vars are kept, these and the process types go. What runs
/// or is to keeps both; of a slug that is there what it runs is kept, by its latest release. Those that came to nothing
/// take no place of those that served.
pub(crate) async fn forget_old(db: &mut AnyConnection, app_id: &str, newest: u64) -> Sql<()> {
    let Some(old) = newest.checked_sub(CONFIG_VARS_KEPT) else { return Ok(()) };
    sqlx::query(AssertSqlSafe(format!(
        "UPDATE releases SET config_vars = NULL WHERE app_id = $1 AND version <= $2 AND config_vars IS NOT NULL \
         AND (status <> 'succeeded' OR version <= (SELECT o.version FROM releases o WHERE o.app_id = $1 \
          AND o.status = 'succeeded' AND o.config_vars IS NOT NULL ORDER BY o.version DESC LIMIT 1 OFFSET $3)) \
         AND NOT EXISTS (SELECT 1 FROM ({LIVE}) l WHERE l.version = releases.version)"
    )))
    .bind(app_id)
    .bind(big(old)?)
    .bind(big(CONFIG_VARS_KEPT)?)
    .execute(&mut *db)
    .await?;
    sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM process_types WHERE app_id = $1 AND version <= $2 \
         AND NOT EXISTS (SELECT 1 FROM ({LIVE}) l WHERE l.version = process_types.version) \
         AND NOT EXISTS (SELECT 1 FROM releases r LEFT JOIN slugs s ON s.id = r.slug_id \
          WHERE r.app_id = $1 AND r.version = process_types.version AND (r.config_vars IS NOT NULL OR s.gone_at IS NULL \
          AND NOT EXISTS (SELECT 1 FROM releases n WHERE n.slug_id = r.slug_id AND n.app_id = $1 \
           AND n.version > r.version)))"
    )))
    .bind(app_id)
    .bind(big(old)?)
    .execute(db)
    .await
    .map(drop)
}

/// The config vars as they were with a release; none where they are not kept.
pub(crate) async fn config_vars(
    db: &mut AnyConnection,
    app_id: &str,
    version: u64,
) -> Sql<Option<BTreeMap<ConfigVarName, String>>> {
    let (json,): (Option<String>,) =
        sqlx::query_as("SELECT config_vars FROM releases WHERE app_id = $1 AND version = $2")
            .bind(app_id)
            .bind(big(version)?)
            .fetch_one(db)
            .await?;
    json.map(|json| serde_json::from_str(&json).map_err(|e| sqlx::Error::Decode(Box::new(e)))).transpose()
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

/// Gives a release the process types of another one, which may be another app's.
pub(crate) async fn copy_process_types(
    db: &mut AnyConnection,
    from: (&str, u64),
    to: (&str, u64),
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO process_types (app_id, version, name, command, from_buildpack) \
         SELECT $1, $2, name, command, from_buildpack FROM process_types WHERE app_id = $3 AND version = $4",
    )
    .bind(to.0)
    .bind(big(to.1)?)
    .bind(from.0)
    .bind(big(from.1)?)
    .execute(db)
    .await
    .map(drop)
}
