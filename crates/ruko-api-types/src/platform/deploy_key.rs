//! The key with which an app's builds fetch private submodules. Not Heroku's.

use serde::{Deserialize, Serialize};

/// An app's deploy key: its public half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DeployKey {
    /// Algorithm, base64 blob and a comment: what a code host is given, as a key that may only read.
    pub public_key: String,
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The hosts that it is shown to: `NAME ALGORITHM KEY`, as in a known_hosts file.
    pub known_hosts: Vec<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

/// `PUT /apps/{app}/deploy-key`: makes a new key, in place of the one that there was.
/// `PATCH /apps/{app}/deploy-key`: sets its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DeployKeyHosts {
    /// The hosts that it is shown to: `NAME ALGORITHM KEY`, as in a known_hosts file. A new key that names none
    /// takes over those of the old one.
    #[serde(default)]
    pub known_hosts: Vec<String>,
}
