//! The real Heroku CLI, unmodified, from npm: every command line of `heroku-cli/commands.toml` through
//! `openruko`, and what docs/HEROKU-CLI.md says of each.

mod commands;
mod install;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use openruko_tests::{Developer, World};

use crate::Test;
use commands::{Line, Places};
use table::Row;

pub(super) const TESTS: &[(&str, Test)] = &[
    ("heroku_cli::every_command_line_does_what_the_table_says", every_command_line),
    ("heroku_cli::a_push_and_a_clone_through_both_doors", both_doors),
];

/// The newest of each that is supported.
const VERSIONS: [&str; 2] = ["11.10.0", "8.11.5"];

/// How long one command may take.
const PATIENCE: &str = "120";

/// A developer with a Heroku CLI and `openruko` on the path, logged in.
struct Terminal<'w> {
    world: &'w World,
    developer: Developer,
    heroku: PathBuf,
    repo: PathBuf,
}

/// What a command printed, and its exit status.
#[derive(Debug)]
struct Outcome {
    exit: i32,
    seen: String,
}

impl<'w> Terminal<'w> {
    fn open(world: &'w World, version: &str, name: &str) -> Self {
        let developer = world.developer(name);
        let _ = world.admin(&["user", "set", name, "--email", &format!("{name}@example.test")]);
        let heroku = install::heroku(version);
        let repo = developer.home().join("work");
        fs::create_dir_all(&repo).unwrap();
        let terminal = Self { world, developer, heroku, repo };
        let token = world.admin(&["user", "token", name]);
        let url = world.public_url();
        let seen = terminal.run_with(&["login", &url, "--token-stdin"], token.trim());
        assert_eq!(seen.exit, 0, "login: {}", seen.seen);
        terminal
    }

    fn commit_an_app(&self) {
        fs::write(self.repo.join("Procfile"), "web: python3 -u -m http.server $PORT\n").unwrap();
        fs::write(self.repo.join("exit7.sh"), "echo seven; exit 7\n").unwrap();
        for args in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "An app"]] {
            let done = self.developer.git(&self.repo).args(args).status().unwrap();
            assert!(done.success(), "git {args:?}");
        }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.run_with(args, "")
    }

    /// `openruko ARGS`, with this typed.
    fn run_with(&self, args: &[&str], typed: &str) -> Outcome {
        let typed_in = self.developer.home().join("typed");
        fs::write(&typed_in, typed).unwrap();
        let mut command = self.command("timeout");
        command.arg(PATIENCE).arg(self.world.installed("bin/openruko")).args(args);
        let out = command.stdin(fs::File::open(typed_in).unwrap()).output().unwrap();
        let seen =
            [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Outcome { exit: out.status.code().unwrap_or(-1), seen }
    }

    /// A program in the developer's repository, with nothing of this machine's environment.
    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let (heroku, openruko) = (self.heroku.display(), self.world.installed("bin"));
        let git = self.developer.git(&self.repo);
        let mut other = Command::new(program);
        let surroundings = git.get_envs().filter_map(|(name, value)| Some((name, value?)));
        other
            .current_dir(&self.repo)
            .env_clear()
            .envs(surroundings)
            .env("PATH", format!("{heroku}:{}:{path}", openruko.display()))
            .env("GIT_SSL_CAINFO", self.world.ca())
            .env("NO_COLOR", "1");
        other
    }
}

fn every_command_line(world: &World) {
    let lines = commands::read();
    let mut rows: Vec<Row> = lines.iter().map(Row::of).collect();
    let mut wrong = Vec::new();
    for version in VERSIONS {
        let major: u32 = version.split('.').next().unwrap().parse().unwrap();
        let terminal = Terminal::open(world, version, &format!("cli{major}"));
        let _ = world.developer(&format!("other{major}"));
        let other = format!("other{major}");
        let _ = world.admin(&["user", "set", &other, "--email", &format!("{other}@example.test")]);
        let places = prepare(&terminal, major);
        for (line, row) in lines.iter().zip(&mut rows) {
            if !line.is_for(major) {
                continue;
            }
            line.before(&terminal, &places);
            let words = places.fill(&line.line);
            let words = shell_words(&words);
            let outcome =
                terminal.run_with(&words.iter().map(String::as_str).collect::<Vec<_>>(), &line.input);
            row.ran(major);
            if let Err(why) = line.judge(major, &places, &outcome) {
                wrong.push(format!("{version}: openruko {}: {why}\n{}", words.join(" "), outcome.seen));
            }
        }
    }
    assert!(wrong.is_empty(), "{} command lines:\n\n{}", wrong.len(), wrong.join("\n\n"));
    table::check(&rows);
}

/// The words of a command line; quoting is not needed.
fn shell_words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// What the command lines name: files, a repository with an app in it.
fn prepare(terminal: &Terminal<'_>, major: u32) -> Places {
    let dir = terminal.developer.home().join("files");
    fs::create_dir_all(&dir).unwrap();
    let user = terminal.developer.name().to_owned();
    let key = fs::read_to_string(terminal.developer.public_key()).unwrap();
    let (kind, rest) = key.split_once(' ').unwrap();
    let blob = rest.split_whitespace().next().unwrap();
    fs::write(dir.join("id.pub"), format!("{kind} {blob} {user}@laptop\n")).unwrap();
    // The key is there already: the lines begin with none.
    let listed = terminal.world.admin_json(&["key", "list", &user]);
    for key in listed.as_array().unwrap() {
        let _ = terminal.world.admin(&["key", "remove", &user, key["fingerprint"].as_str().unwrap()]);
    }
    certificate(&dir);
    terminal.commit_an_app();
    let web = terminal.world.config().router().unwrap().listen.port();
    Places { app: format!("cli-app-{major}"), dir, user, other: format!("other{major}"), web }
}

fn certificate(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=www.example.test", "-addext", "subjectAltName=DNS:www.example.test"])
        .arg("-keyout")
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("cert.pem"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
}

/// One push path, two doors: ssh by default, HTTPS where it is asked for.
fn both_doors(world: &World) {
    let work = Terminal::open(world, VERSIONS[0], "doors");
    work.commit_an_app();
    for (app, extra) in [("over-ssh", None), ("over-https", Some("--http-git"))] {
        let args: Vec<&str> = ["create", app].into_iter().chain(extra).collect();
        let made = work.run(&args);
        assert_eq!(made.exit, 0, "{}", made.seen);
        let pushed = work.command("git").args(["push", "openruko", "main"]).output().unwrap();
        let seen = String::from_utf8_lossy(&pushed.stderr).into_owned();
        assert!(pushed.status.success() && seen.contains("Released v2"), "{app}: {seen}");
        let cloned = work.run(
            &["git:clone", "-a", app, &format!("{app}-cloned")].into_iter().chain(extra).collect::<Vec<_>>(),
        );
        assert_eq!(cloned.exit, 0, "{}", cloned.seen);
        let clone = work.repo.join(format!("{app}-cloned"));
        assert!(clone.join("Procfile").exists());
        let _ = work.command("git").args(["remote", "remove", "openruko"]).output().unwrap();
    }
}

/// What a line needs that no command of the CLI does: see `before` in the table.
fn push(terminal: &Terminal<'_>) {
    let pushed = terminal.command("git").args(["push", "openruko", "main"]).output().unwrap();
    let seen = String::from_utf8_lossy(&pushed.stderr);
    assert!(pushed.status.success(), "git push openruko main: {seen}");
}

impl Line {
    fn before(&self, terminal: &Terminal<'_>, _: &Places) {
        if self.after_push {
            push(terminal);
        }
    }
}
