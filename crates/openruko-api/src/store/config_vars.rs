//! Config vars. Values are secrets: they go to whoever asks with the right to, and into no log.

use std::collections::BTreeMap;

use ruko_core::ConfigVarName;
use sqlx::AnyConnection;

use super::{Sql, parsed};
use crate::judge::ConfigChange;

pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<BTreeMap<ConfigVarName, String>> {
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, value FROM config_vars WHERE app_id = $1")
        .bind(app_id)
        .fetch_all(db)
        .await?;
    rows.into_iter().map(|(name, value)| Ok((parsed(name)?, value))).collect()
}

pub(crate) async fn apply(db: &mut AnyConnection, app_id: &str, change: &ConfigChange) -> Sql<()> {
    for name in &change.removed {
        sqlx::query("DELETE FROM config_vars WHERE app_id = $1 AND name = $2")
            .bind(app_id)
            .bind(name.as_str())
            .execute(&mut *db)
            .await?;
    }
    for name in &change.set {
        sqlx::query(
            "INSERT INTO config_vars (app_id, name, value) VALUES ($1, $2, $3) \
             ON CONFLICT (app_id, name) DO UPDATE SET value = excluded.value",
        )
        .bind(app_id)
        .bind(name.as_str())
        .bind(change.vars[name].as_str())
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// All of them are others from now on.
pub(crate) async fn replace(
    db: &mut AnyConnection,
    app_id: &str,
    vars: &BTreeMap<ConfigVarName, String>,
) -> Sql<()> {
    sqlx::query("DELETE FROM config_vars WHERE app_id = $1").bind(app_id).execute(&mut *db).await?;
    for (name, value) in vars {
        sqlx::query("INSERT INTO config_vars (app_id, name, value) VALUES ($1, $2, $3)")
            .bind(app_id)
            .bind(name.as_str())
            .bind(value.as_str())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
