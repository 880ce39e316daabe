//! What SQLite and PostgreSQL say differently.

use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, Connection, Executor, Row};

use super::Sql;
use crate::database::Database;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// One machine, one process.
    Sqlite,
    /// Several API processes may share it.
    Postgres,
}

impl From<&Database> for Dialect {
    fn from(database: &Database) -> Self {
        match database {
            Database::Sqlite(_) => Self::Sqlite,
            Database::Postgres(_) => Self::Postgres,
        }
    }
}

/// SQLite allows one. On PostgreSQL they would only wait for the one write lock as well.
pub(super) const WRITERS: u32 = 1;

pub(super) const READERS: u32 = 8;

impl Dialect {
    /// Begins a transaction that writes: nobody else can, from [`Dialect::lock`] to its end.
    ///
    /// SQLite takes its write lock at once: a transaction that first read and then wrote could meet another
    /// one's lock in between, and what it read would no longer be true.
    ///
    /// On PostgreSQL all processes of the API queue for one lock of our own, which ends with the
    /// transaction. The transaction reads what is committed (no snapshot of a time before it had the lock),
    /// and nobody else commits anything meanwhile. So it is right without the retries that SERIALIZABLE asks
    /// for, just as on SQLite. It costs that writers queue, for milliseconds each: no transaction here waits
    /// for anything but the database.
    pub(super) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Takes the write lock, where beginning did not. A statement of its own: a transaction whose beginning failed
    /// is none to sqlx, which would not end it.
    pub(super) async fn lock(self, db: &mut AnyConnection) -> Sql<()> {
        match self {
            Self::Sqlite => Ok(()),
            // The number is the letters `ruko`.
            Self::Postgres => db.execute("SELECT pg_advisory_xact_lock(1920297839)").await.map(drop),
        }
    }

    /// Begins a transaction that reads all from one moment: on SQLite every one does, from its first statement on.
    pub(super) const fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }

    /// For every connection.
    ///
    /// SQLite: with a write-ahead log readers and the writer do not wait for each other; `FULL` syncs it at
    /// every commit, so that what was acknowledged survives a power cut, too.
    ///
    /// PostgreSQL: the same, where the server was told to acknowledge before it is on disk; and bounds on
    /// how long a process waits for the write lock, how long it can keep it once it was cut off from the
    /// network, and how long a statement may take.
    pub(super) const fn prepare(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA busy_timeout = 10000;"
            }
            Self::Postgres => {
                "SET application_name = 'openruko-api'; SET lock_timeout = '10s'; \
                 SET idle_in_transaction_session_timeout = '10s'; SET statement_timeout = '30s'; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off';"
            }
        }
    }

    /// For a connection that copies a whole database: the same durability, but no bounds on how long that
    /// takes; and on SQLite the file to itself (<https://sqlite.org/pragma.html#pragma_locking_mode>: in
    /// exclusive mode, opening the write-ahead log fails while another connection has it open).
    pub(super) const fn prepare_copy(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON;"
            }
            Self::Postgres => {
                "SET application_name = 'openruko-api copy-database'; SET lock_timeout = '10s'; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off';"
            }
        }
    }

    /// Begins a transaction beside which nobody writes, from [`Dialect::lock`] on.
    pub(super) const fn begin_alone(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN EXCLUSIVE",
            Self::Postgres => self.begin_write(),
        }
    }

    /// Counts the connections of the API to this database, where asking is the way to know.
    pub(super) const fn others(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name = 'openruko-api'",
            ),
        }
    }

    /// How long a call may wait for a connection. A server that is not there is looked for all that time.
    const fn acquire_timeout(self) -> Duration {
        match self {
            Self::Sqlite => Duration::from_secs(20),
            Self::Postgres => Duration::from_secs(5),
        }
    }

    /// A connection that is given back was asked whether it lives, after the rollback of what was dropped
    /// on it. One that is counted as in a transaction even then could not be rolled back: SQLite ends a
    /// transaction of its own accord when the disk is full (<https://sqlite.org/lang_transaction.html>),
    /// and refuses the ROLLBACK that follows. It is closed, and another one opened in its place.
    pub(super) fn pool(self, connections: u32) -> AnyPoolOptions {
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(self.acquire_timeout())
            .idle_timeout(None)
            .max_lifetime(None)
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(self.prepare()).await.map(drop) })
            })
    }

    /// The text of a migration. SQLite compares and sorts text by its bytes; a database of PostgreSQL does
    /// as its locale has it, unless the column says otherwise.
    pub(super) fn migration(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql.to_owned(),
            Self::Postgres => {
                let words = sql.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                words.map(with_collation).collect()
            }
        }
    }
}

/// `TEXT`, whatever follows it, becomes `TEXT COLLATE "C"`.
fn with_collation(word: &str) -> String {
    match word.strip_prefix("TEXT") {
        Some(end) if end.chars().all(|c| !c.is_ascii_alphanumeric() && c != '_') => {
            format!("TEXT COLLATE \"C\"{end}")
        }
        _ => word.to_owned(),
    }
}

/// The encoding of a PostgreSQL database.
pub(super) async fn encoding(db: &mut AnyConnection) -> Sql<String> {
    sqlx::query("SELECT current_setting('server_encoding')").fetch_one(db).await?.try_get(0)
}

/// SQLite's result codes FULL and IOERR_SHMSIZE (<https://sqlite.org/rescode.html>), and PostgreSQL's
/// `disk_full` (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
const NO_ROOM: [&str; 3] = ["13", "4874", "53100"];

/// Whether there is no room on the disk for what should be written.
pub(crate) fn is_disk_full(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| NO_ROOM.contains(&code.as_str()))
}

/// What PostgreSQL says when it cannot be used, though there may be nothing wrong with the statement:
/// connections refused or lost, a server that starts, stops or is a replica, a transaction that was idle for
/// too long, too many connections.
const UNAVAILABLE: [&str; 5] = ["08", "57P", "25006", "25P03", "53300"];

/// Whether the database cannot be reached or used at this time.
pub(crate) fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        error => code(error).is_some_and(|code| starts_with_one(&code, &UNAVAILABLE)),
    }
}

/// What PostgreSQL says when the write lock, or a statement, took too long.
const TOO_LONG: [&str; 3] = ["55P03", "57014", "40"];

/// Whether the database had too much to do.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        error => code(error).is_some_and(|code| starts_with_one(&code, &TOO_LONG)),
    }
}

/// Whether another program holds what a copy needs for itself: SQLite's BUSY, PostgreSQL's
/// `lock_not_available`.
pub(super) fn is_in_use(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "5" || code == "55P03")
}

/// SQLite's codes are numbers; five characters are PostgreSQL's.
fn starts_with_one(code: &str, known: &[&str]) -> bool {
    code.len() == 5 && known.iter().any(|known| code.starts_with(known))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_postgresql_is_sorted_by_its_bytes() {
        let sql = "CREATE TABLE t (a TEXT NOT NULL, b BIGINT, c TEXT); -- CONTEXT TEXT_ only\n";
        assert_eq!(
            Dialect::Postgres.migration(sql),
            "CREATE TABLE t (a TEXT COLLATE \"C\" NOT NULL, b BIGINT, c TEXT COLLATE \"C\"); -- CONTEXT TEXT_ only\n"
        );
        assert_eq!(Dialect::Sqlite.migration(sql), sql);
    }
}
