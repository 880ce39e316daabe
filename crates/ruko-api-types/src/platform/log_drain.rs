//! Log drains.

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time};

/// Somebody else's log to which an app's log goes as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LogDrain {
    /// The drain's id.
    pub id: Id,
    /// What the lines are marked with: `d.` and a UUID.
    pub token: String,
    /// Where they go.
    pub url: String,
    /// Heroku's add-ons: always `null`.
    pub addon: Option<Named>,
    /// When it was added.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /apps/{app}/log-drains`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewLogDrain {
    /// Where the lines go: `syslog+tls://`, `syslog://`, `https://` or `http://`.
    pub url: String,
}
