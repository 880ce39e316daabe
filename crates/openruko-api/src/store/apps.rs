//! Apps.

use std::collections::HashSet;

use ruko_core::{AppName, StackName, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, FromRow, Row};

use super::users::UserRow;
use super::{Sql, big, count, new_id, parsed, revisions};
use crate::clock::{self, Millis};

/// What an [`AppRow`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.name, a.owner_id, u.name AS owner, u.email AS owner_email, \
             COALESCE(s.stack, a.build_stack, a.stack) AS stack, COALESCE(a.build_stack, a.stack) AS build_stack, \
             a.maintenance, a.acm, a.cache, a.repo_version, a.release, a.serving, a.candidate, a.revision, a.asleep, \
             a.released_at, a.created_at, a.updated_at, \
             v.bytes AS repo_bytes, s.bytes AS slug_bytes, s.buildpack \
             FROM apps a JOIN users u ON u.id = a.owner_id \
             LEFT JOIN repo_versions v ON v.app_id = a.id AND v.version = a.repo_version \
             LEFT JOIN releases r ON r.app_id = a.id AND r.version = a.serving \
             LEFT JOIN slugs s ON s.id = r.slug_id ",
            $rest
        )
    };
}

#[derive(Clone)]
pub(crate) struct AppRow {
    pub(crate) id: String,
    pub(crate) name: AppName,
    pub(crate) owner_id: String,
    pub(crate) owner: UserName,
    pub(crate) owner_email: Option<String>,
    /// The stack that the current release was built on; before the first build that of the next one.
    pub(crate) stack: StackName,
    /// The stack of the next build.
    pub(crate) build_stack: StackName,
    pub(crate) maintenance: bool,
    /// Whether certificates are wanted automatically.
    pub(crate) acm: bool,
    /// How often its build cache was thrown away.
    pub(crate) cache: u64,
    /// 0: nothing was ever pushed.
    pub(crate) repo_version: u64,
    /// The stored repository, packed, in bytes.
    pub(crate) repo_bytes: Option<u64>,
    /// The newest release's version.
    pub(crate) release: u64,
    /// The version of the release that serves: the current one.
    pub(crate) serving: u64,
    /// The version of the release that has to prove itself.
    pub(crate) candidate: Option<u64>,
    /// See [`super::revisions`].
    pub(crate) revision: u64,
    /// Its web dynos sleep.
    pub(crate) asleep: bool,
    /// The current release's slug, packed, in bytes; none before the first build.
    pub(crate) slug_bytes: Option<u64>,
    /// What built the current release's slug.
    pub(crate) buildpack: Option<String>,
    pub(crate) released_at: Option<Millis>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl AppRow {
    /// The version of the release that the next one builds on: the candidate, since it is what was wanted last;
    /// else the one that serves. As long as nothing was ever served it is the newest, so that what failed for the
    /// want of a config var can be tried again by setting it.
    pub(crate) fn base(&self) -> u64 {
        let serving = self.slug_bytes.map_or(self.release, |_| self.serving);
        self.candidate.unwrap_or(serving)
    }

    /// The version of the release whose dynos are the app's: the one that serves; as long as none ever did, the one
    /// that is to.
    pub(crate) fn running(&self) -> u64 {
        self.slug_bytes.map_or(self.base(), |_| self.serving)
    }

    /// What stands for the owner where an address is shown.
    pub(crate) fn owner_address(&self) -> &str {
        self.owner_email.as_deref().unwrap_or(self.owner.as_str())
    }
}

impl FromRow<'_, AnyRow> for AppRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let optional = |column| row.try_get::<Option<i64>, _>(column)?.map(count).transpose();
        Ok(Self {
            id: row.try_get("id")?,
            name: parsed(row.try_get("name")?)?,
            owner_id: row.try_get("owner_id")?,
            owner: parsed(row.try_get("owner")?)?,
            owner_email: row.try_get("owner_email")?,
            stack: parsed(row.try_get("stack")?)?,
            build_stack: parsed(row.try_get("build_stack")?)?,
            maintenance: row.try_get::<i64, _>("maintenance")? != 0,
            acm: row.try_get::<i64, _>("acm")? != 0,
            cache: count(row.try_get("cache")?)?,
            repo_version: count(row.try_get("repo_version")?)?,
            repo_bytes: optional("repo_bytes")?,
            release: count(row.try_get("release")?)?,
            serving: count(row.try_get("serving")?)?,
            candidate: optional("candidate")?,
            revision: count(row.try_get("revision")?)?,
            asleep: row.try_get::<i64, _>("asleep")? != 0,
            slug_bytes: optional("slug_bytes")?,
            buildpack: row.try_get("buildpack")?,
            released_at: row.try_get("released_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

pub(crate) async fn find(db: &mut AnyConnection, name: &AppName) -> Sql<Option<AppRow>> {
    sqlx::query_as(select!("WHERE a.name = $1")).bind(name.as_str()).fetch_optional(db).await
}

pub(crate) async fn find_by_id(db: &mut AnyConnection, id: &str) -> Sql<Option<AppRow>> {
    sqlx::query_as(select!("WHERE a.id = $1")).bind(id).fetch_optional(db).await
}

/// Of every app there is.
pub(crate) async fn ids(db: &mut AnyConnection) -> Sql<HashSet<String>> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT id FROM apps").fetch_all(db).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub(crate) async fn exists(db: &mut AnyConnection, id: &str) -> Sql<bool> {
    let found: Option<(i64,)> =
        sqlx::query_as("SELECT release FROM apps WHERE id = $1").bind(id).fetch_optional(db).await?;
    Ok(found.is_some())
}

pub(crate) async fn by_id(db: &mut AnyConnection, id: &str) -> Sql<AppRow> {
    find_by_id(db, id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// By name.
pub(crate) async fn list(db: &mut AnyConnection) -> Sql<Vec<AppRow>> {
    sqlx::query_as(select!("ORDER BY a.name")).fetch_all(db).await
}

/// Where a piece of the apps begins, and how long it is.
pub(crate) struct Piece<'a> {
    /// It begins after the app with this id, or with the first one where there is no such app.
    pub(crate) after: Option<&'a str>,
    /// From the last name to the first.
    pub(crate) descending: bool,
    /// At most so many.
    pub(crate) limit: u32,
}

/// By name.
pub(crate) async fn piece(db: &mut AnyConnection, piece: &Piece<'_>) -> Sql<Vec<AppRow>> {
    // No name sorts before the empty text, none after the tilde.
    let sql = match piece.descending {
        true => {
            select!(
                "WHERE a.name < COALESCE((SELECT name FROM apps WHERE id = $1), '~') \
                 ORDER BY a.name DESC LIMIT $2"
            )
        }
        false => {
            select!(
                "WHERE a.name > COALESCE((SELECT name FROM apps WHERE id = $1), '') ORDER BY a.name LIMIT $2"
            )
        }
    };
    sqlx::query_as(sql).bind(piece.after).bind(i64::from(piece.limit)).fetch_all(db).await
}

/// Those that a user owns or collaborates on, by name.
pub(crate) async fn seen_by(db: &mut AnyConnection, user_id: &str) -> Sql<Vec<AppRow>> {
    // Not with an OR, for which PostgreSQL looks at every app there is.
    sqlx::query_as(select!(
        "WHERE a.id IN (SELECT id FROM apps WHERE owner_id = $1 \
         UNION SELECT app_id FROM collaborators WHERE user_id = $1) ORDER BY a.name"
    ))
    .bind(user_id)
    .fetch_all(db)
    .await
}

/// The first names of those that [`seen_by`] gives, and how many there are.
pub(crate) async fn names_seen_by(
    db: &mut AnyConnection,
    user_id: &str,
    limit: u32,
) -> Sql<(Vec<AppName>, u64)> {
    const SEEN: &str = "SELECT id FROM apps WHERE owner_id = $1 \
                        UNION SELECT app_id FROM collaborators WHERE user_id = $1";
    let names: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT name FROM apps WHERE id IN ({SEEN}) ORDER BY name LIMIT $2"
    )))
    .bind(user_id)
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let (all,): (i64,) = sqlx::query_as(AssertSqlSafe(format!("SELECT COUNT(*) FROM ({SEEN}) AS seen")))
        .bind(user_id)
        .fetch_one(db)
        .await?;
    let names = names.into_iter().map(|(name,)| parsed(name)).collect::<Sql<_>>()?;
    Ok((names, count(all)?))
}

/// A new app, as yet without its first release.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    name: &AppName,
    owner: &UserRow,
    stack: &StackName,
) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO apps (id, name, owner_id, stack, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(id.as_str())
    .bind(name.as_str())
    .bind(owner.id.as_str())
    .bind(stack.as_str())
    .bind(clock::now())
    .execute(&mut *db)
    .await?;
    revisions::raise(db, &id).await?;
    Ok(id)
}

/// With everything that belongs to it but its slugs (see `slugs`).
pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    let done = sqlx::query("DELETE FROM apps WHERE id = $1").bind(id).execute(&mut *db).await?;
    if done.rows_affected() > 0 {
        revisions::remember_gone(db, id).await?;
    }
    Ok(())
}

/// So many of those that changed after a revision, up to another one: those of the lowest revisions first.
pub(crate) async fn changed(db: &mut AnyConnection, after: u64, up_to: u64, limit: u32) -> Sql<Vec<AppRow>> {
    sqlx::query_as(select!("WHERE a.revision > $1 AND a.revision <= $2 ORDER BY a.revision LIMIT $3"))
        .bind(big(after)?)
        .bind(big(up_to)?)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
}

/// Moves the repository from one version to the next. `false`: it is at another one.
pub(crate) async fn swap_repo_version(db: &mut AnyConnection, id: &str, from: u64, to: u64) -> Sql<bool> {
    let done = sqlx::query("UPDATE apps SET repo_version = $1 WHERE id = $2 AND repo_version = $3")
        .bind(big(to)?)
        .bind(id)
        .bind(big(from)?)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The app's next build begins without a cache.
pub(crate) async fn throw_cache_away(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("UPDATE apps SET cache = cache + 1 WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// The number of the app's next release: one more than the last, always.
pub(crate) async fn next_release(db: &mut AnyConnection, id: &str) -> Sql<u64> {
    let (release,): (i64,) = sqlx::query_as(
        "UPDATE apps SET release = release + 1, released_at = $1, updated_at = $1 WHERE id = $2 \
         RETURNING release",
    )
    .bind(clock::now())
    .bind(id)
    .fetch_one(db)
    .await?;
    count(release)
}

/// The release serves from now on, and no other one has to prove itself.
pub(crate) async fn serve(db: &mut AnyConnection, id: &str, version: u64) -> Sql<()> {
    sqlx::query("UPDATE apps SET serving = $1, candidate = NULL WHERE id = $2")
        .bind(big(version)?)
        .bind(id)
        .execute(&mut *db)
        .await?;
    revisions::raise(db, id).await.map(drop)
}

/// The release has to prove itself, or none has to.
pub(crate) async fn set_candidate(db: &mut AnyConnection, id: &str, version: Option<u64>) -> Sql<()> {
    sqlx::query("UPDATE apps SET candidate = $1 WHERE id = $2")
        .bind(version.map(big).transpose()?)
        .bind(id)
        .execute(&mut *db)
        .await?;
    revisions::raise(db, id).await.map(drop)
}

/// What `PATCH /apps/{app}` can change; none leaves a thing as it is.
#[derive(Default)]
pub(crate) struct AppChange<'a> {
    pub(crate) name: Option<&'a AppName>,
    pub(crate) owner_id: Option<&'a str>,
    pub(crate) build_stack: Option<&'a StackName>,
    pub(crate) maintenance: Option<bool>,
    pub(crate) acm: Option<bool>,
}

pub(crate) async fn change(db: &mut AnyConnection, id: &str, change: AppChange<'_>) -> Sql<()> {
    sqlx::query(
        "UPDATE apps SET name = COALESCE($1, name), owner_id = COALESCE($2, owner_id), \
         build_stack = COALESCE($3, build_stack), maintenance = COALESCE($4, maintenance), \
         acm = COALESCE($5, acm), updated_at = $6 WHERE id = $7",
    )
    .bind(change.name.map(AppName::as_str))
    .bind(change.owner_id)
    .bind(change.build_stack.map(StackName::as_str))
    .bind(change.maintenance.map(i64::from))
    .bind(change.acm.map(i64::from))
    .bind(clock::now())
    .bind(id)
    .execute(&mut *db)
    .await?;
    revisions::raise(db, id).await.map(drop)
}
