//! What changed of dynos, on its way to the API: of each dyno the latest, however long the API is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruko_api_client::ApiClientError;
use ruko_api_types::host::{DynoReport, DynoReports};
use tokio::sync::{Notify, mpsc, watch};

use super::api::{Backoff, Calls};
use super::{Message, shown};

/// The most dynos of one call, and the most that are gone.
const MOST: usize = 1000;

/// About the most that one call carries of dynos, in bytes; the commands are what can be long.
const BYTES: usize = 4 << 20;

/// About how many bytes a dyno takes beside its command.
const DYNO: usize = 300;

#[derive(Debug, Default)]
struct Pending {
    dynos: BTreeMap<String, DynoReport>,
    gone: BTreeSet<String>,
    /// The API is to be told that these are all that there are, as far as `dynos` does not say so.
    there: Option<BTreeSet<String>>,
    /// How many changes there were.
    changes: u64,
}

impl Pending {
    fn add(&mut self, dynos: Vec<DynoReport>, gone: Vec<String>, all: bool) {
        if all {
            self.there = Some(self.dynos.keys().cloned().collect());
        }
        for dyno in dynos {
            self.gone.remove(&dyno.id);
            if let Some(there) = &mut self.there {
                there.insert(dyno.id.clone());
            }
            self.dynos.insert(dyno.id.clone(), dyno);
        }
        for id in gone {
            self.dynos.remove(&id);
            if let Some(there) = &mut self.there {
                there.remove(&id);
            }
            self.gone.insert(id);
        }
        self.changes += 1;
    }

    /// What one call carries. That these are all comes last, when the API knows the others.
    fn take(&mut self) -> DynoReports {
        let mut reports = DynoReports::default();
        let mut bytes = 0;
        while reports.dynos.len() < MOST
            && bytes < BYTES
            && let Some((_, dyno)) = self.dynos.pop_first()
        {
            bytes += DYNO + dyno.command.len();
            reports.dynos.push(dyno);
        }
        while reports.gone.len() < MOST
            && let Some(id) = self.gone.pop_first()
        {
            reports.gone.push(id);
        }
        if self.dynos.is_empty()
            && self.gone.is_empty()
            && let Some(mut there) = self.there.take()
        {
            for dyno in &reports.dynos {
                there.remove(&dyno.id);
            }
            reports.there = there.into_iter().collect();
            reports.all = true;
        }
        reports
    }

    /// Later changes count more.
    fn put_back(&mut self, reports: DynoReports) {
        if reports.all && self.there.is_none() {
            let told = reports.there.into_iter().chain(reports.dynos.iter().map(|dyno| dyno.id.clone()));
            let since = self.dynos.keys().cloned();
            self.there = Some(told.filter(|id| !self.gone.contains(id)).chain(since).collect());
        }
        for dyno in reports.dynos {
            if !self.gone.contains(&dyno.id) {
                self.dynos.entry(dyno.id.clone()).or_insert(dyno);
            }
        }
        for id in reports.gone {
            if !self.dynos.contains_key(&id) {
                self.gone.insert(id);
            }
        }
    }
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
        self.pending().add(dynos, gone, all);
        self.news.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the API knows everything that was left here so far, or refused it for good.
    pub(crate) async fn flushed(&self) {
        let changes = self.pending().changes;
        let mut told = self.told.clone();
        let _ = told.wait_for(|told| *told >= changes).await;
    }

    async fn send(self, calls: Calls, messages: mpsc::UnboundedSender<Message>, tell: watch::Sender<u64>) {
        let mut backoff = Backoff::new();
        loop {
            let (reports, changes) = {
                let mut pending = self.pending();
                (pending.take(), pending.changes)
            };
            if reports == DynoReports::default() {
                tell.send_replace(changes);
                self.news.notified().await;
                continue;
            }
            let mut parts = vec![reports];
            while let Some(reports) = parts.pop() {
                let sent = reports.clone();
                match calls.call(move |api| api.report(&sent)).await {
                    Ok(()) => {
                        backoff.reset();
                        if !told(&messages, reports.gone) {
                            return;
                        }
                    }
                    Err(error) if is_wrong(&error) => match halves(reports) {
                        Ok(halves) => parts.extend(halves),
                        Err(one) => {
                            let what =
                                one.dynos.first().map(|dyno| format!("{} of app {}", dyno.name, dyno.app));
                            let what = what.or(one.gone.first().cloned()).unwrap_or("all dynos".to_owned());
                            tracing::error!("the API refuses for good what {what} does: {}", shown(&error));
                            parts.extend(without_it(&one));
                            if !told(&messages, one.gone) {
                                return;
                            }
                        }
                    },
                    Err(error) => {
                        tracing::warn!("dynos could not be reported: {}", shown(&error));
                        parts.drain(..).chain([reports]).for_each(|part| self.pending().put_back(part));
                        calls.pause(&mut backoff).await;
                    }
                }
            }
        }
    }
}

/// Whether it is the report that is wrong, and stays so; not the API, nor who we are to it.
fn is_wrong(error: &ApiClientError) -> bool {
    matches!(error.status(), Some(400 | 413 | 422))
}

/// Two reports that say the same, the one to be sent last first; or the report, if it is of one thing.
fn halves(mut reports: DynoReports) -> Result<[DynoReports; 2], DynoReports> {
    if reports.dynos.len() + reports.gone.len() < 2 {
        return Err(reports);
    }
    let first = DynoReports {
        dynos: reports.dynos.drain(..reports.dynos.len().div_ceil(2)).collect(),
        gone: reports.gone.drain(..reports.gone.len() / 2).collect(),
        ..DynoReports::default()
    };
    if reports.all {
        reports.there.extend(first.dynos.iter().map(|dyno| dyno.id.clone()));
    }
    Ok([reports, first])
}

/// What is left to be said where a report of one thing is wrong: what there is in all.
fn without_it(one: &DynoReports) -> Option<DynoReports> {
    let is_of_something = !one.dynos.is_empty() || !one.gone.is_empty();
    let dynos = one.dynos.iter().map(|dyno| dyno.id.clone());
    let there = || one.there.iter().cloned().chain(dynos).collect();
    (one.all && is_of_something).then(|| DynoReports { there: there(), all: true, ..DynoReports::default() })
}

/// False when nobody listens any more.
fn told(messages: &mpsc::UnboundedSender<Message>, gone: Vec<String>) -> bool {
    gone.is_empty() || messages.send(Message::GoneTold(gone)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruko_api_types::platform::DynoState;

    fn dyno(id: u32) -> DynoReport {
        DynoReport {
            id: format!("{id:05}"),
            app: "a".to_owned(),
            name: "web.1".parse().unwrap(),
            release: 1,
            generation: 0,
            state: DynoState::Up,
            since: 0,
            address: None,
            command: String::new(),
            size: "Eco".to_owned(),
            exit_status: None,
        }
    }

    fn dynos(ids: std::ops::Range<u32>) -> Vec<DynoReport> {
        ids.map(dyno).collect()
    }

    fn id(id: u32) -> String {
        dyno(id).id
    }

    #[test]
    fn many_dynos_take_several_calls_and_the_last_says_that_these_are_all() {
        let mut pending = Pending::default();
        pending.add(dynos(0..2500), vec![], true);
        let [first, second] = [pending.take(), pending.take()];
        assert!([&first, &second].iter().all(|part| part.dynos.len() == 1000 && !part.all));
        // What happens in between counts.
        pending.add(vec![dyno(3000)], vec![id(7)], false);
        let (third, rest) = (pending.take(), pending.take());
        assert_eq!((third.dynos.len(), &third.gone, third.all), (501, &vec![id(7)], true));
        assert!(third.there.len() == 1999 && !third.there.contains(&id(7)));
        assert_eq!(rest, DynoReports::default());
    }

    #[test]
    fn long_commands_take_several_calls() {
        let mut pending = Pending::default();
        let long = |dyno| DynoReport { command: "x".repeat(32 << 10), ..dyno };
        pending.add(dynos(0..500).into_iter().map(long).collect(), vec![], false);
        let most = BYTES / (32 << 10) + 1;
        while let reports = pending.take()
            && !reports.dynos.is_empty()
        {
            assert!(reports.dynos.len() <= most, "{}", reports.dynos.len());
        }
    }

    #[test]
    fn what_was_not_told_is_told_later_and_what_happened_since_counts_more() {
        let mut pending = Pending::default();
        pending.add(dynos(0..3), vec![id(9)], true);
        let sent = pending.take();
        let crashed = DynoReport { state: DynoState::Crashed, ..dyno(0) };
        pending.add(vec![crashed.clone(), dyno(4)], vec![id(1)], false);
        pending.put_back(sent);
        let again = pending.take();
        assert_eq!(again.dynos, [crashed, dyno(2), dyno(4)]);
        assert_eq!((again.gone, again.all, again.there), (vec![id(1), id(9)], true, vec![]));
    }

    #[test]
    fn a_wrong_report_is_told_apart_from_those_beside_it() {
        let all = DynoReports { dynos: dynos(0..3), gone: vec![id(8)], all: true, there: vec![id(5)] };
        let [last, first] = halves(all).unwrap();
        assert_eq!((first.dynos, first.gone, first.all), (dynos(0..2), vec![], false));
        assert_eq!(last.there, [id(5), id(0), id(1)]);
        assert_eq!((&last.dynos, &last.gone, last.all), (&dynos(2..3), &vec![id(8)], true));
        let [last, first] = halves(last).unwrap();
        assert_eq!((first.dynos, last.gone.as_slice()), (dynos(2..3), [id(8)].as_slice()));
        let one = halves(last).unwrap_err();
        let rest = without_it(&one).unwrap();
        assert_eq!((rest.there, rest.all, rest.gone), (vec![id(5), id(0), id(1), id(2)], true, vec![]));
        assert_eq!(without_it(&DynoReports { all: true, ..DynoReports::default() }), None);
    }
}
