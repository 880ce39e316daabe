//! One git service, or one build of a tarball, in one container: from the keeper that is ready for a spec to
//! its end.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use ruko_api_types::Push;
use ruko_channel::Host;
use ruko_core::config::BuildLimits;
use ruko_core::container::{Purpose, RunEvent, RunLimits, RunSpec};
use ruko_core::exit::{chain, one_line};
use ruko_core::{ContainerName, Fault, Hint, StackName, TemplateName};

use crate::container::Container;
use crate::context::Context;
use crate::events::{Event, Events};
use crate::inner_ssh::{self, Endpoint, KeyPair};
use crate::request::Request;
use crate::runtime_dir::RuntimeDir;
use crate::terminal;

/// How long a container may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the keeper may take to say why the container ended under git.
const REASON_WITHIN: Duration = Duration::from_secs(5);
/// How long is waited for what the host side is still doing when git has ended. Storage may take hours: an upload that
/// nobody waits for any more ends with this process.
const DONE_WITHIN: Duration = Duration::from_secs(1);
/// How long the last words of git may take on their way: longer where it ended by itself, and shorter where it was
/// ended, since then a lease and a build slot are to be free. A client that does not read them does not hold those.
const WORDS_WITHIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));
/// The longest line that is looked at as a whole, in bytes.
const MAX_WORDS: u64 = 64 << 10;
/// A container needs two connections; more than this are closed at once.
const MAX_CONNECTIONS: usize = 16;

/// A run that has begun: its directory, its key and its keeper, but no container yet. Costs a caller that
/// is refused afterwards nothing but a process.
pub(crate) struct Session {
    pub(crate) dir: RuntimeDir,
    pub(crate) container: Container,
    pub(crate) events: Events,
    key: KeyPair,
}

/// A session whose container answers.
pub(crate) struct Running {
    /// Set when git has ended, or was ended: nobody waits for an answer any more.
    pub(crate) ended: Arc<AtomicBool>,
    pub(crate) dir: RuntimeDir,
    pub(crate) container: Arc<Container>,
    pub(crate) events: Events,
    pub(crate) endpoint: Endpoint,
}

/// What runs in the container.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// git, with the client's stdin and stdout.
    Git {
        /// Which of its services, and how it talks to the client.
        request: &'a Request,
        /// `GIT_PROTOCOL`, if the client sent it.
        protocol: Option<&'a str>,
        /// The largest pack that a push may send, in bytes.
        max_pack_bytes: Option<u64>,
    },
    /// The build of a tarball, which has no client.
    Source,
}

impl Work<'_> {
    /// The words for `ruko-slug`.
    fn words(self) -> String {
        match self {
            Self::Git { request, max_pack_bytes, .. } => {
                let bound = max_pack_bytes.map(|most| format!(" --max-pack-bytes={most}"));
                let (service, exchange) = (request.service.name(), request.exchange.option());
                format!("session {service}{exchange}{}", bound.unwrap_or_default())
            }
            Self::Source => "build-source".to_owned(),
        }
    }
}

/// Why a session ended before git did.
#[derive(Debug)]
pub(crate) enum Cut {
    /// Nobody is there to be told.
    ClientGone,
    /// The reason.
    Because {
        /// For the developer.
        fault: Fault,
        /// For the admin, where there is more to say: it may name places on the host.
        detail: Option<String>,
    },
}

impl Cut {
    /// For the build's record.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::ClientGone => "the client went away".to_owned(),
            Self::Because { fault, detail: None } => fault.message.clone(),
            Self::Because { fault, detail: Some(detail) } => format!("{} ({detail})", fault.message),
        }
    }

    /// For whoever asked for it; none when nobody is there to be told.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Self::ClientGone => None,
            Self::Because { fault, .. } => Some(match &fault.hint {
                Some(hint) => format!("{}\n{hint}", fault.message),
                None => fault.message.clone(),
            }),
        }
    }

    /// For whoever asked for it and not for the admin.
    pub(crate) fn because(fault: Fault) -> Self {
        Self::Because { fault, detail: None }
    }

    /// What the developer is told says that it is not their doing; the admin is told why.
    pub(crate) fn not_started(detail: impl Into<String>) -> Self {
        Self::Because { fault: not_started(), detail: Some(detail.into()) }
    }
}

/// What keeps a session from beginning is for the admin; the developer can only try again.
pub(crate) fn not_started() -> Fault {
    Fault::try_again("The server cannot start a container at the moment; nothing was changed.")
        .hint("Try again in a minute; if it stays so, tell the server's admin.")
}

impl Session {
    /// Begins what needs no answer of the API.
    pub(crate) fn begin(context: &Context, events: Events) -> Result<Self, Fault> {
        let serve = context.config.serve()?;
        let container = Container::keeper(&serve.container_command, events.sender())?;
        let dir = RuntimeDir::create(&serve.runtime_dir)?;
        let key = KeyPair::begin(&dir)?;
        Ok(Self { dir, container, events, key })
    }

    /// Why the session is over although nothing was asked of it yet.
    pub(crate) fn ended_early(&self) -> Option<Cut> {
        self.events.happened().map(cut)
    }

    /// Why the session is over, if it is by `deadline`; waits for that.
    pub(crate) fn ended_before(&self, deadline: Instant) -> Option<Cut> {
        self.events.next_before(deadline).map(cut)
    }

    /// Asks for the container and waits until it answers.
    pub(crate) fn start(self, name: ContainerName, base: Base, limits: &BuildLimits) -> Result<Running, Cut> {
        let Self { dir, container, events, key } = self;
        let client_key = key.public().map_err(|fault| Cut::not_started(fault.message))?;
        let purpose = Purpose::Login { client_key };
        let Base { template, stack } = base;
        let spec = RunSpec { name: name.clone(), template, stack, purpose, limits: run_limits(limits) };
        // A keeper that has ended says why as its last word.
        let _ = container.start(&spec);
        let endpoint = wait_until_ready(&events, name)?;
        Ok(Running { ended: Arc::default(), dir, container: Arc::new(container), events, endpoint })
    }
}

/// What a container is made of.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) template: TemplateName,
    /// The image of the stack; none: the template shares the host's `/usr`.
    pub(crate) stack: Option<StackName>,
}

impl From<&Push> for Base {
    fn from(push: &Push) -> Self {
        Self { template: push.template.clone(), stack: push.stack_image.clone() }
    }
}

fn run_limits(limits: &BuildLimits) -> RunLimits {
    let BuildLimits { build_seconds, memory_bytes, pids, disk_bytes, .. } = *limits;
    RunLimits { seconds: Some(build_seconds), memory_bytes, pids, disk_bytes }
}

fn wait_until_ready(events: &Events, container: ContainerName) -> Result<Endpoint, Cut> {
    let deadline = Instant::now() + READY_WITHIN;
    match events.next_before(deadline) {
        Some(Event::Container(RunEvent::Ready { address, port, user, host_key })) => {
            Ok(Endpoint { container, address, port, user, host_key })
        }
        Some(event) => Err(cut(event)),
        None => Err(Cut::not_started(format!("no answer within {} seconds", READY_WITHIN.as_secs()))),
    }
}

/// What an event means to a session that it ends.
fn cut(event: Event) -> Cut {
    let nothing_changed = |why: &str| Cut::because(Fault::try_again(format!("{why}; nothing was changed.")));
    match event {
        Event::ClientGone => Cut::ClientGone,
        Event::Signal => nothing_changed("The server stops"),
        Event::LeaseLost => nothing_changed("The lease of this push was lost"),
        Event::Container(RunEvent::Stopped { by }) => {
            Cut::because(Fault::refused(format!("The build was stopped: {by}; nothing was changed.")))
        }
        Event::Container(RunEvent::Failed { message, .. }) => Cut::not_started(message),
        Event::ContainerClosed { last_word } if !last_word.trim().is_empty() => {
            Cut::not_started(one_line(&last_word))
        }
        Event::Container(_) | Event::ContainerClosed { .. } | Event::GitEnded => {
            nothing_changed("The build container ended unexpectedly")
        }
    }
}

impl Running {
    /// Runs a git service with the client's stdin, stdout and stderr, while the host side answers the
    /// container. Returns when git has ended, or when something ends it, whatever the host side still waits for.
    pub(crate) fn git(
        &self,
        context: &Context,
        request: &Request,
        max_pack_bytes: Option<u64>,
        host: Arc<dyn Host + Send + Sync>,
    ) -> Result<ExitStatus, Cut> {
        let protocol = context.git_protocol.as_deref();
        self.work(Work::Git { request, protocol, max_pack_bytes }, host)
    }

    /// Builds a tarball; otherwise as [`Running::git`].
    pub(crate) fn source(&self, host: Arc<dyn Host + Send + Sync>) -> Result<ExitStatus, Cut> {
        self.work(Work::Source, host)
    }

    /// The container goes, whoever else still knows it, and then the directory.
    pub(crate) fn end(self) {
        self.container.let_go();
    }

    fn work(&self, work: Work<'_>, host: Arc<dyn Host + Send + Sync>) -> Result<ExitStatus, Cut> {
        let socket = self.dir.join("host.sock");
        let listener = UnixListener::bind(&socket).map_err(|why| Cut::not_started(chain(&why)))?;
        let git = self.spawn(work, &socket).map_err(|fault| {
            self.container.let_go();
            Cut::not_started(fault.message)
        })?;
        self.attend(git, listener, host)
    }

    /// Answers the container until git has ended, or something ends it.
    pub(crate) fn attend(
        &self,
        git: Child,
        listener: UnixListener,
        host: Arc<dyn Host + Send + Sync>,
    ) -> Result<ExitStatus, Cut> {
        let (listener, ended) = (Arc::new(listener), self.ended.clone());
        let (at_work, done) = mpsc::channel();
        let listening = listener.clone();
        thread::spawn(move || answer_connections(&listening, &host, &ended, &at_work));
        let outcome = self.until_ended(git);
        self.ended.store(true, Ordering::Release);
        if outcome.is_err() {
            // The container goes now, whatever the host side is still waiting for.
            self.container.let_go();
        }
        // Wakes the thread that waits for connections.
        let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
        // Nothing is ever sent: it closes when all of them are done.
        let _ = done.recv_timeout(DONE_WITHIN);
        outcome
    }

    fn until_ended(&self, mut git: Child) -> Result<ExitStatus, Cut> {
        let (passing, passed) = mpsc::channel::<()>();
        let words = git.stderr.take();
        thread::spawn(move || {
            words.into_iter().for_each(pass_words_on);
            drop(passing);
        });
        report_end(&git, self.events.sender());
        let outcome = match self.events.next() {
            Event::GitEnded => match git.wait() {
                // 255 is ssh's own trouble (ssh(1)): the container is gone, and its keeper knows why.
                Ok(status) if status.code().is_some_and(|code| code != 255) => Ok(status),
                _ => Err(self.why_gone()),
            },
            event => {
                let _ = git.kill();
                let _ = git.wait();
                Err(cut(event))
            }
        };
        // Its stderr has ended with it.
        let _ = passed.recv_timeout(if outcome.is_ok() { WORDS_WITHIN.0 } else { WORDS_WITHIN.1 });
        outcome
    }

    fn spawn(&self, work: Work<'_>, socket: &Path) -> Result<Child, Fault> {
        let mut ssh = inner_ssh::ruko_slug(&self.dir, &self.endpoint, Some(socket), &work.words(), None)?;
        if let Work::Git { protocol: Some(protocol), .. } = work {
            ssh.env("GIT_PROTOCOL", protocol);
        }
        match work {
            Work::Git { .. } => ssh.stdin(Stdio::inherit()).stdout(Stdio::inherit()),
            Work::Source => ssh.stdin(Stdio::null()).stdout(Stdio::null()),
        };
        ssh.stderr(Stdio::piped()).spawn().try_again("cannot run `ssh`")
    }

    fn why_gone(&self) -> Cut {
        let deadline = Instant::now() + REASON_WITHIN;
        cut(self.events.next_before(deadline).unwrap_or(Event::GitEnded))
    }
}

/// Passes on what git in the container says on stderr. What ssh says of its own end names addresses that
/// mean nothing to a developer, and `-q` does not silence it.
fn pass_words_on(words: impl Read) {
    let mut words = BufReader::new(words);
    let mut line = Vec::new();
    while words.by_ref().take(MAX_WORDS).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        if !line.starts_with(b"Connection to ") {
            terminal::pass_on(&line);
        }
        line.clear();
    }
}

/// Tells the queue when a child has ended, without taking its status: until its parent does, its process
/// id cannot be given to another.
fn report_end(child: &Child, events: Sender<Event>) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    thread::spawn(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
        let _ = events.send(Event::GitEnded);
    });
}

/// Answers every connection of a container, a thread each, up to a bound. `at_work` is held by each of them.
fn answer_connections(
    listener: &UnixListener,
    host: &Arc<dyn Host + Send + Sync>,
    ended: &AtomicBool,
    at_work: &Sender<()>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        if ended.load(Ordering::Acquire) {
            return;
        }
        let Ok(connection) = connection else {
            // Too many open files: the others have to end first.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (open, host, at_work) = (open.clone(), host.clone(), at_work.clone());
        thread::spawn(move || {
            // A connection that breaks is the container's loss: it gets no answer.
            let _ = ruko_channel::serve(&connection, &*host);
            open.fetch_sub(1, Ordering::AcqRel);
            drop(at_work);
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A session whose container never says anything.
    pub(crate) fn running(parent: &Path) -> Running {
        let events = Events::of_test();
        let container = Container::keeper(&["cat".to_owned()], events.sender()).unwrap();
        let endpoint = Endpoint {
            container: ContainerName::generate("test"),
            address: std::net::Ipv4Addr::LOCALHOST,
            port: 1,
            user: "build".into(),
            host_key: String::new(),
        };
        let dir = RuntimeDir::create(parent).unwrap();
        Running { ended: Arc::default(), dir, container: Arc::new(container), events, endpoint }
    }

    /// Runs one of these tests in a process of its own; gives its exit status. Its stderr is never read.
    fn deaf(test: &str) -> ExitStatus {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture"]).env("OPENRUKO_TEST_DEAF", "1");
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                None => {
                    child.kill().unwrap();
                    return child.wait().unwrap();
                }
            }
        }
    }

    #[test]
    fn a_client_that_does_not_read_does_not_hold_a_session_that_was_ended() {
        if std::env::var_os("OPENRUKO_TEST_DEAF").is_none() {
            let name = "session::tests::a_client_that_does_not_read_does_not_hold_a_session_that_was_ended";
            assert!(deaf(name).success(), "it did not end");
            return;
        }
        let parent = tempfile::tempdir().unwrap();
        let running = running(parent.path());
        let listener = UnixListener::bind(running.dir.join("host.sock")).unwrap();
        // More than the pipe to the client takes, and then endlessly.
        let full = parent.path().join("full");
        let line = "x".repeat(1000);
        let talking =
            format!("yes {line} | head -c 100000 >&2; touch {}; exec yes {line} >&2", full.display());
        let events = running.events.sender();
        thread::spawn(move || {
            while !full.exists() {
                thread::yield_now();
            }
            events.send(Event::Signal).unwrap();
        });
        let host = crate::host::FetchHost::new(vec![], vec![]);
        let cut = running.attend(git(&talking), listener, Arc::new(host));
        assert!(matches!(cut, Err(Cut::Because { .. })), "{cut:?}");
        terminal::trouble("Nobody reads this.");
        terminal::trouble("Nor that.");
    }

    /// What stands for the ssh that runs git.
    pub(crate) fn git(script: &str) -> Child {
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        sh.spawn().unwrap()
    }
}
