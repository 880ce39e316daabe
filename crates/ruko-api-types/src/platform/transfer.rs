//! Giving an app to another owner.

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time, UserRef};

/// An app that changes hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AppTransfer {
    /// The transfer's id.
    pub id: Id,
    /// The app.
    pub app: Named,
    /// Who owned it.
    pub owner: UserRef,
    /// Who owns it then.
    pub recipient: UserRef,
    /// `accepted`, `pending` or `declined`. The CLI takes everything but `pending` for done.
    pub state: String,
    /// When it was asked for.
    #[serde(default)]
    pub created_at: Time,
    /// When its state last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /account/app-transfers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewAppTransfer {
    /// The app, by name or id.
    pub app: String,
    /// The new owner, by e-mail address, name or id.
    pub recipient: String,
}

/// `PATCH /teams/apps/{app}`: what the CLI sends for an owner without an `@`, and to lock an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TeamAppChanges {
    /// The new owner, by e-mail address, name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether members of its team must ask for access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
}
