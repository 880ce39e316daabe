//! What can go wrong.

use std::path::PathBuf;

use crate::{BadServerUrl, BadToken};

/// Why there was no answer.
#[derive(Debug)]
pub struct NoAnswer(Box<ureq::Error>);

impl NoAnswer {
    /// Whether the connection failed before or while the call was made, so that the same call may be tried
    /// again where that does no harm.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(&*self.0, ureq::Error::Io(_) | ureq::Error::ConnectionFailed)
    }
}

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

/// Why something that a developer's program wanted came to nothing. Never contains a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no place to remember anything.
    #[error("neither XDG_CONFIG_HOME nor HOME is an absolute path")]
    NoHome,
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] ruko_sys::file::PathError),
    /// A file of ours does not hold what it should.
    #[error("`{}` cannot be understood: {why}", .path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file with tokens can be read by others than its owner.
    #[error("`{}` holds tokens and can be read by others (mode {mode:o}): `chmod 600` it, and log in again if it was so for long", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The address of a server is none.
    #[error(transparent)]
    BadUrl(#[from] BadServerUrl),
    /// A token cannot stand in a header.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// A certificate file cannot be used, or the machine has no certificates.
    #[error("cannot use the certificates of {place}: {why}")]
    Certificates {
        /// The file, or `this machine`.
        place: String,
        /// Why.
        why: String,
    },
    /// An address in an answer where nothing secret may be sent.
    #[error("`{}` is neither https:// nor on this machine: what is read there would travel in the clear", .url.escape_debug())]
    InTheClear {
        /// The address, without what may be secret in it.
        url: String,
    },
    /// No answer: nothing listens, too slow, or the connection broke. The call may have been carried out.
    #[error("cannot reach {server}")]
    Unreachable {
        /// The server's address.
        server: String,
        /// Why.
        source: NoAnswer,
    },
    /// A stream broke off.
    #[error("the connection to {server} broke off")]
    BrokeOff {
        /// The server's address.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server answered with a status of 400 or above.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The word for programs: `not_found`, `two_factor`, …
        id: String,
        /// The sentence for people.
        message: String,
    },
    /// The answer does not follow the contract.
    #[error("{server} gave an answer to {call} that cannot be understood: {why}")]
    BadAnswer {
        /// The server's address.
        server: String,
        /// Method and path.
        call: String,
        /// What was wrong.
        why: String,
    },
    /// Something answers there, and it is no openruko.
    #[error("there is a server at {server}, but it is no openruko: {why}")]
    NotOpenruko {
        /// The address.
        server: String,
        /// What it said.
        why: String,
    },
    /// A login in the browser was refused.
    #[error("the login was refused: {why}")]
    LoginRefused {
        /// The server's words.
        why: String,
    },
}

impl ClientError {
    /// The HTTP status, when the server answered with one of 400 or above.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The word for programs of such an answer.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Refused { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::BrokeOff { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}
