//! The answers that are not git's own: words, which git's client shows after `remote: ` when it asked for
//! `info/refs`.

use std::fmt::Display;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderValue, PRAGMA, WWW_AUTHENTICATE};
use axum::http::{Method, Response, StatusCode};
use futures_util::Stream;
use ruko_core::{AppName, message};
use ruko_http::Full;

use crate::body::BodyError;
use crate::wanted::Unknown;

/// An answer whose body comes piece by piece.
pub(crate) fn stream<E>(
    content_type: &str,
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response<Body>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let body = Body::from_stream(pieces);
    finish(StatusCode::OK, content_type, body)
}

/// An answer without content.
pub(crate) fn empty(content_type: &str) -> Response<Body> {
    finish(StatusCode::OK, content_type, Body::empty())
}

/// Words.
pub(crate) fn words(status: StatusCode, text: impl Display) -> Response<Body> {
    finish(status, "text/plain; charset=utf-8", Body::from(format!("{text}\n")))
}

/// As git-http-backend does it: nothing of this is kept by anyone.
fn finish(status: StatusCode, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate"));
    headers.insert(EXPIRES, HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn trouble(status: StatusCode, text: impl Display) -> Response<Body> {
    words(status, message::trouble(text))
}

/// Who are you? git asks its credential helpers then.
pub(crate) fn unauthorized(why: &str) -> Response<Body> {
    let mut response = trouble(StatusCode::UNAUTHORIZED, why);
    let challenge = HeaderValue::from_static("Basic realm=\"openruko\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// The token is good, but not for this: another one is needed, and asking again for this one helps nobody.
/// In the API's own words.
pub(crate) fn too_narrow(words: &str) -> Response<Body> {
    trouble(StatusCode::FORBIDDEN, words)
}

/// The API's own words.
pub(crate) fn throttled(words: &str) -> Response<Body> {
    trouble(StatusCode::TOO_MANY_REQUESTS, words)
}

/// An app that is not there and one that is somebody else's read the same.
pub(crate) fn denied(app: &AppName) -> Response<Body> {
    let text = format!(
        "There is no app {app} here that you may use.\nCheck the name, and ask its owner for access."
    );
    trouble(StatusCode::NOT_FOUND, text)
}

/// Nobody is let in because somebody could not be asked.
pub(crate) fn api_down() -> Response<Body> {
    let text = "The server cannot be asked at the moment; nothing was changed.\nTry again in a minute.";
    trouble(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// openruko-serve cannot be run; the log says why.
pub(crate) fn not_started() -> Response<Body> {
    let text = "This server cannot start git at the moment; nothing was changed.\n\
                Try again in a minute; if it stays so, tell the server's admin.";
    trouble(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Every place is taken.
pub(crate) fn full(full: Full) -> Response<Body> {
    match full {
        Full::InAll => trouble(
            StatusCode::SERVICE_UNAVAILABLE,
            "This server runs as many git services as it takes. Try again in a minute.",
        ),
        Full::OfOne(bound) => trouble(
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "You have {bound} git services running here, as many as one user may. Wait for one to end."
            ),
        ),
    }
}

/// The body cannot be used.
pub(crate) fn bad_body(error: &BodyError) -> Response<Body> {
    let status = match error {
        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        BodyError::Silent => StatusCode::REQUEST_TIMEOUT,
        BodyError::Malformed(_) | BodyError::Gone => StatusCode::BAD_REQUEST,
    };
    trouble(status, error)
}

/// The body is another thing than a request to this service.
pub(crate) fn wrong_type(expected: &str) -> Response<Body> {
    trouble(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("A request of git has the type {expected}."))
}

/// None of git's calls.
pub(crate) fn unknown(unknown: Unknown, method: &Method) -> Response<Body> {
    match unknown {
        Unknown::Path => trouble(
            StatusCode::NOT_FOUND,
            "There is nothing here but git repositories: the URL of an app's is of the form https://HOST/APP.git",
        ),
        Unknown::App => trouble(
            StatusCode::NOT_FOUND,
            "No app can have this name: an app's repository is at https://HOST/APP.git",
        ),
        Unknown::Dumb => trouble(
            StatusCode::FORBIDDEN,
            "git's dumb HTTP protocol is not served: this client needs git 1.6.6 or newer.",
        ),
        Unknown::Service => {
            trouble(StatusCode::FORBIDDEN, "Only git-upload-pack and git-receive-pack are served over HTTP.")
        }
        Unknown::Method(allowed) => {
            let text = format!("This path answers to {allowed}, not to {method}.");
            let mut response = trouble(StatusCode::METHOD_NOT_ALLOWED, text);
            response.headers_mut().insert(axum::http::header::ALLOW, HeaderValue::from_static(allowed));
            response
        }
    }
}
