//! Buildpacks of an app, and the registry in which the CLI looks names up.

use serde::{Deserialize, Serialize};

use super::Id;

/// A buildpack that an app is built with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct BuildpackInstallation {
    /// Its place in the order, from 0.
    pub ordinal: u32,
    /// Which one.
    pub buildpack: InstalledBuildpack,
}

/// The buildpack of a [`BuildpackInstallation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct InstalledBuildpack {
    /// A git or tarball URL, or `urn:buildpack:NAME`.
    pub url: String,
    /// `heroku/python`; the URL where it has no name.
    pub name: String,
}

/// `PUT /apps/{app}/buildpack-installations`: all of them, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct BuildpackUpdates {
    /// The buildpacks.
    pub updates: Vec<BuildpackUpdate>,
}

/// One of [`BuildpackUpdates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct BuildpackUpdate {
    /// A URL or a name. The CLI leaves it out when the registry did not know the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack: Option<String>,
}

/// `GET /buildpacks/{name}`: a buildpack as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RegistryBuildpack {
    /// Always the same for the same name.
    pub id: Id,
    /// `heroku/python`.
    pub name: String,
    /// What it builds.
    pub description: String,
    /// What kind of buildpack it is.
    pub category: String,
    /// What the CLI names it by in [`BuildpackUpdates`].
    pub blob_url: String,
}
