//! The lines of all apps: in files, where there is a directory for them, and the last ones in memory.
//!
//! Whoever writes to a log of an app does so alone, in a thread where it may wait for the disk; whoever reads the
//! last lines waits for no disk. The numbers of the lines of an app only rise: those of a process begin with the time
//! at which it first opened the log, in microseconds, so that they do even where the last lines before were lost.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ruko_api_types::log::LogSource;
use ruko_sys::Lock;
use tokio::sync::Notify;

use super::file::{self, Content, Files, Opened, Record, SEGMENT};
use super::line::{Line, Said};
use super::{LOGPLEX, Wanted};
use crate::clock;

/// What is kept of an app in memory: so many lines, and so many bytes. Without a directory it is all that is kept.
pub(crate) const RECENT: usize = 1500;
const RECENT_BYTES: usize = 2 << 20;

/// What is kept of all apps in memory, in bytes. Those that nobody used for longest go first.
const RECENT_IN_ALL: usize = 64 << 20;

/// Apps of which something is known in memory.
const APPS: usize = 16_384;

/// Senders of an app of which is known what they sent last.
const SENDERS: usize = 64;

/// After so long is looked again whether an app is still there: another API may have destroyed it.
const KNOWN: Duration = Duration::from_secs(60);

/// How often is said that lines are lost while that goes on: whether there is room changes with what is to be written.
const WARN_AGAIN: Duration = Duration::from_secs(600);

/// The logs of all apps.
pub(crate) struct Logs {
    dir: Option<Dir>,
    apps: Mutex<Apps>,
    /// The bytes of the lines in memory.
    held: AtomicUsize,
    /// When it was last said that lines cannot be written down.
    warned: Mutex<Option<Instant>>,
}

/// The directory; nobody else writes into it.
struct Dir {
    path: PathBuf,
    _lock: Lock,
}

#[derive(Default)]
struct Apps {
    by_id: HashMap<String, (Arc<AppLog>, u64)>,
    /// How often one was asked for.
    clock: u64,
}

/// The log of an app.
pub(crate) struct AppLog {
    id: String,
    /// There are further lines.
    pub(crate) lines: Notify,
    /// Something else may have happened that the app's log tells of.
    pub(crate) changed: Notify,
    /// How often it did.
    changes: AtomicU64,
    /// The app was destroyed.
    gone: AtomicBool,
    /// When the app was last known to be there.
    known: Mutex<Option<Instant>>,
    writer: Mutex<Writer>,
    recent: Mutex<Recent>,
}

/// What is known to whoever writes.
#[derive(Default)]
struct Writer {
    /// Nothing is known before.
    opened: bool,
    /// The number of the next line.
    next: u64,
    /// The size of the file that is written to.
    size: u64,
    /// The last batch of each sender, and how many of its lines were kept.
    batches: BTreeMap<String, (u64, usize)>,
    lost: Option<Lost>,
}

/// Lines that could not be written down.
struct Lost {
    count: usize,
    since: i64,
}

/// The last lines.
#[derive(Default)]
struct Recent {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    /// Every line after this one is here; none before the log was opened.
    all_after: Option<u64>,
    /// The number of the first line since the log was opened.
    first: u64,
}

/// From whom lines come, so that they are kept once.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) sender: &'a str,
    pub(crate) number: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    /// Without a directory the last lines are kept in memory alone.
    ///
    /// # Errors
    /// The directory cannot be made or used, or another process has it.
    pub(crate) fn at(dir: Option<&Path>) -> io::Result<Self> {
        let dir = dir.map(Dir::take).transpose()?;
        Ok(Self { dir, apps: Mutex::default(), held: AtomicUsize::new(0), warned: Mutex::default() })
    }

    /// The log of an app; cheap, nothing of it is read yet.
    pub(crate) fn of(&self, app_id: &str) -> Arc<AppLog> {
        let mut apps = lock(&self.apps);
        apps.clock += 1;
        let clock = apps.clock;
        if let Some((log, used)) = apps.by_id.get_mut(app_id) {
            *used = clock;
            return Arc::clone(log);
        }
        if apps.by_id.len() >= APPS {
            self.forget_some(&mut apps);
        }
        let log = Arc::new(AppLog::new(app_id));
        apps.by_id.insert(app_id.to_owned(), (Arc::clone(&log), clock));
        log
    }

    /// The log of an app that was there a moment ago; none: that has to be looked up.
    pub(crate) fn known(&self, app_id: &str) -> Option<Arc<AppLog>> {
        let mut apps = lock(&self.apps);
        apps.clock += 1;
        let clock = apps.clock;
        let (log, used) = apps.by_id.get_mut(app_id)?;
        *used = clock;
        log.is_known().then(|| Arc::clone(log))
    }

    /// Forgets an eighth of those that nobody has at hand. (Who has one at hand got it under the same lock.)
    fn forget_some(&self, apps: &mut Apps) {
        let idle = |(log, used): &(Arc<AppLog>, u64)| (Arc::strong_count(log) == 1).then_some(*used);
        let mut used: Vec<u64> = apps.by_id.values().filter_map(idle).collect();
        used.sort_unstable();
        let Some(last) = used.get(APPS / 8).or(used.last()).copied() else { return };
        apps.by_id.retain(|_, entry| {
            let keep = idle(entry).is_none_or(|used| used > last);
            if !keep {
                self.held.fetch_sub(lock(&entry.0.recent).bytes, Ordering::Relaxed);
            }
            keep
        });
    }

    /// Wakes those who tell of what happens to an app.
    pub(crate) fn tell_changed(&self, app_id: &str) {
        if let Some((log, _)) = lock(&self.apps).by_id.get(app_id) {
            log.tell_changed();
        }
    }

    /// The same for every app.
    pub(crate) fn tell_all_changed(&self) {
        lock(&self.apps).by_id.values().for_each(|(log, _)| log.tell_changed());
    }

    /// Forgets the log of an app that was destroyed.
    pub(crate) async fn remove(self: &Arc<Self>, app_id: &str) {
        let (logs, log) = (Arc::clone(self), self.of(app_id));
        in_thread(move || {
            let _writer = lock(&log.writer);
            log.gone.store(true, Ordering::Relaxed);
            if let Some(dir) = &logs.dir {
                Files::of(&dir.path, &log.id).remove();
            }
            logs.held.fetch_sub(std::mem::take(&mut *lock(&log.recent)).bytes, Ordering::Relaxed);
            log.lines.notify_waiters();
            log.tell_changed();
        })
        .await;
    }

    /// Adds what the platform says of an app now. Whatever happens to the disk, this does not fail.
    pub(crate) async fn append(self: &Arc<Self>, app_id: &str, source: LogSource, process: &str, text: &str) {
        self.append_all(app_id, Said::now(source, process, text)).await;
    }

    /// Adds lines.
    pub(crate) async fn append_all(self: &Arc<Self>, app_id: &str, said: Vec<Said>) {
        let (logs, log) = (Arc::clone(self), self.of(app_id));
        in_thread(move || logs.write(&log, None, said)).await;
    }

    /// Adds lines of a batch to the logs of several apps; those that were kept of it already are not kept again.
    pub(crate) async fn take(
        self: &Arc<Self>,
        sender: String,
        number: u64,
        all: Vec<(Arc<AppLog>, Vec<Said>)>,
    ) {
        let logs = Arc::clone(self);
        in_thread(move || {
            for (log, said) in all {
                logs.write(&log, Some(Batch { sender: &sender, number }), said);
            }
        })
        .await;
    }

    /// May wait for the disk.
    fn write(&self, log: &AppLog, batch: Option<Batch<'_>>, mut said: Vec<Said>) {
        let mut writer = lock(&log.writer);
        self.open(log, &mut writer);
        if log.gone.load(Ordering::Relaxed) {
            return;
        }
        let known = batch.map_or(0, |batch| writer.kept_of(batch)).min(said.len());
        said.drain(..known);
        if said.is_empty() {
            return;
        }
        let count = said.len();
        let written = self.put(log, &mut writer, batch.map(|batch| (batch, known)), &said);
        if let Some(Batch { sender, number }) = batch {
            writer.note(sender, number, known + count);
        }
        self.heed(log, &mut writer, count, written);
        drop(writer);
        log.lines.notify_waiters();
        self.shed();
    }

    /// Reads what is there of a log when it is written to for the first time, or asked for.
    fn open(&self, log: &AppLog, writer: &mut Writer) {
        if writer.opened {
            return;
        }
        writer.opened = true;
        let mut last = 0;
        if let Some(files) = self.files(log) {
            let read = files.mend().and_then(|size| Ok((size, files.open()?.read()?)));
            match read {
                Ok((size, content)) => {
                    writer.size = size;
                    last = writer.recall(&content);
                }
                Err(error) => tracing::error!(app = log.id, %error, "the log of an app cannot be read"),
            }
        }
        writer.next = (last + 1).max(u64::try_from(clock::now_micros()).unwrap_or(0));
        let mut recent = lock(&log.recent);
        recent.first = writer.next;
        recent.all_after = Some(if self.dir.is_some() { writer.next - 1 } else { 0 });
    }

    fn files(&self, log: &AppLog) -> Option<Files> {
        self.dir.as_ref().map(|dir| Files::of(&dir.path, &log.id))
    }

    /// Writes lines down and has them in memory, whether that succeeds or not.
    fn put(
        &self,
        log: &AppLog,
        writer: &mut Writer,
        batch: Option<(Batch<'_>, usize)>,
        said: &[Said],
    ) -> io::Result<()> {
        let lines: Vec<Arc<Line>> = said.iter().map(|said| Arc::new(writer.number(said))).collect();
        let written = match (&self.dir, self.files(log)) {
            (Some(dir), Some(files)) => {
                file::require_room(&dir.path).and_then(|()| put_down(&files, &mut writer.size, batch, &lines))
            }
            _ => Ok(()),
        };
        self.remember(log, lines);
        written
    }

    fn remember(&self, log: &AppLog, lines: Vec<Arc<Line>>) {
        let mut recent = lock(&log.recent);
        let before = recent.bytes;
        recent.extend(lines);
        let after = recent.bytes;
        self.held.fetch_add(after, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
    }

    /// Says that lines are lost, once, and how many there were when that is over.
    fn heed(&self, log: &AppLog, writer: &mut Writer, count: usize, written: io::Result<()>) {
        match written {
            Ok(()) => {
                if let Some(Lost { count, since }) = writer.lost.take() {
                    let since = clock::rfc3339_of_micros(since);
                    let text = format!(
                        "Error L15 (Tail buffer temporarily unavailable): {count} lines since {since} were not \
                         written down"
                    );
                    let _ = self.put(log, writer, None, &Said::now(LogSource::Heroku, LOGPLEX, &text));
                }
            }
            Err(error) => {
                let mut warned = lock(&self.warned);
                if warned.is_none_or(|warned| warned.elapsed() >= WARN_AGAIN) {
                    *warned = Some(Instant::now());
                    tracing::warn!(%error, "lines of logs cannot be written down and are lost");
                }
                drop(warned);
                match &mut writer.lost {
                    Some(lost) => lost.count += count,
                    None => {
                        writer.lost = Some(Lost { count, since: clock::now_micros() });
                        let text = "Error L15 (Tail buffer temporarily unavailable): the disk of the logs takes \
                                    no more lines";
                        let said = Said::now(LogSource::Heroku, LOGPLEX, text);
                        let lines = said.iter().map(|said| Arc::new(writer.number(said))).collect();
                        self.remember(log, lines);
                    }
                }
            }
        }
    }

    /// Forgets lines in memory where there are too many, those of apps that nobody used for long first.
    fn shed(&self) {
        if self.held.load(Ordering::Relaxed) <= RECENT_IN_ALL {
            return;
        }
        let apps = lock(&self.apps);
        let mut all: Vec<_> = apps.by_id.values().collect();
        all.sort_unstable_by_key(|(_, used)| *used);
        for (log, _) in all {
            if self.held.load(Ordering::Relaxed) <= RECENT_IN_ALL / 8 * 7 {
                break;
            }
            self.held.fetch_sub(lock(&log.recent).forget(), Ordering::Relaxed);
        }
    }

    /// The last `count` lines that are wanted, and the number of the last of all.
    pub(crate) async fn latest(
        self: &Arc<Self>,
        log: &Arc<AppLog>,
        wanted: &Wanted,
        count: usize,
    ) -> (u64, Vec<Arc<Line>>) {
        let (logs, log, wanted) = (Arc::clone(self), Arc::clone(log), wanted.clone());
        in_thread(move || logs.last(&log, &wanted, count)).await.unwrap_or_default()
    }

    /// May wait for the disk.
    fn last(&self, log: &AppLog, wanted: &Wanted, count: usize) -> (u64, Vec<Arc<Line>>) {
        self.open(log, &mut lock(&log.writer));
        let (last, before, mut lines) = {
            let recent = lock(&log.recent);
            let before = recent.all_after.unwrap_or(0);
            let last = recent.lines.back().map_or(before, |line| line.seq);
            let is_wanted = |line: &&Arc<Line>| wanted.has_line(line);
            let lines: Vec<_> = recent.lines.iter().rev().filter(is_wanted).take(count).cloned().collect();
            (last, before, lines)
        };
        if lines.len() < count && before > 0 {
            let left = count - lines.len();
            let older = self.read(log, |content| {
                let older = content.lines_backwards().filter(|line| line.seq <= before);
                older.filter(|line| wanted.has_line(line)).take(left).map(Arc::new).collect()
            });
            lines.extend(older);
        }
        lines.reverse();
        (last, lines)
    }

    /// The next lines after one, wanted or not: at most `count`, and none at the end.
    pub(crate) async fn after(self: &Arc<Self>, log: &Arc<AppLog>, seq: u64, count: usize) -> Vec<Arc<Line>> {
        if let Some(lines) = lock(&log.recent).after(seq, count) {
            return lines;
        }
        let (logs, log) = (Arc::clone(self), Arc::clone(log));
        in_thread(move || logs.next(&log, seq, count)).await.unwrap_or_default()
    }

    /// May wait for the disk.
    fn next(&self, log: &AppLog, seq: u64, count: usize) -> Vec<Arc<Line>> {
        self.open(log, &mut lock(&log.writer));
        let (before, recent) = {
            let recent = lock(&log.recent);
            let before = recent.all_after.unwrap_or(0);
            (before, recent.after(seq.max(before), count).unwrap_or_default())
        };
        if before <= seq {
            return recent;
        }
        let mut lines = self.read(log, |content| {
            let older = content.lines_backwards().skip_while(|line| line.seq > before);
            let mut older: Vec<_> = older.take_while(|line| line.seq > seq).map(Arc::new).collect();
            older.reverse();
            older
        });
        lines.extend(recent);
        lines.truncate(count);
        lines
    }

    /// The lines after one that a reader of at most `most` gets: the newest; also how many it does not get.
    pub(crate) async fn newest_after(
        self: &Arc<Self>,
        log: &Arc<AppLog>,
        seq: u64,
        most: usize,
    ) -> (u64, Vec<Arc<Line>>) {
        let mut lines = self.after(log, seq, usize::MAX).await;
        let surplus = lines.len().saturating_sub(most);
        lines.drain(..surplus);
        let Some(last) = lines.last() else { return (0, lines) };
        // Since a log was opened its numbers are without gaps.
        let first = lock(&log.recent).first;
        let there = last.seq.saturating_sub(seq.max(first.saturating_sub(1)));
        (there.saturating_sub(lines.len() as u64).max(surplus as u64), lines)
    }

    /// Reads the files of a log; while that goes on, it can be written to.
    fn read(&self, log: &AppLog, choose: impl FnOnce(&Content) -> Vec<Arc<Line>>) -> Vec<Arc<Line>> {
        let Some(files) = self.files(log) else { return Vec::new() };
        let opened = {
            let _writer = lock(&log.writer);
            files.open()
        };
        match opened.and_then(Opened::read) {
            Ok(content) => choose(&content),
            Err(error) => {
                tracing::error!(app = log.id, %error, "the log of an app cannot be read");
                Vec::new()
            }
        }
    }

    /// The ids of the apps of which there are files.
    pub(crate) async fn on_disk(self: &Arc<Self>) -> Vec<String> {
        let logs = Arc::clone(self);
        let names = in_thread(move || {
            let entries = std::fs::read_dir(&logs.dir.as_ref()?.path).ok()?;
            let id =
                |name: String| name.strip_suffix(".log").or(name.strip_suffix(".old")).map(str::to_owned);
            let ids = entries.flatten().filter_map(|entry| id(entry.file_name().into_string().ok()?));
            Some(ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
        });
        names.await.flatten().unwrap_or_default()
    }
}

/// Writes lines down, and begins another file whenever one is large enough.
fn put_down(
    files: &Files,
    size: &mut u64,
    batch: Option<(Batch<'_>, usize)>,
    lines: &[Arc<Line>],
) -> io::Result<()> {
    let mut rest = lines;
    while !rest.is_empty() {
        if *size >= SEGMENT {
            files.rotate()?;
            *size = 0;
        }
        let mut records = String::new();
        match batch {
            Some((Batch { sender, number }, first)) => {
                file::mark(&mut records, sender, number, first + lines.len() - rest.len());
            }
            None => file::mark_none(&mut records),
        }
        let mut count = 0;
        while count < rest.len() && (count == 0 || *size + (records.len() as u64) < SEGMENT) {
            file::record(&mut records, &rest[count]);
            count += 1;
        }
        *size = files.append(&records)?;
        rest = &rest[count..];
    }
    Ok(())
}

/// Does what may wait for the disk. None: it panicked, which is said elsewhere.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl Dir {
    fn take(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = Lock::try_take(&path.join("lock")).map_err(io::Error::other)?;
        let lock = lock.ok_or_else(|| io::Error::other("another openruko-api uses it"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl AppLog {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            lines: Notify::new(),
            changed: Notify::new(),
            changes: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            known: Mutex::default(),
            writer: Mutex::default(),
            recent: Mutex::default(),
        }
    }

    fn tell_changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// A number that rises with what else happened.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Whether its app was there a moment ago.
    fn is_known(&self) -> bool {
        let known = lock(&self.known).is_some_and(|since| since.elapsed() < KNOWN);
        known && !self.gone.load(Ordering::Relaxed)
    }

    /// Its app is there.
    pub(crate) fn is_there(&self) {
        *lock(&self.known) = Some(Instant::now());
    }
}

impl Writer {
    /// The next line.
    fn number(&mut self, said: &Said) -> Line {
        let line = Line::new(self.next, said);
        self.next += 1;
        line
    }

    /// How many lines of a batch were kept already.
    fn kept_of(&self, batch: Batch<'_>) -> usize {
        match self.batches.get(batch.sender) {
            Some((last, _)) if *last > batch.number => usize::MAX,
            Some((last, kept)) if *last == batch.number => *kept,
            _ => 0,
        }
    }

    fn note(&mut self, sender: &str, batch: u64, kept: usize) {
        self.batches.insert(sender.to_owned(), (batch, kept));
        if self.batches.len() > SENDERS {
            // Senders are ULIDs: the first is the oldest.
            self.batches.pop_first();
        }
    }

    /// Learns from its files of which batches there is how much, and gives the number of the last line.
    fn recall(&mut self, content: &Content) -> u64 {
        let (mut last, mut open) = (0, None);
        for record in content.records() {
            match (record, &mut open) {
                (Record::Batch { sender, batch, first }, open) => {
                    self.note(sender, batch, first);
                    *open = Some((sender.to_owned(), batch, first));
                }
                (Record::NoBatch, open) => *open = None,
                (Record::Line(line), Some((sender, batch, kept))) => {
                    last = last.max(line.seq);
                    *kept += 1;
                    self.batches.insert(sender.clone(), (*batch, *kept));
                }
                (Record::Line(line), None) => last = last.max(line.seq),
            }
        }
        last
    }
}

impl Recent {
    fn extend(&mut self, lines: Vec<Arc<Line>>) {
        for line in lines {
            self.bytes += line.size();
            self.lines.push_back(line);
        }
        while self.lines.len() > RECENT || self.bytes > RECENT_BYTES {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.size();
            self.all_after = Some(line.seq);
        }
    }

    /// Forgets every line; gives how many bytes they had.
    fn forget(&mut self) -> usize {
        self.all_after = self.lines.back().map(|line| line.seq).or(self.all_after);
        self.lines.clear();
        std::mem::take(&mut self.bytes)
    }

    /// The next lines after one; none if they may not all be here.
    fn after(&self, seq: u64, count: usize) -> Option<Vec<Arc<Line>>> {
        if self.all_after? > seq {
            return None;
        }
        let first = self.lines.partition_point(|line| line.seq <= seq);
        Some(self.lines.iter().skip(first).take(count).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const APP: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    const SENDER: &str = "01BX5ZZKBKACTAV9WEVGEMMVRY";

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn at(dir: &TempDir) -> Arc<Logs> {
        Arc::new(Logs::at(Some(dir.path())).unwrap())
    }

    fn said(process: &str, text: &str) -> Said {
        Said::all(clock::now_micros(), LogSource::App, process, text).remove(0)
    }

    fn numbered(from: usize, to: usize) -> Vec<Said> {
        (from..to).map(|n| said("web.1", &n.to_string())).collect()
    }

    fn texts(lines: &[Arc<Line>]) -> Vec<String> {
        lines.iter().map(|line| line.text().to_owned()).collect()
    }

    fn take(logs: &Arc<Logs>, batch: u64, said: Vec<Said>) {
        run(logs.take(SENDER.to_owned(), batch, vec![(logs.of(APP), said)]));
    }

    fn latest(logs: &Arc<Logs>, count: usize) -> Vec<String> {
        texts(&run(logs.latest(&logs.of(APP), &Wanted::default(), count)).1)
    }

    /// Everything after a line, a few at a time.
    fn rest(logs: &Arc<Logs>, mut seq: u64) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let lines = run(logs.after(&logs.of(APP), seq, 7));
            let Some(last) = lines.last() else { return all };
            assert!(lines.iter().all(|line| line.seq > seq));
            seq = last.seq;
            all.extend(texts(&lines));
        }
    }

    #[test]
    fn lines_are_there_after_a_restart_and_numbers_go_on_rising() {
        let dir = tempfile::tempdir().unwrap();
        let mut last = 0;
        for round in 0..3 {
            let logs = at(&dir);
            run(logs.append(APP, LogSource::Heroku, "web.1", &format!("round {round}")));
            let log = logs.of(APP);
            let (seq, lines) = run(logs.latest(&log, &Wanted::default(), 10));
            assert_eq!(lines.len(), round + 1);
            assert_eq!(lines[0].text(), "round 0");
            assert!(seq > last && lines.is_sorted_by_key(|line| line.seq));
            last = seq;
        }
    }

    #[test]
    fn a_batch_that_comes_again_is_kept_once_even_after_a_restart_in_the_middle_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        take(&logs, 1, numbered(0, 5));
        take(&logs, 2, numbered(5, 9));
        take(&logs, 2, numbered(5, 9));
        take(&logs, 1, numbered(0, 5));
        assert_eq!(rest(&logs, 0), (0..9).map(|n| n.to_string()).collect::<Vec<_>>());
        drop(logs);

        // The end of the last batch did not make it, and half a line of it did.
        let path = dir.path().join(format!("{APP}.log"));
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: Vec<&str> = text.split_inclusive('\n').collect();
        let torn = whole[..whole.len() - 2].concat() + &whole[whole.len() - 2][..20];
        std::fs::write(&path, torn).unwrap();
        let logs = at(&dir);
        run(logs.append(APP, LogSource::Heroku, "web.1", "between"));
        take(&logs, 2, numbered(5, 9));
        take(&logs, 2, numbered(5, 9));
        take(&logs, 3, numbered(9, 10));
        assert_eq!(rest(&logs, 0), ["0", "1", "2", "3", "4", "5", "6", "between", "7", "8", "9"]);
    }

    #[test]
    fn files_are_bounded_and_the_last_lines_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        let long = "x".repeat(3000);
        for batch in 0..40 {
            let lines = (0..100).map(|n| said("web.1", &format!("{} {long}", batch * 100 + n))).collect();
            take(&logs, batch, lines);
        }
        for name in ["log", "old"] {
            let size = std::fs::metadata(dir.path().join(format!("{APP}.{name}"))).unwrap().len();
            assert!(size < SEGMENT + 10_000, "{name} has {size} bytes");
        }
        let check = |logs: &Arc<Logs>| {
            let lines = latest(logs, 600);
            assert_eq!(lines.len(), 600);
            assert!(lines[0].starts_with("3400 ") && lines[599].starts_with("3999 "));
            take(logs, 39, vec![said("web.1", "again"); 100]);
            assert!(latest(logs, 1)[0].starts_with("3999 "), "it was kept already");
        };
        check(&logs);
        drop(logs);
        check(&at(&dir));
    }

    #[test]
    fn what_is_wanted_is_counted_and_not_what_is_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        take(&logs, 1, (0..20).map(|n| said("worker.1", &n.to_string())).collect());
        take(&logs, 2, (0..5000).map(|n| said("web.1", &n.to_string())).collect());
        let wanted = Wanted { dyno: Some("worker".into()), source: None };
        let (_, lines) = run(logs.latest(&logs.of(APP), &wanted, 5));
        assert_eq!(texts(&lines), ["15", "16", "17", "18", "19"]);
        assert_eq!(latest(&logs, 3000).len(), 3000);
        assert_eq!(latest(&logs, 0).len(), 0);
    }

    #[test]
    fn a_log_goes_with_its_app_and_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        take(&logs, 1, numbered(0, 5));
        assert_eq!(run(logs.on_disk()), [APP]);
        let log = logs.of(APP);
        run(logs.remove(APP));
        assert_eq!(run(logs.on_disk()), Vec::<String>::new());
        take(&logs, 2, numbered(5, 9));
        assert_eq!(run(logs.on_disk()), Vec::<String>::new());
        assert!(!log.is_known() && run(logs.after(&log, 0, 10)).is_empty());
    }

    #[test]
    fn only_readers_of_an_app_wake_for_its_lines() {
        let logs = Arc::new(Logs::at(None).unwrap());
        let (one, other) = (logs.of(APP), logs.of("01ARZ3NDEKTSV4RRFFQ69G5FAW"));
        run(async {
            let mut of_one = std::pin::pin!(one.lines.notified());
            let mut of_other = std::pin::pin!(other.lines.notified());
            let mut changed = std::pin::pin!(one.changed.notified());
            of_one.as_mut().enable();
            of_other.as_mut().enable();
            changed.as_mut().enable();
            logs.append(APP, LogSource::App, "api", "said").await;
            assert!(of_one.now_or_never().is_some());
            assert!(of_other.as_mut().now_or_never().is_none());
            assert!(changed.as_mut().now_or_never().is_none());
            logs.tell_changed(APP);
            assert!(changed.now_or_never().is_some() && of_other.now_or_never().is_none());
        });
    }

    #[test]
    fn a_reader_of_the_newest_lines_is_told_how_many_it_does_not_get() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        let log = logs.of(APP);
        take(&logs, 1, numbered(0, 10));
        let (before, _) = run(logs.latest(&log, &Wanted::default(), 0));
        take(&logs, 2, numbered(10, 20));
        for batch in 3..23 {
            take(&logs, batch, numbered(20, 1020));
        }
        let (missed, lines) = run(logs.newest_after(&log, before, 100));
        assert_eq!((missed, lines.len()), (10 + 20_000 - 100, 100));
        let (missed, lines) = run(logs.newest_after(&log, lines[97].seq, 100));
        assert_eq!((missed, texts(&lines)), (0, vec!["1018".to_owned(), "1019".to_owned()]));
        assert_eq!(run(logs.newest_after(&log, lines[1].seq, 100)).1.len(), 0);
    }

    #[test]
    fn a_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        let Err(refused) = Logs::at(Some(dir.path())) else { panic!("it has two") };
        assert!(refused.to_string().contains("another openruko-api"), "{refused}");
        drop(logs);
        at(&dir);
    }

    #[test]
    fn without_a_directory_the_last_lines_are_kept() {
        let logs = Arc::new(Logs::at(None).unwrap());
        take(&logs, 1, numbered(0, 2000));
        assert_eq!(latest(&logs, 5000).len(), RECENT);
        assert_eq!(rest(&logs, 0).len(), RECENT);
        take(&logs, 1, numbered(0, 2000));
        assert_eq!(latest(&logs, 1), ["1999"]);
    }

    #[test]
    fn memory_is_bounded_over_all_apps_and_the_files_have_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        let long = "x".repeat(10_000);
        let id = |n: u32| format!("01ARZ3NDEKTSV4RRFFQ69{n:05}");
        for n in 0..60 {
            let lines = (0..200).map(|line| said("web.1", &format!("{line} {long}"))).collect();
            run(logs.append_all(&id(n), lines));
        }
        assert!(logs.held.load(Ordering::Relaxed) <= RECENT_IN_ALL);
        let sum: usize = lock(&logs.apps).by_id.values().map(|(log, _)| lock(&log.recent).bytes).sum();
        assert_eq!(logs.held.load(Ordering::Relaxed), sum);
        let (_, lines) = run(logs.latest(&logs.of(&id(0)), &Wanted::default(), 200));
        assert_eq!(lines.len(), 200);
    }

    #[test]
    fn of_ten_thousands_of_apps_only_some_are_known_and_no_file_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        let id = |n: usize| format!("01ARZ3NDEKTSV4RRFFQ6{n:06}");
        let held = logs.of(&id(0));
        run(logs.append(&id(1), LogSource::App, "api", "kept"));
        for n in 2..APPS + 10 {
            logs.of(&id(n));
        }
        let known = lock(&logs.apps).by_id.len();
        assert!(known <= APPS - APPS / 8 + 10, "{known}");
        assert!(Arc::ptr_eq(&held, &logs.of(&id(0))), "it is in use");
        assert!(run(logs.latest(&logs.of(&id(1)), &Wanted::default(), 1)).1[0].text() == "kept");
        let here = dir.path().canonicalize().unwrap();
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let open =
            open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).filter(|at| at.starts_with(&here));
        assert_eq!(open.count(), 1, "the lock");
    }

    #[test]
    fn lines_that_cannot_be_written_are_told_of_once_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let logs = at(&dir);
        take(&logs, 1, numbered(0, 2));
        // Nobody can write into a directory.
        let path = dir.path().join(format!("{APP}.log"));
        let aside = dir.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        std::fs::create_dir(&path).unwrap();
        take(&logs, 2, numbered(2, 4));
        take(&logs, 3, numbered(4, 6));
        let lines = latest(&logs, 20);
        assert_eq!((lines.len(), &lines[..4]), (7, &["0", "1", "2", "3"].map(str::to_owned)[..]));
        assert!(lines[4].starts_with("Error L15"), "{lines:?}");
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        take(&logs, 4, numbered(6, 7));
        drop(logs);
        let lines = latest(&at(&dir), 20);
        assert_eq!(&lines[..3], ["0", "1", "6"]);
        assert!(lines[3].starts_with("Error L15") && lines[3].contains("4 lines since"), "{lines:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn whatever_is_sent_twice_or_torn_every_line_is_there_once_and_in_order(
            steps in prop::collection::vec((1_usize..40, 0_u8..4, 0_usize..200), 1..25)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut logs = Some(at(&dir));
            let mut sent = 0;
            for (batch, (count, step, torn)) in (1..).zip(steps) {
                let lines = numbered(sent, sent + count);
                take(logs.as_ref().unwrap(), batch, lines.clone());
                if step == 1 {
                    logs = None;
                    // What a kill in the middle of the write may leave.
                    let path = dir.path().join(format!("{APP}.log"));
                    let bytes = std::fs::read(&path).unwrap();
                    let mark = format!("# {SENDER} {batch} 0\n");
                    let begin = bytes.windows(mark.len()).rposition(|w| w == mark.as_bytes()).unwrap();
                    std::fs::write(&path, &bytes[..(begin + torn).min(bytes.len())]).unwrap();
                } else if step == 2 {
                    logs = None;
                }
                let logs = logs.get_or_insert_with(|| at(&dir));
                if step > 0 {
                    take(logs, batch, lines);
                }
                sent += count;
            }
            let logs = logs.unwrap();
            let expected: Vec<String> = (0..sent).map(|n| n.to_string()).collect();
            prop_assert_eq!(&rest(&logs, 0), &expected);
            prop_assert_eq!(&latest(&logs, sent), &expected);
        }
    }
}
