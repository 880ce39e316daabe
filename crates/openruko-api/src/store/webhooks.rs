//! Webhooks of apps, and what is on its way to them.

use ruko_api_types::platform::WebhookLevel;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, count, new_id, parsed};
use crate::clock::{self, Millis};

/// What a [`WebhookRow`] needs.
macro_rules! webhooks {
    ($rest:literal) => {
        concat!(
            "SELECT id, url, level, include, secret, authorization_header, created_at, updated_at \
             FROM webhooks ",
            $rest
        )
    };
}

#[derive(Clone)]
pub(crate) struct WebhookRow {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) level: WebhookLevel,
    /// `api:release` and so on.
    pub(crate) include: Vec<String>,
    /// What signs the messages.
    pub(crate) secret: String,
    pub(crate) authorization: Option<String>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for WebhookRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        let include: String = row.try_get("include")?;
        Ok(Self {
            id: row.try_get("id")?,
            url: row.try_get("url")?,
            level: parsed(row.try_get("level")?)?,
            include: include.split_whitespace().map(str::to_owned).collect(),
            secret: row.try_get("secret")?,
            authorization: row.try_get("authorization_header")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// In the order in which they were added.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<WebhookRow>> {
    sqlx::query_as(webhooks!("WHERE app_id = $1 ORDER BY id")).bind(app_id).fetch_all(db).await
}

pub(crate) async fn find(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<Option<WebhookRow>> {
    sqlx::query_as(webhooks!("WHERE app_id = $1 AND id = $2")).bind(app_id).bind(id).fetch_optional(db).await
}

/// A webhook as it is to be; its id and its times are the database's business.
pub(crate) struct NewWebhook<'a> {
    pub(crate) url: &'a str,
    pub(crate) level: WebhookLevel,
    pub(crate) include: &'a [String],
    pub(crate) secret: &'a str,
    pub(crate) authorization: Option<&'a str>,
}

/// Gives the new one's id.
pub(crate) async fn insert(db: &mut AnyConnection, app_id: &str, new: NewWebhook<'_>) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO webhooks (id, app_id, url, level, include, secret, authorization_header, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(id.as_str())
    .bind(app_id)
    .bind(new.url)
    .bind(new.level.as_str())
    .bind(new.include.join(" "))
    .bind(new.secret)
    .bind(new.authorization)
    .bind(clock::now())
    .execute(db)
    .await?;
    Ok(id)
}

pub(crate) async fn update(db: &mut AnyConnection, id: &str, new: NewWebhook<'_>) -> Sql<()> {
    sqlx::query(
        "UPDATE webhooks SET url = $1, level = $2, include = $3, secret = $4, authorization_header = $5, \
         updated_at = $6 WHERE id = $7",
    )
    .bind(new.url)
    .bind(new.level.as_str())
    .bind(new.include.join(" "))
    .bind(new.secret)
    .bind(new.authorization)
    .bind(clock::now())
    .bind(id)
    .execute(db)
    .await
    .map(drop)
}

/// With what is on its way to it.
pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// What a [`DeliveryRow`] needs.
macro_rules! deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.webhook_id, d.event_id, d.include, d.status, d.attempts, d.next_at, d.last_code, \
             d.last_error, d.created_at, d.updated_at FROM webhook_deliveries d \
             JOIN webhooks w ON w.id = d.webhook_id ",
            $rest
        )
    };
}

pub(crate) struct DeliveryRow {
    pub(crate) id: String,
    pub(crate) webhook_id: String,
    pub(crate) event_id: String,
    /// `api:release` and so on.
    pub(crate) include: String,
    /// `pending`, `retrying`, `succeeded` or `failed`.
    pub(crate) status: String,
    pub(crate) attempts: u64,
    pub(crate) next_at: Option<Millis>,
    pub(crate) last_code: Option<i64>,
    pub(crate) last_error: Option<String>,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for DeliveryRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            webhook_id: row.try_get("webhook_id")?,
            event_id: row.try_get("event_id")?,
            include: row.try_get("include")?,
            status: row.try_get("status")?,
            attempts: count(row.try_get("attempts")?)?,
            next_at: row.try_get("next_at")?,
            last_code: row.try_get("last_code")?,
            last_error: row.try_get("last_error")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// Those to an app's webhooks, newest first.
pub(crate) async fn deliveries(db: &mut AnyConnection, app_id: &str, limit: u32) -> Sql<Vec<DeliveryRow>> {
    sqlx::query_as(deliveries!("WHERE w.app_id = $1 ORDER BY d.id DESC LIMIT $2"))
        .bind(app_id)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
}

pub(crate) async fn delivery(db: &mut AnyConnection, app_id: &str, id: &str) -> Sql<Option<DeliveryRow>> {
    sqlx::query_as(deliveries!("WHERE w.app_id = $1 AND d.id = $2"))
        .bind(app_id)
        .bind(id)
        .fetch_optional(db)
        .await
}

/// An event, to be told to one webhook at once.
pub(crate) struct NewDelivery<'a> {
    pub(crate) webhook_id: &'a str,
    pub(crate) event_id: &'a str,
    pub(crate) include: &'a str,
    /// JSON.
    pub(crate) payload: &'a str,
}

pub(crate) async fn enqueue(db: &mut AnyConnection, id: &str, new: NewDelivery<'_>) -> Sql<()> {
    sqlx::query(
        "INSERT INTO webhook_deliveries (id, webhook_id, event_id, include, payload, status, attempts, next_at, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $6, $6)",
    )
    .bind(id)
    .bind(new.webhook_id)
    .bind(new.event_id)
    .bind(new.include)
    .bind(new.payload)
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// Forgets what ended before.
pub(crate) async fn forget_ended(db: &mut AnyConnection, before: Millis) -> Sql<()> {
    sqlx::query("DELETE FROM webhook_deliveries WHERE next_at IS NULL AND updated_at < $1")
        .bind(before)
        .execute(db)
        .await
        .map(drop)
}

/// A delivery whose time has come.
pub(crate) struct Due {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) owner_id: String,
}

impl FromRow<'_, AnyRow> for Due {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            app_id: row.try_get("app_id")?,
            owner_id: row.try_get("owner_id")?,
        })
    }
}

/// The next that are due: so many of each app, and of those so many of each owner.
pub(crate) async fn due(
    db: &mut AnyConnection,
    now: Millis,
    (of_app, of_owner): (u32, u32),
    limit: u32,
) -> Sql<Vec<Due>> {
    sqlx::query_as(
        "SELECT id, app_id, owner_id FROM \
         (SELECT id, app_id, owner_id, next_at, \
         ROW_NUMBER() OVER (PARTITION BY owner_id ORDER BY next_at, id) AS nth_of_owner FROM \
         (SELECT d.id, d.next_at, w.app_id, a.owner_id, \
         ROW_NUMBER() OVER (PARTITION BY w.app_id ORDER BY d.next_at, d.id) AS nth_of_app \
         FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN apps a ON a.id = w.app_id \
         WHERE d.next_at <= $1) AS due \
         WHERE nth_of_app <= $2) AS first_of_apps \
         WHERE nth_of_owner <= $3 ORDER BY next_at, id LIMIT $4",
    )
    .bind(now)
    .bind(i64::from(of_app))
    .bind(i64::from(of_owner))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
}

/// What an attempt takes.
pub(crate) struct DueRow {
    pub(crate) id: String,
    pub(crate) attempts: u64,
    pub(crate) payload: String,
    pub(crate) url: String,
    pub(crate) level: WebhookLevel,
    pub(crate) secret: String,
    pub(crate) authorization: Option<String>,
}

impl FromRow<'_, AnyRow> for DueRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            attempts: count(row.try_get("attempts")?)?,
            payload: row.try_get("payload")?,
            url: row.try_get("url")?,
            level: parsed(row.try_get("level")?)?,
            secret: row.try_get("secret")?,
            authorization: row.try_get("authorization_header")?,
        })
    }
}

/// Takes one that is due, and puts it off: should we die with it, it is due again then. None if another API was first.
pub(crate) async fn take(
    db: &mut AnyConnection,
    id: &str,
    now: Millis,
    put_off_to: Millis,
) -> Sql<Option<DueRow>> {
    let taken = sqlx::query("UPDATE webhook_deliveries SET next_at = $1 WHERE id = $2 AND next_at <= $3")
        .bind(put_off_to)
        .bind(id)
        .bind(now)
        .execute(&mut *db)
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    sqlx::query_as(
        "SELECT d.id, d.attempts, d.payload, w.url, w.level, w.secret, w.authorization_header \
         FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await
}

/// When the next one is due after this moment.
pub(crate) async fn next_due(db: &mut AnyConnection, after: Millis) -> Sql<Option<Millis>> {
    let (next,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(next_at) FROM webhook_deliveries WHERE next_at > $1")
            .bind(after)
            .fetch_one(db)
            .await?;
    Ok(next)
}

/// How an attempt went.
pub(crate) struct Attempt<'a> {
    pub(crate) status: &'a str,
    pub(crate) next_at: Option<Millis>,
    pub(crate) code: Option<u16>,
    pub(crate) error: Option<&'a str>,
}

pub(crate) async fn attempted(db: &mut AnyConnection, id: &str, attempt: Attempt<'_>) -> Sql<()> {
    sqlx::query(
        "UPDATE webhook_deliveries SET status = $1, attempts = attempts + 1, next_at = $2, last_code = $3, \
         last_error = $4, updated_at = $5 WHERE id = $6",
    )
    .bind(attempt.status)
    .bind(attempt.next_at)
    .bind(attempt.code.map(i64::from))
    .bind(attempt.error)
    .bind(clock::now())
    .bind(id)
    .execute(db)
    .await
    .map(drop)
}

/// Makes an ended delivery due again.
pub(crate) async fn retry(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("UPDATE webhook_deliveries SET status = 'retrying', next_at = $1 WHERE id = $2")
        .bind(clock::now())
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}
