//! Who did what.

use axum::Json;
use axum::extract::State;
use ruko_api_types::AuditEntry;
use ruko_core::AppName;
use serde::Deserialize;

use super::LISTED;
use crate::api::Api;
use crate::errors::Answer;
use crate::extract::Asked;
use crate::store::audit;

#[derive(Deserialize)]
pub(crate) struct Question {
    app: Option<AppName>,
    limit: Option<u32>,
}

/// `GET /internal/audit?app=&limit=`
pub(crate) async fn list(
    State(api): State<Api>,
    Asked(asked): Asked<Question>,
) -> Answer<Json<Vec<AuditEntry>>> {
    let limit = asked.limit.unwrap_or(LISTED).min(MOST);
    let mut db = api.store.read().await?;
    Ok(Json(match asked.app {
        Some(app) => audit::of_app(&mut db, &app, limit).await?,
        None => audit::latest(&mut db, limit).await?,
    }))
}

/// The most entries that are given at a time.
const MOST: u32 = 10_000;
