//! The connections that have sent no complete request yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// The connections that have sent no complete request yet, oldest first: whoever connects and says
/// nothing must not keep out those who have something to say.
#[derive(Clone, Default)]
pub(crate) struct Silent(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    last: u64,
    /// A message cuts the connection off; without one its sender is dropped when it is heard.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection's place in [`Silent`].
#[derive(Clone)]
pub(crate) struct Entry {
    silent: Silent,
    number: u64,
}

impl Silent {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self) -> (Entry, oneshot::Receiver<()>) {
        let (sender, cut) = oneshot::channel();
        let mut entries = self.entries();
        entries.last += 1;
        let number = entries.last;
        entries.by_age.insert(number, sender);
        (Entry { silent: self.clone(), number }, cut)
    }

    pub(crate) fn cut_oldest(&self) {
        let oldest = self.entries().by_age.pop_first();
        if let Some((_, sender)) = oldest {
            // One that has ended meanwhile gives its place back as well.
            let _ = sender.send(());
        }
    }
}

impl Entry {
    /// It was heard, or is gone.
    pub(crate) fn leave(&self) {
        self.silent.entries().by_age.remove(&self.number);
    }
}

/// Ends when a silent connection must go: it was cut off, or its time is up. Never ends for one that was
/// heard in time.
pub(crate) async fn silence(cut: oneshot::Receiver<()>, patience: Duration) {
    if let Ok(Err(_)) = tokio::time::timeout(patience, cut).await {
        std::future::pending().await
    }
}
