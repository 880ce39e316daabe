//! Waiting for what changes of apps: for the host and for the router.
//!
//! What is asked after is a revision ([`revisions`]): everything up to it was told. Whoever begins with nothing is
//! told of all apps, in pieces; as long as these go on, what is asked after carries a mark, since it matters to nobody
//! then that apps that went before it began are forgotten. One that goes meanwhile may have been told of already, and
//! is told of as gone.

use std::pin::pin;
use std::time::Duration;

use serde::Deserialize;
use sqlx::{Any, Transaction};
use tokio::time::Instant;

use super::pushes::MAX_WAIT;
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::store::apps::{self, AppRow};
use crate::store::{Sql, revisions};

/// The mark: whoever asks after this is being told of all apps.
const FROM_NOTHING: u64 = 1 << 62;

/// Apps that are told of at a time.
const APPS: usize = 200;

/// About so many bytes of config vars and certificates are told at a time.
const BYTES: usize = 8 << 20;

/// The query.
#[derive(Deserialize)]
pub(crate) struct Question {
    after: u64,
    #[serde(default)]
    wait_seconds: u64,
}

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct After {
    revision: u64,
    from_nothing: bool,
}

impl From<u64> for After {
    fn from(asked: u64) -> Self {
        let from_nothing = asked == 0 || asked & FROM_NOTHING != 0;
        Self { revision: asked & !FROM_NOTHING, from_nothing }
    }
}

impl After {
    /// What the next piece is asked after.
    fn next(self, revision: u64, more: bool) -> u64 {
        if more && self.from_nothing { revision | FROM_NOTHING } else { revision }
    }

    /// Whether it can be told what changed since.
    fn is_known(self, current: u64, forgotten: u64) -> bool {
        self.revision <= current && (self.from_nothing || self.revision >= forgotten)
    }
}

/// What changed, in one moment's view of the database: app by app, then where that ends.
pub(crate) struct Changes {
    /// To read from.
    pub(crate) db: Transaction<'static, Any>,
    after: After,
    current: u64,
    rows: std::vec::IntoIter<AppRow>,
    /// Apps that were given, bytes that they take, and the revision of the last.
    given: (usize, usize, u64),
}

/// Where what is told ends.
pub(crate) struct End {
    pub(crate) revision: u64,
    pub(crate) more: bool,
    pub(crate) gone: Vec<String>,
}

/// Waits until something changed, or until time is up: then nothing did.
pub(crate) async fn wait(api: &Api, asked: &Question) -> Answer<Changes> {
    let deadline = Instant::now() + Duration::from_secs(asked.wait_seconds.min(MAX_WAIT));
    let after = After::from(asked.after);
    loop {
        // Listened to from before the look, so that nothing that happens right after it is missed.
        let mut changed = pin!(api.store.changed().notified());
        changed.as_mut().enable();
        let mut db = api.store.read().await?;
        let current = revisions::current(&mut db).await?;
        drop(db);
        if current != after.revision || Instant::now() >= deadline || api.is_stopping() {
            return look(api, after).await;
        }
        tokio::select! {
            () = &mut changed => {}
            () = tokio::time::sleep_until(api.look_again_by(deadline)) => {}
            () = api.stopping() => {}
        }
    }
}

async fn look(api: &Api, after: After) -> Answer<Changes> {
    let mut db = api.store.snapshot().await?;
    let current = revisions::current(&mut db).await?;
    if !after.is_known(current, revisions::forgotten(&mut db).await?) {
        let message = format!("What changed after {} is not known: start over, after 0.", after.revision);
        return Err(ApiFault::gone("start_over", message));
    }
    // One more than is told, to know whether there is more.
    let limit = u32::try_from(APPS + 1).unwrap_or(u32::MAX);
    let rows = apps::changed(&mut db, after.revision, current, limit).await?;
    Ok(Changes { db, after, current, rows: rows.into_iter(), given: (0, 0, after.revision) })
}

impl Changes {
    /// The next app to tell of; none when that is enough for now.
    pub(crate) fn next(&mut self) -> Option<AppRow> {
        let (apps, bytes, _) = self.given;
        if apps >= APPS || bytes >= BYTES {
            return None;
        }
        let row = self.rows.next()?;
        self.given = (apps + 1, bytes, row.revision);
        Some(row)
    }

    /// So many bytes are told of the last one.
    pub(crate) fn weigh(&mut self, bytes: usize) {
        self.given.1 += bytes;
    }

    pub(crate) async fn end(self) -> Sql<End> {
        let Self { mut db, after, current, rows, given: (_, _, last) } = self;
        let more = rows.len() > 0;
        let revision = if more { last } else { current };
        let gone = match after.revision {
            // Who knows of no app yet.
            0 => Vec::new(),
            told => revisions::gone(&mut db, told, revision).await?,
        };
        Ok(End { revision: after.next(revision, more), more, gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_begins_with_nothing_goes_on_so_until_there_is_no_more() {
        let begin = After::from(0);
        assert_eq!(begin, After { revision: 0, from_nothing: true });
        let second = After::from(begin.next(5, true));
        assert_eq!(second, After { revision: 5, from_nothing: true });
        let known = After::from(second.next(9, false));
        assert_eq!(known, After { revision: 9, from_nothing: false });
        assert_eq!(After::from(known.next(12, true)), After { revision: 12, from_nothing: false });
    }

    #[test]
    fn who_cannot_be_told_what_changed_starts_over() {
        let (began, was) = (After::from(5 | FROM_NOTHING), After::from(5));
        assert!(was.is_known(5, 0) && was.is_known(9, 5) && !was.is_known(9, 6), "gone apps are forgotten");
        assert!(!was.is_known(4, 0), "the database was put back");
        assert!(began.is_known(9, 6) && !began.is_known(4, 0));
        assert!(After::from(0).is_known(0, 0) && After::from(0).is_known(9, 6));
    }
}
