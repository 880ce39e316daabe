//! The database: all SQL stands here, one module a noun. Functions take a connection, so that a
//! controller can put several into one transaction.
//!
//! The text runs on SQLite and PostgreSQL alike; what differs stands in [`dialect`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr, Transaction,
};
use tokio::sync::Notify;

use crate::database::{self, Database};
use crate::secret_file::first_line;

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod authorizations;
pub(crate) mod browser_logins;
pub(crate) mod buildpacks;
pub(crate) mod builds;
pub(crate) mod collaborators;
pub(crate) mod config_vars;
pub(crate) mod copy;
pub(crate) mod deploy_keys;
pub(crate) mod dialect;
pub(crate) mod discarded;
pub(crate) mod domains;
pub(crate) mod dynos;
pub(crate) mod features;
pub(crate) mod formation;
pub(crate) mod hosts;
pub(crate) mod keys;
pub(crate) mod log_drains;
pub(crate) mod log_sessions;
pub(crate) mod marks;
pub(crate) mod one_offs;
pub(crate) mod output;
pub(crate) mod pipelines;
pub(crate) mod push_log;
pub(crate) mod pushes;
pub(crate) mod releases;
pub(crate) mod repos;
pub(crate) mod retention;
pub(crate) mod revisions;
mod schema;
pub(crate) mod server_secrets;
pub(crate) mod slugs;
pub(crate) mod sni_endpoints;
pub(crate) mod sources;
pub(crate) mod users;
pub(crate) mod web;
pub(crate) mod webhooks;
mod write;

use dialect::Dialect;
pub(crate) use write::Write;

/// What every function here gives.
pub(crate) type Sql<T> = Result<T, sqlx::Error>;

/// How long the answer to "is it there at all?" may take.
const PROBE: Duration = Duration::from_secs(2);

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
    /// The file with the password cannot be read, or others can read it.
    #[error("cannot use the database's password file `{}`", .path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no database, is locked, or cannot be reached.
    #[error("cannot use the database `{database}`")]
    Open {
        /// The database.
        database: Database,
        /// Why.
        source: sqlx::Error,
    },
    /// It cannot hold every text.
    #[error("the database `{database}` has the encoding {encoding}, not UTF8")]
    Encoding {
        /// The database.
        database: Database,
        /// What it has.
        encoding: String,
    },
    /// The tables cannot be brought up to date.
    #[error("cannot bring the tables of `{database}` up to date")]
    Migrate {
        /// The database.
        database: Database,
        /// Why.
        source: Box<sqlx::migrate::MigrateError>,
    },
}

/// The open database. There is one writer at a time: those who write queue for one connection, in order,
/// instead of meeting each other's locks; those who read see the last commit and never wait.
pub(crate) struct Store {
    dialect: Dialect,
    reads: AnyPool,
    writes: AnyPool,
    changed: Arc<Notify>,
}

impl Store {
    /// Opens the database, brings its tables up to date, and keeps a connection from here on: whoever asks
    /// the database can tell that it is in use. A file is made when it is missing.
    pub(crate) async fn open(place: &Place) -> Result<Self, StoreError> {
        if let Database::Sqlite(path) = &place.database {
            ensure_file(path).map_err(|source| StoreError::File { path: path.clone(), source })?;
        }
        let (options, dialect) = (place.options()?, Dialect::from(&place.database));
        prepare(&options, &place.database).await?;
        let pool = |connections| dialect.pool(connections).connect_lazy_with(options.clone());
        let (reads, writes) = (pool(dialect::READERS), pool(dialect::WRITERS));
        let store = Self { dialect, reads, writes, changed: Arc::new(Notify::new()) };
        store.writes.acquire().await.map_err(|source| place.unusable(source))?;
        Ok(store)
    }

    /// A connection to read from.
    pub(crate) async fn read(&self) -> Sql<PoolConnection<Any>> {
        told_apart(&self.reads, self.reads.acquire().await).await
    }

    /// A transaction that reads all from one moment.
    pub(crate) async fn snapshot(&self) -> Sql<Transaction<'static, Any>> {
        begin(&self.reads, self.dialect.begin_read()).await
    }

    /// A transaction that holds the write lock from its beginning, so that what it reads stays true until
    /// it commits. Dropped, it is rolled back.
    pub(crate) async fn write(&self) -> Sql<Write> {
        let mut begun = begin(&self.writes, self.dialect.begin_write()).await?;
        self.dialect.lock(&mut begun).await?;
        Ok(Write::new(begun, self.changed.clone()))
    }

    /// Told of every commit of this process. Who listens from before a look misses nothing that comes after it.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// How long to wait at most before looking again for what another process may have changed: events are
    /// told within a process only.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(Duration::from_secs(1)),
        }
    }

    pub(crate) async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }
}

/// Begins a transaction, even when the caller goes away in between: one that was not seen to begin is none to sqlx,
/// which gives its connection back as it is, and the server would keep it and its locks.
async fn begin(pool: &AnyPool, statement: &'static str) -> Sql<Transaction<'static, Any>> {
    let taken = pool.clone();
    let begun = tokio::spawn(async move { taken.begin_with(statement).await });
    told_apart(pool, begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))).await
}

/// A pool only says that time was up. Whether its connections are all taken, or none can be made any more,
/// is found out by making one.
async fn told_apart<T>(pool: &AnyPool, taken: Sql<T>) -> Sql<T> {
    let Err(sqlx::Error::PoolTimedOut) = taken else { return taken };
    match tokio::time::timeout(PROBE, pool.connect_options().connect()).await {
        Ok(Ok(connection)) => connection.close().await.and(taken),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
    }
}

/// A database, and where the password for it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) database: Database,
    /// Readable by its owner, at most by its group.
    pub(crate) password_file: Option<PathBuf>,
}

impl Place {
    fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        sqlx::any::install_default_drivers();
        let options = match &self.database {
            Database::Sqlite(path) => database::sqlite_options(path),
            Database::Postgres(url) => url.options(self.password()?.as_deref()),
        };
        options.map_err(|source| self.unusable(source))
    }

    fn password(&self) -> Result<Option<String>, StoreError> {
        let read = |path: &PathBuf| {
            first_line(path).map_err(|source| StoreError::Password { path: path.clone(), source })
        };
        self.password_file.as_ref().map(read).transpose()
    }

    fn unusable(&self, source: sqlx::Error) -> StoreError {
        StoreError::Open { database: self.database.clone(), source }
    }
}

/// Brings the tables up to date, over a connection outside the pools: these would try again and again
/// where there is no hope, and then only say that time was up.
async fn prepare(options: &AnyConnectOptions, database: &Database) -> Result<(), StoreError> {
    let dialect = Dialect::from(database);
    let failed = |source| StoreError::Open { database: database.clone(), source };
    let mut db = AnyConnection::connect_with(options).await.map_err(failed)?;
    match dialect {
        Dialect::Sqlite => {
            db.execute(dialect.prepare()).await.map_err(failed)?;
        }
        Dialect::Postgres => {
            let encoding = dialect::encoding(&mut db).await.map_err(failed)?;
            if encoding != "UTF8" {
                return Err(StoreError::Encoding { database: database.clone(), encoding });
            }
        }
    }
    migrations(dialect)
        .run(&mut db)
        .await
        .map_err(|e| StoreError::Migrate { database: database.clone(), source: Box::new(e) })?;
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

/// All migrations, oldest first: what each is called, and its text. They make tables with a primary key and
/// columns of the types TEXT and BIGINT, and change rows that are there: a new database has none.
const MIGRATIONS: &[(&str, &str)] = &[
    ("initial", include_str!("../../migrations/0001_initial.sql")),
    ("platform", include_str!("../../migrations/0002_platform.sql")),
    ("running", include_str!("../../migrations/0003_running.sql")),
    ("push steps", include_str!("../../migrations/0004_push_steps.sql")),
    ("deploy_keys", include_str!("../../migrations/0005_deploy_keys.sql")),
    ("storage", include_str!("../../migrations/0006_storage.sql")),
    ("releases", include_str!("../../migrations/0007_releases.sql")),
    ("retention", include_str!("../../migrations/0008_retention.sql")),
];

fn migrations(dialect: Dialect) -> Migrator {
    migrator(dialect, MIGRATIONS)
}

fn migrator(dialect: Dialect, all: &'static [(&'static str, &'static str)]) -> Migrator {
    let migration = |(version, (description, text)): (i64, &(&'static str, &str))| {
        let sql = AssertSqlSafe(dialect.migration(text)).into_sql_str();
        Migration::new(version, (*description).into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations((1..).zip(all).map(migration).collect())
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

/// An id that nothing else has, and that sorts after those made before it.
pub(crate) fn new_id() -> String {
    ulid::Ulid::generate().to_string()
}

#[cfg(test)]
impl Store {
    /// A database in a directory.
    pub(crate) async fn in_dir(dir: &Path) -> Self {
        let database = format!("sqlite://{}/api.db", dir.display()).parse().unwrap();
        Self::open(&Place { database, password_file: None }).await.unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruko_test_postgres::Server;

    async fn open(database: &str) -> Store {
        let place = Place { database: database.parse().unwrap(), password_file: None };
        Store::open(&place).await.unwrap()
    }

    /// Runs a test on a database of each kind, opened twice as two processes would.
    fn on_both(test: impl AsyncFn(Store, Store)) {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::shared().database());
        for database in [file(dir.path()), server.url()] {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                test(open(&database).await, open(&database).await).await;
            });
        }
    }

    fn file(dir: &Path) -> String {
        format!("sqlite://{}/api.db", dir.display())
    }

    #[test]
    fn what_an_older_version_left_serves_on_and_is_told_of() {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::shared().database());
        for database in [file(dir.path()), server.url()] {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let place = Place { database: database.parse().unwrap(), password_file: None };
                if let Database::Sqlite(path) = &place.database {
                    ensure_file(path).unwrap();
                }
                let options = place.options().unwrap();
                let mut db = AnyConnection::connect_with(&options).await.unwrap();
                migrator(Dialect::from(&place.database), &MIGRATIONS[..2]).run(&mut db).await.unwrap();
                db.execute(
                    "INSERT INTO users (id, name, created_at) VALUES ('1', 'ann', 0); \
                     INSERT INTO apps (id, name, owner_id, stack, release, created_at) \
                     VALUES ('1', 'shop', '1', 'openruko-12', 2, 0)",
                )
                .await
                .unwrap();
                db.close().await.unwrap();

                let store = open(&database).await;
                let mut db = store.write().await.unwrap();
                let app = apps::by_id(&mut db, "1").await.unwrap();
                assert_eq!((app.serving, app.candidate, app.revision), (2, None, 1));
                assert_eq!(revisions::current(&mut db).await.unwrap(), 1);
                let told = apps::changed(&mut db, 0, 1, 10).await.unwrap();
                assert_eq!((told.len(), revisions::raise(&mut db, "1").await.unwrap()), (1, 2));
            });
        }
    }

    async fn text(db: &mut AnyConnection, sql: &'static str) -> String {
        let (value,): (String,) = sqlx::query_as(sql).fetch_one(db).await.unwrap();
        value
    }

    async fn pragma(db: &mut AnyConnection, sql: &'static str) -> i64 {
        let (value,): (i64,) = sqlx::query_as(sql).fetch_one(db).await.unwrap();
        value
    }

    #[test]
    fn every_connection_syncs_its_commits_and_keeps_references_whole() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = open(&file(dir.path())).await;
            let mut write = store.write().await.unwrap();
            let mut read = store.read().await.unwrap();
            for db in [&mut *write, &mut *read] {
                assert_eq!(text(db, "PRAGMA journal_mode").await, "wal");
                // 2 is FULL: https://sqlite.org/pragma.html#pragma_synchronous
                assert_eq!(pragma(db, "PRAGMA synchronous").await, 2);
                assert_eq!(pragma(db, "PRAGMA foreign_keys").await, 1);
            }
        });
    }

    #[test]
    fn a_server_that_acknowledges_too_early_is_told_not_to() {
        let database = Server::shared().database();
        for (configured, used) in [("off", "on"), ("remote_apply", "remote_apply")] {
            let set = format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = {configured}', \
                 current_database()); END $$"
            );
            database.sql(&set);
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let store = open(&database.url()).await;
                let mut write = store.write().await.unwrap();
                let mut read = store.read().await.unwrap();
                for db in [&mut *write, &mut *read] {
                    assert_eq!(text(db, "SELECT current_setting('synchronous_commit')").await, used);
                    assert_eq!(text(db, "SELECT current_setting('lock_timeout')").await, "10s");
                }
            });
        }
    }

    #[test]
    fn the_database_itself_refuses_a_second_open_push_and_a_reference_to_nothing() {
        on_both(async |store, _| {
            let mut db = store.write().await.unwrap();
            let owner = users::insert(&mut db, &"matt".parse().unwrap()).await.unwrap();
            let (name, stack) = ("shop".parse().unwrap(), "openruko-12".parse().unwrap());
            let app = apps::insert(&mut db, &name, &owner, &stack).await.unwrap();
            db.commit().await.unwrap();
            // One transaction each: PostgreSQL refuses whatever follows a failure.
            let attempt = async |app: &str| {
                let mut db = store.write().await.unwrap();
                push(&mut db, app).await?;
                db.commit().await
            };
            assert!(attempt(&app).await.is_ok());
            for refused in [attempt(&app).await, attempt("nothing").await] {
                let error = refused.unwrap_err();
                let kind = error.as_database_error().unwrap().kind();
                use sqlx::error::ErrorKind::{ForeignKeyViolation, UniqueViolation};
                assert!(matches!(kind, UniqueViolation | ForeignKeyViolation), "{error:?}");
            }
        });
    }

    #[test]
    fn what_a_writer_read_stays_true_until_it_commits() {
        on_both(async |store, other| {
            let stores = [std::sync::Arc::new(store), std::sync::Arc::new(other)];
            let mut db = stores[0].write().await.unwrap();
            let owner = users::insert(&mut db, &"matt".parse().unwrap()).await.unwrap();
            let (name, stack) = ("shop".parse().unwrap(), "openruko-12".parse().unwrap());
            let app = apps::insert(&mut db, &name, &owner, &stack).await.unwrap();
            db.commit().await.unwrap();
            // Each reads the number and writes one more: none may be lost.
            let one_more = |store: std::sync::Arc<Store>, id: String| async move {
                let mut db = store.write().await.unwrap();
                let found = apps::by_id(&mut db, &id).await.unwrap();
                tokio::task::yield_now().await;
                let (was, will) = (found.repo_version, found.repo_version + 1);
                assert!(apps::swap_repo_version(&mut db, &id, was, will).await.unwrap());
                db.commit().await.unwrap();
            };
            let start = |n: usize| tokio::spawn(one_more(stores[n % 2].clone(), app.clone()));
            let all: Vec<_> = (0..50).map(start).collect();
            for one in all {
                one.await.unwrap();
            }
            let mut db = stores[0].read().await.unwrap();
            assert_eq!(apps::by_id(&mut db, &app).await.unwrap().repo_version, 50);
        });
    }

    #[test]
    fn who_waited_too_long_for_the_write_lock_gets_it_once_it_is_free() {
        let server = Server::shared().database();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (store, other) = (open(&server.url()).await, open(&server.url()).await);
            let mut only = other.writes.acquire().await.unwrap();
            only.execute("SET lock_timeout = '50ms'").await.unwrap();
            drop(only);
            let held = store.write().await.unwrap();
            for _ in 0..2 {
                let refused = other.write().await.err().expect("another process has it");
                assert!(dialect::is_busy(&refused), "{refused:?}");
            }
            drop(held);
            let mut db = other.write().await.unwrap();
            users::insert(&mut db, &"matt".parse().unwrap()).await.unwrap();
            db.commit().await.unwrap();
        });
    }

    /// Polls it so often at most, and drops it then.
    async fn dropped_after(polls: usize, future: impl Future) -> bool {
        let (mut future, mut left) = (std::pin::pin!(future), polls);
        let done = std::future::poll_fn(|cx| match left.checked_sub(1) {
            None => std::task::Poll::Ready(false),
            Some(fewer) => {
                left = fewer;
                future.as_mut().poll(cx).map(|_| true)
            }
        });
        done.await
    }

    #[test]
    fn a_caller_who_goes_away_leaves_no_transaction_behind() {
        let server = Server::shared().database();
        let open_ones = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND state LIKE 'idle in transaction%'";
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = open(&server.url()).await;
            drop((store.snapshot().await.unwrap(), store.write().await.unwrap()));
            for polls in 1..20 {
                dropped_after(polls, store.snapshot()).await;
                dropped_after(polls, store.write()).await;
                // Shorter than the server itself lets one be idle.
                let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
                while server.sql(open_ones).trim() != "0" {
                    assert!(tokio::time::Instant::now() < deadline, "after {polls} polls one is left");
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    #[test]
    fn text_is_sorted_by_its_bytes() {
        on_both(async |store, _| {
            let mut db = store.write().await.unwrap();
            for name in ["a-b", "aa", "a-c", "ab"] {
                users::insert(&mut db, &name.parse().unwrap()).await.unwrap();
            }
            let names: Vec<_> =
                users::list(&mut db).await.unwrap().into_iter().map(|user| user.name).collect();
            assert_eq!(
                names.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
                ["a-b", "a-c", "aa", "ab"]
            );
        });
    }

    #[test]
    fn a_database_that_was_full_takes_writes_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = open(&file(dir.path())).await;
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

    #[test]
    fn a_password_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        for (mode, readable) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            match first_line(&path) {
                Ok(read) => assert!(readable && read == "hunter2", "{mode:o}"),
                Err(refused) => assert!(!readable && refused.to_string().contains("chmod 600"), "{refused}"),
            }
        }
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
