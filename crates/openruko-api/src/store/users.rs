//! Users.

use ruko_api_types::User;
use ruko_core::{AppName, EmailAddress, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, big, new_id, parsed};
use crate::clock::{self, Millis};

/// What a [`UserRow`] needs.
macro_rules! columns {
    () => {
        "id, name, email, password, site_admin, totp_secret, totp_since, created_at, updated_at"
    };
}

#[derive(Clone)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) name: UserName,
    pub(crate) email: Option<String>,
    /// argon2id, as a PHC string.
    pub(crate) password: Option<String>,
    pub(crate) site_admin: bool,
    pub(crate) totp_secret: Option<String>,
    /// Since when a code is asked for at login.
    pub(crate) totp_since: Option<Millis>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl UserRow {
    /// What stands for the user where an address is shown: not everybody has one.
    pub(crate) fn address(&self) -> &str {
        self.email.as_deref().unwrap_or(self.name.as_str())
    }
}

impl FromRow<'_, AnyRow> for UserRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Self::from_columns(row, "id", "created_at", "updated_at")
    }
}

impl UserRow {
    /// From a row in which the columns that other tables have as well may be called otherwise.
    pub(super) fn from_columns(row: &AnyRow, id: &str, created_at: &str, updated_at: &str) -> Sql<Self> {
        Ok(Self {
            id: row.try_get(id)?,
            name: parsed(row.try_get("name")?)?,
            email: row.try_get("email")?,
            password: row.try_get("password")?,
            site_admin: row.try_get::<i64, _>("site_admin")? != 0,
            totp_secret: row.try_get("totp_secret")?,
            totp_since: row.try_get("totp_since")?,
            created_at: row.try_get(created_at)?,
            updated_at: row.try_get(updated_at)?,
        })
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            name: row.name,
            email: row.email,
            site_admin: row.site_admin,
            created_at: clock::rfc3339(row.created_at),
        }
    }
}

pub(crate) async fn find(db: &mut AnyConnection, name: &UserName) -> Sql<Option<UserRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE name = $1"))
        .bind(name.as_str())
        .fetch_optional(db)
        .await
}

pub(crate) async fn by_id(db: &mut AnyConnection, id: &str) -> Sql<Option<UserRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE id = $1"))
        .bind(id)
        .fetch_optional(db)
        .await
}

/// By what people type: an e-mail address in any case, or a name.
pub(crate) async fn called(db: &mut AnyConnection, address: &str) -> Sql<Option<UserRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE email = $1 OR name = $1"))
        .bind(address.to_lowercase())
        .fetch_optional(db)
        .await
}

pub(crate) async fn list(db: &mut AnyConnection) -> Sql<Vec<UserRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM users ORDER BY name")).fetch_all(db).await
}

pub(crate) async fn insert(db: &mut AnyConnection, name: &UserName) -> Sql<UserRow> {
    let now = clock::now();
    let row = UserRow {
        id: new_id(),
        name: name.clone(),
        email: None,
        password: None,
        site_admin: false,
        totp_secret: None,
        totp_since: None,
        created_at: now,
        updated_at: now,
    };
    sqlx::query("INSERT INTO users (id, name, created_at, updated_at) VALUES ($1, $2, $3, $3)")
        .bind(row.id.as_str())
        .bind(name.as_str())
        .bind(now)
        .execute(db)
        .await?;
    Ok(row)
}

/// With their keys, their authorizations and their access to other people's apps.
pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM users WHERE id = $1").bind(id).execute(db).await.map(drop)
}

pub(crate) async fn owned_apps(db: &mut AnyConnection, id: &str) -> Sql<Vec<AppName>> {
    let names: Vec<(String,)> = sqlx::query_as("SELECT name FROM apps WHERE owner_id = $1 ORDER BY name")
        .bind(id)
        .fetch_all(db)
        .await?;
    names.into_iter().map(|(name,)| parsed(name)).collect()
}

pub(crate) async fn by_email(db: &mut AnyConnection, email: &EmailAddress) -> Sql<Option<UserRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE email = $1"))
        .bind(email.as_str())
        .fetch_optional(db)
        .await
}

/// What changes of a user; nothing stays as it is.
#[derive(Default)]
pub(crate) struct UserChange<'a> {
    pub(crate) email: Option<&'a EmailAddress>,
    pub(crate) site_admin: Option<bool>,
    /// argon2id, as a PHC string.
    pub(crate) password: Option<&'a str>,
}

pub(crate) async fn change(db: &mut AnyConnection, id: &str, change: UserChange<'_>) -> Sql<()> {
    sqlx::query(
        "UPDATE users SET email = COALESCE($1, email), site_admin = COALESCE($2, site_admin), \
         password = COALESCE($3, password), updated_at = $4 WHERE id = $5",
    )
    .bind(change.email.map(EmailAddress::as_str))
    .bind(change.site_admin.map(i64::from))
    .bind(change.password)
    .bind(clock::now())
    .bind(id)
    .execute(db)
    .await
    .map(drop)
}

/// Begins a second factor, which is not asked for yet.
pub(crate) async fn begin_two_factor(db: &mut AnyConnection, id: &str, secret: &str) -> Sql<()> {
    sqlx::query("UPDATE users SET totp_secret = $1, totp_since = NULL, totp_step = 0 WHERE id = $2")
        .bind(secret)
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}

/// Whether a code is asked for at login from now on: not where the secret was replaced in between.
pub(crate) async fn confirm_two_factor(db: &mut AnyConnection, id: &str, secret: &str) -> Sql<bool> {
    let done = sqlx::query(
        "UPDATE users SET totp_since = $1, updated_at = $1 \
         WHERE id = $2 AND totp_secret = $3 AND totp_since IS NULL",
    )
    .bind(clock::now())
    .bind(id)
    .bind(secret)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Turns the second factor off and forgets its codes.
pub(crate) async fn end_two_factor(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query(
        "UPDATE users SET totp_secret = NULL, totp_since = NULL, totp_step = 0, updated_at = $1 WHERE id = $2",
    )
    .bind(clock::now())
    .bind(id)
    .execute(&mut *db)
    .await?;
    forget_recovery_codes(db, id).await
}

/// Whether this time step, or a later one, was not used before: a code works once.
pub(crate) async fn use_step(db: &mut AnyConnection, id: &str, step: u64) -> Sql<bool> {
    let done = sqlx::query("UPDATE users SET totp_step = $1 WHERE id = $2 AND totp_step < $1")
        .bind(big(step)?)
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether it was one of the user's recovery codes; it is none any more.
pub(crate) async fn use_recovery_code(db: &mut AnyConnection, id: &str, digest: &str) -> Sql<bool> {
    let done = sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND digest = $2")
        .bind(id)
        .bind(digest)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn insert_recovery_code(db: &mut AnyConnection, id: &str, digest: &str) -> Sql<()> {
    sqlx::query("INSERT INTO recovery_codes (user_id, digest) VALUES ($1, $2)")
        .bind(id)
        .bind(digest)
        .execute(db)
        .await
        .map(drop)
}

pub(crate) async fn forget_recovery_codes(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1").bind(id).execute(db).await.map(drop)
}

pub(crate) async fn owned_pipelines(db: &mut AnyConnection, id: &str) -> Sql<Vec<String>> {
    let names: Vec<(String,)> =
        sqlx::query_as("SELECT name FROM pipelines WHERE owner_id = $1 ORDER BY name")
            .bind(id)
            .fetch_all(db)
            .await?;
    Ok(names.into_iter().map(|(name,)| name).collect())
}
