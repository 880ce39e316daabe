//! The server itself: what it is, where its other doors are, what it runs apps on.

use axum::Json;
use axum::extract::State;
use ruko_api_types::platform::{Provider, Region, Server, Stack};
use ruko_core::StackName;

use super::route::{Realm, Route, get};
use super::{Who, ids};
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::At;
use crate::settings::{Public, Settings};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/openruko", Who::Anyone, about).says("What this server is").gives::<Server>(),
        get("/health", Who::Anyone, health).says("Whether it answers").gives::<serde_json::Value>(),
        get("/api/v4/current-status", Who::Anyone, status)
            .says("As Heroku's status page tells it")
            .gives::<serde_json::Value>(),
        get("/stacks", Who::User, stacks).about(Realm::Identity).says("Stacks").gives::<Vec<Stack>>(),
        get("/stacks/{stack}", Who::User, stack).about(Realm::Identity).says("A stack").gives::<Stack>(),
        get("/regions", Who::User, regions).about(Realm::Identity).says("Regions").gives::<Vec<Region>>(),
        get("/regions/{region}", Who::User, region).about(Realm::Identity).says("A region").gives::<Region>(),
    ]
}

/// The settings of the public side; there is no request without them.
pub(super) fn public(api: &Api) -> Answer<&Public> {
    api.settings.public.as_ref().ok_or_else(|| ApiFault::Internal("no [api.public]".to_owned()))
}

async fn about(State(api): State<Api>) -> Answer<Json<Server>> {
    let public = public(&api)?;
    Ok(Json(Server {
        name: Server::NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_url: public.git_url("{app}"),
        ssh_url: public.ssh_url("{app}"),
        web_url: api.settings.web_url.clone(),
    }))
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

/// For `heroku status` (<https://devcenter.heroku.com/articles/heroku-status>): whoever gets this answer sees that
/// the API is there.
async fn status() -> Json<serde_json::Value> {
    let green = |system: &str| serde_json::json!({ "system": system, "status": "green" });
    Json(serde_json::json!({ "status": [green("Apps"), green("Tools")], "incidents": [], "scheduled": [] }))
}

async fn stacks(State(api): State<Api>) -> Json<Vec<Stack>> {
    Json(api.settings.stacks.names().map(|name| described(&api.settings, name)).collect())
}

async fn stack(State(api): State<Api>, At(called): At<String>) -> Answer<Json<Stack>> {
    let found = api.settings.stacks.find(&called, |name| ids::of_name("stack", name));
    let name = found.ok_or_else(|| ApiFault::missing("stack", "Couldn't find that stack."))?;
    Ok(Json(described(&api.settings, name)))
}

/// A stack as clients see it.
fn described(settings: &Settings, name: &StackName) -> Stack {
    Stack {
        id: ids::of_name("stack", name.as_str()),
        name: name.to_string(),
        state: "public".to_owned(),
        default: *name == settings.stacks.default,
        created_at: clock::rfc3339(0),
        updated_at: clock::rfc3339(0),
    }
}

async fn regions(State(api): State<Api>) -> Answer<Json<Vec<Region>>> {
    Ok(Json(vec![the_region(public(&api)?)]))
}

async fn region(State(api): State<Api>, At(called): At<String>) -> Answer<Json<Region>> {
    let region = the_region(public(&api)?);
    if called == region.name || called == region.id {
        Ok(Json(region))
    } else {
        Err(ApiFault::missing("region", "Couldn't find that region."))
    }
}

/// The one region that there is: this installation.
fn the_region(public: &Public) -> Region {
    Region {
        id: ids::of_name("region", &public.region),
        name: public.region.clone(),
        description: "The machines of this openruko".to_owned(),
        country: String::new(),
        locale: String::new(),
        private_capable: false,
        provider: Some(Provider { name: "openruko".to_owned(), region: public.region.clone() }),
        created_at: clock::rfc3339(0),
        updated_at: clock::rfc3339(0),
    }
}
