//! Who beside the owner has access to an app, and to do what.

use ruko_core::UserName;
use sqlx::AnyConnection;

use super::{Sql, new_id, parsed};
use crate::clock;
use crate::rights::Permissions;

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

/// Whether they were one.
pub(crate) async fn delete(db: &mut AnyConnection, app_id: &str, user_id: &str) -> Sql<bool> {
    let done = sqlx::query("DELETE FROM collaborators WHERE app_id = $1 AND user_id = $2")
        .bind(app_id)
        .bind(user_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
