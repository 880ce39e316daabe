//! What the API is told of one app, in order: the output of its release phase, then the verdict.

use ruko_api_client::ApiClientError;
use ruko_api_types::Output;
use ruko_api_types::host::{FailRelease, Switch};
use tokio::sync::mpsc;

use super::api::{Backoff, Calls};
use super::links::{Links, Sink};
use super::reports::Reports;
use super::{Message, shown};
use crate::plan::{Answer, Event, Route};

/// What one call carries of a release's output, in bytes.
const PIECE: usize = 128 << 10;

/// Something to tell.
#[derive(Debug)]
pub(crate) enum Call {
    /// A line of a release phase; an empty text stands for none of the app's own.
    Output {
        version: u64,
        offset: u64,
        text: String,
        of: (String, u64),
    },
    Switch(Route),
    Fail(u64, String),
}

/// Where what is told of an app is left.
#[derive(Debug)]
pub(crate) struct Queue(mpsc::UnboundedSender<Call>);

impl Queue {
    pub(crate) fn start(
        app: String,
        calls: Calls,
        reports: Reports,
        links: Links,
        tell: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let (sender, queue) = mpsc::unbounded_channel();
        let teller = Teller { app, calls, reports, links, tell, backoff: Backoff::new() };
        tokio::spawn(teller.serve(queue));
        Self(sender)
    }

    pub(crate) fn add(&self, call: Call) {
        let _ = self.0.send(call);
    }
}

struct Teller {
    app: String,
    calls: Calls,
    reports: Reports,
    links: Links,
    tell: mpsc::UnboundedSender<Message>,
    backoff: Backoff,
}

impl Teller {
    async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Call>) {
        let mut next = None;
        loop {
            let call = match next.take() {
                Some(call) => call,
                None => match queue.recv().await {
                    Some(call) => call,
                    None => return,
                },
            };
            match call {
                Call::Output { version, offset, text, of } => {
                    let mut of = vec![of];
                    let mut output = Output { offset, text };
                    while output.text.len() < PIECE {
                        match queue.try_recv() {
                            Ok(Call::Output { version: v, offset, text, of: one }) if v == version => {
                                if output.text.is_empty() {
                                    output.offset = offset;
                                }
                                // Lines that were dropped leave no hole here: the API counts what it got.
                                output.text.push_str(&text);
                                of.push(one);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    if !output.text.is_empty() {
                        self.output(version, output).await;
                    }
                    self.links.acknowledge(of, Sink::Output);
                }
                Call::Switch(route) => self.switch(route).await,
                Call::Fail(version, reason) => self.fail(version, reason).await,
            }
        }
    }

    async fn output(&mut self, version: u64, output: Output) {
        loop {
            let (app, sent) = (self.app.clone(), output.clone());
            match self.calls.call(move |api| api.output(&app, version, &sent)).await {
                Err(error) if worth_another_try(&error) => self.calls.pause(&mut self.backoff).await,
                Err(error) => {
                    tracing::warn!("the output of a release was refused: {}", shown(&error));
                    return;
                }
                Ok(()) => {
                    self.backoff.reset();
                    return;
                }
            }
        }
    }

    /// A switch is tried once: meanwhile other dynos may be right.
    async fn switch(&mut self, route: Route) {
        self.reports.flushed().await;
        let switch = Switch { release: route.release, dynos: route.dynos.iter().cloned().collect() };
        let app = self.app.clone();
        let answer = match self.calls.call(move |api| api.switch(&app, &switch)).await {
            Ok(()) => {
                self.backoff.reset();
                Answer::Done
            }
            Err(error) if matches!(error.status(), Some(404 | 409)) => Answer::TooLate,
            Err(error) => {
                tracing::warn!("app {}: requests could not be sent elsewhere: {}", self.app, shown(&error));
                if worth_another_try(&error) {
                    self.calls.pause(&mut self.backoff).await;
                }
                Answer::Refused
            }
        };
        let _ = self.tell.send(Message::Event(self.app.clone(), Event::Switched(route, answer)));
    }

    async fn fail(&mut self, version: u64, reason: String) {
        self.reports.flushed().await;
        loop {
            let (app, fail) = (self.app.clone(), FailRelease { reason: reason.clone() });
            match self.calls.call(move |api| api.fail(&app, version, &fail)).await {
                Err(error) if worth_another_try(&error) => self.calls.pause(&mut self.backoff).await,
                Err(error) => {
                    tracing::info!(
                        "app {}: the failure of v{version} came too late: {}",
                        self.app,
                        shown(&error)
                    );
                    return;
                }
                Ok(()) => {
                    self.backoff.reset();
                    return;
                }
            }
        }
    }
}

/// Whether there was no answer, or one that may be another the next time.
pub(crate) fn worth_another_try(error: &ApiClientError) -> bool {
    error.is_temporary() || error.status().is_none_or(|status| status >= 500)
}
