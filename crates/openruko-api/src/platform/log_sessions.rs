//! Log sessions, and the streams of lines that they open: server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) as the Heroku CLI reads them.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use ruko_api_types::platform::{LogSession, NewLogSession, Permission};
use ruko_http::Place;
use tokio::time::Instant;

use super::caller::{Caller, TheApp};
use super::route::{Route, VIEW, get, post};
use super::{Who, apps, ids, server};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::controllers::created;
use crate::controllers::logs::MAX_READ;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::log::{self, AppLog, Entry, Position, Wanted};
use crate::rights::{self, Need};
use crate::store::log_sessions::{self, LogSessionRow};
use crate::store::{Sql, apps as app_rows, users};
use crate::token::Token;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/apps/{app}/log-sessions", VIEW, create)
            .says("A place where the log of an app can be read")
            .takes::<NewLogSession>()
            .creates::<LogSession>(),
        get("/streams/{secret}", Who::Anyone, read)
            .says("The lines of a log")
            .heeds("Last-Event-ID", "Where an earlier answer broke off.")
            .streams("text/event-stream"),
    ]
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long a session without new lines can be read.
const BRIEF: Millis = 5 * 60_000;

/// How long one with new lines can be read, over however many connections. Then the CLI says that it timed out.
const LONG: Millis = 60 * 60_000;

/// Lines that come first when nothing else is said.
const USUAL_LINES: u32 = 100;

/// Longer than every name of a dyno, in bytes.
const MAX_SELECTOR: usize = 100;

/// The CLI gives up after 300 seconds without a byte.
const SILENCE: Duration = Duration::from_secs(20);

/// How often is looked again though nobody told of anything: another API may serve the same database.
const LOOK: Duration = Duration::from_secs(5);

async fn create(
    State(api): State<Api>,
    caller: Caller,
    TheApp(app): TheApp,
    Body(new): Body<NewLogSession>,
) -> Answer<Response> {
    let url = &server::public(&api)?.url;
    let (secret, now) = (Token::generate_plain()?, clock::now());
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    let session = LogSessionRow {
        app_id: app.id,
        user_id: caller.user.id,
        lines: new.lines.unwrap_or(USUAL_LINES).min(MAX_READ) as usize,
        tail: new.tail,
        dyno: new.dyno.map(selector).transpose()?,
        source: new.source.map(selector).transpose()?,
        expires_at: now + if new.tail { LONG } else { BRIEF },
    };
    let id = log_sessions::insert(&mut db, &session, &secret, now).await?;
    db.commit().await?;
    Ok(created(LogSession {
        id: ids::public(&id),
        logplex_url: format!("{url}/streams/{}", secret.reveal()),
        created_at: clock::rfc3339(now),
        updated_at: clock::rfc3339(now),
    }))
}

/// What lines are asked for by.
fn selector(raw: String) -> Answer<String> {
    if raw.len() > MAX_SELECTOR {
        let message = format!("`dyno` and `source` are names of at most {MAX_SELECTOR} bytes.");
        return Err(ApiFault::invalid(message));
    }
    Ok(raw)
}

/// No token is asked for: the secret is in the URL.
async fn read(State(api): State<Api>, At(secret): At<String>, headers: HeaderMap) -> Answer<Response> {
    let secret = Token::presented(&secret);
    let mut db = api.store.read().await?;
    let session = log_sessions::find(&mut db, &secret, clock::now()).await?;
    let session = session.ok_or_else(|| ApiFault::missing("stream", "This log stream is over."))?;
    drop(db);
    let place = api.log_readers.take(&session.user_id).map_err(ApiFault::full)?;
    let seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    let wanted = Wanted { dyno: session.dyno.clone(), source: session.source.clone() };
    let reader = Reader {
        log: api.logs.of(&session.app_id),
        api,
        secret,
        session,
        wanted,
        position: seen,
        begun: false,
        changes: 0,
        looked: Instant::now(),
        _place: place,
    };
    let body = HttpBody::from_stream(stream::unfold(reader, Reader::next));
    Ok(([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], body).into_response())
}

/// One connection on which a session is read.
struct Reader {
    api: Api,
    log: Arc<AppLog>,
    secret: Token,
    session: LogSessionRow,
    wanted: Wanted,
    /// None before the first lines.
    position: Option<Position>,
    begun: bool,
    /// See [`AppLog::changes`]: those of which it knows what happened.
    changes: u64,
    /// When the database was last asked.
    looked: Instant,
    _place: Place<String>,
}

/// A piece of the answer. None of them fails: what breaks off is an error to the CLI, what ends it resumes.
type Piece = Result<String, std::convert::Infallible>;

impl Reader {
    async fn next(mut self) -> Option<(Piece, Self)> {
        let text = match self.text().await {
            Ok(text) => text?,
            Err(error) => {
                tracing::error!(cause = ruko_core::exit::chain(&error), "a log cannot be read on");
                return None;
            }
        };
        Some((Ok(text), self))
    }

    /// What is sent next; none at the end.
    async fn text(&mut self) -> Sql<Option<String>> {
        if !self.begun {
            self.begun = true;
            return self.first().await.map(Some);
        }
        if !self.session.tail {
            return Ok(None);
        }
        self.following().await
    }

    /// How soon to come back, and the lines so far.
    async fn first(&mut self) -> Sql<String> {
        self.changes = self.log.changes();
        let retry = if self.session.tail { 1000 } else { 1 };
        let text = format!("retry: {retry}\n\n");
        let entries = match &self.position {
            Some(_) => self.fresh().await?,
            None => {
                let (app_id, lines) = (&self.session.app_id, self.session.lines);
                let (position, entries) =
                    log::latest(&self.api, &self.log, app_id, &self.wanted, lines).await?;
                self.position = Some(position);
                entries
            }
        };
        Ok(text + &events(&entries))
    }

    async fn fresh(&mut self) -> Sql<Vec<Entry>> {
        let position = self.position.get_or_insert_default();
        log::after(&self.api, &self.log, &self.session.app_id, &self.wanted, position).await
    }

    /// New lines, or a sign of life. Lines come often: the database is asked only when something else happened, and
    /// from time to time.
    async fn following(&mut self) -> Sql<Option<String>> {
        let (api, log) = (self.api.clone(), Arc::clone(&self.log));
        let silent_until = Instant::now() + SILENCE;
        loop {
            // Listened to from before the look, so that nothing is missed in between.
            let (mut grew, mut changed) = (pin!(log.lines.notified()), pin!(log.changed.notified()));
            grew.as_mut().enable();
            changed.as_mut().enable();
            if api.is_stopping() {
                return Ok(None);
            }
            let (any, entries) = if self.changes != log.changes() || self.looked + LOOK <= Instant::now() {
                (self.changes, self.looked) = (log.changes(), Instant::now());
                if !self.goes_on().await? {
                    return Ok(None);
                }
                (false, self.fresh().await?)
            } else {
                let position = self.position.get_or_insert_default();
                log::lines_after(&api, &log, &self.wanted, position).await
            };
            if !entries.is_empty() {
                return Ok(Some(events(&entries)));
            }
            // There may be wanted ones after those.
            if any {
                continue;
            }
            if Instant::now() >= silent_until {
                return Ok(Some(": keepalive\n\n".to_owned()));
            }
            tokio::select! {
                () = &mut grew => {}
                () = &mut changed => {}
                () = tokio::time::sleep_until(silent_until.min(self.looked + LOOK)) => {}
                () = api.stopping() => {}
            }
        }
    }

    /// Whether the session still holds, and its user may still see the app.
    async fn goes_on(&self) -> Sql<bool> {
        let mut db = self.api.store.read().await?;
        let Some(session) = log_sessions::find(&mut db, &self.secret, clock::now()).await? else {
            return Ok(false);
        };
        let user = users::by_id(&mut db, &session.user_id).await?;
        let app = app_rows::find_by_id(&mut db, &session.app_id).await?;
        let Some((user, app)) = user.zip(app) else { return Ok(false) };
        Ok(rights::role(&mut db, &user, &app).await?.may(Need::Permission(Permission::View)))
    }
}

fn events(entries: &[Entry]) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "id: {}", entry.position);
        for line in &entry.lines {
            let _ = writeln!(text, "data: {}", line.shown());
        }
        text.push('\n');
        text
    })
}
