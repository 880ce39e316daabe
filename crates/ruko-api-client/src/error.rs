//! What can go wrong with a call.

use std::path::PathBuf;

/// Why there was no answer.
#[derive(Debug)]
pub struct NoAnswer(Box<ureq::Error>);

impl From<ureq::Error> for NoAnswer {
    fn from(error: ureq::Error) -> Self {
        Self(Box::new(error))
    }
}

/// In words: without the number of the system's error, and without what kind of error it is.
impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match &*self.0 {
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        f.write_str(text.split(" (os error ").next().unwrap_or(&text))
    }
}

impl std::error::Error for NoAnswer {}

/// Why a call to the API came to nothing. Never contains the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiClientError {
    /// The configured address cannot be used.
    #[error("`{}` is not an address of the API: {why}", .url.escape_debug())]
    BadUrl {
        /// As configured.
        url: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The token file cannot be read.
    #[error("cannot read the token file `{}`", .path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token is empty or holds characters that cannot stand in a header.
    #[error("the API token is empty or holds characters other than visible ASCII")]
    BadToken,
    /// No answer: not listening, too slow, or the connection broke. The call may have been carried out.
    #[error("cannot reach the API at {url}")]
    Unreachable {
        /// The API's base URL.
        url: String,
        /// Why.
        source: NoAnswer,
    },
    /// The API answered with a status of 400 or above.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The word for programs, see [`ruko_api_types::ApiError`].
        id: String,
        /// The sentence for people.
        message: String,
    },
    /// The answer does not follow the contract: another service listens there, or another version.
    #[error("the API at {url} gave an answer to {call} that cannot be understood: {why}")]
    BadAnswer {
        /// The API's base URL.
        url: String,
        /// Method and path.
        call: String,
        /// What was wrong.
        why: String,
    },
    /// A build's output broke off: the API went away, or it cannot be written where it should go.
    #[error("the output of push {push} broke off")]
    Output {
        /// The push.
        push: ruko_core::PushId,
        /// Why.
        source: std::io::Error,
    },
}

impl ApiClientError {
    /// The HTTP status, when there was an answer with one of 400 or above.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Output { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}
