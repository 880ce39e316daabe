//! Log drains of apps.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id};
use crate::clock::{self, Millis};

pub(crate) struct LogDrainRow {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for LogDrainRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            url: row.try_get("url")?,
            token: row.try_get("token")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// What sending lines to a drain takes.
pub(crate) struct DrainRow {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// Those of all apps.
pub(crate) async fn all(db: &mut AnyConnection) -> Sql<Vec<DrainRow>> {
    let rows: Vec<(String, String, String, String)> =
        sqlx::query_as("SELECT id, app_id, url, token FROM log_drains ORDER BY id").fetch_all(db).await?;
    let drain = |(id, app_id, url, token)| DrainRow { id, app_id, url, token };
    Ok(rows.into_iter().map(drain).collect())
}

/// In the order in which they were added.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<LogDrainRow>> {
    sqlx::query_as(
        "SELECT id, url, token, created_at, updated_at FROM log_drains WHERE app_id = $1 ORDER BY id",
    )
    .bind(app_id)
    .fetch_all(db)
    .await
}

/// A new drain; gives its id.
pub(crate) async fn insert(db: &mut AnyConnection, app_id: &str, url: &str, token: &str) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO log_drains (id, app_id, url, token, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(id.as_str())
    .bind(app_id)
    .bind(url)
    .bind(token)
    .bind(clock::now())
    .execute(db)
    .await?;
    Ok(id)
}

pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM log_drains WHERE id = $1").bind(id).execute(db).await.map(drop)
}
