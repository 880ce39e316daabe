//! Certificates that should come by themselves. The wish is kept; nothing fulfils it yet, and every answer
//! says so.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use ruko_api_types::platform::{AcmRefresh, App};

use super::apps;
use super::caller::TheApp;
use super::route::{OPERATE, Route, delete, patch, post};
use crate::api::Api;
use crate::errors::Answer;
use crate::extract::Body;
use crate::store::apps::{AppChange, AppRow, change};

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/apps/{app}/acm", OPERATE, enable).says("Wish for automatic certificates").gives::<App>(),
        patch("/apps/{app}/acm", OPERATE, refresh)
            .says("Ask for automatic certificates again")
            .takes::<AcmRefresh>()
            .gives::<App>(),
        delete("/apps/{app}/acm", OPERATE, disable).says("Take the wish back").gives::<App>(),
    ]
}

/// The CLI prints it beside the answer.
const WARNING: HeaderName = HeaderName::from_static("warning-message");

/// Why no domain has a certificate from us.
pub(super) const NOT_YET: &str =
    "This server does not obtain certificates automatically yet. Add your own with `heroku certs:add`.";

async fn enable(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Response> {
    Ok(warned(set(&api, &app, true).await?))
}

/// There is nothing to look at again.
async fn refresh(State(api): State<Api>, TheApp(app): TheApp, Body(_): Body<AcmRefresh>) -> Answer<Response> {
    Ok(warned(apps::described(&api, &app)?))
}

async fn disable(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<App>> {
    Ok(Json(set(&api, &app, false).await?))
}

async fn set(api: &Api, app: &AppRow, wanted: bool) -> Answer<App> {
    let mut db = api.store.write().await?;
    change(&mut db, &app.id, AppChange { acm: Some(wanted), ..AppChange::default() }).await?;
    let app = apps::still_there(&mut db, app).await?;
    db.commit().await?;
    apps::described(api, &app)
}

fn warned(app: App) -> Response {
    let mut response = Json(app).into_response();
    response.headers_mut().insert(WARNING, HeaderValue::from_static(NOT_YET));
    response
}
