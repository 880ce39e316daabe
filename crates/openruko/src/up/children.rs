//! The programs that `openruko up` keeps running: started, named when they die, started again, and stopped
//! with everything that descends from them.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use ruko_core::exit::one_line;
use ruko_core::{Exit, Fault, Hint, message};
use ruko_sys::process::CommandSys;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use super::reaper::Reaper;

/// A program must say that it is ready within this time.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// What does not end within this time after SIGTERM is killed.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// The programs bound themselves how long open requests and dynos have (`shutdown_seconds` of [router], `stop_seconds` of
/// [host]); this is for one that hangs.
const DYNOS_WITHIN: Duration = Duration::from_secs(600);
/// What is still there so long after SIGKILL waits in the kernel, perhaps for ever.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// A program that lived for this long may start again at once.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// The longest wait before a program that keeps dying is started again.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// A program to keep running.
pub(super) struct Child {
    name: &'static str,
    /// What its line on stderr says when it is ready.
    ready: &'static str,
    command: Box<dyn Fn() -> Command>,
    pid: Option<Pid>,
    started: Instant,
    back_off: Duration,
    start_again_at: Option<Instant>,
}

impl Child {
    pub(super) fn new(
        name: &'static str,
        ready: &'static str,
        command: impl Fn() -> Command + 'static,
    ) -> Self {
        Self {
            name,
            ready,
            command: Box::new(command),
            pid: None,
            started: Instant::now(),
            back_off: Duration::ZERO,
            start_again_at: None,
        }
    }

    fn start(&mut self, events: &Sender<Event>) -> Result<(), Fault> {
        // A start that fails is a life too, a very short one.
        self.started = Instant::now();
        self.start_again_at = None;
        let (pid, stderr) = spawn((self.command)().stderr(Stdio::piped()))
            .fault(format!("{} cannot be started", self.name))?;
        self.pid = Some(pid);
        if let Some(stderr) = stderr {
            let (name, ready, events) = (self.name, self.ready, events.clone());
            thread::spawn(move || {
                forward(name, stderr, |line| {
                    if line.contains(ready) {
                        let _ = events.send(Event::Ready(name));
                    }
                });
            });
        }
        Ok(())
    }

    /// Names the death and sets the time of the next start.
    fn died(&mut self, how: &str) {
        self.pid = None;
        self.back_off = next_back_off(self.back_off, self.started.elapsed());
        self.start_again_at = Some(Instant::now() + self.back_off);
        say(&message::trouble(format!("{} died ({how}); starting it again", self.name)));
    }
}

/// Starts a program in a session of its own. Its status is for [`ended_children`], which takes the status of
/// every child: so nobody else waits for it, and everything here is started by the thread that calls that.
pub(super) fn spawn(command: &mut Command) -> io::Result<(Pid, Option<ChildStderr>)> {
    let mut process = command.stdout(Stdio::null()).own_session().die_with_parent().spawn()?;
    let pid = i32::try_from(process.id()).map_err(io::Error::other)?;
    Ok((Pid::from_raw(pid), process.stderr.take()))
}

/// At once after a healthy life, then doubling from one second.
fn next_back_off(last: Duration, lived: Duration) -> Duration {
    if lived >= HEALTHY_AFTER {
        return Duration::ZERO;
    }
    (last * 2).clamp(Duration::from_secs(1), MAX_BACK_OFF)
}

pub(super) enum Event {
    Ready(&'static str),
    ChildEnded,
    Stop,
}

/// Passes a program's lines on, with its name.
pub(super) fn forward(name: &str, stderr: impl Read, mut seen: impl FnMut(&str)) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { return };
        let line = one_line(&String::from_utf8_lossy(&line));
        seen(&line);
        let line = line.strip_prefix(name).map_or(line.as_str(), |rest| rest.trim_start_matches([':', ' ']));
        say(&format!("{name}: {line}"));
    }
}

/// Prints lines; a terminal that is gone is no reason to stop.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The programs, running.
pub(super) struct Children {
    children: Vec<Child>,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

impl Children {
    /// Starts them one after the other, each when the one before it is ready.
    pub(super) fn start(children: Vec<Child>) -> Result<Self, Fault> {
        let (sender, events) = mpsc::channel();
        // What our children leave behind becomes ours, so that everything can be stopped (prctl(2)).
        prctl::set_child_subreaper(true).fault("cannot become the parent of what is left behind")?;
        watch_signals(sender.clone())?;
        let mut all = Self { children, events, sender };
        for index in 0..all.children.len() {
            all.start_and_wait(index).inspect_err(|_| {
                stop_descendants(None);
            })?;
        }
        Ok(all)
    }

    fn start_and_wait(&mut self, index: usize) -> Result<(), Fault> {
        self.children[index].start(&self.sender)?;
        let name = self.children[index].name;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Ready(ready)) if ready == name => return Ok(()),
                Ok(Event::Ready(_)) => {}
                Ok(Event::Stop) => return Err(Fault::try_again("stopped before everything was up")),
                Ok(Event::ChildEnded) => {
                    let ended = ended_children();
                    if let Some(end) = self.children[index].pid.and_then(|pid| ended.get(&pid)) {
                        return Err(Fault::refused(format!("{name} did not start ({end})"))
                            .hint("the lines above say why"));
                    }
                    self.name_the_dead(&ended);
                }
                Err(_) => {
                    return Err(Fault::refused(format!(
                        "{name} was not ready within {} seconds",
                        READY_WITHIN.as_secs()
                    )));
                }
            }
        }
    }

    /// Keeps them running until a signal asks for the end; then everything is stopped, dynos by `stop_dynos`.
    pub(super) fn run_until_told_to_stop(
        &mut self,
        mut reaper: Reaper,
        stop_dynos: Option<Command>,
    ) -> Result<Exit, Fault> {
        loop {
            self.start_those_that_are_due();
            reaper.act_when_due();
            match self.events.recv_timeout(self.next_due(reaper.due())) {
                Ok(Event::Stop) => break,
                Ok(Event::ChildEnded) => {
                    let ended = ended_children();
                    self.name_the_dead(&ended);
                    reaper.learn(&ended);
                }
                Ok(Event::Ready(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        say(&message::step("Stopping"));
        if let Some(stop_dynos) = stop_dynos
            && !self.let_dynos_end(stop_dynos)
        {
            say(&message::step("Stopping everything at once"));
        }
        // The first child is what the others report to when they end: it goes last.
        stop_descendants(self.children.first().and_then(|child| child.pid));
        if stop_descendants(None) {
            reaper.run_for_the_last_time(&self.events);
            stop_descendants(None);
        }
        Ok(Exit::Ok)
    }

    /// What is asked of the apps is answered to its end, and they have the time that they are promised. Says whether that
    /// went well: who asks for the end once more is in a hurry.
    fn let_dynos_end(&mut self, mut stop_dynos: Command) -> bool {
        // The agent would start again what ends, and the router is to hand on nothing more.
        for name in ["openruko-router", "openruko-host"] {
            self.forget_the_dead();
            if let Some(pid) = self.pid_of(name) {
                send(Signal::SIGTERM, &[pid]);
                if !self.is_gone(name) {
                    return false;
                }
            }
        }
        let Ok((pid, _)) = spawn(stop_dynos.stderr(Stdio::inherit())) else { return false };
        self.wait_until(|_, ended| ended.contains_key(&pid))
    }

    fn pid_of(&self, name: &str) -> Option<Pid> {
        self.children.iter().find(|child| child.name == name)?.pid
    }

    fn is_gone(&mut self, name: &str) -> bool {
        self.wait_until(|children, _| children.pid_of(name).is_none())
    }

    /// Whoever ends now was meant to, or will not be started again.
    fn forget_the_dead(&mut self) -> HashMap<Pid, End> {
        let ended = ended_children();
        for child in &mut self.children {
            child.pid = child.pid.filter(|pid| !ended.contains_key(pid));
        }
        ended
    }

    /// Waits until this is so, as children end, unless something asks for the end once more.
    fn wait_until(&mut self, is_so: impl Fn(&Self, &HashMap<Pid, End>) -> bool) -> bool {
        let deadline = Instant::now() + DYNOS_WITHIN;
        loop {
            let ended = self.forget_the_dead();
            if is_so(self, &ended) {
                return true;
            }
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::ChildEnded | Event::Ready(_)) => {}
                Ok(Event::Stop) | Err(_) => return false,
            }
        }
    }

    fn next_due(&self, reaper: Instant) -> Duration {
        let due = self.children.iter().filter_map(|child| child.start_again_at).fold(reaper, Instant::min);
        due.saturating_duration_since(Instant::now())
    }

    fn start_those_that_are_due(&mut self) {
        let now = Instant::now();
        for child in &mut self.children {
            let due = child.start_again_at.is_some_and(|at| at <= now);
            if due && let Err(fault) = child.start(&self.sender) {
                child.died(&fault.message);
            }
        }
    }

    fn name_the_dead(&mut self, ended: &HashMap<Pid, End>) {
        for child in &mut self.children {
            if let Some(end) = child.pid.and_then(|pid| ended.get(&pid)) {
                child.died(&end.to_string());
            }
        }
    }
}

fn watch_signals(events: Sender<Event>) -> Result<(), Fault> {
    let mut signals = signal_hook::iterator::Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])
        .fault("signals cannot be watched")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGCHLD { Event::ChildEnded } else { Event::Stop };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Killed(Signal),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Killed(signal) => write!(f, "{signal}"),
        }
    }
}

/// Takes the statuses of all children that have ended, adopted ones included. Whoever runs a tool and waits
/// for it must be in the same thread, or its status might be taken here.
pub(super) fn ended_children() -> HashMap<Pid, End> {
    let mut ended = HashMap::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => ended.insert(pid, End::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => ended.insert(pid, End::Killed(signal)),
            Ok(WaitStatus::StillAlive) | Err(_) => return ended,
            Ok(_) => None,
        };
    }
}

/// What is done about processes that should end, by the time since they were asked first.
#[derive(Debug, PartialEq, Eq)]
enum Stopping {
    Send(Signal),
    GiveUp,
}

fn stopping(since: Duration) -> Stopping {
    if since < STOP_WITHIN {
        Stopping::Send(Signal::SIGTERM)
    } else if since < STOP_WITHIN + GIVE_UP_AFTER {
        Stopping::Send(Signal::SIGKILL)
    } else {
        Stopping::GiveUp
    }
}

/// Stops everything that descends from this process but one: asked first, killed when the time is up, named
/// when even that does not end it. Says whether all are gone.
fn stop_descendants(but: Option<Pid>) -> bool {
    let begun = Instant::now();
    loop {
        ended_children();
        let left: Vec<Pid> = descendants().into_iter().filter(|&pid| Some(pid) != but).collect();
        if left.is_empty() {
            return true;
        }
        match stopping(begun.elapsed()) {
            Stopping::Send(signal) => send(signal, &left),
            Stopping::GiveUp => {
                say(&not_stopped(&left));
                return false;
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn send(signal: Signal, pids: &[Pid]) {
    for &pid in pids {
        // One that has just ended is no failure.
        let _ = kill(pid, signal);
    }
}

fn not_stopped(left: &[Pid]) -> String {
    let pids: Vec<String> = left.iter().map(Pid::to_string).collect();
    message::trouble(format!(
        "still there {} seconds after SIGKILL, so left behind: process {}; \
         `ps -o pid,stat,wchan,args` says what they wait for",
        GIVE_UP_AFTER.as_secs(),
        pids.join(", ")
    ))
}

/// The processes below this one, from the parent ids in /proc (proc(5), `/proc/pid/stat`).
fn descendants() -> Vec<Pid> {
    let parents: HashMap<i32, i32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            Some((pid, parent_of(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
        })
        .collect();
    let me = std::process::id().try_into().unwrap_or(0);
    let below = |mut pid: i32| {
        while let Some(&parent) = parents.get(&pid) {
            if parent == me {
                return true;
            }
            pid = parent;
        }
        false
    };
    parents.keys().copied().filter(|&pid| below(pid)).map(Pid::from_raw).collect()
}

/// The fourth field; the second is a name in parentheses that may itself hold spaces and parentheses.
fn parent_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::testing::{one_at_a_time, wait_for_the_end_of};
    use super::*;

    #[test]
    fn a_parent_is_found_behind_a_hostile_name() {
        assert_eq!(parent_of("12 (a) S 9 (b)) S 7 12 12"), Some(7));
        assert_eq!(parent_of("nonsense"), None);
    }

    #[test]
    fn a_program_that_keeps_dying_is_started_ever_more_slowly() {
        let second = Duration::from_secs(1);
        assert_eq!(next_back_off(Duration::ZERO, second), second);
        assert_eq!(next_back_off(second * 4, second), second * 8);
        assert_eq!(next_back_off(MAX_BACK_OFF, second), MAX_BACK_OFF);
        assert_eq!(next_back_off(MAX_BACK_OFF, HEALTHY_AFTER), Duration::ZERO);
    }

    #[test]
    fn processes_are_asked_then_killed_then_given_up_on() {
        let second = Duration::from_secs(1);
        assert_eq!(stopping(Duration::ZERO), Stopping::Send(Signal::SIGTERM));
        assert_eq!(stopping(STOP_WITHIN), Stopping::Send(Signal::SIGKILL));
        assert_eq!(stopping(STOP_WITHIN + GIVE_UP_AFTER - second), Stopping::Send(Signal::SIGKILL));
        assert_eq!(stopping(STOP_WITHIN + GIVE_UP_AFTER), Stopping::GiveUp);
        let said = not_stopped(&[Pid::from_raw(7), Pid::from_raw(12)]);
        assert!(said.contains("7, 12"), "{said}");
    }

    fn shell(name: &'static str, script: &'static str) -> Child {
        Child::new(name, "ready", move || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        })
    }

    fn children(children: Vec<Child>) -> Children {
        let (sender, events) = mpsc::channel();
        Children { children, events, sender }
    }

    #[test]
    fn a_program_that_cannot_be_started_is_tried_ever_more_slowly() {
        let _statuses = one_at_a_time();
        let mut all = children(vec![Child::new("gone", "ready", || Command::new("/does/not/exist"))]);
        // As after a long life.
        all.children[0].started = Instant::now().checked_sub(HEALTHY_AFTER).unwrap();
        all.children[0].start_again_at = Some(Instant::now());
        all.start_those_that_are_due();
        assert_eq!(all.children[0].back_off, Duration::from_secs(1));
        assert!(all.children[0].start_again_at.unwrap() > Instant::now());
    }

    #[test]
    fn a_program_that_dies_while_another_starts_is_started_again() {
        let _statuses = one_at_a_time();
        let first = shell("first", "echo ready >&2");
        let second = shell("second", "echo ready >&2; exec sleep 60");
        let mut all = children(vec![first, second]);
        all.start_and_wait(0).unwrap();
        wait_for_the_end_of(all.children[0].pid.unwrap());
        all.sender.send(Event::ChildEnded).unwrap();
        all.start_and_wait(1).unwrap();
        assert_eq!(all.children[0].pid, None);
        assert!(all.children[0].start_again_at.is_some());
        kill(all.children[1].pid.unwrap(), Signal::SIGKILL).unwrap();
        wait_for_the_end_of(all.children[1].pid.unwrap());
        assert_eq!(ended_children().into_values().collect::<Vec<_>>(), [End::Killed(Signal::SIGKILL)]);
    }
}

/// For the tests of what takes the statuses of all children: they must not take each other's.
#[cfg(test)]
pub(super) mod testing {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;

    static STATUSES: Mutex<()> = Mutex::new(());

    pub(in super::super) fn one_at_a_time() -> MutexGuard<'static, ()> {
        STATUSES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the status to be taken.
    pub(in super::super) fn wait_for_the_end_of(pid: Pid) {
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    }
}
