//! The supervisor of one dyno: a process of its own, in a session of its own, that owns the keeper of the dyno's
//! container, drains what the dyno prints, and serves the agent on a socket. The agent may be killed, restarted and
//! replaced meanwhile.
//!
//! It is one thread around poll(2), since there is one of it for every dyno.

mod attach;
pub mod file;
mod keeper;
mod lines;
mod stream;
pub mod wire;

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};
use ruko_api_types::log::MAX_TEXT;
use ruko_core::container::{LimitMet, RunEvent, RunRequest};
use ruko_core::dyno::DynoStart;
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::Lock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::clock::{micros, millis};
use crate::words;
use attach::Attach;
use file::{DynoDir, DynoFile};
use keeper::Keeper;
use lines::{Ring, Splitter};
use stream::{Got, Input, Output, Pipe};
use wire::{Ask, End, Failed, MAX_ASK, Stage, State, Tell, WINDOW};

/// How long the agent may take to say what runs.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long output may still come after the container has ended: what holds it open then is nobody's.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// How much longer than it was given a keeper may take to end a dyno before its life-line is let go.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// How long the destruction may take after that.
const DESTROY_WITHIN: Duration = Duration::from_secs(20);

/// How often memory is looked at; also how often the log hears of it at most.
const USAGE: Duration = Duration::from_secs(20);

/// How long lines that nobody acknowledges keep a supervisor that was dismissed.
const LINGER: Duration = Duration::from_secs(30);

/// How long the end of a dyno is kept for an agent that does not come.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Bytes that are read from a dyno before others have their turn; so many of a flood, and then a pause.
const TURN: usize = 64 << 10;

/// How long a dyno that floods waits to be read.
const PAUSE: Duration = Duration::from_millis(5);

/// Connections that have not said what they are for.
const STRANGERS: usize = 8;

/// The supervisor of the dyno in this directory. The agent hands the listening socket over as stdin and the lock as
/// stdout; started by hand it makes both.
///
/// # Errors
/// The directory is none of a dyno, or another supervisor has it.
pub(crate) fn run(dir: &Path, handed_over: bool) -> Result<Exit, Fault> {
    umask(Mode::from_bits_truncate(0o077));
    let dir = DynoDir::new(std::path::absolute(dir)?);
    std::env::set_current_dir("/")?;
    let file = dir.read()?;
    let (listener, _lock) = if handed_over { (inherited()?, None) } else { own(&dir)? };
    listener.set_nonblocking(true)?;
    let mut supervisor = Supervisor::new(file, listener)?;
    let outcome = supervisor.live();
    dir.remove();
    outcome.map(|()| Exit::Ok)
}

fn inherited() -> Result<UnixListener, Fault> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(UnixListener::from(listener))
}

fn own(dir: &DynoDir) -> Result<(UnixListener, Option<Lock>), Fault> {
    let lock = Lock::try_take(&dir.lock())?
        .ok_or_else(|| Fault::refused(format!("`{}` has a supervisor", dir.path().display())))?;
    let path = dir.socket();
    let _ = std::fs::remove_file(&path);
    Ok((UnixListener::bind(&path).fault(format!("cannot listen on `{}`", path.display()))?, Some(lock)))
}

/// The agent's connection.
struct Control {
    stream: UnixStream,
    input: Input,
    output: Output,
    /// The last line that was sent.
    sent: u64,
    /// Bytes of lines that were sent and not acknowledged.
    in_flight: Vec<(u64, usize)>,
}

impl Control {
    fn tell(&mut self, tell: &Tell) -> usize {
        let Ok(mut line) = serde_json::to_vec(tell) else { return 0 };
        line.push(b'\n');
        self.output.push(&line);
        line.len()
    }

    fn bytes_in_flight(&self) -> usize {
        self.in_flight.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The dyno's stdin.
struct Stdin {
    pipe: Option<Pipe>,
    waiting: Output,
    /// Nothing more will come.
    ends: bool,
}

/// That the dyno is to end.
struct Stop {
    /// When SIGKILL is due.
    kill_at: Instant,
    seconds: u64,
    killed: bool,
    let_go: bool,
}

struct Supervisor {
    file: DynoFile,
    listener: UnixListener,
    signals: UnixStream,
    strangers: Vec<(UnixStream, Input)>,
    control: Option<Control>,
    attach: Option<Attach>,
    keeper: Option<Keeper>,
    stdin: Stdin,
    stdout: Option<Pipe>,
    /// Nothing is read from it before.
    stdout_after: Option<Instant>,
    splitter: Splitter,
    ring: Ring,
    stage: Stage,
    up: Option<u64>,
    begun: Instant,
    started: bool,
    stop: Option<Stop>,
    /// How it ended, while output may still come.
    ending: Option<(End, Instant)>,
    ended: Option<Instant>,
    dismissed: Option<Instant>,
    memory: Memory,
}

/// What is known of the dyno's memory.
#[derive(Default)]
struct Memory {
    /// When it is looked at next.
    look: Option<Instant>,
    oom_kills: u64,
}

impl Memory {
    /// What is to be said of it: that it is short, or was too short for a process.
    ///
    /// The quota is a limit that nothing can exceed, so it is short from a twentieth below it on. As with Heroku it is
    /// said again for as long as that lasts.
    fn judge(&mut self, quota: u64, bytes: u64, oom_kills: u64) -> Vec<String> {
        let lines = if oom_kills > self.oom_kills {
            words::killed_for_memory(quota).collect()
        } else if bytes >= quota / 20 * 19 {
            vec![words::memory(bytes, quota), words::OVER_QUOTA.to_owned()]
        } else {
            Vec::new()
        };
        self.oom_kills = oom_kills;
        lines
    }
}

/// What a poll found something at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Signals,
    Listener,
    Stranger(usize),
    Control,
    Attach,
    Events,
    Stderr,
    Requests,
    Stdin,
    Stdout,
}

impl Supervisor {
    fn new(file: DynoFile, listener: UnixListener) -> Result<Self, Fault> {
        let (signals, send) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, send.try_clone()?)?;
        }
        signals.set_nonblocking(true)?;
        let now = Instant::now();
        Ok(Self {
            file,
            listener,
            signals,
            strangers: Vec::new(),
            control: None,
            attach: None,
            keeper: None,
            stdin: Stdin { pipe: None, waiting: Output::default(), ends: false },
            stdout: None,
            stdout_after: None,
            splitter: Splitter::default(),
            ring: Ring::new(now),
            stage: Stage::Starting,
            up: None,
            begun: now,
            started: false,
            stop: None,
            ending: None,
            ended: None,
            dismissed: None,
            memory: Memory::default(),
        })
    }

    fn live(&mut self) -> Result<(), Fault> {
        // The container is laid out while the agent says what is to run in it.
        match Keeper::start(&self.file.container_command, &self.file.spec) {
            Ok((keeper, stdin, stdout)) => {
                self.keeper = Some(keeper);
                self.stdin.pipe = Some(stdin);
                self.stdout = Some(stdout);
            }
            Err(fault) => self.could_not_start(fault.message, fault.exit == Exit::TryAgain),
        }
        while !self.is_over(Instant::now()) {
            for at in self.wait()? {
                self.handle(at);
            }
            self.tick(Instant::now());
            self.pass_on();
        }
        Ok(())
    }

    /// Whether there is nothing left to do here.
    fn is_over(&self, now: Instant) -> bool {
        let passed = |since: Option<Instant>, time| since.is_some_and(|since| now >= since + time);
        if self.ended.is_none() {
            return false;
        }
        let told = self.ring.is_empty() && self.attach.as_ref().is_none_or(Attach::is_over);
        (self.dismissed.is_some() && told) || passed(self.dismissed, LINGER) || passed(self.ended, FORGOTTEN)
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> Result<Vec<At>, Fault> {
        let now = Instant::now();
        let until = self.deadlines(now).into_iter().flatten().min();
        let left = until.map(|until| until.saturating_duration_since(now) + Duration::from_millis(1));
        let left = left.map(Timespec::try_from).transpose().fault("a time is out of range")?;
        let (places, mut polled): (Vec<At>, Vec<PollFd<'_>>) = self.polled(now).into_iter().unzip();
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Fault::refused(format!("cannot wait: {errno}"))),
        }
        let ready = polled.iter().zip(places).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, at)| at).collect())
    }

    fn deadlines(&self, now: Instant) -> [Option<Instant>; 9] {
        let unstarted = !self.started && self.ended.is_none();
        let stop = self.stop.as_ref().filter(|_| self.ended.is_none()).map(|stop| match stop {
            Stop { let_go: true, .. } => stop.kill_at + STOP_SLACK + DESTROY_WITHIN,
            Stop { killed: true, .. } => stop.kill_at + STOP_SLACK,
            _ => stop.kill_at,
        });
        [
            unstarted.then_some(self.begun + START_WITHIN),
            stop,
            self.ending.as_ref().map(|(_, until)| *until).filter(|_| !self.waits_for_client()),
            self.stdout_after.filter(|after| *after > now),
            self.ring.tell_at(),
            self.memory.look.filter(|_| self.ended.is_none()),
            self.dismissed.map(|since| since + LINGER),
            self.ended.map(|since| since + FORGOTTEN),
            self.attach.as_ref().and_then(Attach::deadline),
        ]
    }

    fn polled(&self, now: Instant) -> Vec<(At, PollFd<'_>)> {
        let mut polled = vec![
            (At::Signals, Some(self.signals.as_fd()), PollFlags::IN),
            (At::Listener, Some(self.listener.as_fd()), PollFlags::IN),
        ];
        for (index, (stream, _)) in self.strangers.iter().enumerate() {
            polled.push((At::Stranger(index), Some(stream.as_fd()), PollFlags::IN));
        }
        if let Some(control) = &self.control {
            let waits = !control.output.is_empty();
            let flags = if waits { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            polled.push((At::Control, Some(control.stream.as_fd()), flags));
        }
        if let Some(attach) = &self.attach {
            let room = !self.stdin.ends && self.stdin.waiting.len() < TURN;
            polled.push((At::Attach, attach.fd(), attach.flags(room)));
        }
        if let Some(keeper) = &self.keeper {
            polled.push((At::Events, keeper.events(), PollFlags::IN));
            polled.push((At::Stderr, keeper.stderr(), PollFlags::IN));
            polled.push((At::Requests, keeper.writable(), PollFlags::OUT));
        }
        let stdin = self.stdin.pipe.as_ref().filter(|_| self.started && !self.stdin.waiting.is_empty());
        polled.push((At::Stdin, stdin.map(AsFd::as_fd), PollFlags::OUT));
        let paused = self.stdout_after.is_some_and(|after| after > now);
        let stdout = self.stdout.as_ref().filter(|_| !paused && self.has_room_for_output());
        polled.push((At::Stdout, stdout.map(AsFd::as_fd), PollFlags::IN));
        polled
            .into_iter()
            .filter_map(|(at, fd, flags)| Some((at, PollFd::from_borrowed_fd(fd?, flags))))
            .collect()
    }

    /// Output of an attached dyno waits for its client.
    fn has_room_for_output(&self) -> bool {
        if !self.file.attach {
            return true;
        }
        self.attach.as_ref().is_some_and(|attach| attach.room() > 0)
    }

    fn handle(&mut self, at: At) {
        match at {
            At::Signals => {
                let _ = self.signals.read(&mut [0; 64]);
                self.stop(self.file.stop_seconds);
            }
            At::Listener => {
                if let Ok((stream, _)) = self.listener.accept()
                    && stream.set_nonblocking(true).is_ok()
                {
                    if self.strangers.len() >= STRANGERS {
                        self.strangers.remove(0);
                    }
                    self.strangers.push((stream, Input::default()));
                }
            }
            At::Stranger(_) => self.meet(),
            At::Control => self.hear_agent(),
            At::Attach => self.hear_client(),
            At::Events => self.hear_keeper(),
            At::Stderr => self.keeper.iter_mut().for_each(Keeper::listen),
            At::Requests => self.keeper.iter_mut().for_each(Keeper::flush),
            At::Stdin => self.write_stdin(),
            At::Stdout => self.read_stdout(),
        }
    }

    /// Reads what connections are for.
    fn meet(&mut self) {
        for (mut stream, mut input) in std::mem::take(&mut self.strangers) {
            let got = input.fill(&mut stream, MAX_ASK);
            match input.line().map(|line| serde_json::from_slice(&line)) {
                Some(Ok(Ask::Follow)) => {
                    let output = Output::default();
                    let mut control = Control { stream, input, output, sent: 0, in_flight: Vec::new() };
                    control.tell(&Tell::State(self.state()));
                    self.control = Some(control);
                    self.obey();
                }
                Some(Ok(Ask::Attach)) if self.file.attach && self.attach.is_none() => {
                    self.attach = Some(Attach::new(stream));
                    self.stdin.waiting.push(&input.rest());
                }
                None if matches!(got, Ok(Got::Some)) => self.strangers.push((stream, input)),
                _ => {}
            }
        }
    }

    fn hear_agent(&mut self) {
        let Some(control) = &mut self.control else { return };
        match control.input.fill(&mut control.stream, MAX_ASK) {
            Ok(Got::Some) => self.obey(),
            _ => self.control = None,
        }
    }

    /// Does what the agent has asked for.
    fn obey(&mut self) {
        while let Some(line) = self.control.as_mut().and_then(|control| control.input.line()) {
            match serde_json::from_slice(&line) {
                Ok(Ask::Start { start }) => self.start(&start),
                Ok(Ask::Ack { seq }) => {
                    self.ring.acknowledge(seq, micros());
                    if let Some(control) = &mut self.control {
                        control.in_flight.retain(|(sent, _)| *sent > seq);
                    }
                }
                Ok(Ask::Up) => {
                    if self.up.is_none() && self.ended.is_none() {
                        self.up = Some(millis());
                        self.say(words::changed("starting", "up"));
                        self.tell_state();
                    }
                }
                Ok(Ask::Say { text }) => self.say(text),
                Ok(Ask::Stop { seconds }) => self.stop(seconds),
                Ok(Ask::Dismiss) => {
                    self.dismissed.get_or_insert_with(Instant::now);
                    self.stop(self.file.stop_seconds);
                }
                Ok(Ask::Follow | Ask::Attach) | Err(_) => {
                    self.control = None;
                }
            }
        }
    }

    /// The container's process 1 reads it as soon as it is there.
    fn start(&mut self, start: &DynoStart) {
        if self.started {
            return;
        }
        self.started = true;
        self.say(words::starting(&self.file.command));
        if let Ok(mut line) = serde_json::to_vec(start) {
            line.push(b'\n');
            // What a client typed meanwhile comes after it.
            let typed = std::mem::take(&mut self.stdin.waiting);
            self.stdin.waiting.push(&line);
            self.stdin.waiting.push(typed.bytes());
        }
        self.stdin.ends |= !start.stdin;
        self.write_stdin();
    }

    fn write_stdin(&mut self) {
        if !self.started {
            return;
        }
        if let Some(pipe) = &mut self.stdin.pipe {
            let written = self.stdin.waiting.flush(pipe);
            if written.is_err() || (self.stdin.ends && self.stdin.waiting.is_empty()) {
                self.stdin.pipe = None;
                self.stdin.waiting = Output::default();
            }
        }
    }

    fn stop(&mut self, seconds: u64) {
        let now = Instant::now();
        if self.ended.is_some() || self.stop.as_ref().is_some_and(|stop| stop.kill_at <= now) {
            return;
        }
        let kill_at = now + Duration::from_secs(seconds);
        let first = self.stop.is_none();
        self.stop = Some(Stop { kill_at, seconds, killed: false, let_go: false });
        if let Some((_, until)) = &mut self.ending {
            // It has ended, and only a client that did not come was waited for.
            *until = now;
            return;
        }
        match (&self.stage, &mut self.keeper) {
            (Stage::Running { .. }, Some(keeper)) => {
                keeper.ask(RunRequest::Stop { seconds });
                if seconds > 0 && first {
                    self.say(words::STOPPING);
                }
            }
            (_, Some(keeper)) => keeper.let_go(),
            (_, None) => {}
        }
    }

    fn hear_keeper(&mut self) {
        let heard = self.keeper.as_mut().map(Keeper::hear).unwrap_or_default();
        for event in heard {
            match event {
                Some(RunEvent::Started { address }) => {
                    self.stage = Stage::Running { address };
                    self.memory.look = Some(Instant::now() + USAGE);
                    self.tell_state();
                    if let Some(stop) = self.stop.take() {
                        self.stop(stop.seconds);
                    }
                }
                Some(RunEvent::Usage { memory_bytes, oom_kills }) => {
                    let quota = self.file.spec.limits.memory_bytes;
                    let lines = self.memory.judge(quota, memory_bytes, oom_kills);
                    lines.into_iter().for_each(|line| self.say(line));
                }
                Some(RunEvent::Ended { status, killed, out_of_memory }) => {
                    if killed {
                        self.tell_of_kill();
                    }
                    self.ends(End { status, out_of_memory, ..End::default() });
                }
                Some(RunEvent::Stopped { by }) => self.met(by),
                Some(RunEvent::Failed { message, try_again }) => self.could_not_start(message, try_again),
                Some(RunEvent::Ready { .. } | RunEvent::Limits { .. }) => {}
                None => self.keeper_has_gone(),
            }
        }
    }

    fn met(&mut self, by: LimitMet) {
        let out_of_memory = by.limit == ruko_core::container::Limit::Memory;
        let failed = Some(Failed { message: by.to_string(), try_again: true });
        self.ends(End { out_of_memory, failed, ..End::default() });
    }

    fn could_not_start(&mut self, message: String, try_again: bool) {
        self.ends(End { failed: Some(Failed { message, try_again }), ..End::default() });
    }

    fn keeper_has_gone(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        keeper.reap();
        if self.ending.is_some() || self.ended.is_some() {
            return;
        }
        let words = keeper.words();
        let known = if words.is_empty() { "the keeper of the container has gone".to_owned() } else { words };
        match (&self.stage, &self.stop) {
            // It was let go before it had started, as it should be.
            (_, Some(_)) => self.ends(End::default()),
            (Stage::Starting, None) => self.could_not_start(known, false),
            _ => {
                self.ends(End { failed: Some(Failed { message: known, try_again: true }), ..End::default() })
            }
        }
    }

    /// The container has ended; what it printed last may still be on its way.
    fn ends(&mut self, end: End) {
        if self.ending.is_none() && self.ended.is_none() {
            // What an attached dyno printed for nobody is nobody's.
            let unheard = self.file.attach && self.attach.is_none() && self.stop.is_some();
            let drain = if unheard { Duration::ZERO } else { DRAIN_WITHIN };
            self.ending = Some((End { at: millis(), ..end }, Instant::now() + drain));
            self.memory.look = None;
        }
    }

    /// Whether what an attached dyno printed waits for somebody who may still come.
    fn waits_for_client(&self) -> bool {
        self.file.attach
            && self.stop.is_none()
            && self.dismissed.is_none()
            && matches!(self.stage, Stage::Running { .. })
            && self.attach.as_ref().is_none_or(|attach| !attach.is_over())
    }

    fn finish(&mut self) {
        let Some((end, _)) = self.ending.take() else { return };
        if let Some(last) = self.splitter.end() {
            self.app_says(&last);
        }
        self.ring.tell_dropped(micros());
        if end.out_of_memory && self.memory.oom_kills == 0 {
            words::killed_for_memory(self.file.spec.limits.memory_bytes).for_each(|line| self.say(line));
        }
        match (&end.failed, end.status) {
            (Some(failed), _) => self.say(words::failed(&failed.message)),
            (None, Some(status)) => self.say(words::exited(status)),
            (None, None) => {}
        }
        self.stdout = None;
        self.stdin.pipe = None;
        if let Some(attach) = &mut self.attach {
            attach.end();
        }
        self.ended = Some(Instant::now());
        self.stage = Stage::Ended(end);
        self.tell_state();
    }

    fn tell_of_kill(&mut self) {
        if let Some(stop) = &mut self.stop
            && !stop.killed
        {
            stop.killed = true;
            words::had_to_be_killed(stop.seconds).into_iter().for_each(|line| self.ring.say(line, micros()));
        }
    }

    /// What time brings.
    fn tick(&mut self, now: Instant) {
        if !self.started && self.ended.is_none() && self.stop.is_none() && now >= self.begun + START_WITHIN {
            self.stop(0);
        }
        if self.ended.is_none()
            && let Some(stop) = &self.stop
        {
            let (kill_at, killed, let_go) = (stop.kill_at, stop.killed, stop.let_go);
            if now >= kill_at
                && !killed
                && self.ending.is_none()
                && matches!(self.stage, Stage::Running { .. })
            {
                self.tell_of_kill();
            }
            if now >= kill_at + STOP_SLACK && !let_go {
                self.stop.iter_mut().for_each(|stop| stop.let_go = true);
                self.keeper.iter_mut().for_each(Keeper::let_go);
            }
            if now >= kill_at + STOP_SLACK + DESTROY_WITHIN {
                self.ends(End::default());
            }
        }
        if self.ring.tell_at().is_some_and(|at| now >= at) {
            self.ring.tell_dropped(micros());
        }
        if self.memory.look.is_some_and(|look| now >= look) {
            self.memory.look = Some(now + USAGE);
            self.keeper.iter_mut().for_each(|keeper| keeper.ask(RunRequest::Usage));
        }
        let over = |(_, until): &(End, Instant)| now >= *until && !self.waits_for_client();
        if self.ending.as_ref().is_some_and(|ending| over(ending) || self.stdout.is_none()) {
            self.finish();
        }
    }

    fn app_says(&mut self, line: &[u8]) {
        if !self.ring.app(line, Instant::now(), micros()) {
            self.stdout_after = Some(Instant::now() + PAUSE);
        }
    }

    fn read_stdout(&mut self) {
        let mut chunk = [0; 16 << 10];
        let mut left = TURN;
        while left > 0 {
            let Some(stdout) = &mut self.stdout else { return };
            let most = match &self.attach {
                Some(attach) => attach.room().min(chunk.len()),
                None if self.file.attach => return,
                None => chunk.len(),
            };
            if most == 0 {
                return;
            }
            match stdout.read(&mut chunk[..most]) {
                Ok(0) => {
                    self.stdout = None;
                    return;
                }
                Ok(n) => {
                    left = left.saturating_sub(n);
                    self.take_output(&chunk[..n]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.stdout = None;
                    return;
                }
            }
        }
    }

    fn take_output(&mut self, bytes: &[u8]) {
        if let Some(attach) = &mut self.attach {
            attach.push(bytes);
            return;
        }
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes, |line| self.app_says(line));
        self.splitter = splitter;
    }

    fn hear_client(&mut self) {
        let Some(attach) = &mut self.attach else { return };
        let room = !self.stdin.ends && self.stdin.waiting.len() < TURN;
        let typed = attach.serve(room);
        self.stdin.waiting.push(&typed);
        self.stdin.ends |= attach.said_all();
        let gone = attach.is_gone();
        self.write_stdin();
        if gone && self.ended.is_none() && self.stop.is_none() {
            self.stop(self.file.stop_seconds);
        }
    }

    /// Sends what there is to send.
    fn pass_on(&mut self) {
        if let Some(attach) = &mut self.attach {
            attach.flush();
        }
        let Some(control) = &mut self.control else { return };
        while control.bytes_in_flight() < WINDOW
            && let Some(line) = self.ring.get(control.sent + 1)
        {
            let seq = line.seq;
            let bytes = control.tell(&Tell::Line(line.clone()));
            control.sent = seq;
            control.in_flight.push((seq, bytes));
        }
        if control.output.flush(&mut control.stream).is_err() {
            self.control = None;
        }
    }

    fn say(&mut self, text: impl Into<String>) {
        let mut text = text.into();
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        self.ring.say(ruko_core::exit::one_line(&text), micros());
    }

    fn state(&self) -> State {
        State { stage: self.stage.clone(), begun: self.started, up: self.up, lines: self.ring.count() }
    }

    fn tell_state(&mut self) {
        let state = self.state();
        if let Some(control) = &mut self.control {
            control.tell(&Tell::State(state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_of_when_it_is_short_and_not_before() {
        const MB: u64 = 1 << 20;
        let mut memory = Memory::default();
        assert!(memory.judge(512 * MB, 480 * MB, 0).is_empty(), "it fits");
        for _ in 0..2 {
            assert_eq!(
                memory.judge(512 * MB, 512 * MB, 0),
                ["Process running mem=512M(100.0%)", "Error R14 (Memory quota exceeded)"]
            );
        }
        assert_eq!(memory.judge(512 * MB, 100 * MB, 1)[0], "Error R15 (Memory quota vastly exceeded)");
        assert!(memory.judge(512 * MB, 100 * MB, 1).is_empty());
    }
}
