//! The database: all SQL stands here, one module a noun. Functions take a connection, so that a
//! controller can put several into one transaction.
//!
//! The text is meant for SQLite and PostgreSQL alike; what differs stands in [`dialect`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection, SqlSafeStr, Transaction};

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod authorizations;
pub(crate) mod buildpacks;
pub(crate) mod builds;
pub(crate) mod collaborators;
pub(crate) mod config_vars;
pub(crate) mod dialect;
pub(crate) mod discarded;
pub(crate) mod keys;
pub(crate) mod output;
pub(crate) mod pushes;
pub(crate) mod releases;
pub(crate) mod repos;
pub(crate) mod server_secrets;
pub(crate) mod slugs;
pub(crate) mod sources;
pub(crate) mod users;

/// What every function here gives.
pub(crate) type Sql<T> = Result<T, sqlx::Error>;

/// How long a call may wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(20);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file is not there and cannot be made, or cannot be written.
    #[error("cannot open the database `{}`", .path.display())]
    File {
        /// The database's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no database, or is locked.
    #[error("cannot use the database `{}`", .path.display())]
    Open {
        /// The database's file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The tables cannot be brought up to date.
    #[error("cannot bring the tables of `{}` up to date", .path.display())]
    Migrate {
        /// The database's file.
        path: PathBuf,
        /// Why.
        source: Box<sqlx::migrate::MigrateError>,
    },
}

/// The open database. SQLite has one writer at a time: those who write queue for one connection, in
/// order, instead of meeting each other's locks; those who read see the last commit and never wait.
pub(crate) struct Store {
    reads: AnyPool,
    writes: AnyPool,
}

impl Store {
    /// Opens the file, makes it when it is missing, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        ensure_file(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let url = dialect::url(path);
        prepare(&url, path).await?;
        let pool = |connections| dialect::pool(connections).connect_lazy(&url);
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let writes = pool(dialect::WRITERS).map_err(failed)?;
        let reads = pool(dialect::READERS).map_err(failed)?;
        Ok(Self { reads, writes })
    }

    /// A connection to read from.
    pub(crate) async fn read(&self) -> Sql<PoolConnection<Any>> {
        self.reads.acquire().await
    }

    /// A transaction that holds the write lock from its beginning, so that what it reads stays true until
    /// it commits. Dropped, it is rolled back.
    pub(crate) async fn write(&self) -> Sql<Transaction<'static, Any>> {
        self.writes.begin_with(dialect::BEGIN_WRITE).await
    }

    pub(crate) async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }
}

/// Brings the tables up to date, over a connection outside the pools: these would try again and again
/// where there is no hope, and then only say that time was up.
async fn prepare(url: &str, path: &Path) -> Result<(), StoreError> {
    sqlx::any::install_default_drivers();
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let mut db = AnyConnection::connect(url).await.map_err(failed)?;
    dialect::prepare(&mut db).await.map_err(failed)?;
    migrations()
        .run(&mut db)
        .await
        .map_err(|e| StoreError::Migrate { path: path.to_owned(), source: Box::new(e) })?;
    db.close().await.map_err(failed)
}

/// Makes the file if it is missing, readable by its owner alone since config vars are secrets, and on
/// disk by its name before anything is acknowledged from it. (SQLite gives the files beside it the same
/// mode.)
fn ensure_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn migrations() -> Migrator {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "initial", include_str!("../../migrations/0001_initial.sql")),
        migration(2, "platform", include_str!("../../migrations/0002_platform.sql")),
    ])
}

/// A value of the database, read into a type that cannot be wrong.
fn parsed<T>(raw: String) -> Sql<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    raw.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

/// A count of the database. None is ever negative.
fn count(raw: i64) -> Sql<u64> {
    u64::try_from(raw).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

/// A count on its way into the database. Every bound of ours lies below.
fn big(count: u64) -> Sql<i64> {
    i64::try_from(count).map_err(|e| sqlx::Error::Encode(Box::new(e)))
}

fn new_id() -> String {
    ulid::Ulid::generate().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pragma(db: &mut AnyConnection, sql: &'static str) -> i64 {
        let (value,): (i64,) = sqlx::query_as(sql).fetch_one(db).await.unwrap();
        value
    }

    #[test]
    fn every_connection_syncs_its_commits_and_keeps_references_whole() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::open(&dir.path().join("api.db")).await.unwrap();
            let mut write = store.write().await.unwrap();
            let mut read = store.read().await.unwrap();
            for db in [&mut *write, &mut *read] {
                let (mode,): (String,) =
                    sqlx::query_as("PRAGMA journal_mode").fetch_one(&mut *db).await.unwrap();
                assert_eq!(mode, "wal");
                // 2 is FULL: https://sqlite.org/pragma.html#pragma_synchronous
                assert_eq!(pragma(db, "PRAGMA synchronous").await, 2);
                assert_eq!(pragma(db, "PRAGMA foreign_keys").await, 1);
            }
        });
    }

    #[test]
    fn the_database_itself_refuses_a_second_open_push_and_a_reference_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::open(&dir.path().join("api.db")).await.unwrap();
            let mut db = store.write().await.unwrap();
            let owner = users::insert(&mut db, &"matt".parse().unwrap()).await.unwrap();
            let (name, stack) = ("shop".parse().unwrap(), "openruko-12".parse().unwrap());
            let app = apps::insert(&mut db, &name, &owner, &stack).await.unwrap();
            assert!(push(&mut db, &app).await.is_ok());
            assert!(push(&mut db, &app).await.is_err());
            assert!(push(&mut db, "nothing").await.is_err());
        });
    }

    #[test]
    fn a_database_that_was_full_takes_writes_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::open(&dir.path().join("api.db")).await.unwrap();
            // The limit is the connection's own: https://sqlite.org/pragma.html#pragma_max_page_count
            let mut db = store.write().await.unwrap();
            let pages = pragma(&mut db, "PRAGMA max_page_count = 1").await;
            assert!(pages > 1, "it cannot be less than there are: {pages}");
            db.commit().await.unwrap();

            let mut db = store.write().await.unwrap();
            let full = fill(&mut db).await;
            assert!(dialect::is_disk_full(&full), "{full:?}");
            drop(db);

            let mut db = store.write().await.unwrap();
            users::insert(&mut db, &"matt".parse().unwrap()).await.unwrap();
            db.commit().await.unwrap();
            let mut read = store.read().await.unwrap();
            assert_eq!(users::list(&mut read).await.unwrap().len(), 1, "nothing of the failed write is left");
        });
    }

    /// Writes until it is refused.
    async fn fill(db: &mut AnyConnection) -> sqlx::Error {
        for number in 0..100_000 {
            if let Err(error) = users::insert(db, &format!("user{number}").parse().unwrap()).await {
                return error;
            }
        }
        panic!("there was room for all");
    }

    async fn push(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
        let new = pushes::NewPush {
            id: &ruko_core::PushId::generate(),
            app_id,
            user: &"matt".parse().unwrap(),
            request_id: "r",
            repo_key: "k",
            slug_key: "k",
            now: 0,
            lease_ends: 1,
        };
        pushes::insert(db, new).await
    }
}
