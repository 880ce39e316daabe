//! `run`: one container, from the caller's first line to the end of its input.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ruko_core::container::{Limit, LimitMet, RunEvent, RunRequest};
use ruko_core::{Exit, Fault, Hint, report};
use ruko_lxc::cgroup::{Layout, Usage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::PROGRAM;
use crate::events::{self, Input, Lines, Stdin};
use crate::host_key::{HostKey, public_key};
use crate::layout::Kind;
use crate::machine::{Heard, Machine};
use crate::settings::Settings;
use crate::spec::{Order, Wanted};
use crate::state;
use crate::watchdog::Watchdog;
use crate::work::Work;

/// How long the caller may take to say what it wants: it starts us before it has asked anybody, and may have to
/// wait for another push and for a build slot (`wait_seconds` and `slot_seconds` of `[serve]`, 3840 seconds at most).
const SPEC_TIME: Duration = Duration::from_secs(3900);

/// How long a container may take until its sshd listens; usually it is a tenth of a second.
const START_TIME: Duration = Duration::from_secs(30);

/// How long a push may be kept by what earlier ones left behind.
const REAP_TIME: Duration = Duration::from_millis(100);

/// How often the watchdog looks.
const TICK: Duration = Duration::from_secs(1);

/// How often is looked whether a dyno is still kept apart. Nobody else looks after it.
const FILTER_TICK: Duration = Duration::from_secs(5);

/// A container ends when the packet filter could not be loaded again for so long.
const EXPOSED_TIME: Duration = Duration::from_secs(20);

/// Runs one container.
pub(crate) fn run(config: &Path) -> Result<Exit, Fault> {
    events::tell_of_panics();
    let outcome = ruko_sys::process::enter_as_root()
        .map_err(Fault::from)
        .and_then(|()| Caller::new())
        .and_then(|mut caller| session(config, &mut caller));
    if let Err(fault) = &outcome {
        events::send_last(fault);
    }
    outcome
}

fn session(config: &Path, caller: &mut Caller) -> Result<Exit, Fault> {
    let settings = Settings::load(config)?;
    let layout = Layout::detect()?;
    let work = Work::enter(&settings.bridge)?;
    // A key takes a while, and who comes without a socket wants no dyno.
    let early = if caller.input.from.is_socket() { None } else { Some(HostKey::begin(&work)?) };
    // What resists is for `ruko-container reap` to tell about, not for a push to fail of or to wait for.
    let bound = bound_set_up()?;
    let _ = state::reap(&settings, &layout, REAP_TIME);
    drop(bound);
    let Some(line) = caller.first_line()? else { return Ok(Exit::Ok) };
    let begun = Instant::now();
    let order = Order::judge(&line, caller.input.from.take_files(), &settings)?;
    let limits = order.limits;
    let host_key = match (&order.wanted, early) {
        (Wanted::Dyno(_), _) => None,
        (Wanted::Login(_), Some(key)) => Some(key.finish()?),
        (Wanted::Login(_), None) => Some(HostKey::begin(&work)?.finish()?),
    };
    let host_public = host_key.as_deref().map(public_key).transpose()?;
    let bound = bound_set_up()?;
    let machine = Machine::start(&settings, &layout, order, &work, host_key.as_deref())?;
    drop(bound);
    let mut watch = Watch {
        machine,
        caller,
        watchdog: Watchdog::new(limits),
        deadline: deadline(begun, limits.seconds),
        kind: if host_public.is_some() { Kind::Login } else { Kind::Dyno },
        stop_at: None,
        exposed_since: None,
    };
    let end = watch.live(host_public);
    // Before the destruction, which may take seconds: to the caller its connections break now.
    match &end {
        Ok(end) => end.event().iter().for_each(events::send),
        Err(fault) => events::send_last(fault),
    }
    let destroyed = watch.machine.destroy();
    let end = end?;
    destroyed?;
    end.conclude()
}

/// Bounds the time of what comes before there is a container to watch, while this thread waits for tools:
/// unless what is returned is dropped in time, the process ends. Its tools die with it, its mounts go with
/// them, and the next reaper removes the rest.
fn bound_set_up() -> Result<mpsc::Sender<()>, Fault> {
    let (done, wait) = mpsc::channel();
    let watch = move || {
        if wait.recv_timeout(START_TIME) == Err(mpsc::RecvTimeoutError::Timeout) {
            let seconds = START_TIME.as_secs();
            let message = format!("the container could not be laid out within {seconds} seconds");
            let fault = Fault::try_again(message);
            events::send_last(&fault);
            let _ = report(PROGRAM, Err(fault));
            #[expect(clippy::exit, reason = "the main thread waits for a tool that hangs")]
            std::process::exit(Exit::TryAgain as i32);
        }
    };
    // A machine that is full of processes refuses this.
    std::thread::Builder::new().spawn(watch).try_again("cannot start a thread")?;
    Ok(done)
}

/// A signal before there is a container that answers.
fn signalled() -> Fault {
    Fault::try_again("a signal ended it before the container was ready")
}

/// When the time is over. A limit beyond what the clock can count is none.
fn deadline(begun: Instant, seconds: Option<u64>) -> Instant {
    const CENTURY: u64 = 100 * 365 * 86400;
    begun + Duration::from_secs(seconds.map_or(CENTURY, |seconds| seconds.min(CENTURY)))
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The caller has gone.
    Caller,
    /// A signal told us to stop: `stop` and `destroy` send it.
    Signal,
    /// It met a bound.
    Stopped(LimitMet),
    /// By itself.
    Itself,
    /// A dyno, by itself or as it was asked to.
    Dyno(Ended),
}

/// How a dyno ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    status: Option<u8>,
    killed: bool,
    out_of_memory: bool,
}

/// The status of what SIGKILL ended.
const KILLED: u8 = 128 + 9;

impl Ended {
    /// `told` is the status that ruko-dyno told before it ended. Without one it was killed itself: by us, by the
    /// kernel for want of memory, or by somebody.
    fn judge(told: Option<u8>, killed: bool, out_of_memory: bool) -> Self {
        let status = told.or((killed || out_of_memory).then_some(KILLED));
        Self { status, killed: killed && told.is_none(), out_of_memory }
    }
}

impl End {
    /// What the caller is told.
    fn event(self) -> Option<RunEvent> {
        match self {
            Self::Caller => None,
            Self::Stopped(by) => Some(RunEvent::Stopped { by }),
            Self::Signal | Self::Itself => Some(events::ENDED),
            Self::Dyno(Ended { status, killed, out_of_memory }) => {
                Some(RunEvent::Ended { status, killed, out_of_memory })
            }
        }
    }

    fn conclude(self) -> Result<Exit, Fault> {
        match self {
            Self::Caller | Self::Dyno(_) => Ok(Exit::Ok),
            Self::Signal => {
                let _ = writeln!(io::stderr().lock(), "{PROGRAM}: a signal ended the container");
                Ok(Exit::Ok)
            }
            Self::Stopped(by) => Err(Fault::refused(format!("the container was stopped: {by}"))),
            Self::Itself => Err(Fault::refused("the container ended by itself")),
        }
    }
}

/// The caller: its requests, and the signals that speak for it.
struct Caller {
    input: Lines<Stdin>,
    signals: UnixStream,
}

impl Caller {
    fn new() -> Result<Self, Fault> {
        let (signals, send) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, send.try_clone()?)?;
        }
        Ok(Self { input: Lines::new(Stdin::new()?), signals })
    }

    /// The line that says what is wanted; `None` if the caller went away without one.
    fn first_line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let until = Instant::now() + SPEC_TIME;
        loop {
            match self.input.next() {
                Input::Line(line) => return Ok(Some(line)),
                Input::End => return Ok(None),
                Input::Later => {}
            }
            let [input, signal] = wait([Some(self.input.as_fd()), Some(self.signals.as_fd())], until)?;
            if signal {
                return Err(signalled());
            }
            if input {
                self.input.fill()?;
            } else if Instant::now() >= until {
                let seconds = SPEC_TIME.as_secs();
                return Err(Fault::refused(format!("nothing was asked for within {seconds} seconds")));
            }
        }
    }
}

/// Waits until one of these is readable or closed, or the time has come.
fn wait<const N: usize>(
    files: [Option<std::os::fd::BorrowedFd<'_>>; N],
    until: Instant,
) -> io::Result<[bool; N]> {
    let mut polled: Vec<PollFd<'_>> =
        files.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut polled, Some(&left)) {
        // The signal is in its pipe; the next poll sees it.
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        other => other?,
    };
    let mut events = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(files.map(|file| file.is_some() && events.next().unwrap_or(false)))
}

struct Watch<'a> {
    machine: Machine<'a>,
    caller: &'a mut Caller,
    watchdog: Watchdog,
    /// When the time limit is reached.
    deadline: Instant,
    kind: Kind,
    /// When a dyno that was asked to end is killed.
    stop_at: Option<Instant>,
    /// Since when the packet filter is gone.
    exposed_since: Option<Instant>,
}

impl Watch<'_> {
    fn live(&mut self, host_key: Option<String>) -> Result<End, Fault> {
        if let Some(early) = self.until_ready()? {
            return Ok(early);
        }
        let address = self.machine.address();
        match host_key {
            Some(host_key) => {
                events::send(&RunEvent::Ready { address, port: 22, user: "build".to_owned(), host_key });
                self.until_end()
            }
            None => {
                events::send(&RunEvent::Started { address });
                self.until_dyno_ends()
            }
        }
    }

    /// Waits until the container's sshd listens. An early end is returned.
    fn until_ready(&mut self) -> Result<Option<End>, Fault> {
        let start_limit = Instant::now() + START_TIME;
        loop {
            let files = [
                self.machine.said(),
                self.machine.ended(),
                Some(self.caller.input.as_fd()),
                Some(self.caller.signals.as_fd()),
            ];
            let [said, ended, input, signal] = wait(files, start_limit.min(self.deadline))?;
            if signal {
                return Err(signalled());
            }
            if input && let Some(end) = self.request()? {
                return Ok(Some(end));
            }
            if said && matches!(self.machine.listen()?, Heard::Ready | Heard::Ended(_)) {
                self.machine.verify()?;
                return Ok(None);
            }
            if ended {
                self.hear_out()?;
                let words = self.machine.last_words();
                return Err(Fault::refused(format!("the container did not start: {words}")));
            }
            if Instant::now() >= self.deadline {
                return Ok(Some(End::Stopped(self.watchdog.met_of(Limit::Time))));
            }
            if Instant::now() >= start_limit {
                let seconds = START_TIME.as_secs();
                return Err(Fault::try_again(format!(
                    "the container was not ready within {seconds} seconds: {}",
                    self.machine.last_words()
                )));
            }
        }
    }

    /// Reads the rest of what a container said that has ended.
    fn hear_out(&mut self) -> io::Result<()> {
        while wait([self.machine.said()], Instant::now())?[0] {
            if self.machine.listen()? == Heard::End {
                break;
            }
        }
        Ok(())
    }

    /// Watches the container until there is a reason to end it.
    fn until_end(&mut self) -> Result<End, Fault> {
        let mut tick = Instant::now() + TICK;
        let mut listening = true;
        loop {
            let files = [
                self.machine.said().filter(|_| listening),
                self.machine.ended(),
                self.machine.init_ended(),
                Some(self.caller.input.as_fd()),
                Some(self.caller.signals.as_fd()),
            ];
            let [said, ended, init_ended, input, signal] = wait(files, tick.min(self.deadline))?;
            if signal {
                return Ok(End::Signal);
            }
            if input && let Some(end) = self.request()? {
                return Ok(end);
            }
            if ended || init_ended {
                return Ok(self.why_ended());
            }
            if said {
                listening = self.machine.listen()? != Heard::End;
            }
            let now = Instant::now();
            if now >= self.deadline {
                return Ok(End::Stopped(self.watchdog.met_of(Limit::Time)));
            }
            if now >= tick {
                tick = now + TICK;
                self.keep_apart()?;
                if let Some(by) = self.machine.sample().and_then(|sample| self.watchdog.tick(sample)) {
                    return Ok(End::Stopped(by));
                }
            }
        }
    }

    /// Waits until there is a reason to end a dyno. What it does within its bounds is its own affair.
    fn until_dyno_ends(&mut self) -> Result<End, Fault> {
        let mut listening = true;
        let mut tick = Instant::now() + FILTER_TICK;
        while self.machine.status().is_none() {
            let files = [
                self.machine.said().filter(|_| listening),
                self.machine.ended(),
                self.machine.init_ended(),
                Some(self.caller.input.as_fd()),
                Some(self.caller.signals.as_fd()),
            ];
            let until = self.stop_at.map_or(self.deadline, |stop_at| stop_at.min(self.deadline));
            let [said, ended, init_ended, input, signal] = wait(files, until.min(tick))?;
            if signal {
                return Ok(End::Signal);
            }
            if input && let Some(end) = self.request()? {
                return Ok(end);
            }
            if ended || init_ended {
                self.hear_out()?;
                return Ok(self.dyno_ended(false));
            }
            if said {
                listening = self.machine.listen()? != Heard::End;
                continue;
            }
            let now = Instant::now();
            if now >= tick {
                tick = now + FILTER_TICK;
                self.keep_apart()?;
            }
            if now >= self.deadline {
                return Ok(End::Stopped(self.watchdog.met_of(Limit::Time)));
            }
            if self.stop_at.is_some_and(|stop_at| now >= stop_at) {
                return Ok(self.dyno_ended(true));
            }
        }
        Ok(self.dyno_ended(false))
    }

    /// Sees to it that the packet filter is there. What keeps that from being done may pass.
    fn keep_apart(&mut self) -> Result<(), Fault> {
        let why = match self.machine.is_kept_apart() {
            Ok(true) => {
                self.exposed_since = None;
                return Ok(());
            }
            Ok(false) => Fault::try_again("somebody else has been loading the packet filter for long"),
            Err(fault) => fault,
        };
        let since = *self.exposed_since.get_or_insert_with(Instant::now);
        if since.elapsed() < EXPOSED_TIME { Ok(()) } else { Err(why) }
    }

    /// Looks at a dyno for the last time; what is left of it is killed next.
    fn dyno_ended(&mut self, killed: bool) -> End {
        self.look();
        let out_of_memory = self.watchdog.met().iter().any(|met| met.limit == Limit::Memory);
        End::Dyno(Ended::judge(self.machine.status(), killed, out_of_memory))
    }

    /// Process 1 does not end by itself: where memory had run out, that was why.
    fn why_ended(&mut self) -> End {
        self.look();
        let memory = self.watchdog.met().into_iter().find(|met| met.limit == Limit::Memory);
        memory.map_or(End::Itself, End::Stopped)
    }

    /// Notes which bounds were met by now.
    fn look(&mut self) {
        if let Some(sample) = self.machine.sample() {
            self.watchdog.note(sample);
        }
    }

    /// Reads and answers what the caller asks.
    fn request(&mut self) -> Result<Option<End>, Fault> {
        self.caller.input.fill().fault("cannot read the caller's requests")?;
        loop {
            match self.caller.input.next() {
                Input::Line(line) => {
                    if let Some(end) = self.answer(&line)? {
                        return Ok(Some(end));
                    }
                }
                Input::Later => return Ok(None),
                Input::End => return Ok(Some(End::Caller)),
            }
        }
    }

    fn answer(&mut self, line: &[u8]) -> Result<Option<End>, Fault> {
        let request = serde_json::from_slice(line).fault("the request is not valid")?;
        match request {
            RunRequest::Limits => {
                self.look();
                events::send(&RunEvent::Limits { met: self.watchdog.met() });
            }
            RunRequest::Usage | RunRequest::Stop { .. } if self.kind != Kind::Dyno => {
                return Err(Fault::refused("only a dyno is asked that"));
            }
            RunRequest::Usage => self.tell_usage(),
            RunRequest::Stop { seconds } => {
                if !self.machine.terminate() {
                    return Ok(Some(self.dyno_ended(false)));
                }
                let stop_at = deadline(Instant::now(), Some(seconds));
                self.stop_at = Some(self.stop_at.map_or(stop_at, |earlier| earlier.min(stop_at)));
            }
        }
        Ok(None)
    }

    fn tell_usage(&mut self) {
        self.look();
        // What has just ended uses nothing, and that it has ended is told next.
        let Usage { memory_bytes } = self.machine.usage().unwrap_or_default();
        events::send(&RunEvent::Usage { memory_bytes, oom_kills: self.watchdog.oom_kills() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dyno_told_counts_and_otherwise_what_it_was_killed_for() {
        let ended = |status, killed, out_of_memory| Ended { status, killed, out_of_memory };
        assert_eq!(Ended::judge(Some(0), false, false), ended(Some(0), false, false));
        assert_eq!(Ended::judge(Some(143), true, false), ended(Some(143), false, false), "just in time");
        assert_eq!(
            Ended::judge(Some(0), false, true),
            ended(Some(0), false, true),
            "only a worker was killed"
        );
        assert_eq!(Ended::judge(None, true, false), ended(Some(137), true, false));
        assert_eq!(Ended::judge(None, false, true), ended(Some(137), false, true));
        assert_eq!(Ended::judge(None, false, false), ended(None, false, false), "by whom is not known");
    }
}
