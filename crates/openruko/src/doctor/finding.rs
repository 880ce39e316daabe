//! What a check found.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, and something about it should be known.
    Warning,
    /// It keeps openruko from working.
    Failed,
    /// It could not be looked at.
    Unseen,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: String,
    /// How it is.
    pub(super) state: State,
    /// What was seen.
    pub(super) found: String,
    /// What to do about it: a command where one does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Finding {
    fn new(check: impl Into<String>, state: State, found: impl Into<String>) -> Self {
        Self { check: check.into(), state, found: found.into(), mend: None }
    }

    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, found)
    }

    pub(super) fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { mend: Some(mend.into()), ..Self::new(check, State::Warning, found) }
    }

    pub(super) fn failed(
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { mend: Some(mend.into()), ..Self::new(check, State::Failed, found) }
    }

    pub(super) fn unseen(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, State::Unseen, why)
    }

    /// Fine if it is, and otherwise to be mended.
    pub(super) fn must(
        fine: bool,
        check: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        if fine { Self::ok(check, found) } else { Self::failed(check, found, mend) }
    }
}

/// What was looked at, or why it could not be.
pub(super) type Seen<T> = Result<T, String>;
