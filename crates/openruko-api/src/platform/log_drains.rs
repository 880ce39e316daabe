//! Log drains: where the log of an app goes. [`crate::log::drains`] sends it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{LogDrain, NewLogDrain};
use serde::Deserialize;
use sqlx::AnyConnection;

use super::caller::TheApp;
use super::route::{OPERATE, Realm, Route, delete, get, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::log::drains::{self, BadDrain, Destination};
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

/// The most of one app.
const MAX: usize = 10;

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<LogDrain>>> {
    let mut db = api.store.read().await?;
    Ok(Json(log_drains::of_app(&mut db, &app.id).await?.into_iter().map(described).collect()))
}

async fn create(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(new): Body<NewLogDrain>,
) -> Answer<Response> {
    let url = judged(&api, &new.url)?;
    // What is said from here on is sent.
    let begin = drains::position(&api, &app.id).await?;
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
    api.drains.begins(&id, begin);
    db.commit().await?;
    api.drains.look();
    Ok(created(described(drain)))
}

/// As it was given: what is shown must be what can be removed again. Where its host lies is looked at with every
/// connection.
fn judged(api: &Api, raw: &str) -> Answer<String> {
    let raw = raw.trim();
    let private = super::server::public(api)?.webhook_private;
    let message = match Destination::parse(raw, private) {
        Ok(_) => return Ok(raw.to_owned()),
        Err(BadDrain::PlainHttp) => {
            "Url is invalid: lines would go over plain HTTP; an admin can allow that with `webhook_private`"
        }
        Err(BadDrain::PrivateNetwork) => {
            "Url is invalid: its host is on a private network; an admin can allow that with `webhook_private`"
        }
        Err(BadDrain::NoUrl) => {
            "Url is invalid: a drain is a URL such as syslog+tls://HOST:PORT, syslog://HOST:PORT or https://HOST/PATH"
        }
    };
    Err(ApiFault::invalid(message))
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
    api.drains.look();
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
