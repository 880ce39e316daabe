//! The log of an app: lines of several sources, in the order of time.
//!
//! A reader has a position in each source ([`Position`]). So nothing is lost or told twice when it comes back
//! with the last one it saw, whatever happened in which source in between, and a further source is one more
//! field. The sources that there are: releases, and the beginnings and ends of builds.

use std::fmt;
use std::str::FromStr;

use ruko_api_types::BuildStatus;
use ruko_core::PushId;
use ruko_core::exit::one_line;
use sqlx::AnyConnection;

use crate::clock::{self, Millis};
use crate::store::pushes::PushRow;
use crate::store::releases::ReleaseRow;
use crate::store::{Sql, pushes, releases};

/// What is read of each source at a time.
const PAGE: usize = 500;

/// Where a reader is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last release it was told of.
    release: u64,
    /// The last push of whose beginning it was told.
    begun: Option<PushId>,
    /// The last push of whose end it was told.
    ended: Option<PushId>,
}

impl Position {
    fn is_before(&self, step: &Step) -> bool {
        match step {
            Step::Release(version) => self.release < *version,
            Step::Begun(push) => self.begun.as_ref() < Some(push),
            Step::Ended(push) => self.ended.as_ref() < Some(push),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Release(version) => self.release = version,
            Step::Begun(push) => self.begun = Some(push),
            Step::Ended(push) => self.ended = Some(push),
        }
    }

    /// The push before the first of which it was not told everything. An app has one open push at a time, so
    /// that they end in the order in which they began.
    fn pushes(&self) -> Option<&PushId> {
        self.begun.as_ref().min(self.ended.as_ref())
    }
}

/// The form of an event's id: `7.01J…Z.-`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |push: &'_ Option<PushId>| push.as_ref().map_or("-".to_owned(), PushId::to_string);
        write!(f, "{}.{}.{}", self.release, shown(&self.begun), shown(&self.ended))
    }
}

/// It is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(raw: &str) -> Result<Self, NoPosition> {
        let parts: Vec<&str> = raw.split('.').collect();
        let [release, begun, ended] = parts[..] else { return Err(NoPosition) };
        let push = |raw: &str| match raw {
            "-" => Ok(None),
            id => id.parse().map(Some).map_err(|_| NoPosition),
        };
        let release = release.parse().map_err(|_| NoPosition)?;
        Ok(Self { release, begun: push(begun)?, ended: push(ended)? })
    }
}

/// One step in one source.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Release(u64),
    Begun(PushId),
    Ended(PushId),
}

/// What is told at once, and where a reader is after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) lines: Vec<String>,
}

/// Something that happened, as yet without a place in the order. What is not told of has no texts.
struct Happening {
    at: Millis,
    step: Step,
    texts: Vec<String>,
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
}

/// The source and dyno of what the platform itself says of an app, as on Heroku.
const PLATFORM: (&str, &str) = ("app", "api");

/// The last `count` lines or a few more, and where a reader of them is.
pub(crate) async fn latest(
    db: &mut AnyConnection,
    app_id: &str,
    wanted: &Wanted,
    count: usize,
) -> Sql<(Position, Vec<Entry>)> {
    // The last of each is needed even by those who want none, to know where they are.
    let limit = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let releases = releases::of_app(db, app_id, limit).await?;
    let pushes = pushes::of_app(db, app_id, limit).await?;
    let mut position = Position::default();
    let mut entries = ordered(&mut position, of(releases, pushes, clock::now()), wanted);
    let mut lines = 0;
    let kept = entries.iter().rev().take_while(|entry| {
        let fits = lines < count;
        lines += entry.lines.len();
        fits
    });
    let old = entries.len() - kept.count();
    Ok((position, entries.split_off(old)))
}

/// What happened after a position, which is moved on.
pub(crate) async fn after(
    db: &mut AnyConnection,
    app_id: &str,
    wanted: &Wanted,
    position: &mut Position,
) -> Sql<Vec<Entry>> {
    let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
    let releases = releases::after(db, app_id, position.release, page).await?;
    let pushes = pushes::after(db, app_id, position.pushes(), page).await?;
    Ok(ordered(position, of(releases, pushes, clock::now()), wanted))
}

fn of(releases: Vec<ReleaseRow>, pushes: Vec<PushRow>, now: Millis) -> Vec<Happening> {
    let pushes = pushes.iter().flat_map(|push| [begun(push, now), ended(push, now)]).flatten();
    releases.into_iter().map(released).chain(pushes).collect()
}

/// In the order of time, each with the position after it.
fn ordered(position: &mut Position, mut happenings: Vec<Happening>, wanted: &Wanted) -> Vec<Entry> {
    happenings.retain(|happening| position.is_before(&happening.step));
    happenings.sort_by_key(|happening| happening.at);
    let mut entries = Vec::new();
    for Happening { at, step, texts } in happenings {
        position.take(step);
        if !texts.is_empty() && wanted.has(PLATFORM.0, PLATFORM.1) {
            let lines = texts.iter().map(|text| line(at, PLATFORM, text)).collect();
            entries.push(Entry { position: position.clone(), lines });
        }
    }
    entries
}

/// `2026-11-22T11:06:39.172000+00:00 app[api]: text`
fn line(at: Millis, (source, dyno): (&str, &str), text: &str) -> String {
    format!("{} {source}[{dyno}]: {}", clock::rfc3339_micros(at), one_line(text))
}

fn released(release: ReleaseRow) -> Happening {
    let ReleaseRow { version, description, user, created_at, .. } = release;
    Happening {
        at: created_at,
        step: Step::Release(version),
        texts: vec![
            format!("{description} by user {user}"),
            format!("Release v{version} created by user {user}"),
        ],
    }
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
    Some(Happening { at: push.created_at, step, texts: text.into_iter().collect() })
}

fn ended(push: &PushRow, now: Millis) -> Option<Happening> {
    let at = push.ended_at(now)?;
    let text = match push.status(now) {
        BuildStatus::Succeeded => "Build succeeded".to_owned(),
        _ => format!("Build failed: {}", push.reason(now).unwrap_or("its output says why")),
    };
    let texts = if builds(push, now) { vec![text] } else { Vec::new() };
    Some(Happening { at, step: Step::Ended(push.id.clone()), texts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(at: Millis, step: Step) -> Happening {
        Happening { at, step, texts: vec!["something".to_owned()] }
    }

    #[test]
    fn positions_survive_the_way_to_a_reader_and_back() {
        let push = PushId::generate();
        for position in [
            Position::default(),
            Position { release: 7, begun: Some(push.clone()), ended: None },
            Position { release: 0, begun: Some(push.clone()), ended: Some(push) },
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for bad in ["", "7", "7.-", "x.-.-", "7.x.-", "7.-.-.-", "-1.-.-"] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad}");
        }
    }

    #[test]
    fn who_comes_back_is_told_the_rest_and_nothing_twice() {
        let push = PushId::generate();
        let all = || {
            vec![
                happening(30, Step::Ended(push.clone())),
                happening(10, Step::Release(1)),
                happening(20, Step::Begun(push.clone())),
                happening(30, Step::Release(2)),
            ]
        };
        let told = ordered(&mut Position::default(), all(), &Wanted::default());
        assert_eq!(told.len(), 4);
        for (seen, entry) in told.iter().enumerate() {
            let mut position = entry.position.to_string().parse().unwrap();
            let rest = ordered(&mut position, all(), &Wanted::default());
            assert_eq!(rest, told[seen + 1..]);
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
