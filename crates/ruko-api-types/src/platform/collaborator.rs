//! Who may do what with an app.

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time, UserRef};

/// A user's access to an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Collaborator {
    /// The id of this access.
    pub id: Id,
    /// The app.
    pub app: Named,
    /// The user.
    pub user: UserRef,
    /// `owner` or `collaborator`.
    pub role: String,
    /// What the user may do; left out where the server does not tell. The CLI shows the column only when
    /// some element has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<PermissionRef>>,
    /// When access was given.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// A permission as it stands in a [`Collaborator`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PermissionRef {
    /// Which.
    pub name: Permission,
    /// What it means, for people.
    #[serde(default)]
    pub description: String,
}

/// What a collaborator may do. `view` comes with each of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// See the app, its dynos, releases and logs.
    View,
    /// Push, roll back.
    Deploy,
    /// Scale, restart, set config vars and domains.
    Operate,
    /// Rename and destroy it, give others access.
    Manage,
}

impl Permission {
    /// Every permission, least first.
    pub const ALL: [Self; 4] = [Self::View, Self::Deploy, Self::Operate, Self::Manage];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Deploy => "deploy",
            Self::Operate => "operate",
            Self::Manage => "manage",
        }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Permission {
    type Err = BadPermission;

    fn from_str(word: &str) -> Result<Self, BadPermission> {
        Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or(BadPermission)
    }
}

/// A word that is no [`Permission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPermission;

impl std::fmt::Display for BadPermission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the permissions are view, deploy, operate and manage")
    }
}

impl std::error::Error for BadPermission {}

/// `POST /apps/{app}/collaborators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewCollaborator {
    /// The user, by e-mail address, name or id.
    pub user: String,
    /// What the user may do; absent for what the server gives by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
}

/// `PATCH /apps/{app}/collaborators/{collaborator}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct CollaboratorChanges {
    /// All that the user may do from now on.
    pub permissions: Vec<Permission>,
}
