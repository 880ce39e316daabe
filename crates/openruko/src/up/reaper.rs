//! `ruko-container reap`, run from time to time beside the programs that are kept running: it may fail or
//! hang, and nothing else waits for it.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ruko_core::message;

use super::children::{End, Event, ended_children, forward, say, spawn};

/// How often leftover containers are looked for.
const EVERY: Duration = Duration::from_secs(5);
/// A run that takes longer is killed; it gives itself 30 seconds.
const WITHIN: Duration = Duration::from_secs(45);

const NAME: &str = "ruko-container";

/// Removes the containers that something killed has left.
pub(super) struct Reaper {
    command: Box<dyn Fn() -> Command>,
    running: Option<Pid>,
    /// When the running one is killed or, if there is none, the next one is started.
    due: Instant,
    /// A failure was named, and there was no success since.
    failing: bool,
}

impl Reaper {
    /// `command` makes the command that looks for them once.
    pub(super) fn new(command: impl Fn() -> Command + 'static) -> Self {
        Self { command: Box::new(command), running: None, due: Instant::now(), failing: false }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Starts one if none is running; kills the one that takes too long.
    pub(super) fn act_when_due(&mut self) {
        if Instant::now() < self.due {
            return;
        }
        match self.running {
            None => self.start(),
            Some(pid) => self.kill(pid),
        }
    }

    fn start(&mut self) {
        // One failure is named, with what it printed; those that follow would only repeat it.
        let stderr = if self.failing { Stdio::null() } else { Stdio::piped() };
        match spawn((self.command)().stderr(stderr)) {
            Ok((pid, stderr)) => {
                self.running = Some(pid);
                self.due = Instant::now() + WITHIN;
                if let Some(stderr) = stderr {
                    thread::spawn(move || forward(NAME, stderr, |_| ()));
                }
            }
            Err(error) => {
                self.due = Instant::now() + EVERY;
                self.failed(&format!("cannot be started: {error}"));
            }
        }
    }

    /// It stays the running one until its status says that it has ended: there is never a second.
    fn kill(&mut self, pid: Pid) {
        // It leads a session, and so a group, with the tools that it runs.
        let _ = killpg(pid, Signal::SIGKILL);
        self.due = Instant::now() + WITHIN;
        self.failed(&format!("not done within {} seconds: killed", WITHIN.as_secs()));
    }

    /// Looks whether the running one is among those that have ended.
    pub(super) fn learn(&mut self, ended: &HashMap<Pid, End>) {
        let Some(&end) = self.running.and_then(|pid| ended.get(&pid)) else { return };
        self.running = None;
        self.due = Instant::now() + EVERY;
        if end == End::Exited(0) {
            self.failing = false;
        } else {
            self.failed(&end.to_string());
        }
    }

    fn failed(&mut self, how: &str) {
        if !self.failing {
            say(&message::trouble(format!("leftover containers cannot be removed ({how}); trying again")));
        }
        self.failing = true;
    }

    /// One more run, when everything is stopped, the run before included.
    pub(super) fn run_for_the_last_time(&mut self, events: &Receiver<Event>) {
        self.start();
        while let Some(pid) = self.running {
            if events.recv_timeout(self.due.saturating_duration_since(Instant::now())).is_err() {
                return self.kill(pid);
            }
            self.learn(&ended_children());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::children::testing::{one_at_a_time, wait_for_the_end_of};
    use super::*;

    fn reaper(script: &'static str) -> Reaper {
        Reaper::new(move || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        })
    }

    #[test]
    fn one_that_hangs_is_killed_and_the_next_begins_only_then() {
        let _statuses = one_at_a_time();
        let mut reaper = reaper("sleep 600; true");
        reaper.act_when_due();
        let first = reaper.running.unwrap();
        reaper.act_when_due();
        assert_eq!((reaper.running, reaper.failing), (Some(first), false), "it is not due yet");
        reaper.due = Instant::now();
        reaper.act_when_due();
        assert_eq!((reaper.running, reaper.failing), (Some(first), true));
        wait_for_the_end_of(first);
        reaper.learn(&ended_children());
        assert_eq!(reaper.running, None);
        assert!(reaper.due() > Instant::now());
    }

    #[test]
    fn a_success_ends_a_row_of_failures() {
        let pid = Pid::from_raw(7);
        let mut reaper = reaper("exit 0");
        for (code, failing) in [(1, true), (1, true), (0, false)] {
            reaper.running = Some(pid);
            reaper.learn(&HashMap::from([(pid, End::Exited(code))]));
            assert_eq!((reaper.running, reaper.failing), (None, failing));
        }
    }

    #[test]
    fn the_last_run_is_not_waited_for_longer_than_its_time() {
        let _statuses = one_at_a_time();
        let (events, received) = mpsc::channel();
        drop(events);
        let mut reaper = reaper("sleep 600; true");
        reaper.run_for_the_last_time(&received);
        let pid = reaper.running.unwrap();
        wait_for_the_end_of(pid);
        assert_eq!(ended_children().get(&pid), Some(&End::Killed(Signal::SIGKILL)));
    }

    #[test]
    fn a_program_that_is_missing_is_tried_again_later() {
        let _statuses = one_at_a_time();
        let mut reaper = Reaper::new(|| Command::new("/does/not/exist"));
        reaper.act_when_due();
        assert!(reaper.failing && reaper.running.is_none() && reaper.due() > Instant::now());
    }
}
