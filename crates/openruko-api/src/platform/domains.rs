//! The host names of an app: its own below the server's domain, and those that its users own.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{Domain, DomainChanges, Named, NewDomain};
use sqlx::AnyConnection;

use super::caller::TheApp;
use super::page::{Page, Paged};
use super::route::{OPERATE, Route, VIEW, delete, get, patch, post};
use super::{apps, ids, server};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::hostname::{self, Hostname, Reserved};
use crate::store::apps::AppRow;
use crate::store::domains::{self, DomainRow};
use crate::store::sni_endpoints;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/domains", VIEW, list).says("The host names of an app").pages::<Domain>(),
        post("/apps/{app}/domains", OPERATE, create)
            .says("Add a host name")
            .takes::<NewDomain>()
            .creates::<Domain>(),
        get("/apps/{app}/domains/{domain}", VIEW, show).says("A host name").gives::<Domain>(),
        patch("/apps/{app}/domains/{domain}", OPERATE, change)
            .says("Give it another certificate")
            .takes::<DomainChanges>()
            .gives::<Domain>(),
        delete("/apps/{app}/domains/{domain}", OPERATE, remove).says("Remove a host name").gives::<Domain>(),
    ]
}

/// The most of one app: Heroku's bound.
const MAX: u64 = 1000;

/// The app's own first, so that it is on the first page.
async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<Domain>> {
    let mut db = api.store.read().await?;
    let custom = domains::of_app(&mut db, &app.id).await?;
    let mut all = vec![own(&api, &app)];
    all.extend(custom.iter().map(|domain| described(&api, &app, domain)));
    Ok(page.of(all, |domain| domain.id.clone()))
}

async fn create(State(api): State<Api>, TheApp(app): TheApp, Body(new): Body<NewDomain>) -> Answer<Response> {
    let hostname = parsed(&new.hostname)?;
    if reserved(&api)?.has(&hostname) {
        return Err(ApiFault::invalid(format!(
            "{hostname} belongs to this server: add a domain of your own."
        )));
    }
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    require_free(&mut db, &app, &hostname).await?;
    let endpoint = endpoint(&mut db, &app, new.sni_endpoint.as_deref()).await?;
    let id = domains::insert(&mut db, &app.id, &hostname, endpoint.as_deref()).await?;
    let domain = domains::find(&mut db, &app.id, &id).await?.ok_or(sqlx::Error::RowNotFound)?;
    db.commit().await?;
    Ok(created(described(&api, &app, &domain)))
}

fn parsed(raw: &str) -> Answer<Hostname> {
    raw.parse().map_err(|why| {
        let raw: String = raw.chars().take(100).collect();
        ApiFault::invalid(format!("Domain `{}` {why}.", raw.escape_debug()))
    })
}

fn reserved(api: &Api) -> Answer<Reserved> {
    let public = server::public(api)?;
    Ok(Reserved::of(
        &api.settings.web_url,
        [public.url.clone(), public.git_url("git"), public.ssh_url("git")],
    ))
}

/// Whoever has it is not told: that is their business.
async fn require_free(db: &mut AnyConnection, app: &AppRow, hostname: &Hostname) -> Answer<()> {
    if domains::find(db, &app.id, hostname.as_str()).await?.is_some() {
        return Err(ApiFault::invalid(format!("{hostname} is already added to this app.")));
    }
    if domains::is_taken(db, hostname).await? {
        return Err(ApiFault::invalid(format!("{hostname} is currently in use by another app.")));
    }
    let near = domains::near(db, hostname, &app.owner_id).await?;
    let clashes = |other: &String| {
        hostname.covers(other) || hostname.wildcard_above().is_some_and(|wildcard| wildcard == *other)
    };
    if near.iter().any(clashes) {
        return Err(ApiFault::invalid(format!(
            "{hostname} overlaps with a domain of somebody else's app: a wildcard, or a name below one."
        )));
    }
    if domains::count_of_app(db, &app.id).await? >= MAX {
        return Err(ApiFault::invalid(format!("An app has at most {MAX} domains.")));
    }
    Ok(())
}

/// The id of an app's certificate, by name or id.
async fn endpoint(db: &mut AnyConnection, app: &AppRow, called: Option<&str>) -> Answer<Option<String>> {
    let Some(called) = called else { return Ok(None) };
    let id = ids::internal(called);
    let found = sni_endpoints::find(db, &app.id, id.as_deref().unwrap_or(called)).await?;
    let found = found.ok_or_else(|| {
        let called: String = called.chars().take(60).collect();
        ApiFault::invalid(format!("This app has no certificate `{}`.", called.escape_debug()))
    })?;
    Ok(Some(found.id))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { domain }): At<Called>,
) -> Answer<Json<Domain>> {
    if is_own(&api, &app, &domain) {
        return Ok(Json(own(&api, &app)));
    }
    let mut db = api.store.read().await?;
    Ok(Json(described(&api, &app, &custom(&mut db, &app, &domain).await?)))
}

async fn change(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { domain }): At<Called>,
    Body(wanted): Body<DomainChanges>,
) -> Answer<Json<Domain>> {
    require_custom(&api, &app, &domain)?;
    let mut db = api.store.write().await?;
    let found = custom(&mut db, &app, &domain).await?;
    let endpoint = endpoint(&mut db, &app, wanted.sni_endpoint.as_deref()).await?;
    domains::set_sni_endpoint(&mut db, &app.id, &found.id, endpoint.as_deref()).await?;
    let found = custom(&mut db, &app, &found.hostname).await?;
    db.commit().await?;
    Ok(Json(described(&api, &app, &found)))
}

async fn remove(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { domain }): At<Called>,
) -> Answer<Json<Domain>> {
    require_custom(&api, &app, &domain)?;
    let mut db = api.store.write().await?;
    let found = custom(&mut db, &app, &domain).await?;
    domains::delete(&mut db, &app.id, &found.id).await?;
    db.commit().await?;
    Ok(Json(described(&api, &app, &found)))
}

/// The path.
#[derive(serde::Deserialize)]
struct Called {
    domain: String,
}

fn require_custom(api: &Api, app: &AppRow, called: &str) -> Answer<()> {
    if is_own(api, app, called) {
        return Err(ApiFault::invalid(format!(
            "{} is the app's own name on this server: it cannot be changed or removed.",
            own_name(api, app)
        )));
    }
    Ok(())
}

/// A custom domain of the app, by name in any spelling or by id.
async fn custom(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<DomainRow> {
    let known = ids::internal(called).or_else(|| called.parse().ok().map(|name: Hostname| name.to_string()));
    let found = match known {
        Some(known) => domains::find(db, &app.id, &known).await?,
        None => None,
    };
    found.ok_or_else(|| ApiFault::missing("domain", "Couldn't find that domain name."))
}

fn own_name(api: &Api, app: &AppRow) -> String {
    hostname::of_url(&api.settings.web_url(&app.name)).to_owned()
}

fn own_id(app: &AppRow) -> String {
    ids::of_name("domain", &app.id)
}

fn is_own(api: &Api, app: &AppRow, called: &str) -> bool {
    called == own_id(app) || called.eq_ignore_ascii_case(&own_name(api, app))
}

fn own(api: &Api, app: &AppRow) -> Domain {
    Domain {
        id: own_id(app),
        hostname: own_name(api, app),
        kind: "heroku".to_owned(),
        cname: None,
        status: "succeeded".to_owned(),
        acm_status: None,
        acm_status_reason: None,
        sni_endpoint: None,
        app: apps::named(app),
        created_at: clock::rfc3339(app.created_at),
        updated_at: clock::rfc3339(app.created_at),
    }
}

/// Nothing has to be waited for: it is there once it is stored.
fn described(api: &Api, app: &AppRow, domain: &DomainRow) -> Domain {
    let wanted = app.acm && domain.sni_endpoint.is_none();
    Domain {
        id: ids::public(&domain.id),
        hostname: domain.hostname.clone(),
        kind: "custom".to_owned(),
        cname: Some(own_name(api, app)),
        status: "succeeded".to_owned(),
        acm_status: wanted.then(|| "failed".to_owned()),
        acm_status_reason: wanted.then(|| super::acm::NOT_YET.to_owned()),
        sni_endpoint: domain
            .sni_endpoint
            .as_ref()
            .map(|(id, name)| Named { id: ids::public(id), name: name.clone() }),
        app: apps::named(app),
        created_at: clock::rfc3339(domain.created_at),
        updated_at: clock::rfc3339(domain.updated_at),
    }
}
