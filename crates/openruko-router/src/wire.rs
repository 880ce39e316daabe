//! A connection, to a client or to a dyno, as both Pingora's sessions and this program hold it.
//!
//! A session owns its connection as long as a request lasts. This program looks over its shoulder: it judges a head
//! before the session reads it, notices an end that nobody reads for, knows when bytes last moved, and writes what the
//! session has written. Hence writing never waits in a session: what the socket does not take at once is kept here
//! and [`Wire::drained`] brings it out, while answers of the other direction are read at the same time. Whoever writes
//! looks at [`Wire::backlog`] first, so that is bounded.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::io::poll_read_buf;

use crate::clock;
use crate::head::{self, BadHead, Progress};

/// What a client that speaks HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at a time.
const READ: usize = 8 << 10;

/// How much of what a client sends before its turn is kept, in bytes.
const AHEAD: usize = 64 << 10;

/// Larger pieces go to the socket at once.
const DIRECT: usize = 16 << 10;

/// No head is read that has a bound.
const NO_HEAD: usize = usize::MAX;

/// A connection. Clones are the same connection.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Shared>);

struct Shared {
    id: UniqueIDType,
    /// How much a session may read of a head; [`NO_HEAD`], while it reads none.
    head_left: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    io: Io,
    /// Read from the socket, and not yet by a session.
    inbound: BytesMut,
    /// Written by a session, and not yet to the socket.
    outbound: BytesMut,
    /// How [`AsyncWrite::poll_flush`] works: HTTP/2 has a flow control of its own.
    flushes: bool,
    /// What a session writes is thrown away.
    muted: bool,
    read: u64,
    written: u64,
    /// By the coarse clock.
    moved: Duration,
    /// When bytes were last written, by that clock.
    wrote: Duration,
    /// Since when the socket takes nothing of what is flushed, by that clock.
    stuck: Option<Duration>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// A plain connection.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self::new(stream.as_raw_fd(), Io::Plain(stream))
    }

    /// A connection with TLS.
    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(stream.get_ref().0.as_raw_fd(), Io::Tls(Box::new(stream)))
    }

    fn new(id: UniqueIDType, io: Io) -> Self {
        let (inbound, outbound, now) = (BytesMut::new(), BytesMut::new(), clock::now());
        let state = State {
            io,
            inbound,
            outbound,
            flushes: false,
            muted: false,
            read: 0,
            written: 0,
            moved: now,
            wrote: now,
            stuck: None,
        };
        Self(Arc::new(Shared { id, head_left: AtomicUsize::new(NO_HEAD), state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on flushing waits until the socket has taken everything.
    pub(crate) fn flush_for_real(&self) {
        self.state().flushes = true;
    }

    /// How many bytes wait to be written; those that TLS has encrypted already count as one, since it does not say how
    /// many they are: 64 KiB at most.
    pub(crate) fn backlog(&self) -> usize {
        let state = self.state();
        state.outbound.len() + usize::from(state.io.holds_back())
    }

    /// How many bytes came over the network.
    pub(crate) fn read(&self) -> u64 {
        self.state().read
    }

    /// When bytes moved the last time, in either direction, by the coarse clock.
    pub(crate) fn moved(&self) -> Duration {
        self.state().moved
    }

    /// When bytes were last written, by that clock.
    pub(crate) fn wrote(&self) -> Duration {
        self.state().wrote
    }

    /// From now on a session reads a head of so many bytes at most, and of what follows it no more than comes with it.
    pub(crate) fn bound_head(&self, max_bytes: usize) {
        self.0.head_left.store(max_bytes, Ordering::Relaxed);
    }

    /// The head was read.
    pub(crate) fn end_head(&self) {
        self.0.head_left.store(NO_HEAD, Ordering::Relaxed);
    }

    /// Whether a session has read as much as a head may have, and there was no end of it.
    pub(crate) fn has_endless_head(&self) -> bool {
        self.0.head_left.load(Ordering::Relaxed) == 0
    }

    /// How long the socket has taken nothing of what was to be flushed; nothing, while nothing waits for it.
    pub(crate) fn stuck(&self) -> Duration {
        self.state().stuck.map_or(Duration::ZERO, |since| clock::now().saturating_sub(since))
    }

    /// Puts bytes back that were read too much.
    pub(crate) fn unread(&self, bytes: BytesMut) {
        if !bytes.is_empty() {
            let mut state = self.state();
            let rest = std::mem::replace(&mut state.inbound, bytes);
            state.inbound.extend_from_slice(&rest);
        }
    }

    /// Writes what waits to be written; then ends. Reading may go on meanwhile.
    pub(crate) async fn drained(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.state().poll_drained(cx)).await
    }

    /// Writes what the socket takes at once of what waits to be written.
    pub(crate) async fn drained_in_part(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| match self.state().poll_drained(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Ends when there is at least a byte to read: `true`; or at the end of what comes: `false`. What waits is written
    /// meanwhile.
    pub(crate) async fn readable(&self) -> io::Result<bool> {
        std::future::poll_fn(|cx| {
            let mut state = self.state();
            let _ = state.poll_drained(cx)?;
            if !state.inbound.is_empty() {
                return Poll::Ready(Ok(true));
            }
            state.poll_fill(cx).map_ok(|count| count > 0)
        })
        .await
    }

    /// Whether there is something to read without waiting.
    pub(crate) fn has_ahead(&self) -> bool {
        !self.state().inbound.is_empty()
    }

    /// Whether the client begins as one that speaks HTTP/2 does: RFC 9113, section 3.4. Nothing is taken.
    pub(crate) async fn speaks_h2(&self) -> io::Result<bool> {
        loop {
            let known = {
                let state = self.state();
                let common = state.inbound.iter().zip(PREFACE).take_while(|(one, other)| **one == **other);
                let common = common.count();
                (common < state.inbound.len().min(PREFACE.len()))
                    .then_some(false)
                    .or((common == PREFACE.len()).then_some(true))
            };
            if let Some(known) = known {
                return Ok(known);
            }
            if std::future::poll_fn(|cx| self.state().poll_fill(cx)).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads a head into what the next session reads, and judges it. `None`: the connection ended before its first
    /// byte.
    ///
    /// # Errors
    /// The connection broke, or ended in the midst of it; or the head is refused.
    pub(crate) async fn head(&self, max_bytes: usize) -> io::Result<Option<Result<(), BadHead>>> {
        let mut seen = 0;
        loop {
            let found = self.state().head(&mut seen, max_bytes);
            if found.is_some() {
                return Ok(found);
            }
            let count = std::future::poll_fn(|cx| {
                let mut state = self.state();
                let _ = state.poll_drained(cx)?;
                state.poll_fill(cx)
            });
            if count.await? == 0 {
                return if seen == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The same, if it is there already.
    pub(crate) fn head_at_once(&self, max_bytes: usize) -> Option<Result<(), BadHead>> {
        self.state().head(&mut 0, max_bytes)
    }

    /// Ends when the other side has ended the connection. What it says until then is kept for the next session, up
    /// to a bound; beyond it, nobody looks.
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state();
            while state.inbound.len() < AHEAD {
                match ready!(state.poll_fill(cx)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(()),
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether a connection that nobody uses is still good: open, and silent.
    pub(crate) fn is_idle(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut state = self.state();
        let silent = state.inbound.is_empty() && state.outbound.is_empty();
        silent && state.poll_fill(&mut cx).is_pending()
    }

    /// Gives the memory back that nobody needs while the connection is idle.
    pub(crate) fn shrink(&self) {
        let mut state = self.state();
        if state.inbound.is_empty() {
            state.inbound = BytesMut::new();
        }
        if state.outbound.is_empty() {
            state.outbound = BytesMut::new();
        }
    }

    /// Writes bytes that no session writes, and brings out what waits.
    pub(crate) async fn say(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes);
        self.drained().await
    }

    /// Throws away what a session writes, or does so no longer.
    pub(crate) fn mute(&self, muted: bool) {
        self.state().muted = muted;
    }

    /// Adds bytes to what waits to be written.
    pub(crate) fn put(&self, bytes: &[u8]) {
        self.state().outbound.extend_from_slice(bytes);
    }

    /// Tells the other side that nothing more comes.
    pub(crate) async fn close(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            let mut state = self.state();
            ready!(state.poll_drained(cx))?;
            state.io.poll_shutdown(cx)
        })
        .await
    }

    /// Throws away what comes until the other side ends, too, and that is at most so many bytes. A connection that is
    /// closed over unread bytes is reset, and the last answer may be lost with it (RFC 9112, section 9.6).
    pub(crate) async fn linger(&self, max_bytes: u64) {
        let start = self.read();
        loop {
            self.state().inbound.clear();
            let more = std::future::poll_fn(|cx| self.state().poll_fill(cx)).await;
            if !matches!(more, Ok(1..)) || self.read() - start > max_bytes {
                return;
            }
        }
    }

    /// The end of the connection will be a reset, so that it cannot pass for the end of an answer.
    pub(crate) fn reset_at_end(&self) {
        let mut state = self.state();
        state.outbound.clear();
        let _ = state.io.socket().set_zero_linger();
    }
}

impl Io {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether something that was written has still to be flushed.
    fn holds_back(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.wants_write(),
        }
    }

    /// Ready when a read may find something; so that nobody needs memory for bytes that do not come.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            // What TLS has decrypted already is not the socket's to tell.
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl State {
    /// Reads from the socket into `inbound`: how many bytes, 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.io.poll_readable(cx))?;
        self.inbound.reserve(READ);
        let count = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.inbound))?;
        self.note_read(count);
        Poll::Ready(Ok(count))
    }

    /// Judges the head in `inbound`, once it is whole, or as soon as it will never be good; `seen` bytes of it were
    /// looked at before.
    fn head(&mut self, seen: &mut usize, max_bytes: usize) -> Option<Result<(), BadHead>> {
        if *seen == 0 {
            let empty = head::empty_line(&self.inbound);
            self.inbound.advance(empty);
        }
        let found = head::progress(&self.inbound, *seen, max_bytes);
        *seen = self.inbound.len();
        match found {
            Ok(Progress::Partial) => None,
            Ok(Progress::Whole(length)) => Some(self.judge_head(length)),
            Err(bad) => Some(Err(bad)),
        }
    }

    fn judge_head(&mut self, length: usize) -> Result<(), BadHead> {
        head::judge(&self.inbound[..length])?;
        if let Some(plain) = head::with_plain_target(&self.inbound[..length]) {
            let rest = self.inbound.split_off(length);
            self.inbound = BytesMut::from(&plain[..]);
            self.inbound.extend_from_slice(&rest);
        }
        Ok(())
    }

    fn note_read(&mut self, count: usize) {
        self.read += count as u64;
        self.moved = clock::now();
    }

    fn note_stuck(&mut self, pending: bool) {
        self.stuck = if pending { self.stuck.or_else(|| Some(clock::now())) } else { None };
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(self.io.poll_write(cx, bytes))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += count as u64;
        self.wrote = clock::now();
        self.moved = self.wrote;
        Poll::Ready(Ok(count))
    }

    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.is_empty() {
            let waiting = std::mem::take(&mut self.outbound);
            let polled = self.poll_write_some(cx, &waiting);
            self.outbound = waiting;
            let count = ready!(polled)?;
            self.outbound.advance(count);
        }
        self.io.poll_flush(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if !state.inbound.is_empty() {
            let count = state.inbound.len().min(buf.remaining());
            buf.put_slice(&state.inbound[..count]);
            state.inbound.advance(count);
            return Poll::Ready(Ok(()));
        }
        let head_left = self.0.head_left.load(Ordering::Relaxed);
        if head_left == 0 {
            return Poll::Ready(Err(io::Error::other("a head without end")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut state.io).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        if head_left != NO_HEAD {
            self.0.head_left.store(head_left.saturating_sub(count), Ordering::Relaxed);
        }
        state.note_read(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if state.muted {
            return Poll::Ready(Ok(bytes.len()));
        }
        if state.flushes {
            let written = state.poll_write_some(cx, bytes);
            state.note_stuck(written.is_pending());
            return written;
        }
        if state.outbound.is_empty()
            && bytes.len() >= DIRECT
            && let Poll::Ready(count) = state.poll_write_some(cx, bytes)
        {
            return Poll::Ready(count);
        }
        state.outbound.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.flushes {
            let flushed = state.poll_drained(cx);
            state.note_stuck(flushed.is_pending());
            return flushed;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        // A session that has written its last word; whoever holds the connection beside it closes it.
        if state.flushes {
            ready!(state.poll_drained(cx))?;
            return state.io.poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(&self.0.id).finish()
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.0.id
    }
}

impl Ssl for Wire {}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Wire {}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{setsockopt, sockopt};
    use tokio::net::TcpListener;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    /// Both ends of a connection with TLS; the socket of the first takes little.
    async fn tls() -> (Wire, client::TlsStream<TcpStream>) {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone());
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        setsockopt(&ours, sockopt::SndBuf, &(16 << 10)).unwrap();
        let (acceptor, connector) =
            (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
        let name = "a.test".try_into().unwrap();
        let (ours, theirs) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
        (Wire::tls(ours.unwrap()), theirs.unwrap())
    }

    #[tokio::test]
    async fn what_tls_has_encrypted_and_the_socket_did_not_take_is_backlog() {
        let (wire, mut theirs) = tls().await;
        let mut sent = 0;
        while wire.backlog() < 1 << 10 {
            wire.put(&[b'x'; 1000]);
            sent += 1000;
            wire.drained_in_part().await.unwrap();
            let all = std::pin::pin!(wire.drained()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
            assert_eq!(all, wire.backlog() == 0, "after {sent} bytes");
        }
        let reading = tokio::spawn(async move {
            let mut all = vec![0; sent];
            tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut all).await.unwrap();
        });
        wire.drained().await.unwrap();
        assert_eq!(wire.backlog(), 0);
        reading.await.unwrap();
    }
}
