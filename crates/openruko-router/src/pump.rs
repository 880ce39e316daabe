//! Between a client and a dyno: the request goes one way and the answer the other, at the same time and without being
//! held whole anywhere.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Version};
use pingora_core::protocols::http::v1::client::HttpSession as DynoSession;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::{BError, ErrorType};
use pingora_http::ResponseHeader;
use tokio::sync::watch;

use crate::clock;
use crate::code::Code;
use crate::fields::{Facts, end_head, to_h1_client, to_h2_client};
use crate::router::{Router, stopped};
use crate::websocket::{Frames, GOING_AWAY};
use crate::wire::Wire;

/// While so many bytes wait to be written, nothing more is read for them.
const BACKLOG: usize = 64 << 10;

/// How much of an answer is kept for each stream of an HTTP/2 connection: of these there are many.
pub(crate) const STREAM_BACKLOG: usize = 16 << 10;

/// The most answers of the kind `103 Early Hints` before the final one.
const HINTS: u32 = 16;

/// The two sides, and how long they may be silent.
pub(crate) struct Pump<'a> {
    pub(crate) session: &'a mut ServerSession,
    /// The client's connection; none where it has many requests at a time.
    pub(crate) client: Option<&'a Wire>,
    pub(crate) dyno: &'a mut DynoSession,
    pub(crate) wire: &'a Wire,
    pub(crate) facts: &'a Facts,
    pub(crate) start: tokio::time::Instant,
    pub(crate) first_byte: Duration,
    pub(crate) rolling: Duration,
    /// The most bytes of an answer's head.
    pub(crate) head_bytes: usize,
    pub(crate) router: &'a Router,
    /// Tells those who speak WebSocket; others end by themselves.
    pub(crate) stopping: Option<watch::Receiver<bool>>,
}

/// How far it has come.
struct Flow {
    /// Nothing more of the request goes to the dyno.
    request_done: bool,
    /// The dyno takes no more of the request.
    deaf: bool,
    /// The head of the answer was passed on.
    answered: bool,
    /// So was the answer.
    answer_done: bool,
    /// The two speak WebSocket.
    upgraded: bool,
    frames: Frames,
    /// It is to end with the next frame.
    leaving: bool,
    hints: u32,
    /// What the dyno had said on this connection before.
    heard: u64,
    /// When something was passed on the last time that the connections do not tell of: a client may have many requests
    /// on one. By the coarse clock.
    moved: Duration,
    /// When the request was whole, or the dyno last said that it works on it, by that clock.
    ended: Duration,
}

/// How it ended.
pub(crate) struct Ended {
    /// Why the answer is not whole; none if it is.
    pub(crate) code: Option<Code>,
    /// The status that the client got.
    pub(crate) status: Option<u16>,
    /// The dyno's connection has seen a whole request and a whole answer.
    pub(crate) clean: bool,
}

type Step<T = ()> = Result<T, Code>;

impl Pump<'_> {
    /// Passes on what there is, to the end.
    pub(crate) async fn run(mut self) -> Ended {
        let now = clock::now();
        self.wire.bound_head(self.head_bytes);
        let mut flow = Flow {
            request_done: false,
            deaf: false,
            answered: false,
            answer_done: false,
            upgraded: false,
            frames: Frames::default(),
            leaving: false,
            hints: 0,
            heard: self.wire.read(),
            moved: now,
            ended: now,
        };
        let code = self.flow(&mut flow).await.err();
        let status = self.session.response_written().map(|head| head.status.as_u16());
        let clean = code.is_none() && flow.request_done && !flow.deaf && flow.answer_done && !flow.upgraded;
        Ended { code, status: status.filter(|_| flow.answered), clean }
    }

    async fn flow(&mut self, flow: &mut Flow) -> Step {
        if self.session.is_body_empty() {
            self.end_request(flow).await?;
        }
        let mut timer = pin!(tokio::time::sleep_until(self.start + self.first_byte.min(self.rolling)));
        loop {
            // Most sockets take everything at once: then there is nothing to wait for.
            if self.wire.backlog() > 0 {
                flow.deaf |= self.wire.drained_in_part().await.is_err();
            }
            if let Some(client) = self.client.filter(|_| flow.answer_done) {
                client.drained_in_part().await.map_err(|_| Code::ClientGone)?;
            }
            let to_dyno = if flow.deaf { 0 } else { self.wire.backlog() };
            let to_client = self.client.map_or(0, Wire::backlog);
            if flow.answer_done && to_client == 0 {
                return Ok(());
            }
            if flow.leaving && flow.frames.is_between() {
                return self.say_goodbye().await;
            }
            let silent = flow.request_done || flow.deaf;
            // What can be passed on comes before what is to be written: head and body leave together.
            tokio::select! {
                biased;
                task = self.dyno.read_response_task(), if !flow.answer_done && to_client < BACKLOG => {
                    self.answer(flow, task).await?;
                }
                part = from_client(self.session, self.client, silent), if silent || to_dyno < BACKLOG => {
                    self.request(flow, part).await?;
                }
                sent = self.wire.drained(), if to_dyno > 0 => flow.deaf |= sent.is_err(),
                sent = drained(self.client), if to_client > 0 => sent.map_err(|_| Code::ClientGone)?,
                () = timer.as_mut() => {
                    let (due, code) = self.due(flow);
                    let Some(left) = due.checked_sub(clock::now()).filter(|left| !left.is_zero()) else {
                        return Err(code);
                    };
                    timer.as_mut().reset(tokio::time::Instant::now() + left);
                }
                () = told_to_leave(&mut self.stopping), if !flow.leaving => {
                    flow.leaving = true;
                }
            }
        }
    }

    /// A part of the request.
    async fn request(&mut self, flow: &mut Flow, part: Result<Option<Bytes>, BError>) -> Step {
        match part {
            Ok(Some(bytes)) => {
                self.note_move(flow);
                if flow.upgraded {
                    self.dyno.maybe_upgrade_body_writer();
                }
                if !bytes.is_empty() && self.dyno.write_body(&bytes).await.is_err() {
                    flow.deaf = true;
                }
                if !flow.upgraded && self.session.is_body_done() {
                    self.end_request(flow).await?;
                }
                Ok(())
            }
            // A WebSocket ends for both when it ends for one.
            Ok(None) if flow.upgraded => {
                (flow.request_done, flow.answer_done) = (true, true);
                Ok(())
            }
            Ok(None) => self.end_request(flow).await,
            Err(error) if flow.request_done || flow.deaf || is_end(&error) => Err(Code::ClientGone),
            Err(error) => {
                tracing::debug!(%error, "a body that cannot be read");
                Err(Code::BadRequest)
            }
        }
    }

    fn note_move(&self, flow: &mut Flow) {
        if self.client.is_none() {
            flow.moved = clock::now();
        }
    }

    async fn end_request(&mut self, flow: &mut Flow) -> Step {
        flow.ended = clock::now();
        flow.request_done = true;
        flow.deaf |= self.dyno.finish_body().await.is_err();
        Ok(())
    }

    /// A part of the answer.
    async fn answer(&mut self, flow: &mut Flow, task: Result<HttpTask, BError>) -> Step {
        self.note_move(flow);
        let (bytes, end) = match task {
            Ok(HttpTask::Header(head, end)) => return self.answer_head(flow, head, end).await,
            Ok(HttpTask::Body(bytes, end) | HttpTask::UpgradedBody(bytes, end)) => (bytes, end),
            Ok(HttpTask::Trailer(_) | HttpTask::Done) => (None, true),
            Ok(HttpTask::Failed(error)) | Err(error) => return Err(self.broken(flow, &error)),
        };
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            if flow.upgraded {
                flow.frames.feed(&bytes);
            }
            self.pass_on(bytes).await?;
        }
        if end {
            self.end_answer(flow).await?;
        }
        Ok(())
    }

    async fn pass_on(&mut self, mut bytes: Bytes) -> Step {
        // What is kept of a large piece would keep all of it.
        while self.client.is_none() && bytes.len() > STREAM_BACKLOG {
            self.write(Bytes::copy_from_slice(&bytes.split_to(STREAM_BACKLOG))).await?;
        }
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: Bytes) -> Step {
        let written = self.session.write_response_body(bytes, false);
        match tokio::time::timeout(self.rolling, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Code::ClientGone),
            Err(_) => Err(Code::ClientIdle),
        }
    }

    async fn answer_head(&mut self, flow: &mut Flow, head: Box<ResponseHeader>, end: bool) -> Step {
        if head_bytes(&head) > self.head_bytes {
            return Err(Code::BadAnswer);
        }
        let status = head.status;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !switches {
            flow.hints += 1;
            let knows = self.session.req_header().version == Version::HTTP_11;
            if flow.hints > HINTS {
                return Err(Code::BadAnswer);
            }
            self.wire.bound_head(self.head_bytes);
            flow.ended = clock::now();
            return if knows { self.write_head(head).await } else { Ok(()) };
        }
        self.wire.end_head();
        if switches && !self.facts.websocket {
            return Err(Code::BadAnswer);
        }
        if self.router.is_stopping() {
            self.session.set_keepalive(None);
        }
        self.write_head(head).await?;
        flow.answered = true;
        if switches {
            flow.upgraded = true;
            self.stopping = Some(self.router.stopping.subscribe());
            flow.request_done = false;
        } else if end {
            self.end_answer(flow).await?;
        }
        Ok(())
    }

    async fn write_head(&mut self, head: Box<ResponseHeader>) -> Step {
        let Some(wire) = self.client else {
            let head = to_h2_client(head).map_err(|_| Code::BadAnswer)?;
            return self.session.write_response_header(head).await.map_err(|_| Code::ClientGone);
        };
        let to = to_h1_client(&head, self.session.req_header()).map_err(|_| Code::BadAnswer)?;
        let mut bytes = to.bytes;
        // As for requests: the session knows of the framing, and the head is written as it came.
        wire.mute(true);
        let known = self.session.write_response_header(to.known).await;
        wire.mute(false);
        known.map_err(|_| Code::ClientGone)?;
        let keep_alive = self.session.as_http1().is_some_and(|session| session.will_keepalive());
        end_head(&mut bytes, head.status, keep_alive);
        wire.put(&bytes);
        Ok(())
    }

    async fn end_answer(&mut self, flow: &mut Flow) -> Step {
        flow.answer_done = true;
        flow.request_done |= flow.upgraded;
        self.session.finish_body().await.map_err(|_| Code::ClientGone)
    }

    /// What it means that the answer broke off.
    fn broken(&self, flow: &Flow, error: &BError) -> Code {
        tracing::debug!(%error, "the answer of a dyno broke off");
        if self.wire.has_endless_head() {
            return Code::BadAnswer;
        }
        if !is_end(error) {
            return if flow.answered { Code::Interrupted } else { Code::BadAnswer };
        }
        if self.wire.read() == flow.heard { Code::NoAnswer } else { Code::Interrupted }
    }

    /// When who has to do something is late, by the coarse clock, and what that means.
    fn due(&self, flow: &Flow) -> (Duration, Code) {
        let client = self.client.map_or(flow.moved, Wire::moved);
        let moved = self.wire.moved().max(client).max(flow.moved);
        if flow.answered {
            let waits_for_client = self.client.is_some_and(|client| client.backlog() > 0);
            return (moved + self.rolling, if waits_for_client { Code::ClientIdle } else { Code::Idle });
        }
        if flow.request_done || flow.deaf || self.wire.backlog() > 0 {
            // What it says does not count, or it could say a head for ever.
            return (self.wire.wrote().max(flow.ended) + self.first_byte, Code::Timeout);
        }
        (moved + self.rolling, Code::ClientIdle)
    }

    /// Tells a client that speaks WebSocket that this end goes away.
    async fn say_goodbye(&mut self) -> Step {
        self.pass_on(Bytes::from_static(&GOING_AWAY)).await?;
        drained(self.client).await.map_err(|_| Code::ClientGone)
    }
}

/// About the bytes of a head.
fn head_bytes(head: &ResponseHeader) -> usize {
    head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn is_end(error: &BError) -> bool {
    matches!(error.etype(), ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError)
}

/// The next part of a request; after its end, the end of the client.
async fn from_client(
    session: &mut ServerSession,
    wire: Option<&Wire>,
    silent: bool,
) -> Result<Option<Bytes>, BError> {
    match wire {
        _ if !silent => session.read_request_body().await,
        None => session.read_body_or_idle(true).await,
        Some(wire) => {
            wire.ended().await;
            Err(pingora_core::Error::new(ErrorType::ConnectionClosed))
        }
    }
}

async fn told_to_leave(stopping: &mut Option<watch::Receiver<bool>>) {
    match stopping {
        Some(stopping) => stopped(stopping).await,
        None => std::future::pending().await,
    }
}

async fn drained(wire: Option<&Wire>) -> std::io::Result<()> {
    match wire {
        Some(wire) => wire.drained().await,
        None => Ok(()),
    }
}
