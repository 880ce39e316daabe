//! What is to be done: a state machine for each app, without any I/O.
//!
//! [`App`] holds what should run and what does. Events change what does; [`App::plan`] compares the two and says what
//! is to be done now and when to ask again. It may be asked at any time, and says nothing twice.

mod app;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ruko_api_types::host::{AppToRun, DynoReport, OneOff, ReleaseToRun, SizeToRun, SlugToRun};
use ruko_api_types::platform::DynoState;
use ruko_core::dyno::{DynoName, TerminalSize};

use crate::dyno::file::Role;
use crate::dyno::wire::End;

/// Milliseconds since 1970.
pub(crate) type Millis = u64;

/// The times of the configuration, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// See [`ruko_core::config::HostConfig::boot_seconds`].
    pub(crate) boot: u64,
    /// See [`ruko_core::config::HostConfig::stop_seconds`].
    pub(crate) stop: u64,
    /// See [`ruko_core::config::HostConfig::drain_seconds`].
    pub(crate) drain: u64,
    /// See [`ruko_core::config::HostConfig::release_seconds`].
    pub(crate) release: u64,
    /// See [`ruko_core::config::HostConfig::one_off_seconds`].
    pub(crate) one_off: u64,
}

/// How long somebody may take to attach to a dyno that waits for it, in seconds.
pub(crate) const ATTACH_SECONDS: u64 = 60;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The image of this slug will be wanted.
    Prefetch(SlugToRun),
    /// Start a dyno.
    Start(Box<Start>),
    /// Its supervisor is to know that it does what it is for.
    Up(String),
    /// A line of the platform for the log of the app, by the dyno with this id.
    Say(String, String),
    /// Stop the dyno with this id: SIGTERM, and SIGKILL after so many seconds.
    Stop(String, u64),
    /// From now on requests go to these dynos.
    Switch(Route),
    /// The candidate with this version did not prove itself.
    Fail(u64, String),
}

/// Where requests go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// The version of the release.
    pub(crate) release: u64,
    /// Ids of dynos.
    pub(crate) dynos: BTreeSet<String>,
}

/// A dyno that is to start.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) id: String,
    pub(crate) name: DynoName,
    pub(crate) role: Role,
    pub(crate) release: ReleaseToRun,
    pub(crate) generation: u64,
    pub(crate) command: String,
    pub(crate) size: SizeToRun,
    /// Variables that come before the config vars.
    pub(crate) env: BTreeMap<String, String>,
    /// Somebody will attach to it.
    pub(crate) attach: bool,
    pub(crate) terminal: Option<TerminalSize>,
}

/// Config vars are never printed.
impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The dyno's image is there and its supervisor runs: from now on the time of its boot counts.
    Launched(String),
    /// The dyno's container runs, and what it does is up if nothing has to be proved, or if it was proved at this time
    /// to an agent before.
    Started(String, SocketAddr, Option<Millis>),
    /// It proved itself.
    Proved(String),
    /// It did not prove itself yet, for this reason.
    Unproved(String, String),
    /// Somebody attached to it.
    Attached(String),
    /// It ended, or never began.
    Ended(String, End),
    /// The API's answer to [`Action::Switch`].
    Switched(Route, Answer),
}

/// What the API said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is so now.
    Done,
    /// It cannot be any more.
    TooLate,
    /// Not now.
    Refused,
}

/// How far a dyno is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was started, and is not up yet.
    Starting,
    /// It does what it is for.
    Up,
    /// It was told to end.
    Stopping {
        /// Its end is a crash: it had been up to nothing.
        crash: bool,
    },
    /// There is no dyno: it crashed, and another one starts at this time.
    Crashed {
        retry: Millis,
        status: Option<u8>,
        /// To the world it still starts: the machine had no room for it.
        starting: bool,
    },
    /// There is no dyno: it sleeps.
    Idle,
}

/// A dyno.
#[derive(Clone, Debug)]
pub(crate) struct Dyno {
    pub(crate) id: String,
    pub(crate) name: DynoName,
    pub(crate) role: Role,
    pub(crate) release: u64,
    pub(crate) generation: u64,
    pub(crate) command: String,
    pub(crate) size: String,
    pub(crate) stage: Stage,
    /// Since when it is at its stage.
    pub(crate) since: Millis,
    /// From when on its time counts; none: not yet.
    pub(crate) launched: Option<Millis>,
    /// Where it is, once its container runs.
    pub(crate) address: Option<SocketAddr>,
    /// Somebody is to attach to it, and nobody has.
    pub(crate) unattached: bool,
    /// Why it did not prove itself yet.
    pub(crate) unproved: Option<String>,
    /// It gets no requests any more, and is left to the old ones until then.
    pub(crate) drain: Option<Millis>,
}

impl Dyno {
    /// Whether there is a process, or will be in a moment.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Up | Stage::Stopping { .. })
    }

    /// Whether it is alive and may stay so.
    fn stays(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Up)
    }

    /// Whether its container runs and it is not known yet whether it does what it is for.
    pub(crate) fn has_to_prove_itself(&self) -> bool {
        self.is_web() && self.stage == Stage::Starting && self.address.is_some()
    }

    fn is_web(&self) -> bool {
        self.role == Role::Formation && self.name.process_type.as_str() == WEB
    }

    /// What the API is told of it.
    fn report(&self, app: &str) -> DynoReport {
        let state = match self.stage {
            Stage::Starting | Stage::Crashed { starting: true, .. } => DynoState::Starting,
            Stage::Up if self.drain.is_none() => DynoState::Up,
            Stage::Up | Stage::Stopping { crash: false } => DynoState::Down,
            Stage::Stopping { crash: true } | Stage::Crashed { .. } => DynoState::Crashed,
            Stage::Idle => DynoState::Idle,
        };
        DynoReport {
            id: self.id.clone(),
            app: app.to_owned(),
            name: self.name.clone(),
            release: self.release,
            generation: self.generation,
            state,
            since: self.since,
            address: self.address.filter(|_| self.is_web() && self.stage == Stage::Up),
            command: self.command.clone(),
            size: self.size.clone(),
            exit_status: match self.stage {
                Stage::Crashed { status, .. } => status,
                _ => None,
            },
        }
    }
}

/// The process type that gets requests.
pub(crate) const WEB: &str = "web";

/// How often a dyno of a name crashed.
#[derive(Clone, Debug)]
struct Crashes {
    release: u64,
    generation: u64,
    count: u32,
    /// How often the machine had no room for it since.
    no_room: u32,
    /// When the first of the row was.
    first: Millis,
}

/// How far the release phase of a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Done,
}

/// What should run of an app, and what does.
#[derive(Clone, Debug)]
pub(crate) struct App {
    id: String,
    wanted: Wanted,
    dynos: BTreeMap<String, Dyno>,
    crashes: BTreeMap<DynoName, Crashes>,
    /// What the API last confirmed; none: it is not known.
    routed: Option<Route>,
    /// What it was asked to do.
    switching: Option<Route>,
    /// The dynos of what it was asked to do since it last confirmed something. It may have done any of that, since
    /// answers are lost; none: nothing.
    in_doubt: Option<BTreeSet<String>>,
    /// It refused, and is not asked before.
    switch_after: Millis,
    /// By the version of the candidate.
    phase: Option<(u64, Phase)>,
    /// The candidate whose failure the API was told, or is.
    failed: Option<u64>,
    /// The last candidate that became the current release by our word.
    promoted: Option<u64>,
    /// Whose slug was asked for.
    prefetched: Option<u64>,
    /// One-off dynos that have ended and that the API still wants.
    finished: BTreeSet<String>,
}

/// What the API wants.
#[derive(Clone, Debug)]
enum Wanted {
    /// It is not known yet.
    Unknown,
    This(Box<AppToRun>),
    /// The app is gone.
    Nothing,
}

/// What is to be done now, and when to ask again at the latest.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) again: Option<Millis>,
}

impl Plan {
    fn at(&mut self, at: Millis) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }
}

/// What a dyno of the formation is to be like.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    name: &'a DynoName,
    generation: u64,
    command: &'a str,
    size: &'a SizeToRun,
}

impl Target<'_> {
    fn is_web(&self) -> bool {
        self.name.process_type.as_str() == WEB
    }

    /// Whether a dyno is what it is to be.
    fn is_met_by(&self, release: u64, dyno: &Dyno) -> bool {
        dyno.role == Role::Formation
            && dyno.name == *self.name
            && dyno.release == release
            && dyno.generation >= self.generation
            && dyno.command == self.command
            && dyno.size == self.size.name
    }
}

fn targets(release: &ReleaseToRun) -> Vec<Target<'_>> {
    let mut targets = Vec::new();
    for process in release.processes.iter().filter(|_| release.slug.is_some()) {
        targets.extend(process.dynos.iter().map(|dyno| Target {
            name: &dyno.name,
            generation: dyno.generation,
            command: &process.command,
            size: &process.size,
        }));
    }
    targets
}

fn one_off_start(one_off: &OneOff) -> Start {
    Start {
        id: one_off.id.clone(),
        name: one_off.name.clone(),
        role: Role::OneOff,
        release: one_off.release.clone(),
        generation: 0,
        command: one_off.command.clone(),
        size: one_off.size.clone(),
        env: one_off.env.clone(),
        attach: one_off.attach.is_some(),
        terminal: one_off.attach.as_ref().and_then(|attach| attach.terminal),
    }
}
