//! Features of apps that were turned on or off.

use std::collections::BTreeMap;

use sqlx::AnyConnection;

use super::Sql;
use crate::clock::{self, Millis};

/// Whether a feature is on, and since when it is so.
#[derive(Clone, Copy)]
pub(crate) struct Switch {
    pub(crate) enabled: bool,
    pub(crate) since: Millis,
}

/// By name. What was never touched is not among them.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<BTreeMap<String, Switch>> {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT name, enabled, updated_at FROM app_features WHERE app_id = $1")
            .bind(app_id)
            .fetch_all(db)
            .await?;
    let switch = |(name, enabled, since)| (name, Switch { enabled: enabled != 0, since });
    Ok(rows.into_iter().map(switch).collect())
}

pub(crate) async fn set(db: &mut AnyConnection, app_id: &str, name: &str, enabled: bool) -> Sql<()> {
    sqlx::query(
        "INSERT INTO app_features (app_id, name, enabled, updated_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (app_id, name) DO UPDATE SET enabled = excluded.enabled, updated_at = excluded.updated_at",
    )
    .bind(app_id)
    .bind(name)
    .bind(i64::from(enabled))
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}
