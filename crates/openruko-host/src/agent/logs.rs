//! Lines on their way to the API. A supervisor keeps its lines until the API has them; no more of each than
//! [`WINDOW`](crate::dyno::wire::WINDOW) is here.

use std::time::Duration;

use ruko_api_types::log::{LogLine, LogLines, MAX_LINES};
use tokio::sync::mpsc;

use super::api::{Backoff, Calls};
use super::links::{Links, Sink};
use super::shown;

/// How much a call carries at most, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// What comes in this time goes together.
const GATHER: Duration = Duration::from_millis(15);

/// A line, and which of a supervisor's it is.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) line: LogLine,
    /// The dyno's id and the number of its line; none: it is the agent's own.
    pub(crate) of: Option<(String, u64)>,
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
            of.extend(one.of);
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
        links.acknowledge(of, Sink::Log);
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
