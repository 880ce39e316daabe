//! Apps.

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time, UserRef};

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// The app's id.
    pub id: Id,
    /// The app's name, unique on its server.
    pub name: String,
    /// Where its web dynos are reached: absolute.
    pub web_url: String,
    /// Where its repository is over HTTPS.
    pub git_url: String,
    /// Who owns it.
    pub owner: UserRef,
    /// Where it runs.
    pub region: Named,
    /// What its current release runs on.
    pub stack: Named,
    /// What its next build runs on.
    pub build_stack: Named,
    /// Always `cedar`. Without it the CLI guesses from the app's name.
    pub generation: Named,
    /// Whether visitors get the maintenance page.
    pub maintenance: bool,
    /// Whether certificates are obtained for its domains.
    pub acm: bool,
    /// Bytes of the repository as stored; the CLI crashes without the key.
    pub repo_size: Option<u64>,
    /// Bytes of the current slug; the CLI crashes without the key.
    pub slug_size: Option<u64>,
    /// Heroku's teams: always `null`.
    pub team: Option<Named>,
    /// Heroku's older name of teams: always `null`.
    pub organization: Option<Named>,
    /// Heroku's private spaces: always `null`.
    pub space: Option<Named>,
    /// Of private spaces: always `null`.
    pub internal_routing: Option<bool>,
    /// What the last build's buildpack called itself.
    pub buildpack_provided_description: Option<String>,
    /// When it was archived.
    pub archived_at: Option<Time>,
    /// Always `complete`: apps are made in one step.
    #[serde(default)]
    pub create_status: String,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When its current release was made.
    pub released_at: Option<Time>,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApp {
    /// The name; absent for one that the server makes up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The region, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The stack, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

/// `PATCH /apps/{app}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppChanges {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Turns the maintenance page on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
    /// The stack of the next build, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_stack: Option<String>,
}
