//! Dynos: what runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Id, Named, ReleaseRef, Time};

/// A dyno.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Dyno {
    /// The dyno's id.
    pub id: Id,
    /// `web.1`, `run.1234`.
    pub name: String,
    /// The process type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What runs in it.
    pub command: String,
    /// `Standard-1X`, …
    pub size: String,
    /// What it does.
    pub state: DynoState,
    /// Where a one-off dyno's terminal is: `rendezvous://HOST:PORT/SECRET`.
    pub attach_url: Option<String>,
    /// The release that it runs.
    pub release: ReleaseRef,
    /// The app.
    pub app: Named,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When its state last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// What a [`Dyno`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DynoState {
    /// It was asked for, and is not up yet.
    Starting,
    /// It runs.
    Up,
    /// It sleeps until somebody asks for it.
    Idle,
    /// It ended by itself, and will be started again.
    Crashed,
    /// It is not to run.
    Down,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl DynoState {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Idle => "idle",
            Self::Crashed => "crashed",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What is answered to a restart or a stop: that it is to happen, and nothing more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Accepted {}

/// `POST /apps/{app}/dynos`: a one-off dyno.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewDyno {
    /// What a shell runs.
    pub command: String,
    /// Whether somebody attaches to its terminal.
    #[serde(default)]
    pub attach: bool,
    /// Variables beside the config vars. `COLUMNS` and `LINES`, numbers, are the terminal's size.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// Run without a terminal even though attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_no_tty: Option<bool>,
    /// The size, in any case of letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The process type that it counts as; absent for `run`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Seconds until it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<u64>,
}

/// A variable of a [`NewDyno`]: text, or a number as the CLI sends for the terminal's size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum EnvValue {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
}

impl std::fmt::Display for EnvValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}
