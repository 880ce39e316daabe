//! TLS, certificates by name, HTTP/2.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use ruko_api_types::router::{Certificate, RoutedApp};

use crate::api::{app, routed};
use crate::dyno::Dyno;
use crate::world::{DEADLINE, World, eventually};

/// A certificate for names, signed by itself: in PEM, with its key.
fn made(names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn write(dir: &Path, name: &str, (certificate, key): &(String, String)) {
    for (end, text) in [("crt", certificate), ("key", key)] {
        let new = dir.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, dir.join(format!("{name}.{end}"))).unwrap();
    }
}

struct Tls {
    world: World,
    files: tempfile::TempDir,
}

impl Tls {
    fn start(certificates: &[(&str, &(String, String))]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let list = certificates.iter().map(|(name, made)| {
            write(files.path(), name, made);
            let path = files.path().join(name);
            format!("{{ certificate = '{0}.crt', key = '{0}.key' }}", path.display())
        });
        let list = list.collect::<Vec<_>>().join(", ");
        let world = World::with(&format!("tls_listen = '127.0.0.1:0'\ncertificates = [{list}]\n"));
        Self { world, files }
    }

    /// Asks with curl, which trusts this certificate alone: what it says.
    fn curl(&self, host: &str, trusted: &str, arguments: &[&str]) -> String {
        let trust = self.files.path().join("trusted");
        fs::write(&trust, trusted).unwrap();
        let https = self.world.router.https.unwrap();
        let out = Command::new("curl")
            .args(["--silent", "--show-error", "--connect-to", &format!("{host}:443:{https}")])
            .args(["--max-time", &DEADLINE.as_secs().to_string()])
            .args(["--cacert".as_ref(), trust.as_os_str()])
            .args(arguments)
            .arg(format!("https://{host}/x"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }
}

#[test]
fn certificates_are_chosen_by_name() {
    let (first, second) = (made(&["first.test"]), made(&["second.test", "*.second.test"]));
    let (own, wild) = (made(&["shop.test"]), made(&["*.shop.test"]));
    let tls = Tls::start(&[("first", &first), ("second", &second)]);
    let dyno = Dyno::named("yes");
    let certificate = |host: &str, made: &(String, String)| Certificate {
        hosts: vec![host.to_owned()],
        chain: made.0.clone(),
        key: made.1.clone(),
    };
    let hosts = ["first.test", "second.test", "a.second.test", "shop.test", "www.shop.test"];
    tls.world.put(RoutedApp {
        dynos: vec![routed(1, dyno.address)],
        certificates: vec![certificate("shop.test", &own), certificate("*.shop.test", &wild)],
        ..app("shop", &hosts)
    });
    for (host, trusted) in [
        ("first.test", &first),
        ("second.test", &second),
        ("a.second.test", &second),
        ("shop.test", &own),
        ("www.shop.test", &wild),
    ] {
        assert_eq!(tls.curl(host, &trusted.0, &[]), "yes", "{host}");
    }
    // Whoever asks for no name that is known gets the first.
    assert!(tls.curl("other.test", &first.0, &[]).contains("no alternative certificate"));
    assert!(tls.curl("other.test", &first.0, &["--insecure"]).contains("No such app"));
}

#[test]
fn a_certificate_is_replaced_without_a_connection_being_dropped() {
    use std::io::{Read, Write};
    let (first, second, third) = (made(&["shop.test"]), made(&["shop.test"]), made(&["shop.test"]));
    let tls = Tls::start(&[("shop", &first)]);
    let dyno = Dyno::named("yes");
    tls.world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    assert_eq!(tls.curl("shop.test", &first.0, &[]), "yes");
    let mut kept = Command::new("openssl")
        .args(["s_client", "-quiet", "-servername", "shop.test", "-connect"])
        .arg(tls.world.router.https.unwrap().to_string())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (kept.stdin.take().unwrap(), kept.stdout.take().unwrap());
    let mut ask = |stdin: &mut std::process::ChildStdin| {
        stdin.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").unwrap();
        stdin.flush().unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"yes") {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
    };
    ask(&mut stdin);
    write(tls.files.path(), "shop", &second);
    eventually("the new one", || tls.curl("shop.test", &second.0, &[]) == "yes");
    ask(&mut stdin);
    write(tls.files.path(), "shop", &third);
    tls.world.router.signal(Signal::SIGHUP);
    eventually("the third", || tls.curl("shop.test", &third.0, &[]) == "yes");
    ask(&mut stdin);
    // One that is broken changes nothing.
    fs::write(tls.files.path().join("shop.key"), "nonsense").unwrap();
    assert_eq!(tls.curl("shop.test", &third.0, &[]), "yes");
    let _ = kept.kill();
    let _ = kept.wait();
}

#[test]
fn http2_is_spoken_over_tls_and_without() {
    let shop = made(&["shop.test"]);
    let tls = Tls::start(&[("shop", &shop)]);
    let dyno = Dyno::echo();
    tls.world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let version = ["--write-out", "\n%{http_version} %{http_code}"];
    let said = tls.curl("shop.test", &shop.0, &[&["--http2"], &version[..]].concat());
    assert!(said.ends_with("\n2 200"), "{said}");
    let lower = said.to_ascii_lowercase();
    let port = tls.world.router.https.unwrap().port();
    for field in [
        "get /x http/1.1\n",
        "host: shop.test\n",
        "x-forwarded-proto: https\n",
        &format!("x-forwarded-port: {port}\n"),
        "via: 2 openruko-router\n",
    ] {
        assert!(lower.contains(field), "{field} in {said}");
    }
    let said = tls.curl("shop.test", &shop.0, &[&["--http1.1"], &version[..]].concat());
    assert!(said.ends_with("\n1.1 200") && said.contains("1.1 openruko-router"), "{said}");
    let posted = tls.curl("shop.test", &shop.0, &["--http2", "--data", "a=b"]);
    assert!(posted.starts_with("POST /x HTTP/1.1\n") && posted.ends_with("\na=b"), "{posted}");

    let plain = Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--header", "Host: shop.test"])
        .args(["--max-time", &DEADLINE.as_secs().to_string()])
        .args(version)
        .arg(format!("http://{}/y", tls.world.router.http))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(said.ends_with("\n2 200") && said.contains("GET /y HTTP/1.1"), "{said}");
    let line = tls.world.api.line(&["path=\"/y\""]).text;
    assert!(line.contains("status=200") && line.ends_with("protocol=http"), "{line}");
    assert!(tls.world.api.line(&["method=POST"]).text.ends_with("protocol=https"));
    tls.world.put(RoutedApp {
        dynos: vec![routed(1, dyno.address)],
        force_https: true,
        ..app("shop", &["shop.test"])
    });
    assert_eq!(tls.world.get("shop.test", "/z").field("location"), format!("https://shop.test:{port}/z"));
    assert!(tls.curl("shop.test", &shop.0, &["--http2"]).starts_with("GET /x HTTP/1.1\n"));
}

#[test]
fn http2_gets_pages_streams_and_large_bodies() {
    let shop = made(&["shop.test"]);
    let tls = Tls::start(&[("shop", &shop)]);
    let dyno = Dyno::start(|request| {
        if request.line.contains("POST") {
            return crate::dyno::answer("200 OK", &request.body.len().to_string());
        }
        let body = "x".repeat(8 << 20);
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
        .into_bytes()
    });
    tls.world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    let many: Vec<_> = (0..8).map(|_| "--http2").collect();
    let said = tls.curl(
        "shop.test",
        &shop.0,
        &[&many[..], &["--write-out", "%{size_download}", "--output", "/dev/null"]].concat(),
    );
    assert_eq!(said, (8 << 20).to_string());
    let body = tls.files.path().join("body");
    fs::write(&body, vec![b'x'; 8 << 20]).unwrap();
    let body = format!("@{}", body.display());
    let said = tls.curl("shop.test", &shop.0, &["--http2", "--data-binary", &body]);
    assert_eq!(said, (8 << 20).to_string());
    tls.world.put(RoutedApp { maintenance: true, ..app("shop", &["shop.test"]) });
    let said = tls.curl("shop.test", &shop.0, &["--http2", "--write-out", "%{http_version} %{http_code}"]);
    assert!(said.contains("Offline for maintenance") && said.ends_with("2 503"), "{said}");
}
