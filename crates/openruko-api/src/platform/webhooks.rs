//! Webhooks of apps.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use ruko_api_types::platform::{
    Identified, NewWebhook, Webhook, WebhookAttempt, WebhookChanges, WebhookDelivery, WebhookEvent,
    WebhookEventRef,
};
use serde::Deserialize;
use sqlx::AnyConnection;
use url::Url;

use super::caller::TheApp;
use super::page::{Page, Paged};
use super::route::{OPERATE, Route, delete, get, patch, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::apps::AppRow;
use crate::store::webhooks::{self, DeliveryRow, WebhookRow};
use crate::token::Token;
use crate::webhooks::KINDS;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/webhooks", OPERATE, list).says("The webhooks of an app").gives::<Vec<Webhook>>(),
        post("/apps/{app}/webhooks", OPERATE, create)
            .says("Add a webhook")
            .takes::<NewWebhook>()
            .creates::<Webhook>(),
        get("/apps/{app}/webhooks/{webhook}", OPERATE, show).says("A webhook").gives::<Webhook>(),
        patch("/apps/{app}/webhooks/{webhook}", OPERATE, change)
            .says("Change a webhook")
            .takes::<WebhookChanges>()
            .gives::<Webhook>(),
        delete("/apps/{app}/webhooks/{webhook}", OPERATE, remove).says("Remove a webhook").gives::<Webhook>(),
        get("/apps/{app}/webhook-deliveries", OPERATE, deliveries)
            .says("What is on its way to webhooks, and what was")
            .pages::<WebhookDelivery>(),
        get("/apps/{app}/webhook-deliveries/{delivery}", OPERATE, delivery)
            .says("A delivery to a webhook")
            .gives::<WebhookDelivery>(),
        post("/apps/{app}/webhook-deliveries/{delivery}/retry", OPERATE, retry)
            .says("Deliver it again")
            .gives::<WebhookDelivery>(),
        get("/apps/{app}/webhook-events", OPERATE, events)
            .says("What was told to webhooks")
            .pages::<WebhookEvent>(),
        get("/apps/{app}/webhook-events/{event}", OPERATE, event)
            .says("An event that was told to webhooks")
            .gives::<WebhookEvent>(),
    ]
}

const SECRET: HeaderName = HeaderName::from_static("heroku-webhook-secret");

/// The most of one app.
const MAX: usize = 20;

const MAX_URL: usize = 2048;

/// Of a secret and of a header, in bytes.
const MAX_SECRET: usize = 256;

/// The latest deliveries that are listed.
const LISTED: u32 = 1000;

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<Webhook>>> {
    let mut db = api.store.read().await?;
    let rows = webhooks::of_app(&mut db, &app.id).await?;
    Ok(Json(rows.into_iter().map(|row| described(&app, row)).collect()))
}

async fn create(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(new): Body<NewWebhook>,
) -> Answer<Response> {
    let secret = match new.secret {
        Some(secret) => secret,
        None => Token::generate_plain()?.reveal().to_owned(),
    };
    let wanted = webhooks::NewWebhook {
        url: &new.url,
        level: new.level,
        include: &new.include,
        secret: &secret,
        authorization: new.authorization.as_deref(),
    };
    judge(&wanted)?;
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    if webhooks::of_app(&mut db, &app.id).await?.len() >= MAX {
        return Err(ApiFault::invalid(format!("An app has at most {MAX} webhooks.")));
    }
    let id = webhooks::insert(&mut db, &app.id, wanted).await?;
    let row = found(&mut db, &app, &id).await?;
    db.commit().await?;
    let mut response = created(described(&app, row));
    if let Ok(secret) = HeaderValue::try_from(secret) {
        response.headers_mut().insert(SECRET, secret);
    }
    Ok(response)
}

/// Whether it can be delivered to; where its host lies is looked at with every delivery.
fn judge(wanted: &webhooks::NewWebhook<'_>) -> Answer<()> {
    let url = Url::parse(wanted.url).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http") && url.has_host() && wanted.url.len() <= MAX_URL
    });
    if url.is_none() {
        return Err(ApiFault::invalid("Url is invalid: a webhook is a URL such as https://HOST/PATH."));
    }
    if wanted.include.is_empty() {
        return Err(ApiFault::invalid(format!(
            "Include is empty: name one or more of {}.",
            KINDS.join(", ")
        )));
    }
    if let Some(unknown) = wanted.include.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        let unknown: String = unknown.chars().take(60).collect();
        return Err(ApiFault::invalid(format!(
            "`{}` is nothing that can be told of here: there are {}.",
            unknown.escape_debug(),
            KINDS.join(", ")
        )));
    }
    let plain = |text: &str| text.len() <= MAX_SECRET && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if wanted.secret.is_empty() || !plain(wanted.secret) || !wanted.authorization.is_none_or(plain) {
        return Err(ApiFault::invalid(format!(
            "A webhook's secret and authorization are plain text of up to {MAX_SECRET} characters."
        )));
    }
    Ok(())
}

/// The path.
#[derive(Deserialize)]
struct Called {
    webhook: String,
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { webhook }): At<Called>,
) -> Answer<Json<Webhook>> {
    let mut db = api.store.read().await?;
    let row = found(&mut db, &app, &webhook).await?;
    Ok(Json(described(&app, row)))
}

async fn change(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { webhook }): At<Called>,
    Body(changes): Body<WebhookChanges>,
) -> Answer<Json<Webhook>> {
    let mut db = api.store.write().await?;
    let row = found(&mut db, &app, &webhook).await?;
    let wanted = webhooks::NewWebhook {
        url: changes.url.as_deref().unwrap_or(&row.url),
        level: changes.level.unwrap_or(row.level),
        include: changes.include.as_deref().unwrap_or(&row.include),
        secret: changes.secret.as_deref().unwrap_or(&row.secret),
        authorization: changes.authorization.as_deref().or(row.authorization.as_deref()),
    };
    judge(&wanted)?;
    webhooks::update(&mut db, &row.id, wanted).await?;
    let row = found(&mut db, &app, &row.id).await?;
    db.commit().await?;
    Ok(Json(described(&app, row)))
}

async fn remove(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { webhook }): At<Called>,
) -> Answer<Json<Webhook>> {
    let mut db = api.store.write().await?;
    let row = found(&mut db, &app, &webhook).await?;
    webhooks::delete(&mut db, &row.id).await?;
    db.commit().await?;
    Ok(Json(described(&app, row)))
}

async fn found(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<WebhookRow> {
    let found = match ids::internal(called) {
        Some(id) => webhooks::find(db, &app.id, &id).await?,
        None => None,
    };
    found.ok_or_else(|| ApiFault::missing("webhook", "Couldn't find that webhook."))
}

async fn deliveries(
    State(api): State<Api>,
    TheApp(app): TheApp,
    page: Page,
) -> Answer<Paged<WebhookDelivery>> {
    let mut db = api.store.read().await?;
    let mut rows = webhooks::deliveries(&mut db, &app.id, LISTED).await?;
    rows.reverse();
    let all = rows.into_iter().map(described_delivery).collect();
    Ok(page.of(all, |one: &WebhookDelivery| one.id.clone()))
}

/// The path.
#[derive(Deserialize)]
struct CalledDelivery {
    delivery: String,
}

async fn delivery(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(CalledDelivery { delivery }): At<CalledDelivery>,
) -> Answer<Json<WebhookDelivery>> {
    let mut db = api.store.read().await?;
    Ok(Json(described_delivery(found_delivery(&mut db, &app, &delivery).await?)))
}

async fn retry(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(CalledDelivery { delivery }): At<CalledDelivery>,
) -> Answer<Json<WebhookDelivery>> {
    let mut db = api.store.write().await?;
    let row = found_delivery(&mut db, &app, &delivery).await?;
    webhooks::retry(&mut db, &row.id).await?;
    let row = found_delivery(&mut db, &app, &row.id).await?;
    db.commit().await?;
    api.webhooks_due.notify_waiters();
    Ok(Json(described_delivery(row)))
}

async fn found_delivery(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<DeliveryRow> {
    let found = match ids::internal(called) {
        Some(id) => webhooks::delivery(db, &app.id, &id).await?,
        None => None,
    };
    found.ok_or_else(|| ApiFault::missing("webhook_delivery", "Couldn't find that webhook delivery."))
}

async fn events(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<WebhookEvent>> {
    Ok(page.of(told(&api, &app).await?, |one: &WebhookEvent| one.id.clone()))
}

/// The path.
#[derive(Deserialize)]
struct CalledEvent {
    event: String,
}

async fn event(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(CalledEvent { event }): At<CalledEvent>,
) -> Answer<Json<WebhookEvent>> {
    let found = told(&api, &app).await?.into_iter().find(|one| one.id == event);
    Ok(Json(found.ok_or_else(|| ApiFault::missing("webhook_event", "Couldn't find that webhook event."))?))
}

/// Oldest first. An event went to several webhooks at the same moment.
async fn told(api: &Api, app: &AppRow) -> Answer<Vec<WebhookEvent>> {
    let mut db = api.store.read().await?;
    let mut rows = webhooks::deliveries(&mut db, &app.id, LISTED).await?;
    rows.reverse();
    rows.dedup_by(|one, other| one.event_id == other.event_id);
    Ok(rows.iter().map(described_event).collect())
}

fn described(app: &AppRow, row: WebhookRow) -> Webhook {
    Webhook {
        id: ids::public(&row.id),
        url: row.url,
        level: row.level,
        include: row.include,
        app: apps::named(app),
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}

fn described_event(row: &DeliveryRow) -> WebhookEvent {
    WebhookEvent {
        id: ids::public(&row.event_id),
        include: row.include.clone(),
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.created_at),
    }
}

fn described_delivery(row: DeliveryRow) -> WebhookDelivery {
    let code = row.last_code.and_then(|code| u16::try_from(code).ok());
    let succeeded = code.is_some_and(|code| (200..300).contains(&code));
    let attempt = WebhookAttempt {
        code,
        error_class: row.last_error,
        status: if succeeded { "succeeded" } else { "failed" }.to_owned(),
    };
    WebhookDelivery {
        id: ids::public(&row.id),
        event: WebhookEventRef { id: ids::public(&row.event_id), include: row.include },
        webhook: Identified { id: ids::public(&row.webhook_id) },
        status: row.status,
        num_attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
        next_attempt_at: row.next_at.map(clock::rfc3339),
        last_attempt: (row.attempts > 0).then_some(attempt),
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}
