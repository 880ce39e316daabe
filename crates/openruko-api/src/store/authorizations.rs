//! Tokens of users, by their digests.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::users::UserRow;
use super::{Sql, new_id};
use crate::clock::{self, Millis};
use crate::token::Token;

/// What an [`AuthorizationRow`] needs.
macro_rules! columns {
    () => {
        "id, description, scope, token_hint, expires_at, created_at, updated_at"
    };
}

#[derive(Clone)]
pub(crate) struct AuthorizationRow {
    pub(crate) id: String,
    pub(crate) description: String,
    /// Words with a space between.
    pub(crate) scope: String,
    /// The token with its middle left out.
    pub(crate) token_hint: String,
    pub(crate) expires_at: Option<Millis>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl AuthorizationRow {
    pub(crate) fn has_expired(&self, now: Millis) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl FromRow<'_, AnyRow> for AuthorizationRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            description: row.try_get("description")?,
            scope: row.try_get("scope")?,
            token_hint: row.try_get("token_hint")?,
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// An authorization and its user, read at once: every call begins with them.
struct OfUser(AuthorizationRow, UserRow);

impl FromRow<'_, AnyRow> for OfUser {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let user = UserRow::from_columns(row, "user_id", "user_created_at", "user_updated_at")?;
        Ok(Self(AuthorizationRow::from_row(row)?, user))
    }
}

/// The authorization that a token belongs to, and its user, whether it has expired or not.
pub(crate) async fn of_token(
    db: &mut AnyConnection,
    digest: &str,
) -> Sql<Option<(AuthorizationRow, UserRow)>> {
    let found: Option<OfUser> = sqlx::query_as(
        "SELECT a.id, a.user_id, a.description, a.scope, a.token_hint, a.expires_at, a.created_at, a.updated_at, \
         u.name, u.email, u.password, u.site_admin, u.totp_secret, u.totp_since, \
         u.created_at AS user_created_at, u.updated_at AS user_updated_at \
         FROM authorizations a JOIN users u ON u.id = a.user_id WHERE a.token_digest = $1",
    )
    .bind(digest)
    .fetch_optional(db)
    .await?;
    Ok(found.map(|OfUser(authorization, user)| (authorization, user)))
}

/// A new authorization of a user.
pub(crate) struct NewAuthorization<'a> {
    pub(crate) description: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) expires_at: Option<Millis>,
}

pub(crate) async fn insert(
    db: &mut AnyConnection,
    user_id: &str,
    new: NewAuthorization<'_>,
    token: &Token,
) -> Sql<AuthorizationRow> {
    let now = clock::now();
    let row = AuthorizationRow {
        id: new_id(),
        description: new.description.to_owned(),
        scope: new.scope.to_owned(),
        token_hint: token.hint(),
        expires_at: new.expires_at,
        created_at: now,
        updated_at: now,
    };
    sqlx::query(
        "INSERT INTO authorizations (id, user_id, description, scope, token_digest, token_hint, expires_at, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(row.id.as_str())
    .bind(user_id)
    .bind(new.description)
    .bind(new.scope)
    .bind(token.digest())
    .bind(row.token_hint.as_str())
    .bind(new.expires_at)
    .bind(now)
    .execute(db)
    .await?;
    Ok(row)
}

/// Forgets tokens that expired long ago: until then they are told why they are refused.
pub(crate) async fn forget_expired(db: &mut AnyConnection, before: Millis) -> Sql<()> {
    sqlx::query("DELETE FROM authorizations WHERE expires_at < $1").bind(before).execute(db).await.map(drop)
}

/// Oldest first.
pub(crate) async fn of_user(db: &mut AnyConnection, user_id: &str) -> Sql<Vec<AuthorizationRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM authorizations WHERE user_id = $1 ORDER BY id"))
        .bind(user_id)
        .fetch_all(db)
        .await
}

/// One of this user's.
pub(crate) async fn find(db: &mut AnyConnection, user_id: &str, id: &str) -> Sql<Option<AuthorizationRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM authorizations WHERE user_id = $1 AND id = $2"))
        .bind(user_id)
        .bind(id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn describe(db: &mut AnyConnection, id: &str, description: &str) -> Sql<()> {
    sqlx::query("UPDATE authorizations SET description = $1, updated_at = $2 WHERE id = $3")
        .bind(description)
        .bind(clock::now())
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}

/// Another token in place of the old one.
pub(crate) async fn replace_token(db: &mut AnyConnection, id: &str, token: &Token) -> Sql<()> {
    sqlx::query("UPDATE authorizations SET token_digest = $1, token_hint = $2, updated_at = $3 WHERE id = $4")
        .bind(token.digest())
        .bind(token.hint())
        .bind(clock::now())
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}

pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM authorizations WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// Ends every token of the user but one, and counts them.
pub(crate) async fn delete_all_but(db: &mut AnyConnection, user_id: &str, kept: Option<&str>) -> Sql<u64> {
    let done = sqlx::query("DELETE FROM authorizations WHERE user_id = $1 AND id <> $2")
        .bind(user_id)
        .bind(kept.unwrap_or_default())
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
