//! The host channel: how a build container gets what it needs and hands over what it made.
//!
//! A unix socket in the container ([`SOCKET`]), carried to the host side of the push by ssh. On it a
//! client sends one request at a time and gets one answer to each; it may open several connections.
//! Every record is one type byte, four bytes of length (big endian) and the payload:
//!
//! | type | payload |
//! |---|---|
//! | `J` | a JSON message: [`Request`] or [`Answer`], at most [`MAX_MESSAGE`] bytes |
//! | `D` | a piece of an object, at most [`MAX_PIECE`] bytes |
//! | `E` | the end of an object, empty |
//!
//! An object follows [`Request::Slug`] and [`Request::Repo`], and the answer [`Answer::Object`]. The host
//! side trusts nothing in it: it counts and hashes the bytes itself, and what it refuses it reads to the
//! end before it says so, so that a refusal always arrives.

mod agent;
mod client;
mod host;
mod record;

use std::collections::BTreeMap;

use ruko_api_types::host::ReleaseProgress;
use ruko_api_types::{Manifest, RefUpdate, Stored};
use ruko_core::config::BuildLimits;
use ruko_core::{AppName, ConfigVarName, PushId, StackName};
use serde::{Deserialize, Serialize};

pub use agent::{Agent, MAX_AGENT_MESSAGE, listen as listen_for_agent};
pub use client::{Client, ClientError, Upload};
pub use host::{Host, Refusal, serve};
pub use record::{MAX_MESSAGE, MAX_PIECE};

/// Where the socket is in a container.
pub const SOCKET: &str = "/app/tmp/host.sock";

/// What a container asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// What is to be built? Answer: [`Answer::Build`].
    Hello,
    /// The stored repository. Answer: [`Answer::Object`].
    RepoGet,
    /// The tarball that is built, when this is no git push. Answer: [`Answer::Object`].
    SourceGet,
    /// The stored repository of another app, which is a submodule of this one. Refused from [`Request::CacheGet`]
    /// on: what the app brings runs after that. Answer: [`Answer::Object`].
    SubmoduleGet {
        /// The other app.
        app: AppName,
    },
    /// A message of an ssh in the container for the agent that has the app's deploy key. Refused from
    /// [`Request::CacheGet`] on. Answer: [`Answer::Agent`].
    Agent {
        /// As ssh-agent reads it, without its length; at most [`MAX_AGENT_MESSAGE`] bytes.
        message: Vec<u8>,
    },
    /// The stored build cache. Answer: [`Answer::Object`].
    CacheGet,
    /// The slug follows. Answer: [`Answer::Stored`].
    Slug,
    /// The repository follows, as it will be. Answer: [`Answer::Stored`].
    Repo,
    /// Slug and repository are stored: make them the app's. Answer: [`Answer::Committed`].
    Commit(CommitRequest),
    /// The commit made a release: how far is it? Held until there is more to tell. Answer: [`Answer::Progress`], or
    /// a refusal when it is not worth waiting for any longer.
    Progress {
        /// How much of what its release phase printed was told, in bytes.
        output_from: u64,
    },
    /// Lines that the client saw, for the build's record. Answer: [`Answer::Noted`].
    Output {
        /// Whole lines.
        text: String,
    },
    /// The build failed. Answer: [`Answer::Limits`], so that the build can say which bound it met.
    Failed {
        /// One line.
        reason: String,
    },
}

/// What the host side answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Hello`].
    Build(Box<BuildRequest>),
    /// An object follows if it is there.
    Object {
        /// Whether anything was stored. If not, nothing follows.
        found: bool,
    },
    /// Stored, counted and hashed by the host side.
    Stored(Stored),
    /// The commit is made.
    Committed {
        /// The release's version, when there is one.
        release: Option<u64>,
        /// The app's public address.
        web_url: String,
    },
    /// To [`Request::Progress`].
    Progress(Box<ReleaseProgress>),
    /// To [`Request::Agent`].
    Agent {
        /// As ssh-agent writes it, without its length.
        message: Vec<u8>,
    },
    /// Noted.
    Noted,
    /// The bounds that the container met so far.
    Limits {
        /// One sentence each, with the bound's value.
        met: Vec<String>,
    },
    /// Refused.
    Refused {
        /// Lines for the app developer.
        message: String,
    },
}

/// What a build is told. It holds nothing that opens anything: no URL, no token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The push.
    pub push: PushId,
    /// For `REQUEST_ID`.
    pub request_id: String,
    /// The app's name.
    pub app: AppName,
    /// The app's stack.
    pub stack: StackName,
    /// For `STACK`; none: the Heroku stack that the userland can stand in for, else the name of the app's stack.
    #[serde(default)]
    pub heroku_stack: Option<StackName>,
    /// For ENV_DIR.
    pub config_vars: BTreeMap<ConfigVarName, String>,
    /// In order; empty means detect.
    pub buildpacks: Vec<String>,
    /// The refs whose push makes a release.
    pub deploy_refs: Vec<String>,
    /// What the user calls the tarball, when this is no git push: for `SOURCE_VERSION`.
    #[serde(default)]
    pub source_version: Option<String>,
    /// The bounds.
    pub limits: BuildLimits,
    /// `[build.env]` of the host's configuration.
    pub env: BTreeMap<String, String>,
    /// Where apps of this platform are, `{app}` standing for the name.
    #[serde(default)]
    pub git_urls: Vec<String>,
    /// The hosts that the app's deploy key is shown to, as a known_hosts file; none where the app has no such key.
    #[serde(default)]
    pub known_hosts: Option<String>,
}

/// The request to commit. Sizes and digests are not in it: the host side knows them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitRequest {
    /// What moves; nothing for the build of a tarball.
    pub refs: Vec<RefUpdate>,
    /// What was built: when a deploy ref moves, and always for a tarball.
    pub manifest: Option<Manifest>,
}

#[cfg(test)]
mod tests;
