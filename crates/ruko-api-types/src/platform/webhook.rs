//! Webhooks: what happens to an app, told to a URL.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Id, Identified, Named, Time};

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Webhook {
    /// The webhook's id.
    pub id: Id,
    /// Where it is told.
    pub url: String,
    /// `notify`: tried once; `sync`: tried again until it is taken.
    pub level: WebhookLevel,
    /// What is told of: `api:release`, `api:build` and so on.
    pub include: Vec<String>,
    /// The app.
    pub app: Named,
    /// When it was added.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// How much effort is made for a [`Webhook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WebhookLevel {
    /// One attempt.
    Notify,
    /// Several, until one succeeds.
    Sync,
}

impl WebhookLevel {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Sync => "sync",
        }
    }
}

/// It is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWebhookLevel;

impl fmt::Display for BadWebhookLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a webhook's level is notify or sync")
    }
}

impl std::error::Error for BadWebhookLevel {}

impl std::str::FromStr for WebhookLevel {
    type Err = BadWebhookLevel;

    fn from_str(raw: &str) -> Result<Self, BadWebhookLevel> {
        [Self::Notify, Self::Sync].into_iter().find(|level| level.as_str() == raw).ok_or(BadWebhookLevel)
    }
}

/// `POST /apps/{app}/webhooks`. The secret is told once, in the header `Heroku-Webhook-Secret` of the answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewWebhook {
    /// Where it is told.
    pub url: String,
    /// How much effort is made.
    pub level: WebhookLevel,
    /// What is told of.
    pub include: Vec<String>,
    /// What signs the messages; absent for one that the server makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The header `Authorization` of the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
}

impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("include", &self.include).finish_non_exhaustive()
    }
}

/// `PATCH /apps/{app}/webhooks/{webhook}`: what is absent stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebhookChanges {
    /// Where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How much effort is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<WebhookLevel>,
    /// What is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    /// What signs the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The header `Authorization` of the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
}

impl fmt::Debug for WebhookChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookChanges").field("include", &self.include).finish_non_exhaustive()
    }
}

/// One event on its way to one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebhookDelivery {
    /// The delivery's id.
    pub id: Id,
    /// What it tells of.
    pub event: WebhookEventRef,
    /// Where it goes.
    pub webhook: Identified,
    /// `pending`, `retrying`, `succeeded` or `failed`.
    pub status: String,
    /// How often it was tried.
    pub num_attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Time>,
    /// How the last attempt went; `null` before the first.
    pub last_attempt: Option<WebhookAttempt>,
    /// When the event was.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last tried.
    #[serde(default)]
    pub updated_at: Time,
}

/// The event of a [`WebhookDelivery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebhookEventRef {
    /// The event's id.
    pub id: Id,
    /// What it is about: `api:release`.
    pub include: String,
}

/// How an attempt of a [`WebhookDelivery`] went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebhookAttempt {
    /// The HTTP status that came back; `null` when none did.
    pub code: Option<u16>,
    /// Why it failed.
    pub error_class: Option<String>,
    /// `succeeded` or `failed`.
    pub status: String,
}

/// Something that happened to an app with webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebhookEvent {
    /// The event's id.
    pub id: Id,
    /// What it is about: `api:release`.
    pub include: String,
    /// When it was.
    pub created_at: Time,
    /// The same.
    pub updated_at: Time,
}
