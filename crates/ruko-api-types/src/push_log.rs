//! What a push took and how it ended: told by openruko-serve, kept by the API, shown by `openruko admin pushes`.

use ruko_core::{AppName, PushId, UserName};
use serde::{Deserialize, Serialize};

use crate::{BuildStatus, RefUpdate};

/// A step of a push, as its host side sees it. They come in this order; some pushes have not all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// May the user push?
    Authorize,
    /// Waiting for another push to the app.
    Lease,
    /// Waiting for a build slot.
    Slot,
    /// Until the container answers.
    Container,
    /// The stored repository, into the container.
    Fetch,
    /// What the client sends, until the hook judges it.
    Receive,
    /// The app's files, or the tarball's.
    Checkout,
    /// The cache, buildpacks: detect, compile, release.
    Compile,
    /// The slug is packed, counted, hashed and stored, all in one pass.
    Pack,
    /// The repository's next version, likewise.
    Repository,
    /// The one transaction.
    Commit,
    /// Until the release serves, or is given up.
    Release,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Authorize,
        Self::Lease,
        Self::Slot,
        Self::Container,
        Self::Fetch,
        Self::Receive,
        Self::Checkout,
        Self::Compile,
        Self::Pack,
        Self::Repository,
        Self::Commit,
        Self::Release,
    ];

    /// Whether nothing was done but waiting for others.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Lease | Self::Slot)
    }

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Lease => "lease",
            Self::Slot => "slot",
            Self::Container => "container",
            Self::Fetch => "fetch",
            Self::Receive => "receive",
            Self::Checkout => "checkout",
            Self::Compile => "compile",
            Self::Pack => "pack",
            Self::Repository => "repository",
            Self::Commit => "commit",
            Self::Release => "release",
        }
    }
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// Which.
    pub step: Step,
    /// In milliseconds.
    pub ms: u64,
}

/// `PUT /internal/pushes/{id}/steps`: how long the steps of a push took. The last is the one in which it failed, if
/// it did. Each step is there once at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// In order.
    pub steps: Vec<StepTime>,
}

/// `GET /internal/pushes?app=NAME&user=NAME&failed=true&limit=N`: the log of pushes, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRecord {
    /// The push.
    pub push: PushId,
    /// The app, by its name now.
    pub app: AppName,
    /// Who pushed.
    pub user: UserName,
    /// How it ended.
    pub status: BuildStatus,
    /// Why it came to nothing.
    pub reason: Option<String>,
    /// The release that it made.
    pub release: Option<u64>,
    /// The refs that it moved; of older pushes they are no longer known.
    pub refs: Vec<RefUpdate>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub ended_at: Option<String>,
    /// How long it waited for other pushes, in milliseconds; none when that was not told.
    pub waited_ms: Option<u64>,
    /// What its steps took; empty when that was not told.
    pub steps: Vec<StepTime>,
}
