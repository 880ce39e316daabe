//! Users.

use ruko_api_types::User;
use ruko_core::{AppName, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id, parsed};
use crate::clock::{self, Millis};

pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) name: UserName,
    created_at: Millis,
}

impl FromRow<'_, AnyRow> for UserRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: parsed(row.try_get("name")?)?,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self { name: row.name, created_at: clock::rfc3339(row.created_at) }
    }
}

pub(crate) async fn find(db: &mut AnyConnection, name: &UserName) -> Sql<Option<UserRow>> {
    sqlx::query_as("SELECT id, name, created_at FROM users WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(db)
        .await
}

pub(crate) async fn list(db: &mut AnyConnection) -> Sql<Vec<UserRow>> {
    sqlx::query_as("SELECT id, name, created_at FROM users ORDER BY name").fetch_all(db).await
}

pub(crate) async fn insert(db: &mut AnyConnection, name: &UserName) -> Sql<UserRow> {
    let row = UserRow { id: new_id(), name: name.clone(), created_at: clock::now() };
    sqlx::query("INSERT INTO users (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(row.id.as_str())
        .bind(name.as_str())
        .bind(row.created_at)
        .execute(db)
        .await?;
    Ok(row)
}

/// With their keys and their access to other people's apps.
pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM users WHERE id = $1").bind(id).execute(db).await.map(drop)
}

pub(crate) async fn owned_apps(db: &mut AnyConnection, id: &str) -> Sql<Vec<AppName>> {
    let names: Vec<(String,)> = sqlx::query_as("SELECT name FROM apps WHERE owner_id = $1 ORDER BY name")
        .bind(id)
        .fetch_all(db)
        .await?;
    names.into_iter().map(|(name,)| parsed(name)).collect()
}
