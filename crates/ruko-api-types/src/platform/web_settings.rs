//! How web dynos prove themselves and when they sleep: what there is is [`crate::host::WebSettings`].

use serde::{Deserialize, Deserializer, Serialize};

/// `PATCH /apps/{app}/web-settings`: what is absent stays, `null` takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebSettingsChanges {
    /// The path, with its query, that a new web dyno must answer before it gets requests; none: listening is enough.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub check_path: Option<Option<String>>,
    /// The web dynos sleep after so many seconds without a request; none: never.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub idle_after_seconds: Option<Option<u64>>,
    /// Whether requests over plain HTTP are sent to HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_https: Option<bool>,
}

/// `null` is said, too.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}
