//! One-off dynos: attached with `openruko run`, and detached.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use openruko_tests::{Developer, World, until};
use serde_json::{Value, json};

use super::{PATIENCE, Running, probe};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::one_offs::exit_status_is_the_commands", exit_status_is_the_commands),
    ("running::one_offs::command_has_slug_environment_and_stdin", command_has_slug_environment_and_stdin),
    ("running::one_offs::terminal_is_one", terminal_is_one),
    ("running::one_offs::client_that_vanishes_ends_it", client_that_vanishes_ends_it),
    ("running::one_offs::detached_prints_to_the_log", detached_prints_to_the_log),
    ("running::one_offs::it_can_be_stopped", it_can_be_stopped),
];

/// A developer with a running app, logged in.
fn logged_in<'w>(world: &'w World, dev: &Developer, name: &str) -> Running<'w> {
    let app = probe(world, dev, name);
    let mut login = openruko(world, dev);
    login.args(["login", &world.public_url(), "--token-stdin"]).stdin(Stdio::piped());
    let mut login = login.spawn().unwrap();
    login.stdin.take().unwrap().write_all(world.token(dev).as_bytes()).unwrap();
    assert!(login.wait().unwrap().success());
    dev.fixture("probe").deploy(name);
    app
}

/// `openruko` as this developer, without a Heroku CLI.
fn openruko(world: &World, dev: &Developer) -> Command {
    let mut command = Command::new(world.installed("bin/openruko"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dev.home())
        .env("OPENRUKO_NATIVE", "1")
        .current_dir(dev.home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(world: &World, dev: &Developer, args: &[&str], typed: &str) -> (i32, String) {
    let mut child = openruko(world, dev).arg("run").args(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let seen = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&seen).into_owned())
}

fn exit_status_is_the_commands(world: &World) {
    let dev = world.developer("xena");
    let app = logged_in(world, &dev, "exiting");
    for status in [0, 7] {
        let command = format!("bash -c \"exit {status}\"");
        let (exit, seen) = run(world, &dev, &["-a", "exiting", "-x", "--", &command], "");
        assert_eq!(exit, status, "{seen}");
    }
    until("they are gone", PATIENCE, || app.dynos().len() == 1);
}

fn command_has_slug_environment_and_stdin(world: &World) {
    let dev = world.developer("stina");
    let app = logged_in(world, &dev, "commanded");
    app.set_config("KEY", "from config");
    assert_eq!(app.settled().1, "succeeded");
    let command = "cat version.txt; echo \"$KEY $DYNO $PORT.\"; wc -c";
    let (exit, seen) = run(world, &dev, &["-a", "commanded", "--no-tty", "--", command], "twelve bytes");
    assert_eq!(exit, 0, "{seen}");
    assert!(seen.contains("1\nfrom config run."), "{seen}");
    assert!(seen.contains("\n12\n"), "{seen}");
}

/// `script` gives the client a terminal.
fn terminal_is_one(world: &World) {
    let dev = world.developer("tess");
    let _app = logged_in(world, &dev, "terminal");
    let program = world.installed("bin/openruko");
    let inner = format!("stty cols 93 rows 41; {} run -a terminal -- bash", program.display());
    let client = openruko(world, &dev);
    let mut script = Command::new("script");
    script.env_clear().envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("TERM", "xterm").current_dir(dev.home());
    script.args(["--quiet", "--return", "--command", &inner, "/dev/null"]);
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = script.stdin.take().unwrap();
    let mut stdout = script.stdout.take().unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let reader = std::thread::spawn({
        let seen = seen.clone();
        move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut piece) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        }
    });
    // Each is typed when what it needs is there, as a person would.
    let wait_for = |what: &str| until(what, PATIENCE, || seen.lock().unwrap().contains(what));
    let mut enter = |typed: &str| stdin.write_all(typed.as_bytes()).unwrap();
    wait_for("$ ");
    enter("tty && stty size\n");
    wait_for("/dev/pts/");
    wait_for("41 93");
    enter("bash -c 'echo asleep$((40 + 2)); sleep 100'\n");
    wait_for("asleep42");
    enter("\u{3}");
    enter("echo interrupted $?\n");
    wait_for("interrupted 130");
    enter("exit\n");
    assert!(script.wait().unwrap().success());
    reader.join().unwrap();
}

fn client_that_vanishes_ends_it(world: &World) {
    let dev = world.developer("vera");
    let app = logged_in(world, &dev, "left-alone");
    let mut client = openruko(world, &dev);
    client.args(["run", "-a", "left-alone", "--", "sleep 1000"]).stdin(Stdio::piped());
    let mut client = client.spawn().unwrap();
    until("it runs", PATIENCE, || {
        app.dynos().iter().any(|(name, state)| name.starts_with("run.") && state == "up")
    });
    client.kill().unwrap();
    client.wait().unwrap();
    until("it is gone", PATIENCE, || app.dynos().len() == 1);
}

fn detached_prints_to_the_log(world: &World) {
    let dev = world.developer("dirk");
    let app = logged_in(world, &dev, "detached");
    let dyno =
        app.call("POST", "/dynos", &json!({ "command": "echo nobody waits for $DYNO", "attach": false }));
    let name = dyno["name"].as_str().unwrap();
    app.wait_for_log(&format!("app[{name}]: nobody waits for {name}"));
    app.wait_for_log(&format!("heroku[{name}]: Process exited with status 0"));
    until("it is gone", PATIENCE, || app.dynos().len() == 1);
}

fn it_can_be_stopped(world: &World) {
    let dev = world.developer("stop");
    let app = logged_in(world, &dev, "stoppable");
    let dyno = app.call("POST", "/dynos", &json!({ "command": "sleep 1000", "attach": false }));
    let name = dyno["name"].as_str().unwrap();
    until("it runs", PATIENCE, || app.dynos().contains(&(name.to_owned(), "up".to_owned())));
    let _ = app.call("POST", &format!("/dynos/{name}/actions/stop"), &Value::Null);
    until("it is gone", PATIENCE, || app.dynos().len() == 1);
}
