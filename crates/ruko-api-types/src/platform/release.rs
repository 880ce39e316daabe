//! Releases.

use serde::{Deserialize, Serialize};

use super::{Id, Identified, Named, Time, UserRef};

/// A release: a slug and the config vars at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Release {
    /// The release's id.
    pub id: Id,
    /// Its number: 7 for `v7`.
    pub version: u64,
    /// Whether it is the one that runs.
    #[serde(default)]
    pub current: bool,
    /// How far it came.
    pub status: ReleaseStatus,
    /// What made it, for people.
    pub description: String,
    /// Who made it.
    pub user: UserRef,
    /// The app.
    pub app: Named,
    /// What runs; `null` before the first deploy.
    pub slug: Option<Identified>,
    /// Heroku's container images: always `null`.
    pub oci_image: Option<Identified>,
    /// Whether `rollback` may go to it.
    #[serde(default)]
    pub eligible_for_rollback: bool,
    /// Where what its release phase prints can be read; no token is asked for there.
    pub output_stream_url: Option<String>,
    /// Heroku's add-ons: always empty.
    #[serde(default)]
    pub addon_plan_names: Vec<String>,
    /// Heroku's images: always empty.
    #[serde(default)]
    pub artifacts: Vec<Identified>,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When its status last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// How far a [`Release`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReleaseStatus {
    /// Its release phase runs.
    Pending,
    /// It is good.
    Succeeded,
    /// Its release phase failed.
    Failed,
    /// Its slug is gone.
    Expired,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ReleaseStatus {
    /// The status of that word.
    pub fn called(word: &str) -> Self {
        let known = [Self::Pending, Self::Succeeded, Self::Failed, Self::Expired];
        known.into_iter().find(|status| status.as_str() == word).unwrap_or(Self::Unknown)
    }

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

/// `POST /apps/{app}/releases`: a rollback with `release`, the same or another slug again with `slug`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewRelease {
    /// The release to go back to, by id or version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The slug to run, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// What to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
