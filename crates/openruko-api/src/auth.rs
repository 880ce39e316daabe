//! Who calls: each component has a token of its own, of which only the SHA-256 digest is configured.
//! A token is long and random, so a plain digest is right.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A component of the platform, as it is named in `[api.components]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// openruko-serve: keys, access, pushes, fetches.
    Serve,
    /// `openruko admin`: users, apps and what belongs to them.
    Admin,
    /// openruko-host: what should run, and what does.
    Host,
    /// openruko-router: where requests go.
    Router,
}

impl Component {
    const ALL: [Self; 4] = [Self::Serve, Self::Admin, Self::Host, Self::Router];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Admin => "admin",
            Self::Host => "host",
            Self::Router => "router",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|c| c.as_str() == raw).ok_or_else(|| {
            let raw = raw.escape_debug();
            format!("names `{raw}`, which is no component: there are `serve`, `admin`, `host` and `router`")
        })
    }
}

/// The digests of all tokens.
pub struct Tokens(Vec<(Component, [u8; 32])>);

impl Tokens {
    /// Whether a component can call at all.
    pub(crate) fn has(&self, component: Component) -> bool {
        self.0.iter().any(|(known, _)| *known == component)
    }

    /// Whose token the request carries. All digests are compared, each in constant time.
    pub(crate) fn component(&self, headers: &HeaderMap) -> Option<Component> {
        let token = headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")?;
        let digest = Sha256::digest(token);
        let mut found = None;
        for (component, expected) in &self.0 {
            if bool::from(digest.as_slice().ct_eq(expected)) {
                found = Some(*component);
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(component, _)| component)).finish()
    }
}

impl TryFrom<&BTreeMap<String, String>> for Tokens {
    type Error = String;

    fn try_from(components: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut tokens: Vec<(Component, [u8; 32])> = Vec::new();
        for (name, hex) in components {
            let component = name.parse()?;
            let digest = digest(hex).ok_or_else(|| {
                format!("must give the SHA-256 digest of the token of `{name}` as 64 hexadecimal digits")
            })?;
            if tokens.iter().any(|(_, other)| *other == digest) {
                return Err("must not give two components the same token".to_owned());
            }
            tokens.push((component, digest));
        }
        Ok(Self(tokens))
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        // printf secret | sha256sum
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        Tokens::try_from(&BTreeMap::from([("serve".to_owned(), hex.to_owned())])).unwrap()
    }

    fn asked(value: &str) -> Option<Component> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        tokens().component(&headers)
    }

    #[test]
    fn only_the_whole_token_counts() {
        assert_eq!(asked("Bearer secret"), Some(Component::Serve));
        for wrong in ["Bearer secret ", "Bearer secre", "Bearer ", "bearer secret", "Basic secret", "secret"]
        {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
        assert_eq!(tokens().component(&HeaderMap::new()), None);
    }

    #[test]
    fn two_components_cannot_share_a_token() {
        let same = |name: &str| (name.to_owned(), "a".repeat(64));
        assert!(Tokens::try_from(&BTreeMap::from([same("serve"), same("admin")])).is_err());
    }
}
