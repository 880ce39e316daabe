//! From settings to a listening server, and to its end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ruko_core::{Exit, Fault, Hint};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Api;
use crate::router::router;
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// Connections at a time; further ones wait in the listening socket's queue.
const MAX_CONNECTIONS: usize = 512;

/// How long a connection may take to send a request's head, also the next one: a connection without
/// requests is closed after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// How long open calls may take to end once the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A server that listens and does not yet answer.
pub struct Server {
    api: Api,
    listener: TcpListener,
    address: SocketAddr,
    patience: Duration,
}

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
        Ok(Self { api: Api::new(settings, store), listener, address, patience: PATIENCE })
    }

    /// The address it listens on; with port 0 configured, the one that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done, then lets open calls end.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { api, listener, patience, .. } = self;
        let service = TowerToHyperService::new(router(api.clone()));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(patience);
        let connections = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut stop = pin!(stop);
        loop {
            let (stream, place) = tokio::select! {
                accepted = accept(&listener, &room) => accepted,
                () = &mut stop => break,
            };
            let connection = http.serve_connection(TokioIo::new(stream), service.clone());
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                // How a connection ends is its client's affair.
                let _ = connection.await;
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

/// The next connection, once there is room for one.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed: there is always a permit in the end.
    let place = room.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small: each should leave at once.
                let _ = stream.set_nodelay(true);
                return (stream, place);
            }
            Err(error) => {
                // A client that went away at once, or no file descriptor is free: neither is the end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn unusable(error: StoreError) -> Fault {
    let hint = match &error {
        StoreError::File { .. } => "its directory must exist and belong to the user that runs openruko-api",
        _ => "is it another program's, or from a newer openruko?",
    };
    let busy = matches!(&error, StoreError::Open { source: sqlx::Error::Database(e), .. }
        if e.message().contains("locked"));
    let fault = Fault::from(error);
    if busy { Fault::try_again(fault.message) } else { fault.hint(hint) }
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

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> Result<Exit, Fault> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
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
        server.patience = Duration::from_millis(200);
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
}
