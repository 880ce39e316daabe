//! Logins that are finished in a browser, by the digests of their two secrets.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, count, new_id};
use crate::clock::Millis;
use crate::token::Token;

/// What a [`BrowserLoginRow`] needs.
macro_rules! columns {
    () => {
        "id, description, address, status, user_id, expires_at"
    };
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody answered yet.
    Open,
    /// This user (their id) logged in.
    Allowed(String),
    /// Somebody said no.
    Denied,
}

pub(crate) struct BrowserLoginRow {
    pub(crate) id: String,
    pub(crate) description: String,
    /// Where the program that began it is.
    pub(crate) address: String,
    pub(crate) status: Status,
    pub(crate) expires_at: Millis,
}

impl FromRow<'_, AnyRow> for BrowserLoginRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let user: Option<String> = row.try_get("user_id")?;
        let status: String = row.try_get("status")?;
        Ok(Self {
            id: row.try_get("id")?,
            description: row.try_get("description")?,
            address: row.try_get("address")?,
            status: match (status.as_str(), user) {
                ("open", _) => Status::Open,
                ("allowed", Some(user)) => Status::Allowed(user),
                _ => Status::Denied,
            },
            expires_at: row.try_get("expires_at")?,
        })
    }
}

/// A login that begins.
pub(crate) struct NewBrowserLogin<'a> {
    pub(crate) cli: &'a Token,
    pub(crate) browser: &'a Token,
    pub(crate) description: &'a str,
    pub(crate) address: &'a str,
    pub(crate) expires_at: Millis,
}

pub(crate) async fn insert(db: &mut AnyConnection, new: NewBrowserLogin<'_>) -> Sql<()> {
    sqlx::query(
        "INSERT INTO browser_logins (id, cli_digest, browser_digest, description, address, status, \
         expires_at) VALUES ($1, $2, $3, $4, $5, 'open', $6)",
    )
    .bind(new_id())
    .bind(new.cli.digest())
    .bind(new.browser.digest())
    .bind(new.description)
    .bind(new.address)
    .bind(new.expires_at)
    .execute(db)
    .await
    .map(drop)
}

/// By the secret of the program that began it.
pub(crate) async fn of_cli(db: &mut AnyConnection, secret: &Token) -> Sql<Option<BrowserLoginRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM browser_logins WHERE cli_digest = $1"))
        .bind(secret.digest())
        .fetch_optional(db)
        .await
}

/// By the secret in the address of the browser's page.
pub(crate) async fn of_browser(db: &mut AnyConnection, secret: &Token) -> Sql<Option<BrowserLoginRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM browser_logins WHERE browser_digest = $1"))
        .bind(secret.digest())
        .fetch_optional(db)
        .await
}

/// Whether it was open until now: the first answer counts. With a user it is allowed, else denied.
pub(crate) async fn answer(db: &mut AnyConnection, id: &str, user_id: Option<&str>) -> Sql<bool> {
    let status = if user_id.is_some() { "allowed" } else { "denied" };
    let done =
        sqlx::query("UPDATE browser_logins SET status = $1, user_id = $2 WHERE id = $3 AND status = 'open'")
            .bind(status)
            .bind(user_id)
            .bind(id)
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM browser_logins WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// Forgets those that ended before this moment.
pub(crate) async fn forget_expired(db: &mut AnyConnection, before: Millis) -> Sql<()> {
    sqlx::query("DELETE FROM browser_logins WHERE expires_at < $1").bind(before).execute(db).await.map(drop)
}

/// How many there are.
pub(crate) async fn number(db: &mut AnyConnection) -> Sql<u64> {
    let (number,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM browser_logins").fetch_one(db).await?;
    count(number)
}
