//! Apps, and the buildpacks they name.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ruko_api_types::{App, AppRef, Buildpacks, Destroyed, NewApp};
use ruko_core::AppName;
use sqlx::AnyConnection;

use super::{app_named, created_as, user_named};
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::release::{self, Runs};
use crate::store::apps::AppRow;
use crate::store::users::UserRow;
use crate::store::{apps, buildpacks, collaborators, discarded, pushes, retention, slugs};
use crate::{judge, places};

/// `POST /internal/apps`
pub(crate) async fn create(State(api): State<Api>, Body(new): Body<NewApp>) -> Answer<Response> {
    let mut db = api.store.write().await?;
    let owner = user_named(&mut db, &new.owner).await?;
    if let Some(known) = apps::find(&mut db, &new.name).await? {
        if known.owner_id != owner.id {
            let message = format!("The name `{}` is taken by an app of `{}`.", new.name, known.owner);
            return Err(ApiFault::conflict("name_taken", message));
        }
        return Ok(Json(described(&mut db, &api, known).await?).into_response());
    }
    let app = make(&mut db, &api, &new.name, &owner).await?;
    let app = described(&mut db, &api, app).await?;
    db.commit().await?;
    Ok(created_as(&app.name, &app))
}

/// `GET /internal/apps`
pub(crate) async fn list(State(api): State<Api>) -> Answer<Json<Vec<App>>> {
    let mut db = api.store.read().await?;
    let mut list = Vec::new();
    for app in apps::list(&mut db).await? {
        list.push(described(&mut db, &api, app).await?);
    }
    Ok(Json(list))
}

/// `GET /internal/apps/{app}`
pub(crate) async fn show(State(api): State<Api>, At(app): At<AppName>) -> Answer<Json<App>> {
    let mut db = api.store.read().await?;
    let app = app_named(&mut db, &app).await?;
    Ok(Json(described(&mut db, &api, app).await?))
}

/// `DELETE /internal/apps/{app}`
pub(crate) async fn destroy(State(api): State<Api>, At(app): At<AppName>) -> Answer<Json<Destroyed>> {
    let mut db = api.store.write().await?;
    let app = app_named(&mut db, &app).await?;
    if let Some(open) = pushes::open_now(&mut db, &app.id, clock::now()).await? {
        let message = format!("`{}` is pushing to `{}` at this moment.", open.user, app.name);
        return Err(ApiFault::conflict("push_open", message));
    }
    discard(&mut db, &app).await?;
    db.commit().await?;
    api.forget_log(&app.id).await;
    api.storage_due.notify_waiters();
    Ok(Json(Destroyed { app: AppRef { id: app.id, name: app.name } }))
}

/// `PUT /internal/apps/{app}/buildpacks`
pub(crate) async fn set_buildpacks(
    State(api): State<Api>,
    At(app): At<AppName>,
    Body(wanted): Body<Buildpacks>,
) -> Answer<Json<Buildpacks>> {
    judge::buildpacks(&wanted.buildpacks)?;
    let mut db = api.store.write().await?;
    let app = app_named(&mut db, &app).await?;
    buildpacks::replace(&mut db, &app.id, &wanted.buildpacks).await?;
    db.commit().await?;
    Ok(Json(wanted))
}

/// A new app and its first release.
pub(crate) async fn make(
    db: &mut AnyConnection,
    api: &Api,
    name: &AppName,
    owner: &UserRow,
) -> Answer<AppRow> {
    let id = apps::insert(db, name, owner, &api.settings.stacks.default).await?;
    release::make(db, &api.settings, &id, &owner.name, "Initial release", Runs::Nothing).await?;
    Ok(apps::by_id(db, &id).await?)
}

/// Deletes an app. What it leaves in storage is not kept: its slugs but for those that another app has released, its
/// repository, its build cache, and what pushes may have left.
pub(crate) async fn discard(db: &mut AnyConnection, app: &AppRow) -> Answer<()> {
    let mut objects = retention::repos_of(db, &app.id).await?;
    objects.extend(retention::uncommitted_of(db, &app.id).await?);
    objects.push(places::cache(&app.id, app.cache));
    apps::delete(db, &app.id).await?;
    objects.extend(slugs::forget(db, &app.id).await?);
    Ok(discarded::insert(db, &objects).await?)
}

async fn described(db: &mut AnyConnection, api: &Api, app: AppRow) -> Answer<App> {
    let now = clock::now();
    let push = pushes::open_now(db, &app.id, now).await?.map(|push| push.holder(now));
    Ok(App {
        collaborators: collaborators::of_app(db, &app.id).await?,
        buildpacks: buildpacks::of_app(db, &app.id).await?,
        web_url: api.settings.web_url(&app.name),
        id: app.id,
        name: app.name,
        owner: app.owner,
        stack: app.stack,
        repo_version: app.repo_version,
        release: app.serving,
        push,
        created_at: clock::rfc3339(app.created_at),
    })
}
