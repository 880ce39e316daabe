//! Dynos as the host reports them, and which of them get requests.

use std::net::SocketAddr;

use ruko_api_types::host::DynoReport;
use ruko_api_types::platform::DynoState;
use ruko_core::dyno::DynoName;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, big, count, parsed};
use crate::clock::{self, Millis};

/// What a [`DynoRow`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, app_id, type, number, release, generation, state, since, address, command, size, \
             exit_status, routed, created_at FROM dynos ",
            $rest
        )
    };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DynoRow {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) name: DynoName,
    pub(crate) release: u64,
    pub(crate) state: DynoState,
    pub(crate) since: Millis,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) command: String,
    pub(crate) size: String,
    /// Requests go to it, as long as it is up.
    pub(crate) routed: bool,
    pub(crate) created_at: Millis,
}

impl FromRow<'_, AnyRow> for DynoRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let number: i64 = row.try_get("number")?;
        let address: Option<String> = row.try_get("address")?;
        let state: String = row.try_get("state")?;
        Ok(Self {
            id: row.try_get("id")?,
            app_id: row.try_get("app_id")?,
            name: DynoName {
                process_type: parsed(row.try_get("type")?)?,
                number: u32::try_from(number).map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            },
            release: count(row.try_get("release")?)?,
            state: state_called(&state),
            since: row.try_get("since")?,
            address: address.map(parsed).transpose()?,
            command: row.try_get("command")?,
            size: row.try_get("size")?,
            routed: row.try_get::<i64, _>("routed")? != 0,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl DynoRow {
    /// Where requests go: what a host said is up, and how it is reached.
    pub(crate) fn answers_at(&self) -> Option<SocketAddr> {
        self.address.filter(|_| self.state == DynoState::Up)
    }
}

fn state_called(word: &str) -> DynoState {
    let known = [DynoState::Starting, DynoState::Up, DynoState::Idle, DynoState::Crashed, DynoState::Down];
    known.into_iter().find(|state| state.as_str() == word).unwrap_or(DynoState::Unknown)
}

/// Oldest first.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<DynoRow>> {
    sqlx::query_as(select!("WHERE app_id = $1 ORDER BY id")).bind(app_id).fetch_all(db).await
}

/// Id and app of all that there are.
pub(crate) async fn all(db: &mut AnyConnection) -> Sql<Vec<(String, String)>> {
    sqlx::query_as("SELECT id, app_id FROM dynos ORDER BY id").fetch_all(db).await
}

/// Whether it gets requests stays as it was; a new one gets none.
pub(crate) async fn put(db: &mut AnyConnection, report: &DynoReport) -> Sql<()> {
    sqlx::query(
        "INSERT INTO dynos (id, app_id, type, number, release, generation, state, since, address, command, \
         size, exit_status, routed, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13) \
         ON CONFLICT (id) DO UPDATE SET release = excluded.release, generation = excluded.generation, \
         state = excluded.state, since = excluded.since, address = excluded.address, \
         command = excluded.command, size = excluded.size, exit_status = excluded.exit_status \
         WHERE dynos.app_id = excluded.app_id",
    )
    .bind(report.id.as_str())
    .bind(report.app.as_str())
    .bind(report.name.process_type.as_str())
    .bind(i64::from(report.name.number))
    .bind(big(report.release)?)
    .bind(big(report.generation)?)
    .bind(report.state.as_str())
    .bind(big(report.since)?)
    .bind(report.address.map(|address| address.to_string()))
    .bind(report.command.as_str())
    .bind(report.size.as_str())
    .bind(report.exit_status.map(i64::from))
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM dynos WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// From now on requests of the app go to these and to no others.
pub(crate) async fn route(db: &mut AnyConnection, app_id: &str, ids: &[String]) -> Sql<()> {
    sqlx::query("UPDATE dynos SET routed = 0 WHERE app_id = $1").bind(app_id).execute(&mut *db).await?;
    for id in ids {
        sqlx::query("UPDATE dynos SET routed = 1 WHERE app_id = $1 AND id = $2")
            .bind(app_id)
            .bind(id.as_str())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
