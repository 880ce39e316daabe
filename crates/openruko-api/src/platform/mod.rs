//! The Platform API: what developers reach.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::errors::ApiFault;
use crate::settings::Public;

/// What is answered on the public listener; nothing of the internal API is.
pub(crate) fn platform_router(api: Api) -> Router {
    Router::new()
        .route("/openruko", get(identity))
        .fallback(async || ApiFault::no_such_call())
        .method_not_allowed_fallback(async || ApiFault::wrong_method())
        .with_state(api)
}

/// `GET /openruko`: a client learns that it speaks to openruko, and where git is.
async fn identity(State(api): State<Api>) -> Result<Json<Value>, ApiFault> {
    let Public { git_url, ssh_url, .. } = api.settings.public.as_ref().ok_or_else(ApiFault::no_such_call)?;
    Ok(Json(json!({
        "name": "openruko",
        "version": env!("CARGO_PKG_VERSION"),
        "git_url": git_url,
        "ssh_url": ssh_url,
        "web_url": api.settings.web_url,
    })))
}
