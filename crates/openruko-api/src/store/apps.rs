//! Apps.

use ruko_core::{AppName, StackName, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::users::UserRow;
use super::{Sql, big, count, new_id, parsed};
use crate::clock::{self, Millis};

pub(crate) struct AppRow {
    pub(crate) id: String,
    pub(crate) name: AppName,
    pub(crate) owner_id: String,
    pub(crate) owner: UserName,
    pub(crate) stack: StackName,
    /// 0: nothing was ever pushed.
    pub(crate) repo_version: u64,
    /// 0: none yet.
    pub(crate) release: u64,
    pub(crate) created_at: Millis,
}

impl FromRow<'_, AnyRow> for AppRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: parsed(row.try_get("name")?)?,
            owner_id: row.try_get("owner_id")?,
            owner: parsed(row.try_get("owner")?)?,
            stack: parsed(row.try_get("stack")?)?,
            repo_version: count(row.try_get("repo_version")?)?,
            release: count(row.try_get("release")?)?,
            created_at: row.try_get("created_at")?,
        })
    }
}

pub(crate) async fn find(db: &mut AnyConnection, name: &AppName) -> Sql<Option<AppRow>> {
    sqlx::query_as(
        "SELECT a.id, a.name, a.owner_id, u.name AS owner, a.stack, a.repo_version, a.release, \
         a.created_at FROM apps a JOIN users u ON u.id = a.owner_id WHERE a.name = $1",
    )
    .bind(name.as_str())
    .fetch_optional(db)
    .await
}

pub(crate) async fn by_id(db: &mut AnyConnection, id: &str) -> Sql<AppRow> {
    sqlx::query_as(
        "SELECT a.id, a.name, a.owner_id, u.name AS owner, a.stack, a.repo_version, a.release, \
         a.created_at FROM apps a JOIN users u ON u.id = a.owner_id WHERE a.id = $1",
    )
    .bind(id)
    .fetch_one(db)
    .await
}

/// By name.
pub(crate) async fn list(db: &mut AnyConnection) -> Sql<Vec<AppRow>> {
    sqlx::query_as(
        "SELECT a.id, a.name, a.owner_id, u.name AS owner, a.stack, a.repo_version, a.release, \
         a.created_at FROM apps a JOIN users u ON u.id = a.owner_id ORDER BY a.name",
    )
    .fetch_all(db)
    .await
}

pub(crate) async fn insert(
    db: &mut AnyConnection,
    name: &AppName,
    owner: &UserRow,
    stack: &StackName,
) -> Sql<AppRow> {
    let row = AppRow {
        id: new_id(),
        name: name.clone(),
        owner_id: owner.id.clone(),
        owner: owner.name.clone(),
        stack: stack.clone(),
        repo_version: 0,
        release: 0,
        created_at: clock::now(),
    };
    sqlx::query("INSERT INTO apps (id, name, owner_id, stack, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(row.id.as_str())
        .bind(name.as_str())
        .bind(owner.id.as_str())
        .bind(stack.as_str())
        .bind(row.created_at)
        .execute(db)
        .await?;
    Ok(row)
}

/// With everything that belongs to it.
pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM apps WHERE id = $1").bind(id).execute(db).await.map(drop)
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

/// The number of the app's next release: one more than the last, always.
pub(crate) async fn next_release(db: &mut AnyConnection, id: &str) -> Sql<u64> {
    sqlx::query("UPDATE apps SET release = release + 1 WHERE id = $1").bind(id).execute(&mut *db).await?;
    let (release,): (i64,) =
        sqlx::query_as("SELECT release FROM apps WHERE id = $1").bind(id).fetch_one(db).await?;
    count(release)
}
