//! Promotions: what one app of a pipeline runs becomes a release of others.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{
    Identified, NewPipelinePromotion, Permission, PipelinePromotion, PromotionSource, PromotionTarget,
};
use serde::Deserialize;
use sqlx::AnyConnection;

use super::caller::Caller;
use super::guard::app_called;
use super::pipelines::{Use, pipeline};
use super::route::{Route, get, post};
use super::{Who, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::release::{self, Runs};
use crate::rights::{self, Need};
use crate::store::apps::AppRow;
use crate::store::pipelines::{self, PromotionRow, TargetRow};
use crate::store::releases::{self, SlugOfRelease};
use crate::store::users::UserRow;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/pipeline-promotions", Who::User, create)
            .says("Release what one app runs in others")
            .takes::<NewPipelinePromotion>()
            .creates::<PipelinePromotion>(),
        get("/pipeline-promotions/{promotion}", Who::User, show)
            .says("A promotion")
            .gives::<PipelinePromotion>(),
        get("/pipeline-promotions/{promotion}/promotion-targets", Who::User, targets)
            .says("What came of a promotion")
            .gives::<Vec<PromotionTarget>>(),
    ]
}

/// The most apps of one promotion.
const MAX_TARGETS: usize = 50;

/// All of them or none: it is one transaction.
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewPipelinePromotion>,
) -> Answer<Response> {
    if !(1..=MAX_TARGETS).contains(&new.targets.len()) {
        return Err(ApiFault::invalid(format!("A promotion has from 1 to {MAX_TARGETS} targets.")));
    }
    let mut db = api.store.write().await?;
    let row = pipeline(&mut db, &caller.user, &new.pipeline.id, Use::See).await?;
    let source = member(&mut db, &caller.user, &row.id, &new.source, Permission::View).await?;
    let mut apps: Vec<AppRow> = Vec::new();
    for target in &new.targets {
        let app = member(&mut db, &caller.user, &row.id, target, Permission::Deploy).await?;
        if app.id == source.id || apps.iter().any(|other| other.id == app.id) {
            return Err(ApiFault::invalid(format!(
                "{} cannot be promoted to twice, or to itself.",
                app.name
            )));
        }
        apps.push(app);
    }
    let slug = slug(&mut db, &source).await?;
    let user = &caller.user.name;
    let promotion = pipelines::insert_promotion(&mut db, &row.id, &source.id, &slug.id, user).await?;
    for app in &apps {
        let release = promote(&mut db, &api, &source, &slug, app, &caller.user).await?;
        pipelines::insert_target(&mut db, &promotion.id, &app.id, &release).await?;
    }
    db.commit().await?;
    apps.iter().for_each(|app| api.tell_changed_of(&app.id));
    Ok(created(described(&promotion)))
}

/// An app of the pipeline with which the caller may do this.
async fn member(
    db: &mut AnyConnection,
    user: &UserRow,
    pipeline_id: &str,
    called: &PromotionSource,
    permission: Permission,
) -> Answer<AppRow> {
    let app = app_called(db, &called.app.id).await?;
    rights::require(db, user, &app, Need::Permission(permission)).await?;
    let coupling = pipelines::coupling_of_app(db, &app.id).await?;
    match coupling {
        Some(coupling) if coupling.pipeline_id == pipeline_id => Ok(app),
        _ => Err(ApiFault::invalid(format!("{} is not in this pipeline.", app.name))),
    }
}

async fn slug(db: &mut AnyConnection, source: &AppRow) -> Answer<SlugOfRelease> {
    let current = releases::find(db, &source.id, source.serving).await?;
    current.and_then(|release| release.slug).ok_or_else(|| {
        ApiFault::invalid(format!("{} has nothing to promote: push to it first.", source.name))
    })
}

/// Gives the id of the release.
async fn promote(
    db: &mut AnyConnection,
    api: &Api,
    source: &AppRow,
    slug: &SlugOfRelease,
    target: &AppRow,
    user: &UserRow,
) -> Answer<String> {
    let commit = slug.commit.as_ref().map(|commit| commit.as_str().chars().take(8).collect::<String>());
    let commit = commit.map(|commit| format!(" {commit}")).unwrap_or_default();
    let description = format!("Promote {} v{}{commit}", source.name, source.serving);
    let runs = Runs::Same { slug: Some(&slug.id), app_id: &source.id, version: source.serving };
    let version = release::make(db, &api.settings, &target.id, &user.name, &description, runs).await?;
    let release = releases::find(db, &target.id, version).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(release.id)
}

/// The path.
#[derive(Deserialize)]
struct Called {
    promotion: String,
}

/// A promotion in a pipeline that the caller may see.
async fn found(db: &mut AnyConnection, user: &UserRow, called: &str) -> Answer<PromotionRow> {
    let no_such = || ApiFault::missing("pipeline_promotion", "Couldn't find that promotion.");
    let id = ids::internal(called).ok_or_else(no_such)?;
    let promotion = pipelines::promotion(db, &id).await?.ok_or_else(no_such)?;
    match pipeline(db, user, &promotion.pipeline_id, Use::See).await {
        Ok(_) => Ok(promotion),
        Err(ApiFault::Refused { .. }) => Err(no_such()),
        Err(fault) => Err(fault),
    }
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Called { promotion }): At<Called>,
) -> Answer<Json<PipelinePromotion>> {
    let mut db = api.store.read().await?;
    Ok(Json(described(&found(&mut db, &caller.user, &promotion).await?)))
}

async fn targets(
    State(api): State<Api>,
    caller: Caller,
    At(Called { promotion }): At<Called>,
) -> Answer<Json<Vec<PromotionTarget>>> {
    let mut db = api.store.read().await?;
    let promotion = found(&mut db, &caller.user, &promotion).await?;
    let rows = pipelines::targets(&mut db, &promotion.id).await?;
    Ok(Json(rows.into_iter().map(|row| described_target(&promotion, row)).collect()))
}

fn identified(id: &str) -> Identified {
    Identified { id: ids::public(id) }
}

fn described(row: &PromotionRow) -> PipelinePromotion {
    PipelinePromotion {
        id: ids::public(&row.id),
        status: "completed".to_owned(),
        pipeline: identified(&row.pipeline_id),
        source: PromotionSource { app: identified(&row.source_app_id) },
        created_at: clock::rfc3339(row.created_at),
        updated_at: Some(clock::rfc3339(row.created_at)),
    }
}

fn described_target(promotion: &PromotionRow, row: TargetRow) -> PromotionTarget {
    PromotionTarget {
        id: ids::public(&row.id),
        app: identified(&row.app_id),
        pipeline_promotion: identified(&promotion.id),
        release: row.release_id.as_deref().map(identified),
        status: row.status,
        error_message: row.error,
    }
}
