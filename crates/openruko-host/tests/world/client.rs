//! A client of the rendezvous, as the Heroku CLI is one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

use super::{LONG, Node};

/// Makes a certificate for 127.0.0.1 and its key in a directory.
pub(crate) fn certificate(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// Lines of `[host]` for a rendezvous with this certificate.
pub(crate) fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    let files = format!("certificate = '{dir}/cert.pem'\nkey = '{dir}/key.pem'\n");
    format!("{}[host.rendezvous.tls]\n{files}", without_certificate())
}

/// The same with none, at a port that was free a moment ago.
pub(crate) fn without_certificate() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!(
        "stop_seconds = 2\n[host.rendezvous]\nlisten = '127.0.0.1:{port}'\nurl = 'rendezvous://127.0.0.1:{port}'\n"
    )
}

/// The port that the agent told the API.
pub(crate) fn port(node: &Node) -> u16 {
    let url = node.api.wait("the agent's hello", |known| {
        known.hello.as_ref().and_then(|hello| hello.rendezvous.as_ref()).map(|place| place.url.clone())
    });
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

pub(crate) struct Client {
    tls: StreamOwned<ClientConnection, TcpStream>,
    /// What came, as far as nobody waited for it.
    heard: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16, certificate: &CertificateDer<'static>, secret: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let mut client = Self { tls: StreamOwned::new(tls, socket), heard: Vec::new() };
        client.send(format!("{secret}\r\n").as_bytes());
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).unwrap();
        self.tls.flush().unwrap();
    }

    /// The first chunk must be the greeting and nothing else: the CLI drops it whole.
    pub(crate) fn expect_attached(&mut self) {
        let begun = Instant::now();
        let mut chunk = [0; 4096];
        let n = self.tls.read(&mut chunk).unwrap();
        assert_eq!(&chunk[..n], b"rendezvous\r\n");
        eprintln!("attached after {:?}", begun.elapsed());
    }

    /// One chunk; empty at the end.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let mut chunk = [0; 32 << 10];
        match self.tls.read(&mut chunk) {
            Ok(n) => chunk[..n].to_vec(),
            // An end without a close_notify is none.
            Err(e) => panic!("the connection broke: {e}"),
        }
    }

    /// Reads until this has come.
    pub(crate) fn wait_for(&mut self, what: &str) {
        loop {
            let text = String::from_utf8_lossy(&self.heard).into_owned();
            if let Some(at) = text.find(what) {
                self.heard = text.as_bytes()[at + what.len()..].to_vec();
                return;
            }
            let chunk = self.chunk();
            assert!(!chunk.is_empty(), "it ended without {what:?}: {text:?}");
            self.heard.extend_from_slice(&chunk);
        }
    }

    /// Reads to the end, which the server has to tell, and gives what came.
    pub(crate) fn wait_for_end(&mut self) -> String {
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned();
            }
            self.heard.extend_from_slice(&chunk);
        }
    }

    /// Whether it is hung up on without a word.
    pub(crate) fn is_turned_away(&mut self, within: Duration) -> bool {
        self.tls.sock.set_read_timeout(Some(within)).unwrap();
        match self.tls.read(&mut [0; 1]) {
            Ok(n) => n == 0,
            Err(e) => matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        }
    }
}
