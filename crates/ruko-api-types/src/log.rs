//! Lines for the logs of apps, from the host and the router to the API.

use serde::{Deserialize, Serialize};

/// The longest text of a line, in bytes; Heroku splits longer ones, and so does whoever sends them here.
pub const MAX_TEXT: usize = 10_000;

/// The most lines of one call.
pub const MAX_LINES: usize = 1000;

/// The largest body of a call, in bytes. (JSON may write a byte of a text as six.)
pub const MAX_BODY: usize = 16 << 20;

/// `POST /internal/logs`: lines in the order in which they were said. 204; a 422 is
/// final: the batch will not be taken. What a line may not have, such as line breaks, is replaced in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLines {
    /// Who sends: a ULID that it made up when it started.
    pub sender: String,
    /// Rises with each call of a sender. A batch that comes again, since its answer was lost, is kept once.
    pub batch: u64,
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The app's id. Lines of apps that are not there are dropped.
    pub app: String,
    /// When it was said, in microseconds since 1970.
    pub at: u64,
    /// Who says it.
    pub source: LogSource,
    /// `web.1`, `router`, `api`. Lines of what has no such name are dropped.
    pub process: String,
    /// What is said, on one line, without the line break.
    pub text: String,
}

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The app itself.
    App,
    /// The platform, of the app: what Heroku calls `heroku`.
    Heroku,
}

impl LogSource {
    /// As it stands in a line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Heroku => "heroku",
        }
    }
}
