//! SSH keys of users.

use ruko_api_types::{Key, KeyOwner};
use ruko_core::UserName;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id, parsed};
use crate::clock::{self, Millis};
use crate::public_key::PublicKey;

pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) user: UserName,
    pub(crate) fingerprint: String,
    pub(crate) public_key: String,
    pub(crate) comment: String,
    pub(crate) created_at: Millis,
}

impl FromRow<'_, AnyRow> for KeyRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            user: parsed(row.try_get("user_name")?)?,
            fingerprint: row.try_get("fingerprint")?,
            public_key: row.try_get("public_key")?,
            comment: row.try_get("comment")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        Self {
            fingerprint: row.fingerprint,
            public_key: row.public_key,
            comment: row.comment,
            created_at: clock::rfc3339(row.created_at),
        }
    }
}

impl From<KeyRow> for KeyOwner {
    fn from(row: KeyRow) -> Self {
        Self { user: row.user, key: row.id, public_key: row.public_key }
    }
}

pub(crate) async fn find(db: &mut AnyConnection, fingerprint: &str) -> Sql<Option<KeyRow>> {
    sqlx::query_as(
        "SELECT k.id, u.name AS user_name, k.fingerprint, k.public_key, k.comment, k.created_at \
         FROM ssh_keys k JOIN users u ON u.id = k.user_id WHERE k.fingerprint = $1",
    )
    .bind(fingerprint)
    .fetch_optional(db)
    .await
}

/// So many of all keys, oldest first, beginning after the one with this id.
pub(crate) async fn after(db: &mut AnyConnection, id: &str, limit: u32) -> Sql<Vec<KeyRow>> {
    sqlx::query_as(
        "SELECT k.id, u.name AS user_name, k.fingerprint, k.public_key, k.comment, k.created_at \
         FROM ssh_keys k JOIN users u ON u.id = k.user_id WHERE k.id > $1 ORDER BY k.id LIMIT $2",
    )
    .bind(id)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
}

/// Oldest first.
pub(crate) async fn of_user(db: &mut AnyConnection, user_id: &str) -> Sql<Vec<KeyRow>> {
    sqlx::query_as(
        "SELECT k.id, u.name AS user_name, k.fingerprint, k.public_key, k.comment, k.created_at \
         FROM ssh_keys k JOIN users u ON u.id = k.user_id WHERE k.user_id = $1 ORDER BY k.id",
    )
    .bind(user_id)
    .fetch_all(db)
    .await
}

pub(crate) async fn insert(db: &mut AnyConnection, user_id: &str, key: &PublicKey) -> Sql<()> {
    sqlx::query(
        "INSERT INTO ssh_keys (id, fingerprint, user_id, public_key, comment, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new_id())
    .bind(key.fingerprint.as_str())
    .bind(user_id)
    .bind(key.line.as_str())
    .bind(key.comment.as_str())
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// Whether the user had that key.
pub(crate) async fn delete(db: &mut AnyConnection, user_id: &str, fingerprint: &str) -> Sql<bool> {
    let done = sqlx::query("DELETE FROM ssh_keys WHERE user_id = $1 AND fingerprint = $2")
        .bind(user_id)
        .bind(fingerprint)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
