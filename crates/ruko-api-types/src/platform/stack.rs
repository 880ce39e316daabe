//! Stacks and regions: what and where apps run.

use serde::{Deserialize, Serialize};

use super::{Id, Time};

/// `GET /stacks`: what apps are built and run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The stack's id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// `public`, `beta` or `deprecated`.
    pub state: String,
    /// Whether new apps get it.
    #[serde(default)]
    pub default: bool,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `GET /regions`: where apps run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// The region's id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// The name for people.
    pub description: String,
    /// The country.
    #[serde(default)]
    pub country: String,
    /// The place.
    #[serde(default)]
    pub locale: String,
    /// Of Heroku's private spaces: always `false`.
    #[serde(default)]
    pub private_capable: bool,
    /// Whose machines they are.
    pub provider: Option<Provider>,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// Whose machines a [`Region`] consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// A word such as `own-machines`.
    pub name: String,
    /// Which part of it.
    pub region: String,
}
