//! The log of an app: lines of several sources, in the order of time.
//!
//! A reader has a position in each source ([`Position`]). So nothing is lost or told twice when it comes back
//! with the last one it saw, whatever happened in which source in between, and a further source is one more
//! field. The sources that there are: releases, and the beginnings and ends of builds, which the database tells of,
//! and the lines that are kept ([`store`]): what dynos, the router and builds say, and what the platform says of them.
//!
//! What is read at a time is told in the order of time, but lines of one process always as they came. An entry ends
//! where of each source everything up to a place was told, so that its position says exactly that.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ruko_api_types::BuildStatus;
use ruko_api_types::log::LogSource;
use ruko_core::PushId;
use ruko_core::exit::one_line;

use sqlx::AnyConnection;

use crate::api::Api;
use crate::clock::{self, Millis};
use crate::store::pushes::PushRow;
use crate::store::releases::ReleaseRow;
use crate::store::{Sql, apps, pushes, releases};

pub(crate) mod build_lines;
pub(crate) mod drains;
mod file;
pub(crate) mod line;
mod store;

pub(crate) use line::Line;
use line::Said;
pub(crate) use store::{AppLog, Logs};

/// What is read at a time of each source in the database.
const PAGE: u32 = 500;

/// Of the last so many pushes at least one has ended, if any has: those before the open one, and fewer wait.
const PUSHES: u32 = 25;

/// The lines that are read at a time.
const LINES: usize = 1500;

/// An entry has so many lines or a few more.
const ENTRY: usize = 100;

/// Where a reader is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last release it was told of.
    release: u64,
    /// The last push of whose beginning it was told.
    begun: Option<PushId>,
    /// The last push of whose end it was told.
    ended: Option<PushId>,
    /// The last line it was told.
    line: u64,
}

impl Position {
    fn is_before(&self, step: &Step) -> bool {
        match step {
            Step::Release(version) => self.release < *version,
            Step::Begun(push) => self.begun.as_ref() < Some(push),
            Step::Ended(push) => self.ended.as_ref() < Some(push),
            Step::Line(seq) => self.line < *seq,
        }
    }

    /// Moves on to a step, if it is after where it was.
    fn reach(&mut self, step: Step) {
        if !self.is_before(&step) {
            return;
        }
        match step {
            Step::Release(version) => self.release = version,
            Step::Begun(push) => self.begun = Some(push),
            Step::Ended(push) => self.ended = Some(push),
            Step::Line(seq) => self.line = seq,
        }
    }

    /// The push before the first of which it was not told everything. An app has one open push at a time, so
    /// that they end in the order in which they began.
    fn pushes(&self) -> Option<&PushId> {
        self.begun.as_ref().min(self.ended.as_ref())
    }
}

/// The form of an event's id: `7.01J…Z.-.1795381402099000`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |push: &'_ Option<PushId>| push.as_ref().map_or("-".to_owned(), PushId::to_string);
        write!(f, "{}.{}.{}.{}", self.release, shown(&self.begun), shown(&self.ended), self.line)
    }
}

/// It is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(raw: &str) -> Result<Self, NoPosition> {
        let parts: Vec<&str> = raw.split('.').collect();
        let [release, begun, ended, line] = parts[..] else { return Err(NoPosition) };
        let push = |raw: &str| match raw {
            "-" => Ok(None),
            id => id.parse().map(Some).map_err(|_| NoPosition),
        };
        let number = |raw: &str| raw.parse().map_err(|_| NoPosition);
        Ok(Self { release: number(release)?, begun: push(begun)?, ended: push(ended)?, line: number(line)? })
    }
}

/// One step in one source. Those of one source are in its order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Release(u64),
    Begun(PushId),
    Ended(PushId),
    Line(u64),
}

impl Step {
    /// Of which source it is.
    fn source(&self) -> usize {
        match self {
            Self::Release(_) => 0,
            Self::Begun(_) => 1,
            Self::Ended(_) => 2,
            Self::Line(_) => 3,
        }
    }
}

const SOURCES: usize = 4;

/// What is told at once, and where a reader is after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) lines: Vec<Arc<Line>>,
}

/// Something that happened, as yet without a place in the order. What is not told of has no lines.
struct Happening {
    /// In microseconds since 1970.
    at: i64,
    step: Step,
    lines: Vec<Arc<Line>>,
}

impl Happening {
    /// What the platform tells of itself.
    fn told(at: Millis, step: Step, texts: Vec<String>) -> Self {
        let at = at.saturating_mul(1000);
        let (source, process) = PLATFORM;
        let said = |text: String| Said { at, source, process: process.to_owned(), text: one_line(&text) };
        let lines = texts.into_iter().map(|text| Arc::new(Line::new(0, &said(text)))).collect();
        Self { at, step, lines }
    }

    fn kept(line: Arc<Line>) -> Self {
        Self { at: line.at, step: Step::Line(line.seq), lines: vec![line] }
    }

    /// What stays in the order in which it came, whatever the clocks said.
    fn stream(&self) -> (usize, String) {
        let line = self.lines.first().filter(|_| matches!(self.step, Step::Line(_)));
        let process = line.map(|line| format!("{}[{}]", line.source.as_str(), line.process()));
        (self.step.source(), process.unwrap_or_default())
    }
}

/// Which lines a reader wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// A dyno (`web.1`) or a process type (`web`).
    pub(crate) dyno: Option<String>,
    /// `app` or `heroku`.
    pub(crate) source: Option<String>,
}

impl Wanted {
    /// Whether lines of this dyno and source are meant.
    fn has(&self, source: &str, dyno: &str) -> bool {
        let of_source = self.source.as_ref().is_none_or(|wanted| wanted == source);
        let of_dyno = self.dyno.as_ref().is_none_or(|wanted| {
            dyno == wanted || dyno.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'))
        });
        of_source && of_dyno
    }

    fn has_line(&self, line: &Line) -> bool {
        self.has(line.source.as_str(), line.process())
    }
}

/// The source and dyno of what the platform itself says of an app, as on Heroku.
pub(crate) const PLATFORM: (LogSource, &str) = (LogSource::App, "api");

/// Who says what the platform has to say of logs, as on Heroku.
const LOGPLEX: &str = "logplex";

/// The last `count` lines that are wanted, and where a reader of them is.
pub(crate) async fn latest(
    api: &Api,
    log: &Arc<AppLog>,
    app_id: &str,
    wanted: &Wanted,
    count: usize,
) -> Sql<(Position, Vec<Entry>)> {
    let (last, lines) = api.logs.latest(log, wanted, count).await;
    // The last of each is needed even by those who want none, to know where they are.
    let told = if wanted.has(PLATFORM.0.as_str(), PLATFORM.1) { count } else { 0 };
    let limit = u32::try_from(told.max(1)).unwrap_or(u32::MAX);
    let mut db = api.store.read().await?;
    let releases = releases::of_app(&mut db, app_id, limit).await?;
    let pushes = pushes::of_app(&mut db, app_id, limit.max(PUSHES)).await?;
    drop(db);
    let mut position = Position::default();
    let mut entries = ordered(&mut position, of(releases, pushes, lines, clock::now()), wanted);
    position.line = last;
    let mut surplus = entries.iter().map(|entry| entry.lines.len()).sum::<usize>().saturating_sub(count);
    for entry in &mut entries {
        let fewer = surplus.min(entry.lines.len());
        entry.lines.drain(..fewer);
        surplus -= fewer;
    }
    entries.retain(|entry| !entry.lines.is_empty());
    if let Some(entry) = entries.last_mut() {
        entry.position = position.clone();
    }
    Ok((position, entries))
}

/// What happened after a position, which is moved on.
pub(crate) async fn after(
    api: &Api,
    log: &Arc<AppLog>,
    app_id: &str,
    wanted: &Wanted,
    position: &mut Position,
) -> Sql<Vec<Entry>> {
    let lines = api.logs.after(log, position.line, LINES).await;
    let mut db = api.store.read().await?;
    let releases = releases::after(&mut db, app_id, position.release, PAGE).await?;
    let pushes = pushes::after(&mut db, app_id, position.pushes(), PAGE).await?;
    Ok(ordered(position, of(releases, pushes, lines, clock::now()), wanted))
}

/// The lines that were kept after a position, which is moved on; what the database tells of is left for later.
/// Also whether there are any, wanted or not.
pub(crate) async fn lines_after(
    api: &Api,
    log: &Arc<AppLog>,
    wanted: &Wanted,
    position: &mut Position,
) -> (bool, Vec<Entry>) {
    let lines = api.logs.after(log, position.line, LINES).await;
    let any = !lines.is_empty();
    (any, ordered(position, of(Vec::new(), Vec::new(), lines, 0), wanted))
}

/// Where a reader is that has read everything up to a line and to this moment.
pub(crate) async fn place(db: &mut AnyConnection, app_id: &str, line: u64) -> Sql<Position> {
    let releases = releases::of_app(db, app_id, 1).await?;
    let pushes = pushes::of_app(db, app_id, PUSHES).await?;
    let mut position = Position::default();
    ordered(&mut position, of(releases, pushes, Vec::new(), clock::now()), &Wanted::default());
    Ok(Position { line, ..position })
}

/// Removes the logs of apps that are gone: one may have been written to as its app went, or another API destroyed it.
pub(crate) async fn tidy(api: &Api) -> Sql<()> {
    // First what there is: an app that is made meanwhile is among those that are looked up.
    let kept = api.logs.on_disk().await;
    let apps = apps::ids(&mut *api.store.read().await?).await?;
    for id in kept.iter().filter(|id| !apps.contains(*id)) {
        api.logs.remove(id).await;
    }
    Ok(())
}

fn of(releases: Vec<ReleaseRow>, pushes: Vec<PushRow>, lines: Vec<Arc<Line>>, now: Millis) -> Vec<Happening> {
    let pushes = pushes.iter().flat_map(|push| [begun(push, now), ended(push, now)]).flatten();
    let told = releases.into_iter().map(released).chain(pushes);
    told.chain(lines.into_iter().map(Happening::kept)).collect()
}

/// In the order of time, in entries with the position after each.
fn ordered(position: &mut Position, mut happenings: Vec<Happening>, wanted: &Wanted) -> Vec<Entry> {
    happenings.retain(|happening| position.is_before(&happening.step));
    happenings.sort_by(|one, other| one.step.cmp(&other.step));
    let mut streams = BTreeMap::new();
    let mut numbers = [0; SOURCES];
    let mut numbered = Vec::with_capacity(happenings.len());
    for happening in happenings {
        let at: &mut i64 = streams.entry(happening.stream()).or_insert(happening.at);
        *at = happening.at.max(*at);
        let number = &mut numbers[happening.step.source()];
        *number += 1;
        numbered.push((*at, *number, happening));
    }
    numbered.sort_by_key(|(at, ..)| *at);

    let mut entries = Vec::new();
    let mut lines = Vec::new();
    let (mut count, mut reached) = ([0; SOURCES], [0; SOURCES]);
    let left = numbered.len();
    for (told, (_, number, happening)) in (1..).zip(numbered) {
        let source = happening.step.source();
        count[source] += 1;
        reached[source] = number.max(reached[source]);
        position.reach(happening.step);
        lines.extend(happening.lines.into_iter().filter(|line| wanted.has_line(line)));
        let is_place = count == reached;
        if is_place && !lines.is_empty() && (lines.len() >= ENTRY || told == left) {
            entries.push(Entry { position: position.clone(), lines: std::mem::take(&mut lines) });
        }
    }
    entries
}

fn released(release: ReleaseRow) -> Happening {
    let ReleaseRow { version, description, user, created_at, .. } = release;
    let texts =
        vec![format!("{description} by user {user}"), format!("Release v{version} created by user {user}")];
    Happening::told(created_at, Step::Release(version), texts)
}

/// A push that made no release, and did not fail, built nothing: there is nothing to tell of it.
fn builds(push: &PushRow, now: Millis) -> bool {
    push.status(now) != BuildStatus::Succeeded || push.release.is_some()
}

/// None before it prints: it may be one that builds nothing.
fn begun(push: &PushRow, now: Millis) -> Option<Happening> {
    if push.status(now) == BuildStatus::Pending && push.output_bytes == 0 {
        return None;
    }
    let text = builds(push, now).then(|| format!("Build started by user {}", push.user));
    let step = Step::Begun(push.id.clone());
    Some(Happening::told(push.created_at, step, text.into_iter().collect()))
}

fn ended(push: &PushRow, now: Millis) -> Option<Happening> {
    let at = push.ended_at(now)?;
    let text = match push.status(now) {
        BuildStatus::Succeeded => "Build succeeded".to_owned(),
        _ => format!("Build failed: {}", push.reason(now).unwrap_or("its output says why")),
    };
    let texts = if builds(push, now) { vec![text] } else { Vec::new() };
    Some(Happening::told(at, Step::Ended(push.id.clone()), texts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn happening(at: Millis, step: Step) -> Happening {
        Happening::told(at, step, vec!["something".to_owned()])
    }

    fn line(at: Millis, seq: u64, process: &str) -> Happening {
        let said =
            Said { at: at * 1000, source: LogSource::App, process: process.into(), text: seq.to_string() };
        Happening::kept(Arc::new(Line::new(seq, &said)))
    }

    #[test]
    fn positions_survive_the_way_to_a_reader_and_back() {
        let push = PushId::generate();
        for position in [
            Position::default(),
            Position { release: 7, begun: Some(push.clone()), ended: None, line: 1 << 60 },
            Position { release: 0, begun: Some(push.clone()), ended: Some(push), line: 0 },
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for bad in ["", "7", "7.-.-", "x.-.-.0", "7.x.-.0", "7.-.-.-", "7.-.-.0.0", "-1.-.-.0"] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad}");
        }
    }

    fn texts(entries: &[Entry]) -> Vec<&str> {
        entries.iter().flat_map(|entry| &entry.lines).map(|line| line.text()).collect()
    }

    #[test]
    fn what_was_said_earlier_is_told_earlier_but_a_process_is_never_overtaken_by_itself() {
        let all = vec![
            line(10, 1, "web.1"),
            line(30, 2, "web.1"),
            // It came later, but was said before.
            line(20, 3, "router"),
            // Its clock was set back.
            line(5, 4, "web.1"),
            line(25, 5, "router"),
        ];
        let told = ordered(&mut Position::default(), all, &Wanted::default());
        assert_eq!(texts(&told), ["1", "3", "5", "2", "4"]);
    }

    proptest! {
        #[test]
        fn who_comes_back_is_told_the_rest_and_nothing_twice(
            times in prop::collection::vec((0_i64..50, 0_usize..3), 1..600)
        ) {
            let pushes: Vec<PushId> = (0..5).map(|_| PushId::generate()).collect();
            let all = || {
                let processes = ["web.1", "web.2", "router"];
                let lines = (1..).zip(&times).map(|(seq, (at, who))| line(*at, seq, processes[*who]));
                let pushes = (0..).zip(&pushes).flat_map(|(at, push)| {
                    let ended = happening(at * 10 + 5, Step::Ended(push.clone()));
                    [ended, happening(at * 10, Step::Begun(push.clone()))]
                });
                let releases = (0..5).map(|version| happening(45 - 9 * version, Step::Release(version as u64 + 1)));
                lines.chain(pushes).chain(releases).collect::<Vec<_>>()
            };
            let mut end = Position::default();
            let told = ordered(&mut end, all(), &Wanted::default());
            prop_assert_eq!(texts(&told).len(), times.len() + 15);
            prop_assert_eq!(&told.last().unwrap().position, &end);
            for (seen, entry) in told.iter().enumerate() {
                let mut position = entry.position.to_string().parse().unwrap();
                let rest = ordered(&mut position, all(), &Wanted::default());
                let (mut rest, mut left) = (texts(&rest), texts(&told[seen + 1..]));
                // In the order of what is told then: what was told before does not count.
                rest.sort_unstable();
                left.sort_unstable();
                prop_assert_eq!(rest, left);
            }
        }
    }

    #[test]
    fn a_reader_gets_the_lines_that_it_wants() {
        let wanted = |dyno: Option<&str>, source: Option<&str>| Wanted {
            dyno: dyno.map(str::to_owned),
            source: source.map(str::to_owned),
        };
        assert!(wanted(None, None).has("app", "api"));
        assert!(wanted(Some("web"), None).has("app", "web.1"));
        assert!(wanted(Some("web.1"), Some("app")).has("app", "web.1"));
        assert!(!wanted(Some("web.1"), None).has("app", "web.10"));
        assert!(!wanted(Some("web"), None).has("app", "webby.1"));
        assert!(!wanted(None, Some("heroku")).has("app", "api"));
    }
}
