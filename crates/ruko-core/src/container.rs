//! What `ruko-container run` and its caller say to each other, one JSON document a line: first a
//! [`RunSpec`] on stdin, then [`RunRequest`]s; on stdout [`RunEvent`]s. The end of stdin ends the
//! container.
//!
//! For a dyno stdin is a unix stream socket, and with the first byte of the [`RunSpec`] come two file descriptors
//! (`unix(7)`, `SCM_RIGHTS`): what the container reads as its stdin and writes as its stdout. They are handed on, and
//! never read here.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::message;
use crate::names::{ContainerName, ImageName, TemplateName};

/// The longest line in either direction, in bytes.
pub const MAX_LINE: usize = 16 << 10;

/// The container that is wanted. The caller is not trusted: whatever exceeds the configured maxima is
/// refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Its name.
    pub name: ContainerName,
    /// What lays it out.
    pub template: TemplateName,
    /// What it is for.
    pub purpose: Purpose,
    /// Its bounds.
    pub limits: RunLimits,
}

/// What a container is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Purpose {
    /// Somebody logs in over ssh: a build, a fetch.
    Login {
        /// The one key that may log in, as in an `id_*.pub` file: `ssh-ed25519 AAAA…`.
        client_key: String,
    },
    /// A dyno: `ruko-dyno` is its process 1 ([`crate::dyno`]).
    Dyno {
        /// The slug, an image below `slugs_dir` of the configuration: shown at `/app`, below what the dyno writes.
        image: ImageName,
        /// Its share of the processors against that of other dynos. 1 is the smallest, and that of a build; the kernel
        /// takes more than 100 for 100.
        shares: u32,
    },
}

/// The bounds of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLimits {
    /// Wall-clock seconds from start to end; none: no end, which only a dyno may have.
    pub seconds: Option<u64>,
    /// Memory in bytes; there is no swap beyond it.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Everything it can write, in bytes.
    pub disk_bytes: u64,
}

/// What a caller may ask while the container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum RunRequest {
    /// Which bounds were met so far? Answer: [`RunEvent::Limits`].
    Limits,
    /// How much memory does it use? Answer: [`RunEvent::Usage`].
    Usage,
    /// It is to end: its process 1 gets SIGTERM, and SIGKILL when it is still there after so many seconds. Answer:
    /// [`RunEvent::Ended`], when it has ended.
    Stop {
        /// How long it may take.
        seconds: u64,
    },
}

/// What happens to the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// Its sshd answers.
    Ready {
        /// Where.
        address: Ipv4Addr,
        /// On which port.
        port: u16,
        /// As whom to log in.
        user: String,
        /// The one host key it may show: `ssh-ed25519 AAAA…`.
        host_key: String,
    },
    /// It is a dyno, and its process 1 waits for what it is to run.
    Started {
        /// Where it is.
        address: Ipv4Addr,
    },
    /// The answer to [`RunRequest::Usage`].
    Usage {
        /// Memory in use, in bytes, without what the kernel gives back before it wants for memory (cached files).
        memory_bytes: u64,
        /// How many of its processes the kernel killed for want of memory.
        oom_kills: u64,
    },
    /// The answer to [`RunRequest::Limits`].
    Limits {
        /// Each bound that was met, once.
        met: Vec<LimitMet>,
    },
    /// It was stopped because it met a bound.
    Stopped {
        /// Which.
        by: LimitMet,
    },
    /// It could not be started.
    Failed {
        /// Why, and what to do, on one line.
        message: String,
        /// Whether trying again later may work.
        try_again: bool,
    },
    /// It ended, by itself or as it was told to.
    Ended {
        /// A dyno's exit status, 128 and the signal's number if one ended its command; none when it is not known.
        status: Option<u8>,
        /// Whether it had to be killed, since it did not end in the time that [`RunRequest::Stop`] gave it.
        killed: bool,
        /// Whether the kernel killed processes of it for want of memory.
        out_of_memory: bool,
    },
}

/// Which bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Wall-clock seconds.
    Time,
    /// Bytes of memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Bytes on disk.
    Disk,
}

/// A bound that was met, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitMet {
    /// Which.
    pub limit: Limit,
    /// Its value, in the unit of [`Limit`].
    pub value: u64,
}

impl fmt::Display for LimitMet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value } = *self;
        match limit {
            Limit::Time => write!(f, "the time limit of {value} seconds was reached"),
            Limit::Memory => write!(f, "the memory limit of {} was reached", message::bytes(value)),
            Limit::Pids => write!(f, "the limit of {value} processes was reached"),
            Limit::Disk => write!(f, "the disk limit of {} was reached", message::bytes(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_was_met_is_named_with_its_value() {
        let met = LimitMet { limit: Limit::Memory, value: 2560 << 20 };
        assert_eq!(met.to_string(), "the memory limit of 2.5 GB was reached");
        let met = LimitMet { limit: Limit::Pids, value: 1024 };
        assert_eq!(met.to_string(), "the limit of 1024 processes was reached");
    }

    #[test]
    fn a_spec_with_more_than_was_asked_for_is_refused() {
        let spec = r#"{"name":"a","template":"t","purpose":{"login":{"client_key":"k"}},"limits":{"seconds":1,"memory_bytes":1,
            "pids":1,"disk_bytes":1},"mounts":["/"]}"#;
        assert!(serde_json::from_str::<RunSpec>(spec).is_err());
    }
}
