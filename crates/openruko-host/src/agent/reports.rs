//! What changed of dynos, on its way to the API: of each dyno the latest, however long the API is away.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use ruko_api_types::host::{DynoReport, DynoReports};
use tokio::sync::{Notify, mpsc, watch};

use super::api::{Backoff, Calls};
use super::{Message, shown};

#[derive(Debug, Default)]
struct Pending {
    dynos: BTreeMap<String, DynoReport>,
    gone: BTreeSet<String>,
    all: bool,
    /// How many changes there were.
    changes: u64,
}

/// Where reports are left.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    pending: Arc<Mutex<Pending>>,
    news: Arc<Notify>,
    /// So many changes the API knows.
    told: watch::Receiver<u64>,
}

impl Reports {
    /// Starts to report.
    pub(crate) fn start(calls: Calls, messages: mpsc::UnboundedSender<Message>) -> Self {
        let (tell, told) = watch::channel(0);
        let reports = Self { pending: Arc::default(), news: Arc::default(), told };
        tokio::spawn(reports.clone().send(calls, messages, tell));
        reports
    }

    /// Changes of dynos. `all`: these are all that there are.
    pub(crate) fn add(&self, dynos: Vec<DynoReport>, gone: Vec<String>, all: bool) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for dyno in dynos {
            pending.gone.remove(&dyno.id);
            pending.dynos.insert(dyno.id.clone(), dyno);
        }
        for id in gone {
            pending.dynos.remove(&id);
            pending.gone.insert(id);
        }
        pending.all |= all;
        pending.changes += 1;
        drop(pending);
        self.news.notify_one();
    }

    /// Waits until the API knows everything that was left here so far.
    pub(crate) async fn flushed(&self) {
        let changes = self.pending.lock().unwrap_or_else(PoisonError::into_inner).changes;
        let mut told = self.told.clone();
        let _ = told.wait_for(|told| *told >= changes).await;
    }

    async fn send(self, calls: Calls, messages: mpsc::UnboundedSender<Message>, tell: watch::Sender<u64>) {
        let mut backoff = Backoff::new();
        loop {
            let (reports, changes) = {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                let dynos = mem::take(&mut pending.dynos).into_values().collect();
                let gone = mem::take(&mut pending.gone).into_iter().collect();
                (DynoReports { dynos, gone, all: mem::take(&mut pending.all) }, pending.changes)
            };
            if reports == DynoReports::default() {
                tell.send_replace(changes);
                self.news.notified().await;
                continue;
            }
            let sent = reports.clone();
            match calls.call(move |api| api.report(&sent)).await {
                Ok(()) => {
                    backoff.reset();
                    tell.send_replace(changes);
                    if !reports.gone.is_empty() && messages.send(Message::GoneTold(reports.gone)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!("dynos could not be reported: {}", shown(&error));
                    self.put_back(reports);
                    calls.pause(&mut backoff).await;
                }
            }
        }
    }

    /// Later changes count more.
    fn put_back(&self, reports: DynoReports) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for dyno in reports.dynos {
            if !pending.gone.contains(&dyno.id) {
                pending.dynos.entry(dyno.id.clone()).or_insert(dyno);
            }
        }
        for id in reports.gone {
            if !pending.dynos.contains_key(&id) {
                pending.gone.insert(id);
            }
        }
        pending.all |= reports.all;
    }
}
