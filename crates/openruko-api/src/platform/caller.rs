//! Who calls, and which app it is about: put into the request by the guard, taken out by handlers.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ruko_http::ClientAddress;

use crate::errors::ApiFault;
use crate::store::apps::AppRow;
use crate::store::authorizations::AuthorizationRow;
use crate::store::users::UserRow;
use crate::token::Token;

/// Whoever presented a valid token.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserRow,
    pub(crate) authorization: AuthorizationRow,
    /// As it was presented.
    pub(crate) token: Token,
}

/// The app in the path; the caller may do with it what the call does.
#[derive(Clone)]
pub(crate) struct TheApp(pub(crate) AppRow);

/// Where the request came from.
pub(crate) struct CameFrom(pub(crate) IpAddr);

/// What is not there was not put there: a row of the table has the wrong right.
fn taken<T: Clone + Send + Sync + 'static>(parts: &mut Parts) -> Result<T, ApiFault> {
    let taken = parts.extensions.get::<T>().cloned();
    taken.ok_or_else(|| ApiFault::Internal(format!("no {} in the request", std::any::type_name::<T>())))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFault> {
        taken(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TheApp {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFault> {
        taken(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CameFrom {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFault> {
        taken::<ClientAddress>(parts).map(|ClientAddress(address)| Self(address))
    }
}

/// What a request presents to prove who sends it.
#[derive(PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A token: as Bearer, or, as older Heroku CLIs and git do, as the password of HTTP Basic beside any
    /// name.
    Token(Token),
    /// A name and something beside it, which may be a password.
    Password { name: String, password: String },
}

impl Credentials {
    /// Whatever the headers carry; none if there is nothing that can be read.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let raw = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, rest) = raw.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(Token::presented(rest.trim())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        // Nor does a database take it: see `extract`.
        if text.contains('\0') {
            return None;
        }
        let (name, password) = text.split_once(':')?;
        Some(match name {
            "" => Self::Token(Token::presented(password)),
            name => Self::Password { name: name.to_owned(), password: password.to_owned() },
        })
    }

    /// The token, wherever it stands.
    pub(crate) fn token(self) -> Token {
        match self {
            Self::Token(token) => token,
            Self::Password { password, .. } => Token::presented(&password),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Credentials::of(&headers)
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_a_password() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for value in ["Bearer t", "bearer t", &basic(":t"), &basic("git:t")] {
            assert!(of(value).map(Credentials::token) == Some(Token::presented("t")), "{value}");
        }
        assert!(of(&basic("ada@example.test:p:w")).is_some_and(|c| {
            c == Credentials::Password { name: "ada@example.test".into(), password: "p:w".into() }
        }));
        for nothing in ["Bearer", "Digest x", "Basic ???", &basic("no colon"), &basic("a\0:b")] {
            assert!(of(nothing).is_none(), "{nothing}");
        }
    }
}
