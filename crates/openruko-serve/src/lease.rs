//! The lease on an app, kept alive while the push lasts and given back however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ruko_api_client::ApiClient;
use ruko_api_types::{Abort, Push};
use ruko_core::PushId;

use crate::events::Event;

/// The longest term of a lease that is believed.
const LONGEST_TERM: Duration = Duration::from_secs(3600);
/// The longest time between two renewals: so long a build goes on that was cancelled.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A lease. Dropped, it is given back: whatever was not committed by then never will be.
pub(crate) struct Lease {
    api: ApiClient,
    push: PushId,
    reason: Option<String>,
    /// Closed to end the renewals.
    stop: Option<Sender<()>>,
    renewals: Option<JoinHandle<()>>,
    settled: bool,
    commit_sent: Arc<AtomicBool>,
}

impl Lease {
    /// Keeps a lease that was just taken. Tells the queue when it is lost.
    pub(crate) fn keep(api: &ApiClient, push: &Push, events: Sender<Event>) -> Self {
        let term = Duration::from_secs(push.lease_seconds).min(LONGEST_TERM);
        let push = &push.push;
        let (stop, stopped) = mpsc::channel::<()>();
        let commit_sent = Arc::new(AtomicBool::new(false));
        let renewals = thread::spawn({
            let (api, push, commit_sent) = (api.clone(), push.clone(), commit_sent.clone());
            move || {
                let pause = (term / 3).min(LONGEST_PAUSE);
                let mut good_until = Instant::now() + term;
                loop {
                    // Its end is noticed when it comes, not at the next turn.
                    let left = good_until.saturating_duration_since(Instant::now());
                    if stopped.recv_timeout(pause.min(left)) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    match api.renew_lease(&push) {
                        Ok(true) => good_until = Instant::now() + term,
                        // The API may be starting again: the lease is ours for the rest of its term.
                        Err(_) if Instant::now() < good_until => {}
                        // The answer to the commit says what became of the push, which may go on for long.
                        Ok(false) | Err(_) if commit_sent.load(Ordering::Acquire) => return,
                        Ok(false) | Err(_) => {
                            let _ = events.send(Event::LeaseLost);
                            return;
                        }
                    }
                }
            }
        });
        Self {
            api: api.clone(),
            push: push.clone(),
            reason: Some("the push's process ended early".to_owned()),
            stop: Some(stop),
            renewals: Some(renewals),
            settled: false,
            commit_sent,
        }
    }

    /// To be set before a commit is sent, which ends the lease: from then on its loss is no news.
    pub(crate) fn commit_sent(&self) -> Arc<AtomicBool> {
        self.commit_sent.clone()
    }

    /// The commit ended the lease.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }

    /// Gives the lease back; nothing was pushed, so nothing is recorded.
    pub(crate) fn forget(mut self) {
        self.reason = None;
    }

    /// Gives the lease back, with the reason for the build's record.
    pub(crate) fn give_back(mut self, reason: impl Into<String>) {
        self.reason = Some(reason.into());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.settled {
            return;
        }
        // Unreachable or not: the lease runs out by itself.
        let _ = self.api.abort(&self.push, &Abort { reason: self.reason.take() });
        if let Some(renewals) = self.renewals.take() {
            let _ = renewals.join();
        }
    }
}
