//! The formation: how many dynos of each process type an app wants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Id, Named, Time};

/// One process type of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Formation {
    /// The id of this entry.
    pub id: Id,
    /// The process type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many dynos are wanted.
    pub quantity: u32,
    /// Of what size.
    pub size: String,
    /// What they run.
    pub command: String,
    /// The app.
    pub app: Named,
    /// When the process type appeared.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `PATCH /apps/{app}/formation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FormationUpdates {
    /// What changes; other process types stay.
    pub updates: Vec<FormationUpdate>,
}

/// What changes of one process type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FormationUpdate {
    /// The process type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// The size, in any case of letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

/// `PATCH /apps/{app}/formation/{type}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FormationChange {
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// The size, in any case of letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

/// How many dynos: a number, or so many more or fewer than there are. On the wire the CLI's string (`"2"`,
/// `"+1"`, `"-1"`); a JSON number is read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// So many.
    Exactly(u32),
    /// So many more than now.
    More(u32),
    /// So many fewer than now.
    Fewer(u32),
}

impl Quantity {
    /// What becomes of `now`. Never below zero.
    pub const fn after(self, now: u32) -> u32 {
        match self {
            Self::Exactly(count) => count,
            Self::More(count) => now.saturating_add(count),
            Self::Fewer(count) => now.saturating_sub(count),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => write!(f, "{count}"),
            Self::More(count) => write!(f, "+{count}"),
            Self::Fewer(count) => write!(f, "-{count}"),
        }
    }
}

#[cfg(feature = "openapi")]
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [
                { "type": "string", "pattern": "^[+-]?[0-9]{1,9}$" },
                { "type": "integer", "minimum": 0, "maximum": 999_999_999 }
            ]
        })
    }
}

/// Text that is no [`Quantity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQuantity;

impl fmt::Display for BadQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity is a number such as 2, +1 or -1")
    }
}

impl std::error::Error for BadQuantity {}

impl FromStr for Quantity {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let (kind, digits): (fn(u32) -> Self, &str) = match text.as_bytes().first() {
            Some(b'+') => (Self::More, &text[1..]),
            Some(b'-') => (Self::Fewer, &text[1..]),
            _ => (Self::Exactly, text),
        };
        // `u32::from_str` would take a sign of its own: `++1`.
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadQuantity);
        }
        digits.parse().map(kind).map_err(|_| BadQuantity)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u32),
            Text(String),
        }
        match Raw::deserialize(from).map_err(|_| serde::de::Error::custom(BadQuantity))? {
            Raw::Number(count) => Ok(Self::Exactly(count)),
            Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
