//! Bytes between a client's TLS connection and a supervisor's socket.
//!
//! Both directions move in one task: a TLS stream that is split in halves no longer tells its records apart, and the
//! client does care: it looks for the exit status of its process in single ones.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What one record holds at most (RFC 8446, section 5.1).
const RECORD: usize = 16 << 10;

/// A connection on which nothing moves for so long is closed, as the client does.
const IDLE: Duration = Duration::from_secs(3600);

/// How long an end of input is doubted that came together with other bytes.
const DOUBT: Duration = Duration::from_millis(500);

/// What a client without a terminal sends as its last byte.
const END_OF_INPUT: u8 = 4;

/// Carries bytes until the dyno has said all, the client is gone, or both are silent for an hour.
pub(super) async fn relay(
    mut client: impl AsyncBufRead + AsyncWrite + Unpin,
    mut dyno: UnixStream,
    terminal: bool,
) -> io::Result<()> {
    let mut input = Input { state: Flow::Read, terminal, doubted: false };
    let mut output = Output { state: Flow::Read, held: Vec::new() };
    let mut clock = Box::pin(sleep_until(Instant::now() + IDLE));
    let mut doubt = Box::pin(sleep_until(Instant::now()));
    poll_fn(|cx| {
        let before = clock.deadline();
        let mut moved = false;
        let typed = input.poll(cx, &mut client, &mut dyno, &mut doubt, &mut moved);
        if let Poll::Ready(outcome) = typed {
            // The client is gone: so it is told to the dyno by the end of its socket.
            return Poll::Ready(outcome);
        }
        if let Poll::Ready(outcome) = output.poll(cx, &mut dyno, &mut client, &mut moved) {
            return Poll::Ready(outcome);
        }
        if moved {
            clock.as_mut().reset(Instant::now().max(before - IDLE) + IDLE);
        }
        clock.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

/// How far a direction is.
enum Flow {
    Read,
    Write(Vec<u8>, usize),
    Flush,
    Shutdown,
    /// Nothing more goes this way; whether the client is there is still seen.
    Silent,
}

/// From the client to the dyno.
struct Input {
    state: Flow,
    terminal: bool,
    /// The last byte was [`END_OF_INPUT`], behind others: it may be meant, or be one of them.
    doubted: bool,
}

impl Input {
    /// Ready when the client is gone.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut (impl AsyncBufRead + Unpin),
        dyno: &mut UnixStream,
        doubt: &mut Pin<Box<Sleep>>,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                Flow::Read | Flow::Silent => {
                    let silent = matches!(self.state, Flow::Silent);
                    let filled = match Pin::new(&mut *client).poll_fill_buf(cx) {
                        Poll::Pending if self.doubted && !silent => {
                            ready!(doubt.as_mut().poll(cx));
                            self.doubted = false;
                            self.state = Flow::Shutdown;
                            continue;
                        }
                        filled => ready!(filled),
                    };
                    let record = filled?.to_vec();
                    Pin::new(&mut *client).consume(record.len());
                    if record.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    *moved = true;
                    if !silent {
                        self.state = self.take(record, doubt);
                    }
                }
                Flow::Write(bytes, written) if *written == bytes.len() => self.state = Flow::Flush,
                Flow::Write(bytes, written) => {
                    *written += match ready!(Pin::new(&mut *dyno).poll_write(cx, &bytes[*written..])) {
                        Ok(count) if count > 0 => count,
                        // The dyno reads no more; what it says last still comes.
                        _ => {
                            self.state = Flow::Silent;
                            continue;
                        }
                    }
                }
                Flow::Flush => {
                    self.state = Flow::Read;
                }
                Flow::Shutdown => {
                    // A socket that is gone already is as good.
                    let _ = ready!(Pin::new(&mut *dyno).poll_shutdown(cx));
                    self.state = Flow::Silent;
                }
            }
        }
    }

    /// What is passed on of a record.
    fn take(&mut self, mut record: Vec<u8>, doubt: &mut Pin<Box<Sleep>>) -> Flow {
        if self.terminal {
            return Flow::Write(record, 0);
        }
        if std::mem::take(&mut self.doubted) {
            record.insert(0, END_OF_INPUT);
        }
        match record[..] {
            [END_OF_INPUT] => Flow::Shutdown,
            [.., END_OF_INPUT] => {
                record.pop();
                self.doubted = true;
                doubt.as_mut().reset(Instant::now() + DOUBT);
                Flow::Write(record, 0)
            }
            _ => Flow::Write(record, 0),
        }
    }
}

/// From the dyno to the client.
struct Output {
    state: Flow,
    /// The beginning of a line, which goes into one record with its end.
    held: Vec<u8>,
}

impl Output {
    /// Ready when the dyno has said all and the client was told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        dyno: &mut UnixStream,
        client: &mut (impl AsyncWrite + Unpin),
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                Flow::Read => {
                    let mut space = [0; RECORD];
                    let start = self.held.len();
                    space[..start].copy_from_slice(&self.held);
                    let mut buffer = ReadBuf::new(&mut space[start..]);
                    match ready!(Pin::new(&mut *dyno).poll_read(cx, &mut buffer)) {
                        Ok(()) if !buffer.filled().is_empty() => {}
                        _ if self.held.is_empty() => {
                            self.state = Flow::Shutdown;
                            continue;
                        }
                        _ => {}
                    }
                    *moved = true;
                    let end = start + buffer.filled().len();
                    self.held.clear();
                    // More than one record is on its way: this one ends with a line.
                    let cut = match space[..end].iter().rposition(|&b| b == b'\n') {
                        Some(last) if end == RECORD && last > 0 => last + 1,
                        _ => end,
                    };
                    self.held.extend_from_slice(&space[cut..end]);
                    self.state = Flow::Write(space[..cut].to_vec(), 0);
                }
                Flow::Write(bytes, written) if *written == bytes.len() => self.state = Flow::Flush,
                Flow::Write(bytes, written) => {
                    match ready!(Pin::new(&mut *client).poll_write(cx, &bytes[*written..]))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        count => *written += count,
                    }
                }
                Flow::Flush => {
                    ready!(Pin::new(&mut *client).poll_flush(cx))?;
                    self.state = Flow::Read;
                }
                Flow::Shutdown => {
                    ready!(Pin::new(&mut *client).poll_shutdown(cx))?;
                    self.state = Flow::Silent;
                }
                Flow::Silent => return Poll::Ready(Ok(())),
            }
        }
    }
}
