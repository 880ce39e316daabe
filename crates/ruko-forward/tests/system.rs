//! The real Heroku CLI, installed from npm: `cargo test -p ruko-forward --features system --test system`.
//!
//! Needs Node.js 20, npm and its registry; what was installed is kept below the target directory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Authority, Ended, Head, Machine, Server, Stream, TOKEN, answer, json, send};
use serde_json::json;

#[test]
fn openruko() {
    common::be_openruko();
}

/// The newest version, the last of the former kind, and the newest 7.
const VERSIONS: [&str; 3] = ["11.10.0", "8.11.5", "7.69.1"];

/// The CLI of this version, from npm or from an earlier run.
fn installed(version: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("heroku-{version}"));
    let program = dir.join("node_modules/.bin/heroku");
    if program.exists() {
        return program;
    }
    // Installed beside its place and moved there: an interrupted installation is none.
    let parts = dir.with_extension("part");
    let _ = fs::remove_dir_all(&parts);
    fs::create_dir_all(&parts).unwrap();
    let npm = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .arg("--prefix")
        .arg(&parts)
        .arg(format!("heroku@{version}"))
        .stdin(Stdio::null())
        .status()
        .expect("npm");
    assert!(npm.success(), "npm cannot install heroku@{version}");
    fs::rename(&parts, &dir).unwrap();
    program
}

fn app(name: &str) -> serde_json::Value {
    let named = |name: &str| json!({"id": "1", "name": name});
    json!({
        "id": "1", "name": name, "web_url": format!("https://{name}.apps.test/"),
        "git_url": "https://git.test/x.git", "owner": {"id": "1", "email": "dev@example.test"},
        "region": named("us"), "stack": named("heroku-24"), "build_stack": named("heroku-24"),
        "generation": named("cedar"), "repo_size": 0, "slug_size": 0,
    })
}

/// An API that knows what the tests ask, and one-off dynos that repeat their input.
struct Paas {
    server: Server,
    authority: Authority,
}

impl Paas {
    fn start() -> Self {
        let authority = Authority::new();
        let dynos = dynos(&authority);
        let port = Arc::new(AtomicUsize::new(0));
        let known = port.clone();
        let server = Server::start(authority.server(&["localhost"]), move |head, stream| {
            let origin = format!("https://localhost:{}", known.load(Ordering::SeqCst));
            let mut body = Vec::new();
            head.body(stream, |piece| body.extend_from_slice(piece));
            answer_api(head, &body, stream, &origin, dynos)
        });
        port.store(server.port.into(), Ordering::SeqCst);
        Self { server, authority }
    }

    fn machine(&self, version: &str) -> Machine {
        let machine = Machine::new(self.server.upstream(&self.authority), installed(version));
        machine.git(&["init", "-q"]);
        machine
    }

    fn ssh(&self, app: &str) -> String {
        format!("ssh://git@localhost:2222/{app}.git")
    }

    fn https(&self, app: &str) -> String {
        format!("https://localhost:{}/{app}.git", self.server.port)
    }
}

fn answer_api(head: &Head, body: &[u8], stream: &mut Stream, origin: &str, dynos: u16) -> bool {
    let mut words = head.first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let route = format!("{method} {}", path.split('?').next().unwrap());
    let secret =
        path.starts_with("/streams/") || path.starts_with("/buildpacks/") || path.starts_with("/api/v4/");
    let token = format!("Bearer {TOKEN}");
    assert_eq!(head.header("authorization"), (!secret).then_some(token.as_str()), "{route}");
    let parsed = || serde_json::from_slice::<serde_json::Value>(body).unwrap();
    let ok = "200 OK";
    match route.as_str() {
        "GET /account" => json(stream, ok, &json!({"id": "1", "email": "dev@example.test"})),
        "POST /apps" => {
            json(stream, "201 Created", &app(parsed()["name"].as_str().unwrap_or("quiet-harbor-1")))
        }
        "GET /apps/shop" => json(stream, ok, &app("shop")),
        "PATCH /apps/shop" => json(stream, ok, &app("market")),
        "GET /apps/market" | "DELETE /apps/market" => json(stream, ok, &app("market")),
        "GET /apps/shop/config-vars" => json(stream, ok, &json!({"NAME": "value of shop"})),
        "POST /apps/shop/log-sessions" => json(
            stream,
            "201 Created",
            &json!({"id": "1", "logplex_url": format!("{origin}/streams/s1?x=1")}),
        ),
        "GET /streams/s1" => {
            let events = "retry: 1\n\nid: 1\ndata: 2026-11-22T11:06:39.172134+00:00 app[web.1]: hello\n\n";
            answer(stream, ok, &["Content-Type: text/event-stream"], events)
        }
        "POST /apps/shop/dynos" => {
            let attach_url = format!("rendezvous://localhost:{dynos}/secret?x=1");
            json(stream, "201 Created", &json!({"id": "1", "name": "run.1", "attach_url": attach_url}))
        }
        "PUT /apps/shop/buildpack-installations" => {
            let url = parsed()["updates"][0]["buildpack"].clone();
            json(stream, ok, &json!([{"ordinal": 0, "buildpack": {"name": url, "url": url}}]))
        }
        "GET /apps/shop/buildpack-installations" => json(stream, ok, &json!([])),
        "GET /api/v4/current-status" => {
            json(stream, ok, &json!({"status": [{"system": "Apps", "status": "green"}], "incidents": []}))
        }
        _ if route.starts_with("GET /buildpacks/") => json(
            stream,
            ok,
            &json!({"id": "1", "name": "x", "blob_url": "https://b.test/x.tgz", "state": "published"}),
        ),
        _ => json(stream, "404 Not Found", &json!({"id": "not_found", "message": format!("no {route}")})),
    }
}

/// One-off dynos that repeat their input in capitals. Greeting and output leave at once, so that a CLI
/// that gets them in one piece loses the output.
fn dynos(authority: &Authority) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = authority.server(&["localhost"]);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = common::accept(config.clone(), stream.unwrap());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert_eq!(line, "secret?x=1\r\n");
            for record in ["rendezvous\r\n", "ready\r\n"] {
                assert_eq!(stream.get_mut().conn.writer().write(record.as_bytes()).unwrap(), record.len());
            }
            stream.get_mut().flush().unwrap();
            let mut input = Vec::new();
            stream.read_until(4, &mut input).unwrap();
            input.pop();
            let said = String::from_utf8(input).unwrap().to_uppercase();
            send(&mut stream, &said);
            send(&mut stream, "\u{ffff} heroku-command-exit-status: 3\n");
            stream.get_mut().conn.send_close_notify();
            stream.get_mut().flush().unwrap();
        }
    });
    port
}

/// Runs a test with every version.
fn with_each(test: impl Fn(&Paas, &Machine, &str)) {
    let paas = Paas::start();
    for version in VERSIONS {
        let machine = paas.machine(version);
        test(&paas, &machine, version);
        assert_eq!(machine.left_over(), 0, "{version}");
        let own = machine.path("home/.gitconfig");
        assert!(!own.exists(), "{version}: {}", fs::read_to_string(&own).unwrap());
        assert!(!machine.path("home/.netrc").exists(), "{version}");
    }
}

#[track_caller]
fn done(version: &str, ended: &Ended, expected: &str) {
    assert_eq!(ended.status, 0, "{version}: {ended:?}");
    assert!(ended.stdout.contains(expected), "{version}: {ended:?}");
}

#[test]
fn the_cli_is_who_the_token_says() {
    with_each(|_, machine, version| done(version, &machine.openruko(&["whoami"]), "dev@example.test"));
}

#[test]
fn an_app_is_made_found_renamed_and_destroyed() {
    with_each(|paas, machine, version| {
        done(version, &machine.openruko(&["create", "shop"]), "https://shop.apps.test/");
        assert_eq!(
            machine.git(&["remote", "-v"]).lines().next().unwrap(),
            format!("openruko\t{} (fetch)", paas.ssh("shop"))
        );
        done(version, &machine.openruko(&["config"]), "value of shop");
        machine.git(&["remote", "add", "staging", &paas.https("shop2")]);
        done(version, &machine.openruko(&["config", "-r", "openruko"]), "value of shop");
        let undecided = machine.openruko(&["config"]);
        assert!(undecided.stderr.contains("Multiple apps"), "{version}: {undecided:?}");
        machine.git(&["remote", "rm", "staging"]);
        machine.git(&["remote", "add", "heroku", "https://git.heroku.com/other.git"]);
        machine.git(&["config", "heroku.remote", "heroku"]);
        done(version, &machine.openruko(&["config"]), "value of shop");
        machine.git(&["remote", "rm", "heroku"]);
        done(version, &machine.openruko(&["apps:rename", "market"]), "https://market.apps.test/");
        assert_eq!(machine.git(&["config", "remote.openruko.url"]), paas.ssh("market"));
        done(version, &machine.openruko(&["apps:destroy", "--confirm", "market"]), "");
        assert_eq!(machine.git(&["remote"]), "", "{version}");
    });
}

#[test]
fn a_remote_is_set_for_either_transport() {
    with_each(|paas, machine, version| {
        done(version, &machine.openruko(&["git:remote", "-a", "shop"]), &paas.ssh("shop"));
        assert_eq!(machine.git(&["config", "remote.openruko.url"]), paas.ssh("shop"));
        done(version, &machine.openruko(&["git:remote", "-a", "shop", "--http-git"]), &paas.https("shop"));
        assert_eq!(machine.git(&["config", "remote.openruko.url"]), paas.https("shop"));
        let helper =
            machine.git(&["config", "--get-all", &format!("credential.{}.helper", paas.server.url())]);
        assert_eq!(helper, "\n!openruko git:credentials --server main");
        done(version, &machine.openruko(&["config"]), "value of shop");
        done(version, &machine.openruko(&["git:remote", "-a", "shop", "-r", "two"]), &paas.ssh("shop"));
    });
}

#[test]
fn an_app_is_cloned_over_ssh() {
    with_each(|paas, machine, version| {
        machine.git(&["init", "-q", "--bare", "../shop.git"]);
        let store = machine.path("shop.git");
        let ssh = machine.script("ssh", &format!("exec git-upload-pack '{}'", store.display()));
        let mut call = machine.call(&["git:clone", "-a", "shop"]);
        let output = call.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh").output().unwrap();
        assert!(output.status.success(), "{version}: {output:?}");
        assert_eq!(machine.git(&["-C", "shop", "config", "remote.openruko.url"]), paas.ssh("shop"));
    });
}

#[test]
fn logs_are_streamed() {
    with_each(|_, machine, version| {
        done(version, &machine.openruko(&["logs", "-a", "shop"]), "app[web.1]: hello");
    });
}

#[test]
fn a_one_off_dyno_gets_the_input_and_loses_no_output() {
    with_each(|_, machine, version| {
        let ended = machine.openruko_with(&["run", "--no-tty", "-a", "shop", "cat"], "typed");
        assert!(ended.stdout.contains("ready\nTYPED"), "{version}: {ended:?}");
        let ended = machine.openruko_with(&["run", "--no-tty", "-x", "-a", "shop", "cat"], "typed");
        assert_eq!(ended.status, 3, "{version}: {ended:?}");
    });
}

#[test]
fn buildpacks_are_looked_up_and_the_status_is_ours() {
    with_each(|_, machine, version| {
        let ended = machine.openruko(&["buildpacks:set", "-a", "shop", "some/thing"]);
        assert_eq!(ended.status, 0, "{version}: {ended:?}");
        done(version, &machine.openruko(&["status"]), "Apps:");
    });
}

#[test]
fn a_server_that_is_gone_is_named_and_nobody_waits_for_it() {
    let paas = Paas::start();
    for version in VERSIONS {
        let mut machine = paas.machine(version);
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        machine.upstream.url = format!("https://localhost:{free}");
        let begun = std::time::Instant::now();
        let _ = machine.openruko(&["version"]);
        let usual = begun.elapsed();
        let asked = std::time::Instant::now();
        let ended = machine.openruko(&["config", "-a", "shop"]);
        assert_ne!(ended.status, 0, "{version}: {ended:?}");
        assert!(ended.stderr.contains("cannot reach https://localhost:"), "{version}: {ended:?}");
        // The CLI's own attempts to connect again would take six seconds more than it takes anyway.
        let took = asked.elapsed();
        assert!(
            took < usual * 2 + std::time::Duration::from_secs(5),
            "{version}: {took:?}, usually {usual:?}"
        );
    }
}
