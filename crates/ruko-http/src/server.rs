//! From an address to connections that are answered, and to their end.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use ruko_core::config::{Ipv4Net, TlsConfig};
use ruko_core::{Fault, Hint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::address::{ClientAddress, is_trusted, network};
use crate::patient::Patient;
use crate::places::Places;
use crate::process::vital;
use crate::silent::{Entry, Silent, silence};
use crate::tls::Tls;

/// The pause after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// How long open calls may take to end once the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address; with port 0 the system chooses one.
    pub address: SocketAddr,
    /// The table of the configuration that says so, for messages: `[api]`.
    pub table: &'static str,
    /// TLS with this certificate; without it plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Ipv4Net>,
    /// What connections get.
    pub bounds: Bounds,
}

/// What the connections of a listener get.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time. A further one takes the place of the oldest that has sent no request yet;
    /// where there is none, it waits.
    pub places: usize,
    /// Connections at a time from one place on the network ([`network`]) that is no trusted proxy; further
    /// ones are closed. So one client cannot take all.
    pub of_one: usize,
    /// How long a connection may take to send the head of its first request, a TLS handshake included.
    pub first_head: Duration,
    /// How long it may take to send the head of the next one: longer, since clients keep connections for a
    /// while. A connection without requests is closed after it.
    pub next_head: Duration,
    /// How long a client may take nothing of an answer that waits to be written. The kernel tells of room only when
    /// it has much, which is some megabytes: a slow client, too, takes nothing for a while.
    pub write: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            places: 512,
            of_one: 256,
            first_head: Duration::from_secs(5),
            next_head: Duration::from_secs(30),
            write: Duration::from_secs(120),
        }
    }
}

/// An address that is taken; connections wait until [`serve`] answers.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    trusted_proxies: Vec<Ipv4Net>,
    bounds: Bounds,
}

impl Listener {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had, or the certificate not be used; the message says which and why.
    pub async fn bind(listen: &Listen) -> Result<Self, Fault> {
        let tls = listen.tls.as_ref().map(Tls::new).transpose()?;
        let tcp = TcpListener::bind(listen.address).await.map_err(|error| cannot_listen(listen, &error))?;
        let address = tcp.local_addr().fault("cannot listen")?;
        let trusted_proxies = listen.trusted_proxies.clone();
        Ok(Self { tcp, address, tls, trusted_proxies, bounds: listen.bounds })
    }

    /// The address it listens on; with port 0 asked for, the one that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

fn cannot_listen(listen: &Listen, error: &std::io::Error) -> Fault {
    let Listen { address, table, .. } = listen;
    let fault = Fault::refused(format!("cannot listen on {address}: {error}"));
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            fault.hint(format!("`ss -ltnp 'sport = :{}'` shows the program that has it", address.port()))
        }
        _ => fault.hint(format!("see `listen` in {table} of the configuration")),
    }
}

/// Answers on every listener, each with its router, until `stop` is done; then lets open calls end, for ten
/// seconds at most.
pub async fn serve(doors: Vec<(Listener, Router)>, stop: impl Future<Output = ()>) {
    let (sender, stopping) = watch::channel(());
    let mut open: JoinSet<()> = doors
        .into_iter()
        .map(|(listener, router)| vital(keep_open(Door::new(listener, router), stopping.clone())))
        .collect();
    stop.await;
    let _ = sender.send(());
    while open.join_next().await.is_some() {}
}

/// A listener with what its connections share.
struct Door {
    tls: Option<Tls>,
    trusted_proxies: Vec<Ipv4Net>,
    bounds: Bounds,
    http: http1::Builder,
    router: TowerToHyperService<Router>,
}

impl Door {
    fn new(listener: Listener, router: Router) -> (Self, TcpListener) {
        let Listener { tcp, tls, trusted_proxies, bounds, .. } = listener;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(bounds.next_head);
        (Self { tls, trusted_proxies, bounds, http, router: TowerToHyperService::new(router) }, tcp)
    }
}

/// Accepts until it is told to stop, then waits for what is open.
async fn keep_open((door, tcp): (Door, TcpListener), mut stopping: watch::Receiver<()>) {
    let door = Arc::new(door);
    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(door.bounds.places));
    let silent = Silent::default();
    let of_one = Places::new(usize::MAX, door.bounds.of_one);
    let mut stopped = pin!(stopping.changed());
    loop {
        let accepted = async {
            let (stream, peer) = next(&tcp).await;
            let is_proxy = is_trusted(peer.to_canonical(), &door.trusted_proxies);
            // Before there is room for it: whoever may have no more makes nobody else go.
            let own = if is_proxy { None } else { Some(of_one.take(&network(peer))) };
            let Ok(own) = own.transpose() else {
                tracing::debug!(%peer, "has as many connections as one may have");
                return None;
            };
            Some((stream, peer, own, place(&room, &silent).await))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ = &mut stopped => break,
        };
        let Some((stream, peer, own, place)) = accepted else { continue };
        let (entry, cut) = silent.enter();
        let (door, watcher) = (door.clone(), connections.watcher());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(&door, stream, peer, &entry, watcher) => {}
                () = silence(cut, door.bounds.first_head) => {}
            }
            entry.leave();
            drop((own, place));
        });
    }
    drop(tcp);
    if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("calls were still open {} seconds after the end was asked for", GRACE.as_secs());
    }
}

/// One connection. How it ends is its client's affair.
async fn converse(door: &Arc<Door>, stream: TcpStream, peer: IpAddr, entry: &Entry, watcher: Watcher) {
    let stream = Patient::new(stream, door.bounds.write);
    match &door.tls {
        None => answer(door, stream, peer, entry, watcher).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => answer(door, stream, peer, entry, watcher).await,
            Err(error) => tracing::debug!(%peer, %error, "no TLS"),
        },
    }
}

async fn answer<S>(door: &Arc<Door>, stream: S, peer: IpAddr, entry: &Entry, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (heard, shared) = (entry.clone(), door.clone());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        heard.leave();
        let client = ClientAddress::of(peer, request.headers(), &shared.trusted_proxies);
        request.extensions_mut().insert(client);
        let answer = AssertUnwindSafe(shared.router.call(request)).catch_unwind();
        async { answer.await.unwrap_or_else(|_| Ok(defect())) }
    });
    let _ = watcher.watch(door.http.serve_connection(TokioIo::new(stream), service)).await;
}

/// What is answered to a request that met a defect; the log says which. The form is that of every error of the APIs.
fn defect() -> Response {
    const BODY: &str = r#"{"id":"internal_server_error","message":"The server failed; its log says why."}"#;
    (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "application/json")], BODY).into_response()
}

/// Room for a connection, once there is some.
async fn place(room: &Arc<Semaphore>, silent: &Silent) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = room.clone().try_acquire_owned() {
        return Some(place);
    }
    silent.cut_oldest();
    // The semaphore is never closed: there is always a permit in the end.
    room.clone().acquire_owned().await.ok()
}

async fn next(tcp: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match tcp.accept().await {
            Ok((stream, peer)) => {
                // Answers are small: each should leave at once.
                let _ = stream.set_nodelay(true);
                return (stream, peer.ip());
            }
            Err(error) => {
                // A client that went away at once, or no file descriptor is free: neither is the end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}
