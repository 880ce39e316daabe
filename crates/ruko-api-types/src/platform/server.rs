//! The server itself.

use serde::{Deserialize, Serialize};

/// `GET /openruko`, without a token: that it is openruko, and where its other doors are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Always [`Server::NAME`].
    pub name: String,
    /// The version that runs.
    pub version: String,
    /// Where repositories are over HTTPS, `{app}` standing for the app's name.
    pub git_url: String,
    /// Where they are over ssh: `ssh://git@example.com:2222/{app}.git`.
    pub ssh_url: String,
    /// Where apps are reached, `{app}` standing for the app's name.
    pub web_url: String,
}

impl Server {
    /// What every openruko calls itself.
    pub const NAME: &'static str = "openruko";
}
