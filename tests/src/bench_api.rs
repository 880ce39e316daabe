//! `make bench`: how the API answers with much in its database, on SQLite and on PostgreSQL: each call's
//! median and 99th percentile in milliseconds, and as a ratio of the median with a hundredth of it, since
//! machines differ. Adds to `target/bench/results.json`.
//!
//! PostgreSQL is the tests' own, which does not wait for the disk (`fsync=off`): of the two databases' writes
//! only SQLite's are those of a production server.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use openruko_tests::results::{self, Figures, figure};
use ruko_test_postgres::{Database, Server};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use ureq::Agent;
use ureq::http::Request;

/// How much is in the database.
#[derive(Clone, Copy)]
struct Size {
    users: u32,
    releases_of_app: u32,
}

/// A million releases of ten thousand apps.
const LARGE: Size = Size { users: 1000, releases_of_app: 100 };

/// Enough that every answer has the same length as with the large one.
const SMALL: Size = Size { users: 100, releases_of_app: 20 };

const APPS_OF_USER: u32 = 10;
const RELEASES_OF_PUSH: u32 = 5;

/// Calls of each kind.
const READS: usize = 400;
/// Of those that write or answer at length.
const SLOW: usize = 100;
/// Apps that are made and destroyed.
const APPS: usize = 30;

/// Clients at a time, and the changes that each makes.
const CROWD: usize = 200;
const CHANGES: usize = 3;

/// Commits for the disk's own time.
const SYNCS: usize = 200;

const COMPONENT: &str = "token-of-the-benchmark";

fn main() {
    let dir = tempfile::tempdir_in(results::file().parent().unwrap()).unwrap();
    let mut all = vec![figure("sync_ms", median(&mut syncs(dir.path())) * 1000.0)];
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let small = measured(kind, SMALL, &dir.path().join("small"));
        let large = measured(kind, LARGE, &dir.path().join("large"));
        all.extend(figures(kind, &small, &large));
    }
    results::add(all);
}

#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Before a database is filled: what is put in is whole, and need not be looked at row by row.
    const fn unchecked(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000"
            }
            Self::Postgres => "SET session_replication_role = 'replica'",
        }
    }
}

/// What was measured with one database.
struct Measured {
    calls: Vec<(&'static str, Vec<Duration>)>,
    /// How long the crowd took.
    crowd: Duration,
    /// Its calls that did not succeed.
    refused: usize,
}

fn figures(kind: Kind, small: &Measured, large: &Measured) -> Figures {
    let mut figures = Figures::new();
    let mut add =
        |what: &str, value: f64| figures.push(figure(&format!("api_{}_{what}", kind.name()), value));
    for ((call, few), (_, many)) in small.calls.iter().zip(&large.calls) {
        let (few, many) = (&mut few.clone(), &mut many.clone());
        add(&format!("{call}_ms"), median(many) * 1000.0);
        add(&format!("{call}_p99_ms"), percentile(many, 99) * 1000.0);
        add(&format!("{call}_vs_small"), median(many) / median(few));
    }
    add("crowd_changes_per_second", (CROWD * CHANGES) as f64 / large.crowd.as_secs_f64());
    add("crowd_vs_small", large.crowd.as_secs_f64() / small.crowd.as_secs_f64());
    add("crowd_refused", (small.refused + large.refused) as f64);
    figures
}

/// In seconds.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64()
}

fn median(times: &mut [Duration]) -> f64 {
    percentile(times, 50)
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// How long the disk takes for a page that was written, where the databases are.
fn syncs(dir: &Path) -> Vec<Duration> {
    let mut file = File::create(dir.join("page")).unwrap();
    let sync = |_| {
        file.write_all(&[0; 4096]).unwrap();
        timed(|| file.sync_data().unwrap()).0
    };
    (0..SYNCS).map(sync).collect()
}

/// Fills a database of this kind and calls an API with it.
fn measured(kind: Kind, size: Size, dir: &Path) -> Measured {
    fs::create_dir_all(dir).unwrap();
    let database = match kind {
        Kind::Sqlite => Backing::File(dir.join("api.db")),
        Kind::Postgres => Backing::Server(Server::shared().database()),
    };
    // Once for the tables.
    drop(Api::start(dir, &database.url()));
    let (time, ()) = timed(|| seed(kind, size, &database.url()));
    println!("{}: {} apps in {:.1} s", kind.name(), size.users * APPS_OF_USER, time.as_secs_f64());
    let api = Api::start(dir, &database.url());
    let calls = calls(&api, size);
    let (crowd, refused) = timed(|| crowd(&api));
    Measured { calls, crowd, refused }
}

enum Backing {
    File(PathBuf),
    Server(Database<'static>),
}

impl Backing {
    fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite://{}", path.display()),
            Self::Server(database) => database.url(),
        }
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        if let Self::File(path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// The program, running.
struct Api {
    process: Child,
    internal: String,
    public: String,
}

impl Api {
    fn start(dir: &Path, database: &str) -> Self {
        let config = dir.join("config.toml");
        let text = format!(
            "[api]\nlisten = '127.0.0.1:0'\ndatabase = '{database}'\nstorage = 'file:///nowhere'\n\
             url = 'http://api.test'\nweb_url = 'http://{{app}}.localhost:8080/'\n\
             stack = 'openruko-12'\ntemplate = 'openruko-build'\n\
             [api.components]\nserve = '{component}'\n\
             [api.public]\nlisten = '127.0.0.1:0'\nurl = 'http://paas.test'\n\
             git_url = 'https://git.test/{{app}}.git'\nssh_url = 'ssh://git@git.test/{{app}}.git'\n\
             calls_per_hour = 1000000\n",
            component = digest(COMPONENT),
        );
        fs::write(&config, text).unwrap();
        let program = std::env::current_exe().unwrap().with_file_name("openruko-api");
        let mut process =
            Command::new(program).arg("--config").arg(config).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut address = || {
            lines.find_map(|line| {
                Some(line.split_once("listens on ").or(line.split_once("listening on "))?.1.to_owned())
            })
        };
        let (internal, public) = (address().unwrap(), address().unwrap());
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        Self { process, internal, public }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let told = Command::new("kill").arg(self.process.id().to_string()).status();
        if told.is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The token of the benchmark's user of that number.
fn token(user: u32) -> String {
    format!("HRKU-benchmark-{user}")
}

/// Somebody with a connection of their own.
struct Client<'a> {
    agent: Agent,
    url: &'a str,
    token: String,
}

impl<'a> Client<'a> {
    fn new(url: &'a str, token: String) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, url, token }
    }

    /// The status of the answer, which is read to its end.
    fn call(&self, method: &str, path: &str, range: &str, body: &Value) -> u16 {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Accept", "application/vnd.heroku+json; version=3")
            .header("Content-Type", "application/json")
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Range", range)
            .body(body)
            .unwrap();
        let mut response = self.agent.run(request).unwrap();
        response.body_mut().read_to_vec().unwrap();
        response.status().as_u16()
    }

    /// So many times, the first of which does not count.
    fn times(&self, times: usize, method: &str, path: &str, range: &str, status: u16) -> Vec<Duration> {
        let all = (0..=times).map(|turn| {
            let body = if method == "PATCH" { json!({ "TURN": turn.to_string() }) } else { Value::Null };
            let (time, answer) = timed(|| self.call(method, path, range, &body));
            assert_eq!(answer, status, "{method} {path}");
            time
        });
        all.skip(1).collect()
    }

    fn gets(&self, times: usize, path: &str) -> Vec<Duration> {
        self.times(times, "GET", path, "id ..", 200)
    }
}

/// Each call, often.
fn calls(api: &Api, size: Size) -> Vec<(&'static str, Vec<Duration>)> {
    let user = size.users / 2;
    let number = user * APPS_OF_USER + APPS_OF_USER / 2;
    let app = format!("/apps/app-{number:06}");
    let dev = Client::new(&api.public, token(user));
    let admin = Client::new(&api.public, token(0));
    let component = Client::new(&api.internal, COMPONENT.to_owned());
    let key = format!("/internal/keys?fingerprint=SHA256:{:043}", user * 2);
    let may = format!("/internal/authorize?user=user-{user:06}&app=app-{number:06}&access=write");
    let second_page = format!("id ]{}..", id_of_app(499));
    let mut calls = vec![
        ("health", dev.gets(READS, "/health")),
        ("account", dev.gets(READS, "/account")),
        ("apps_of_user", dev.gets(READS, "/users/~/apps")),
        ("apps", dev.gets(READS, "/apps")),
        (
            "apps_of_admin",
            admin.times(SLOW, "GET", "/apps", "id ..", if size.users > 100 { 206 } else { 200 }),
        ),
        ("apps_of_admin_by_15", admin.times(SLOW, "GET", "/apps", &format!("{second_page}; max=15"), 206)),
        ("app", dev.gets(READS, &app)),
        (
            "releases",
            dev.times(READS, "GET", &format!("{app}/releases"), "version ..; order=desc,max=15", 206),
        ),
        ("config_vars", dev.gets(READS, &format!("{app}/config-vars"))),
        ("dynos", dev.gets(READS, &format!("{app}/dynos"))),
        ("builds", dev.gets(READS, &format!("{app}/builds"))),
        ("key_owner", component.gets(READS, &key)),
        ("authorize", component.times(READS, "GET", &may, "id ..", 204)),
        ("set_config_var", dev.times(SLOW, "PATCH", &format!("{app}/config-vars"), "", 200)),
    ];
    calls.extend(apps_made_and_destroyed(&dev));
    calls
}

fn apps_made_and_destroyed(dev: &Client<'_>) -> [(&'static str, Vec<Duration>); 2] {
    let (mut made, mut destroyed) = (Vec::new(), Vec::new());
    for number in 0..APPS {
        let name = format!("bench-{number}");
        let (time, status) = timed(|| dev.call("POST", "/apps", "", &json!({ "name": name })));
        assert_eq!(status, 201);
        made.push(time);
        let (time, status) = timed(|| dev.call("DELETE", &format!("/apps/{name}"), "", &Value::Null));
        assert_eq!(status, 200);
        destroyed.push(time);
    }
    [("make_app", made), ("destroy_app", destroyed)]
}

/// Many at a time, who set config vars of an app each. Gives how many calls did not succeed.
fn crowd(api: &Api) -> usize {
    let begin = Barrier::new(CROWD);
    std::thread::scope(|scope| {
        let client = |number: usize| {
            let (begin, client) = (&begin, Client::new(&api.public, token(0)));
            scope.spawn(move || {
                let path = format!("/apps/app-{number:06}/config-vars");
                begin.wait();
                let change =
                    |turn: usize| client.call("PATCH", &path, "", &json!({ "CROWD": turn.to_string() }));
                (0..CHANGES).map(change).filter(|status| *status != 200).count()
            })
        };
        let clients: Vec<_> = (0..CROWD).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

/// Fills a database in statements that both kinds of database run.
fn seed(kind: Kind, size: Size, url: &str) {
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut db = AnyConnection::connect(url).await.unwrap();
        db.execute(kind.unchecked()).await.unwrap();
        for statement in statements(size) {
            db.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        db.close().await.unwrap();
    });
}

/// An expression for a number in so many digits.
fn padded(number: &str, width: usize) -> String {
    let zeros = "0".repeat(width);
    format!("substr('{zeros}' || ({number}), length('{zeros}' || ({number})) - {}, {width})", width - 1)
}

/// An expression for the ULID of a number, of a kind.
fn id(kind: char, number: &str) -> String {
    format!("('01H{kind}000000000000' || {})", padded(number, 10))
}

/// The id of an app, as clients may name it.
fn id_of_app(number: u32) -> String {
    format!("01HA000000000000{number:010}")
}

/// The numbers below a bound, as a table.
fn below(table: &str, bound: u32) -> String {
    format!("{table}(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM {table} WHERE i < {})", bound - 1)
}

fn statements(size: Size) -> Vec<String> {
    let Size { users, releases_of_app: releases } = size;
    let apps = users * APPS_OF_USER;
    let pushes = releases / RELEASES_OF_PUSH;
    let now = "1760000000000";
    let each_user = format!("WITH RECURSIVE {}", below("u", users));
    let each_app = format!("WITH RECURSIVE {}", below("a", apps));
    let each_push = format!("WITH RECURSIVE {}, {}", below("a", apps), below("p", pushes));
    let each_release = format!("WITH RECURSIVE {}, {}", below("a", apps), below("r", releases));
    let each_type = "(SELECT 'web' AS name UNION ALL SELECT 'worker') t";
    let pair = format!("WITH RECURSIVE {}, {}", below("u", users), below("k", 2));
    let (user, app) = (id('1', "u.i"), id('A', "a.i"));
    let user_name = |number: &str| format!("'user-' || {}", padded(number, 6));
    let (of_user, of_owner) = (user_name("u.i"), user_name(&format!("a.i / {APPS_OF_USER}")));
    let push = id('B', &format!("a.i * {pushes} + p.i"));
    let slug = id('B', &format!("a.i * {pushes} + r.i / {RELEASES_OF_PUSH}"));
    let mut all = vec![
        format!(
            "INSERT INTO users (id, name, email, site_admin, created_at, updated_at) {each_user} \
             SELECT {user}, {of_user}, {of_user} || '@bench.test', CASE WHEN u.i = 0 THEN 1 ELSE 0 END, {now}, {now} \
             FROM u"
        ),
        format!(
            "INSERT INTO ssh_keys (id, fingerprint, user_id, public_key, comment, created_at) {pair} \
             SELECT {}, 'SHA256:' || {}, {user}, 'ssh-ed25519 AAAA', 'bench', {now} FROM u CROSS JOIN k",
            id('2', "u.i * 2 + k.i"),
            padded("u.i * 2 + k.i", 43),
        ),
        format!(
            "INSERT INTO authorizations (id, user_id, description, scope, token_digest, token_hint, created_at, \
             updated_at) {pair} SELECT {}, {user}, 'bench', 'global', {}, 'HRKU', {now}, {now} FROM u CROSS JOIN k",
            id('3', "u.i * 2 + k.i"),
            padded("u.i * 2 + k.i", 64),
        ),
        format!(
            "INSERT INTO apps (id, name, owner_id, stack, repo_version, release, released_at, created_at, updated_at) \
             {each_app} SELECT {app}, 'app-' || {}, {}, 'openruko-12', {pushes}, {releases}, {now}, {now}, {now} FROM a",
            padded("a.i", 6),
            id('1', &format!("a.i / {APPS_OF_USER}")),
        ),
        format!(
            "INSERT INTO collaborators (app_id, user_id, id, permissions, created_at, updated_at) {each_app} \
             SELECT {app}, {}, {}, 'deploy operate view', {now}, {now} FROM a WHERE a.i % 3 = 0",
            id('1', &format!("(a.i / {APPS_OF_USER} + 1) % {users}")),
            id('4', "a.i"),
        ),
        format!(
            "INSERT INTO config_vars (app_id, name, value) WITH RECURSIVE {}, {} \
             SELECT {app}, 'VARIABLE_' || n.i, 'postgres://user:secret@database.internal/' || a.i FROM a CROSS JOIN n",
            below("a", apps),
            below("n", 5),
        ),
        format!(
            "INSERT INTO pushes (id, app_id, user_name, request_id, status, repo_key, slug_key, lease_ends, answer, \
             release, created_at, ended_at) {each_push} SELECT {push}, {app}, {of_owner}, 'bench', 'succeeded', 'r', \
             's', 0, '{{}}', p.i * {RELEASES_OF_PUSH} + 1, {now} + p.i, {now} + p.i FROM a CROSS JOIN p"
        ),
        format!(
            "INSERT INTO repo_versions (app_id, version, object_key, bytes, sha256, push_id, created_at, gone_at) \
             {each_push} SELECT {app}, p.i + 1, 'apps/bench/repo.pack', 100000, '{sha}', {push}, {now}, {now} \
             FROM a CROSS JOIN p",
            sha = "ab".repeat(32),
        ),
        format!(
            "INSERT INTO slugs (id, app_id, object_key, bytes, sha256, commit_id, branch, buildpack, stack, created_at) \
             {each_push} SELECT {push}, {app}, 'apps/bench/slug.tar.gz', 1000000, '{sha}', '{commit}', \
             'refs/heads/main', 'Python', 'openruko-12', {now} FROM a CROSS JOIN p",
            sha = "ab".repeat(32),
            commit = "c".repeat(40),
        ),
        format!(
            "INSERT INTO releases (id, app_id, version, description, user_name, slug_id, status, config_vars, \
             created_at, updated_at) {each_release} SELECT {}, {app}, r.i + 1, 'Set VARIABLE_1 config var', \
             {of_owner}, {slug}, 'succeeded', '{{\"VARIABLE_1\":\"postgres://user:secret@database.internal/\"}}', \
             {now} + r.i, {now} + r.i FROM a CROSS JOIN r",
            id('C', &format!("a.i * {releases} + r.i")),
        ),
        format!(
            "INSERT INTO process_types (app_id, version, name, command, from_buildpack) {each_release} \
             SELECT {app}, r.i + 1, t.name, 'python app.py', 0 FROM a CROSS JOIN r CROSS JOIN {each_type}"
        ),
        format!(
            "INSERT INTO audit (id, at, user_name, address, action, app_id, app_name, detail) {each_release} \
             SELECT {}, {now} + r.i, {of_owner}, '192.0.2.1', 'PATCH /apps/{{app}}/config-vars', {app}, \
             'app-' || {}, '/apps/app/config-vars' FROM a CROSS JOIN r",
            id('D', &format!("a.i * {releases} + r.i")),
            padded("a.i", 6),
        ),
    ];
    all.extend([0, users / 2].map(|user| {
        let first = format!("01H3000000000000{:010}", user * 2);
        format!("UPDATE authorizations SET token_digest = '{}' WHERE id = '{first}'", digest(&token(user)))
    }));
    all.push("ANALYZE".to_owned());
    all
}
