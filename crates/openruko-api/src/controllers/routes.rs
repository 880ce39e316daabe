//! The calls of the router: it asks where requests go, and tells which apps are asked for.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::router::{Activity, RoutedApps, Wake};

use super::changes::{self, End, Question};
use super::to_the_end;
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, Body};
use crate::routing;
use crate::store::web;

/// `GET /internal/router/apps`
pub(crate) async fn list(State(api): State<Api>, Asked(asked): Asked<Question>) -> Answer<Json<RoutedApps>> {
    let mut changes = changes::wait(&api, &asked).await?;
    let mut apps = Vec::new();
    while let Some(row) = changes.next() {
        let app = routing::of_app(&mut changes.db, &api.settings, row).await?;
        changes.weigh(app.certificates.iter().map(|pair| pair.chain.len() + pair.key.len()).sum());
        apps.push(app);
    }
    let End { revision, more, gone } = changes.end().await?;
    Ok(Json(RoutedApps { revision, more, apps, gone }))
}

/// `POST /internal/router/wake`
pub(crate) async fn wake(State(api): State<Api>, Body(Wake { app }): Body<Wake>) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        if !web::wake(&mut db, &app, clock::now()).await? {
            return Err(ApiFault::not_found("such app any more"));
        }
        db.commit().await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /internal/router/activity`
pub(crate) async fn activity(State(api): State<Api>, Body(activity): Body<Activity>) -> Answer<StatusCode> {
    let now = clock::now();
    if !activity.apps.is_empty() {
        let mut db = api.store.write().await?;
        for (app, seconds) in &activity.apps {
            let ago = Millis::try_from(*seconds).unwrap_or(Millis::MAX).saturating_mul(1000);
            web::active(&mut db, app, now.saturating_sub(ago)).await?;
        }
        db.commit().await?;
    }
    api.activity_told.store(now, Ordering::Relaxed);
    Ok(StatusCode::NO_CONTENT)
}
