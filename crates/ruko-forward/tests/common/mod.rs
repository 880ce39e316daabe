//! A certificate authority, a server behind it, and bare HTTP over sockets: what the tests stand on.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ruko_forward::{GitTransport, Heroku, Upstream};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto,
};

/// Long enough for a slow machine under load; what it bounds takes a fraction of a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TOKEN: &str = "HRKU-the-real-token";

/// Issues certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Server settings with a certificate for these names.
    pub(crate) fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_with_digest(names).0
    }

    /// The same, and the digest of the certificate.
    pub(crate) fn server_with_digest(&self, names: &[&str]) -> (Arc<ServerConfig>, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let digest = ruko_core::hex(&Sha256::digest(certificate.der()));
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        (Arc::new(config), digest)
    }
}

/// Client settings that trust the certificates in a PEM text.
pub(crate) fn client(pem: &str) -> Arc<ClientConfig> {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The head of a request or an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// Nothing once the other side has ended.
    pub(crate) fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match from.read_line(&mut line) {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let headers = lines[1..].iter().map(|line| line.split_once(':').unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { first: lines[0].clone(), headers: headers.collect() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|header| header.0 == name);
        let value = found.next().map(|header| header.1.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Reads the body piece by piece until it has ended.
    pub(crate) fn body(&self, from: &mut impl BufRead, mut piece: impl FnMut(&[u8])) {
        if self.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = chunk(from) {
                piece(&chunk);
            }
            return;
        }
        let mut left: usize = self.header("content-length").unwrap_or("0").parse().unwrap();
        while left > 0 {
            let available = from.fill_buf().unwrap();
            assert!(!available.is_empty(), "the body broke off");
            let count = available.len().min(left);
            piece(&available[..count]);
            from.consume(count);
            left -= count;
        }
    }
}

/// The next chunk of a body; nothing after the last.
pub(crate) fn chunk(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let length = usize::from_str_radix(line.trim(), 16).unwrap();
    let mut chunk = vec![0; length + 2];
    from.read_exact(&mut chunk).unwrap();
    chunk.truncate(length);
    (length > 0).then_some(chunk)
}

/// One connection of the server.
pub(crate) type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// Answers a request; whether the connection stays.
pub(crate) type Handler = dyn Fn(&Head, &mut Stream) -> bool + Send + Sync;

/// A server behind TLS.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<Mutex<Vec<Head>>>,
}

impl Server {
    pub(crate) fn start(
        config: Arc<ServerConfig>,
        handler: impl Fn(&Head, &mut Stream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Head>>>::default());
        let (counted, seen, handler) = (connections.clone(), requests.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, seen, handler) = (config.clone(), seen.clone(), handler.clone());
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut stream = accept(config, stream.unwrap());
                    while let Some(head) = Head::read(&mut stream) {
                        seen.lock().unwrap().push(head.clone());
                        if !handler(&head, &mut stream) {
                            break;
                        }
                    }
                    stream.get_mut().conn.send_close_notify();
                    let _ = stream.get_mut().flush();
                });
            }
        });
        Self { port, connections, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn upstream(&self, authority: &Authority) -> Upstream {
        Upstream {
            name: "main".into(),
            url: self.url(),
            token: TOKEN.into(),
            git_url: format!("https://localhost:{}/{{app}}.git", self.port),
            ssh_url: "ssh://git@localhost:2222/{app}.git".into(),
            ca_file: Some(authority.file()),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Head> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn accept(config: Arc<ServerConfig>, stream: TcpStream) -> Stream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream))
}

/// Sends an answer as a whole.
pub(crate) fn answer(stream: &mut Stream, status: &str, headers: &[&str], body: &str) -> bool {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    send(stream, &format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
    true
}

pub(crate) fn json(stream: &mut Stream, status: &str, body: &serde_json::Value) -> bool {
    answer(stream, status, &["Content-Type: application/json"], &body.to_string())
}

/// Sends bytes at once; whether the client still takes them.
pub(crate) fn send(stream: &mut Stream, text: &str) -> bool {
    let stream = stream.get_mut();
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_ok()
}

/// A client's connection to the forwarder.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    /// To an address `http://127.0.0.1:PORT/…`.
    pub(crate) fn connect(url: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(authority).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn ask(&mut self, request: &str, headers: &[(&str, &str)]) {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send(format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
    }

    pub(crate) fn head(&mut self) -> Head {
        Head::read(&mut self.0).expect("an answer")
    }

    pub(crate) fn answer(&mut self) -> (Head, String) {
        let head = self.head();
        let mut body = Vec::new();
        head.body(&mut self.0, |piece| body.extend_from_slice(piece));
        (head, String::from_utf8(body).unwrap())
    }
}

/// One request and its answer.
pub(crate) fn ask(url: &str, request: &str, headers: &[(&str, &str)]) -> (Head, String) {
    let mut client = Client::connect(url);
    client.ask(request, headers);
    client.answer()
}

/// Reads until nothing more comes.
pub(crate) fn rest(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}

/// The variable that makes a test program the program that developers call.
const CALL: &str = "OPENRUKO_TEST_CALL";

/// A developer's machine: a home, a search path, and an environment without anything else.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) upstream: Upstream,
    pub(crate) heroku: PathBuf,
    pub(crate) variables: Vec<(String, String)>,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) fn new(upstream: Upstream, heroku: PathBuf) -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap(), upstream, heroku, variables: Vec::new() };
        for dir in ["home", "tmp", "bin", "work"] {
            std::fs::create_dir(machine.path(dir)).unwrap();
        }
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// A command in the directory `work`, with this machine's environment.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths([self.path("bin")].into_iter().chain(std::env::split_paths(&path)));
        command.current_dir(self.path("work")).env_clear().env("PATH", path.unwrap());
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self.command("git").args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A call of the program that developers call. It is this test program, in a process of its own: it
    /// has a working directory and signals.
    pub(crate) fn call(&self, args: &[&str]) -> Command {
        let mut command = self.command(std::env::current_exe().unwrap());
        command.args(["openruko", "--exact", "--nocapture", "--quiet"]);
        let upstream = &self.upstream;
        let call = serde_json::json!({
            "upstream": [upstream.name, upstream.url, upstream.token, upstream.git_url, upstream.ssh_url],
            "ca_file": upstream.ca_file,
            "heroku": self.heroku,
            "openruko": self.path("bin/openruko"),
            "args": args,
        });
        command.env(CALL, call.to_string());
        command
    }

    pub(crate) fn openruko(&self, args: &[&str]) -> Ended {
        self.openruko_with(args, "")
    }

    pub(crate) fn openruko_with(&self, args: &[&str], stdin: &str) -> Ended {
        let mut child = self.call(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Ended {
            status: output.status.code().unwrap(),
            stdout: stdout.strip_prefix("\nrunning 1 test\n").unwrap().to_owned(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Everything that was left in the directory for temporary files.
    pub(crate) fn left_over(&self) -> usize {
        std::fs::read_dir(self.path("tmp")).unwrap().count()
    }
}

/// What a test program does in a process of its own: the call that it was given, if there is one.
#[expect(clippy::exit, reason = "the status of the program is what is tested")]
pub(crate) fn be_openruko() {
    let Ok(call) = std::env::var(CALL) else { return };
    let call: serde_json::Value = serde_json::from_str(&call).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let [name, url, token, git_url, ssh_url] = [0, 1, 2, 3, 4].map(|index| text(&call["upstream"][index]));
    let ca_file = call["ca_file"].as_str().map(PathBuf::from);
    let upstream = Upstream { name, url, token, git_url, ssh_url, ca_file };
    let heroku = Heroku {
        program: text(&call["heroku"]).into(),
        openruko: text(&call["openruko"]).into(),
        transport: GitTransport::default(),
    };
    let args: Vec<_> = call["args"].as_array().unwrap().iter().map(|arg| text(arg).into()).collect();
    std::process::exit(match ruko_forward::run(&upstream, &heroku, &args) {
        Ok(status) => status,
        Err(fault) => {
            eprintln!("openruko: {fault}");
            99
        }
    })
}
