//! What release phases print, and how far releases are: for whoever follows one, and for pushes that wait.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ruko_api_types::host::{ReleaseProgress, ReleaseStatus, UpOf};
use ruko_api_types::platform::DynoState;
use ruko_core::{AppName, ProcessType, UserName};
use ruko_http::Place;
use serde::Deserialize;
use sqlx::AnyConnection;
use tokio::time::Instant;

use super::app_named;
use super::pushes::MAX_WAIT;
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At};
use crate::formation;
use crate::running;
use crate::store::apps::AppRow;
use crate::store::output::Piece;
use crate::store::releases::{self, PHASE};
use crate::store::{Sql, dynos, marks};

/// Pieces that are read at a time.
const PAGE: u32 = 64;

/// How long after its end a follower is kept, for the last lines.
const LINGER: Millis = 1_000;

/// How long a follower sleeps at most while nothing happens.
const LONG: Duration = Duration::from_secs(600);

/// What of these pieces comes after a position, which is moved on.
fn beyond(from: &mut u64, pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        let known = usize::try_from(from.saturating_sub(piece.start)).unwrap_or(usize::MAX);
        // A position in the middle of a character is nobody's: each was given whole.
        let Some(fresh) = piece.text.get(piece.text.ceil_char_boundary(known)..) else { continue };
        text.push_str(fresh);
        let length = u64::try_from(piece.text.len()).unwrap_or(u64::MAX);
        *from = (*from).max(piece.start.saturating_add(length));
    }
    text
}

/// The output of a release that is there, from its beginning to its end.
pub(crate) fn read(api: Api, app_id: String, version: u64, place: Place<UserName>) -> Response {
    let reader = Reader { api, app_id, version, next: 0, _place: place };
    let body = HttpBody::from_stream(stream::try_unfold(reader, Reader::page));
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// One reader's position.
struct Reader {
    api: Api,
    app_id: String,
    version: u64,
    next: u64,
    _place: Place<UserName>,
}

impl Reader {
    /// The next page; none at the end.
    async fn page(mut self) -> Result<Option<(Bytes, Self)>, sqlx::Error> {
        let api = self.api.clone();
        loop {
            let mut changed = pin!(api.store.changed().notified());
            changed.as_mut().enable();
            let mut db = api.store.read().await?;
            let Some(release) = releases::find(&mut db, &self.app_id, self.version).await? else {
                return Ok(None);
            };
            let pieces =
                releases::output_pieces(&mut db, &self.app_id, self.version, self.next, PAGE).await?;
            drop(db);
            let text = beyond(&mut self.next, &pieces);
            if !text.is_empty() {
                return Ok(Some((text.into(), self)));
            }
            let left = match release.status {
                ReleaseStatus::Pending => LONG,
                _ => Duration::from_millis(
                    u64::try_from(release.updated_at + LINGER - clock::now()).unwrap_or(0),
                ),
            };
            if left.is_zero() || api.is_stopping() {
                return Ok(None);
            }
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(api.look_again_by(Instant::now() + left)) => {}
                () = api.stopping() => {}
            }
        }
    }
}

/// The query of [`progress`].
#[derive(Deserialize)]
pub(crate) struct Question {
    #[serde(default)]
    output_from: u64,
    #[serde(default)]
    wait_seconds: u64,
}

/// `GET /internal/apps/{app}/releases/{version}/progress`
pub(crate) async fn progress(
    State(api): State<Api>,
    At((app, version)): At<(AppName, u64)>,
    Asked(asked): Asked<Question>,
) -> Answer<Json<ReleaseProgress>> {
    let deadline = Instant::now() + Duration::from_secs(asked.wait_seconds.min(MAX_WAIT));
    let mut first: Option<ReleaseProgress> = None;
    loop {
        let mut changed = pin!(api.store.changed().notified());
        changed.as_mut().enable();
        let mut db = api.store.snapshot().await?;
        let found = app_named(&mut db, &app).await?;
        let now = look(&mut db, &api, &found, version, asked.output_from).await?;
        drop(db);
        let is_news = !now.output.is_empty()
            || now.status != ReleaseStatus::Pending
            || first.as_ref().is_some_and(|first| *first != now);
        if is_news || Instant::now() >= deadline || api.is_stopping() {
            return Ok(Json(now));
        }
        first.get_or_insert(now);
        tokio::select! {
            () = &mut changed => {}
            () = tokio::time::sleep_until(api.look_again_by(deadline)) => {}
            () = api.stopping() => {}
        }
    }
}

async fn look(
    db: &mut AnyConnection,
    api: &Api,
    app: &AppRow,
    version: u64,
    from: u64,
) -> Answer<ReleaseProgress> {
    let release = releases::find(db, &app.id, version).await?;
    let release =
        release.ok_or_else(|| ApiFault::not_found(format!("release v{version} of `{}`", app.name)))?;
    let mut output_to = from;
    let pieces = releases::output_pieces(db, &app.id, version, from, PAGE).await?;
    let output = beyond(&mut output_to, &pieces);
    // A first release of nothing serves nobody.
    let serving = (app.slug_bytes.is_some() || app.serving == version).then_some(app.serving);
    Ok(ReleaseProgress {
        output,
        output_to,
        status: release.status,
        reason: release.reason,
        serving,
        dynos: up(db, api, app, version).await?,
    })
}

/// How many dynos of the release are up, of those that should be, by process type.
async fn up(
    db: &mut AnyConnection,
    api: &Api,
    app: &AppRow,
    version: u64,
) -> Sql<BTreeMap<ProcessType, UpOf>> {
    let marks = marks::of_app(db, &app.id).await?;
    let reported = dynos::of_app(db, &app.id).await?;
    let mut types = BTreeMap::new();
    for wanted in formation::to_run(db, &api.settings, app, version).await? {
        if wanted.process_type.as_str() == PHASE {
            continue;
        }
        let (mut up, mut all) = (0, 0);
        for name in running::names(&wanted, version, &marks) {
            let same = reported.iter().filter(|dyno| dyno.release == version && dyno.name == name);
            let newest = same.max_by_key(|dyno| &dyno.id);
            all += 1;
            up += u32::from(newest.is_some_and(|dyno| dyno.state == DynoState::Up));
        }
        types.insert(wanted.process_type, UpOf { up, wanted: all });
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_given_from_any_position_on() {
        let pieces = [Piece { start: 0, text: "grün\n".into() }, Piece { start: 10, text: "rot\n".into() }];
        for (from, expected) in [(0, "grün\nrot\n"), (2, "ün\nrot\n"), (6, "rot\n"), (12, "t\n"), (14, "")]
        {
            let mut at = from;
            assert_eq!(beyond(&mut at, &pieces), expected, "{from}");
            assert_eq!(at, 14);
        }
        let mut at = 99;
        assert_eq!((beyond(&mut at, &pieces), at), (String::new(), 99));
    }
}
