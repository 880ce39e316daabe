//! Who beside the owner has access to an app, and to do what.

use ruko_core::UserName;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id, parsed};
use crate::clock::{self, Millis};
use crate::rights::Permissions;

/// A user's access to an app that is another one's.
pub(crate) struct CollaboratorRow {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) user: UserName,
    pub(crate) user_email: Option<String>,
    pub(crate) permissions: Permissions,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl CollaboratorRow {
    /// What stands for the user where an address is shown.
    pub(crate) fn address(&self) -> &str {
        self.user_email.as_deref().unwrap_or(self.user.as_str())
    }
}

impl FromRow<'_, AnyRow> for CollaboratorRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            user: parsed(row.try_get("name")?)?,
            user_email: row.try_get("email")?,
            permissions: parsed(row.try_get("permissions")?)?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// By name.
pub(crate) async fn list(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<CollaboratorRow>> {
    sqlx::query_as(
        "SELECT c.id, c.user_id, u.name, u.email, c.permissions, c.created_at, c.updated_at \
         FROM collaborators c JOIN users u ON u.id = c.user_id WHERE c.app_id = $1 ORDER BY u.name",
    )
    .bind(app_id)
    .fetch_all(db)
    .await
}

pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<UserName>> {
    let names: Vec<(String,)> = sqlx::query_as(
        "SELECT u.name FROM collaborators c JOIN users u ON u.id = c.user_id WHERE c.app_id = $1 \
         ORDER BY u.name",
    )
    .bind(app_id)
    .fetch_all(db)
    .await?;
    names.into_iter().map(|(name,)| parsed(name)).collect()
}

/// What the user was given on the app; none for those who are no collaborators.
pub(crate) async fn permissions(
    db: &mut AnyConnection,
    app_id: &str,
    user_id: &str,
) -> Sql<Option<Permissions>> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT permissions FROM collaborators WHERE app_id = $1 AND user_id = $2")
            .bind(app_id)
            .bind(user_id)
            .fetch_optional(db)
            .await?;
    row.map(|(words,)| parsed(words)).transpose()
}

/// Whoever is one already keeps what they have.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    app_id: &str,
    user_id: &str,
    permissions: Permissions,
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO collaborators (id, app_id, user_id, permissions, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (app_id, user_id) DO NOTHING",
    )
    .bind(new_id())
    .bind(app_id)
    .bind(user_id)
    .bind(permissions.to_string())
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// All that a collaborator may do from now on.
pub(crate) async fn set_permissions(db: &mut AnyConnection, id: &str, permissions: Permissions) -> Sql<()> {
    sqlx::query("UPDATE collaborators SET permissions = $1, updated_at = $2 WHERE id = $3")
        .bind(permissions.to_string())
        .bind(clock::now())
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}

/// Whether they were one.
pub(crate) async fn delete(db: &mut AnyConnection, app_id: &str, user_id: &str) -> Sql<bool> {
    let done = sqlx::query("DELETE FROM collaborators WHERE app_id = $1 AND user_id = $2")
        .bind(app_id)
        .bind(user_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
