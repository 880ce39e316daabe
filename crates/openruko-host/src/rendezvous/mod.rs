//! Terminals of one-off dynos: TLS, a line with a secret, then raw bytes both ways.
//!
//! The protocol is Heroku's, as its CLI speaks it: the client says the secret and CR LF (what follows a `?` in it is
//! not part of the secret); the server says `rendezvous` and CR LF in a record of its own when the process is there, of
//! which the client drops whatever it reads first; and the server closes the connection when the process has ended.

mod relay;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ruko_core::config::RendezvousConfig;
use ruko_core::{Fault, Hint, hex};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::server::TlsStream;

pub(crate) use tls::Door;

use crate::dyno::wire::Ask;

/// Connections at a time.
const PLACES: usize = 512;

/// How long a client may take for TLS and its secret.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// The longest first line, in bytes.
const GREETING_BYTES: usize = 1024;

/// How long the secret of a dyno may be unknown: the API may tell it to the client before it tells us.
const UNKNOWN_TIME: Duration = Duration::from_secs(10);

/// How long a dyno may take to start.
const START_TIME: Duration = Duration::from_secs(300);

/// What a client reads first it drops, and what comes right behind it, too.
const PAUSE: Duration = Duration::from_millis(150);

/// The pause after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// What the client is told when the process is there.
const ATTACHED: &[u8] = b"rendezvous\r\n";

/// A dyno that waits for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: String,
    /// Where its supervisor listens.
    pub(crate) socket: PathBuf,
    pub(crate) terminal: bool,
    /// Its process is there.
    pub(crate) running: bool,
}

/// The dynos that wait, by the digests of their secrets.
pub(crate) type Waiting = BTreeMap<String, Place>;

/// What clients come to.
pub(crate) struct Rendezvous {
    listener: TcpListener,
    door: Door,
    waiting: watch::Receiver<Waiting>,
    taken: Mutex<BTreeSet<String>>,
    /// Called with the dyno's id when its client is there.
    attached: Box<dyn Fn(String) + Send + Sync>,
}

impl Rendezvous {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had, or the certificate not be used.
    pub(crate) async fn bind(
        config: &RendezvousConfig,
        waiting: watch::Receiver<Waiting>,
        attached: impl Fn(String) + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let door = Door::new(config.tls.as_ref())?;
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.fault(format!("cannot listen on {listen}"))?;
        Ok(Self { listener, door, waiting, taken: Mutex::default(), attached: Box::new(attached) })
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The SHA-256 digest of the certificate, lower-case hexadecimal.
    pub(crate) fn certificate(&self) -> String {
        self.door.digest()
    }

    /// Answers clients, for ever.
    pub(crate) async fn serve(self) {
        let this = Arc::new(self);
        let places = Arc::new(Semaphore::new(PLACES));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match this.listener.accept().await {
                Ok((stream, _)) => {
                    let this = this.clone();
                    tokio::spawn(async move {
                        // How a connection ends is its client's affair.
                        let _ = this.answer(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let greeted = tokio::time::timeout(GREETING_TIME, async {
            let mut tls = self.door.accept(stream).await?;
            let digest = secret(&mut tls).await?;
            Ok::<_, std::io::Error>((tls, digest))
        });
        let (mut tls, digest) = greeted.await.map_err(|_| std::io::ErrorKind::TimedOut)??;
        let mut waiting = self.waiting.clone();
        let known = |all: &Waiting| all.contains_key(&digest);
        if within(UNKNOWN_TIME, &mut waiting, known).await.is_none() {
            return Ok(());
        }
        let Some(_taken) = self.take(&digest) else { return Ok(()) };
        let ready = |all: &Waiting| all.get(&digest).is_none_or(|place| place.running);
        let ready = within(START_TIME, &mut waiting, ready).await;
        let Some(place) = ready.and_then(|all| all.get(&digest).cloned()) else {
            return refuse(&mut tls).await;
        };
        let mut dyno = UnixStream::connect(&place.socket).await?;
        let mut ask = serde_json::to_vec(&Ask::Attach)?;
        ask.push(b'\n');
        dyno.write_all(&ask).await?;
        (self.attached)(place.id);
        tls.write_all(ATTACHED).await?;
        tls.flush().await?;
        tokio::time::sleep(PAUSE).await;
        relay::relay(tls, dyno, place.terminal).await
    }

    /// A secret opens once.
    fn take(&self, digest: &str) -> Option<Taken<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(digest.to_owned()).then(|| Taken { all: &self.taken, digest: digest.to_owned() })
    }
}

/// What waits, as soon as it is as wanted; none when it was not in time.
async fn within(
    time: Duration,
    waiting: &mut watch::Receiver<Waiting>,
    wanted: impl FnMut(&Waiting) -> bool,
) -> Option<Waiting> {
    let found = tokio::time::timeout(time, waiting.wait_for(wanted)).await;
    Some(found.ok()?.ok()?.clone())
}

struct Taken<'a> {
    all: &'a Mutex<BTreeSet<String>>,
    digest: String,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

/// The dyno could not be started, or has gone. What it was is in the app's log.
async fn refuse(tls: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    tls.write_all(ATTACHED).await?;
    tls.flush().await?;
    tokio::time::sleep(PAUSE).await;
    tls.write_all(b" !     The dyno could not be started; see the app's log.\r\n").await?;
    tls.shutdown().await
}

/// Reads the first line, and gives the digest of the secret in it. What follows stays to be read.
async fn secret(tls: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    let mut line = Vec::new();
    tls.take(GREETING_BYTES as u64).read_until(b'\n', &mut line).await?;
    let line = line.strip_suffix(b"\n").ok_or(std::io::ErrorKind::InvalidData)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let secret = line.split(|&b| b == b'?').next().unwrap_or_default();
    Ok(hex(&Sha256::digest(secret)))
}
