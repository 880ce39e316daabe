//! Follows the API's table of apps, and keeps a copy on disk for starts while the API is down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruko_api_client::{ApiClient, ApiClientError};
use ruko_api_types::router::RoutedApps;
use ruko_core::exit::chain;
use tokio::sync::watch;

use crate::table::{Kept, Table};

/// How long the API may hold a call.
const WAIT_SECONDS: u64 = 25;

/// The pause after a call that failed: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The pause between two writes of the copy.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// The last good copy; an empty table if there is none that can be read.
pub(crate) fn load(path: &Path) -> Table {
    let kept = std::fs::read(path).map_err(|error| error.to_string());
    match kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).map_err(|error| error.to_string())) {
        Ok(kept) => kept.into(),
        Err(error) => {
            tracing::info!(path = %path.display(), error, "starts without a copy of the table");
            Table::default()
        }
    }
}

/// Follows the API for as long as the program runs.
pub(crate) fn follow(api: &ApiClient, table: &watch::Sender<Arc<Table>>, heard: &Heard) {
    let mut pause = PAUSE.0;
    loop {
        match next(api, table) {
            Ok(()) => {
                pause = PAUSE.0;
                heard.now();
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the API does not tell where requests go; the last table stays");
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// One step: what changed, or everything anew where the API cannot tell that.
fn next(api: &ApiClient, table: &watch::Sender<Arc<Table>>) -> Result<(), ApiClientError> {
    let before = table.borrow().clone();
    let (changes, anew) = match before.revision {
        0 => (everything(api, WAIT_SECONDS)?, true),
        revision => match api.routed_apps(revision, WAIT_SECONDS)? {
            Some(changes) => (changes, false),
            // Its database was put back to an earlier day, say.
            None => (everything(api, 0)?, true),
        },
    };
    let unchanged = !anew && changes.apps.is_empty() && changes.gone.is_empty();
    if unchanged && changes.revision == before.revision {
        return Ok(());
    }
    let after = before.after(&changes, anew);
    tracing::debug!(revision = after.revision, apps = after.apps().len(), "the table changed");
    table.send_replace(Arc::new(after));
    Ok(())
}

/// All apps, piece by piece; what is not told is not there.
fn everything(api: &ApiClient, wait_seconds: u64) -> Result<RoutedApps, ApiClientError> {
    let (mut revision, mut apps) = (0, BTreeMap::new());
    loop {
        let wait = if revision == 0 { wait_seconds } else { 0 };
        let Some(piece) = api.routed_apps(revision, wait)? else {
            // It was put back once more.
            (revision, apps) = (0, BTreeMap::new());
            std::thread::sleep(PAUSE.0);
            continue;
        };
        for id in &piece.gone {
            apps.remove(id);
        }
        // One that changed meanwhile comes again.
        apps.extend(piece.apps.into_iter().map(|app| (app.app.id.clone(), app)));
        revision = piece.revision;
        if !piece.more {
            return Ok(RoutedApps { revision, apps: apps.into_values().collect(), ..RoutedApps::default() });
        }
    }
}

/// Writes the table to disk whenever it changed, but not all the time.
pub(crate) async fn keep(path: PathBuf, mut table: watch::Receiver<Arc<Table>>) {
    while table.changed().await.is_ok() {
        let (path, current) = (path.clone(), table.borrow_and_update().clone());
        let _ = tokio::task::spawn_blocking(move || write(&path, &current)).await;
        tokio::time::sleep(WRITE_PAUSE).await;
    }
}

/// Writes the table to disk.
pub(crate) fn write(path: &Path, table: &Table) {
    let bytes = serde_json::to_vec(&table.keep()).unwrap_or_default();
    if let Err(error) = ruko_sys::replace(path, 0o600, &bytes) {
        tracing::warn!(error = %chain(&error), "the copy of the table is out of date");
    }
}

/// When the API was heard the last time.
#[derive(Debug)]
pub(crate) struct Heard(std::sync::Mutex<Option<Instant>>);

impl Heard {
    /// Not yet.
    pub(crate) fn never() -> Self {
        Self(std::sync::Mutex::new(None))
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago that was.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).map(|at| at.elapsed())
    }
}
