//! A dyno as the router sees it: an address, the requests that are open there, connections that can be used again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use ruko_api_types::router::RoutedDyno;
use tokio::net::TcpStream;

use crate::code::Code;
use crate::wire::Wire;

/// How long a dyno may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The most idle connections to one dyno.
const IDLE: usize = 256;

/// How long a connection may be idle, unless the dyno says less.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// A connection that was in use just now keeps its memory.
const IN_USE: Duration = Duration::from_secs(1);

/// How long a connection is good for a request that cannot be sent again.
const FRESH: Duration = Duration::from_millis(250);

/// A dyno.
#[derive(Debug)]
pub(crate) struct Dyno {
    /// Its id.
    pub(crate) id: String,
    /// `web.1`.
    pub(crate) name: Arc<str>,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    open: AtomicU32,
    /// It is in the table no more.
    gone: AtomicBool,
    /// The longest idle first.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    wire: Wire,
    since: Instant,
    until: Instant,
}

/// A request that is open at a dyno, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Dyno>);

/// A connection to a dyno.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    /// Whether it was used before, so that the dyno may have closed it meanwhile.
    pub(crate) reused: bool,
}

/// How far a connection that was used before is good for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// The request can be sent again if the connection proves dead.
    Any,
    /// It cannot: only a connection that was in use a moment ago will do. Never to use one again would cost a port for
    /// a minute with every request.
    Fresh,
    /// Not at all.
    Never,
}

impl Dyno {
    /// A dyno with nothing open.
    pub(crate) fn new(routed: &RoutedDyno) -> Self {
        Self {
            id: routed.id.clone(),
            name: routed.name.to_string().into(),
            address: routed.address,
            open: AtomicU32::new(0),
            gone: AtomicBool::new(false),
            idle: Mutex::default(),
        }
    }

    /// How many requests are open there.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes one of so many places there.
    pub(crate) fn enter(self: &Arc<Self>, places: u32) -> Option<Open> {
        let more = |open: u32| (open < places).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Open(self.clone()))
    }

    /// It gets no new requests: its idle connections are closed, and others when their request is done.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, one that was used before or a new one, and how long it took to get it.
    ///
    /// # Errors
    /// H19, H21 or, where this program is at fault, H99; nothing was sent.
    pub(crate) async fn connection(&self, reuse: Reuse) -> Result<(Connection, Duration), Code> {
        let start = Instant::now();
        if let Some(wire) = self.take_idle(reuse, start) {
            return Ok((Connection { wire, reused: true }, Duration::ZERO));
        }
        match tokio::time::timeout(CONNECT, TcpStream::connect(self.address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                Ok((Connection { wire: Wire::plain(stream), reused: false }, start.elapsed()))
            }
            Ok(Err(error)) => {
                let code = why(&error);
                if code == Code::Platform {
                    tracing::warn!(dyno = %self.id, %error, "no file is left for a connection");
                } else {
                    tracing::debug!(dyno = %self.id, address = %self.address, %error, "no connection");
                }
                Err(code)
            }
            Err(_) => Err(Code::ConnectTimeout),
        }
    }

    fn take_idle(&self, reuse: Reuse, now: Instant) -> Option<Wire> {
        if reuse == Reuse::Never {
            return None;
        }
        let mut idle = self.idle();
        while let Some(one) = idle.pop_back() {
            if reuse == Reuse::Fresh && now - one.since > FRESH {
                // All others are older.
                idle.push_back(one);
                return None;
            }
            if one.is_good(now) {
                return Some(one.wire);
            }
        }
        None
    }

    /// Keeps a connection for another request; the dyno keeps it for so long, if it said so.
    pub(crate) fn keep(&self, wire: Wire, said: Option<Duration>) {
        // A second is for the way of the next request.
        let time = said.map_or(IDLE_TIME, |said| said.saturating_sub(Duration::from_secs(1)).min(IDLE_TIME));
        if time.is_zero() || self.gone.load(Ordering::Relaxed) {
            return;
        }
        let since = Instant::now();
        let mut idle = self.idle();
        idle.push_back(Idle { wire, since, until: since + time });
        if idle.len() > IDLE {
            idle.pop_front();
        }
        drop(idle);
        // It may have left in between.
        if self.gone.load(Ordering::Relaxed) {
            self.leave();
        }
    }

    /// Closes idle connections that are good no more.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.idle().retain(|one| {
            if now - one.since > IN_USE {
                one.wire.shrink();
            }
            one.is_good(now)
        });
    }
}

impl Idle {
    fn is_good(&self, now: Instant) -> bool {
        now < self.until && self.wire.is_idle()
    }
}

impl std::ops::Deref for Open {
    type Target = Dyno;

    fn deref(&self) -> &Dyno {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there is no connection; that this program has no file left for one is not the app's fault.
fn why(error: &std::io::Error) -> Code {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => Code::Platform,
        Some(Errno::ETIMEDOUT) => Code::ConnectTimeout,
        _ => Code::Refused,
    }
}

/// `Keep-Alive: timeout=5`: how long a dyno keeps an idle connection.
pub(crate) fn keep_alive(value: &str) -> Option<Duration> {
    let parameter = |part: &str| {
        let (name, seconds) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse().ok())?
    };
    value.split(',').find_map(parameter).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dyno(address: SocketAddr) -> Arc<Dyno> {
        let routed = RoutedDyno { id: "1".into(), name: "web.1".parse().unwrap(), address };
        Arc::new(Dyno::new(&routed))
    }

    #[test]
    fn places_are_given_back() {
        let dyno = dyno("127.0.0.1:1".parse().unwrap());
        let held: Vec<_> = (0..3).map(|_| dyno.enter(3).unwrap()).collect();
        assert!(dyno.enter(3).is_none());
        drop(held);
        assert_eq!(dyno.open(), 0);
    }

    #[tokio::test]
    async fn connections_are_used_again_while_they_are_good() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dyno = dyno(listener.local_addr().unwrap());
        let (first, _) = dyno.connection(Reuse::Any).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        assert!(!first.reused);
        dyno.keep(first.wire, None);
        assert!(dyno.take_idle(Reuse::Never, Instant::now()).is_none());
        let (again, _) = dyno.connection(Reuse::Fresh).await.unwrap();
        assert!(again.reused);
        dyno.keep(again.wire, Some(Duration::from_secs(1)));
        assert!(dyno.take_idle(Reuse::Any, Instant::now()).is_none(), "the dyno closes it at once");

        let (second, _) = dyno.connection(Reuse::Any).await.unwrap();
        drop(theirs);
        let (theirs, _) = listener.accept().await.unwrap();
        dyno.keep(second.wire, None);
        drop(theirs);
        while !dyno.idle().is_empty() {
            dyno.sweep();
            tokio::task::yield_now().await;
        }
        dyno.leave();
        let (third, _) = dyno.connection(Reuse::Any).await.unwrap();
        dyno.keep(third.wire, None);
        assert!(dyno.idle().is_empty(), "it has left");
    }

    #[tokio::test]
    async fn a_refusal_is_told_from_silence() {
        let dyno = dyno("127.0.0.1:1".parse().unwrap());
        assert_eq!(dyno.connection(Reuse::Any).await.err(), Some(Code::Refused));
    }

    #[test]
    fn a_lack_of_files_is_not_the_dynos_fault() {
        let told = |errno: Errno| why(&errno.into());
        assert_eq!([Errno::EMFILE, Errno::ENFILE].map(told), [Code::Platform; 2]);
        let others = [Errno::ETIMEDOUT, Errno::ECONNREFUSED, Errno::EHOSTUNREACH].map(told);
        assert_eq!(others, [Code::ConnectTimeout, Code::Refused, Code::Refused]);
    }

    #[test]
    fn dynos_may_say_how_long_they_wait() {
        assert_eq!(keep_alive("timeout=5, max=1000"), Some(Duration::from_secs(5)));
        assert_eq!(keep_alive("max=3, Timeout = 72"), Some(Duration::from_secs(72)));
        assert_eq!(keep_alive("timeout=soon"), None);
        assert_eq!(keep_alive(""), None);
    }
}
