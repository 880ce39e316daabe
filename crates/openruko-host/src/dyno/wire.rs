//! What the agent and a supervisor say to each other over the socket in the dyno's directory, one JSON document a
//! line. The first line of a connection says what it is for: [`Ask::Follow`] or [`Ask::Attach`]; after the latter
//! there are raw bytes both ways.

use std::net::Ipv4Addr;

use ruko_api_types::log::LogSource;
use ruko_core::dyno::DynoStart;
use serde::{Deserialize, Serialize};

/// The longest line that the agent sends: a [`DynoStart`].
pub const MAX_ASK: usize = ruko_core::dyno::MAX_START + 1024;

/// The longest line that a supervisor sends: a log line, in which JSON may write a byte as six.
pub const MAX_TELL: usize = 6 * ruko_api_types::log::MAX_TEXT + 1024;

/// So many bytes of lines are on their way to the agent and not acknowledged, at most.
pub const WINDOW: usize = 64 << 10;

/// What the agent asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// This connection takes the place of the one before: it is told the state, then every line that was not
    /// acknowledged, then whatever happens.
    Follow,
    /// This connection is the dyno's stdin and stdout. Its end is the end of stdin; when it is gone altogether, the
    /// dyno is stopped.
    Attach,
    /// The dyno is to run this.
    Start {
        /// What.
        start: Box<DynoStart>,
    },
    /// The lines up to this one are kept elsewhere.
    Ack {
        /// See [`Line::seq`].
        seq: u64,
    },
    /// The dyno does what it is for.
    Up,
    /// A line of the platform, for its place among the dyno's own.
    Say {
        /// The line.
        text: String,
    },
    /// The dyno is to end: SIGTERM, and SIGKILL after so many seconds.
    Stop {
        /// 0: SIGKILL at once.
        seconds: u64,
    },
    /// What the dyno came to is known: the supervisor ends when its lines were acknowledged.
    Dismiss,
}

/// What a supervisor tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub enum Tell {
    /// What the dyno does now.
    State(State),
    /// A line.
    Line(Line),
}

/// What a dyno does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub stage: Stage,
    /// Whether it was told what to run. A supervisor that does not say has been.
    #[serde(default = "begun")]
    pub begun: bool,
    /// Since when it does what it is for, in milliseconds since 1970.
    pub up: Option<u64>,
    /// So many lines there were so far.
    pub lines: u64,
}

fn begun() -> bool {
    true
}

/// How far a dyno is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its container is not there yet.
    Starting,
    /// Its container runs.
    Running {
        /// Where.
        address: Ipv4Addr,
    },
    /// It ended.
    Ended(End),
}

/// How a dyno ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Its exit status, 128 and the signal's number if one ended it; none when it is not known.
    pub status: Option<u8>,
    /// The kernel killed processes of it for want of memory.
    pub out_of_memory: bool,
    /// Why its container could not be started, or was stopped.
    pub failed: Option<Failed>,
}

/// Why a dyno could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// On one line.
    pub message: String,
    /// Whether trying again later may work.
    pub try_again: bool,
}

/// A line of a dyno.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counted from 1 on.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at: u64,
    /// Who says it.
    pub source: LogSource,
    /// What.
    pub text: String,
    /// So many bytes the app itself had said before, each line with one byte for its end.
    pub offset: u64,
}
