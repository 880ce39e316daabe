//! The program itself: its command line, its start and its end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::world::{ADMIN, Home, SERVE, app, commit, opened, user};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruko_api_client::ApiClient;
use ruko_api_types::Abort;

/// The program, listening.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) url: String,
    /// The Platform API.
    pub(crate) public_url: String,
    /// What it logs once it listens.
    log: Receiver<String>,
}

pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openruko-api"));
    command.env_clear().arg("--config").arg(dir.join("config.toml")).args(arguments).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts it at home and waits for the line that says where it listens.
    pub(crate) fn start(home: &Home) -> Self {
        Self::start_with(home.dir.path(), &home.config("127.0.0.1:0", ""))
    }

    /// Starts it with a configuration, which is written to `dir`.
    pub(crate) fn start_with(dir: &Path, config: &str) -> Self {
        Self::started(dir, config, command(dir, &[]))
    }

    /// Starts it with a command of its own.
    pub(crate) fn started(dir: &Path, config: &str, mut command: Command) -> Self {
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let url = lines
            .find_map(|line| line.strip_prefix("openruko-api: listening on ").map(str::to_owned))
            .expect("it ended before it listened");
        let public_url = lines
            .find_map(|line| Some(line.split_once("the Platform API listens on ")?.1.to_owned()))
            .expect("it ended before it listened");
        // The rest of its log may be of interest to nobody, but must not fill the pipe.
        let (sender, log) = channel();
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        Self { child, url, public_url, log }
    }

    /// What it logs until it ends.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.log.iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn ended(dir: &Path, config: &str, arguments: &[&str]) -> (Option<i32>, String) {
    std::fs::write(dir.join("config.toml"), config).unwrap();
    let Output { status, stderr, stdout } = command(dir, arguments).output().unwrap();
    assert!(stdout.is_empty());
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn it_ends_well_when_it_is_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let home = Home::new();
        let mut program = Program::start(&home);
        ApiClient::new(&program.url, ADMIN.into()).unwrap().add_user(&user("matt")).unwrap();
        program.signal(signal);
        assert_eq!(program.child.wait().unwrap().code(), Some(0));
        let again = Program::start(&home);
        let client = ApiClient::new(&again.url, ADMIN.into()).unwrap();
        assert_eq!(client.users().unwrap()[0].name, user("matt"));
    }
}

#[test]
fn the_log_has_one_line_for_each_push_that_ended_and_none_for_requests() {
    let home = Home::new();
    let program = Program::start(&home);
    let admin = ApiClient::new(&program.url, ADMIN.into()).unwrap();
    let serve = ApiClient::new(&program.url, SERVE.into()).unwrap();
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let logged = || program.log.recv_timeout(Duration::from_secs(20)).unwrap();

    serve.commit(&opened(&serve).push, &commit(0)).unwrap();
    let line = logged();
    assert!(
        line.contains(" INFO push by matt to shop ended after ") && line.ends_with(" s: released v2"),
        "{line}"
    );
    serve.abort(&opened(&serve).push, &Abort { reason: Some("no\n\x1b[2Jway".into()) }).unwrap();
    let line = logged();
    assert!(line.ends_with(r" s: failed: no; \u{1b}[2Jway"), "{line}");
    serve.abort(&opened(&serve).push, &Abort { reason: None }).unwrap();
    let line = logged();
    assert!(line.ends_with(" s: nothing was pushed"), "{line}");
}

#[test]
fn check_reads_the_configuration_and_does_nothing() {
    let home = Home::new();
    let good = home.config("127.0.0.1:0", "");
    assert_eq!(ended(home.dir.path(), &good, &["--check"]), (Some(0), String::new()));
    let (status, said) = ended(home.dir.path(), &format!("{good}\nserv = 1\n"), &["--check"]);
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    let (status, said) = ended(home.dir.path(), "", &["--check"]);
    assert_eq!((status, said.contains("[api]")), (Some(1), true), "{said}");
    assert_eq!(std::fs::read_dir(home.dir.path()).unwrap().count(), 1, "nothing was made");
    assert_eq!(ended(home.dir.path(), &good, &["--chekc"]).0, Some(2));
}

#[test]
fn a_port_that_is_taken_is_one_clear_line() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, said) = ended(home.dir.path(), &home.config(&address, ""), &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.starts_with(&format!("openruko-api: cannot listen on {address}: ")), "{said}");
}
