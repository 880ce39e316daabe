//! The container of this run. `ruko-container run` keeps it for as long as we hold its stdin.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ruko_core::container::{LimitMet, MAX_LINE, RunEvent, RunRequest, RunSpec};
use ruko_core::{Fault, Hint};

use crate::events::Event;

/// How long the keeper may take to say which bounds were met.
const LIMITS_WITHIN: Duration = Duration::from_secs(2);

/// A container, or one that will be. Its life-line is the keeper's stdin: dropped, the container ends.
pub(crate) struct Container {
    lifeline: Mutex<Option<ChildStdin>>,
    limits: Mutex<Receiver<Vec<LimitMet>>>,
}

impl Container {
    /// Starts the keeper, which has no container yet: that begins with [`Container::start`]. Its events go
    /// into the queue.
    pub(crate) fn keeper(command: &[String], events: Sender<Event>) -> Result<Self, Fault> {
        let (program, args) = command
            .split_first()
            .ok_or_else(|| Fault::refused("`container_command` in [serve] of the configuration is empty"))?;
        let mut keeper = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .spawn()
            .fault(format!("cannot run `{program}`"))?;
        let lifeline = keeper.stdin.take().ok_or_else(|| Fault::refused("the keeper has no stdin"))?;
        let stdout = keeper.stdout.take().ok_or_else(|| Fault::refused("the keeper has no stdout"))?;
        let stderr = keeper.stderr.take().ok_or_else(|| Fault::refused("the keeper has no stderr"))?;
        let (limits_sender, limits) = mpsc::channel();
        thread::spawn(move || forward(stdout, stderr, &limits_sender, &events));
        Ok(Self { lifeline: Mutex::new(Some(lifeline)), limits: Mutex::new(limits) })
    }

    /// Asks for the container.
    pub(crate) fn start(&self, spec: &RunSpec) -> io::Result<()> {
        self.send(spec)
    }

    /// The bounds that it met so far; none when it cannot be asked any more.
    pub(crate) fn limits_met(&self) -> Vec<LimitMet> {
        let Ok(answers) = self.limits.lock() else { return Vec::new() };
        // An answer that came too late for an earlier question is none to this one.
        while answers.try_recv().is_ok() {}
        match self.send(&RunRequest::Limits) {
            Ok(()) => answers.recv_timeout(LIMITS_WITHIN).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    fn send(&self, line: &impl serde::Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut lifeline = self.lifeline.lock().unwrap_or_else(PoisonError::into_inner);
        lifeline.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(&text)
    }

    /// Lets go of the life-line: the container ends.
    pub(crate) fn let_go(&self) {
        drop(self.take_lifeline());
    }

    /// Gives the life-line away: the container lives as long as its new holder.
    pub(crate) fn take_lifeline(&self) -> Option<ChildStdin> {
        self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads the keeper's lines until it closes its stdout; what it says on stderr is its last word.
fn forward(stdout: impl Read, stderr: impl Read, limits: &Sender<Vec<LimitMet>>, events: &Sender<Event>) {
    let mut lines = BufReader::new(stdout);
    let last_word = loop {
        match read_event(&mut lines) {
            Ok(Some(RunEvent::Limits { met })) => drop(limits.send(met)),
            Ok(Some(event)) => drop(events.send(Event::Container(event))),
            Ok(None) => break last_word(stderr),
            // It may well go on living; nothing more is believed of it.
            Err(why) => break format!("what the keeper said cannot be read: {why}"),
        }
    };
    let _ = events.send(Event::ContainerClosed { last_word });
}

fn last_word(stderr: impl Read) -> String {
    let mut word = String::new();
    let _ = stderr.take(MAX_LINE as u64).read_to_string(&mut word);
    word
}

fn read_event(lines: &mut impl BufRead) -> io::Result<Option<RunEvent>> {
    let mut line = Vec::new();
    lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(script: &str) -> (Container, Receiver<Event>) {
        let (sender, receiver) = mpsc::channel();
        let command = ["sh", "-c", script].map(str::to_owned);
        (Container::keeper(&command, sender).unwrap(), receiver)
    }

    #[test]
    fn answers_and_events_do_not_mix() {
        let script = r#"read line
            echo '{"event":"failed","message":"no","try_again":true}'
            echo '{"event":"limits","met":[{"limit":"pids","value":9}]}'"#;
        let (container, events) = keeper(script);
        assert_eq!(container.limits_met(), [LimitMet { limit: ruko_core::container::Limit::Pids, value: 9 }]);
        assert!(matches!(events.recv().unwrap(), Event::Container(RunEvent::Failed { .. })));
        assert!(matches!(events.recv().unwrap(), Event::ContainerClosed { .. }));
        drop(container);
    }

    #[test]
    fn what_a_keeper_says_last_is_kept() {
        let (_container, events) = keeper("echo sudo: a password is required >&2; exit 1");
        let Event::ContainerClosed { last_word } = events.recv().unwrap() else { panic!() };
        assert_eq!(last_word, "sudo: a password is required\n");
    }

    #[test]
    fn letting_go_of_the_lifeline_ends_the_keeper() {
        let (container, events) = keeper("cat >/dev/null");
        container.let_go();
        assert!(matches!(events.recv().unwrap(), Event::ContainerClosed { .. }));
    }

    #[test]
    fn a_keeper_that_talks_nonsense_is_as_good_as_gone() {
        let (container, events) = keeper("echo nonsense; cat");
        assert!(matches!(events.recv().unwrap(), Event::ContainerClosed { .. }));
        drop(container);
    }
}
