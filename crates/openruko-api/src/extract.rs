//! What comes in, parsed into types that cannot be wrong; what does not parse is refused in the API's own
//! words and form. So is the character NUL, wherever it stands: PostgreSQL's text cannot hold it
//! (<https://www.postgresql.org/docs/current/datatype-character.html>), nor can an argument of a program.

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::errors::ApiFault;

/// The request's body, read as JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiFault;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFault> {
        let (request, bytes) = without(request, state, escapes_nul).await?;
        match axum::Json::<T>::from_request(request, state).await {
            // serde fills structs from arrays, too.
            Ok(_) if bytes.trim_ascii_start().first() != Some(&b'{') => {
                Err(ApiFault::invalid("The body must be a JSON object."))
            }
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(refused) => Err(ApiFault::malformed(refused.status(), refused.body_text())),
        }
    }
}

/// The request's body, as a form in a browser sends it.
pub(crate) struct Form<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = ApiFault;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFault> {
        let (request, _) = without(request, state, encodes_nul).await?;
        match axum::Form::<T>::from_request(request, state).await {
            Ok(axum::Form(value)) => Ok(Self(value)),
            Err(refused) => Err(ApiFault::malformed(refused.status(), refused.body_text())),
        }
    }
}

/// The parameters of the path.
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFault> {
        if encodes_nul(parts.uri.path().as_bytes()) {
            return Err(nul());
        }
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(refused) => Err(ApiFault::malformed(refused.status(), refused.body_text())),
        }
    }
}

/// The query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFault> {
        if encodes_nul(parts.uri.query().unwrap_or_default().as_bytes()) {
            return Err(nul());
        }
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(refused) => Err(ApiFault::malformed(refused.status(), refused.body_text())),
        }
    }
}

fn nul() -> ApiFault {
    ApiFault::invalid("There is a NUL character in the request: leave it out.")
}

/// The request once all of its body is here.
pub(crate) async fn whole(request: Request) -> Result<Request, ApiFault> {
    read(request, &()).await.map(|(request, _)| request)
}

/// The request once more, and its whole body, if that has no NUL.
async fn without<S: Send + Sync>(
    request: Request,
    state: &S,
    has_nul: fn(&[u8]) -> bool,
) -> Result<(Request, Bytes), ApiFault> {
    let (request, bytes) = read(request, state).await?;
    if has_nul(&bytes) { Err(nul()) } else { Ok((request, bytes)) }
}

/// The request once more, and its whole body.
async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<(Request, Bytes), ApiFault> {
    let (parts, body) = request.into_parts();
    // Its limit is among the extensions.
    let whole = Request::from_parts(parts.clone(), body);
    let bytes = Bytes::from_request(whole, state).await;
    let bytes = bytes.map_err(|refused| ApiFault::malformed(refused.status(), refused.body_text()))?;
    Ok((Request::from_parts(parts, HttpBody::from(bytes.clone())), bytes))
}

/// Whether JSON has the escape of NUL in a string: backslashes stand nowhere else, and NUL itself nowhere.
fn escapes_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = &rest[at + 1..];
        if escape.starts_with(b"u0000") {
            return true;
        }
        // The escaped character may be a backslash, which begins no escape then.
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

/// Whether a part of a URL, or a form, has NUL: as itself, or encoded. (`%2500` is the text `%00`.)
fn encodes_nul(encoded: &[u8]) -> bool {
    encoded.contains(&0) || encoded.windows(3).any(|three| three == b"%00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_found_however_it_is_written_and_nothing_else_is_taken_for_it() {
        for json in [r#""\u0000""#, r#"{"a":"\\\u0000"}"#, r#"["\n\u0000"]"#] {
            assert!(escapes_nul(json.as_bytes()), "{json}");
        }
        for json in [r#""\\u0000""#, r#""\u0001""#, r#""u0000""#, "\"\\", "", r#""\\\\u0000""#] {
            assert!(!escapes_nul(json.as_bytes()), "{json}");
        }
        for (encoded, has) in [("/a%00b", true), ("a=%2500", false), ("a=\0", true), ("a=%01", false)] {
            assert_eq!(encodes_nul(encoded.as_bytes()), has, "{encoded}");
        }
    }
}
