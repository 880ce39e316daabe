//! What a build prints: taken in piece by piece, given back whole or as it comes.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ruko_api_types::{BuildStatus, Output};
use ruko_core::{PushId, UserName};
use ruko_http::Place;
use serde::Deserialize;
use tokio::time::Instant;

use super::pushes::push_named;
use super::to_the_end;
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::judge;
use crate::log::build_lines;
use crate::store::output::{self, Piece};
use crate::store::pushes::PushRow;

/// How long after the end of a push its last lines are taken.
const LATE: Millis = 60_000;

/// How long after its end a follower is kept, for these lines.
const LINGER: Millis = 1_000;

/// How long a follower of a push that waits sleeps at most.
const LONG: Millis = 600_000;

/// Pieces that are read at a time.
const PAGE: u32 = 64;

/// `POST /internal/pushes/{id}/output`
pub(crate) async fn append(
    State(api): State<Api>,
    At(id): At<PushId>,
    Body(sent): Body<Output>,
) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let push = push_named(&mut db, &id).await?;
        let now = clock::now();
        if push.ended_at(now).is_some_and(|ended| now - ended > LATE) {
            return Err(ApiFault::gone("push_ended", format!("Push {id} ended more than a minute ago.")));
        }
        let limit = api.settings.limits.output_bytes;
        if let Some((piece, reaches)) = judge::output(&sent, push.output_bytes, limit)? {
            output::append(&mut db, &id, &piece, reaches).await?;
            db.commit().await?;
            api.output_grew.notify_waiters();
            api.logs.tell_changed(&push.app_id);
            build_lines::tell(&api, &push, &piece.text).await;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct Question {
    #[serde(default)]
    follow: bool,
}

/// `GET /internal/pushes/{id}/output`
pub(crate) async fn show(
    State(api): State<Api>,
    At(id): At<PushId>,
    Asked(asked): Asked<Question>,
) -> Answer<Response> {
    let mut db = api.store.read().await?;
    push_named(&mut db, &id).await?;
    drop(db);
    Ok(read(api, id, asked.follow, None))
}

/// The output of a push that is there, from its beginning; with `follow` until the push has ended. `place` is
/// held as long as it is read.
pub(crate) fn read(api: Api, id: PushId, follow: bool, place: Option<Place<UserName>>) -> Response {
    let reader = Reader { api, id, next: 0, follow, _place: place };
    let body = HttpBody::from_stream(stream::try_unfold(reader, Reader::page));
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// One reader's position in the output of a push.
struct Reader {
    api: Api,
    id: PushId,
    next: u64,
    follow: bool,
    _place: Option<Place<UserName>>,
}

impl Reader {
    /// The next page; waits for one when the reader follows; none at the end.
    async fn page(mut self) -> Result<Option<(Bytes, Self)>, sqlx::Error> {
        let api = self.api.clone();
        loop {
            let mut grew = pin!(api.output_grew.notified());
            grew.as_mut().enable();
            let mut db = api.store.read().await?;
            let Some(push) = crate::store::pushes::find(&mut db, &self.id).await? else { return Ok(None) };
            let pieces = output::pieces(&mut db, &self.id, self.next, PAGE).await?;
            drop(db);
            if !pieces.is_empty() {
                let text = self.joined(&pieces);
                return Ok(Some((text.into(), self)));
            }
            let until = until(&push, clock::now());
            if !self.follow || api.is_stopping() || until <= Instant::now() {
                return Ok(None);
            }
            tokio::select! {
                () = &mut grew => {}
                () = tokio::time::sleep_until(api.look_again_by(until)) => {}
                () = api.stopping() => {}
            }
        }
    }

    fn joined(&mut self, pieces: &[Piece]) -> String {
        let mut text = String::new();
        for piece in pieces {
            if piece.start > self.next {
                text.push_str(&format!("\n[{} bytes were lost on the way]\n", piece.start - self.next));
            }
            text.push_str(&piece.text);
            self.next = piece.start + u64::try_from(piece.text.len()).unwrap_or(u64::MAX);
        }
        text
    }
}

/// When there is reason to look again even if nobody calls: the lease of an open push runs out, or the
/// time for the last lines of one that ended is over. Of one that waits there is none.
fn until(push: &PushRow, now: Millis) -> Instant {
    let end = match push.status(now) {
        BuildStatus::Queued => now + LONG,
        BuildStatus::Pending => push.lease_ends,
        _ => push.ended_at(now).unwrap_or(now) + LINGER,
    };
    Instant::now() + Duration::from_millis(u64::try_from(end - now).unwrap_or(0))
}
