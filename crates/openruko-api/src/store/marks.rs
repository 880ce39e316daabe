//! Restarts and stops: of one dyno, of all of a type, or of all.

use std::collections::BTreeMap;

use ruko_core::ProcessType;
use sqlx::AnyConnection;

use super::{Sql, big, count, revisions};

/// What is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    All,
    Type(&'a ProcessType),
    Dyno(&'a ProcessType, u32),
}

impl Target<'_> {
    /// As the table has it.
    fn columns(self) -> (String, i64) {
        match self {
            Self::All => (String::new(), 0),
            Self::Type(process_type) => (process_type.to_string(), 0),
            Self::Dyno(process_type, number) => (process_type.to_string(), number.into()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    restarted: u64,
    stopped: u64,
    up_to_release: u64,
}

/// All of an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(BTreeMap<(String, i64), Mark>);

impl Marks {
    fn of(&self, process_type: &ProcessType, number: u32) -> impl Iterator<Item = Mark> {
        let all = [Target::All, Target::Type(process_type), Target::Dyno(process_type, number)];
        all.into_iter().filter_map(|target| self.0.get(&target.columns()).copied())
    }

    /// Rises with each restart.
    pub(crate) fn generation(&self, process_type: &ProcessType, number: u32) -> u64 {
        self.of(process_type, number).map(|mark| mark.restarted).max().unwrap_or(0)
    }

    /// Whether a dyno of this release was stopped, and not restarted since.
    pub(crate) fn is_stopped(&self, process_type: &ProcessType, number: u32, release: u64) -> bool {
        let restarted = self.generation(process_type, number);
        self.of(process_type, number).any(|mark| mark.stopped > restarted && release <= mark.up_to_release)
    }
}

pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str) -> Sql<Marks> {
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT type, number, restarted, stopped, up_to_release FROM dyno_marks WHERE app_id = $1",
    )
    .bind(app_id)
    .fetch_all(db)
    .await?;
    let mark = |(kind, number, restarted, stopped, up_to_release)| {
        let mark = Mark {
            restarted: count(restarted)?,
            stopped: count(stopped)?,
            up_to_release: count(up_to_release)?,
        };
        Ok(((kind, number), mark))
    };
    rows.into_iter().map(mark).collect::<Sql<_>>().map(Marks)
}

/// They are to be replaced, those that were stopped started.
pub(crate) async fn restart(db: &mut AnyConnection, app_id: &str, target: Target<'_>) -> Sql<()> {
    let revision = revisions::raise(db, app_id).await?;
    put(db, app_id, target, Mark { restarted: revision, stopped: 0, up_to_release: 0 }).await
}

/// They are not to run until they are restarted, their type is scaled, or a release later than this one is made.
pub(crate) async fn stop(
    db: &mut AnyConnection,
    app_id: &str,
    target: Target<'_>,
    up_to_release: u64,
) -> Sql<()> {
    let revision = revisions::raise(db, app_id).await?;
    put(db, app_id, target, Mark { restarted: 0, stopped: revision, up_to_release }).await
}

async fn put(db: &mut AnyConnection, app_id: &str, target: Target<'_>, mark: Mark) -> Sql<()> {
    let (kind, number) = target.columns();
    sqlx::query(
        "INSERT INTO dyno_marks (app_id, type, number, restarted, stopped, up_to_release) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (app_id, type, number) DO UPDATE SET \
         restarted = CASE WHEN excluded.restarted = 0 THEN dyno_marks.restarted ELSE excluded.restarted END, \
         stopped = excluded.stopped, up_to_release = excluded.up_to_release",
    )
    .bind(app_id)
    .bind(kind)
    .bind(number)
    .bind(big(mark.restarted)?)
    .bind(big(mark.stopped)?)
    .bind(big(mark.up_to_release)?)
    .execute(db)
    .await
    .map(drop)
}

/// No dyno of the type is stopped any more.
pub(crate) async fn start(db: &mut AnyConnection, app_id: &str, process_type: &ProcessType) -> Sql<()> {
    sqlx::query("UPDATE dyno_marks SET stopped = 0 WHERE app_id = $1 AND type = $2")
        .bind(app_id)
        .bind(process_type.as_str())
        .execute(db)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(all: &[(&str, i64, Mark)]) -> Marks {
        Marks(all.iter().map(|(kind, number, mark)| (((*kind).to_owned(), *number), *mark)).collect())
    }

    const fn restarted(revision: u64) -> Mark {
        Mark { restarted: revision, stopped: 0, up_to_release: 0 }
    }

    const fn stopped(revision: u64, up_to_release: u64) -> Mark {
        Mark { restarted: 0, stopped: revision, up_to_release }
    }

    #[test]
    fn the_latest_word_counts_wherever_it_was_said() {
        let web: ProcessType = "web".parse().unwrap();
        let worker: ProcessType = "worker".parse().unwrap();
        let all = marks(&[("", 0, restarted(5)), ("web", 0, restarted(3)), ("web", 2, restarted(9))]);
        assert_eq!((all.generation(&web, 1), all.generation(&web, 2)), (5, 9));
        assert_eq!((all.generation(&worker, 1), Marks::default().generation(&web, 1)), (5, 0));

        let all = marks(&[("web", 0, stopped(6, 7)), ("web", 2, restarted(8)), ("worker", 1, stopped(4, 7))]);
        assert!(all.is_stopped(&web, 1, 7) && !all.is_stopped(&web, 2, 7) && all.is_stopped(&worker, 1, 6));
        assert!(!all.is_stopped(&worker, 2, 7));
        assert!(!all.is_stopped(&web, 1, 8), "a later release starts them");
    }
}
