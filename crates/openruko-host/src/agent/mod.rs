//! The agent: carries out what [`crate::plan`] says, and tells it what happens.
//!
//! One task holds all states ([`Agent`]); others do what takes time and send it [`Message`]s. Whatever is on its way to
//! the API is bounded: of dynos the latest report ([`reports`]), of lines a window for each supervisor, which keeps the
//! rest ([`logs`]), of each app one switch at a time ([`calls`]).

mod api;
mod calls;
mod launch;
mod links;
mod logs;
mod probe;
mod reports;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ruko_api_client::{ApiClient, ApiClientError};
use ruko_api_types::host::{AppsToRun, DynoReport, HostHello, RendezvousPlace, SlugToRun};
use ruko_api_types::log::{LogLine, LogSource};
use ruko_core::container::Purpose;
use ruko_core::dyno::DynoStart;
use ruko_core::exit::{chain, one_line};
use ruko_core::{Exit, Fault, Hint, ImageName};
use ruko_sys::Lock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::level_filters::LevelFilter;

use crate::clock::{Clock, micros};
use crate::dyno::file::{DynoDir, DynoFile, Role};
use crate::dyno::wire::{Ask, End, Failed, MAX_TELL, Stage as Told, State, Tell};
use crate::environment::environment;
use crate::image::Images;
use crate::plan::{Action, App, Dyno, Event, Millis, Plan, Stage, Start};
use crate::rendezvous::{Place, Rendezvous, Waiting};
use crate::settings::{self, Settings};
use api::{Api, Backoff, Calls};
use calls::{Call, Queue};
use launch::{Found, Launched, Launcher};
use links::{Ears, Links};
use logs::Own;
use probe::Probe;
use reports::Reports;

/// How long the API may hold a question for what should run, in seconds.
const WATCH_SECONDS: u64 = 25;

/// How long supervisors may take to say how their dynos are when the agent starts.
const ADOPT_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked at what there is to do even if nothing happens.
const LOOK: Duration = Duration::from_secs(60);

/// Dynos that start at a time, for each processor. More would not start sooner, and all of them late.
const STARTS: usize = 3;

/// What the agent is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The API is not the one that it was: what it is told from now on is all that it knows.
    StartOver,
    /// What should run of some apps.
    Apps(AppsToRun),
    /// These were all that there are.
    Known(HashSet<String>),
    /// Something happened of an app.
    Event(String, Event),
    /// A supervisor runs.
    Launched(Box<Launched>, OwnedSemaphorePermit),
    /// A dyno could not be given a supervisor.
    NeverBegan(String, Failed),
    /// A supervisor says how its dyno is.
    State(String, State),
    /// A supervisor is gone.
    Lost(String),
    /// The API knows that these dynos are gone.
    GoneTold(Vec<String>),
    /// Somebody attached to a dyno.
    Attached(String),
    /// Something to be told of an app.
    Call(String, Call),
}

impl std::fmt::Debug for Launched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launched").field("id", &self.file.id).finish_non_exhaustive()
    }
}

/// An error on one line.
fn shown(error: &ApiClientError) -> String {
    one_line(&chain(error))
}

/// Runs until SIGTERM or SIGINT. Dynos go on.
pub(crate) fn run(settings: Settings, api: ApiClient) -> Result<Exit, Fault> {
    let level = std::env::var("RUST_LOG").ok().and_then(|word| word.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // Whoever read this may be gone.
        .log_internal_errors(false)
        .init();
    more_files();
    settings::make_dirs(&settings)?;
    let lock = settings.state_dir.join("lock");
    let _lock = Lock::try_take(&lock)?.ok_or_else(|| {
        Fault::refused(format!("another openruko-host runs on `{}`", settings.state_dir.display()))
    })?;
    let program = std::env::current_exe().fault("this program cannot be found")?;
    let runtime = Runtime::new().try_again("cannot start threads")?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).fault("cannot listen to signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).fault("cannot listen to signals")?;
        let agent = Agent::start(settings, program, Arc::new(api)).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = agent.serve() => {}
        }
        Ok(Exit::Ok)
    });
    // A call may be held by the API for half a minute.
    runtime.shutdown_background();
    outcome
}

/// Every dyno takes one open file here. What we start has the same limit, so it is not raised beyond reason.
fn more_files() {
    const ENOUGH: u64 = 16384;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < ENOUGH
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, ENOUGH.min(hard), hard);
    }
}

/// Stops all dynos of this node and waits for their end.
///
/// # Errors
/// The directories cannot be read, or a dyno does not end.
pub(crate) fn stop_all(settings: &Settings) -> Result<Exit, Fault> {
    let runtime = Runtime::new().try_again("cannot start threads")?;
    runtime.block_on(async {
        let Found { alive, .. } = launch::find(settings)?;
        let seconds = settings.times.stop;
        let ends: Vec<_> = alive
            .into_iter()
            .map(|(dir, _)| tokio::spawn(async move { stop_one(&dir, seconds).await.map_err(|_| dir) }))
            .collect();
        for end in ends {
            if let Ok(Err(dir)) = end.await {
                return Err(Fault::try_again(format!("the dyno `{}` does not end", dir.path().display())));
            }
        }
        Ok(Exit::Ok)
    })
}

/// Its last lines are nobody's any more. Dismissed before its dyno has ended, a supervisor would stop that once more.
async fn stop_one(dir: &DynoDir, seconds: u64) -> std::io::Result<()> {
    let end = async {
        let (from, mut to) = UnixStream::connect(dir.socket()).await?.into_split();
        for ask in [Ask::Follow, Ask::Stop { seconds }] {
            send(&mut to, &ask).await?;
        }
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut from).take(MAX_TELL as u64).read_until(b'\n', &mut line).await;
            if !read.is_ok_and(|n| n > 0) {
                return Ok(());
            }
            let ask = match serde_json::from_slice(&line)? {
                Tell::Line(line) => Ask::Ack { seq: line.seq },
                Tell::State(State { stage: Told::Ended(_), .. }) => Ask::Dismiss,
                Tell::State(_) => continue,
            };
            if send(&mut to, &ask).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(seconds + 90), end).await?
}

async fn send(to: &mut OwnedWriteHalf, ask: &Ask) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// A dyno that has or had a supervisor.
struct Known {
    app: String,
    dir: DynoDir,
    role: Role,
    release: u64,
    image: ImageName,
    /// It was adopted, and its supervisor has not said yet how it is.
    silent: bool,
    /// Its turn to start, while it does.
    start: Option<OwnedSemaphorePermit>,
    /// It has ended.
    ended: bool,
    /// The API was told that it is gone.
    told: bool,
    dismissed: bool,
}

struct Agent {
    launcher: Launcher,
    clock: Clock,
    calls: Calls,
    images: Arc<Images>,
    links: Links,
    reports: Reports,
    ears: Ears,
    own: Own,
    messages: mpsc::UnboundedReceiver<Message>,
    waiting: watch::Sender<Waiting>,
    apps: HashMap<String, App>,
    queues: HashMap<String, Queue>,
    reported: HashMap<String, BTreeMap<String, DynoReport>>,
    again: HashMap<String, Millis>,
    known: HashMap<String, Known>,
    starts: Arc<Semaphore>,
    /// What each starting dyno is to run; taken when it is launched.
    starting: HashMap<String, (String, Start)>,
    probes: HashMap<String, AbortHandle>,
}

impl Agent {
    async fn start(settings: Settings, program: PathBuf, api: Arc<dyn Api>) -> Result<Self, Fault> {
        let calls = Calls::new(api);
        let (tell, messages) = mpsc::unbounded_channel();
        let (lines, said) = mpsc::unbounded_channel();
        let links = Links::default();
        let images = Images::open(&settings.slugs_dir, settings.slug_cache_bytes, program.clone())?;
        let (waiting, wait) = watch::channel(Waiting::default());
        let place = rendezvous(&settings, wait, tell.clone()).await?;
        let reports = Reports::start(calls.clone(), tell.clone());
        tokio::spawn(logs::send(calls.clone(), said, links.clone()));
        let mut agent = Self {
            launcher: Launcher { settings, program },
            clock: Clock::start(),
            calls: calls.clone(),
            images,
            links,
            reports,
            ears: Ears { messages: tell.clone(), lines: lines.clone() },
            own: Own::new(lines),
            messages,
            waiting,
            apps: HashMap::new(),
            queues: HashMap::new(),
            reported: HashMap::new(),
            again: HashMap::new(),
            known: HashMap::new(),
            starts: Arc::new(Semaphore::new(
                STARTS * std::thread::available_parallelism().map_or(1, NonZero::get),
            )),
            starting: HashMap::new(),
            probes: HashMap::new(),
        };
        let adopted = agent.adopt().await?;
        agent.report_all();
        tokio::spawn(watch_apps(calls, HostHello { rendezvous: place }, tell));
        let dir = agent.launcher.settings.state_dir.display();
        let _ = writeln!(std::io::stderr(), "openruko-host: running dynos of `{dir}`, {adopted} adopted");
        Ok(agent)
    }

    async fn serve(mut self) {
        loop {
            let now = self.clock.now();
            let next = self.again.values().min().map(|at| self.clock.instant(*at).into());
            let at = next.unwrap_or_else(|| tokio::time::Instant::now() + LOOK);
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return,
                },
                () = tokio::time::sleep_until(at) => {
                    let due: Vec<String> =
                        self.again.iter().filter(|(_, at)| **at <= now.max(self.clock.now())).map(|(id, _)| id.clone()).collect();
                    due.iter().for_each(|app| self.go_on(app));
                }
            }
        }
    }

    /// Takes over the dynos that run.
    async fn adopt(&mut self) -> Result<usize, Fault> {
        let Found { alive, lost } = launch::find(&self.launcher.settings)?;
        let now = self.clock.now();
        for (app, id) in lost {
            self.app(&app).lost_one_off(id);
        }
        let mut waited: HashMap<String, DynoFile> = HashMap::new();
        for (dir, file) in alive {
            self.link(dir, file.clone(), None);
            waited.insert(file.id.clone(), file);
        }
        let until = tokio::time::Instant::now() + ADOPT_WITHIN;
        let mut adopted = 0;
        let mut later = Vec::new();
        while !waited.is_empty() {
            match tokio::time::timeout_at(until, self.messages.recv()).await {
                Ok(Some(Message::State(id, state))) if waited.contains_key(&id) => {
                    let Some(file) = waited.remove(&id) else { continue };
                    self.adopt_one(&file, Some(&state), now);
                    adopted += 1;
                }
                Ok(Some(Message::Lost(id))) if waited.contains_key(&id) => {
                    waited.remove(&id);
                    self.forget(&id);
                }
                Ok(Some(other)) => later.push(other),
                Ok(None) | Err(_) => break,
            }
        }
        // Who says nothing may do so later.
        for file in waited.values() {
            self.adopt_one(file, None, now);
        }
        later.into_iter().for_each(|message| self.handle(message));
        Ok(adopted)
    }

    fn adopt_one(&mut self, file: &DynoFile, state: Option<&State>, now: Millis) {
        // What was not begun need not be known of.
        let begun = state.filter(|state| state.begun);
        let stage = begun.map(|state| &state.stage);
        let dyno = Dyno {
            id: file.id.clone(),
            name: file.name.clone(),
            role: file.role,
            release: file.release,
            generation: file.generation,
            command: file.command.clone(),
            size: file.size.clone(),
            stage: Stage::Starting,
            since: file.since,
            launched: Some(file.since),
            address: match stage {
                Some(Told::Running { address }) => {
                    Some(SocketAddr::new(IpAddr::V4(*address), self.launcher.settings.port))
                }
                _ => None,
            },
            // Whoever was attached is not any more.
            unattached: file.attach,
            unproved: None,
            drain: None,
        };
        self.app(&file.app).adopt(dyno, begun, now);
        self.known.get_mut(&file.id).into_iter().for_each(|known| known.silent = state.is_none());
        if let Some(state) = state {
            if matches!(state.stage, Told::Ended(_)) {
                self.has_ended(&file.id);
            }
            if !state.begun {
                self.give_up(&file.app, &file.id);
            }
        }
        self.go_on(&file.app);
    }

    /// A supervisor whose agent ended before it had said what is to run: what belongs to the formation and release
    /// phases are begun anew.
    fn give_up(&mut self, app: &str, id: &str) {
        let message = "the agent ended before it had said what runs".to_owned();
        self.say(app, id, crate::words::not_started(&message));
        self.links.ask(id, Ask::Stop { seconds: 0 });
        let failed = Failed { message, try_again: true };
        let end = End { at: self.clock.now(), failed: Some(failed), ..End::default() };
        self.happened(app, Event::Ended(id.to_owned(), end));
    }

    fn app(&mut self, id: &str) -> &mut App {
        self.apps.entry(id.to_owned()).or_insert_with(|| App::new(id))
    }

    fn link(&mut self, dir: DynoDir, file: DynoFile, stream: Option<UnixStream>) {
        let Purpose::Dyno { image, .. } = &file.spec.purpose else { return };
        let known = Known {
            app: file.app.clone(),
            dir: dir.clone(),
            role: file.role,
            release: file.release,
            image: image.clone(),
            silent: false,
            start: None,
            ended: false,
            told: false,
            dismissed: false,
        };
        self.known.insert(file.id.clone(), known);
        self.tell_images();
        let asks = self.links.open(&file.id, file.role);
        tokio::spawn(links::serve(dir, file, stream, asks, self.ears.clone()));
    }

    fn tell_images(&self) {
        let running = self.known.values().filter(|known| !known.ended).map(|known| known.image.clone());
        let starting = self.starting.values().filter_map(|(_, start)| {
            start.release.slug.as_ref().and_then(|slug| slug.stored.sha256.parse().ok())
        });
        self.images.set_in_use(running.chain(starting).collect());
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::StartOver => {
                tracing::warn!("the API does not know what it said before: everything is told anew");
                self.apps.values_mut().for_each(App::doubt);
                self.reported.clear();
                self.report_all();
            }
            Message::Apps(apps) => self.want(apps),
            Message::Known(ids) => {
                let gone: Vec<String> = self.apps.keys().filter(|id| !ids.contains(*id)).cloned().collect();
                gone.iter().for_each(|id| self.want_nothing(id));
            }
            Message::Event(app, event) => self.happened(&app, event),
            Message::Launched(launched, start) => self.launched(*launched, start),
            Message::NeverBegan(id, failed) => {
                if let Some((app, _)) = self.starting.get(&id) {
                    self.never_began(&app.clone(), &id, failed);
                }
            }
            Message::State(id, state) => self.state(&id, state),
            Message::Lost(id) => self.lost(&id),
            Message::GoneTold(ids) => {
                for id in ids {
                    self.known.get_mut(&id).into_iter().for_each(|known| known.told = true);
                    self.let_go(&id);
                }
            }
            Message::Attached(id) => {
                if let Some(app) = self.known.get(&id).map(|known| known.app.clone()) {
                    self.happened(&app, Event::Attached(id));
                }
            }
            Message::Call(app, call) => self.queue(&app).add(call),
        }
    }

    fn want(&mut self, apps: AppsToRun) {
        for wanted in apps.apps {
            let id = wanted.app.id.clone();
            self.app(&id).want(wanted);
            self.go_on(&id);
        }
        apps.gone.iter().for_each(|id| self.want_nothing(id));
    }

    fn want_nothing(&mut self, id: &str) {
        if let Some(app) = self.apps.get_mut(id) {
            app.want_nothing();
            self.go_on(id);
        }
    }

    fn queue(&mut self, app: &str) -> &Queue {
        let start = || {
            let (links, tell) = (self.links.clone(), self.ears.messages.clone());
            Queue::start(app.to_owned(), self.calls.clone(), self.reports.clone(), links, tell)
        };
        self.queues.entry(app.to_owned()).or_insert_with(start)
    }

    fn happened(&mut self, id: &str, event: Event) {
        let (now, times) = (self.clock.now(), self.launcher.settings.times);
        let Some(app) = self.apps.get_mut(id) else { return };
        let plan = app.happened(event, now, &times, &mut new_id);
        self.carry_out(id, plan);
    }

    fn go_on(&mut self, id: &str) {
        let (now, times) = (self.clock.now(), self.launcher.settings.times);
        let Some(app) = self.apps.get_mut(id) else { return };
        let plan = app.plan(now, &times, &mut new_id);
        self.carry_out(id, plan);
    }

    fn carry_out(&mut self, id: &str, plan: Plan) {
        match plan.again {
            Some(again) => drop(self.again.insert(id.to_owned(), again)),
            None => drop(self.again.remove(id)),
        }
        self.report(id);
        for action in plan.actions {
            self.act(id, action);
        }
        self.probe(id);
        self.show_waiting();
        let ended: Vec<String> = self
            .known
            .iter()
            .filter(|(_, k)| k.app == id && k.ended && !k.dismissed)
            .map(|(id, _)| id.clone())
            .collect();
        ended.iter().for_each(|id| self.let_go(id));
        if self.apps.get(id).is_some_and(App::is_over) {
            self.apps.remove(id);
            self.again.remove(id);
            self.reported.remove(id);
            self.queues.remove(id);
        }
    }

    fn act(&mut self, app: &str, action: Action) {
        match action {
            Action::Prefetch(slug) => {
                let images = self.images.clone();
                tokio::spawn(async move {
                    // Who starts a dyno asks again, and hears what is wrong.
                    let _ = images.get(&slug).await;
                });
            }
            Action::Start(start) => self.begin(app, *start),
            Action::Up(id) => {
                self.links.ask(&id, Ask::Up);
            }
            Action::Say(id, text) => self.say(app, &id, text),
            Action::Stop(id, seconds) => self.stop(app, &id, seconds),
            Action::Switch(route) => self.queue(app).add(Call::Switch(route)),
            Action::Fail(version, reason) => {
                tracing::info!(app, version, reason, "a release failed");
                self.queue(app).add(Call::Fail(version, reason));
            }
        }
    }

    /// A dyno that is not launched yet has nobody to say it among its own lines.
    fn say(&mut self, app: &str, id: &str, text: String) {
        if self.links.ask(id, Ask::Say { text: text.clone() }) {
            return;
        }
        let name = match self.starting.get(id) {
            Some((_, start)) => start.name.clone(),
            None => match self.apps.get(app).and_then(|app| app.dyno(id)) {
                Some(dyno) => dyno.name.clone(),
                None => return,
            },
        };
        let line = LogLine {
            app: app.to_owned(),
            at: micros(),
            source: LogSource::Heroku,
            process: name.to_string(),
            text: one_line(&text),
        };
        self.own.say(line);
    }

    fn stop(&mut self, app: &str, id: &str, seconds: u64) {
        if self.known.contains_key(id) {
            self.links.ask(id, Ask::Stop { seconds });
        } else if self.starting.remove(id).is_some() {
            // It has no supervisor yet, and when it gets one nobody will tell it what to run.
            let event = Event::Ended(id.to_owned(), End { at: self.clock.now(), ..End::default() });
            let _ = self.ears.messages.send(Message::Event(app.to_owned(), event));
        }
    }

    /// Gets the image, then starts the supervisor.
    fn begin(&mut self, app: &str, start: Start) {
        let Some(slug) = start.release.slug.clone() else {
            let failed = Failed { message: "its release has no slug".into(), try_again: false };
            self.never_began(app, &start.id, failed);
            return;
        };
        self.starting.insert(start.id.clone(), (app.to_owned(), start.clone()));
        self.tell_images();
        let (images, launcher, ears) = (self.images.clone(), self.launcher.clone(), self.ears.clone());
        let (starts, calls) = (self.starts.clone(), self.calls.clone());
        let (app, clock) = (app.to_owned(), self.clock);
        tokio::spawn(async move {
            let id = start.id.clone();
            let launched = async {
                let slug = match images.lacks_address(&slug) {
                    true => address_anew(&calls, &app, start.release.version, slug).await,
                    false => slug,
                };
                let image = images.get(&slug).await?;
                let over = |_| Failed { message: "openruko-host ends".into(), try_again: true };
                let turn = starts.acquire_owned().await.map_err(over)?;
                let launch = move || {
                    let file = launcher.file(&app, &start, &image, clock.now())?;
                    launcher.launch(file)
                };
                let fault = |fault: Fault| Failed {
                    try_again: fault.exit == Exit::TryAgain,
                    message: one_line(&fault.message),
                };
                let launched = tokio::task::spawn_blocking(launch).await;
                let launched =
                    launched.map_err(|error| Failed { message: error.to_string(), try_again: true })?;
                launched.map_err(fault).map(|launched| (launched, turn))
            };
            let message = match launched.await {
                Ok((launched, turn)) => Message::Launched(Box::new(launched), turn),
                Err(failed) => Message::NeverBegan(id, failed),
            };
            let _ = ears.messages.send(message);
        });
    }

    fn never_began(&mut self, app: &str, id: &str, failed: Failed) {
        self.say(app, id, crate::words::not_started(&failed.message));
        self.starting.remove(id);
        let end = End { at: self.clock.now(), failed: Some(failed), ..End::default() };
        let _ = self.ears.messages.send(Message::Event(app.to_owned(), Event::Ended(id.to_owned(), end)));
    }

    fn launched(&mut self, Launched { dir, file, stream }: Launched, turn: OwnedSemaphorePermit) {
        let id = file.id.clone();
        let starting = self.starting.remove(&id);
        let stream = UnixStream::from_std(stream).ok();
        let (app, attach) = (file.app.clone(), file.attach);
        self.link(dir, file, stream);
        if let Some(known) = self.known.get_mut(&id) {
            known.start = Some(turn);
        }
        let Some((_, start)) = starting else {
            // It was told to stop meanwhile, and its end was told.
            self.links.ask(&id, Ask::Stop { seconds: 0 });
            self.links.ask(&id, Ask::Dismiss);
            return;
        };
        let name = self.apps.get(&app).and_then(App::name);
        let env = environment(&start, &app, name, self.launcher.settings.port);
        let start = DynoStart { command: start.command, env, terminal: start.terminal, stdin: attach };
        self.links.ask(&id, Ask::Start { start: Box::new(start) });
        self.happened(&app, Event::Launched(id));
    }

    fn state(&mut self, id: &str, state: State) {
        let Some(known) = self.known.get_mut(id) else { return };
        let app = known.app.clone();
        if state.stage != Told::Starting {
            known.start = None;
        }
        if std::mem::take(&mut known.silent) && !state.begun {
            self.give_up(&app, id);
        }
        let dyno = self.apps.get(&app).and_then(|app| app.dyno(id));
        match state.stage {
            Told::Starting => {
                // It was silent when it was adopted.
                if dyno.is_some_and(|dyno| dyno.launched.is_none()) {
                    self.happened(&app, Event::Launched(id.to_owned()));
                }
            }
            Told::Running { address } => {
                let is_up = state.up.is_some();
                let is_news = |d: &Dyno| d.address.is_none() || is_up && d.stage == Stage::Starting;
                if dyno.is_some_and(is_news) {
                    let address = SocketAddr::new(IpAddr::V4(address), self.launcher.settings.port);
                    self.happened(&app, Event::Started(id.to_owned(), address, state.up));
                }
            }
            Told::Ended(end) => {
                self.has_ended(id);
                self.happened(&app, Event::Ended(id.to_owned(), end));
            }
        }
    }

    fn has_ended(&mut self, id: &str) {
        if let Some(known) = self.known.get_mut(id) {
            known.ended = true;
        }
        self.tell_images();
    }

    /// A supervisor is gone: it was dismissed, or killed.
    fn lost(&mut self, id: &str) {
        let Some(known) = self.known.get(id) else { return };
        let (app, ended) = (known.app.clone(), known.ended);
        known.dir.remove();
        self.forget(id);
        if !ended {
            self.say(&app, id, crate::words::failed("its supervisor was lost"));
            let failed = Failed { message: "its supervisor was lost".into(), try_again: true };
            let end = End { at: self.clock.now(), failed: Some(failed), ..End::default() };
            self.happened(&app, Event::Ended(id.to_owned(), end));
        }
    }

    fn forget(&mut self, id: &str) {
        self.links.close(id);
        self.known.remove(id);
        self.tell_images();
    }

    /// Dismisses a supervisor whose dyno has ended, when its end need not be known any more.
    fn let_go(&mut self, id: &str) {
        let Some(known) = self.known.get_mut(id).filter(|known| known.ended && !known.dismissed) else {
            return;
        };
        let app = self.apps.get(&known.app);
        let needed = match known.role {
            Role::Formation => app.is_some_and(|app| !app.is_known()),
            // If we end here, the next one must not run it again.
            Role::Release => app.is_some_and(|app| !app.is_known() || app.remembers_phase(known.release)),
            Role::OneOff => !known.told,
        };
        if !needed {
            known.dismissed = true;
            self.links.ask(id, Ask::Dismiss);
        }
    }

    /// Tells the API what changed.
    fn report(&mut self, id: &str) {
        let now: BTreeMap<String, DynoReport> = match self.apps.get(id) {
            Some(app) => app.reports().map(|report| (report.id.clone(), report)).collect(),
            None => BTreeMap::new(),
        };
        let before = self.reported.entry(id.to_owned()).or_default();
        let changed: Vec<_> =
            now.values().filter(|report| before.get(&report.id) != Some(report)).cloned().collect();
        let gone: Vec<_> = before.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        *before = now;
        if !changed.is_empty() || !gone.is_empty() {
            self.reports.add(changed, gone, false);
        }
    }

    /// Tells the API of everything that there is, and that this is all.
    fn report_all(&mut self) {
        for (id, app) in &self.apps {
            let reports = app.reports().map(|report| (report.id.clone(), report)).collect();
            self.reported.insert(id.clone(), reports);
        }
        let dynos = self.reported.values().flat_map(|of_app| of_app.values().cloned()).collect();
        let ended = self.known.iter().filter(|(_, known)| known.ended && known.role == Role::OneOff);
        let mut gone: Vec<String> = ended.map(|(id, _)| id.clone()).collect();
        gone.extend(self.apps.values().flat_map(App::ended_one_offs));
        self.reports.add(dynos, gone, true);
    }

    /// Sees to it that whatever has to prove itself is asked, and nothing else.
    fn probe(&mut self, id: &str) {
        let Some(app) = self.apps.get(id).filter(|app| app.is_known()) else { return };
        let mut wanted = BTreeSet::new();
        for dyno in app.dynos().filter(|dyno| dyno.has_to_prove_itself()) {
            let Some(address) = dyno.address else { continue };
            wanted.insert(dyno.id.clone());
            if self.probes.contains_key(&dyno.id) {
                continue;
            }
            let probe = Probe {
                app: id.to_owned(),
                host: app.name().map(ToString::to_string).unwrap_or_default(),
                id: dyno.id.clone(),
                address,
                path: app.check_path().map(str::to_owned),
            };
            let task = tokio::spawn(probe::run(probe, self.ears.messages.clone()));
            self.probes.insert(dyno.id.clone(), task.abort_handle());
        }
        let of_app: HashSet<&String> =
            self.known.iter().filter(|(_, k)| k.app == id).map(|(id, _)| id).collect();
        self.probes.retain(|dyno, task| {
            let keep = wanted.contains(dyno) || (!of_app.contains(dyno) && self.known.contains_key(dyno));
            if !keep {
                task.abort();
            }
            keep
        });
    }

    /// Shows clients the dynos that wait for them.
    fn show_waiting(&mut self) {
        let mut waiting = Waiting::new();
        for app in self.apps.values() {
            for (secret, id, terminal) in app.attachable() {
                let dyno = app.dyno(&id);
                let running = dyno.is_some_and(|dyno| dyno.stage == Stage::Up && dyno.unattached);
                // Until the client has come; its connection does not need the place afterwards.
                if dyno.is_none_or(|dyno| dyno.unattached) {
                    let socket = self.launcher.dir(&id).socket();
                    waiting.insert(secret, Place { id, socket, terminal, running });
                }
            }
        }
        self.waiting.send_if_modified(|before| {
            let changed = *before != waiting;
            *before = waiting;
            changed
        });
    }
}

fn new_id() -> String {
    ulid::Ulid::generate().to_string()
}

async fn rendezvous(
    settings: &Settings,
    waiting: watch::Receiver<Waiting>,
    tell: mpsc::UnboundedSender<Message>,
) -> Result<Option<RendezvousPlace>, Fault> {
    let Some(config) = &settings.rendezvous else { return Ok(None) };
    let attached = move |id| drop(tell.send(Message::Attached(id)));
    let rendezvous = Rendezvous::bind(config, waiting, attached).await?;
    // One that was made up here no client could verify otherwise.
    let certificate = config.tls.is_none().then(|| rendezvous.certificate());
    let address = rendezvous.address()?;
    tracing::info!(%address, "terminals are reached here");
    tokio::spawn(rendezvous.serve());
    Ok(Some(RendezvousPlace { url: config.url.clone(), certificate }))
}

/// Asks what should run, for ever.
async fn watch_apps(calls: Calls, hello: HostHello, tell: mpsc::UnboundedSender<Message>) {
    let mut backoff = Backoff::new();
    let mut said_hello = false;
    let mut after = 0;
    // The apps that were told of since everything was asked for; none: everything is known.
    let mut all = Some(HashSet::new());
    loop {
        let hello = Some(hello.clone()).filter(|_| !said_hello);
        let answer = calls.call(move |api| {
            hello.map_or(Ok(()), |hello| api.hello(&hello))?;
            api.apps(after, WATCH_SECONDS)
        });
        match answer.await {
            Ok(answer) => {
                if !said_hello {
                    calls.is_back();
                }
                (said_hello, backoff) = (true, reset(backoff));
                let Some(apps) = answer else {
                    (after, all) = (0, Some(HashSet::new()));
                    if tell.send(Message::StartOver).is_err() {
                        return;
                    }
                    continue;
                };
                after = apps.revision;
                let more = apps.more;
                if let Some(all) = &mut all {
                    all.extend(apps.apps.iter().map(|app| app.app.id.clone()));
                }
                if tell.send(Message::Apps(apps)).is_err() {
                    return;
                }
                if !more && let Some(all) = all.take() {
                    let _ = tell.send(Message::Known(all));
                }
            }
            Err(error) => {
                // What it forgot of us when it was away is said again.
                said_hello = false;
                tracing::warn!("cannot ask what should run: {}", shown(&error));
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

fn reset(mut backoff: Backoff) -> Backoff {
    backoff.reset();
    backoff
}
/// Addresses in storage hold for a while, and a release may run for longer. Where the API is away the old one has to
/// do.
async fn address_anew(calls: &Calls, app: &str, version: u64, slug: SlugToRun) -> SlugToRun {
    let app = app.to_owned();
    match calls.call(move |api| api.slug(&app, version)).await {
        // What is fetched has to be what the release was made of.
        Ok(anew) if anew.stored == slug.stored => anew,
        Ok(_) => slug,
        Err(why) => {
            tracing::warn!("the address of a slug cannot be had: {}", shown(&why));
            slug
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::dyno::wire::Line;

    fn told(to: &mut UnixStream, tell: &Tell) {
        to.write_all(format!("{}\n", serde_json::to_string(tell).unwrap()).as_bytes()).unwrap();
    }

    #[test]
    fn who_stops_a_dyno_dismisses_its_supervisor_when_it_has_ended_and_not_before() {
        let home = tempfile::tempdir().unwrap();
        let dir = DynoDir::new(home.path());
        let supervisor = UnixListener::bind(dir.socket()).unwrap();
        let stopping = std::thread::spawn(move || Runtime::new().unwrap().block_on(stop_one(&dir, 7)));
        let (mut to, _) = supervisor.accept().unwrap();
        let mut asks = std::io::BufReader::new(to.try_clone().unwrap()).lines();
        let mut asked = || serde_json::from_str::<Ask>(&asks.next().unwrap().unwrap()).unwrap();
        assert!(asked() == Ask::Follow && asked() == Ask::Stop { seconds: 7 });
        let state = |stage| Tell::State(State { stage, begun: true, up: None, lines: 1 });
        told(&mut to, &state(Told::Starting));
        let text = "Stopping".to_owned();
        told(&mut to, &Tell::Line(Line { seq: 3, at: 0, source: LogSource::Heroku, text, offset: 0 }));
        assert!(asked() == Ask::Ack { seq: 3 }, "a second stop would be another SIGTERM");
        told(&mut to, &state(Told::Ended(End::default())));
        assert!(asked() == Ask::Dismiss);
        to.shutdown(std::net::Shutdown::Both).unwrap();
        stopping.join().unwrap().unwrap();
    }
}
