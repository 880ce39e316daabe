//! A token, which cannot be printed by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A token of the Platform API: visible ASCII.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

/// Text that cannot be a [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is empty or holds characters other than visible ASCII")]
pub struct BadToken;

impl Token {
    /// The token in clear, for a header or a file that only its owner reads.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Token {
    type Error = BadToken;

    fn try_from(raw: String) -> Result<Self, BadToken> {
        match !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(Self(raw)),
            false => Err(BadToken),
        }
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
