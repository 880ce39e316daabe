//! What the agent asks of the API, and how it waits where that is away.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use ruko_api_client::{ApiClient, ApiClientError};
use ruko_api_types::Output;
use ruko_api_types::host::{AppsToRun, DynoReports, FailRelease, HostHello, SlugToRun, Switch};
use ruko_api_types::log::LogLines;
use tokio::sync::Notify;

/// The calls of this component, each bounded in time.
pub(crate) trait Api: Send + Sync + 'static {
    fn hello(&self, hello: &HostHello) -> Result<(), ApiClientError>;
    /// None: everything is to be asked for anew.
    fn apps(&self, after: u64, wait_seconds: u64) -> Result<Option<AppsToRun>, ApiClientError>;
    /// Where a slug is, anew.
    fn slug(&self, app: &str, version: u64) -> Result<SlugToRun, ApiClientError>;
    fn report(&self, reports: &DynoReports) -> Result<(), ApiClientError>;
    fn switch(&self, app: &str, switch: &Switch) -> Result<(), ApiClientError>;
    fn fail(&self, app: &str, version: u64, fail: &FailRelease) -> Result<(), ApiClientError>;
    fn output(&self, app: &str, version: u64, output: &Output) -> Result<(), ApiClientError>;
    fn logs(&self, lines: &LogLines) -> Result<(), ApiClientError>;
}

impl Api for ApiClient {
    fn hello(&self, hello: &HostHello) -> Result<(), ApiClientError> {
        Self::hello(self, hello)
    }

    fn apps(&self, after: u64, wait_seconds: u64) -> Result<Option<AppsToRun>, ApiClientError> {
        self.apps_to_run(after, wait_seconds)
    }

    fn slug(&self, app: &str, version: u64) -> Result<SlugToRun, ApiClientError> {
        self.slug_of(app, version)
    }

    fn report(&self, reports: &DynoReports) -> Result<(), ApiClientError> {
        self.report_dynos(reports)
    }

    fn switch(&self, app: &str, switch: &Switch) -> Result<(), ApiClientError> {
        Self::switch(self, app, switch)
    }

    fn fail(&self, app: &str, version: u64, fail: &FailRelease) -> Result<(), ApiClientError> {
        self.fail_release(app, version, fail)
    }

    fn output(&self, app: &str, version: u64, output: &Output) -> Result<(), ApiClientError> {
        self.release_output(app, version, output)
    }

    fn logs(&self, lines: &LogLines) -> Result<(), ApiClientError> {
        self.log_lines(lines)
    }
}

/// The API, for tasks: a call runs on a thread of its own.
#[derive(Clone)]
pub(crate) struct Calls {
    api: Arc<dyn Api>,
    /// Told when the API answers again.
    back: Arc<Notify>,
}

impl Calls {
    pub(crate) fn new(api: Arc<dyn Api>) -> Self {
        Self { api, back: Arc::default() }
    }

    /// Makes a call.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Api) -> Result<T, ApiClientError> + Send + 'static,
    ) -> Result<T, ApiClientError> {
        let api = self.api.clone();
        match tokio::task::spawn_blocking(move || call(&*api)).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The program ends.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The API answers again: who waits need not wait on.
    pub(crate) fn is_back(&self) {
        self.back.notify_waiters();
    }

    /// Waits before another try.
    pub(crate) async fn pause(&self, backoff: &mut Backoff) {
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = self.back.notified() => {}
        }
    }
}

/// Pauses that grow, and are never the same for two.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    dice: RandomState,
    thrown: u64,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const MOST: Duration = Duration::from_secs(15);

    pub(crate) fn new() -> Self {
        Self { pause: Self::FIRST, dice: RandomState::new(), thrown: 0 }
    }

    /// It went well.
    pub(crate) fn reset(&mut self) {
        self.pause = Self::FIRST;
    }

    /// The next pause: half of it to all of it.
    pub(crate) fn next(&mut self) -> Duration {
        self.thrown += 1;
        let percent = u32::try_from(50 + self.dice.hash_one(self.thrown) % 51).unwrap_or(100);
        let pause = self.pause * percent / 100;
        self.pause = (self.pause * 2).min(Self::MOST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses.iter().all(|pause| *pause <= Backoff::MOST && *pause >= Backoff::FIRST / 2));
        assert!(pauses[19] >= Backoff::MOST / 2);
        backoff.reset();
        assert!(backoff.next() <= Backoff::FIRST);
    }
}
