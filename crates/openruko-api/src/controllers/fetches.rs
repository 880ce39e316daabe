//! Fetches: access and metadata, no lease.

use axum::Json;
use axum::extract::State;
use ruko_api_types::{Access, AppRef, Fetch, OpenFetch};
use ruko_core::{AppName, PushId};

use super::access::authorized;
use crate::api::Api;
use crate::errors::Answer;
use crate::extract::{At, Body};
use crate::store::repos;

/// `POST /internal/apps/{app}/fetches`
pub(crate) async fn create(
    State(api): State<Api>,
    At(app): At<AppName>,
    Body(open): Body<OpenFetch>,
) -> Answer<Json<Fetch>> {
    let mut db = api.store.read().await?;
    let app = authorized(&mut db, &open.user, &app, Access::Read).await?;
    let repo = repos::object(&mut db, &app.id, app.repo_version).await?;
    // git is the same in all of them.
    let stack = api.settings.stacks.get(&api.settings.stacks.default);
    Ok(Json(Fetch {
        request_id: PushId::generate().to_string(),
        app: AppRef { id: app.id, name: app.name },
        template: stack.template,
        stack_image: stack.image,
        repo: repo.iter().map(|(key, _)| api.settings.storage.get(key)).collect(),
        stored: repo.into_iter().map(|(_, stored)| stored).collect(),
        limits: api.settings.limits,
    }))
}
