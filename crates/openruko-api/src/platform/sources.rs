//! Sources: places for the tarballs that are built without a git push. Whoever has a place's URL may use it:
//! the secret in it is its credential, as with the URLs of object storage that Heroku gives out.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use ruko_api_types::platform::{Source, SourceUrls};
use ruko_core::message;
use serde::Deserialize;
use sqlx::AnyConnection;

use super::caller::Caller;
use super::route::{Route, get, post, put};
use super::{Who, ids};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::controllers::builds::tarball;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At};
use crate::settings::Public;
use crate::store::sources::{self, SourceRow};
use crate::token::Token;
use crate::uploads::{self, Refused, Uploads};

/// How long a place is kept that no build needs, as with Heroku.
const TERM: Millis = 3_600_000;

/// Places that a user may have at a time. The oldest make room for new ones.
const MAX_OF_USER: usize = 10;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/sources", Who::User, create).says("A place for a tarball to build").creates::<Source>(),
        put("/sources/{source}", Who::Anyone, upload)
            .says("Put the tarball there")
            .opens_with("put", "As in the source's `put_url`.")
            .takes_bytes()
            .slow(),
        get("/sources/{source}", Who::Anyone, show)
            .says("Read it back")
            .opens_with("get", "As in the source's `get_url`.")
            .streams("application/gzip"),
    ]
}

fn uploads(api: &Api) -> Answer<&Uploads> {
    api.uploads.as_ref().ok_or_else(|| {
        ApiFault::invalid(
            "This server takes no tarballs: use git push, or ask its admin to set `uploads` in [api] of the \
             configuration.",
        )
    })
}

async fn create(State(api): State<Api>, caller: Caller) -> Answer<Response> {
    let uploads = uploads(&api)?;
    let (put, get) = (Token::generate_plain()?, Token::generate_plain()?);
    let mut db = api.store.write().await?;
    let gone = make_room(&mut db, &caller.user.id).await?;
    let id = sources::insert(&mut db, &caller.user.id, &put, &get, clock::now() + TERM).await?;
    db.commit().await?;
    for id in gone {
        uploads.remove(&id).await;
    }
    let public = super::server::public(&api)?;
    Ok(created(Source {
        source_blob: SourceUrls {
            get_url: format!("{}?get={}", place(public, &id), get.reveal()),
            put_url: format!("{}?put={}", place(public, &id), put.reveal()),
        },
    }))
}

fn place(public: &Public, id: &str) -> String {
    format!("{}/sources/{}", public.url, ids::public(id))
}

/// Forgets the oldest places of a user, so that there is one free; gives those.
async fn make_room(db: &mut AnyConnection, user_id: &str) -> Answer<Vec<String>> {
    let (count, mut spare) = sources::of_user(db, user_id).await?;
    let too_many = (count + 1).saturating_sub(MAX_OF_USER);
    if spare.len() < too_many {
        let message = format!("{count} tarballs of yours wait to be built: try again when there are fewer.");
        return Err(ApiFault::too_often("too_many_sources", message));
    }
    spare.truncate(too_many);
    for id in &spare {
        sources::forget(db, id).await?;
    }
    Ok(spare)
}

/// The secret in the URL of a place.
#[derive(Deserialize)]
struct Secret {
    put: Option<String>,
    get: Option<String>,
}

fn missing() -> ApiFault {
    ApiFault::missing("source", "Couldn't find that source: its URL is not complete, or has expired.")
}

/// The place of that id, if the secret opens it.
async fn find(
    db: &mut AnyConnection,
    called: &str,
    secret: Option<&String>,
    digest: fn(&SourceRow) -> &str,
) -> Answer<SourceRow> {
    let id = ids::internal(called).ok_or_else(missing)?;
    let source = sources::find(db, &id).await?.ok_or_else(missing)?;
    let opens = secret.is_some_and(|secret| Token::presented(secret).has_digest(digest(&source)));
    if opens && clock::now() < source.expires_at { Ok(source) } else { Err(missing()) }
}

async fn upload(
    State(api): State<Api>,
    At(called): At<String>,
    Asked(secret): Asked<Secret>,
    request: Request,
) -> Answer<StatusCode> {
    let uploads = uploads(&api)?;
    let mut db = api.store.read().await?;
    let opened = find(&mut db, &called, secret.put.as_ref(), |source| &source.put_digest).await?;
    let _place = uploads.begin(&opened.id).map_err(refused)?;
    // Once more: another one may have come to its end until there was a place.
    let source = find(&mut db, &called, secret.put.as_ref(), |source| &source.put_digest).await?;
    drop(db);
    if source.stored.is_some() {
        return Err(taken());
    }
    let max = uploads::MAX_BYTES.min(api.settings.limits.disk_bytes);
    if length(request.headers()).is_some_and(|bytes| bytes > max) {
        return Err(refused(Refused::TooLarge(max)));
    }
    let stored = uploads.store(&source.id, request.into_body(), max).await.map_err(refused)?;
    let mut db = api.store.write().await?;
    if !sources::fill(&mut db, &source.id, &stored).await? {
        return Err(taken());
    }
    db.commit().await?;
    Ok(StatusCode::OK)
}

/// A build may be at it already, so it is never replaced.
fn taken() -> ApiFault {
    ApiFault::conflict("source_taken", "There is a tarball at this URL: get another one with POST /sources.")
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn refused(why: Refused) -> ApiFault {
    match why {
        Refused::TooLarge(max) => {
            let message = format!("The tarball is larger than {}, which is the limit.", message::bytes(max));
            ApiFault::particular(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        }
        Refused::Empty => ApiFault::invalid("The tarball is empty: send it as the request's body."),
        Refused::BrokenOff => ApiFault::particular(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "The tarball did not come to its end: nothing was kept. Send it again.",
        ),
        Refused::NoRoom => {
            let message = "The disk for tarballs is full: try again later, and tell the server's admin.";
            ApiFault::particular(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message)
        }
        Refused::Coming => {
            ApiFault::conflict("source_taken", "A tarball is being sent to this URL at this moment.")
        }
        Refused::Disk(error) => ApiFault::Internal(format!("uploads: {error}")),
    }
}

async fn show(
    State(api): State<Api>,
    At(called): At<String>,
    Asked(secret): Asked<Secret>,
) -> Answer<Response> {
    let mut db = api.store.read().await?;
    let source = find(&mut db, &called, secret.get.as_ref(), |source| &source.get_digest).await?;
    drop(db);
    tarball(uploads(&api)?, &source.id).await?.ok_or_else(missing)
}

/// The uploaded source that a build names by its `get_url`.
pub(super) async fn named(db: &mut AnyConnection, public: &Public, url: &str) -> Answer<SourceRow> {
    let ours = url.strip_prefix(&public.url).and_then(|rest| rest.strip_prefix("/sources/"));
    let (called, secret) = ours.and_then(|rest| rest.split_once("?get=")).ok_or_else(foreign)?;
    let source = find(db, called, Some(&secret.to_owned()), |source| &source.get_digest).await?;
    if source.stored.is_none() {
        return Err(ApiFault::invalid(
            "There is no tarball at this URL yet: PUT it to the source's put_url first.",
        ));
    }
    Ok(source)
}

/// What fetches any URL from inside the platform's network can be made to read what only the platform may.
fn foreign() -> ApiFault {
    ApiFault::invalid(
        "The source's URL must be a get_url of POST /sources: this server fetches nothing from elsewhere, since \
         that would open its own network to whoever names a URL. Upload the tarball to the put_url, and build \
         from the get_url beside it.",
    )
}
