//! Log drains: everything that is said in the log of an app, sent on.
//!
//! A drain has a task of its own and a position in the log, as every reader has; what it has not sent yet is in the
//! log itself, and only so much of it is sent later that a slow or dead receiver costs nobody anything. It begins
//! where the log was when it was made, or, for what happened before, when this process began.

mod connection;
mod destination;
mod frame;

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use ruko_api_types::log::LogSource;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::{AppLog, Line, Position, Wanted, place};
use crate::api::Api;
use crate::clock;
use crate::platform::public_id;
use crate::store::log_drains::{self, DrainRow};
use crate::store::{Sql, pushes, releases};
use connection::{Connection, Failed, Network};
pub(crate) use destination::{BadDrain, Destination};

/// The most lines that wait to be sent to a drain; older ones are dropped. They wait in the log, which may have fewer.
const BUFFER: usize = 10_000;

/// The most that is sent at once, in lines and bytes.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// The pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a connection stays open on which nothing is sent.
const IDLE: Duration = Duration::from_secs(60);

/// How often an app's log tells of a drain that goes on failing.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// So many failures in a row are worth a line.
const LASTING: u32 = 4;

/// How often is looked for drains, and for what happened, though nobody told of anything: another API may serve the
/// same database.
const LOOK: Duration = Duration::from_secs(30);

/// How long the last lines may take when the API stops.
const LAST: Duration = Duration::from_secs(2);

/// What happens to drains.
#[derive(Default)]
pub(crate) struct Drains {
    /// There are others than before.
    changed: Notify,
    /// Where those begin that were made here.
    begin: Mutex<HashMap<String, Position>>,
}

impl Drains {
    /// Others are there, or some are there no more.
    pub(crate) fn look(&self) {
        self.changed.notify_one();
    }

    /// Where a new drain begins.
    pub(crate) fn begins(&self, id: &str, position: Position) {
        self.begin.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), position);
    }

    fn begin_of(&self, id: &str) -> Option<Position> {
        self.begin.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }
}

/// Where the log of an app is now.
pub(crate) async fn position(api: &Api, app_id: &str) -> Sql<Position> {
    let (last, _) = api.logs.latest(&api.logs.of(app_id), &Wanted::default(), 0).await;
    place(&mut *api.store.read().await?, app_id, last).await
}

/// Has the drains that there are begin with what is said from now on. To be called before anything is said.
pub(crate) async fn begin(api: &Api) -> Sql<()> {
    // The numbers of the lines that this process is the first to write are above that: they begin with the time.
    let last = u64::try_from(clock::now_micros()).unwrap_or(0);
    let mut db = api.store.read().await?;
    for drain in log_drains::all(&mut db).await? {
        let position = place(&mut db, &drain.app_id, last).await?;
        api.drains.begins(&drain.id, position);
    }
    Ok(())
}

/// Sends lines to drains until the API is told to stop.
pub(crate) async fn deliver(api: Api) {
    let network = Network::new(api.settings.public.as_ref().is_some_and(|public| public.webhook_private));
    let mut tasks = JoinSet::new();
    let mut running: HashMap<String, AbortHandle> = HashMap::new();
    while !api.is_stopping() {
        if let Err(error) = agree(&api, &network, &mut tasks, &mut running).await {
            tracing::error!(cause = ruko_core::exit::chain(&error), "log drains cannot be looked up");
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = api.drains.changed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = api.stopping() => {}
        }
    }
    let _ = timeout(LAST, async { while tasks.join_next().await.is_some() {} }).await;
}

/// Begins with drains that are new, and ends those that are gone.
async fn agree(
    api: &Api,
    network: &Network,
    tasks: &mut JoinSet<()>,
    running: &mut HashMap<String, AbortHandle>,
) -> Sql<()> {
    let drains = log_drains::all(&mut *api.store.read().await?).await?;
    let there: HashSet<&String> = drains.iter().map(|drain| &drain.id).collect();
    // One that has ended met a defect, and begins anew.
    running.retain(|id, task| {
        let stays = there.contains(id) && !task.is_finished();
        if !stays {
            task.abort();
        }
        stays
    });
    for drain in drains {
        if running.contains_key(&drain.id) {
            continue;
        }
        let id = drain.id.clone();
        let position = match api.drains.begin_of(&id) {
            Some(position) => position,
            None => position(api, &drain.app_id).await?,
        };
        let private = api.settings.public.as_ref().is_some_and(|public| public.webhook_private);
        // One that was made when more was allowed is kept, and gets nothing.
        let Ok(to) = Destination::parse(&drain.url, private) else { continue };
        let work = Drain::new(api.clone(), network.clone(), drain, to, position);
        running.insert(id, tasks.spawn(work.run()));
    }
    Ok(())
}

/// A drain at work.
struct Drain {
    api: Api,
    network: Network,
    log: Arc<AppLog>,
    row: DrainRow,
    to: Destination,
    /// Up to where everything was sent, or dropped.
    position: Position,
    /// See [`AppLog::changes`]: those of which everything was sent.
    changes: u64,
    connection: Option<Connection>,
    /// How often in a row it failed.
    failures: u32,
    dropped: Dropped,
    /// When the log last told that it fails.
    told_of_trouble: Option<Instant>,
}

/// Lines that were not sent and will not be.
#[derive(Default)]
struct Dropped {
    count: u64,
    since: i64,
    told: Option<Instant>,
}

/// What is sent at once.
struct Batch {
    lines: Vec<Arc<Line>>,
    /// Where the drain is when it was sent.
    after: Position,
    changes: u64,
}

impl Drain {
    fn new(api: Api, network: Network, row: DrainRow, to: Destination, position: Position) -> Self {
        let log = api.logs.of(&row.app_id);
        // Something may have happened since it was made.
        let changes = log.changes().wrapping_sub(1);
        Self {
            api,
            network,
            log,
            row,
            to,
            position,
            changes,
            connection: None,
            failures: 0,
            dropped: Dropped::default(),
            told_of_trouble: None,
        }
    }

    async fn run(mut self) {
        let (log, api) = (Arc::clone(&self.log), self.api.clone());
        while !api.is_stopping() {
            // Listened to from before the look, so that nothing is missed in between.
            let (mut grew, mut changed) = (pin!(log.lines.notified()), pin!(log.changed.notified()));
            grew.as_mut().enable();
            changed.as_mut().enable();
            match self.send_what_is_there().await {
                Ok(()) if self.changes == log.changes() => {
                    self.say_what_was_dropped().await;
                    tokio::select! {
                        biased;
                        () = self.idle() => {}
                        () = &mut grew => {}
                        () = &mut changed => {}
                        () = api.stopping() => {}
                    }
                }
                Ok(()) => {}
                Err(why) => {
                    self.fail(&why).await;
                    tokio::select! {
                        () = tokio::time::sleep(pause(self.failures)) => {}
                        () = api.stopping() => {}
                    }
                }
            }
        }
        let _ = timeout(LAST, self.send_what_is_there()).await;
    }

    /// Closes a connection that the other side closed, or on which nothing was sent for long; then there is reason to
    /// look what another API did.
    async fn idle(&mut self) {
        let closed = async {
            match &mut self.connection {
                Some(connection) => connection.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closed => {}
            () = tokio::time::sleep(IDLE) => {}
        }
        self.connection = None;
        if self.api.store.look_again().is_some() {
            self.changes = self.log.changes().wrapping_sub(1);
        }
    }

    /// Sends until there is nothing more.
    async fn send_what_is_there(&mut self) -> Result<(), Failed> {
        loop {
            let batch = self.batch().await.map_err(|error| {
                tracing::error!(cause = ruko_core::exit::chain(&error), "a log cannot be read for a drain");
                Failed::Other("the log cannot be read".to_owned())
            })?;
            if batch.lines.is_empty() {
                (self.position, self.changes) = (batch.after, batch.changes);
                return Ok(());
            }
            match self.send(&batch).await {
                Ok(()) => {}
                Err(Failed::Refused(status)) => {
                    tracing::debug!(drain = public_id(&self.row.id), status, "a drain refuses lines");
                    self.dropped.add(batch.lines.len() as u64);
                }
                Err(failed) => return Err(failed),
            }
            self.failures = 0;
            (self.position, self.changes) = (batch.after, batch.changes);
        }
    }

    /// What is to be sent next. What is too much is dropped here.
    async fn batch(&mut self) -> Sql<Batch> {
        let (dropped, lines) = self.api.logs.newest_after(&self.log, self.position.line, BUFFER).await;
        if dropped > 0 {
            self.dropped.add(dropped);
            self.position.line = lines.first().map_or(self.position.line, |line| line.seq - 1);
        }
        let changes = self.log.changes();
        let (app_id, mut told) = (&self.row.app_id, (Vec::new(), Vec::new()));
        if changes != self.changes {
            let mut db = self.api.store.read().await?;
            told.0 = releases::after(&mut db, app_id, self.position.release, super::PAGE).await?;
            told.1 = pushes::after(&mut db, app_id, self.position.pushes(), super::PAGE).await?;
        }
        let mut after = self.position.clone();
        let happened = super::of(told.0, told.1, lines, clock::now());
        let entries = super::ordered(&mut after, happened, &Wanted::default());
        let mut batch = Batch { lines: Vec::new(), after, changes };
        let (mut bytes, count) = (0, entries.len());
        for (number, entry) in (1..).zip(entries) {
            bytes += entry.lines.iter().map(|line| line.shown().len()).sum::<usize>();
            batch.lines.extend(entry.lines);
            if number < count && (batch.lines.len() >= BATCH || bytes >= BATCH_BYTES) {
                // There is more, also of what the database tells.
                (batch.after, batch.changes) = (entry.position, self.changes);
                break;
            }
        }
        Ok(batch)
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), Failed> {
        let id = batch.after.to_string();
        // Taken out, so that one that was seen closed, or that failed, is never looked at again.
        if let Some(mut open) = self.connection.take()
            && open.closed().now_or_never().is_none()
        {
            let sent = open.send(&self.to, &self.row.token, &id, &batch.lines).await;
            if !matches!(sent, Err(Failed::Other(_))) {
                self.connection = Some(open);
                return sent;
            }
        }
        // What was open may have been closed since: that says nothing of a fresh one.
        let mut fresh = self.network.connect(&self.to).await?;
        let sent = fresh.send(&self.to, &self.row.token, &id, &batch.lines).await;
        self.connection = Some(fresh);
        sent
    }

    async fn fail(&mut self, why: &Failed) {
        self.connection = None;
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(drain = public_id(&self.row.id), %why, "a drain does not take lines");
        if let Some(text) = self.trouble(why)
            && self.told_of_trouble.is_none_or(|told| told.elapsed() >= SAY_AGAIN)
        {
            self.told_of_trouble = Some(Instant::now());
            self.say(&text).await;
        }
        if self.dropped.told.is_none_or(|told| told.elapsed() >= SAY_AGAIN) {
            self.say_what_was_dropped().await;
        }
    }

    /// What is to be said of a failure. A connection that fails may be fine a moment later.
    fn trouble(&self, why: &Failed) -> Option<String> {
        match why {
            Failed::Certificate(error) => {
                Some(format!("Error L14 (certificate validation error): error=\"{error}\""))
            }
            _ if self.failures < LASTING => None,
            _ => Some(format!("Drain {} takes no lines: {why}", self.row.token)),
        }
    }

    /// To the app's log, and so to the drain as well.
    async fn say_what_was_dropped(&mut self) {
        if self.dropped.count == 0 {
            return;
        }
        let (count, since) = (self.dropped.count, clock::rfc3339_of_micros(self.dropped.since));
        self.dropped = Dropped { told: Some(Instant::now()), ..Dropped::default() };
        self.say(&format!("Error L10 (output buffer overflow): {count} messages dropped since {since}."))
            .await;
    }

    async fn say(&self, text: &str) {
        self.api.logs.append(&self.row.app_id, LogSource::Heroku, super::LOGPLEX, text).await;
    }
}

impl Dropped {
    fn add(&mut self, count: u64) {
        if self.count == 0 {
            self.since = clock::now_micros();
        }
        self.count += count;
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_fails_is_tried_less_and_less_often() {
        assert_eq!(
            [1, 2, 3, 9, 1000].map(|failures| pause(failures).as_millis()),
            [250, 500, 1000, 60_000, 60_000]
        );
    }
}
