//! Who beside the owner may push to and fetch an app.

use ruko_core::UserName;
use sqlx::AnyConnection;

use super::{Sql, parsed};
use crate::clock;

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

pub(crate) async fn is_one(db: &mut AnyConnection, app_id: &str, user_id: &str) -> Sql<bool> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT user_id FROM collaborators WHERE app_id = $1 AND user_id = $2")
            .bind(app_id)
            .bind(user_id)
            .fetch_optional(db)
            .await?;
    Ok(row.is_some())
}

/// Nothing happens when they are one already.
pub(crate) async fn insert(db: &mut AnyConnection, app_id: &str, user_id: &str) -> Sql<()> {
    sqlx::query(
        "INSERT INTO collaborators (app_id, user_id, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (app_id, user_id) DO NOTHING",
    )
    .bind(app_id)
    .bind(user_id)
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
