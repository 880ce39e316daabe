//! Lines on their way to the API. A supervisor keeps its lines until the API has them; no more of each than
//! [`WINDOW`](crate::dyno::wire::WINDOW) is here.

use std::sync::Arc;
use std::time::Duration;

use ruko_api_types::log::{LogLine, LogLines, MAX_LINES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::api::{Backoff, Calls};
use super::links::{Links, Sink};
use super::shown;

/// How much a call carries at most, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// What comes in this time goes together.
const GATHER: Duration = Duration::from_millis(15);

/// Lines of the agent's own that wait for the API at most. No supervisor keeps them.
const OWN: usize = 1000;

/// A line, and whose it is.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) line: LogLine,
    pub(crate) of: Of,
}

/// Who has said a line.
#[derive(Debug)]
pub(crate) enum Of {
    /// The dyno with this id; the number is its line's.
    Dyno(String, u64),
    /// The agent.
    Agent {
        /// Given back with the line.
        _room: OwnedSemaphorePermit,
    },
}

/// Where the agent leaves lines of its own.
#[derive(Debug)]
pub(crate) struct Own {
    lines: mpsc::UnboundedSender<Said>,
    room: Arc<Semaphore>,
}

impl Own {
    pub(crate) fn new(lines: mpsc::UnboundedSender<Said>) -> Self {
        Self { lines, room: Arc::new(Semaphore::new(OWN)) }
    }

    /// Says it, unless too many lines wait already.
    pub(crate) fn say(&self, line: LogLine) {
        match self.room.clone().try_acquire_owned() {
            Ok(_room) => drop(self.lines.send(Said { line, of: Of::Agent { _room } })),
            Err(_) => tracing::warn!(
                app = line.app,
                "a line is dropped, since {OWN} wait for the API: {}: {}",
                line.process,
                line.text
            ),
        }
    }
}

/// Sends lines as they come.
pub(crate) async fn send(calls: Calls, mut lines: mpsc::UnboundedReceiver<Said>, links: Links) {
    let sender = ulid::Ulid::generate().to_string();
    let mut batch = 0;
    let mut backoff = Backoff::new();
    while let Some(first) = lines.recv().await {
        tokio::time::sleep(GATHER).await;
        let (mut bytes, mut of, mut said) = (0, Vec::new(), Vec::new());
        let mut add = |one: Said| {
            bytes += one.line.text.len() + 100;
            of.push(one.of);
            said.push(one.line);
            said.len() < MAX_LINES && bytes < MAX_BYTES
        };
        let mut room = add(first);
        while room && let Ok(one) = lines.try_recv() {
            room = add(one);
        }
        batch += 1;
        let lines = LogLines { sender: sender.clone(), batch, lines: said };
        deliver(&calls, lines, &mut backoff).await;
        let of_dyno = |of| match of {
            Of::Dyno(id, seq) => Some((id, seq)),
            Of::Agent { .. } => None,
        };
        links.acknowledge(of.into_iter().filter_map(of_dyno), Sink::Log);
    }
}

/// Tries until the API has them, or will never take them.
async fn deliver(calls: &Calls, lines: LogLines, backoff: &mut Backoff) {
    let lines = std::sync::Arc::new(lines);
    loop {
        let sent = lines.clone();
        match calls.call(move |api| api.logs(&sent)).await {
            Ok(()) => {
                backoff.reset();
                return;
            }
            Err(error) if !error.is_temporary() && error.status().is_some_and(|status| status < 500) => {
                tracing::error!("{} lines of logs were refused: {}", lines.lines.len(), shown(&error));
                return;
            }
            Err(error) => {
                tracing::warn!("logs could not be sent: {}", shown(&error));
                calls.pause(backoff).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruko_api_types::log::LogSource;

    use super::*;

    #[test]
    fn the_agents_own_lines_are_bounded_until_the_api_has_them() {
        let (lines, mut said) = mpsc::unbounded_channel();
        let own = Own::new(lines);
        let say = |number: usize| {
            own.say(LogLine {
                app: "app".into(),
                at: 0,
                source: LogSource::Heroku,
                process: "web.1".into(),
                text: number.to_string(),
            });
        };
        (0..OWN + 10).for_each(say);
        assert_eq!(said.len(), OWN);
        let first = said.try_recv().unwrap();
        say(5000);
        assert_eq!(said.len(), OWN - 1, "it is on its way, and the API does not have it");
        drop(first);
        say(6000);
        assert_eq!(said.len(), OWN);
    }
}
