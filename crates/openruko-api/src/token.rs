//! Tokens and other secrets that open a door: made here, random and long, so that a plain SHA-256 digest
//! is all that needs to be kept of them.

use std::fmt;

use ruko_core::hex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::errors::{Answer, ApiFault};

/// What tokens begin with, so that people and scanners of leaked secrets know them.
const PREFIX: &str = "HRKU-";

/// Random bytes of a secret.
const RANDOM: usize = 32;

/// A secret, as it is told once.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// A new token of a user.
    pub(crate) fn generate() -> Answer<Self> {
        Ok(Self(format!("{PREFIX}{}", random_hex()?)))
    }

    /// A new secret for a URL.
    pub(crate) fn generate_plain() -> Answer<Self> {
        Ok(Self(random_hex()?))
    }

    /// One that a caller presents.
    pub(crate) fn presented(raw: &str) -> Self {
        Self(raw.to_owned())
    }

    /// The secret itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept: SHA-256, in hexadecimal.
    pub(crate) fn digest(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// Whether this is the one whose digest was kept; as slow for a near miss as for a far one.
    pub(crate) fn has_digest(&self, kept: &str) -> bool {
        self.digest().as_bytes().ct_eq(kept.as_bytes()).into()
    }

    /// The token with its middle left out, for its owner to know it again.
    pub(crate) fn hint(&self) -> String {
        let (first, last) = (self.0.get(..9), self.0.get(self.0.len().saturating_sub(4)..));
        format!("{}**********{}", first.unwrap_or_default(), last.unwrap_or_default())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn random_hex() -> Answer<String> {
    let mut bytes = [0; RANDOM];
    getrandom::fill(&mut bytes).map_err(|e| ApiFault::Internal(format!("no random bytes: {e}")))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_never_printed() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(one.reveal().len(), PREFIX.len() + 2 * RANDOM);
        assert!(!format!("{one:?}").contains(one.reveal()));
        assert!(one.hint().starts_with("HRKU-") && one.hint().len() < 30, "{}", one.hint());
    }

    #[test]
    fn digests_are_sha_256_in_hexadecimal() {
        assert_eq!(
            Token::presented("abc").digest(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
