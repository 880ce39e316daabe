//! The releases of an app.

use axum::Json;
use axum::extract::State;
use ruko_api_types::Release;
use ruko_core::AppName;

use super::{LISTED, app_named};
use crate::api::Api;
use crate::errors::Answer;
use crate::extract::At;
use crate::store::releases::{self, ReleaseRow};

/// `GET /internal/apps/{app}/releases`
pub(crate) async fn list(State(api): State<Api>, At(app): At<AppName>) -> Answer<Json<Vec<Release>>> {
    let mut db = api.store.read().await?;
    let app = app_named(&mut db, &app).await?;
    let rows = releases::of_app(&mut db, &app.id, LISTED).await?;
    let with_url =
        |row: ReleaseRow| Release { slug_url: Some(api.settings.object(&row.slug_key)), ..row.release };
    Ok(Json(rows.into_iter().map(with_url).collect()))
}
