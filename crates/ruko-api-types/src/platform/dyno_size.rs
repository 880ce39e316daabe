//! Sizes of dynos.

use serde::{Deserialize, Serialize};

use super::{Id, Named};

/// `GET /dyno-sizes`: a size that a dyno can have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DynoSize {
    /// The size's id.
    pub id: Id,
    /// `Standard-1X`, …
    pub name: String,
    /// In GiB.
    pub memory: f64,
    /// Shares of the processor, in relation to the other sizes.
    pub compute: u32,
    /// Shares for which Heroku bills: here as `compute`.
    pub dyno_units: u32,
    /// Its place among the sizes, the smallest first.
    pub precedence: Option<u32>,
    /// What it costs: always `null`, nothing is billed.
    pub cost: Option<DynoCost>,
    /// Whether no other app's dynos run beside it: always `false`.
    #[serde(default)]
    pub dedicated: bool,
    /// Of Heroku's private spaces: always `false`.
    #[serde(default)]
    pub private_space_only: bool,
    /// Always `cedar`.
    pub generation: Option<Named>,
}

/// What a [`DynoSize`] costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DynoCost {
    /// In cents of a US dollar.
    pub cents: u64,
    /// Of which time: `month`.
    pub unit: String,
}
