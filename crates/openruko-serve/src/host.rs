//! The host side of a push: what its container may ask for, and what is believed of what it says.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ruko_api_client::{ApiClient, ApiClientError};
use ruko_api_types::host::{ReleaseProgress, ReleaseStatus};
use ruko_api_types::push_log::Step;
use ruko_api_types::{Commit, CommitRelease, Committed, Head, Manifest, Output, Push, RefUpdate, Stored};
use ruko_channel::{Agent, BuildRequest, CommitRequest, Host, Refusal};
use ruko_core::AppName;
use ruko_core::exit::{chain, one_line};
use ruko_core::message;
use ruko_core::names::is_ref_name;

use crate::container::Container;
use crate::context::Context;
use crate::lease::Lease;
use crate::session::Running;
use crate::steps::{Clock, Until};
use crate::storage::{self, Failure};
use crate::terminal;

/// More refs than this in one push are refused.
const MAX_REFS: usize = 10_000;
/// The longest ref name, command and buildpack name that is recorded, in bytes.
const MAX_TEXT: usize = 4096;
/// How often a commit is sent before its push gives up, and how long it waits between.
const COMMIT_TRIES: u32 = 10;
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
/// How long one question for a release's progress may wait at the API, in seconds. Short, so that a client that goes
/// away is noticed between two.
const PROGRESS_SECONDS: u64 = 1;
/// A push waits no longer than this for its release to serve.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(600);
/// So long before the container's time is over the push stops waiting, so that it can end well.
const PROGRESS_MARGIN: Duration = Duration::from_secs(15);
/// More process types than this are refused.
const MAX_PROCESS_TYPES: usize = 100;

/// The host side of one push. It borrows nothing: a push that is over waits for none of its threads.
pub(crate) struct PushHost {
    api: ApiClient,
    push: Arc<Push>,
    container: Arc<Container>,
    env: BTreeMap<String, String>,
    ended: Arc<AtomicBool>,
    objects: Mutex<Objects>,
    told: Mutex<Told>,
    broke: Broke,
    output: Mutex<u64>,
    /// Whether a commit was sent: [`crate::lease::Lease`] looks at it.
    commit_sent: Arc<AtomicBool>,
    /// When the time of the container is nearly over.
    nearly_over: Instant,
    clock: Clock,
    sources: Mutex<Sources>,
    /// Where sockets are made.
    dir: PathBuf,
}

/// What is given out for the app's submodules: from the beginning until the app's own code may run.
#[derive(Default)]
enum Sources {
    /// None was asked for yet.
    #[default]
    Open,
    /// The agent that has the app's deploy key.
    Signing(Agent),
    /// The build has begun.
    Sealed,
}

/// What is stored. Held locked while a commit is made, so that what is committed is what was counted and hashed; and
/// not while something is being stored, which takes as long as storage likes.
#[derive(Default)]
struct Objects {
    slug: Option<Stored>,
    repo: Option<Stored>,
    /// An object is on its way.
    storing: bool,
    commit: Commitment,
}

/// How far the one commit of this push is.
#[derive(Default)]
enum Commitment {
    /// None was sent, or it was refused: nothing was changed.
    #[default]
    None,
    /// It was sent and its answer never came: it may have been made.
    InDoubt,
    /// It is made.
    Made {
        /// Its answer.
        committed: Committed,
        /// How long its release is waited for.
        patience: Instant,
    },
    /// There is none, and none will be: the push is over.
    TooLate,
}

/// What the container told, and what went wrong here.
#[derive(Default)]
struct Told {
    /// git has asked for a build.
    heard: bool,
    /// Why the build failed, in its own words.
    failure: Option<String>,
    /// What was refused last, in words for the developer, and why, which the admin should know.
    refused: Option<(String, String)>,
}

/// Why an object that was being given out broke off: storage failed in its midst, or it is another one than was stored.
#[derive(Clone, Default)]
struct Broke(Arc<Mutex<Option<String>>>);

impl Broke {
    /// An object whose trouble is kept.
    fn watch(&self, from: Box<dyn Read>) -> Box<dyn Read> {
        Box::new(Watched { from, broke: self.clone() })
    }

    fn why(&self) -> Option<String> {
        lock(&self.0).clone()
    }
}

struct Watched {
    from: Box<dyn Read>,
    broke: Broke,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(buffer);
        if let Err(why) = &read
            && why.kind() != std::io::ErrorKind::Interrupted
        {
            *lock(&self.broke.0) = Some(chain(why));
        }
        read
    }
}

/// How a push went, as far as its container said anything.
pub(crate) enum Outcome {
    /// Committed.
    Committed(Committed),
    /// The build failed, and said why.
    Failed(String),
    /// git was not started, since what it works on broke off on its way. Nobody was told yet. The cause.
    Unreadable(String),
    /// git asked for a build and then nothing came.
    Broken,
    /// git had nothing to push: the hook never ran.
    Nothing,
}

impl PushHost {
    /// The host side of a push that has its lease and its container.
    pub(crate) fn of(
        context: &Context,
        push: &Arc<Push>,
        lease: &Lease,
        running: &Running,
        clock: &Clock,
    ) -> Self {
        Self::new(
            context.api.clone(),
            push.clone(),
            running.container.clone(),
            context.config.build.env.clone(),
            running.ended.clone(),
            lease.commit_sent(),
            running.dir.path().to_owned(),
        )
        .timed_by(clock)
    }

    fn new(
        api: ApiClient,
        push: Arc<Push>,
        container: Arc<Container>,
        env: BTreeMap<String, String>,
        ended: Arc<AtomicBool>,
        commit_sent: Arc<AtomicBool>,
        dir: PathBuf,
    ) -> Self {
        let build = Duration::from_secs(push.limits.build_seconds);
        Self {
            api,
            push,
            container,
            env,
            ended,
            objects: Mutex::default(),
            told: Mutex::default(),
            broke: Broke::default(),
            output: Mutex::default(),
            commit_sent,
            nearly_over: Instant::now() + build.saturating_sub(PROGRESS_MARGIN),
            clock: Clock::start(),
            sources: Mutex::default(),
            dir,
        }
    }

    /// What it does is timed by this clock, which began before.
    pub(crate) fn timed_by(self, clock: &Clock) -> Self {
        Self { clock: clock.clone(), ..self }
    }

    /// So many bytes of output are recorded already.
    pub(crate) fn continuing(self, recorded: u64) -> Self {
        Self { output: Mutex::new(recorded), ..self }
    }

    /// How it went. A commit on its way is waited for; one that comes later is refused.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut objects = lock(&self.objects);
        match &objects.commit {
            Commitment::Made { committed, .. } => return Outcome::Committed(committed.clone()),
            Commitment::None => objects.commit = Commitment::TooLate,
            Commitment::InDoubt | Commitment::TooLate => {}
        }
        drop(objects);
        let told = self.told();
        let (refused, broke) = (&told.refused, self.broke.why());
        let with_cause = |reason: &String| {
            let cause = broke.as_ref().or(refused.as_ref().map(|(_, cause)| cause));
            cause.map_or_else(|| reason.clone(), |cause| format!("{reason} ({cause})"))
        };
        match (&told.failure, refused, &broke) {
            (Some(reason), ..) => Outcome::Failed(with_cause(reason)),
            _ if told.heard => Outcome::Broken,
            (None, _, Some(cause)) => Outcome::Unreadable(cause.clone()),
            (None, Some((words, _)), None) => Outcome::Failed(with_cause(words)),
            (None, None, None) => Outcome::Nothing,
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    /// Keeps a cause for the admin; what the developer is told names no places of the host.
    fn refuse(&self, words: String, cause: String) -> Refusal {
        self.told().refused = Some((words.clone(), cause));
        Refusal(words)
    }

    /// Stores one object. A push has one of each, one after the other, and none after its commit: otherwise
    /// there could be other bytes in storage than were committed.
    fn store(
        &self,
        what: &str,
        url: &str,
        max_bytes: u64,
        bytes: &mut dyn Read,
        place: fn(&mut Objects) -> &mut Option<Stored>,
    ) -> Result<Stored, Refusal> {
        let mut objects = lock(&self.objects);
        if objects.storing {
            return Err(Refusal(format!("The {what} was not stored: another object is on its way.")));
        }
        if !matches!(objects.commit, Commitment::None) {
            return Err(Refusal(format!("The {what} was not stored: this push is committed already.")));
        }
        objects.storing = true;
        *place(&mut objects) = None;
        drop(objects);
        let stored = storage::put(url, bytes, max_bytes);
        let mut objects = lock(&self.objects);
        objects.storing = false;
        let stored = stored.map_err(|why| match why {
            Failure::TooLarge { bytes, max } => Refusal(format!(
                "The {what} is too large: {}, and {} is the limit.",
                message::bytes(bytes),
                message::bytes(max)
            )),
            Failure::Full(cause) => self.refuse(
                format!(
                    "The {what} could not be stored: the server's disk is full; nothing was changed. Try again \
                     later, and tell the server's admin."
                ),
                cause,
            ),
            Failure::Cause(cause) => self.refuse(format!("The {what} could not be stored."), cause),
        })?;
        *place(&mut objects) = Some(stored.clone());
        Ok(stored)
    }

    /// Sends a commit until it is answered: it is idempotent, and the API may be starting again.
    fn send_commit(&self, commit: &Commit) -> Result<Committed, ApiClientError> {
        let mut tries = 1;
        loop {
            match self.api.commit(&self.push.push, commit) {
                Err(why)
                    if !definite(&why) && tries < COMMIT_TRIES && !self.ended.load(Ordering::Acquire) =>
                {
                    tries += 1;
                    thread::sleep(COMMIT_PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// The version of the release that the commit made, and how long it is waited for.
    fn released(&self) -> Option<(u64, Instant)> {
        match &lock(&self.objects).commit {
            Commitment::Made { committed, patience } => Some((committed.release?, *patience)),
            Commitment::None | Commitment::InDoubt | Commitment::TooLate => None,
        }
    }

    /// Adds lines of trouble to the build's record.
    pub(crate) fn trouble(&self, text: impl Display) {
        self.output(&format!("{}\n", message::trouble(text)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an error says that nothing was done, and not only that the answer is missing.
fn definite(why: &ApiClientError) -> bool {
    why.status().is_some_and(|status| (400..500).contains(&status))
}

/// Whether there is something to tell to who knows the output up to there and that the release is pending.
fn has_news(progress: &ReleaseProgress, output_from: u64) -> bool {
    progress.status != ReleaseStatus::Pending || progress.output_to > output_from
}

/// Why a commit was not made, or is not known to be.
fn not_committed(why: &ApiClientError) -> &'static str {
    match why.status() {
        Some(409) => "The repository has changed since this push began; push again.",
        Some(410) => "The lease of this push ran out; nothing was changed. Push again.",
        _ if definite(why) => "The release was not accepted; nothing was changed.",
        _ => {
            "It is not known whether the release was made: the server did not answer. Run `git fetch` to see."
        }
    }
}

impl Host for PushHost {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        self.told().heard = true;
        let push = &self.push;
        for put in [&push.slug.put, &push.repo.put] {
            storage::require_lasting(put, Duration::from_secs(push.limits.build_seconds))
                .map_err(|cause| self.refuse(NO_TIME.to_owned(), cause))?;
        }
        if push.tarball.is_none() {
            self.clock.ended(Step::Receive);
        }
        Ok(BuildRequest {
            push: push.push.clone(),
            request_id: push.request_id.clone(),
            app: push.app.name.clone(),
            stack: push.stack.clone(),
            heroku_stack: push.heroku_stack.clone(),
            config_vars: push.config_vars.clone(),
            buildpacks: push.buildpacks.clone(),
            deploy_refs: push.deploy_refs.clone(),
            source_version: push.tarball.as_ref().and_then(|tarball| tarball.version.clone()),
            limits: push.limits,
            env: self.env.clone(),
            git_urls: push.git_urls.clone(),
            known_hosts: push.deploy_key.as_ref().map(|key| key.known_hosts.clone()),
        })
    }

    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        let repo = repo(&self.push.repo.get, &self.push.repo.stored)
            .map_err(|cause| self.refuse(NO_REPO.to_owned(), cause))?;
        let Some(from) = repo else {
            self.clock.ended(Step::Fetch);
            return Ok(None);
        };
        let from = self.broke.watch(from);
        Ok(Some(Box::new(Until { from, clock: self.clock.clone(), step: Step::Fetch })))
    }

    fn source(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        let Push { push, tarball, limits, .. } = &*self.push;
        if tarball.is_none() {
            return Ok(None);
        }
        match self.api.source(push, Duration::from_secs(limits.build_seconds)) {
            Ok(source) => Ok(Some(self.broke.watch(Box::new(source)))),
            Err(why) => Err(self.refuse(NO_SOURCE.to_owned(), chain(&why))),
        }
    }

    fn submodule(&self, app: &AppName) -> Result<Option<Box<dyn Read>>, Refusal> {
        if matches!(*lock(&self.sources), Sources::Sealed) {
            return Err(too_late());
        }
        let fetch = self.api.open_fetch(app, &self.push.user);
        let fetch =
            fetch.map_err(|why| self.refuse(format!("The app {app} cannot be read now."), chain(&why)))?;
        let fetch = fetch.ok_or_else(|| {
            Refusal(format!("There is no app {app} here that {} may read.", self.push.user))
        })?;
        let repo = repo(&fetch.repo, &fetch.stored)
            .map_err(|cause| self.refuse(format!("The app {app} cannot be read."), cause))?;
        Ok(repo.map(|from| self.broke.watch(from)))
    }

    fn agent(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut sources = lock(&self.sources);
        if let (Sources::Open, Some(key)) = (&*sources, &self.push.deploy_key) {
            let agent = Agent::start(&self.dir, &key.private_key);
            let failed = "The app's deploy key cannot be used now.".to_owned();
            *sources = Sources::Signing(agent.map_err(|why| self.refuse(failed, chain(&why)))?);
        }
        match &*sources {
            Sources::Signing(agent) => {
                let gone =
                    |why| self.refuse("The app's deploy key cannot be used now.".to_owned(), chain(&why));
                agent.answer(message).map_err(gone)
            }
            Sources::Open => Err(Refusal("The app has no deploy key.".to_owned())),
            Sources::Sealed => Err(too_late()),
        }
    }

    fn cache(&self) -> Option<Box<dyn Read>> {
        *lock(&self.sources) = Sources::Sealed;
        self.clock.ended(Step::Checkout);
        // A cache that cannot be read is a cache that is not there: it costs time only.
        storage::get(&self.push.cache.get).ok().flatten().map(|cache| cache as Box<dyn Read>)
    }

    fn store_slug(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        *lock(&self.sources) = Sources::Sealed;
        self.clock.ended(Step::Compile);
        let slug = &self.push.slug;
        let stored = self.store("slug", &slug.put, slug.max_bytes, bytes, |objects| &mut objects.slug)?;
        self.clock.ended(Step::Pack);
        Ok(stored)
    }

    fn store_repo(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        *lock(&self.sources) = Sources::Sealed;
        if self.push.tarball.is_some() {
            return Err(Refusal("The build of a tarball stores no repository.".to_owned()));
        }
        let most = self.push.limits.disk_bytes;
        let put = &self.push.repo.put;
        let stored = self.store("repository", put, most, bytes, |objects| &mut objects.repo)?;
        self.clock.ended(Step::Repository);
        Ok(stored)
    }

    fn commit(&self, request: CommitRequest) -> Result<Committed, Refusal> {
        // Held for the whole call: there is one commit in a push.
        let mut objects = lock(&self.objects);
        match objects.commit {
            Commitment::None if objects.storing => {
                return Err(Refusal("Nothing was committed: an object is on its way.".to_owned()));
            }
            Commitment::None => {}
            Commitment::TooLate => {
                return Err(Refusal("Nothing was committed: the push is over.".to_owned()));
            }
            Commitment::InDoubt | Commitment::Made { .. } => {
                return Err(Refusal("This push is committed already.".to_owned()));
            }
        }
        let commit = judge(&self.push, &objects, request)?;
        self.commit_sent.store(true, Ordering::Release);
        match self.send_commit(&commit) {
            Ok(committed) => {
                let patience = self.nearly_over.min(Instant::now() + PROGRESS_PATIENCE);
                objects.commit = Commitment::Made { committed: committed.clone(), patience };
                self.clock.ended(Step::Commit);
                Ok(committed)
            }
            Err(why) => {
                if !definite(&why) {
                    objects.commit = Commitment::InDoubt;
                }
                Err(self.refuse(not_committed(&why).to_owned(), chain(&why)))
            }
        }
    }

    fn progress(&self, output_from: u64) -> Result<ReleaseProgress, Refusal> {
        let (version, until) = self.released().ok_or_else(|| Refusal("there is no release".to_owned()))?;
        let app = &self.push.app.name;
        while Instant::now() < until && !self.ended.load(Ordering::Acquire) {
            match self.api.release_progress(app, version, output_from, PROGRESS_SECONDS) {
                Ok(progress) if has_news(&progress, output_from) => return Ok(progress),
                Ok(_) => {}
                Err(why) if definite(&why) => {
                    return Err(self.refuse("the server does not know it any more".to_owned(), chain(&why)));
                }
                // The API may be starting again.
                Err(_) => thread::sleep(COMMIT_PAUSE),
            }
        }
        Err(Refusal("it takes longer than a push waits".to_owned()))
    }

    fn output(&self, text: &str) {
        let Ok(mut offset) = self.output.lock() else { return };
        let left = self.push.limits.output_bytes.saturating_sub(*offset);
        let text = for_record(cut(text, usize::try_from(left).unwrap_or(usize::MAX)));
        if text.is_empty() {
            return;
        }
        let length = text.len() as u64;
        let piece = Output { offset: *offset, text };
        // The record is not worth a failed push; the next piece begins where this one should have.
        if self.api.output(&self.push.push, &piece).is_ok() {
            *offset += length;
        }
    }

    fn failed(&self, reason: &str) -> Vec<String> {
        self.told().failure = Some(one_line(cut(reason, MAX_TEXT)));
        self.container.limits_met().iter().map(ToString::to_string).collect()
    }
}

/// The host side of a fetch: the repository and nothing else.
pub(crate) struct FetchHost {
    layers: Vec<String>,
    stored: Vec<Stored>,
    broke: Broke,
}

impl FetchHost {
    /// Of a repository that is there.
    pub(crate) fn new(layers: Vec<String>, stored: Vec<Stored>) -> Self {
        Self { layers, stored, broke: Broke::default() }
    }

    /// Why the repository broke off on its way, of which nobody was told.
    pub(crate) fn broke(&self) -> Option<String> {
        self.broke.why()
    }
}

impl Host for FetchHost {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        Err(only_a_fetch())
    }

    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        let repo = repo(&self.layers, &self.stored).map_err(|cause| {
            terminal::log(&cause);
            Refusal(NO_REPO.to_owned())
        })?;
        Ok(repo.map(|from| self.broke.watch(from)))
    }

    fn source(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        Err(only_a_fetch())
    }

    fn submodule(&self, _: &AppName) -> Result<Option<Box<dyn Read>>, Refusal> {
        Err(only_a_fetch())
    }

    fn agent(&self, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        Err(only_a_fetch())
    }

    fn cache(&self) -> Option<Box<dyn Read>> {
        None
    }

    fn store_slug(&self, _: &mut dyn Read) -> Result<Stored, Refusal> {
        Err(only_a_fetch())
    }

    fn store_repo(&self, _: &mut dyn Read) -> Result<Stored, Refusal> {
        Err(only_a_fetch())
    }

    fn commit(&self, _: CommitRequest) -> Result<Committed, Refusal> {
        Err(only_a_fetch())
    }

    fn progress(&self, _: u64) -> Result<ReleaseProgress, Refusal> {
        Err(only_a_fetch())
    }

    fn output(&self, _: &str) {}

    fn failed(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

/// A build runs other people's code: what it could reach of other apps, and in the app's name, ends before it.
fn too_late() -> Refusal {
    Refusal("The build has begun: nothing is fetched for its sources any more.".to_owned())
}

fn only_a_fetch() -> Refusal {
    Refusal("This is a fetch: nothing is built or stored.".to_owned())
}

/// What a developer is told about a repository that cannot be had.
pub(crate) const NO_REPO: &str =
    "The app's repository cannot be read. Tell the server's admin; nothing was changed.";

/// What is told when nothing could be stored at the end of a build.
const NO_TIME: &str =
    "The server cannot store a build at this time. Tell the server's admin; nothing was changed.";

/// What is told about a tarball that cannot be had.
const NO_SOURCE: &str = "The tarball cannot be read. Upload it again; nothing was changed.";

/// The stored repository, or why it cannot be had. An object that the API knows of and storage has not is an
/// error: taking it for an empty repository would lose every ref with the next push.
fn repo(layers: &[String], stored: &[Stored]) -> Result<Option<Box<dyn Read>>, String> {
    match layers {
        [] => Ok(None),
        [layer] => match storage::get_known(layer, stored.first()) {
            Ok(Some(object)) => Ok(Some(object as Box<dyn Read>)),
            Ok(None) => Err(format!("`{}` is not in storage", storage::shown(layer))),
            Err(Failure::Cause(cause) | Failure::Full(cause)) => Err(cause),
            Err(Failure::TooLarge { .. }) => unreachable!("nothing is stored"),
        },
        _ => Err(format!("the repository has {} layers; this version reads one", layers.len())),
    }
}

/// Decides whether what a container wants to commit can be, and with which of the stored objects.
fn judge(push: &Push, objects: &Objects, request: CommitRequest) -> Result<Commit, Refusal> {
    match push.tarball {
        Some(_) => judge_tarball(push, objects, request),
        None => judge_push(push, objects, request),
    }
}

/// No ref moves, and there is a release of no commit.
fn judge_tarball(push: &Push, objects: &Objects, request: CommitRequest) -> Result<Commit, Refusal> {
    let refuse = |why: &str| Err(Refusal(why.to_owned()));
    let CommitRequest { refs, manifest } = request;
    let Some(manifest) = manifest.filter(|manifest| refs.is_empty() && manifest.head.is_none()) else {
        return refuse("The build of a tarball makes a release and moves no refs.");
    };
    let Some(slug) = objects.slug.clone() else { return refuse("The slug was not stored.") };
    judge_manifest(&manifest)?;
    let release = Some(CommitRelease { slug, manifest, stack: push.stack.clone() });
    Ok(Commit { base_version: push.repo.version, repo: None, refs, release })
}

fn judge_push(push: &Push, objects: &Objects, request: CommitRequest) -> Result<Commit, Refusal> {
    let refuse = |why: &str| Err(Refusal(why.to_owned()));
    let Some(repo) = objects.repo.clone() else { return refuse("The repository was not stored.") };
    if request.refs.is_empty() || request.refs.len() > MAX_REFS {
        return Err(Refusal(format!(
            "A push moves 1 to {MAX_REFS} refs; this one moves {}.",
            request.refs.len()
        )));
    }
    if !request.refs.iter().all(|update| is_storable_ref(&update.name)) {
        return refuse("Only branches and tags are stored, under names that git takes.");
    }
    let deploys = request.refs.iter().any(|update| push.deploy_refs.contains(&update.name));
    let release = match (request.manifest, objects.slug.clone(), deploys) {
        (None, _, false) => None,
        (Some(manifest), Some(slug), true) => {
            judge_head(push, &request.refs, manifest.head.as_ref())?;
            judge_manifest(&manifest)?;
            Some(CommitRelease { slug, manifest, stack: push.stack.clone() })
        }
        (Some(_), None, _) => return refuse("The slug was not stored."),
        (None, _, true) => return refuse("A deployed branch moves only together with its release."),
        (Some(_), _, false) => return refuse("There is a release, but no deployed branch moves."),
    };
    Ok(Commit { base_version: push.repo.version, repo: Some(repo), refs: request.refs, release })
}

fn judge_head(push: &Push, refs: &[RefUpdate], head: Option<&Head>) -> Result<(), Refusal> {
    let is_pushed = |head: &Head| {
        let built = |update: &RefUpdate| update.name == head.branch && update.new == head.commit;
        push.deploy_refs.contains(&head.branch) && refs.iter().any(built)
    };
    if head.is_some_and(is_pushed) {
        return Ok(());
    }
    Err(Refusal("The release is not of the commit that is pushed.".to_owned()))
}

fn judge_manifest(manifest: &Manifest) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal(why.to_owned()));
    if manifest.process_types.len() > MAX_PROCESS_TYPES {
        return Err(Refusal(format!(
            "{} process types are more than the limit of {MAX_PROCESS_TYPES}.",
            manifest.process_types.len()
        )));
    }
    if !manifest.default_types.iter().all(|name| manifest.process_types.contains_key(name)) {
        return refuse("A default process type is not among the process types.");
    }
    if !plain(&manifest.buildpack) || !manifest.process_types.values().all(|command| plain(command)) {
        return refuse("A command or the buildpack's name is too long or holds control characters.");
    }
    Ok(())
}

fn is_storable_ref(name: &str) -> bool {
    let stored = ["refs/heads/", "refs/tags/"].iter().any(|kind| name.starts_with(kind));
    stored && name.len() <= MAX_TEXT && is_ref_name(name.as_bytes())
}

/// Text for a record that is shown on terminals: line ends and tabs are its only control characters.
fn for_record(text: &str) -> String {
    text.chars().filter(|&c| c == '\n' || c == '\t' || !c.is_control()).collect()
}

fn plain(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// At most `max` bytes of a text, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
pub(crate) mod tests {
    use ruko_api_types::{AppRef, CachePlace, RepoPlace, SlugPlace, Tarball};
    use ruko_core::PushId;
    use ruko_core::config::BuildLimits;

    use super::*;
    use crate::session;

    const NULL: &str = "0000000000000000000000000000000000000000";
    const ONE: &str = "1111111111111111111111111111111111111111";

    pub(crate) fn push() -> Push {
        Push {
            push: PushId::generate(),
            request_id: "r".into(),
            app: AppRef { id: "1".into(), name: "my-app".parse().unwrap() },
            user: "alice".parse().unwrap(),
            stack: "openruko-12".parse().unwrap(),
            template: "openruko-build".parse().unwrap(),
            stack_image: None,
            heroku_stack: None,
            repo: RepoPlace { version: 3, get: vec![], stored: vec![], put: "file:///r".into() },
            slug: SlugPlace { put: "file:///s".into(), max_bytes: 1 },
            cache: CachePlace { get: "file:///c".into(), put: "file:///c".into() },
            config_vars: Default::default(),
            buildpacks: vec![],
            deploy_refs: vec!["refs/heads/main".into()],
            limits: BuildLimits::default(),
            release_url: String::new(),
            web_url: String::new(),
            lease_seconds: 30,
            tarball: None,
            git_urls: vec![],
            deploy_key: None,
        }
    }

    fn stored() -> Option<Stored> {
        Some(Stored { bytes: 1, sha256: "x".into() })
    }

    fn update(name: &str) -> RefUpdate {
        RefUpdate { name: name.into(), old: NULL.parse().unwrap(), new: ONE.parse().unwrap() }
    }

    fn head(branch: &str, commit: &str) -> Option<Head> {
        Some(Head { commit: commit.parse().unwrap(), branch: branch.into() })
    }

    fn manifest() -> Manifest {
        Manifest {
            head: head("refs/heads/main", ONE),
            buildpack: "Procfile".into(),
            process_types: Default::default(),
            default_types: vec![],
        }
    }

    fn verdict(slug: bool, repo: bool, refs: &[&str], manifest: Option<Manifest>) -> Result<Commit, Refusal> {
        let objects = Objects {
            slug: slug.then(stored).flatten(),
            repo: repo.then(stored).flatten(),
            ..Objects::default()
        };
        let refs = refs.iter().map(|name| update(name)).collect();
        judge(&push(), &objects, CommitRequest { refs, manifest })
    }

    #[test]
    fn a_deployed_branch_moves_only_with_its_release() {
        let main = ["refs/heads/main"];
        assert!(verdict(true, true, &main, Some(manifest())).is_ok_and(|commit| commit.release.is_some()));
        assert!(verdict(true, true, &main, None).is_err());
        assert!(verdict(true, true, &["refs/heads/topic"], Some(manifest())).is_err());
        assert!(
            verdict(false, true, &["refs/heads/topic"], None).is_ok_and(|commit| commit.release.is_none())
        );
    }

    #[test]
    fn nothing_is_committed_that_the_host_side_did_not_store() {
        let main = ["refs/heads/main"];
        assert!(verdict(false, true, &main, Some(manifest())).is_err());
        assert!(verdict(true, false, &main, Some(manifest())).is_err());
        assert!(verdict(true, false, &["refs/heads/topic"], None).is_err());
    }

    #[test]
    fn a_release_is_of_the_commit_that_is_pushed() {
        let other = Manifest { head: head("refs/heads/main", &"2".repeat(40)), ..manifest() };
        assert!(verdict(true, true, &["refs/heads/main"], Some(other)).is_err());
        let elsewhere = Manifest { head: head("refs/heads/topic", ONE), ..manifest() };
        assert!(verdict(true, true, &["refs/heads/main", "refs/heads/topic"], Some(elsewhere)).is_err());
    }

    #[test]
    fn the_build_of_a_tarball_makes_a_release_and_touches_no_ref() {
        let push = Push { tarball: Some(Tarball { version: None }), ..push() };
        let verdict = |slug: Option<Stored>, refs: Vec<RefUpdate>, manifest: Option<Manifest>| {
            let objects = Objects { slug, repo: stored(), ..Objects::default() };
            judge(&push, &objects, CommitRequest { refs, manifest })
        };
        let of_none = || Some(Manifest { head: None, ..manifest() });
        let commit = verdict(stored(), vec![], of_none()).unwrap();
        assert!(commit.repo.is_none() && commit.release.is_some());
        assert!(verdict(None, vec![], of_none()).is_err());
        assert!(verdict(stored(), vec![update("refs/heads/main")], of_none()).is_err());
        assert!(verdict(stored(), vec![], Some(manifest())).is_err());
        assert!(verdict(stored(), vec![], None).is_err());
        let without = verdict(stored(), vec![update("refs/heads/main")], Some(manifest()));
        assert!(without.is_err(), "a push's commit is none of a tarball");
    }

    #[test]
    fn strings_from_a_container_are_bounded_and_plain() {
        let web = || "web".parse().unwrap();
        for command in ["a\nb".to_owned(), "x".repeat(5000)] {
            let hostile = Manifest { process_types: [(web(), command)].into(), ..manifest() };
            assert!(verdict(true, true, &["refs/heads/main"], Some(hostile)).is_err());
        }
        let hostile = Manifest { buildpack: "\x1b[2J".into(), ..manifest() };
        assert!(verdict(true, true, &["refs/heads/main"], Some(hostile)).is_err());
        for name in ["refs/heads/a\nb", "refs/heads/../x", "refs/notes/x", "HEAD", "main"] {
            assert!(verdict(false, true, &[name], None).is_err(), "{name:?}");
        }
        assert!(verdict(false, true, &[], None).is_err());
    }

    /// A host side whose API is nowhere and whose storage is this directory.
    fn with_host(check: impl FnOnce(&PushHost)) {
        with_host_of(|_| {}, check);
    }

    fn with_host_of(change: impl FnOnce(&mut Push), check: impl FnOnce(&PushHost)) {
        let dir = tempfile::tempdir().unwrap();
        let mut push = push();
        change(&mut push);
        push.slug = SlugPlace { put: format!("file://{}/slug", dir.path().display()), max_bytes: 1000 };
        push.repo.put = format!("file://{}/repo", dir.path().display());
        let api = ApiClient::new("http://127.0.0.1:1", "token".into()).unwrap();
        let (events, _queue) = std::sync::mpsc::channel();
        let container = Container::keeper(&["cat".to_owned()], events).unwrap();
        let (container, ended) = (Arc::new(container), Arc::new(AtomicBool::new(true)));
        let env = BTreeMap::new();
        check(&PushHost::new(
            api,
            Arc::new(push),
            container,
            env,
            ended,
            Arc::default(),
            dir.path().to_owned(),
        ));
    }

    /// An object whose end comes when it is allowed to.
    struct Slow<'a>(&'a std::sync::mpsc::Receiver<()>);

    impl Read for Slow<'_> {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(0)
        }
    }

    #[test]
    fn two_objects_are_not_stored_at_once() {
        with_host(|host| {
            let (go_on, wait) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                let first = scope.spawn(move || host.store_slug(&mut Slow(&wait)));
                while !lock(&host.objects).storing {
                    std::thread::yield_now();
                }
                assert!(host.store_slug(&mut &b"other"[..]).is_err());
                assert!(host.store_repo(&mut &b"other"[..]).is_err());
                drop(go_on);
                assert_eq!(first.join().unwrap().unwrap().bytes, 0);
            });
        });
    }

    /// Storage that takes a connection, says so, and then nothing.
    fn silent_storage() -> (String, std::sync::mpsc::Receiver<std::net::TcpStream>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/slug", listener.local_addr().unwrap());
        let (taken, connections) = std::sync::mpsc::channel();
        thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| taken.send(stream)));
        (url, connections)
    }

    #[test]
    fn a_push_that_is_over_waits_for_no_upload_and_commits_nothing_more() {
        let parent = tempfile::tempdir().unwrap();
        let running = session::tests::running(parent.path());
        let (url, connections) = silent_storage();
        let mut push = push();
        push.slug = SlugPlace { put: url, max_bytes: 1 << 20 };
        let host = Arc::new(PushHost::new(
            ApiClient::new("http://127.0.0.1:1", "token".into()).unwrap(),
            Arc::new(push),
            running.container.clone(),
            BTreeMap::new(),
            running.ended.clone(),
            Arc::default(),
            parent.path().to_owned(),
        ));
        let socket = running.dir.join("host.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let uploading = thread::spawn(move || {
            let mut client = ruko_channel::Client::connect(&socket).unwrap();
            let mut slug = client.slug().unwrap();
            std::io::Write::write_all(&mut slug, b"slug").unwrap();
            slug.finish()
        });
        let gone = running.events.sender();
        thread::spawn(move || {
            let connection = connections.recv().unwrap();
            gone.send(crate::events::Event::ClientGone).unwrap();
            // Held for as long as this test may take.
            let _ = (connection, connections.recv());
        });
        let begun = Instant::now();
        let cut = running.attend(session::tests::git("exec sleep 300"), listener, host.clone());
        assert!(matches!(cut, Err(session::Cut::ClientGone)), "{cut:?}");
        assert!(matches!(host.outcome(), Outcome::Nothing));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!uploading.is_finished(), "storage has answered nothing");
        let request = CommitRequest { refs: vec![update("refs/heads/topic")], manifest: None };
        assert!(host.commit(request).is_err_and(|why| why.0.starts_with("Nothing was committed")));
        assert!(host.store_repo(&mut &b"repo"[..]).is_err());
    }

    #[test]
    fn nothing_is_stored_once_a_commit_may_have_been_made() {
        with_host(|host| {
            host.store_slug(&mut &b"slug"[..]).unwrap();
            host.store_repo(&mut &b"repo"[..]).unwrap();
            let request = CommitRequest { refs: vec![update("refs/heads/main")], manifest: Some(manifest()) };
            // The API is not there: whether the commit was made is not known.
            assert!(host.commit(request).unwrap_err().0.contains("not known"));
            assert!(host.store_slug(&mut &b"other"[..]).is_err());
            assert!(host.store_repo(&mut &b"other"[..]).is_err());
            assert!(storage::get(&host.push.slug.put).unwrap().is_some(), "it may be the app's");
        });
    }

    #[test]
    fn what_submodules_need_is_given_out_only_before_the_build() {
        with_host(|host| {
            let other = "other-app".parse().unwrap();
            assert!(host.agent(&[11]).unwrap_err().0.contains("no deploy key"));
            assert!(host.submodule(&other).err().unwrap().0.contains("cannot be read now"));
            assert!(host.cache().is_none());
            for refused in [host.agent(&[11]).unwrap_err(), host.submodule(&other).err().unwrap()] {
                assert!(refused.0.contains("build has begun"), "{refused:?}");
            }
        });
    }

    #[test]
    fn a_deploy_key_signs_before_the_build_and_ends_with_its_begin() {
        let keys = tempfile::tempdir().unwrap();
        let file = keys.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        let deploy_key = ruko_api_types::DeployKey {
            private_key: std::fs::read_to_string(&file).unwrap(),
            known_hosts: String::new(),
        };
        assert!(!format!("{deploy_key:?}").contains("PRIVATE"));
        with_host_of(
            |push| push.deploy_key = Some(deploy_key),
            |host| {
                // SSH_AGENT_IDENTITIES_ANSWER with one key.
                assert_eq!(host.agent(&[11]).unwrap()[..5], [12, 0, 0, 0, 1]);
                assert_eq!(host.agent(&[19]).unwrap(), [5], "nothing is removed from it");
                assert!(host.cache().is_none());
                assert!(host.agent(&[11]).unwrap_err().0.contains("build has begun"));
                assert!(!host.dir.join("agent.sock").exists());
            },
        );
    }

    #[test]
    fn a_slug_that_is_too_large_is_told_by_its_size() {
        with_host(|host| {
            assert!(host.store_slug(&mut &[0; 1001][..]).unwrap_err().0.contains("1001 B, and 1000 B"));
            assert!(storage::get(&host.push.slug.put).unwrap().is_none());
        });
    }

    #[test]
    fn a_repository_that_is_another_one_than_was_stored_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("repo"), "abd").unwrap();
        let layer = [format!("file://{}/repo", dir.path().display())];
        let read = |stored: &[Stored]| {
            let mut bytes = Vec::new();
            repo(&layer, stored).unwrap().unwrap().read_to_end(&mut bytes).map(|_| bytes)
        };
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert!(read(&[Stored { bytes: 3, sha256 }]).unwrap_err().to_string().contains("is damaged"));
        assert_eq!(read(&[]).unwrap(), b"abd");
    }

    #[test]
    fn a_repository_that_cannot_be_had_is_the_reason_of_the_record() {
        let missing = |push: &mut Push| push.repo.get = vec!["file:///nonexistent/repo".into()];
        with_host_of(missing, |host| {
            assert!(host.repo().is_err());
            let Outcome::Failed(reason) = host.outcome() else { panic!("nothing is recorded") };
            assert!(reason.contains("cannot be read") && reason.contains("is not in storage"), "{reason}");
        });
    }

    #[test]
    fn so_is_one_that_breaks_off_of_which_nobody_was_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("repo"), "abd").unwrap();
        let layers = vec![format!("file://{}/repo", dir.path().display())];
        let stored = vec![Stored { bytes: 3, sha256: "0".repeat(64) }];
        let read = |repo: Result<Option<Box<dyn Read>>, Refusal>| {
            assert!(repo.unwrap().unwrap().read_to_end(&mut Vec::new()).is_err());
        };
        let damaged = |push: &mut Push| (push.repo.get, push.repo.stored) = (layers.clone(), stored.clone());
        with_host_of(damaged, |host| {
            read(host.repo());
            let Outcome::Unreadable(cause) = host.outcome() else { panic!("nothing is recorded") };
            assert!(cause.contains("is damaged"), "{cause}");
        });
        let fetch = FetchHost::new(layers.clone(), stored.clone());
        read(fetch.repo());
        assert!(fetch.broke().unwrap().contains("is damaged"));
    }

    #[test]
    fn a_record_drives_no_terminal() {
        assert_eq!(for_record("a\tb\x1b]0;x\x07\r\n"), "a\tb]0;x\n");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
