//! The log of pushes, with what their steps took.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::push_log::{PushRecord, Step, Steps};
use ruko_core::{AppName, PushId, UserName};
use serde::Deserialize;

use super::{LISTED, to_the_end};
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::store::push_log::{self, Filter};

/// The most entries that are given at a time.
const MOST: u32 = 10_000;

#[derive(Deserialize)]
pub(crate) struct Question {
    app: Option<AppName>,
    user: Option<UserName>,
    #[serde(default)]
    failed: bool,
    limit: Option<u32>,
}

/// `GET /internal/pushes?app=&user=&failed=&limit=`
pub(crate) async fn list(
    State(api): State<Api>,
    Asked(asked): Asked<Question>,
) -> Answer<Json<Vec<PushRecord>>> {
    let Question { app, user, failed, limit } = asked;
    let filter = Filter { app, user, failed, limit: limit.unwrap_or(LISTED).min(MOST) };
    let now = clock::now();
    let mut db = api.store.read().await?;
    let rows = push_log::list(&mut db, &filter, now).await?;
    Ok(Json(rows.into_iter().map(|row| row.record(now)).collect()))
}

/// `PUT /internal/pushes/{id}/steps`. The push has ended by now, and gets its line in the service's log: all that is
/// known of it, as JSON.
pub(crate) async fn tell(
    State(api): State<Api>,
    At(id): At<PushId>,
    Body(steps): Body<Steps>,
) -> Answer<StatusCode> {
    if !steps.steps.is_sorted_by(|one, other| one.step < other.step) {
        let all = Step::ALL.map(Step::name).join(", ");
        return Err(ApiFault::invalid(format!("Steps come in this order, each once: {all}.")));
    }
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let there = push_log::find(&mut db, &id).await?;
        there.ok_or_else(|| ApiFault::not_found(format!("push {id}")))?;
        push_log::set_steps(&mut db, &id, &steps).await?;
        let record = push_log::find(&mut db, &id).await?.map(|row| row.record(clock::now()));
        db.commit().await?;
        if let Some(line) = record.and_then(|record| serde_json::to_string(&record).ok()) {
            tracing::info!("push {line}");
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
