//! Pipelines: apps that a slug goes through from stage to stage.

use serde::{Deserialize, Serialize};

use super::{Id, Identified, Named, Time};

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Pipeline {
    /// The pipeline's id.
    pub id: Id,
    /// Its name, unique on its server.
    pub name: String,
    /// Who manages it.
    pub owner: Option<PipelineOwner>,
    /// Always `cedar`.
    pub generation: Named,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// The owner of a [`Pipeline`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PipelineOwner {
    /// The account's id.
    pub id: Id,
    /// Always `user`; Heroku knows teams as well.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `POST /pipelines`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewPipeline {
    /// The name.
    pub name: String,
    /// The owner; absent for the caller, who is the only one it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PipelineOwner>,
}

/// `PATCH /pipelines/{pipeline}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PipelineChanges {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where in a pipeline an app stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Apps for tests.
    Test,
    /// Apps of one branch each.
    Review,
    /// Before staging.
    Development,
    /// Before production.
    Staging,
    /// What users see.
    Production,
}

impl Stage {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Review => "review",
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

/// It is no stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStage;

impl std::fmt::Display for BadStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stage is one of test, review, development, staging and production")
    }
}

impl std::error::Error for BadStage {}

impl std::str::FromStr for Stage {
    type Err = BadStage;

    fn from_str(raw: &str) -> Result<Self, BadStage> {
        let all = [Self::Test, Self::Review, Self::Development, Self::Staging, Self::Production];
        all.into_iter().find(|stage| stage.as_str() == raw).ok_or(BadStage)
    }
}

/// An app in a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PipelineCoupling {
    /// The coupling's id.
    pub id: Id,
    /// The app.
    pub app: Named,
    /// The pipeline.
    pub pipeline: Named,
    /// Where in it.
    pub stage: Stage,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /pipeline-couplings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewPipelineCoupling {
    /// The app, by name or id.
    pub app: String,
    /// The pipeline, by name or id.
    pub pipeline: String,
    /// Where in it.
    pub stage: Stage,
}

/// `PATCH /pipeline-couplings/{coupling}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PipelineCouplingChanges {
    /// Another stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
}

/// The slug of one app, released in others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PipelinePromotion {
    /// The promotion's id.
    pub id: Id,
    /// Always `completed`: it is done in one step.
    pub status: String,
    /// The pipeline.
    pub pipeline: Identified,
    /// Whose slug it is.
    pub source: PromotionSource,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Option<Time>,
}

/// The source of a [`PipelinePromotion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PromotionSource {
    /// The app.
    pub app: Identified,
}

/// `POST /pipeline-promotions`. Ids may be names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewPipelinePromotion {
    /// The pipeline that the apps are in.
    pub pipeline: Identified,
    /// Whose slug is promoted.
    pub source: PromotionSource,
    /// Where it is released.
    pub targets: Vec<PromotionSource>,
}

/// What a [`PipelinePromotion`] did to one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PromotionTarget {
    /// Its id.
    pub id: Id,
    /// The app.
    pub app: Identified,
    /// The promotion.
    pub pipeline_promotion: Identified,
    /// The release that was made.
    pub release: Option<Identified>,
    /// `succeeded` or `failed`.
    pub status: String,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// `POST /filters/apps`: which of these apps one may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AppFilter {
    /// The condition.
    #[serde(rename = "in", default)]
    pub within: AppsWithin,
}

/// The condition of an [`AppFilter`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AppsWithin {
    /// Their ids.
    #[serde(default)]
    pub id: Vec<Id>,
}
