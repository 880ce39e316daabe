//! `heroku run`: the way of a one-off dyno's bytes.
//!
//! The CLI connects to the `rendezvous://HOST:PORT/SECRET` of the answer with TLS and verifies the host. It
//! gets an address here instead, whose certificate it was told to trust, and its bytes go on to the real
//! one. The connection to that one is made before the CLI has its answer: a CLI whose rendezvous cannot be
//! reached would end as if all were well.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use hyper::Uri;
use rcgen::{CertificateParams, KeyPair};
use ruko_core::{Fault, Hint};
use ruko_pin::Pinned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server;

use crate::upstream::{Dialer, NoConnection, bare_host};

/// How long the certificate is good for: a CLI connects within seconds of its start, but one that stays
/// (a console) may ask for a dyno much later.
const CERTIFICATE_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far clocks of one machine may be apart, by time zones that were corrected meanwhile and the like.
const CLOCK_SLACK: Duration = Duration::from_secs(60 * 60);

/// How long a client may take until its secret is there.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// What a client sends first must fit here.
const GREETING_BYTES: usize = 4096;

/// Where a one-off dyno is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    host: String,
    port: u16,
    /// The secret with its query, as the CLI sends it in its first line.
    secret: String,
    /// The certificate that it must have, where its address tells that.
    pin: Option<Pinned>,
}

impl Place {
    /// Reads `rendezvous://HOST:PORT/SECRET[?query]`. One with the digest of a certificate that is none is no address.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secret = uri.path_and_query()?.as_str().strip_prefix('/')?.to_owned();
        let right = uri.scheme_str() == Some("rendezvous") && !secret.is_empty();
        right.then_some(())?;
        let pin = Pinned::of_query(&secret).ok()?;
        Some(Self { host: bare_host(&uri)?, port: uri.port_u16()?, secret, pin })
    }
}

/// Makes local ends of rendezvous, all under one certificate.
pub(crate) struct Rendezvous {
    acceptor: TlsAcceptor,
    /// What the CLI must trust, as PEM.
    pub(crate) certificate: String,
}

impl Rendezvous {
    /// Makes key and certificate; the key stays in memory.
    pub(crate) fn new() -> Result<Self, Fault> {
        const WHAT: &str = "no certificate for `run` can be made";
        let key = KeyPair::generate().fault(WHAT)?;
        let mut params = CertificateParams::new(vec![Ipv4Addr::LOCALHOST.to_string()]).fault(WHAT)?;
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now + CERTIFICATE_TIME).into();
        let certificate = params.self_signed(&key).fault(WHAT)?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .fault(WHAT)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .fault(WHAT)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate: certificate.pem() })
    }

    /// Connects to the place and gives the address that leads there. It lasts as long as the forwarder,
    /// for one client that knows the secret.
    ///
    /// # Errors
    /// The place cannot be reached.
    pub(crate) async fn open(&self, place: Place, dialer: &Dialer) -> Result<String, NoConnection> {
        let far = dialer.connect_tls(&place.host, place.port, place.pin).await.map_err(|why| {
            NoConnection(format!("cannot reach the dyno at {}:{}: {}", place.host, place.port, why.0))
        })?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let url = format!("rendezvous://127.0.0.1:{port}/{}", place.secret);
        tokio::spawn(admit(listener, self.acceptor.clone(), format!("{}\r\n", place.secret), far));
        Ok(url)
    }
}

/// Joins the first client that knows the secret with the far end. Others are hung up on, and keep nobody
/// waiting.
async fn admit(listener: TcpListener, acceptor: TlsAcceptor, greeting: String, far: TlsStream<TcpStream>) {
    let (greeting, far) = (Arc::new(greeting), Arc::new(Mutex::new(Some(far))));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, greeting, far) = (acceptor.clone(), greeting.clone(), far.clone());
        tokio::spawn(async move {
            let greeted = tokio::time::timeout(GREETING_TIME, greet(stream, &acceptor, &greeting));
            if let Ok(Ok((near, said))) = greeted.await
                && let Some(far) = take(&far)
            {
                // How a dyno's connection ends is its two ends' affair.
                let _ = join(near, said, far).await;
            }
        });
    }
}

fn take(far: &Mutex<Option<TlsStream<TcpStream>>>) -> Option<TlsStream<TcpStream>> {
    far.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// TLS, and the first bytes of a client, which must begin with its secret.
async fn greet(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    greeting: &str,
) -> std::io::Result<(server::TlsStream<TcpStream>, Vec<u8>)> {
    stream.set_nodelay(true)?;
    let mut near = acceptor.accept(stream).await?;
    let mut said = Vec::new();
    while said.len() < greeting.len() {
        let piece = near.fill_buf().await?;
        let count = piece.len();
        said.extend_from_slice(piece);
        near.consume(count);
        if count == 0 || said.len() > GREETING_BYTES {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !said.starts_with(greeting.as_bytes()) {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    Ok((near, said))
}

/// Carries bytes until the far end has said all. The near end falling silent is passed on and not the end:
/// output may still come.
async fn join(
    mut near: server::TlsStream<TcpStream>,
    said: Vec<u8>,
    mut far: TlsStream<TcpStream>,
) -> std::io::Result<()> {
    let (mut input, mut output) = (Flow::Write(said, 0), Flow::Read);
    poll_fn(|cx| {
        if let Poll::Ready(Err(broken)) = input.poll(cx, &mut near, &mut far) {
            return Poll::Ready(Err(broken));
        }
        output.poll(cx, &mut far, &mut near)
    })
    .await
}

/// One direction. Each record is carried by itself: the CLI takes the whole first one for a greeting and
/// drops it, and looks for an exit status in single ones. Both directions move in one task, since a TLS
/// stream that is split in halves no longer tells its records apart.
enum Flow {
    Read,
    Write(Vec<u8>, usize),
    Flush,
    Shutdown,
    Ended,
}

impl Flow {
    /// Carries what there is; ready when `from` has ended and `to` was told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<std::io::Result<()>> {
        loop {
            *self = match self {
                Self::Read => {
                    let piece = ready!(Pin::new(&mut *from).poll_fill_buf(cx))?.to_vec();
                    Pin::new(&mut *from).consume(piece.len());
                    if piece.is_empty() { Self::Shutdown } else { Self::Write(piece, 0) }
                }
                Self::Write(piece, written) if *written == piece.len() => Self::Flush,
                Self::Write(piece, written) => {
                    match ready!(Pin::new(&mut *to).poll_write(cx, &piece[*written..]))? {
                        0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                        count => *written += count,
                    }
                    continue;
                }
                Self::Flush => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    Self::Read
                }
                Self::Shutdown => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    Self::Ended
                }
                Self::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_host_port_and_secret() {
        let place = |host: &str, port, secret: &str| {
            let pin = Pinned::of_query(secret).unwrap();
            Some(Place { host: host.to_owned(), port, secret: secret.to_owned(), pin })
        };
        let pinned = format!("rendezvous://paas.example.com:5001/ef29?certificate={}", "ab".repeat(32));
        for (url, expected) in [
            ("rendezvous://paas.example.com:5001/ef29", place("paas.example.com", 5001, "ef29")),
            ("rendezvous://10.0.0.1:5001/ef29?x=1", place("10.0.0.1", 5001, "ef29?x=1")),
            ("rendezvous://[::1]:5001/ef29", place("::1", 5001, "ef29")),
            (&pinned, place("paas.example.com", 5001, pinned.rsplit('/').next().unwrap())),
            ("rendezvous://paas.example.com:5001/ef29?certificate=x", None),
            ("rendezvous://paas.example.com/ef29", None),
            ("rendezvous://paas.example.com:5001/", None),
            ("rendezvous://paas.example.com:5001", None),
            ("https://paas.example.com:5001/ef29", None),
            ("", None),
        ] {
            assert_eq!(Place::parse(url), expected, "{url}");
        }
    }
}
