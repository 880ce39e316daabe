//! From settings to a listening server, and to its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ruko_core::{Exit, Fault, Hint};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::level_filters::LevelFilter;

use crate::api::Api;
use crate::database::Database;
use crate::router::router;
use crate::settings::Settings;
use crate::store::{Store, StoreError, dialect};

/// Connections at a time. A further one takes the place of the oldest that has sent no request yet; where
/// there is none, it waits.
const MAX_CONNECTIONS: usize = 512;

/// How long a connection may take to send the head of its first request.
const FIRST_HEAD: Duration = Duration::from_secs(5);

/// How long it may take to send the head of the next one: longer, since clients keep connections for a
/// while. A connection without requests is closed after it.
const NEXT_HEAD: Duration = Duration::from_secs(30);

/// The pause after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// How long open calls may take to end once the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A server that listens and does not yet answer.
pub struct Server {
    api: Api,
    listener: TcpListener,
    address: SocketAddr,
    bounds: Bounds,
}

/// What connections get.
struct Bounds {
    places: usize,
    first_head: Duration,
    next_head: Duration,
}

const BOUNDS: Bounds = Bounds { places: MAX_CONNECTIONS, first_head: FIRST_HEAD, next_head: NEXT_HEAD };

impl Server {
    /// Takes the address and opens the database; in this order, so that a second API by mistake ends
    /// before it touches the tables of the first.
    ///
    /// # Errors
    /// Either cannot be used; the message says which and why.
    pub async fn bind(settings: Settings) -> Result<Self, Fault> {
        let listen = settings.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| cannot_listen(listen, &error))?;
        let address = listener.local_addr().fault("cannot listen")?;
        let store = Store::open(&settings.database).await.map_err(unusable)?;
        Ok(Self { api: Api::new(settings, store), listener, address, bounds: BOUNDS })
    }

    /// The address it listens on; with port 0 configured, the one that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done, then lets open calls end.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { api, listener, bounds, .. } = self;
        let service = TowerToHyperService::new(router(api.clone()));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(bounds.next_head);
        let connections = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(bounds.places));
        let silent = Silent::default();
        let mut stop = pin!(stop);
        loop {
            let (stream, place) = tokio::select! {
                accepted = accept(&listener, &room, &silent) => accepted,
                () = &mut stop => break,
            };
            let (entry, cut) = silent.enter();
            let (heard, service) = (entry.clone(), service.clone());
            let service = service_fn(move |request| {
                heard.leave();
                service.call(request)
            });
            let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                tokio::select! {
                    // How a connection ends is its client's affair.
                    _ = connection => {}
                    () = silence(cut, bounds.first_head) => {}
                }
                entry.leave();
                drop(place);
            });
        }
        drop(listener);
        api.stop();
        if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
            tracing::warn!("calls were still open {} seconds after the end was asked for", GRACE.as_secs());
        }
        api.store.close().await;
    }
}

/// The connections that have sent no complete request yet, oldest first: whoever connects and says
/// nothing must not keep out those who have something to say.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    last: u64,
    /// A message cuts the connection off; without one its sender is dropped when it is heard.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection's place in [`Silent`].
#[derive(Clone)]
struct Entry {
    silent: Silent,
    number: u64,
}

impl Silent {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> (Entry, oneshot::Receiver<()>) {
        let (sender, cut) = oneshot::channel();
        let mut entries = self.entries();
        entries.last += 1;
        let number = entries.last;
        entries.by_age.insert(number, sender);
        (Entry { silent: self.clone(), number }, cut)
    }

    fn cut_oldest(&self) {
        let oldest = self.entries().by_age.pop_first();
        if let Some((_, sender)) = oldest {
            // One that has ended meanwhile gives its place back as well.
            let _ = sender.send(());
        }
    }
}

impl Entry {
    fn leave(&self) {
        self.silent.entries().by_age.remove(&self.number);
    }
}

/// Ends when a silent connection must go: it was cut off, or its time is up. Never ends for one that was
/// heard in time.
async fn silence(cut: oneshot::Receiver<()>, patience: Duration) {
    if let Ok(Err(_)) = tokio::time::timeout(patience, cut).await {
        std::future::pending().await
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    silent: &Silent,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    let stream = next(listener).await;
    let place = match room.clone().try_acquire_owned() {
        Ok(place) => Some(place),
        Err(_) => {
            silent.cut_oldest();
            // The semaphore is never closed: there is always a permit in the end.
            room.clone().acquire_owned().await.ok()
        }
    };
    (stream, place)
}

async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small: each should leave at once.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                // A client that went away at once, or no file descriptor is free: neither is the end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

pub(crate) fn unusable(error: StoreError) -> Fault {
    let hint = match &error {
        StoreError::File { .. } => "its directory must exist and belong to the user that runs openruko-api",
        StoreError::Password { .. } => "see `database_password_file` in [api] of the configuration",
        StoreError::Encoding { .. } => {
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 makes another one"
        }
        StoreError::Open { database: Database::Postgres(_), .. } => {
            "the server must be there, and the database and its user have been made"
        }
        _ => "is it another program's, or from a newer openruko?",
    };
    let passing = matches!(&error, StoreError::Open { source, .. } if may_pass(source));
    let fault = Fault::from(error);
    if passing { Fault::try_again(fault.message) } else { fault }.hint(hint)
}

/// Whether a start may succeed a little later.
fn may_pass(error: &sqlx::Error) -> bool {
    let locked = error.as_database_error().is_some_and(|error| error.message().contains("locked"));
    locked || dialect::is_unavailable(error)
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Fault {
    let fault = Fault::refused(format!("cannot listen on {address}: {error}"));
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            fault.hint(format!("`ss -ltnp 'sport = :{}'` shows the program that has it", address.port()))
        }
        _ => fault.hint("see `listen` in [api] of the configuration"),
    }
}

/// As asked for by a word such as `debug`, which adds a line for every request.
fn log_level(asked: Option<String>) -> LevelFilter {
    asked.and_then(|word| word.parse().ok()).unwrap_or(LevelFilter::INFO)
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> Result<Exit, Fault> {
    let log = tracing_subscriber::fmt().with_max_level(log_level(std::env::var("RUST_LOG").ok()));
    log.with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
    let runtime = Runtime::new().try_again("cannot start threads")?;
    runtime.block_on(async {
        let stop = told_to_stop().fault("cannot listen to signals")?;
        let server = Server::bind(settings).await?;
        eprintln!("openruko-api: listening on http://{}", server.address());
        server.serve(stop).await;
        Ok(Exit::Ok)
    })
}

/// Listens from the call on, not from the first poll: a signal in between must not kill.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_connection_that_sends_no_request_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let settings = crate::settings::tests::in_dir(dir.path());
        let mut server = runtime.block_on(Server::bind(settings)).unwrap();
        let short = Duration::from_millis(200);
        server.bounds = Bounds { first_head: short, next_head: short, ..BOUNDS };
        let address = server.address();
        runtime.spawn(server.serve(std::future::pending()));
        for sent in ["", "GET /health HTTP/1.1\r\nHost:", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer.contains("200 OK"), sent.ends_with("\r\n\r\n"), "{sent:?}: {answer}");
        }
    }

    #[test]
    fn silent_connections_keep_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let settings = crate::settings::tests::in_dir(dir.path());
        let mut server = runtime.block_on(Server::bind(settings)).unwrap();
        let long = Duration::from_secs(600);
        server.bounds = Bounds { places: 3, first_head: long, next_head: long };
        let address = server.address();
        runtime.spawn(server.serve(std::future::pending()));
        let connect = || {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let ask = |stream: &mut std::net::TcpStream| {
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        };
        let mut heard = connect();
        ask(&mut heard);
        let (mut oldest, mut younger) = (connect(), connect());
        younger.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
        ask(&mut connect());
        assert_eq!(oldest.read(&mut [0]).unwrap(), 0, "the oldest silent connection made room");
        ask(&mut heard);
        younger.write_all(b"Host: x\r\n\r\n").unwrap();
        assert_eq!(younger.read(&mut [0]).unwrap(), 1, "the younger one was left alone");
    }
}
