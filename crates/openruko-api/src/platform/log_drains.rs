//! Log drains. They are kept; nothing sends lines to them yet, and the answer to a new one says so.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use ruko_api_types::platform::{LogDrain, NewLogDrain};
use serde::Deserialize;
use sqlx::AnyConnection;
use url::Url;

use super::caller::TheApp;
use super::route::{OPERATE, Realm, Route, delete, get, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::apps::AppRow;
use crate::store::log_drains::{self, LogDrainRow};

/// The URL of a drain is often a credential.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/log-drains", OPERATE, list)
            .about(Realm::Secrets)
            .says("Where the log of an app goes")
            .gives::<Vec<LogDrain>>(),
        post("/apps/{app}/log-drains", OPERATE, create)
            .about(Realm::Secrets)
            .says("Add a log drain")
            .takes::<NewLogDrain>()
            .creates::<LogDrain>(),
        get("/apps/{app}/log-drains/{drain}", OPERATE, show)
            .about(Realm::Secrets)
            .says("A log drain")
            .gives::<LogDrain>(),
        delete("/apps/{app}/log-drains/{drain}", OPERATE, remove)
            .about(Realm::Secrets)
            .says("Remove a log drain")
            .gives::<LogDrain>(),
    ]
}

/// The CLI prints it beside the answer.
const WARNING: HeaderName = HeaderName::from_static("warning-message");

const NOT_YET: &str =
    "This server does not send log lines to drains yet: the drain is kept for when it does.";

/// The most of one app.
const MAX: usize = 10;

const MAX_URL: usize = 2048;

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<LogDrain>>> {
    let mut db = api.store.read().await?;
    Ok(Json(log_drains::of_app(&mut db, &app.id).await?.into_iter().map(described).collect()))
}

async fn create(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(new): Body<NewLogDrain>,
) -> Answer<Response> {
    let url = judged(&new.url)?;
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    let there = log_drains::of_app(&mut db, &app.id).await?;
    if there.iter().any(|drain| drain.url == url) {
        return Err(ApiFault::invalid("Url has already been taken: the app has this drain."));
    }
    if there.len() >= MAX {
        return Err(ApiFault::invalid(format!("An app has at most {MAX} log drains.")));
    }
    let token = format!("d.{}", ids::new());
    let id = log_drains::insert(&mut db, &app.id, &url, &token).await?;
    let drain = found(&mut db, &app, &id).await?;
    db.commit().await?;
    let mut response = created(described(drain));
    response.headers_mut().insert(WARNING, HeaderValue::from_static(NOT_YET));
    Ok(response)
}

/// As it was given: what is shown must be what can be removed again.
fn judged(raw: &str) -> Answer<String> {
    let raw = raw.trim();
    let url =
        Url::parse(raw).ok().filter(|_| raw.len() <= MAX_URL && raw.bytes().all(|b| b.is_ascii_graphic()));
    let known = url.filter(|url| {
        let scheme = matches!(url.scheme(), "syslog" | "syslog+tls" | "https" | "http");
        scheme && url.host_str().is_some_and(|host| !host.is_empty()) && url.fragment().is_none()
    });
    known.map(|_| raw.to_owned()).ok_or_else(|| {
        ApiFault::invalid(
            "Url is invalid: a drain is a URL such as syslog+tls://HOST:PORT, syslog://HOST:PORT or https://HOST/PATH",
        )
    })
}

/// The path: an id, a token or an encoded URL.
#[derive(Deserialize)]
struct Called {
    drain: String,
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { drain }): At<Called>,
) -> Answer<Json<LogDrain>> {
    let mut db = api.store.read().await?;
    Ok(Json(described(found(&mut db, &app, &drain).await?)))
}

async fn remove(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { drain }): At<Called>,
) -> Answer<Json<LogDrain>> {
    let mut db = api.store.write().await?;
    let drain = found(&mut db, &app, &drain).await?;
    log_drains::delete(&mut db, &drain.id).await?;
    db.commit().await?;
    Ok(Json(described(drain)))
}

async fn found(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<LogDrainRow> {
    let id = ids::internal(called);
    let meant =
        |drain: &LogDrainRow| drain.url == called || drain.token == called || id.as_ref() == Some(&drain.id);
    let found = log_drains::of_app(db, &app.id).await?.into_iter().find(meant);
    found.ok_or_else(|| ApiFault::missing("log_drain", "Couldn't find that log drain."))
}

fn described(row: LogDrainRow) -> LogDrain {
    LogDrain {
        id: ids::public(&row.id),
        token: row.token,
        url: row.url,
        addon: None,
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}
