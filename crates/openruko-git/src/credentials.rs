//! What a client presents: a token.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest token that is asked about, in bytes.
const MAX_TOKEN: usize = 512;

/// A token that was presented; whose it is, the API knows. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// From the `Authorization` header: the password of Basic, whatever the user name, or Bearer. None
    /// where there is nothing that could be a token.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let token = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => value.trim().to_owned(),
            "basic" => {
                let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
                pair.split_once(':')?.1.to_owned()
            }
            _ => return None,
        };
        let sound = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        sound.then_some(Self(token))
    }

    /// For the question to the API.
    pub(crate) fn into_inner(self) -> String {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Token::of(&headers).map(Token::into_inner)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn a_token_is_basics_password_or_bearer() {
        assert_eq!(of(&basic("heroku:HRKU-abc")).as_deref(), Some("HRKU-abc"));
        assert_eq!(of(&basic(":HRKU-a:b")).as_deref(), Some("HRKU-a:b"));
        assert_eq!(of("bearer HRKU-abc").as_deref(), Some("HRKU-abc"));
        assert_eq!(Token::of(&HeaderMap::new()), None);
    }

    #[test]
    fn what_cannot_be_a_token_is_none() {
        let long = "x".repeat(MAX_TOKEN + 1);
        for bad in
            ["", "Bearer", "Bearer ", "Basic !!!", "Digest x", "Negotiate abc", &format!("Bearer {long}")]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
        for bad in ["heroku:", "heroku", "heroku:a b", "heroku:\u{e9}", "heroku:a\nb"] {
            assert_eq!(of(&basic(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", Token("HRKU-secret".into())).contains("secret"));
    }
}
