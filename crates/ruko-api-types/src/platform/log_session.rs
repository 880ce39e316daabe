//! Log sessions.

use serde::{Deserialize, Serialize};

use super::{Id, Time};

/// A place where an app's log can be read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSession {
    /// The session's id.
    pub id: Id,
    /// Server-sent events, one log line each. The URL is its own credential.
    pub logplex_url: String,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /apps/{app}/log-sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLogSession {
    /// How many of the last lines come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u32>,
    /// Whether new lines follow.
    #[serde(default)]
    pub tail: bool,
    /// Only this dyno (`web.1`) or process type (`web`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dyno: Option<String>,
    /// Only `app` or `heroku`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}
