//! Formations: how many dynos of each process type an app was told to run, and of what size.

use ruko_core::ProcessType;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, marks, parsed, revisions};
use crate::clock::{self, Millis};
use crate::dyno_size::DynoSize;

/// What was said about a process type.
pub(crate) struct FormationRow {
    pub(crate) process_type: ProcessType,
    pub(crate) quantity: u32,
    pub(crate) size: DynoSize,
    pub(crate) created_at: Millis,
    /// When it was last changed, or its dynos were told to restart.
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for FormationRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let quantity: i64 = row.try_get("quantity")?;
        Ok(Self {
            process_type: parsed(row.try_get("type")?)?,
            quantity: u32::try_from(quantity).map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            size: parsed(row.try_get("size")?)?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// Also of process types that the current release does not have.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<FormationRow>> {
    sqlx::query_as("SELECT type, quantity, size, created_at, updated_at FROM formation WHERE app_id = $1")
        .bind(app_id)
        .fetch_all(db)
        .await
}

/// What is said about a process type from now on.
pub(crate) struct Said<'a> {
    /// Of the row that is made if there is none yet.
    pub(crate) id: &'a str,
    pub(crate) process_type: &'a ProcessType,
    pub(crate) quantity: u32,
    pub(crate) size: DynoSize,
}

/// Dynos of the type that were stopped run again.
pub(crate) async fn put(db: &mut AnyConnection, app_id: &str, said: Said<'_>) -> Sql<()> {
    sqlx::query(
        "INSERT INTO formation (id, app_id, type, quantity, size, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (app_id, type) DO UPDATE SET \
         quantity = excluded.quantity, size = excluded.size, updated_at = excluded.updated_at",
    )
    .bind(said.id)
    .bind(app_id)
    .bind(said.process_type.as_str())
    .bind(i64::from(said.quantity))
    .bind(said.size.as_str())
    .bind(clock::now())
    .execute(&mut *db)
    .await?;
    marks::start(db, app_id, said.process_type).await?;
    revisions::raise(db, app_id).await.map(drop)
}
