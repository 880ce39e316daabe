//! Logs and one-off dynos.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::developer::Developer;
use crate::mock::{dyno, ok, refused, text};

const LINE: &str = "2026-11-22T11:06:39.172134+00:00 app[web.1]: hello";

#[test]
fn a_log_is_taken_up_again_where_it_ended() {
    let opened = AtomicUsize::new(0);
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "POST /apps/shop/log-sessions" => {
            Some(ok(json!({"id": "l1", "logplex_url": seen.at("/streams/secret")})))
        }
        "GET /streams/secret" => Some(match opened.fetch_add(1, Ordering::SeqCst) {
            0 => text(
                "text/event-stream",
                &format!("retry: 1\n\nid: 7\ndata: {LINE} one\ndata: {LINE} two\n\n: keepalive\n\n"),
            ),
            1 => text("text/event-stream", &format!("id: 8\ndata: {LINE} three\n\n")),
            _ => refused(404, "not_found", "Gone."),
        }),
        _ => None,
    });
    let said = developer.run(&["logs", "-a", "shop", "--tail", "-n", "5", "--ps", "web"]);
    assert_eq!(said.out, format!("{LINE} one\n{LINE} two\n{LINE} three\n"));
    said.says(1, "log stream timed out");
    let asked = developer.mock.only("POST /apps/shop/log-sessions").json();
    assert_eq!(asked, json!({"lines": 5, "tail": true, "dyno": "web"}));
    let opened: Vec<_> =
        developer.mock.seen().into_iter().filter(|seen| seen.path == "/streams/secret").collect();
    let ids: Vec<&str> = opened.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(ids, ["", "7", "8"]);
    assert!(
        opened.iter().all(|seen| seen.header("authorization").is_empty()),
        "the token is not for log hosts"
    );
}

#[test]
fn without_tail_a_log_ends() {
    let developer = Developer::logged_in(|seen| match seen.call().as_str() {
        "POST /apps/shop/log-sessions" => {
            Some(ok(json!({"id": "l1", "logplex_url": seen.at("/streams/secret")})))
        }
        "GET /streams/secret" => Some(text("text/event-stream", &format!("data: {LINE}\n\n"))),
        "POST /apps/far/log-sessions" => {
            Some(ok(json!({"id": "l1", "logplex_url": "http://192.0.2.1/streams/secret"})))
        }
        _ => None,
    });
    assert_eq!(developer.run(&["logs", "-a", "shop", "--source", "app"]).ok().out, format!("{LINE}\n"));
    let said = developer.run(&["logs", "-a", "far"]);
    assert!(!said.err.contains("secret"), "{said:?}");
    said.says(1, "would travel in the clear");
}

/// A terminal that says what came, until the end of stdin comes; gives its address and its certificate.
fn terminal(says: impl Fn(&str) -> String + Send + 'static) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rendezvous://{}/secret", listener.local_addr().unwrap());
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut stream =
                StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket.unwrap());
            let mut secret = Vec::new();
            let mut byte = [0];
            // One that does not believe the certificate is gone now.
            while !secret.ends_with(b"\n") && stream.read_exact(&mut byte).is_ok() {
                secret.extend(byte);
            }
            if secret.is_empty() {
                continue;
            }
            // The whole of it, with what it says of the certificate.
            assert!(secret == b"secret\r\n" || secret.starts_with(b"secret?certificate="));
            stream.write_all(b"rendezvous\r\nwelcome\r\n").unwrap();
            let mut typed = Vec::new();
            while typed.last() != Some(&4) {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                typed.push(byte[0]);
            }
            typed.pop();
            stream.write_all(says(&String::from_utf8(typed).unwrap()).as_bytes()).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    });
    (url, made.cert.pem())
}

#[test]
fn the_certificate_that_the_server_told_is_believed_and_no_other_one() {
    let (url, certificate) = terminal(|typed| typed.to_uppercase());
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let digest = ruko_core::hex(&Sha256::digest(der));
    for (told, status) in [(digest, 0), ("ab".repeat(32), 75)] {
        let address = format!("{url}?certificate={told}");
        let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
            "POST /apps/shop/dynos" => Some(ok(dyno("run.1234", Some(&address)))),
            _ => None,
        });
        let said = developer.typing(&["run", "-a", "shop", "cat"], "some text");
        assert_eq!(said.status, status, "{said:?}");
        match status {
            0 => assert_eq!(said.out, "welcome\nSOME TEXT"),
            _ => assert!(said.err.contains("certificate"), "{said:?}"),
        }
    }
}

#[test]
fn a_one_off_dyno_has_our_stdin_and_stdout() {
    let (url, certificate) =
        terminal(|typed| format!("{}\r\n\u{ffff} heroku-command-exit-status: 3\r\n", typed.to_uppercase()));
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "POST /apps/shop/dynos" => Some(ok(dyno("run.1234", Some(&url)))),
        _ => None,
    });
    developer.typing(&["run", "-a", "shop", "cat"], "").says(75, "certificate");
    let file = developer.home().join("ca.pem");
    fs::write(&file, certificate).unwrap();
    developer
        .typing(
            &["login", &developer.mock.url, "--token-stdin", "--ca-file", file.to_str().unwrap()],
            crate::mock::TOKEN,
        )
        .ok();
    developer.mock.forget();

    let said =
        developer.typing(&["run", "-x", "-a", "shop", "-e", "A=1;B=2", "--", "grep", "a b"], "some text");
    assert_eq!((said.status, said.out.as_str()), (3, "welcome\nSOME TEXT\n"), "{said:?}");
    assert!(said.err.contains("Running grep \"a b\" on ⬢ shop... up, run.1234 (Standard-1X)"), "{said:?}");
    let asked = developer.mock.only("POST /apps/shop/dynos").json();
    let command = "grep \"a b\" ; echo \"\u{ffff} heroku-command-exit-status: $?\"";
    assert_eq!(asked, json!({"command": command, "attach": true, "env": {"A": "1", "B": "2"}}));
}

#[test]
fn a_detached_dyno_is_not_waited_for() {
    let developer = Developer::logged_in(|seen| match seen.call().as_str() {
        "POST /apps/shop/dynos" => Some(ok(dyno("run.1234", None))),
        _ => None,
    });
    let said =
        developer.run(&["run:detached", "-a", "shop", "--size", "standard-1x", "rake", "db:migrate"]).ok();
    assert!(said.err.contains("Running rake db:migrate on ⬢ shop... done, run.1234"), "{said:?}");
    let asked = developer.mock.only("POST /apps/shop/dynos").json();
    assert_eq!(asked, json!({"command": "rake db:migrate", "attach": false, "size": "standard-1x"}));
    assert_eq!(developer.run(&["run:detached", "-a", "shop", "--json", "ls"]).json()["name"], "run.1234");
    developer.run(&["run", "-a", "shop", "ls"]).says(1, "openruko run:detached");
}

#[test]
fn a_terminal_is_raw_while_a_dyno_has_it_and_as_before_afterwards() {
    let (url, certificate) = terminal(|typed| format!("got {typed:?}\r\n"));
    let developer = Developer::logged_in(move |seen| match seen.call().as_str() {
        "POST /apps/shop/dynos" => Some(ok(dyno("run.1234", Some(&url)))),
        _ => None,
    });
    let file = developer.home().join("ca.pem");
    fs::write(&file, certificate).unwrap();
    developer
        .typing(
            &["login", &developer.mock.url, "--token-stdin", "--ca-file", file.to_str().unwrap()],
            crate::mock::TOKEN,
        )
        .ok();
    // script(1) gives the program a terminal. In raw mode Ctrl-C and Enter are keys, and Ctrl-D ends our mock.
    let openruko = env!("CARGO_BIN_EXE_openruko");
    let line = format!("stty -a >before; {openruko} run -a shop bash; stty -a >after");
    let mut script = developer.command("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = script.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut wait_for = |what: &str| {
        while !String::from_utf8_lossy(&shown).contains(what) {
            let mut piece = [0; 1024];
            let length = screen.read(&mut piece).unwrap();
            assert!(length > 0, "no {what} in {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&piece[..length]);
        }
    };
    wait_for("welcome");
    keys.write_all(b"a\x03\r\x04").unwrap();
    wait_for("got \"a\\u{3}\\r\"");
    drop(keys);
    assert!(child.wait().unwrap().success());
    let settings = |name: &str| fs::read_to_string(developer.work().join(name)).unwrap();
    assert_eq!(settings("before"), settings("after"));
}
