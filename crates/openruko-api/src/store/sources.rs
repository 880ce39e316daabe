//! Tarballs that wait to be built; their bytes lie in the directory of uploads.

use ruko_api_types::Stored;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, big, count, new_id};
use crate::clock::{self, Millis};
use crate::token::Token;

/// The sources that builds still need.
macro_rules! needed {
    () => {
        // One status at a time: for each there is an index, for both together none.
        "(SELECT b.source_id FROM pushes p JOIN builds b ON b.id = p.id WHERE p.status = 'queued' \
          UNION ALL \
          SELECT b.source_id FROM pushes p JOIN builds b ON b.id = p.id WHERE p.status = 'pending')"
    };
}

pub(crate) struct SourceRow {
    pub(crate) id: String,
    pub(crate) put_digest: String,
    pub(crate) get_digest: String,
    /// None before it is uploaded.
    pub(crate) stored: Option<Stored>,
    pub(crate) expires_at: Millis,
}

impl FromRow<'_, AnyRow> for SourceRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let bytes: Option<i64> = row.try_get("bytes")?;
        let sha256: Option<String> = row.try_get("sha256")?;
        let stored = match (bytes, sha256) {
            (Some(bytes), Some(sha256)) => Some(Stored { bytes: count(bytes)?, sha256 }),
            _ => None,
        };
        Ok(Self {
            id: row.try_get("id")?,
            put_digest: row.try_get("put_digest")?,
            get_digest: row.try_get("get_digest")?,
            stored,
            expires_at: row.try_get("expires_at")?,
        })
    }
}

/// A place for one; gives its id.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    user_id: &str,
    put: &Token,
    get: &Token,
    expires_at: Millis,
) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO sources (id, user_id, put_digest, get_digest, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.as_str())
    .bind(user_id)
    .bind(put.digest())
    .bind(get.digest())
    .bind(clock::now())
    .bind(expires_at)
    .execute(db)
    .await?;
    Ok(id)
}

pub(crate) async fn find(db: &mut AnyConnection, id: &str) -> Sql<Option<SourceRow>> {
    sqlx::query_as("SELECT id, put_digest, get_digest, bytes, sha256, expires_at FROM sources WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
}

/// It is there now. `false`: it was already, or its place is gone.
pub(crate) async fn fill(db: &mut AnyConnection, id: &str, stored: &Stored) -> Sql<bool> {
    let done = sqlx::query("UPDATE sources SET bytes = $1, sha256 = $2 WHERE id = $3 AND bytes IS NULL")
        .bind(big(stored.bytes)?)
        .bind(stored.sha256.as_str())
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// How many places a user has, and those of them that no build needs, oldest first.
pub(crate) async fn of_user(db: &mut AnyConnection, user_id: &str) -> Sql<(usize, Vec<String>)> {
    let all: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM sources WHERE user_id = $1").bind(user_id).fetch_all(&mut *db).await?;
    let spare: Vec<(String,)> = sqlx::query_as(concat!(
        "SELECT id FROM sources WHERE user_id = $1 AND id NOT IN ",
        needed!(),
        " ORDER BY id"
    ))
    .bind(user_id)
    .fetch_all(db)
    .await?;
    Ok((all.len(), spare.into_iter().map(|(id,)| id).collect()))
}

pub(crate) async fn forget(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM sources WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// Forgets those that are past their time and that no build needs.
pub(crate) async fn forget_expired(db: &mut AnyConnection, now: Millis) -> Sql<()> {
    sqlx::query(concat!("DELETE FROM sources WHERE expires_at <= $1 AND id NOT IN ", needed!()))
        .bind(now)
        .execute(db)
        .await
        .map(drop)
}

/// All that there are.
pub(crate) async fn ids(db: &mut AnyConnection) -> Sql<Vec<String>> {
    let ids: Vec<(String,)> = sqlx::query_as("SELECT id FROM sources").fetch_all(db).await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}
