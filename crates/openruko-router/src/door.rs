//! A listening address: connections come in, and requests come out of them.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{
    H2Accept, HttpSession as Stream, default_h2_options, handshake,
};
use ruko_http::{Places, is_trusted, network};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::exchange::exchange;
use crate::fields::Arrival;
use crate::head::BadHead;
use crate::page::Page;
use crate::pump::STREAM_BACKLOG;
use crate::router::{Router, stopped};
use crate::tls::{Tls, is_h2};
use crate::wire::Wire;

/// How long the head of a request may take from its first byte on; of a connection's first request from the beginning,
/// a TLS handshake included.
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may be without a request; and while more than half of all places are taken.
const IDLE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));

/// A connection that was in use just now keeps its memory.
const IN_USE: Duration = Duration::from_secs(1);

/// How long a connection without a request is kept when the router is told to end: a request may be on its way.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// The most requests on one connection: a new one may go to another router.
const REQUESTS: u32 = 10_000;

/// The most connections from one place on the network that is no trusted proxy.
const OF_ONE: usize = 1024;

/// The most requests at a time over HTTP/2 from one place on the network that is no trusted proxy: over HTTP/1 each
/// has a connection of its own, which is counted.
const STREAMS_OF_ONE: usize = 512;

/// The most streams of an HTTP/2 connection at a time.
const STREAMS: u32 = 100;

/// What a client may send on each stream before it was taken, in bytes; and on all streams of a connection.
const WINDOW: (u32, u32) = (128 << 10, 512 << 10);

/// The most streams of an HTTP/2 connection that are refused before it is closed.
const BAD_STREAMS: u32 = 32;

/// Nothing was done, and the client may try again: RFC 9113, section 7.
const REFUSED_STREAM: u32 = 7;

/// How long a page may take for a request that cannot be read, and how long the rest of that is thrown away.
const PAGE: Duration = Duration::from_secs(2);

/// How much of it.
const REST_BYTES: u64 = 1 << 20;

/// The pause after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(50);

/// Connections at a time, over all doors.
pub(crate) type Room = Places<IpAddr>;

/// So many of them.
pub(crate) fn room(places: usize) -> Room {
    Places::new(places, OF_ONE)
}

/// Requests at a time over HTTP/2, over all doors: each may need a connection to a dyno.
pub(crate) fn streams(places: usize) -> Room {
    Places::new(places, STREAMS_OF_ONE)
}

/// A listening address with what its connections share.
pub(crate) struct Door {
    pub(crate) router: Arc<Router>,
    /// Without it, plain HTTP.
    pub(crate) tls: Option<Tls>,
    pub(crate) room: Room,
    /// The same for requests over HTTP/2.
    pub(crate) streams: Room,
    /// How many connections there may be in all.
    pub(crate) places: usize,
}

/// A connection.
struct Connection {
    door: Arc<Door>,
    peer: String,
    /// Whose connections and streams are counted together; none of a trusted proxy, which has those of many.
    network: Option<IpAddr>,
    port: u16,
    since: Instant,
}

impl Door {
    /// Accepts connections until the program is to end; those that are open then go on in `open`.
    pub(crate) async fn keep_open(self: Arc<Self>, listener: TcpListener) -> JoinSet<()> {
        let mut open = JoinSet::new();
        let mut stopping = self.router.stopping.subscribe();
        let port = listener.local_addr().map_or(0, |address| address.port());
        let mut stop = pin!(stopped(&mut stopping));
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = &mut stop => return open,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // No file descriptor is free, or the client went away at once.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                },
            };
            while open.try_join_next().is_some() {}
            self.admit(stream, peer, port, &mut open);
        }
    }

    /// Begins with a connection, if there is room for it.
    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, port: u16, open: &mut JoinSet<()>) {
        let peer = peer.ip().to_canonical();
        let trusted = is_trusted(peer, &self.router.settings.trusted_proxies);
        let network = (!trusted).then(|| network(peer));
        let place = network.as_ref().map(|network| self.room.take(network));
        let open_now = usize::try_from(self.router.metrics.connections.get()).unwrap_or_default();
        let place = place.transpose().ok().filter(|_| open_now < self.places);
        let Some(place) = place else {
            self.router.metrics.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, "too many connections");
            return;
        };
        let _ = stream.set_nodelay(true);
        let since = Instant::now();
        let connection = Connection { door: self.clone(), peer: peer.to_string(), network, port, since };
        let connection = Arc::new(connection);
        open.spawn(async move {
            let router = connection.door.router.clone();
            let _counted = router.metrics.connections.count();
            connection.serve(stream).await;
            drop(place);
        });
    }
}

impl Connection {
    fn router(&self) -> &Arc<Router> {
        &self.door.router
    }

    /// As a request arrives at this moment.
    fn arrival(&self, at: Instant) -> Arrival<'_> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arrival {
            peer: &self.peer,
            trusted: self.network.is_none(),
            tls: self.door.tls.is_some(),
            port: self.port,
            start: u64::try_from(since.as_millis()).unwrap_or_default(),
            at: at.into_std(),
        }
    }

    async fn serve(self: &Arc<Self>, stream: TcpStream) {
        match &self.door.tls {
            None => self.plain(Wire::plain(stream)).await,
            Some(tls) => match timeout_at(self.since + HEAD, tls.accept(stream)).await {
                Ok(Ok(stream)) if is_h2(&stream) => self.http2(Wire::tls(stream)).await,
                Ok(Ok(stream)) => self.http1(Wire::tls(stream)).await,
                Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no TLS"),
                Err(_) => tracing::debug!(peer = %self.peer, "no TLS in time"),
            },
        }
    }

    /// HTTP/1, or HTTP/2 by a client that knows beforehand (RFC 9113, section 3.3).
    async fn plain(self: &Arc<Self>, wire: Wire) {
        let mut stopping = self.router().stopping.subscribe();
        let (mut until, mut leaving) = (self.since + HEAD, false);
        loop {
            tokio::select! {
                biased;
                h2 = wire.speaks_h2() => return match h2 {
                    Ok(true) => self.http2(wire).await,
                    Ok(false) => self.http1(wire).await,
                    Err(_) => {}
                },
                () = stopped(&mut stopping), if !leaving => {
                    leaving = true;
                    until = until.min(Instant::now() + LAST_CHANCE);
                }
                () = sleep_until(until) => return self.too_slow(&wire).await,
            }
        }
    }

    /// Tells a client that its request took too long; one that has not begun with any gets no answer to it.
    async fn too_slow(&self, wire: &Wire) {
        if wire.has_ahead() {
            refuse(wire, Page::SLOW).await;
        }
    }

    async fn http1(&self, wire: Wire) {
        // These last as long as the connection, since each request would have to sign up for them anew.
        let mut stopping = self.router().stopping.subscribe();
        let mut stop = pin!(stopped(&mut stopping));
        let mut idle = pin!(tokio::time::sleep(IDLE.0));
        let mut leaving = false;
        let mut until = self.since + HEAD;
        for count in 1..=REQUESTS {
            if !wire.has_ahead() {
                // The first request has to come sooner, and so has the last.
                let mut long = count == 1 || leaving;
                let patience = if leaving { LAST_CHANCE } else { IN_USE };
                idle.as_mut().reset(if count == 1 { until } else { Instant::now() + patience });
                loop {
                    tokio::select! {
                        biased;
                        more = wire.readable() => match more {
                            Ok(true) => break,
                            Ok(false) | Err(_) => return,
                        },
                        () = &mut stop, if !leaving => {
                            (leaving, long) = (true, true);
                            idle.as_mut().reset(Instant::now() + LAST_CHANCE);
                        }
                        () = &mut idle => {
                            if std::mem::replace(&mut long, true) {
                                return;
                            }
                            wire.shrink();
                            idle.as_mut().reset(Instant::now() + self.idle());
                        }
                    }
                }
            }
            let begins = Instant::now();
            if count > 1 {
                until = begins + HEAD;
            }
            let most = self.router().settings.header_bytes;
            let head = match wire.head_at_once(most) {
                Some(head) => Ok(Ok(Some(head))),
                None => timeout_at(until, wire.head(most)).await,
            };
            match head {
                Ok(Ok(Some(Ok(())))) => {}
                Ok(Ok(None) | Err(_)) => return,
                Ok(Ok(Some(Err(bad)))) => return self.refuse_head(&wire, bad).await,
                Err(_) => return self.too_slow(&wire).await,
            }
            let mut session = Box::new(ServerSession::new_http1(Box::new(wire.clone())));
            session.set_keepalive(Some(0));
            session.set_read_timeout(None);
            session.set_pipelining_enabled(true);
            if !matches!(session.read_request().await, Ok(true)) {
                return self.refuse_head(&wire, BadHead::Malformed("otherwise")).await;
            }
            if count == REQUESTS || self.router().is_stopping() {
                session.set_keepalive(None);
            }
            match exchange(self.router(), session, Some(&wire), &self.arrival(begins)).await {
                Some(ahead) => wire.unread(ahead),
                None => return,
            }
        }
    }

    fn idle(&self) -> Duration {
        let taken = usize::try_from(self.router().metrics.connections.get()).unwrap_or_default();
        if taken > self.door.places / 2 { IDLE.1 } else { IDLE.0 }
    }

    async fn refuse_head(&self, wire: &Wire, bad: BadHead) {
        tracing::debug!(peer = %self.peer, ?bad, "a request that is refused");
        self.router().metrics.bad_heads.fetch_add(1, Ordering::Relaxed);
        let page = match bad {
            BadHead::TooLarge => Page::TOO_LARGE,
            BadHead::Malformed(_) => Page::BAD_REQUEST,
            BadHead::Connect => Page::NO_CONNECT,
            BadHead::Expectation => Page::EXPECTATION,
        };
        refuse(wire, page).await;
    }

    async fn http2(self: &Arc<Self>, wire: Wire) {
        wire.flush_for_real();
        let mut options = default_h2_options();
        let header_bytes = u32::try_from(self.router().settings.header_bytes).unwrap_or(u32::MAX);
        options.max_header_list_size(header_bytes).max_concurrent_streams(STREAMS);
        options.initial_window_size(WINDOW.0).initial_connection_window_size(WINDOW.1);
        options.max_send_buffer_size(STREAM_BACKLOG);
        let until = self.since + HEAD;
        let Ok(Ok(mut conn)) = timeout_at(until, handshake(Box::new(wire.clone()), Some(options))).await
        else {
            return;
        };
        let digest = Arc::new(Digest::default());
        let mut stopping = self.router().stopping.subscribe();
        let mut streams = JoinSet::new();
        let (mut idle_since, mut bad, mut leaving) = (Instant::now(), 0, false);
        let mut look = Instant::now() + self.router().settings.rolling;
        loop {
            tokio::select! {
                biased;
                accepted = Stream::from_h2_conn(&mut conn, digest.clone()) => match accepted {
                    Ok(Some(H2Accept::Session(mut stream))) => {
                        let (connection, at) = (self.clone(), Instant::now());
                        let place = self.network.as_ref().map(|network| self.door.streams.take(network));
                        let Ok(place) = place.transpose() else {
                            self.router().metrics.refused.fetch_add(1, Ordering::Relaxed);
                            stream.shutdown_with_reason(REFUSED_STREAM.into());
                            continue;
                        };
                        streams.spawn(async move {
                            let _place = place;
                            let session = Box::new(ServerSession::new_http2(stream));
                            let arrival = connection.arrival(at);
                            exchange(connection.router(), session, None, &arrival).await;
                        });
                    }
                    Ok(Some(H2Accept::Rejected)) => {
                        self.router().metrics.bad_heads.fetch_add(1, Ordering::Relaxed);
                        bad += 1;
                        if bad > BAD_STREAMS {
                            break;
                        }
                    }
                    Ok(None) | Err(_) => break,
                },
                Some(_) = streams.join_next() => idle_since = Instant::now(),
                () = stopped(&mut stopping), if !leaving => {
                    leaving = true;
                    conn.graceful_shutdown();
                }
                () = sleep_until(idle_since + self.idle()), if streams.is_empty() => break,
                // A stream may have ended for its request long before the client takes what is kept of the answer.
                () = sleep_until(look) => {
                    // Twice as long: a slow client of TLS takes records of what waits, and the kernel tells of room
                    // only where there is much of it.
                    let patience = (self.router().settings.rolling * 2).saturating_sub(wire.stuck());
                    if patience.is_zero() {
                        tracing::debug!(peer = %self.peer, "takes nothing");
                        break;
                    }
                    look = Instant::now() + patience;
                }
            }
        }
        drop((conn, wire));
        // What is still open learns from its stream that the connection is no more.
        while streams.join_next().await.is_some() {}
    }
}

/// Tells a client that its request cannot be read. Whatever it says further cannot be either.
async fn refuse(wire: &Wire, page: Page) {
    let told = async {
        wire.say(&page.raw()).await?;
        wire.close().await?;
        wire.linger(REST_BYTES).await;
        std::io::Result::Ok(())
    };
    let _ = timeout(PAGE, told).await;
}
