//! Builds, and the sources that they are made of without a git push.

use serde::{Deserialize, Serialize};

use super::{Id, Identified, Named, Time, UserRef};

/// A build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The build's id.
    pub id: Id,
    /// How far it came.
    pub status: BuildStatus,
    /// Where what it prints can be read, followed while it runs; no token is asked for there.
    pub output_stream_url: String,
    /// What was built.
    pub source_blob: SourceBlob,
    /// What it was built with; `null` where they were detected.
    pub buildpacks: Option<Vec<Buildpack>>,
    /// The release that came of it.
    pub release: Option<Identified>,
    /// The slug that came of it.
    pub slug: Option<Identified>,
    /// The stack's name.
    pub stack: String,
    /// Who asked for it.
    pub user: UserRef,
    /// The app.
    pub app: Named,
    /// When it began.
    #[serde(default)]
    pub created_at: Time,
    /// When its status last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// How far a [`Build`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildStatus {
    /// It runs, or waits.
    Pending,
    /// There is a slug.
    Succeeded,
    /// There is none.
    Failed,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a [`Build`] was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBlob {
    /// Where the tarball came from; `null` for a git push.
    pub url: Option<String>,
    /// The commit, or what the user called the tarball.
    pub version: Option<String>,
    /// The tarball's digest, `SHA256:…`, where the user gave one.
    pub checksum: Option<String>,
}

/// A buildpack of a [`Build`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buildpack {
    /// A git or tarball URL, or `urn:buildpack:NAME`.
    pub url: String,
    /// The name in the registry; left out where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `POST /apps/{app}/builds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBuild {
    /// What to build.
    pub source_blob: NewSourceBlob,
    /// With what; absent for the app's own buildpacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpacks: Option<Vec<Buildpack>>,
}

/// The tarball of a [`NewBuild`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSourceBlob {
    /// Where it is: [`SourceUrls::get_url`], or any URL that the server can read.
    pub url: String,
    /// What the user calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its digest, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// `POST /sources`: a place for one tarball.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its two addresses.
    pub source_blob: SourceUrls,
}

/// Where a tarball is put and where it can be read: each URL is its own credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceUrls {
    /// Where it can be read.
    pub get_url: String,
    /// Where it is put, with an empty Content-Type.
    pub put_url: String,
}
