//! The programs that `openruko up` keeps running: started, named when they die, started again, and stopped
//! with everything that descends from them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
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

/// A program must say that it is ready within this time.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// What does not end within this time after SIGTERM is killed.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// How often leftover containers are looked for.
const REAP_EVERY: Duration = Duration::from_secs(5);
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
        let mut process = (self.command)()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .own_session()
            .die_with_parent()
            .spawn()
            .fault(format!("{} cannot be started", self.name))?;
        self.pid = i32::try_from(process.id()).ok().map(Pid::from_raw);
        self.started = Instant::now();
        self.start_again_at = None;
        if let Some(stderr) = process.stderr.take() {
            let (name, ready, events) = (self.name, self.ready, events.clone());
            thread::spawn(move || forward(name, ready, stderr, &events));
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

/// At once after a healthy life, then doubling from one second.
fn next_back_off(last: Duration, lived: Duration) -> Duration {
    if lived >= HEALTHY_AFTER {
        return Duration::ZERO;
    }
    (last * 2).clamp(Duration::from_secs(1), MAX_BACK_OFF)
}

enum Event {
    Ready(&'static str),
    ChildEnded,
    Stop,
}

/// Passes a program's lines on, with its name, and tells when it is ready.
fn forward(name: &'static str, ready: &'static str, stderr: impl Read, events: &Sender<Event>) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { return };
        let line = one_line(&String::from_utf8_lossy(&line));
        if line.contains(ready) {
            let _ = events.send(Event::Ready(name));
        }
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
            all.start_and_wait(index).inspect_err(|_| stop_descendants(None))?;
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
                    if let Some(how) = self.children[index].pid.and_then(|pid| ended.get(&pid)) {
                        return Err(Fault::refused(format!("{name} did not start ({how})"))
                            .hint("the lines above say why"));
                    }
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

    /// Keeps them running until a signal asks for the end; then everything is stopped.
    pub(super) fn run_until_told_to_stop(&mut self, reap: &dyn Fn()) -> Result<Exit, Fault> {
        let mut reap_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= reap_at {
                reap();
                reap_at = Instant::now() + REAP_EVERY;
            }
            self.start_those_that_are_due();
            match self.events.recv_timeout(self.next_due(reap_at)) {
                Ok(Event::Stop) => break,
                Ok(Event::ChildEnded) => self.name_the_dead(),
                Ok(Event::Ready(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        say(&message::step("Stopping"));
        // The first child is what the others report to when they end: it goes last.
        stop_descendants(self.children.first().and_then(|child| child.pid));
        stop_descendants(None);
        reap();
        Ok(Exit::Ok)
    }

    fn next_due(&self, reap_at: Instant) -> Duration {
        let due = self.children.iter().filter_map(|child| child.start_again_at).chain([reap_at]).min();
        due.unwrap_or(reap_at).saturating_duration_since(Instant::now())
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

    fn name_the_dead(&mut self) {
        let ended = ended_children();
        for child in &mut self.children {
            if let Some(how) = child.pid.and_then(|pid| ended.get(&pid)) {
                child.died(how);
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

/// Takes the statuses of all children that have ended, adopted ones included.
fn ended_children() -> HashMap<Pid, String> {
    let mut ended = HashMap::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => ended.insert(pid, format!("exit status {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) => ended.insert(pid, signal.to_string()),
            Ok(WaitStatus::StillAlive) | Err(_) => return ended,
            Ok(_) => None,
        };
    }
}

/// Stops everything that descends from this process but one: asked first, killed when the time is up.
fn stop_descendants(but: Option<Pid>) {
    let deadline = Instant::now() + STOP_WITHIN;
    let mut signal = Signal::SIGTERM;
    loop {
        ended_children();
        let left: Vec<Pid> = descendants().into_iter().filter(|&pid| Some(pid) != but).collect();
        if left.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            signal = Signal::SIGKILL;
        }
        for pid in left {
            let _ = kill(pid, signal);
        }
        thread::sleep(Duration::from_millis(50));
    }
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
}
