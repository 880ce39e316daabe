//! Pushes, seen as builds.

use axum::Json;
use axum::extract::State;
use ruko_api_types::Build;
use ruko_core::AppName;

use super::{LISTED, app_named};
use crate::api::Api;
use crate::clock;
use crate::errors::Answer;
use crate::extract::At;
use crate::store::pushes;

/// `GET /internal/apps/{app}/builds`
pub(crate) async fn list(State(api): State<Api>, At(app): At<AppName>) -> Answer<Json<Vec<Build>>> {
    let mut db = api.store.read().await?;
    let app = app_named(&mut db, &app).await?;
    let now = clock::now();
    let pushes = pushes::of_app(&mut db, &app.id, LISTED).await?;
    Ok(Json(pushes.into_iter().map(|push| push.build(now)).collect()))
}
