//! Certificates that users bring for their domains.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{NewSniEndpoint, SniEndpoint, SslCert};
use serde::Deserialize;
use sqlx::AnyConnection;

use super::caller::TheApp;
use super::page::{Page, Paged};
use super::route::{OPERATE, Route, VIEW, delete, get, patch, post};
use super::{apps, ids, names};
use crate::api::Api;
use crate::certificate::{self, Certificate};
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::apps::AppRow;
use crate::store::sni_endpoints::{self, SniEndpointRow};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/sni-endpoints", VIEW, list)
            .says("The certificates of an app")
            .pages::<SniEndpoint>(),
        post("/apps/{app}/sni-endpoints", OPERATE, create)
            .says("Add a certificate")
            .up_to(BODY)
            .takes::<NewSniEndpoint>()
            .creates::<SniEndpoint>(),
        get("/apps/{app}/sni-endpoints/{endpoint}", VIEW, show).says("A certificate").gives::<SniEndpoint>(),
        patch("/apps/{app}/sni-endpoints/{endpoint}", OPERATE, replace)
            .says("Replace a certificate")
            .up_to(BODY)
            .takes::<NewSniEndpoint>()
            .gives::<SniEndpoint>(),
        delete("/apps/{app}/sni-endpoints/{endpoint}", OPERATE, remove)
            .says("Remove a certificate")
            .gives::<SniEndpoint>(),
    ]
}

/// A chain and a key, in bytes.
const BODY: usize = 128 << 10;

/// The most of one app.
const MAX: usize = 100;

async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<SniEndpoint>> {
    let mut db = api.store.read().await?;
    let mut all = Vec::new();
    for row in sni_endpoints::of_app(&mut db, &app.id).await? {
        all.push(described(&mut db, &app, row).await?);
    }
    Ok(page.of(all, |endpoint| endpoint.id.clone()))
}

async fn create(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(new): Body<NewSniEndpoint>,
) -> Answer<Response> {
    let certificate = judged(&new)?;
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    let there = sni_endpoints::of_app(&mut db, &app.id).await?;
    if there.len() >= MAX {
        return Err(ApiFault::invalid(format!("An app has at most {MAX} certificates.")));
    }
    let name = free_name(&there)?;
    let id = sni_endpoints::insert(&mut db, &app.id, &name, &certificate).await?;
    let row = found(&mut db, &app, &id).await?;
    let endpoint = described(&mut db, &app, row).await?;
    db.commit().await?;
    Ok(created(endpoint))
}

fn judged(new: &NewSniEndpoint) -> Answer<Certificate> {
    certificate::judge(&new.certificate_chain, &new.private_key, clock::now())
        .map_err(|why| ApiFault::invalid(why.to_string()))
}

/// A made-up name that the app has not yet.
fn free_name(there: &[SniEndpointRow]) -> Answer<String> {
    loop {
        let name = names::random()?.to_string();
        if there.iter().all(|row| row.name != name) {
            return Ok(name);
        }
    }
}

/// The path.
#[derive(Deserialize)]
struct Called {
    endpoint: String,
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { endpoint }): At<Called>,
) -> Answer<Json<SniEndpoint>> {
    let mut db = api.store.read().await?;
    let row = found(&mut db, &app, &endpoint).await?;
    Ok(Json(described(&mut db, &app, row).await?))
}

async fn replace(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { endpoint }): At<Called>,
    Body(new): Body<NewSniEndpoint>,
) -> Answer<Json<SniEndpoint>> {
    let certificate = judged(&new)?;
    let mut db = api.store.write().await?;
    let row = found(&mut db, &app, &endpoint).await?;
    sni_endpoints::replace(&mut db, &app.id, &row.id, &certificate).await?;
    let row = found(&mut db, &app, &row.id).await?;
    let endpoint = described(&mut db, &app, row).await?;
    db.commit().await?;
    Ok(Json(endpoint))
}

async fn remove(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { endpoint }): At<Called>,
) -> Answer<Json<SniEndpoint>> {
    let mut db = api.store.write().await?;
    let row = found(&mut db, &app, &endpoint).await?;
    let id = row.id.clone();
    let endpoint = described(&mut db, &app, row).await?;
    sni_endpoints::delete(&mut db, &app.id, &id).await?;
    db.commit().await?;
    Ok(Json(endpoint))
}

async fn found(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<SniEndpointRow> {
    let id = ids::internal(called);
    let found = sni_endpoints::find(db, &app.id, id.as_deref().unwrap_or(called)).await?;
    found.ok_or_else(|| ApiFault::missing("sni_endpoint", "Couldn't find that SNI endpoint."))
}

async fn described(db: &mut AnyConnection, app: &AppRow, row: SniEndpointRow) -> Answer<SniEndpoint> {
    let facts = certificate::described(&row.certificate_chain);
    let id = ids::public(&row.id);
    let domains = sni_endpoints::domains(db, &row.id).await?;
    Ok(SniEndpoint {
        domains: domains.iter().map(|id| ids::public(id)).collect(),
        display_name: Some(row.name.clone()),
        name: row.name,
        certificate_chain: row.certificate_chain,
        ssl_cert: SslCert {
            id: id.clone(),
            acm: false,
            ca_signed: !facts.self_signed,
            self_signed: facts.self_signed,
            cert_domains: facts.domains,
            issuer: facts.issuer,
            subject: facts.subject,
            starts_at: clock::rfc3339(facts.starts_at),
            expires_at: clock::rfc3339(facts.expires_at),
        },
        id,
        app: apps::named(app),
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    })
}
