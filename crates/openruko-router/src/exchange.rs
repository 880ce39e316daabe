//! One request, from its head to its line in the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as DynoSession;
use pingora_core::{BError, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::app::Busy;
use crate::code::Code;
use crate::dyno::{Reuse, keep_alive};
use crate::fields::{Arrival, Facts, ToDyno, path, to_dyno};
use crate::line::{Outcome, line};
use crate::page::Page;
use crate::pump::Pump;
use crate::router::{Router, Seat, Tried};
use crate::table::{App, host_name};
use crate::wire::Wire;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How long a client may take to read a page of the router, or the last that is said on a connection.
const PAGE: Duration = Duration::from_secs(10);

/// How soon a connection proves dead that a dyno had closed before.
const AT_ONCE: Duration = Duration::from_millis(250);

/// How long a client may take to read what there is of an answer that broke off.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How long the rest of a request is thrown away after an answer that did not wait for it.
const REST: Duration = Duration::from_secs(5);

/// How much of it.
const REST_BYTES: u64 = 64 << 20;

/// A request that has an app.
struct Exchange<'a> {
    router: &'a Arc<Router>,
    session: Box<ServerSession>,
    client: Option<&'a Wire>,
    ticket: Ticket,
}

/// The record of a request: it leaves a line whatever becomes of the request.
struct Ticket {
    router: Arc<Router>,
    app: Arc<App>,
    facts: Facts,
    method: Method,
    path: String,
    started: Instant,
    outcome: Outcome,
    ended: bool,
    _busy: Option<Busy>,
}

/// Answers a request; `client` is its connection, if it is the only one there. Gives back what was read too much of the
/// connection, if it is good for another request.
pub(crate) async fn exchange(
    router: &Arc<Router>,
    mut session: Box<ServerSession>,
    client: Option<&Wire>,
    arrival: &Arrival<'_>,
) -> Option<BytesMut> {
    if let Some(page) = refused(session.req_header()) {
        let _ = show(&mut session, client, page, None).await;
        return finish(session, client, true).await;
    }
    let facts = Facts::of(session.req_header(), arrival);
    let app = router.table.borrow().app_for(&host_name(&facts.host)).cloned();
    let Some(app) = app else {
        router.metrics.no_app.fetch_add(1, Ordering::Relaxed);
        let _ = show(&mut session, client, Page::NO_APP, None).await;
        return finish(session, client, true).await;
    };
    let ticket = Ticket::new(router.clone(), app, session.req_header(), facts, arrival.at);
    Exchange { router, session, client, ticket }.run().await
}

/// What is refused of a request over HTTP/2, whose head is not judged like that of HTTP/1.
fn refused(request: &RequestHeader) -> Option<Page> {
    let expects = request.headers.get(EXPECT).map(|value| value.as_bytes());
    match expects {
        _ if request.method == Method::CONNECT => Some(Page::NO_CONNECT),
        Some(expects) if !expects.eq_ignore_ascii_case(b"100-continue") => Some(Page::EXPECTATION),
        _ => None,
    }
}

impl Exchange<'_> {
    async fn run(mut self) -> Option<BytesMut> {
        let routed = &self.ticket.app.routed;
        let (maintenance, to_https) = (routed.maintenance, routed.force_https && !self.ticket.facts.https);
        let good = if maintenance {
            self.fail(Code::Maintenance).await
        } else if to_https {
            self.redirect().await
        } else {
            self.forward().await
        };
        self.ticket.outcome.bytes = self.session.body_bytes_sent() as u64;
        self.ticket.end();
        finish(self.session, self.client, good).await
    }

    /// To the same place over HTTPS; a method other than GET stays what it is.
    async fn redirect(&mut self) -> bool {
        let method = &self.session.req_header().method;
        let status = if matches!(*method, Method::GET | Method::HEAD) { 301 } else { 308 };
        // Where a proxy in front listens is not known here.
        let port = self.router.settings.tls_listen.map(|address| address.port());
        let port = port.filter(|port| *port != 443 && !self.ticket.facts.proxied);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let place = format!("https://{}{port}{}", host_name(&self.ticket.facts.host), self.ticket.path);
        self.ticket.outcome.status = Some(status);
        let page = Page::MOVED.with_status(status);
        show(&mut self.session, self.client, page, Some(&place)).await.is_ok()
    }

    /// To a dyno. Whether the connection to the client is still good.
    async fn forward(&mut self) -> bool {
        match self.try_to_forward().await {
            Ok(good) => good,
            Err(code) => self.fail(code).await,
        }
    }

    /// Sends the request to dynos until one answers.
    ///
    /// # Errors
    /// None did, and the client got nothing yet.
    async fn try_to_forward(&mut self) -> Result<bool, Code> {
        let has_body = !self.session.is_body_empty();
        let again = !has_body && !self.ticket.facts.websocket && self.ticket.method.is_idempotent();
        let mut reuse = if again { Reuse::Any } else { Reuse::Fresh };
        let mut tried = Tried::default();
        loop {
            let seat = self.seat(reuse, &mut tried).await?;
            let reused = seat.connection.reused;
            let raw = self.session.as_http1().map(|session| session.get_headers_raw_bytes());
            let Ticket { path, facts, .. } = &self.ticket;
            let request = to_dyno(self.session.req_header(), raw.as_deref(), path, facts, has_body);
            let code = match self.send(request.map_err(|_| Code::Platform)?, seat).await {
                Ok(good) => return Ok(good),
                Err(code) => code,
            };
            // The dyno had closed the connection before it could know of the request; one that dies over a request
            // takes longer, and others shall not die over the same.
            let at_once = self.ticket.outcome.service.is_some_and(|time| time < AT_ONCE);
            if !(reused && again && at_once && code == Code::NoAnswer) {
                return Err(code);
            }
            reuse = Reuse::Never;
        }
    }

    /// A place at a dyno, for as long as the client is there.
    async fn seat(&mut self, reuse: Reuse, tried: &mut Tried) -> Result<Seat, Code> {
        let app = self.ticket.app.clone();
        let seat = self.router.seat(&app.routed.app.id, reuse, tried);
        let seat = tokio::select! {
            biased;
            seat = seat => seat?,
            () = gone(&mut self.session, self.client) => return Err(Code::ClientGone),
        };
        self.ticket.outcome.dyno = Some(seat.open.name.clone());
        self.ticket.outcome.connect = Some(seat.connect);
        Ok(seat)
    }

    /// Sends the request to one dyno and brings its answer.
    async fn send(&mut self, request: ToDyno, seat: Seat) -> Result<bool, Code> {
        let start = tokio::time::Instant::now();
        let wire = seat.connection.wire.clone();
        let mut dyno = DynoSession::new(Box::new(wire.clone()));
        // The session has to know how the request is framed; the head itself is written as it came.
        wire.mute(true);
        let known = dyno.write_request_header(request.known).await;
        wire.mute(false);
        known.map_err(|_| Code::Platform)?;
        wire.put(&request.bytes);
        let settings = &self.router.settings;
        let pump = Pump {
            session: &mut self.session,
            client: self.client,
            dyno: &mut dyno,
            wire: &wire,
            facts: &self.ticket.facts,
            start,
            first_byte: settings.first_byte,
            rolling: settings.rolling,
            head_bytes: settings.header_bytes,
            router: self.router,
            stopping: None,
        };
        let ended = pump.run().await;
        self.ticket.outcome.service = Some(start.elapsed());
        if ended.clean {
            keep(&seat, dyno, wire).await;
        }
        match (ended.code, ended.status) {
            (None, status) => {
                self.ticket.outcome.status = status;
                Ok(true)
            }
            (Some(code), None) => Err(code),
            (Some(code), Some(_)) => {
                self.ticket.outcome.code = Some(code);
                self.cut_off().await;
                Ok(false)
            }
        }
    }

    /// The client has a part of the answer, and learns from the end of the connection that this is not all.
    async fn cut_off(&self) {
        let Some(client) = self.client else { return };
        let _ = tokio::time::timeout(LAST_BYTES, client.drained()).await;
        let framed = self.session.response_written().is_some_and(|head| {
            head.headers.contains_key(CONTENT_LENGTH) || head.headers.contains_key(TRANSFER_ENCODING)
        });
        if !framed {
            client.reset_at_end();
        }
    }

    /// Shows why there is no answer.
    async fn fail(&mut self, code: Code) -> bool {
        self.ticket.outcome.code = Some(code);
        match code {
            Code::ClientGone => return false,
            // What follows a body that cannot be read is no request.
            Code::BadRequest | Code::ClientIdle => self.session.set_keepalive(None),
            _ => {}
        }
        show(&mut self.session, self.client, Page::of(code), None).await.is_ok()
    }
}

/// Keeps the connection for the next request.
async fn keep(seat: &Seat, mut dyno: DynoSession, wire: Wire) {
    let said = dyno.get_header(&KEEP_ALIVE).and_then(|value| keep_alive(value.to_str().ok()?));
    dyno.respect_keepalive();
    if dyno.reuse().await.is_some() {
        seat.open.keep(wire, said);
    }
}

/// Ends when the client is gone.
async fn gone(session: &mut ServerSession, client: Option<&Wire>) {
    match (client, session.watch_h2_stream_close()) {
        (Some(wire), _) => wire.ended().await,
        (None, Some(closed)) => drop(closed.await),
        (None, None) => std::future::pending().await,
    }
}

/// Shows a page, or the way to another place.
async fn show(
    session: &mut ServerSession,
    client: Option<&Wire>,
    page: Page,
    place: Option<&str>,
) -> Result<()> {
    let shown = async {
        write_page(session, page, place).await?;
        match client {
            Some(wire) => wire.drained().await.map_err(|_| broken()),
            None => Ok(()),
        }
    };
    tokio::time::timeout(PAGE, shown).await.unwrap_or_else(|_| Err(broken()))
}

fn broken() -> BError {
    pingora_core::Error::new(pingora_core::ErrorType::ConnectionClosed)
}

async fn write_page(session: &mut ServerSession, page: Page, place: Option<&str>) -> Result<()> {
    let request = session.req_header();
    let is_head = request.method == Method::HEAD;
    let accept = request.headers.get(ACCEPT).map_or(&b"*/*"[..], |value| value.as_bytes());
    let html = ["html", "*/*"].iter().any(|kind| accept.windows(kind.len()).any(|w| w == kind.as_bytes()));
    let (kind, body) = if html {
        ("text/html; charset=utf-8", page.html())
    } else {
        ("text/plain; charset=utf-8", page.plain_text())
    };
    let mut head = ResponseHeader::build(page.status, Some(5))?;
    head.insert_header(CONTENT_TYPE, kind)?;
    head.insert_header(CONTENT_LENGTH, body.len())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    if let Some(seconds) = page.retry_after {
        head.insert_header(RETRY_AFTER, seconds)?;
    }
    if let Some(place) = place {
        head.insert_header(LOCATION, place)?;
    }
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(if is_head { Bytes::new() } else { body }, true).await
}

/// Ends the request; gives back what was read too much of a connection that is good for another one.
async fn finish(mut session: Box<ServerSession>, client: Option<&Wire>, good: bool) -> Option<BytesMut> {
    let Some(wire) = client else {
        // A stream that is dropped without an end is reset.
        if good {
            let _ = session.finish().await;
        }
        return None;
    };
    if !good {
        return None;
    }
    session.set_total_drain_timeout(Some(REST));
    let rest = !session.is_body_done();
    let reusable = session.finish().await.ok().flatten();
    if wire.backlog() > 0 {
        tokio::time::timeout(PAGE, wire.drained()).await.ok()?.ok()?;
    }
    match reusable {
        Some(reusable) => Some(reusable.into_parts().1.unwrap_or_default()),
        None => {
            let _ = tokio::time::timeout(PAGE, wire.close()).await;
            if rest {
                let _ = tokio::time::timeout(REST, wire.linger(REST_BYTES)).await;
            }
            None
        }
    }
}

impl Ticket {
    fn new(
        router: Arc<Router>,
        app: Arc<App>,
        request: &RequestHeader,
        facts: Facts,
        started: Instant,
    ) -> Self {
        let busy = (!app.routed.maintenance).then(|| app.state.begin());
        Self {
            router,
            app,
            facts,
            method: request.method.clone(),
            path: path(request),
            started,
            outcome: Outcome::default(),
            ended: false,
            _busy: busy,
        }
    }

    fn end(&mut self) {
        self.ended = true;
        let (outcome, app) = (&self.outcome, &self.app);
        let status = outcome.status.or(outcome.code.map(Code::status)).unwrap_or_default();
        app.state.answered(status);
        self.router.metrics.request(status, outcome.code, self.started.elapsed());
        let line = line(self.method.as_str(), &self.path, &self.facts, outcome);
        self.router.lines.push(app, line);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.outcome.code = Some(Code::Forced);
            self.end();
        }
    }
}
