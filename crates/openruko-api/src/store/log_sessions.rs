//! Log sessions: who may read which lines of which app's log, by the digest of a secret.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id};
use crate::clock::Millis;
use crate::token::Token;

#[derive(Clone)]
pub(crate) struct LogSessionRow {
    pub(crate) app_id: String,
    /// Who asked for it, and reads it.
    pub(crate) user_id: String,
    /// How many of the last lines come first.
    pub(crate) lines: usize,
    /// Whether new ones follow.
    pub(crate) tail: bool,
    pub(crate) dyno: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) expires_at: Millis,
}

impl FromRow<'_, AnyRow> for LogSessionRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            app_id: row.try_get("app_id")?,
            user_id: row.try_get("user_id")?,
            lines: usize::try_from(row.try_get::<i64, _>("lines")?)
                .map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            tail: row.try_get::<i64, _>("tail")? != 0,
            dyno: row.try_get("dyno")?,
            source: row.try_get("source")?,
            expires_at: row.try_get("expires_at")?,
        })
    }
}

/// A session that has not expired.
pub(crate) async fn find(db: &mut AnyConnection, secret: &Token, now: Millis) -> Sql<Option<LogSessionRow>> {
    sqlx::query_as(
        "SELECT app_id, user_id, lines, tail, dyno, source, expires_at FROM log_sessions \
         WHERE secret_digest = $1 AND expires_at > $2",
    )
    .bind(secret.digest())
    .bind(now)
    .fetch_optional(db)
    .await
}

/// Gives the new one's id. Forgets those that have expired.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    session: &LogSessionRow,
    secret: &Token,
    now: Millis,
) -> Sql<String> {
    sqlx::query("DELETE FROM log_sessions WHERE expires_at <= $1").bind(now).execute(&mut *db).await?;
    let id = new_id();
    sqlx::query(
        "INSERT INTO log_sessions (id, secret_digest, app_id, user_id, lines, tail, dyno, source, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.as_str())
    .bind(secret.digest())
    .bind(session.app_id.as_str())
    .bind(session.user_id.as_str())
    .bind(i64::try_from(session.lines).map_err(|e| sqlx::Error::Encode(Box::new(e)))?)
    .bind(i64::from(session.tail))
    .bind(session.dyno.as_deref())
    .bind(session.source.as_deref())
    .bind(session.expires_at)
    .execute(db)
    .await?;
    Ok(id)
}
