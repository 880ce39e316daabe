//! Features of apps that are turned on and off. Only what this server knows to do something with is one.

use axum::Json;
use axum::extract::State;
use ruko_api_types::platform::{AppFeature, FeatureChange};
use sqlx::AnyConnection;

use super::caller::TheApp;
use super::ids;
use super::route::{OPERATE, Route, VIEW, get, patch};
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::apps::AppRow;
use crate::store::features::{self, Switch};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/features", VIEW, list).says("Features of an app").gives::<Vec<AppFeature>>(),
        get("/apps/{app}/features/{feature}", VIEW, show).says("A feature").gives::<AppFeature>(),
        patch("/apps/{app}/features/{feature}", OPERATE, change)
            .says("Turn a feature on or off")
            .takes::<FeatureChange>()
            .gives::<AppFeature>(),
    ]
}

struct Feature {
    name: &'static str,
    display_name: &'static str,
    description: &'static str,
    doc_url: &'static str,
}

const FEATURES: [Feature; 2] = [
    Feature {
        name: "http-session-affinity",
        display_name: "Session affinity",
        description: "Requests of one browser go to the same web dyno while it is up.",
        doc_url: "https://devcenter.heroku.com/articles/session-affinity",
    },
    Feature {
        name: "preboot",
        display_name: "Preboot",
        description: "Web dynos of a new release are up before those of the old one are stopped.",
        doc_url: "https://devcenter.heroku.com/articles/preboot",
    },
];

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<AppFeature>>> {
    let mut db = api.store.read().await?;
    let touched = features::of_app(&mut db, &app.id).await?;
    let told = |feature: &Feature| described(feature, &app, touched.get(feature.name));
    Ok(Json(FEATURES.iter().map(told).collect()))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<AppFeature>> {
    let mut db = api.store.read().await?;
    Ok(Json(as_it_is(&mut db, &app, called_feature(&called)?).await?))
}

async fn change(
    State(api): State<Api>,
    app: TheApp,
    At((_, called)): At<(String, String)>,
    Body(wanted): Body<FeatureChange>,
) -> Answer<Json<AppFeature>> {
    let feature = called_feature(&called)?;
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    features::set(&mut db, &app.id, feature.name, wanted.enabled).await?;
    let told = as_it_is(&mut db, &app, feature).await?;
    db.commit().await?;
    Ok(Json(told))
}

/// By name or by id.
fn called_feature(called: &str) -> Answer<&'static Feature> {
    let found = FEATURES.iter().find(|feature| feature.name == called || id(feature) == called);
    found.ok_or_else(|| ApiFault::missing("app_feature", "Couldn't find that app feature."))
}

fn id(feature: &Feature) -> String {
    ids::of_name("app-feature", feature.name)
}

async fn as_it_is(db: &mut AnyConnection, app: &AppRow, feature: &Feature) -> Answer<AppFeature> {
    let touched = features::of_app(db, &app.id).await?;
    Ok(described(feature, app, touched.get(feature.name)))
}

fn described(feature: &Feature, app: &AppRow, switch: Option<&Switch>) -> AppFeature {
    AppFeature {
        id: id(feature),
        name: feature.name.to_owned(),
        display_name: feature.display_name.to_owned(),
        description: feature.description.to_owned(),
        doc_url: feature.doc_url.to_owned(),
        enabled: switch.is_some_and(|switch| switch.enabled),
        state: "general".to_owned(),
        created_at: clock::rfc3339(app.created_at),
        updated_at: clock::rfc3339(switch.map_or(app.created_at, |switch| switch.since)),
    }
}
