//! Running a CLI: its environment, its end, and what becomes of the git remotes that it writes.
//!
//! The CLI is a shell script here; `system.rs` has the real ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use common::{Machine, TOKEN};
use ruko_forward::Upstream;

#[test]
fn openruko() {
    common::be_openruko();
}

/// A machine whose CLI is this script. No server answers: nothing asks it.
fn machine(script: &str) -> Machine {
    let upstream = Upstream {
        name: "main server".into(),
        url: "https://paas.test:8443".into(),
        token: TOKEN.into(),
        git_url: "https://git.test:5443/{app}.git".into(),
        ssh_url: "ssh://git@git.test:2222/{app}.git".into(),
        ca_file: None,
    };
    let mut machine = Machine::new(upstream, "".into());
    machine.heroku = machine.script("heroku", script);
    machine
}

const SSH: &str = "ssh://git@git.test:2222/shop.git";
const CLI: &str = "https://git.test:5443/shop.git";

#[test]
fn the_cli_gets_its_arguments_and_its_status_is_passed_on() {
    let machine = machine("for arg; do echo \"<$arg>\"; done; cat; echo trouble >&2; exit 3");
    let ended = machine.openruko_with(&["config:set", "A=b c", "", "--http-git"], "typed");
    assert_eq!((ended.status, ended.stderr.as_str()), (3, "trouble\n"));
    assert_eq!(ended.stdout, "<config:set>\n<A=b c>\n<>\n<--http-git>\ntyped");
    assert_eq!(machine.left_over(), 0);
}

#[test]
fn the_cli_never_sees_the_token_nor_the_login_of_the_real_heroku() {
    let mut machine = machine(
        "env; cat \"$NODE_EXTRA_CA_CERTS\" \"$GIT_CONFIG_GLOBAL\"; stat -c %a \"$(dirname \"$GIT_CONFIG_GLOBAL\")\"",
    );
    fs::write(machine.path("own-ca.pem"), "their certificates").unwrap();
    for (name, value) in [
        ("HEROKU_API_KEY", "HRKU-theirs"),
        ("HEROKU_HEADERS", "{\"Authorization\":\"Bearer HRKU-theirs\"}"),
        ("HEROKU_APP", "shop"),
        ("NODE_EXTRA_CA_CERTS", machine.path("own-ca.pem").to_str().unwrap()),
    ] {
        machine.variables.push((name.into(), value.into()));
    }
    let ended = machine.openruko(&["whoami"]);
    // The call of the test program is the one place where the token stands.
    let said: Vec<_> = ended.stdout.lines().filter(|line| !line.starts_with("OPENRUKO_TEST_CALL")).collect();
    let said = said.join("\n");
    assert!(!said.contains(TOKEN) && !said.contains("HRKU-theirs"), "{said}");
    for expected in [
        "HEROKU_HOST=http://127.0.0.1:",
        "HEROKU_APP=shop",
        "HEROKU_GIT_HOST=git.test:5443",
        "their certificates\n-----BEGIN CERTIFICATE-----",
        "/home/.gitconfig\"",
        "\n700",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let cache = machine.path("home/.cache/openruko/heroku-paas.test_8443");
    assert!(said.contains(&format!("HEROKU_CACHE_DIR={}", cache.display())), "{said}");
    assert!(cache.join("terms-of-service").exists());
    assert_eq!(machine.left_over(), 0);
}

#[test]
fn a_cli_that_a_signal_ends_shows_its_number() {
    assert_eq!(machine("kill -9 $$").openruko(&["run"]).status, 128 + 9);
}

#[test]
fn ctrl_c_is_the_clis_affair() {
    let machine = machine("kill -INT $PPID; kill -QUIT $PPID; exit 5");
    assert_eq!(machine.openruko(&["run"]).status, 5);
}

#[test]
fn being_told_to_end_ends_the_cli_and_leaves_nothing() {
    for (signal, name) in [("TERM", "TERM"), ("HUP", "HUP")] {
        let machine =
            machine(&format!("trap 'exit 7' {name}; kill -{signal} $PPID; while :; do sleep 0.01; done"));
        assert_eq!(machine.openruko(&["logs"]).status, 7);
        assert_eq!(machine.left_over(), 0);
        let machine = machine_without_trap(signal);
        assert!(machine.openruko(&["logs"]).status > 128);
        assert_eq!(machine.left_over(), 0);
    }
}

fn machine_without_trap(signal: &str) -> Machine {
    machine(&format!("kill -{signal} $PPID; while :; do sleep 0.01; done"))
}

#[test]
fn a_cli_that_cannot_be_started_is_named() {
    let mut machine = machine("");
    machine.heroku = machine.path("nothing");
    let ended = machine.openruko(&["apps"]);
    assert_eq!(ended.status, 99);
    assert!(ended.stderr.contains("cannot run `") && ended.stderr.contains("nothing"), "{}", ended.stderr);
    assert_eq!(machine.left_over(), 0);
}

#[test]
fn the_users_git_settings_are_read_and_never_written() {
    let machine = machine(
        "git config user.name; git config --global credential.x.helper y; git config credential.x.helper",
    );
    let own = "[user]\n\tname = Dev\n";
    fs::write(machine.path("home/.gitconfig"), own).unwrap();
    let ended = machine.openruko(&["apps"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("Dev\ny\n", ""));
    assert_eq!(fs::read_to_string(machine.path("home/.gitconfig")).unwrap(), own);
}

/// What `create` and `git:remote` do: `heroku create --remote NAME`.
const WRITE: &str = "git remote rm \"$3\" 2>/dev/null; git remote add \"$3\" https://git.test:5443/shop.git";

#[test]
fn a_new_remote_is_named_openruko_and_uses_ssh() {
    let machine = machine(WRITE);
    machine.git(&["init", "-q"]);
    assert_eq!(machine.openruko(&["create", "shop"]).status, 0);
    assert_eq!(machine.git(&["remote", "-v"]), format!("openruko\t{SSH} (fetch)\nopenruko\t{SSH} (push)"));
    assert!(!machine.git(&["config", "--local", "--list"]).contains("credential"));
}

#[test]
fn an_https_remote_works_without_the_wrapper() {
    let mut machine = machine(WRITE);
    machine.git(&["init", "-q"]);
    fs::write(machine.path("ca.pem"), "").unwrap();
    let ca_file = machine.path("ca.pem").canonicalize().unwrap();
    machine.upstream.ca_file = Some(ca_file.clone());
    assert_eq!(machine.openruko(&["git:remote", "-a", "shop", "--http-git"]).status, 0);
    assert_eq!(machine.git(&["remote", "get-url", "openruko"]), CLI);
    let trusted =
        machine.git(&["config", "--get-urlmatch", "http.sslCAInfo", "https://git.test:5443/shop.git"]);
    assert_eq!(trusted, ca_file.to_str().unwrap());
    // Again: nothing is there twice.
    assert_eq!(machine.openruko(&["git:remote", "-a", "shop", "--http-git"]).status, 0);
    let helper = machine.git(&["config", "--get-all", "credential.https://git.test:5443.helper"]);
    assert_eq!(helper, "\n!openruko git:credentials --server 'main server'");
    machine
        .script("bin/openruko", "echo \"$*\" >&2; cat >/dev/null; echo username=dev; echo password=secret");
    machine.git(&["config", "--global", "credential.helper", "!echo not me >&2;:"]);
    let filled = machine
        .script("fill", "printf 'protocol=https\\nhost=git.test:5443\\n\\n' | git credential fill 2>&1");
    let filled = String::from_utf8(machine.command(filled).output().unwrap().stdout).unwrap();
    assert!(filled.starts_with("git:credentials --server main server get\n"), "{filled}");
    assert!(filled.contains("password=secret") && !filled.contains("not me"), "{filled}");
}

#[test]
fn git_below_the_cli_asks_the_running_program_for_the_token() {
    let machine = machine(
        "git config --global credential.https://git.test:5443.helper '!echo not me >&2;:'
        printf 'protocol=https\\nhost=git.test:5443\\n\\n' | git credential fill",
    );
    machine.script("bin/openruko", "cat >/dev/null; echo username=dev; echo \"password=$*\"");
    let ended = machine.openruko(&["git:clone"]);
    assert!(ended.stdout.contains("password=git:credentials --server main server get"), "{ended:?}");
    assert!(!ended.stderr.contains("not me"), "{ended:?}");
}

#[test]
fn the_cli_finds_the_app_by_any_form_of_our_remotes() {
    let machine = machine("git remote -v");
    machine.git(&["init", "-q"]);
    for url in [SSH, CLI] {
        machine.git(&["remote", "add", "openruko", url]);
        let ended = machine.openruko(&["ps"]);
        assert_eq!(ended.stdout, format!("openruko\t{CLI} (fetch)\nopenruko\t{CLI} (push)\n"), "{url}");
        assert_eq!(machine.git(&["config", "remote.openruko.url"]), url, "left as it was");
        machine.git(&["remote", "rm", "openruko"]);
    }
    machine.git(&["remote", "add", "heroku", "https://git.heroku.com/other.git"]);
    assert!(machine.openruko(&["ps"]).stdout.contains("https://git.heroku.com/other.git"));
}

#[test]
fn a_renamed_app_keeps_the_transport_of_its_remotes() {
    let machine = machine(
        "for name in one two; do git remote rm $name; git remote add $name https://git.test:5443/new.git; done",
    );
    machine.git(&["init", "-q"]);
    machine.git(&["remote", "add", "one", SSH]);
    machine.git(&["remote", "add", "two", CLI]);
    assert_eq!(machine.openruko(&["apps:rename", "new"]).status, 0);
    assert_eq!(machine.git(&["config", "remote.one.url"]), "ssh://git@git.test:2222/new.git");
    assert_eq!(machine.git(&["config", "remote.two.url"]), "https://git.test:5443/new.git");
}

#[test]
fn a_clone_goes_over_ssh_and_keeps_its_address() {
    let mut machine = machine("git clone -q -o \"$3\" https://git.test:5443/shop.git \"$6\"");
    machine.git(&["init", "-q", "--bare", "../shop.git"]);
    let store = machine.path("shop.git");
    let ssh = machine.script("ssh", &format!("echo \"$*\" >&2; exec git-upload-pack '{}'", store.display()));
    machine.variables.push(("GIT_SSH_COMMAND".into(), ssh.to_str().unwrap().into()));
    machine.variables.push(("GIT_SSH_VARIANT".into(), "ssh".into()));
    let ended = machine.openruko(&["git:clone", "-a", "shop", "dir"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stderr.contains("-p 2222 git@git.test git-upload-pack '/shop.git'"), "{ended:?}");
    assert_eq!(
        machine.git(&["-C", "dir", "remote", "-v"]).lines().next().unwrap(),
        format!("openruko\t{SSH} (fetch)")
    );
}

#[test]
fn a_clone_that_fails_leaves_the_directory_alone() {
    let machine = machine("exit 0");
    machine.git(&["init", "-q", "shop"]);
    machine.git(&["-C", "shop", "remote", "add", "openruko", CLI]);
    assert_eq!(machine.openruko(&["git:clone", "-a", "shop"]).status, 0);
    assert_eq!(machine.git(&["-C", "shop", "config", "remote.openruko.url"]), CLI);
}

#[test]
fn a_default_remote_counts_only_when_it_is_ours() {
    let machine = machine("git config heroku.remote");
    machine.git(&["init", "-q"]);
    assert_eq!(machine.openruko(&["ps"]).stdout, "");
    machine.git(&["remote", "add", "production", "https://git.heroku.com/shop.git"]);
    machine.git(&["remote", "add", "staging", SSH]);
    for (default, seen) in [("production", "\n"), ("gone", "\n"), ("staging", "staging\n")] {
        machine.git(&["config", "heroku.remote", default]);
        assert_eq!(machine.openruko(&["ps"]).stdout, seen, "{default}");
    }
}
