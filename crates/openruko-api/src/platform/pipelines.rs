//! Pipelines and the apps in them. Whoever owns a pipeline manages it; whoever may see an app in it sees it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{
    App, AppFilter, Named, NewPipeline, NewPipelineCoupling, Permission, Pipeline, PipelineChanges,
    PipelineCoupling, PipelineCouplingChanges, PipelineOwner, Stage,
};
use ruko_core::AppName;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::guard::app_called;
use super::page::{Page, Paged};
use super::route::{Route, VIEW, delete, get, patch, post};
use super::{Who, apps, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::rights::{self, Need};
use crate::store::apps as app_rows;
use crate::store::pipelines::{self, CouplingRow, PipelineRow};
use crate::store::users::UserRow;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/pipelines", Who::User, list)
            .says("Pipelines")
            .asks("eq[name]", "Only the one of this name.")
            .pages::<Pipeline>(),
        post("/pipelines", Who::User, create)
            .says("Create a pipeline")
            .takes::<NewPipeline>()
            .creates::<Pipeline>(),
        get("/pipelines/{pipeline}", Who::User, show).says("A pipeline").gives::<Pipeline>(),
        patch("/pipelines/{pipeline}", Who::User, change)
            .says("Rename a pipeline")
            .takes::<PipelineChanges>()
            .gives::<Pipeline>(),
        delete("/pipelines/{pipeline}", Who::User, destroy)
            .says("Destroy a pipeline; its apps stay")
            .gives::<Pipeline>(),
        get("/pipelines/{pipeline}/pipeline-couplings", Who::User, couplings)
            .says("The apps of a pipeline")
            .gives::<Vec<PipelineCoupling>>(),
        get("/pipelines/{pipeline}/test-runs", Who::User, test_runs)
            .says("Tests: there are none on this server")
            .gives::<Vec<Value>>(),
        get("/pipelines/{pipeline}/stage/{stage}/config-vars", Who::User, stage_config)
            .says("Config vars of a stage: there are none on this server")
            .gives::<Map<String, Value>>(),
        get("/pipeline-couplings", Who::User, all_couplings)
            .says("The apps of all pipelines")
            .pages::<PipelineCoupling>(),
        post("/pipeline-couplings", Who::User, couple)
            .says("Put an app into a pipeline")
            .takes::<NewPipelineCoupling>()
            .creates::<PipelineCoupling>(),
        get("/pipeline-couplings/{coupling}", Who::User, coupling)
            .says("An app of a pipeline")
            .gives::<PipelineCoupling>(),
        patch("/pipeline-couplings/{coupling}", Who::User, move_coupling)
            .says("Move an app to another stage")
            .takes::<PipelineCouplingChanges>()
            .gives::<PipelineCoupling>(),
        delete("/pipeline-couplings/{coupling}", Who::User, uncouple)
            .says("Take an app out of its pipeline")
            .gives::<PipelineCoupling>(),
        get("/apps/{app}/pipeline-couplings", VIEW, coupling_of_app)
            .says("The pipeline of an app")
            .gives::<PipelineCoupling>(),
        post("/filters/apps", Who::User, filter)
            .says("Those of the named apps that one may see")
            .takes::<AppFilter>()
            .gives::<Vec<App>>(),
    ]
}

/// The path.
#[derive(Deserialize)]
pub(super) struct Called {
    pub(super) pipeline: String,
}

/// What a pipeline is put to use for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    See,
    Manage,
}

/// By name or id; one that the caller may not know of is not there.
pub(super) async fn pipeline(
    db: &mut AnyConnection,
    user: &UserRow,
    called: &str,
    wanted: Use,
) -> Answer<PipelineRow> {
    let no_such = || ApiFault::missing("pipeline", "Couldn't find that pipeline.");
    let id = ids::internal(called);
    let found = pipelines::find(db, id.as_deref().unwrap_or(called)).await?.ok_or_else(no_such)?;
    if user.site_admin || found.owner_id == user.id {
        return Ok(found);
    }
    let seen = pipelines::seen_by(db, &user.id).await?;
    match (seen.iter().any(|one| one.id == found.id), wanted) {
        (false, _) => Err(no_such()),
        (true, Use::See) => Ok(found),
        (true, Use::Manage) => Err(ApiFault::not_allowed(format!(
            "Only the owner of the pipeline `{}` may do this.",
            found.name
        ))),
    }
}

/// `eq[name]=NAME` asks for one.
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(asked): Asked<Vec<(String, String)>>,
    page: Page,
) -> Answer<Paged<Pipeline>> {
    let mut db = api.store.read().await?;
    let rows = match caller.user.site_admin {
        true => pipelines::list(&mut db).await?,
        false => pipelines::seen_by(&mut db, &caller.user.id).await?,
    };
    let name = asked.into_iter().find(|(key, _)| key == "eq[name]").map(|(_, name)| name);
    let meant = |row: &PipelineRow| name.as_ref().is_none_or(|name| row.name == *name);
    Ok(page.of(rows.into_iter().filter(meant).map(described).collect(), |one: &Pipeline| one.id.clone()))
}

async fn create(State(api): State<Api>, caller: Caller, Body(new): Body<NewPipeline>) -> Answer<Response> {
    let name = name(&new.name)?;
    if new.owner.is_some_and(|owner| ids::internal(&owner.id).as_ref() != Some(&caller.user.id)) {
        return Err(ApiFault::invalid("You can only create pipelines of your own: there are no teams here."));
    }
    let mut db = api.store.write().await?;
    require_free(&mut db, &name).await?;
    let id = pipelines::insert(&mut db, &name, &caller.user.id).await?;
    let row = pipelines::find(&mut db, &id).await?.ok_or(sqlx::Error::RowNotFound)?;
    db.commit().await?;
    Ok(created(described(row)))
}

/// As that of an app.
fn name(raw: &str) -> Answer<AppName> {
    raw.parse().map_err(|_| {
        ApiFault::invalid(
            "Name must start with a letter, end with a letter or digit, can only contain lower-case letters, \
             digits and dashes, and must have from 3 to 30 characters",
        )
    })
}

async fn require_free(db: &mut AnyConnection, name: &AppName) -> Answer<()> {
    match pipelines::find(db, name.as_str()).await? {
        None => Ok(()),
        Some(_) => Err(ApiFault::invalid(format!("Name {name} is already taken"))),
    }
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Called { pipeline: called }): At<Called>,
) -> Answer<Json<Pipeline>> {
    let mut db = api.store.read().await?;
    Ok(Json(described(pipeline(&mut db, &caller.user, &called, Use::See).await?)))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    At(Called { pipeline: called }): At<Called>,
    Body(wanted): Body<PipelineChanges>,
) -> Answer<Json<Pipeline>> {
    let new = wanted.name.as_deref().map(name).transpose()?;
    let mut db = api.store.write().await?;
    let row = pipeline(&mut db, &caller.user, &called, Use::Manage).await?;
    if let Some(new) = new.filter(|new| new.as_str() != row.name) {
        require_free(&mut db, &new).await?;
        pipelines::rename(&mut db, &row.id, &new).await?;
    }
    let row = pipelines::find(&mut db, &row.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    db.commit().await?;
    Ok(Json(described(row)))
}

async fn destroy(
    State(api): State<Api>,
    caller: Caller,
    At(Called { pipeline: called }): At<Called>,
) -> Answer<Json<Pipeline>> {
    let mut db = api.store.write().await?;
    let row = pipeline(&mut db, &caller.user, &called, Use::Manage).await?;
    pipelines::delete(&mut db, &row.id).await?;
    db.commit().await?;
    Ok(Json(described(row)))
}

async fn couplings(
    State(api): State<Api>,
    caller: Caller,
    At(Called { pipeline: called }): At<Called>,
) -> Answer<Json<Vec<PipelineCoupling>>> {
    let mut db = api.store.read().await?;
    let row = pipeline(&mut db, &caller.user, &called, Use::See).await?;
    let couplings = pipelines::couplings_of(&mut db, &row.id).await?;
    Ok(Json(couplings.into_iter().map(described_coupling).collect()))
}

async fn test_runs(
    State(api): State<Api>,
    caller: Caller,
    At(Called { pipeline: called }): At<Called>,
) -> Answer<Json<Vec<Value>>> {
    let mut db = api.store.read().await?;
    pipeline(&mut db, &caller.user, &called, Use::See).await?;
    Ok(Json(Vec::new()))
}

/// The path.
#[derive(Deserialize)]
struct CalledStage {
    pipeline: String,
    stage: String,
}

async fn stage_config(
    State(api): State<Api>,
    caller: Caller,
    At(called): At<CalledStage>,
) -> Answer<Json<Map<String, Value>>> {
    let mut db = api.store.read().await?;
    pipeline(&mut db, &caller.user, &called.pipeline, Use::See).await?;
    called.stage.parse::<Stage>().map_err(|_| ApiFault::missing("stage", "Couldn't find that stage."))?;
    Ok(Json(Map::new()))
}

async fn all_couplings(
    State(api): State<Api>,
    caller: Caller,
    page: Page,
) -> Answer<Paged<PipelineCoupling>> {
    let mut db = api.store.read().await?;
    let mut all = pipelines::couplings(&mut db).await?;
    if !caller.user.site_admin {
        let seen = pipelines::seen_by(&mut db, &caller.user.id).await?;
        all.retain(|coupling| seen.iter().any(|pipeline| pipeline.id == coupling.pipeline_id));
    }
    Ok(page.of(all.into_iter().map(described_coupling).collect(), |one: &PipelineCoupling| one.id.clone()))
}

/// It takes somebody who manages the pipeline and operates the app.
async fn couple(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewPipelineCoupling>,
) -> Answer<Response> {
    let mut db = api.store.write().await?;
    let app = app_called(&mut db, &new.app).await?;
    rights::require(&mut db, &caller.user, &app, Need::Permission(Permission::Operate)).await?;
    let row = pipeline(&mut db, &caller.user, &new.pipeline, Use::Manage).await?;
    if let Some(there) = pipelines::coupling_of_app(&mut db, &app.id).await? {
        let message =
            format!("{} is already in the pipeline {}: remove it there first.", app.name, there.pipeline);
        return Err(ApiFault::invalid(message));
    }
    let id = pipelines::couple(&mut db, &row.id, &app.id, new.stage).await?;
    let coupling = pipelines::coupling(&mut db, &id).await?.ok_or(sqlx::Error::RowNotFound)?;
    db.commit().await?;
    Ok(created(described_coupling(coupling)))
}

/// The path.
#[derive(Deserialize)]
struct CalledCoupling {
    coupling: String,
}

fn no_such_coupling() -> ApiFault {
    ApiFault::missing("pipeline_coupling", "Couldn't find that pipeline coupling.")
}

/// A coupling in a pipeline that the caller may see.
async fn found(db: &mut AnyConnection, user: &UserRow, called: &str) -> Answer<CouplingRow> {
    let id = ids::internal(called).ok_or_else(no_such_coupling)?;
    let coupling = pipelines::coupling(db, &id).await?.ok_or_else(no_such_coupling)?;
    match pipeline(db, user, &coupling.pipeline_id, Use::See).await {
        Ok(_) => Ok(coupling),
        Err(ApiFault::Refused { .. }) => Err(no_such_coupling()),
        Err(fault) => Err(fault),
    }
}

async fn coupling(
    State(api): State<Api>,
    caller: Caller,
    At(CalledCoupling { coupling }): At<CalledCoupling>,
) -> Answer<Json<PipelineCoupling>> {
    let mut db = api.store.read().await?;
    Ok(Json(described_coupling(found(&mut db, &caller.user, &coupling).await?)))
}

async fn move_coupling(
    State(api): State<Api>,
    caller: Caller,
    At(CalledCoupling { coupling }): At<CalledCoupling>,
    Body(wanted): Body<PipelineCouplingChanges>,
) -> Answer<Json<PipelineCoupling>> {
    let mut db = api.store.write().await?;
    let row = found(&mut db, &caller.user, &coupling).await?;
    pipeline(&mut db, &caller.user, &row.pipeline_id, Use::Manage).await?;
    if let Some(stage) = wanted.stage {
        pipelines::set_stage(&mut db, &row.id, stage).await?;
    }
    let row = pipelines::coupling(&mut db, &row.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    db.commit().await?;
    Ok(Json(described_coupling(row)))
}

/// Whoever manages the pipeline may, and whoever operates the app.
async fn uncouple(
    State(api): State<Api>,
    caller: Caller,
    At(CalledCoupling { coupling }): At<CalledCoupling>,
) -> Answer<Json<PipelineCoupling>> {
    let mut db = api.store.write().await?;
    let row = found(&mut db, &caller.user, &coupling).await?;
    if let Err(refused) = pipeline(&mut db, &caller.user, &row.pipeline_id, Use::Manage).await {
        let app = app_rows::by_id(&mut db, &row.app_id).await?;
        let role = rights::role(&mut db, &caller.user, &app).await?;
        if !role.may(Need::Permission(Permission::Operate)) {
            return Err(refused);
        }
    }
    pipelines::uncouple(&mut db, &row.id).await?;
    db.commit().await?;
    Ok(Json(described_coupling(row)))
}

async fn coupling_of_app(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<PipelineCoupling>> {
    let mut db = api.store.read().await?;
    let coupling = pipelines::coupling_of_app(&mut db, &app.id).await?;
    Ok(Json(described_coupling(coupling.ok_or_else(no_such_coupling)?)))
}

async fn filter(
    State(api): State<Api>,
    caller: Caller,
    Body(asked): Body<AppFilter>,
) -> Answer<Json<Vec<App>>> {
    let mut db = api.store.read().await?;
    let rows = match caller.user.site_admin {
        true => app_rows::list(&mut db).await?,
        false => app_rows::seen_by(&mut db, &caller.user.id).await?,
    };
    let wanted: Vec<String> = asked.within.id.iter().filter_map(|id| ids::internal(id)).collect();
    let meant = rows.iter().filter(|app| wanted.contains(&app.id));
    meant.map(|app| apps::described(&api, app)).collect::<Answer<Vec<App>>>().map(Json)
}

fn described(row: PipelineRow) -> Pipeline {
    Pipeline {
        id: ids::public(&row.id),
        name: row.name,
        owner: Some(PipelineOwner { id: ids::public(&row.owner_id), kind: "user".to_owned() }),
        generation: Named { id: ids::of_name("generation", "cedar"), name: "cedar".to_owned() },
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}

fn described_coupling(row: CouplingRow) -> PipelineCoupling {
    PipelineCoupling {
        id: ids::public(&row.id),
        app: Named { id: ids::public(&row.app_id), name: row.app },
        pipeline: Named { id: ids::public(&row.pipeline_id), name: row.pipeline },
        stage: row.stage,
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}
