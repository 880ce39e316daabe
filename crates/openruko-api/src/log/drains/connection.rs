//! A connection to where a drain sends lines: to an address that was judged, and with a certificate that was
//! verified.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::destination::{Destination, Protocol};
use super::frame;
use crate::log::Line;
use crate::webhooks::is_public;

/// How long it may take to find an address, to connect to it, and to agree on TLS.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the other side may take over a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// Names that are looked up at a time.
const LOOKUPS: usize = 16;

/// Connections of all drains at a time.
const CONNECTIONS: usize = 512;

/// What of an answer is read, in bytes; after a longer one the connection ends.
const MAX_ANSWER: usize = 64 << 10;

/// Refusals that may pass.
const LATER: [StatusCode; 2] = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];

/// What all drains share.
#[derive(Clone)]
pub(super) struct Network {
    /// Whether private networks are allowed.
    private: bool,
    lookups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Why lines did not arrive. Never with the URL in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// They are not wanted: it is of no use to send them again.
    #[error("it refused them with {0}")]
    Refused(u16),
    /// The other side's certificate is not good.
    #[error("its certificate is not good: {0}")]
    Certificate(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(why.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

fn late(what: &str) -> Failed {
    Failed::Other(format!("{what} took too long"))
}

impl Network {
    pub(super) fn new(private: bool) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { private, lookups: semaphore(LOOKUPS), connections: semaphore(CONNECTIONS) }
    }

    /// The addresses to which lines may go.
    async fn addresses(&self, to: &Destination) -> Result<Vec<SocketAddr>, Failed> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let name = (to.host.clone(), to.port);
        // The place is taken for as long as the lookup really lasts, whoever waits for it.
        let lookup = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            name.to_socket_addrs().map(|found| found.take(64).collect::<Vec<_>>())
        });
        let found = timeout(CONNECT, lookup).await.map_err(|_| late("the lookup of its name"))?;
        let found = found.map_err(|e| Failed::Other(e.to_string()))??;
        let allowed = found.into_iter().filter(|address| self.private || is_public(address.ip()));
        let allowed: Vec<SocketAddr> = allowed.take(ADDRESSES).collect();
        if allowed.is_empty() {
            return Err(Failed::Other("its host is on a private network".to_owned()));
        }
        Ok(allowed)
    }

    pub(super) async fn connect(&self, to: &Destination) -> Result<Connection, Failed> {
        let place = Arc::clone(&self.connections).acquire_owned().await;
        let place = place.map_err(|e| Failed::Other(e.to_string()))?;
        let mut last = late("connecting");
        for address in self.addresses(to).await? {
            match timeout(CONNECT, opened(address, to)).await {
                Ok(Ok(stream)) => return Connection::over(stream, to, place).await,
                Ok(Err(failed)) => last = failed,
                Err(_) => last = late("connecting"),
            }
        }
        Err(last)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

async fn opened(address: SocketAddr, to: &Destination) -> Result<Box<dyn Stream>, Failed> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if !to.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(to.host.clone()).map_err(|e| Failed::Other(e.to_string()))?;
    Ok(Box::new(TlsConnector::from(tls()?).connect(name, stream).await?))
}

/// What is trusted is what the machine trusts.
fn tls() -> Result<Arc<ClientConfig>, Failed> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| e.to_string())?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    });
    config.clone().map_err(Failed::Other)
}

/// An open connection.
pub(super) struct Connection {
    kind: Kind,
    _place: OwnedSemaphorePermit,
}

enum Kind {
    Syslog(Box<dyn Stream>),
    Http { sender: SendRequest<Body>, driver: JoinHandle<()> },
}

impl Drop for Kind {
    fn drop(&mut self) {
        if let Self::Http { driver, .. } = self {
            driver.abort();
        }
    }
}

impl Connection {
    async fn over(
        stream: Box<dyn Stream>,
        to: &Destination,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Failed> {
        let kind = match to.protocol {
            Protocol::Syslog => Kind::Syslog(stream),
            Protocol::Http { .. } => {
                let shaken = http1::handshake(TokioIo::new(stream)).await;
                let (sender, driver) = shaken.map_err(|e| Failed::Other(e.to_string()))?;
                // What fails on it shows where something is sent.
                Kind::Http { sender, driver: tokio::spawn(async { drop(driver.await) }) }
            }
        };
        Ok(Self { kind, _place: place })
    }

    /// Ends when the other side has closed it. What that says meanwhile is not looked at.
    pub(super) async fn closed(&mut self) {
        match &mut self.kind {
            Kind::Syslog(stream) => {
                let mut said = [0; 1024];
                while stream.read(&mut said).await.is_ok_and(|count| count > 0) {}
            }
            Kind::Http { driver, .. } => drop(driver.await),
        }
    }

    /// Sends lines, and waits until the other side has taken them as far as it says so.
    pub(super) async fn send(
        &mut self,
        to: &Destination,
        token: &str,
        id: &str,
        lines: &[Arc<Line>],
    ) -> Result<(), Failed> {
        let mut bytes = Vec::new();
        let sent = async {
            match (&mut self.kind, &to.protocol) {
                (Kind::Syslog(stream), _) => {
                    lines.iter().for_each(|line| frame::syslog(&mut bytes, line, token));
                    stream.write_all(&bytes).await?;
                    Ok(stream.flush().await?)
                }
                (Kind::Http { sender, .. }, Protocol::Http { authority, target, authorization }) => {
                    lines.iter().for_each(|line| frame::logplex(&mut bytes, line));
                    let frame =
                        ruko_core::hex(&Sha256::new().chain_update(id).chain_update(&bytes).finalize());
                    let mut request = Request::builder()
                        .method(Method::POST)
                        .uri(target)
                        .header(HOST, authority)
                        .header(CONTENT_TYPE, "application/logplex-1")
                        .header(USER_AGENT, "Logplex/openruko")
                        .header("Logplex-Msg-Count", lines.len())
                        .header("Logplex-Frame-Id", &frame[..32])
                        .header("Logplex-Drain-Token", token);
                    if let Some(value) = authorization {
                        let mut value = HeaderValue::try_from(value).map_err(other)?;
                        value.set_sensitive(true);
                        request = request.header(AUTHORIZATION, value);
                    }
                    let request = request.body(Body::from(bytes)).map_err(other)?;
                    sender.ready().await.map_err(other)?;
                    let response = sender.send_request(request).await.map_err(other)?;
                    let status = response.status();
                    // Read to its end, so that the connection can be used again.
                    let _ = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await;
                    match status {
                        status if status.is_success() => Ok(()),
                        status if status.is_client_error() && !LATER.contains(&status) => {
                            Err(Failed::Refused(status.as_u16()))
                        }
                        status => Err(Failed::Other(format!("it answered {}", status.as_u16()))),
                    }
                }
                (Kind::Http { .. }, Protocol::Syslog) => Err(Failed::Other("it is not syslog".to_owned())),
            }
        };
        timeout(PATIENCE, sent).await.unwrap_or_else(|_| Err(late("taking lines")))
    }
}

fn other(error: impl std::fmt::Display) -> Failed {
    Failed::Other(error.to_string())
}
