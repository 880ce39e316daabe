//! A running API with a database of its own, and the things that tests push to it.

use std::path::Path;
use std::thread::JoinHandle;

use openruko_api::Settings;
use ruko_api_client::{ApiClient, Opened};
use ruko_api_types::storage::StorageDone;
use ruko_api_types::{Commit, CommitRelease, Head, Manifest, OpenPush, Push, RefUpdate, Stored};
use ruko_core::config::Config;
use ruko_core::{AppName, CommitId, UserName};
use ruko_test_postgres::{Database, Server};
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

pub(crate) const SERVE: &str = "token-of-serve";
pub(crate) const ADMIN: &str = "token-of-admin";
pub(crate) const HOST: &str = "token-of-host";
pub(crate) const ROUTER: &str = "token-of-router";

/// A public key and its fingerprint, as ssh-keygen made and printed them.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINoUZZDVDhdjlszLF+GGvZxdjmq747VLcdtqUFZvwq9h";
pub(crate) const FINGERPRINT: &str = "SHA256:LNJNMrPu5F0vMFjkUggCWMYMvBO1oR0sll2Wdua5NpE";

/// As a further line in `[api]`: no directory of uploads is configured.
pub(crate) const NO_UPLOADS: &str = "# no uploads";

/// As a further line in `[api]`: there is a host, which changes what becomes of releases.
pub(crate) const RUNNING: &str = "# runs dynos";

/// Where a test's configuration, storage and database are. They go with it.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
    database: Backing,
}

/// The database of a test.
enum Backing {
    /// A file in its directory.
    File,
    Server(Database<'static>),
}

impl Home {
    pub(crate) fn new() -> Self {
        // The same file is compiled once for each.
        let database = match module_path!().contains("::postgres::") {
            true => Backing::Server(Server::shared().database()),
            false => Backing::File,
        };
        Self { dir: tempfile::tempdir().unwrap(), database }
    }

    pub(crate) fn database(&self) -> String {
        match &self.database {
            Backing::File => format!("sqlite://{}/api.db", self.dir.path().display()),
            Backing::Server(database) => database.url(),
        }
    }

    /// The text of a configuration.
    pub(crate) fn config(&self, listen: &str, extra: &str) -> String {
        config(self.dir.path(), &self.database(), listen, extra)
    }
}

/// The text of a configuration whose storage lies in `dir`.
pub(crate) fn config(dir: &Path, database: &str, listen: &str, extra: &str) -> String {
    let digest =
        |token: &str| -> String { Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect() };
    format!(
        "[api]\nlisten = '{listen}'\ndatabase = '{database}'\nstorage = 'file://{dir}/storage'\n\
         {uploads}\nlogs = '{dir}/logs'\n\
         url = 'http://api.test:5000'\nweb_url = 'http://{{app}}.localhost:8080/'\n\
         stack = 'openruko-12'\ntemplate = 'openruko-build'\n{extra}\n\
         [api.components]\nserve = '{serve}'\nadmin = '{admin}'\nrouter = '{router}'\n{host}\
         [api.public]\nlisten = '127.0.0.1:0'\nurl = 'http://paas.test'\n\
         git_url = 'https://git.test/{{app}}.git'\nssh_url = 'ssh://git@git.test:2222/{{app}}.git'\n",
        dir = dir.display(),
        uploads = if extra == NO_UPLOADS {
            String::new()
        } else {
            format!("uploads = '{}/uploads'", dir.display())
        },
        serve = digest(SERVE),
        admin = digest(ADMIN),
        router = digest(ROUTER),
        host = if extra.contains(RUNNING) { format!("host = '{}'\n", digest(HOST)) } else { String::new() },
    )
}

pub(crate) struct World {
    pub(crate) url: String,
    /// The Platform API.
    pub(crate) public_url: String,
    pub(crate) serve: ApiClient,
    pub(crate) admin: ApiClient,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
    /// Dropped last.
    pub(crate) home: Home,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With further lines in `[api]`.
    pub(crate) fn with(extra: &str) -> Self {
        Self::started(extra, "")
    }

    /// With further lines in `[api.public]`.
    pub(crate) fn with_public(extra: &str) -> Self {
        Self::started("", extra)
    }

    /// With further lines in `[api]` and in `[api.public]`.
    pub(crate) fn started(extra: &str, public: &str) -> Self {
        Self::at(Home::new(), extra, public)
    }

    /// At a home that was there before.
    pub(crate) fn again(home: Home) -> Self {
        Self::at(home, "", "")
    }

    /// An API that runs elsewhere, with the home that is its.
    pub(crate) fn of(url: &str, public_url: &str, home: Home) -> Self {
        Self {
            serve: ApiClient::new(url, SERVE.into()).unwrap(),
            admin: ApiClient::new(url, ADMIN.into()).unwrap(),
            url: url.to_owned(),
            public_url: public_url.to_owned(),
            stop: None,
            server: None,
            home,
        }
    }

    /// Ends it, and begins another one at the same home.
    pub(crate) fn restarted(self) -> Self {
        self.restarted_with("")
    }

    /// The same, with further lines in `[api.public]`.
    pub(crate) fn restarted_with(mut self, public: &str) -> Self {
        self.stop();
        let empty = Home { dir: tempfile::tempdir().unwrap(), database: Backing::File };
        Self::at(std::mem::replace(&mut self.home, empty), "", public)
    }

    fn at(home: Home, extra: &str, public: &str) -> Self {
        let text = format!("{}{public}\n", home.config("127.0.0.1:0", extra));
        let config = Config::parse(&text, std::iter::empty()).unwrap();
        let settings = Settings::try_from(config.api().unwrap()).unwrap();
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(openruko_api::Server::bind(settings)).unwrap();
        let url = format!("http://{}", server.address());
        let public_url = format!("http://{}", server.public_address().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(server.serve(async {
                let _ = stopped.await;
            }));
        });
        Self {
            serve: ApiClient::new(&url, SERVE.into()).unwrap(),
            admin: ApiClient::new(&url, ADMIN.into()).unwrap(),
            url,
            public_url,
            stop: Some(stop),
            server: Some(thread),
            home,
        }
    }

    /// With a host and a router, the user `matt` and his `shop`.
    pub(crate) fn running() -> Self {
        Self::with_shop(RUNNING)
    }

    /// The client of a component.
    pub(crate) fn client(&self, token: &str) -> ApiClient {
        ApiClient::new(&self.url, token.into()).unwrap()
    }

    /// With the user `matt` and the app `shop`, which is his.
    pub(crate) fn with_shop(extra: &str) -> Self {
        let world = Self::with(extra);
        world.admin.add_user(&user("matt")).unwrap();
        world.admin.create_app(&app("shop"), &user("matt")).unwrap();
        world
    }

    /// A push to `shop` that gets the lease at once.
    pub(crate) fn open(&self) -> Box<Push> {
        opened(&self.serve)
    }

    /// A whole push to `shop` that makes a release.
    pub(crate) fn push(&self) -> ruko_api_types::Committed {
        let push = self.open();
        self.serve.commit(&push.push, &commit(push.repo.version)).unwrap()
    }

    /// Makes the user a collaborator of `shop` who has these permissions alone.
    pub(crate) fn gives(&self, name: &str, permissions: &str) {
        self.admin.add_collaborator(&app("shop"), &user(name)).unwrap();
        let sql = "UPDATE collaborators SET permissions = $1 WHERE user_id = \
                   (SELECT id FROM users WHERE name = $2)";
        self.execute(sql, &[permissions, name]);
    }

    /// Changes the database behind the server's back.
    pub(crate) fn execute(&self, sql: &'static str, values: &[&str]) {
        sqlx::any::install_default_drivers();
        let url = self.home.database();
        Runtime::new().unwrap().block_on(async {
            let mut db = AnyConnection::connect(&url).await.unwrap();
            let query = values.iter().fold(sqlx::query(sql), |query, value| query.bind(*value));
            query.execute(&mut db).await.unwrap();
        });
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }

    /// What is to be deleted in storage, as if it were deleted then.
    pub(crate) fn to_delete(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut done = StorageDone::default();
        loop {
            let work = self.serve.storage_work(&done).unwrap();
            if work.delete.is_empty() {
                return all;
            }
            done.deleted = work.delete.iter().map(|object| object.key.clone()).collect();
            all.extend(work.delete.into_iter().map(|object| object.url));
        }
    }

    pub(crate) fn storage(&self, key: &str) -> String {
        format!("file://{}/storage/{key}", self.home.dir.path().display())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

pub(crate) fn opened(serve: &ApiClient) -> Box<Push> {
    match serve.open_push(&app("shop"), &by("matt", 0)).unwrap() {
        Opened::Push(push) => push,
        other => panic!("not opened: {other:?}"),
    }
}

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

pub(crate) fn by(name: &str, wait_seconds: u64) -> OpenPush {
    OpenPush { user: user(name), wait_seconds }
}

pub(crate) fn stored(bytes: u64) -> Stored {
    Stored { bytes, sha256: "ab".repeat(32) }
}

pub(crate) fn commit_id(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

/// `refs/heads/main` moves, and was built.
pub(crate) fn commit(base_version: u64) -> Commit {
    Commit {
        base_version,
        repo: Some(stored(1000)),
        refs: vec![moved("refs/heads/main", 'c')],
        release: Some(CommitRelease {
            slug: stored(500),
            manifest: Manifest {
                head: Some(Head { commit: commit_id('c'), branch: "refs/heads/main".into() }),
                buildpack: "Python".into(),
                process_types: [
                    ("web".parse().unwrap(), "python app.py".to_owned()),
                    ("console".parse().unwrap(), "python".to_owned()),
                ]
                .into(),
                default_types: vec!["console".parse().unwrap()],
            },
            stack: "openruko-12".parse().unwrap(),
        }),
    }
}

pub(crate) fn moved(name: &str, to: char) -> RefUpdate {
    RefUpdate { name: name.into(), old: commit_id('0'), new: commit_id(to) }
}
