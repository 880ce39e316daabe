//! The releases of an app.

use axum::Json;
use axum::extract::State;
use ruko_api_types::Release;
use ruko_core::AppName;

use super::{LISTED, app_named};
use crate::api::Api;
use crate::errors::Answer;
use crate::extract::At;
use crate::store::releases;

/// `GET /internal/apps/{app}/releases`
pub(crate) async fn list(State(api): State<Api>, At(app): At<AppName>) -> Answer<Json<Vec<Release>>> {
    let mut db = api.store.read().await?;
    let app = app_named(&mut db, &app).await?;
    let rows = releases::of_app(&mut db, &app.id, LISTED).await?;
    let oldest = rows.last().map_or(0, |row| row.version);
    let mut types = releases::process_types_from(&mut db, &app.id, oldest).await?;
    let told = rows.into_iter().map(|row| {
        let types = types.remove(&row.version).unwrap_or_default();
        row.internal(types, |key| api.settings.storage.get(key))
    });
    Ok(Json(told.collect()))
}
