//! `GET …/info/refs`: what a service offers, or in words why it does not.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use futures_util::{StreamExt, stream};
use ruko_core::Exit;
use tokio::io::AsyncReadExt;

use crate::answer;
use crate::front::Record;
use crate::packets::{FLUSH, is_error, packet};
use crate::serve::Serve;
use crate::wanted::Service;

/// What protocol version 2 begins with: it has no line that names the service (gitprotocol-v2(5)).
const VERSION_2: &[u8] = b"000eversion 2\n";

/// So many lines of a refusal are shown.
const MAX_LINES: usize = 20;

/// Answers once it is known whether git was started.
pub(crate) async fn answer(mut serve: Serve, service: Service, record: Record) -> Response<Body> {
    let first = match first_bytes(&mut serve).await {
        Ok(first) if !first.is_empty() && !is_error(&first) => first,
        _ => return refused(serve, record).await,
    };
    let named = if first.starts_with(VERSION_2) { Vec::new() } else { name_of(service) };
    let begin = stream::iter([Ok(Bytes::from([named, first].concat()))]);
    let content_type = format!("application/x-{}-advertisement", service.name());
    answer::stream(&content_type, begin.chain(rest(serve, record)))
}

fn name_of(service: Service) -> Vec<u8> {
    let line = packet(format!("# service={}\n", service.name()).as_bytes());
    [&line, FLUSH].concat()
}

/// Enough to tell a refusal, or everything if that is less.
async fn first_bytes(serve: &mut Serve) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    while first.len() < VERSION_2.len() && serve.stdout.read_buf(&mut first).await? > 0 {}
    Ok(first)
}

/// What git says, to its end. A git that failed must not look as if it had said everything.
fn rest(serve: Serve, record: Record) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some((serve, record)), async |state| {
        let (mut serve, record) = state?;
        let mut piece = Vec::with_capacity(16 << 10);
        if let Ok(1..) = serve.stdout.read_buf(&mut piece).await {
            return Some((Ok(Bytes::from(piece)), Some((serve, record))));
        }
        let status = serve.status().await;
        record.end(200, status);
        if status.is_some_and(|status| status.success()) {
            return None;
        }
        Some((Err(io::Error::other("git ended badly")), None))
    })
}

/// openruko-serve's words, and a status that says what kind of refusal they are.
async fn refused(mut serve: Serve, record: Record) -> Response<Body> {
    let mut lines = Vec::new();
    while let Some(line) = serve.words.next().await {
        if lines.len() < MAX_LINES {
            lines.push(line);
        }
    }
    let ended = serve.status().await;
    let status = match ended.and_then(|status| status.code()) {
        Some(code) if code == Exit::Refused as i32 => StatusCode::NOT_FOUND,
        Some(code) if code == Exit::TryAgain as i32 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    record.end(status.as_u16(), ended);
    if lines.is_empty() {
        return answer::not_started();
    }
    answer::words(status, lines.join("\n"))
}
