//! From settings to a listening server, and to its end.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ruko_core::{Exit, Fault, Hint};
use ruko_http::{Listener, vital};
use tokio::runtime::Runtime;

use crate::api::Api;
use crate::controllers::{builds, sources};
use crate::database::Database;
use crate::log::{self, Logs, drains};
use crate::platform;
use crate::release;
use crate::retention;
use crate::router::router;
use crate::settings::Settings;
use crate::sleep;
use crate::store::{Store, StoreError, dialect, server_secrets};
use crate::token::Token;
use crate::uploads::Uploads;
use crate::webhooks;

/// How often old uploads are removed.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// A server that listens and does not yet answer.
pub struct Server {
    api: Api,
    internal: Listener,
    public: Option<Listener>,
}

impl Server {
    /// Takes the addresses and opens the database; in this order, so that a second API by mistake ends
    /// before it touches the tables of the first.
    ///
    /// # Errors
    /// One of them cannot be used; the message says which and why.
    pub async fn bind(settings: Settings) -> Result<Self, Fault> {
        let internal = Listener::bind(&settings.internal_listen()).await?;
        let public = match &settings.public {
            Some(public) => Some(Listener::bind(&public.listen).await?),
            None => None,
        };
        let store = Store::open(&settings.database).await.map_err(unusable)?;
        let uploads = settings.uploads.as_deref().map(uploads).transpose()?;
        let logs = logs(settings.logs.as_deref())?;
        let output_key = output_key(&store).await.fault("cannot use the database")?;
        if !settings.runs_dynos {
            settle(&store).await.fault("cannot use the database")?;
        }
        Ok(Self { api: Api::new(settings, store, uploads, logs, output_key), internal, public })
    }

    /// The address of the internal API; with port 0 configured, the one that was given.
    pub fn address(&self) -> SocketAddr {
        self.internal.address()
    }

    /// The address of the Platform API, where there is one.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.as_ref().map(Listener::address)
    }

    /// Answers until `stop` is done, then lets open calls end.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { api, internal, public } = self;
        let mut doors = vec![(internal, router(api.clone()))];
        doors.extend(public.map(|listener| (listener, platform::router(api.clone()))));
        let stop = async {
            stop.await;
            api.stop();
        };
        if let Err(error) = drains::begin(&api).await {
            tracing::error!(cause = ruko_core::exit::chain(&error), "log drains cannot be looked up");
        }
        let drains = tokio::spawn(vital(drains::deliver(api.clone())));
        let webhooks = tokio::spawn(vital(webhooks::deliver(api.clone())));
        let tidying = tokio::spawn(vital(keep_tidy(api.clone())));
        let sleeping = tokio::spawn(vital(sleep::watch(api.clone())));
        ruko_http::serve(doors, stop).await;
        tidying.abort();
        sleeping.abort();
        // They end as soon as the API stops, after what they are sending at that moment.
        let _ = tokio::join!(webhooks, drains);
        api.store.close().await;
    }

    fn announce(&self) {
        eprintln!("openruko-api: listening on http://{}", self.address());
        if let Some(public) = &self.public {
            eprintln!("openruko-api: the Platform API listens on {}://{}", public.scheme(), public.address());
        }
    }
}

fn uploads(dir: &Path) -> Result<Uploads, Fault> {
    let what = format!("cannot use the directory of uploads `{}`", dir.display());
    Uploads::at(dir)
        .fault(what)
        .map_err(|fault| fault.hint("its parent must exist and belong to the user that runs openruko-api"))
}

fn logs(dir: Option<&Path>) -> Result<Logs, Fault> {
    let what = format!("cannot use the directory of logs `{}`", dir.unwrap_or(Path::new("")).display());
    Logs::at(dir)
        .fault(what)
        .map_err(|fault| fault.hint("its parent must exist and belong to the user that runs openruko-api"))
}

async fn output_key(store: &Store) -> Result<Token, sqlx::Error> {
    let fresh = Token::generate_plain().map_err(|_| sqlx::Error::Protocol("no random bytes".to_owned()))?;
    let mut db = store.write().await?;
    let key = server_secrets::of_name(&mut db, server_secrets::OUTPUT, &fresh).await?;
    db.commit().await?;
    Ok(key)
}

async fn settle(store: &Store) -> Result<(), sqlx::Error> {
    let mut db = store.write().await?;
    release::settle(&mut db).await?;
    db.commit().await
}

/// Gives up from time to time the builds and the one-off dynos that nobody takes up, and removes the tarballs that
/// nobody builds and the logs of apps that are gone.
async fn keep_tidy(api: Api) {
    let mut due = tokio::time::interval(TIDY_EVERY);
    loop {
        due.tick().await;
        tidy(&api).await;
    }
}

/// What fails is tried again the next time, and keeps nothing else from being done.
async fn tidy(api: &Api) {
    let said = |what: &str, done: Result<(), sqlx::Error>| {
        if let Err(error) = done {
            tracing::warn!(cause = ruko_core::exit::chain(&error), "{what}");
        }
    };
    said("old builds were not given up", builds::give_up_waiting(api).await);
    said("old one-off dynos were not given up", sleep::give_up_one_offs(api).await);
    said("the logs of apps that are gone were not removed", log::tidy(api).await);
    said("what is not kept in storage was not let go", retention::tidy(api).await);
    said("old tarballs were not removed", sources::tidy(api).await);
}

pub(crate) fn unusable(error: StoreError) -> Fault {
    let hint = match &error {
        StoreError::File { .. } => "its directory must exist and belong to the user that runs openruko-api",
        StoreError::Password { .. } => "see `database_password_file` in [api] of the configuration",
        StoreError::Encoding { .. } => {
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 makes another one"
        }
        StoreError::Open { database: Database::Postgres(_), .. } => {
            "the server must be there, and the database and its user have been made"
        }
        _ => "is it another program's, or from a newer openruko?",
    };
    let passing = matches!(&error, StoreError::Open { source, .. } if may_pass(source));
    let fault = Fault::from(error);
    if passing { Fault::try_again(fault.message) } else { fault }.hint(hint)
}

/// Whether a start may succeed a little later.
fn may_pass(error: &sqlx::Error) -> bool {
    let locked = error.as_database_error().is_some_and(|error| error.message().contains("locked"));
    locked || dialect::is_unavailable(error)
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> Result<Exit, Fault> {
    ruko_http::log_to_stderr();
    let runtime = Runtime::new().try_again("cannot start threads")?;
    runtime.block_on(async {
        let stop = ruko_http::told_to_stop().fault("cannot listen to signals")?;
        let server = Server::bind(settings).await?;
        server.announce();
        server.serve(stop).await;
        Ok(Exit::Ok)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use sqlx::Executor;

    /// An API in a directory, with a slug that no release has.
    async fn with_old_slug(dir: &Path) -> Api {
        let api = Server::bind(crate::settings::tests::in_dir(dir)).await.unwrap().api;
        let mut db = api.store.write().await.unwrap();
        let insert = "INSERT INTO slugs (id, app_id, object_key, bytes, sha256, commit_id, branch, buildpack, stack, \
                      created_at) VALUES ('1', '1', 'slugs/1', 1, '', '', '', '', 'openruko-12', 1)";
        db.execute(insert).await.unwrap();
        db.commit().await.unwrap();
        api
    }

    async fn slugs(api: &Api) -> i64 {
        let mut db = api.store.read().await.unwrap();
        let (slugs,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM slugs").fetch_one(&mut *db).await.unwrap();
        slugs
    }

    #[test]
    fn a_job_that_fails_keeps_no_other_from_being_done() {
        let dir = tempfile::tempdir().unwrap();
        Runtime::new().unwrap().block_on(async {
            let api = with_old_slug(dir.path()).await;
            let mut db = api.store.write().await.unwrap();
            db.execute("DROP TABLE one_offs").await.unwrap();
            db.commit().await.unwrap();
            assert!(sleep::give_up_one_offs(&api).await.is_err());
            tidy(&api).await;
            assert_eq!(slugs(&api).await, 0);
        });
    }

    #[test]
    fn whoever_has_nothing_to_let_go_waits_for_no_writer() {
        let dir = tempfile::tempdir().unwrap();
        Runtime::new().unwrap().block_on(async {
            let api = with_old_slug(dir.path()).await;
            assert_eq!(retention::dry_run(&api).await.unwrap().len(), 1);
            assert_eq!((slugs(&api).await, retention::go(&api).await.unwrap().len()), (1, 1));
            let _held = api.store.write().await.unwrap();
            let gone = tokio::time::timeout(Duration::from_secs(10), retention::go(&api)).await;
            assert_eq!(gone.expect("it asks for no lock").unwrap(), []);
        });
    }

    fn status(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn neither_api_is_on_the_others_listener() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let settings = crate::settings::tests::in_dir(dir.path());
        let server = runtime.block_on(Server::bind(settings)).unwrap();
        let (internal, public) = (server.address(), server.public_address().unwrap());
        runtime.spawn(server.serve(std::future::pending()));
        assert_eq!(status(public, "/openruko"), "200");
        assert_eq!(status(internal, "/openruko"), "404");
        assert_eq!(status(internal, "/internal/users"), "401");
        assert_eq!(status(public, "/internal/users"), "404");
    }
}
