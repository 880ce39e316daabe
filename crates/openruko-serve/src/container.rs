//! The container of this run. `ruko-container run` keeps it for as long as we hold its stdin.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ruko_core::container::{LimitMet, MAX_LINE, RunEvent, RunRequest, RunSpec};
use ruko_core::{Fault, Hint};

use crate::events::Event;

/// How long the keeper may take to say which bounds were met.
const LIMITS_WITHIN: Duration = Duration::from_secs(2);

/// A container, or one that will be. Its life-line is the keeper's stdin: dropped, the container ends.
pub(crate) struct Container {
    lifeline: Mutex<ChildStdin>,
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
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .fault(format!("cannot run `{program}`"))?;
        let lifeline = keeper.stdin.take().ok_or_else(|| Fault::refused("the keeper has no stdin"))?;
        let stdout = keeper.stdout.take().ok_or_else(|| Fault::refused("the keeper has no stdout"))?;
        let (limits_sender, limits) = mpsc::channel();
        thread::spawn(move || forward(stdout, &limits_sender, &events));
        Ok(Self { lifeline: Mutex::new(lifeline), limits: Mutex::new(limits) })
    }

    /// Asks for the container.
    pub(crate) fn start(&self, spec: &RunSpec) -> io::Result<()> {
        self.send(spec)
    }

    /// The bounds that it met so far; none when it cannot be asked any more.
    pub(crate) fn limits_met(&self) -> Vec<LimitMet> {
        let Ok(answers) = self.limits.lock() else { return Vec::new() };
        match self.send(&RunRequest::Limits) {
            Ok(()) => answers.recv_timeout(LIMITS_WITHIN).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    fn send(&self, line: &impl serde::Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut lifeline = self.lifeline.lock().map_err(|_| io::Error::other("the life-line is broken"))?;
        lifeline.write_all(&text)
    }

    /// Gives the life-line away: the container lives as long as its new holder.
    pub(crate) fn into_lifeline(self) -> Option<ChildStdin> {
        self.lifeline.into_inner().ok()
    }
}

/// Reads the keeper's lines until it closes its stdout.
fn forward(stdout: impl Read, limits: &Sender<Vec<LimitMet>>, events: &Sender<Event>) {
    let mut lines = BufReader::new(stdout);
    while let Ok(Some(event)) = read_event(&mut lines) {
        let _ = match event {
            RunEvent::Limits { met } => limits.send(met).is_ok(),
            event => events.send(Event::Container(event)).is_ok(),
        };
    }
    let _ = events.send(Event::ContainerClosed);
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
        assert!(matches!(events.recv().unwrap(), Event::ContainerClosed));
        drop(container);
    }

    #[test]
    fn letting_go_of_the_lifeline_ends_the_keeper() {
        let (container, events) = keeper("cat >/dev/null");
        drop(container);
        assert!(matches!(events.recv().unwrap(), Event::ContainerClosed));
    }

    #[test]
    fn a_keeper_that_talks_nonsense_is_as_good_as_gone() {
        let (container, events) = keeper("echo nonsense; cat");
        assert!(matches!(events.recv().unwrap(), Event::ContainerClosed));
        drop(container);
    }
}
