//! What SQLite and PostgreSQL say differently.

use std::path::Path;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, Connection, Executor};

use super::{ACQUIRE, Sql};

/// Takes the write lock at once: a transaction that first read and then wrote could meet another one's
/// lock in between, and what it read would no longer be true.
pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// SQLite allows one.
pub(super) const WRITERS: u32 = 1;

pub(super) const READERS: u32 = 8;

/// For every connection. With a write-ahead log readers and the writer do not wait for each other;
/// `FULL` syncs it at every commit, so that what was acknowledged survives a power cut, too.
const PREPARE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                       PRAGMA busy_timeout = 10000;";

/// An absolute path that can stand in a URL as it is (see `settings`). The file is there already.
pub(super) fn url(path: &Path) -> String {
    format!("sqlite://{}?mode=rw", path.display())
}

pub(super) async fn prepare(connection: &mut AnyConnection) -> Sql<()> {
    connection.execute(PREPARE).await.map(drop)
}

/// The result codes FULL and IOERR_SHMSIZE: <https://sqlite.org/rescode.html>.
const NO_ROOM: [&str; 2] = ["13", "4874"];

/// Whether there is no room on the disk for what should be written.
pub(crate) fn is_disk_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| NO_ROOM.contains(&code.as_ref()))
}

/// A connection that is given back was asked whether it lives, after the rollback of what was dropped
/// on it. One that is counted as in a transaction even then could not be rolled back: SQLite ends a
/// transaction of its own accord when the disk is full (<https://sqlite.org/lang_transaction.html>), and
/// refuses the ROLLBACK that follows. It is closed, and another one opened in its place.
pub(super) fn pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .after_connect(|connection, _| Box::pin(async move { connection.execute(PREPARE).await.map(drop) }))
}
