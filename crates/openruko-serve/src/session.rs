//! One git service in one container: from the keeper that is ready for a spec to git's end.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use ruko_channel::Host;
use ruko_core::config::BuildLimits;
use ruko_core::container::{RunEvent, RunLimits, RunSpec};
use ruko_core::{ContainerName, Fault, Hint, TemplateName};

use crate::cli::Context;
use crate::container::Container;
use crate::events::{Event, Events};
use crate::inner_ssh::{self, Endpoint, KeyPair};
use crate::request::Service;
use crate::runtime_dir::RuntimeDir;

/// How long a container may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the keeper may take to say why the container ended under git.
const REASON_WITHIN: Duration = Duration::from_secs(1);
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
    pub(crate) dir: RuntimeDir,
    pub(crate) container: Container,
    pub(crate) events: Events,
    pub(crate) endpoint: Endpoint,
}

/// Why a session ended before git did.
#[derive(Debug)]
pub(crate) enum Cut {
    /// Nobody is there to be told.
    ClientGone,
    /// The reason, for the developer and for the record.
    Because(Fault),
}

impl Cut {
    /// For the build's record.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::ClientGone => "the client went away",
            Self::Because(fault) => &fault.message,
        }
    }
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Self {
        Self::Because(fault)
    }
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

    /// Asks for the container and waits until it answers.
    pub(crate) fn start(
        self,
        name: ContainerName,
        template: TemplateName,
        limits: &BuildLimits,
    ) -> Result<Running, Cut> {
        let Self { dir, container, events, key } = self;
        let client_key = key.public()?;
        let spec = RunSpec { name: name.clone(), template, client_key, limits: run_limits(limits) };
        container.start(&spec).try_again("The build container could not be asked for")?;
        let endpoint = wait_until_ready(&events, name)?;
        Ok(Running { dir, container, events, endpoint })
    }
}

fn run_limits(limits: &BuildLimits) -> RunLimits {
    let BuildLimits { build_seconds, memory_bytes, pids, disk_bytes, .. } = *limits;
    RunLimits { seconds: build_seconds, memory_bytes, pids, disk_bytes }
}

fn wait_until_ready(events: &Events, container: ContainerName) -> Result<Endpoint, Cut> {
    let deadline = Instant::now() + READY_WITHIN;
    match events.next_before(deadline) {
        Some(Event::Container(RunEvent::Ready { address, port, user, host_key })) => {
            Ok(Endpoint { container, address, port, user, host_key })
        }
        Some(event) => Err(cut(event)),
        None => {
            let why =
                format!("The build container did not answer within {} seconds.", READY_WITHIN.as_secs());
            Err(Fault::try_again(why).into())
        }
    }
}

/// What an event means to a session that it ends.
fn cut(event: Event) -> Cut {
    let fault = match event {
        Event::ClientGone => return Cut::ClientGone,
        Event::Signal => Fault::try_again("The server stops; nothing was changed."),
        Event::LeaseLost => Fault::try_again("The lease of this push was lost; nothing was changed."),
        Event::Container(RunEvent::Stopped { by }) => Fault::refused(format!("The build was stopped: {by}.")),
        Event::Container(RunEvent::Failed { message, try_again }) => {
            let message = format!("The build container could not be started: {message}");
            if try_again { Fault::try_again(message) } else { Fault::refused(message) }
        }
        Event::Container(_) | Event::ContainerClosed => {
            Fault::try_again("The build container ended unexpectedly; nothing was changed.")
        }
        Event::GitEnded => Fault::try_again("git ended unexpectedly; nothing was changed."),
    };
    Cut::Because(fault)
}

impl Running {
    /// Runs a git service with the client's stdin, stdout and stderr, while the host side answers the
    /// container. Returns when git has ended, or when something ends it; by then the host side has
    /// finished with whatever it was asked.
    pub(crate) fn git(
        &self,
        context: &Context,
        service: Service,
        host: &dyn Host,
    ) -> Result<ExitStatus, Cut> {
        let socket = self.dir.join("host.sock");
        let listener = UnixListener::bind(&socket).try_again("cannot listen for the container")?;
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| answer_connections(&listener, host, &ended));
            let outcome = self.run_git(context, service, &socket);
            ended.store(true, Ordering::Release);
            // Wakes the thread that waits for connections.
            let _ = UnixStream::connect(&socket);
            outcome
        })
    }

    fn run_git(&self, context: &Context, service: Service, socket: &Path) -> Result<ExitStatus, Cut> {
        let mut git = self.spawn_git(context, service, socket)?;
        report_end(&git, self.events.sender());
        match self.events.next() {
            Event::GitEnded => {
                let status = git.wait().try_again("git's status is lost")?;
                // 255 is ssh's own trouble (ssh(1)): the container is gone, and its keeper knows why.
                if status.code().is_none_or(|code| code == 255) { Err(self.why_gone()) } else { Ok(status) }
            }
            event => {
                let _ = git.kill();
                let _ = git.wait();
                Err(cut(event))
            }
        }
    }

    fn spawn_git(&self, context: &Context, service: Service, socket: &Path) -> Result<Child, Fault> {
        let words = format!("session {}", service.name());
        let mut ssh = inner_ssh::ruko_slug(&self.dir, &self.endpoint, Some(socket), &words)?;
        if let Some(protocol) = &context.git_protocol {
            ssh.env("GIT_PROTOCOL", protocol);
        }
        let ssh = ssh.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        ssh.spawn().try_again("cannot run `ssh`")
    }

    fn why_gone(&self) -> Cut {
        let deadline = Instant::now() + REASON_WITHIN;
        cut(self.events.next_before(deadline).unwrap_or(Event::ContainerClosed))
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

/// Answers every connection of a container, a thread each, up to a bound.
fn answer_connections(listener: &UnixListener, host: &dyn Host, ended: &AtomicBool) {
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        for connection in listener.incoming() {
            if ended.load(Ordering::Acquire) {
                return;
            }
            let Ok(connection) = connection else { continue };
            if open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let open = &open;
            scope.spawn(move || {
                // A connection that breaks is the container's loss: it gets no answer.
                let _ = ruko_channel::serve(&connection, host);
                open.fetch_sub(1, Ordering::AcqRel);
            });
        }
    });
}
