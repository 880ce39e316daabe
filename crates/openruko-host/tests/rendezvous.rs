//! Terminals of one-off dynos, with containers that are none and a real TLS client.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::time::Duration;

use ruko_api_types::host::Attach;
use ruko_api_types::platform::DynoState;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::CertificateDer;
use world::client::{Client, certificate, configuration, port, without_certificate};
use world::{Node, app, eventually, one_off, release};

struct Stage {
    node: Node,
    certificate: CertificateDer<'static>,
    port: u16,
}

impl Stage {
    fn new() -> Self {
        let mut node = Node::new();
        let certificate = certificate(node.dir.path());
        node.configure(&configuration(node.dir.path()));
        node.start();
        let port = port(&node);
        Self { node, certificate, port }
    }

    /// A dyno without a terminal that waits for a client with this secret.
    fn run(&self, secret: &str, command: &str) {
        let slug = self.node.slug(&[]);
        let current = release(1, &slug, vec![]);
        let mut wanted = app("a", Some(current.clone()), None);
        let mut one = one_off("01RUN", current, command);
        one.attach = Some(Attach { secret_sha256: ruko_core::hex(&Sha256::digest(secret)), terminal: None });
        wanted.one_offs = vec![one];
        self.node.api.want(wanted);
    }

    fn connect(&self, secret: &str) -> Client {
        Client::connect(self.port, &self.certificate, secret)
    }

    fn wait_until_over(&self) {
        self.node.api.wait("it to be gone", |known| known.apps["a"].one_offs.is_empty().then_some(()));
        eventually("its directory to go", || (self.node.dynos() == 0).then_some(()));
    }
}

#[test]
fn a_certificate_of_files_is_not_told_since_an_authority_vouches_for_it() {
    let stage = Stage::new();
    let hello = stage.node.api.with(|known| known.hello.clone()).unwrap().rendezvous.unwrap();
    assert_eq!(hello.certificate, None);
}

#[test]
fn a_certificate_that_was_made_up_is_told() {
    let mut node = Node::new();
    node.configure(&without_certificate());
    node.start();
    let port = port(&node);
    let hello = node.api.with(|known| known.hello.clone()).unwrap().rendezvous.unwrap();
    let shown = format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -outform DER | sha256sum"
    );
    let shown = std::process::Command::new("sh").args(["-c", &shown]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(hello.certificate.as_deref(), shown.split_whitespace().next());
}

#[test]
fn what_is_typed_arrives_and_the_end_of_input_is_told_once() {
    let stage = Stage::new();
    let mut client = stage.connect("s3cret?x=1");
    // Even before the dyno is known at all.
    client.send(b"early \x04 ");
    stage.run("s3cret", "cat; echo \"\u{ffff} heroku-command-exit-status: $?\"");
    client.expect_attached();
    client.send("grün\n".repeat(1000).as_bytes());
    client.send(b"\x04");
    let output = client.wait_for_end();
    let expected = format!("early \x04 {}\u{ffff} heroku-command-exit-status: 0\n", "grün\n".repeat(1000));
    assert_eq!(output, expected);
    stage.wait_until_over();
    let lines = stage.node.api.with(|known| known.lines.clone());
    assert!(!lines.iter().any(|line| line.contains("grün")), "its output is the client's alone: {lines:?}");
}

#[test]
fn an_end_of_input_that_came_together_with_the_last_bytes_is_one() {
    let stage = Stage::new();
    stage.run("s3cret", "cat");
    let mut client = stage.connect("s3cret");
    client.expect_attached();
    client.send(b"all of it\x04");
    assert_eq!(client.wait_for_end(), "all of it");
}

#[test]
fn a_long_output_comes_whole_and_the_exit_status_in_one_piece() {
    let stage = Stage::new();
    stage.run("s3cret", "seq 200000; echo \"\u{ffff} heroku-command-exit-status: 7\"; exit 7");
    let mut client = stage.connect("s3cret");
    client.expect_attached();
    let (mut all, mut whole) = (Vec::new(), false);
    loop {
        let chunk = client.chunk();
        if chunk.is_empty() {
            break;
        }
        whole |= String::from_utf8_lossy(&chunk).contains("\u{ffff} heroku-command-exit-status: 7\n");
        all.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(all).unwrap();
    assert!(whole && text.lines().count() == 200_001, "{whole} {}", text.lines().count());
    assert!(text.lines().take(200_000).enumerate().all(|(i, line)| line == (i + 1).to_string()));
    stage.wait_until_over();
}

#[test]
fn a_command_that_has_ended_before_its_client_came_is_not_lost() {
    let stage = Stage::new();
    stage.run("s3cret", "echo quick");
    stage.node.api.wait_dyno("run.1234", 1, DynoState::Up);
    let mut client = stage.connect("s3cret");
    client.expect_attached();
    assert_eq!(client.wait_for_end(), "quick\n");
    stage.wait_until_over();
}

#[test]
fn a_client_that_vanishes_ends_its_dyno() {
    let stage = Stage::new();
    stage.run("s3cret", "echo there; exec sleep 1000");
    let mut client = stage.connect("s3cret");
    client.expect_attached();
    client.wait_for("there");
    drop(client);
    stage.node.api.wait_line("heroku[run.1234]: Stopping all processes with SIGTERM");
    stage.node.api.wait_line("heroku[run.1234]: Process exited with status 143");
    stage.wait_until_over();
}

#[test]
fn who_does_not_know_the_secret_gets_nothing_and_a_secret_opens_once() {
    let stage = Stage::new();
    stage.run("s3cret", "cat");
    let mut stranger = stage.connect("wrong");
    let mut client = stage.connect("s3cret");
    client.expect_attached();
    client.send(b"mine\n");
    client.wait_for("mine");
    let mut second = stage.connect("s3cret");
    assert!(stranger.is_turned_away(Duration::from_secs(20)));
    assert!(second.is_turned_away(Duration::from_secs(20)));
    let mut endless = stage.connect(&"x".repeat(10_000));
    assert!(endless.is_turned_away(Duration::from_secs(20)));
    client.send(b"\x04");
    assert_eq!(client.wait_for_end(), "\n");
}
