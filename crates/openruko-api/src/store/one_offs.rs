//! Dynos for one command. A row is there until its dyno has ended.

use std::collections::BTreeMap;

use ruko_core::UserName;
use ruko_core::dyno::TerminalSize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, big, count, parsed, revisions};
use crate::clock::{self, Millis};
use crate::dyno_size::DynoSize;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, release, command, env, size, secret_digest, tty_columns, tty_lines, \
             stopped, created_at FROM one_offs ",
            $rest
        )
    };
}

pub(crate) struct OneOffRow {
    pub(crate) id: String,
    pub(crate) number: u32,
    pub(crate) release: u64,
    pub(crate) command: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) size: DynoSize,
    /// Of what opens its terminal; none: it is detached.
    pub(crate) secret_digest: Option<String>,
    pub(crate) terminal: Option<TerminalSize>,
    pub(crate) stopped: bool,
    pub(crate) created_at: Millis,
}

impl FromRow<'_, AnyRow> for OneOffRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let env: String = row.try_get("env")?;
        let columns: Option<i64> = row.try_get("tty_columns")?;
        let lines: Option<i64> = row.try_get("tty_lines")?;
        let terminal = match columns.zip(lines) {
            Some((columns, lines)) => Some(TerminalSize { columns: small(columns)?, lines: small(lines)? }),
            None => None,
        };
        Ok(Self {
            id: row.try_get("id")?,
            number: small(row.try_get("number")?)?,
            release: count(row.try_get("release")?)?,
            command: row.try_get("command")?,
            env: serde_json::from_str(&env).map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            size: parsed(row.try_get("size")?)?,
            secret_digest: row.try_get("secret_digest")?,
            terminal,
            stopped: row.try_get::<i64, _>("stopped")? != 0,
            created_at: row.try_get("created_at")?,
        })
    }
}

fn small<T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>>(raw: i64) -> Sql<T> {
    T::try_from(raw).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

/// Oldest first.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<OneOffRow>> {
    sqlx::query_as(select!("WHERE app_id = $1 ORDER BY id")).bind(app_id).fetch_all(db).await
}

/// Ids of all that the host knows.
pub(crate) async fn all_reported(db: &mut AnyConnection) -> Sql<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM one_offs WHERE reported = 1").fetch_all(db).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// A new one.
pub(crate) struct NewOneOff<'a> {
    pub(crate) id: &'a str,
    pub(crate) number: u32,
    pub(crate) release: u64,
    pub(crate) command: &'a str,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) size: DynoSize,
    pub(crate) secret_digest: Option<&'a str>,
    pub(crate) terminal: Option<TerminalSize>,
    pub(crate) user: &'a UserName,
}

pub(crate) async fn insert(db: &mut AnyConnection, app_id: &str, new: NewOneOff<'_>) -> Sql<()> {
    let env = serde_json::to_string(new.env).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    sqlx::query(
        "INSERT INTO one_offs (id, app_id, number, release, command, env, size, secret_digest, tty_columns, \
         tty_lines, stopped, reported, user_name, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, $12)",
    )
    .bind(new.id)
    .bind(app_id)
    .bind(i64::from(new.number))
    .bind(big(new.release)?)
    .bind(new.command)
    .bind(env)
    .bind(new.size.as_str())
    .bind(new.secret_digest)
    .bind(new.terminal.map(|terminal| i64::from(terminal.columns)))
    .bind(new.terminal.map(|terminal| i64::from(terminal.lines)))
    .bind(new.user.as_str())
    .bind(clock::now())
    .execute(&mut *db)
    .await?;
    revisions::raise(db, app_id).await.map(drop)
}

/// It is to end.
pub(crate) async fn stop(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<()> {
    sqlx::query("UPDATE one_offs SET stopped = 1 WHERE id = $1").bind(id).execute(&mut *db).await?;
    revisions::raise(db, app_id).await.map(drop)
}

/// The host knows it.
pub(crate) async fn reported(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("UPDATE one_offs SET reported = 1 WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// It has ended. `false`: it was none, or that was known.
pub(crate) async fn end(db: &mut AnyConnection, id: &str) -> Sql<bool> {
    let ended: Option<(String,)> = sqlx::query_as("DELETE FROM one_offs WHERE id = $1 RETURNING app_id")
        .bind(id)
        .fetch_optional(&mut *db)
        .await?;
    let Some((app_id,)) = ended else { return Ok(false) };
    revisions::raise(db, &app_id).await?;
    Ok(true)
}

/// Gives up those that no host took up: attached ones made before one moment, detached ones before another.
pub(crate) async fn give_up(db: &mut AnyConnection, attached: Millis, detached: Millis) -> Sql<()> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT id FROM one_offs WHERE reported = 0 AND \
         (created_at < $1 OR (created_at < $2 AND secret_digest IS NOT NULL))",
    )
    .bind(detached)
    .bind(attached)
    .fetch_all(&mut *db)
    .await?;
    for (id,) in rows {
        end(db, &id).await?;
    }
    Ok(())
}
