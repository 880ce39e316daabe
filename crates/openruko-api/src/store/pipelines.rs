//! Pipelines, the apps in them, and promotions.

use ruko_api_types::platform::Stage;
use ruko_core::{AppName, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, new_id, parsed};
use crate::clock::{self, Millis};

/// What a [`PipelineRow`] needs.
macro_rules! pipelines {
    ($rest:literal) => {
        concat!("SELECT p.id, p.name, p.owner_id, p.created_at, p.updated_at FROM pipelines p ", $rest)
    };
}

pub(crate) struct PipelineRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) owner_id: String,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for PipelineRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            owner_id: row.try_get("owner_id")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// By name.
pub(crate) async fn list(db: &mut AnyConnection) -> Sql<Vec<PipelineRow>> {
    sqlx::query_as(pipelines!("ORDER BY p.name")).fetch_all(db).await
}

/// Those that a user owns, or in which there is an app that the user owns or collaborates on; by name.
pub(crate) async fn seen_by(db: &mut AnyConnection, user_id: &str) -> Sql<Vec<PipelineRow>> {
    sqlx::query_as(pipelines!(
        "WHERE p.owner_id = $1 OR p.id IN (SELECT c.pipeline_id FROM pipeline_couplings c \
         WHERE c.app_id IN (SELECT id FROM apps WHERE owner_id = $1 \
         UNION SELECT app_id FROM collaborators WHERE user_id = $1)) ORDER BY p.name"
    ))
    .bind(user_id)
    .fetch_all(db)
    .await
}

/// By name or id.
pub(crate) async fn find(db: &mut AnyConnection, called: &str) -> Sql<Option<PipelineRow>> {
    sqlx::query_as(pipelines!("WHERE p.name = $1 OR p.id = $1")).bind(called).fetch_optional(db).await
}

/// Gives the new one's id.
pub(crate) async fn insert(db: &mut AnyConnection, name: &AppName, owner_id: &str) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO pipelines (id, name, owner_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
    )
    .bind(id.as_str())
    .bind(name.as_str())
    .bind(owner_id)
    .bind(clock::now())
    .execute(db)
    .await?;
    Ok(id)
}

pub(crate) async fn rename(db: &mut AnyConnection, id: &str, name: &AppName) -> Sql<()> {
    sqlx::query("UPDATE pipelines SET name = $1, updated_at = $2 WHERE id = $3")
        .bind(name.as_str())
        .bind(clock::now())
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}

/// With its couplings; the apps stay.
pub(crate) async fn delete(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM pipelines WHERE id = $1").bind(id).execute(db).await.map(drop)
}

/// What a [`CouplingRow`] needs.
macro_rules! couplings {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.app_id, a.name AS app, c.pipeline_id, p.name AS pipeline, c.stage, c.created_at, \
             c.updated_at FROM pipeline_couplings c JOIN apps a ON a.id = c.app_id \
             JOIN pipelines p ON p.id = c.pipeline_id ",
            $rest
        )
    };
}

pub(crate) struct CouplingRow {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) app: String,
    pub(crate) pipeline_id: String,
    pub(crate) pipeline: String,
    pub(crate) stage: Stage,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
}

impl FromRow<'_, AnyRow> for CouplingRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            app_id: row.try_get("app_id")?,
            app: row.try_get("app")?,
            pipeline_id: row.try_get("pipeline_id")?,
            pipeline: row.try_get("pipeline")?,
            stage: parsed(row.try_get("stage")?)?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// By app's name.
pub(crate) async fn couplings(db: &mut AnyConnection) -> Sql<Vec<CouplingRow>> {
    sqlx::query_as(couplings!("ORDER BY a.name")).fetch_all(db).await
}

/// By app's name.
pub(crate) async fn couplings_of(db: &mut AnyConnection, pipeline_id: &str) -> Sql<Vec<CouplingRow>> {
    sqlx::query_as(couplings!("WHERE c.pipeline_id = $1 ORDER BY a.name"))
        .bind(pipeline_id)
        .fetch_all(db)
        .await
}

pub(crate) async fn coupling_of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Option<CouplingRow>> {
    sqlx::query_as(couplings!("WHERE c.app_id = $1")).bind(app_id).fetch_optional(db).await
}

pub(crate) async fn coupling(db: &mut AnyConnection, id: &str) -> Sql<Option<CouplingRow>> {
    sqlx::query_as(couplings!("WHERE c.id = $1")).bind(id).fetch_optional(db).await
}

/// Gives the new one's id.
pub(crate) async fn couple(
    db: &mut AnyConnection,
    pipeline_id: &str,
    app_id: &str,
    stage: Stage,
) -> Sql<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO pipeline_couplings (id, pipeline_id, app_id, stage, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(id.as_str())
    .bind(pipeline_id)
    .bind(app_id)
    .bind(stage.as_str())
    .bind(clock::now())
    .execute(db)
    .await?;
    Ok(id)
}

pub(crate) async fn set_stage(db: &mut AnyConnection, id: &str, stage: Stage) -> Sql<()> {
    sqlx::query("UPDATE pipeline_couplings SET stage = $1, updated_at = $2 WHERE id = $3")
        .bind(stage.as_str())
        .bind(clock::now())
        .bind(id)
        .execute(db)
        .await
        .map(drop)
}

pub(crate) async fn uncouple(db: &mut AnyConnection, id: &str) -> Sql<()> {
    sqlx::query("DELETE FROM pipeline_couplings WHERE id = $1").bind(id).execute(db).await.map(drop)
}

pub(crate) struct PromotionRow {
    pub(crate) id: String,
    pub(crate) pipeline_id: String,
    pub(crate) source_app_id: String,
    pub(crate) created_at: Millis,
}

impl FromRow<'_, AnyRow> for PromotionRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            pipeline_id: row.try_get("pipeline_id")?,
            source_app_id: row.try_get("source_app_id")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

pub(crate) async fn promotion(db: &mut AnyConnection, id: &str) -> Sql<Option<PromotionRow>> {
    sqlx::query_as("SELECT id, pipeline_id, source_app_id, created_at FROM pipeline_promotions WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
}

/// A new promotion, as yet without targets.
pub(crate) async fn insert_promotion(
    db: &mut AnyConnection,
    pipeline_id: &str,
    source_app_id: &str,
    slug_id: &str,
    user: &UserName,
) -> Sql<PromotionRow> {
    let row = PromotionRow {
        id: new_id(),
        pipeline_id: pipeline_id.to_owned(),
        source_app_id: source_app_id.to_owned(),
        created_at: clock::now(),
    };
    sqlx::query(
        "INSERT INTO pipeline_promotions (id, pipeline_id, source_app_id, slug_id, user_name, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(row.id.as_str())
    .bind(pipeline_id)
    .bind(source_app_id)
    .bind(slug_id)
    .bind(user.as_str())
    .bind(row.created_at)
    .execute(db)
    .await?;
    Ok(row)
}

pub(crate) struct TargetRow {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) status: String,
    pub(crate) release_id: Option<String>,
    pub(crate) error: Option<String>,
}

impl FromRow<'_, AnyRow> for TargetRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            app_id: row.try_get("app_id")?,
            status: row.try_get("status")?,
            release_id: row.try_get("release_id")?,
            error: row.try_get("error")?,
        })
    }
}

pub(crate) async fn targets(db: &mut AnyConnection, promotion_id: &str) -> Sql<Vec<TargetRow>> {
    sqlx::query_as(
        "SELECT id, app_id, status, release_id, error FROM pipeline_promotion_targets \
         WHERE promotion_id = $1 ORDER BY id",
    )
    .bind(promotion_id)
    .fetch_all(db)
    .await
}

/// A target in which a release was made.
pub(crate) async fn insert_target(
    db: &mut AnyConnection,
    promotion_id: &str,
    app_id: &str,
    release_id: &str,
) -> Sql<()> {
    sqlx::query(
        "INSERT INTO pipeline_promotion_targets (id, promotion_id, app_id, status, release_id) \
         VALUES ($1, $2, $3, 'succeeded', $4)",
    )
    .bind(new_id())
    .bind(promotion_id)
    .bind(app_id)
    .bind(release_id)
    .execute(db)
    .await
    .map(drop)
}
