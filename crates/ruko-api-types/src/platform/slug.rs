//! Slugs: what builds make and dynos run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time};

/// `GET /apps/{app}/slugs/{slug}`. Where its bytes are is not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Slug {
    /// The slug's id.
    pub id: Id,
    /// What its buildpack called itself.
    pub buildpack_provided_description: Option<String>,
    /// `SHA256:` and 64 hexadecimal digits, of the packed slug.
    pub checksum: Option<String>,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// What the commit says: always `null`.
    pub commit_description: Option<String>,
    /// The command of each process type.
    #[serde(default)]
    pub process_types: BTreeMap<String, String>,
    /// In bytes, packed.
    pub size: Option<u64>,
    /// What it runs on.
    pub stack: Named,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed: as it was made.
    #[serde(default)]
    pub updated_at: Time,
}
