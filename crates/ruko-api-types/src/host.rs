//! What openruko-host, the dyno agent of a node, and the API say to each other.
//!
//! The API says what should run ([`AppToRun`]), the host says what does ([`DynoReport`]) and when the router is to
//! turn to other dynos ([`Switch`]). Each app has a revision that rises with whatever changes of it, so that a
//! host that comes back asks for what it has not seen; it may also ask for everything, at any time.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ruko_core::dyno::{DynoName, TerminalSize};
use ruko_core::{ConfigVarName, ProcessType, StackName, TemplateName};
use serde::{Deserialize, Serialize};

use crate::AppRef;

/// `PUT /internal/host`: what the host offers. Said whenever it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostHello {
    /// Where terminals of one-off dynos are reached; none: they cannot be attached to.
    pub rendezvous: Option<RendezvousPlace>,
}

/// Where terminals of one-off dynos are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RendezvousPlace {
    /// `rendezvous://HOST:PORT`, without a slash at the end.
    pub url: String,
    /// The SHA-256 digest of its certificate (of its DER form), lower-case hexadecimal, when no client could verify
    /// it otherwise. It goes into the address of a terminal as `?certificate=…`, for clients that heed it.
    pub certificate: Option<String>,
}

/// `GET /internal/host/apps?after=REVISION&wait_seconds=N`: the apps that changed after a revision, those of the
/// lowest revisions first; 0 is before everything. Where there is none, the API holds the call for at most so many
/// seconds (30 at most). 410 (`start_over`) where the API cannot tell what changed since: its database was put back
/// to an earlier state, or it has forgotten which apps went. Whoever gets that, as whoever starts, asks after 0 and
/// goes on until there is no more; apps of which it was not told then are there no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppsToRun {
    /// What to ask after the next time.
    pub revision: u64,
    /// Whether there is more already.
    pub more: bool,
    /// What should run of each. An app of which nothing should run is told of, too, with nothing to run.
    pub apps: Vec<AppToRun>,
    /// Ids of apps that are there no more. Not told after 0.
    pub gone: Vec<String>,
}

/// What should run of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppToRun {
    /// The app.
    pub app: AppRef,
    /// Its revision.
    pub revision: u64,
    /// The release that serves; none before the first that proved itself.
    pub current: Option<ReleaseToRun>,
    /// A newer release that has to prove itself: its release phase runs, then its dynos start beside the others.
    pub candidate: Option<ReleaseToRun>,
    /// How its web dynos prove themselves, and when they sleep.
    pub web: WebSettings,
    /// Nobody asked for it for a while: its web dynos are to end, and their state is idle.
    pub asleep: bool,
    /// Dynos for one command, oldest first.
    pub one_offs: Vec<OneOff>,
}

/// A release that runs, or wants to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseToRun {
    /// Its id, a ULID.
    pub id: String,
    /// `7` for `v7`.
    pub version: u64,
    /// When it was made, RFC 3339, UTC.
    pub created_at: String,
    /// Its slug; none when there is nothing to run.
    pub slug: Option<SlugToRun>,
    /// The stack image that its slug was built on; none: the host's own `/usr`.
    #[serde(default)]
    pub stack: Option<StackToRun>,
    /// Its config vars.
    pub config_vars: BTreeMap<ConfigVarName, String>,
    /// The command of its release phase, when it has one that has not run yet. A release that changed config vars
    /// alone, or went back to an earlier one, has a phase as well.
    pub release_phase: Option<String>,
    /// Its process types with the dynos that each should have.
    pub processes: Vec<ProcessToRun>,
}

/// Config vars are never printed.
impl std::fmt::Debug for ReleaseToRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReleaseToRun").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What a dyno's container is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackToRun {
    /// What lays it out.
    pub template: TemplateName,
    /// The stack image that this lies over.
    pub image: StackName,
}

/// Where a slug is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugToRun {
    /// The object.
    pub url: String,
    /// Its size and digest.
    pub stored: crate::Stored,
    /// The commit that it was built from, if it was.
    pub commit: Option<String>,
}

/// The query of its URL is a credential.
impl std::fmt::Debug for SlugToRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.url.split('?').next().unwrap_or_default())
    }
}

/// A process type with its dynos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessToRun {
    /// The type.
    pub process_type: ProcessType,
    /// What it runs.
    pub command: String,
    /// How large each of its dynos is.
    pub size: SizeToRun,
    /// The dynos that should run: not those that were stopped.
    pub dynos: Vec<DynoToRun>,
}

/// How large a dyno is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeToRun {
    /// `Standard-1X`, …
    pub name: String,
    /// Its memory quota, in bytes.
    pub memory_bytes: u64,
    /// Its share of the processors against that of other dynos.
    pub shares: u32,
    /// Processes and threads.
    pub pids: u64,
}

/// A dyno of the formation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoToRun {
    /// `web.1`.
    pub name: DynoName,
    /// Rises whenever it is to be restarted: a dyno of an earlier generation is to be replaced.
    pub generation: u64,
}

/// How web dynos prove themselves, and when they sleep. Also what the Platform API tells and takes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WebSettings {
    /// The path, with its query, that a new web dyno must answer with a status from 200 to 399 before it gets
    /// requests; none: listening is enough.
    #[serde(default)]
    pub check_path: Option<String>,
    /// The web dynos sleep after so many seconds without a request; none: never.
    #[serde(default)]
    pub idle_after_seconds: Option<u64>,
    /// Whether requests over plain HTTP are sent to HTTPS.
    #[serde(default)]
    pub force_https: bool,
}

/// A dyno for one command.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// Its id, which the host reports it under.
    pub id: String,
    /// `run.1234`.
    pub name: DynoName,
    /// What runs in it.
    pub command: String,
    /// Variables that come before the config vars.
    pub env: BTreeMap<String, String>,
    /// How large it is.
    pub size: SizeToRun,
    /// The release whose slug and config vars it has.
    pub release: ReleaseToRun,
    /// How somebody attaches to it; none: it is detached, and what it prints goes to the log.
    pub attach: Option<Attach>,
    /// It was told to stop.
    pub stopped: bool,
}

/// Neither config vars nor secrets are printed.
impl std::fmt::Debug for OneOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneOff").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How somebody attaches to a dyno.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The SHA-256 digest of the secret that opens its terminal, lower-case hexadecimal.
    pub secret_sha256: String,
    /// Its terminal's size; none: it has no terminal.
    pub terminal: Option<TerminalSize>,
}

/// `POST /internal/host/dynos`: what changed of dynos. A report that comes again changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoReports {
    /// Dynos that there are.
    pub dynos: Vec<DynoReport>,
    /// Ids of dynos that are there no more.
    pub gone: Vec<String>,
    /// Whether `dynos`, and those of `there`, are all that there are: the API forgets others. So begins a host that
    /// starts.
    pub all: bool,
    /// Ids of further dynos that there are, with `all`: they were told of before, since all together would be too much
    /// for one call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub there: Vec<String>,
}

/// What a dyno does. A dyno that replaces another one under the same name has an id of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoReport {
    /// A ULID; that of [`OneOff::id`] for a one-off dyno.
    pub id: String,
    /// The app's id.
    pub app: String,
    /// `web.1`.
    pub name: DynoName,
    /// The version of its release.
    pub release: u64,
    /// See [`DynoToRun::generation`].
    pub generation: u64,
    /// What it does.
    pub state: crate::platform::DynoState,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Where it answers, once it listens.
    pub address: Option<SocketAddr>,
    /// What runs in it.
    pub command: String,
    /// `Standard-1X`, …
    pub size: String,
    /// Its exit status once it has ended, 128 and the signal's number if one ended it.
    pub exit_status: Option<u8>,
}

/// `POST /internal/host/apps/{id}/switch`: from now on requests go to these dynos and to no others. A candidate
/// becomes the current release by it. 204; 404 when the app is gone; 409 when the release is neither candidate nor
/// current any more; 422 when a dyno is not one of this release that was reported up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The version of the release.
    pub release: u64,
    /// Ids of web dynos that were reported up; none where nothing answers the web.
    pub dynos: Vec<String>,
}

/// `POST /internal/host/apps/{id}/releases/{version}/fail`: the candidate did not prove itself, and the current
/// release stays. 204, also when it was said before; 404 when the app is gone; 409 when it is the candidate no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailRelease {
    /// One line for the developer: `web.1: R10 (Boot timeout): …`.
    pub reason: String,
}

/// `GET /internal/apps/{app}/releases/{version}/progress?output_from=BYTES&wait_seconds=N`: how far a release is, for
/// a push that waits. The API holds the call until there is more than the caller knows, at most so many seconds (30
/// at most).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseProgress {
    /// What its release phase printed from `output_from` on.
    pub output: String,
    /// Where the next piece begins, in bytes from the start.
    pub output_to: u64,
    /// How far it is.
    pub status: ReleaseStatus,
    /// Why it failed.
    pub reason: Option<String>,
    /// The version that serves.
    pub serving: Option<u64>,
    /// How many dynos are up, and how many should be, by process type; of this release alone.
    pub dynos: BTreeMap<ProcessType, UpOf>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpOf {
    /// That are up.
    pub up: u32,
    /// That should be.
    pub wanted: u32,
}

/// How far a release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseStatus {
    /// It has to prove itself.
    Pending,
    /// It serves, or did.
    Succeeded,
    /// It did not prove itself.
    Failed,
    /// A newer one came before it had proved itself.
    Expired,
}
