//! Why a push is not taken.

use std::fmt;

use ruko_core::exit::{chain, one_line};

/// Why a push is not taken, in lines for the app developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal in these lines.
    pub fn new(lines: impl Into<String>) -> Self {
        Self(lines.into())
    }

    /// `what: cause`: something in the container failed that the push cannot do without.
    pub fn because(what: impl fmt::Display, error: &dyn std::error::Error) -> Self {
        Self(one_line(&format!("{what}: {}", chain(error))))
    }

    /// The same on one line, for the build's record.
    pub fn reason(&self) -> String {
        one_line(&self.0)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was attempted to an error.
pub trait Refuse<T> {
    /// `what: cause`.
    ///
    /// # Errors
    /// The error itself, as a refusal.
    fn refuse(self, what: impl fmt::Display) -> Result<T, Refusal>;
}

impl<T, E: std::error::Error> Refuse<T> for Result<T, E> {
    fn refuse(self, what: impl fmt::Display) -> Result<T, Refusal> {
        self.map_err(|e| Refusal::because(what, &e))
    }
}
