//! The client of openruko's internal API: one typed method per call, synchronous.
//!
//! Every call has an end: five seconds to connect, forty for the whole call. A call that the API may hold (for a
//! lease, for changes; thirty seconds at most) takes ten seconds longer than it was willing to wait at the most,
//! so that whoever wants to be able to stop waits for less. Only following a build's output lasts as long as the
//! build. Proxies of the environment are not used and redirections not followed: the token goes to the
//! configured address and nowhere else.

mod admin;
mod error;
mod host;
mod http;
mod log;
mod router;
mod serve;

pub use admin::Made;
pub use error::{ApiClientError, NoAnswer};
pub use serve::{Authentication, Opened};

use std::fmt;
use std::path::Path;

/// A connection pool to one API with one component's token.
#[derive(Clone)]
pub struct ApiClient {
    agent: ureq::Agent,
    /// Without a trailing slash.
    base_url: String,
    /// `Bearer …`.
    authorization: String,
}

impl ApiClient {
    /// A client for the API at `base_url`, such as `http://127.0.0.1:5000`.
    ///
    /// # Errors
    /// The address is not an `http://` URL, or the token cannot stand in a header.
    pub fn new(base_url: &str, token: String) -> Result<Self, ApiClientError> {
        Ok(Self {
            agent: http::agent(),
            base_url: http::base_url(base_url)?,
            authorization: http::authorization(&token)?,
        })
    }

    /// Like [`ApiClient::new`], with the token from the first line of a file.
    ///
    /// # Errors
    /// The file cannot be read, and the reasons of [`ApiClient::new`].
    pub fn from_token_file(base_url: &str, path: &Path) -> Result<Self, ApiClientError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ApiClientError::TokenFile { path: path.to_owned(), source })?;
        Self::new(base_url, text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_addresses_without_secrets_are_taken() {
        for good in ["http://127.0.0.1:5000", "http://[::1]:5000/", "http://api.internal/base"] {
            assert!(ApiClient::new(good, "t".into()).is_ok(), "{good}");
        }
        for bad in
            ["", "127.0.0.1:5000", "https://api", "http://", "http://u:p@api", "http://api?x", "http://a b"]
        {
            assert!(ApiClient::new(bad, "t".into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_neither_empty_nor_a_second_header_and_is_never_shown() {
        assert!(ApiClient::new("http://api", String::new()).is_err());
        let refused = ApiClient::new("http://api", "secret\r\nx: y".into()).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("secret"));
        let client = ApiClient::new("http://api", "secret".into()).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn a_token_file_that_is_missing_is_named() {
        let refused =
            ApiClient::from_token_file("http://api", Path::new("/nonexistent/admin.token")).unwrap_err();
        assert!(refused.to_string().contains("/nonexistent/admin.token"), "{refused}");
    }

    #[test]
    fn a_full_disk_is_worth_another_try() {
        let refused = |status| ApiClientError::Refused { status, id: "x".into(), message: "X.".into() };
        assert!(refused(507).is_temporary() && refused(503).is_temporary());
        assert!(!refused(404).is_temporary() && !refused(422).is_temporary());
    }

    #[test]
    fn an_api_that_is_not_there_is_unreachable_and_worth_another_try() {
        // Port 1 of the loopback is never listened on: a connection is refused at once.
        let client = ApiClient::new("http://127.0.0.1:1", "secret".into()).unwrap();
        let error = client.key("SHA256:x").unwrap_err();
        assert!(matches!(error, ApiClientError::Unreachable { .. }), "{error:?}");
        assert!(error.is_temporary());
        assert_eq!(error.status(), None);
        let said = ruko_core::exit::chain(&error);
        assert_eq!(said, "cannot reach the API at http://127.0.0.1:1: Connection refused");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
