//! Features that are turned on and off.

use serde::{Deserialize, Serialize};

use super::{Id, Time};

/// `GET /apps/{app}/features`: a feature of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AppFeature {
    /// The feature's id, the same for every app.
    pub id: Id,
    /// `http-session-affinity`, …
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// What it does, in a sentence.
    pub description: String,
    /// Where more is said about it.
    pub doc_url: String,
    /// Whether it is on.
    pub enabled: bool,
    /// `general`, or what the CLI lists as `labs`: `beta`, …
    pub state: String,
    /// When the feature appeared.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last turned on or off.
    #[serde(default)]
    pub updated_at: Time,
}

/// `PATCH /apps/{app}/features/{feature}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FeatureChange {
    /// Whether it is to be on.
    pub enabled: bool,
}
