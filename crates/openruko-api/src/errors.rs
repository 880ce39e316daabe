//! A refusal has an outside and an inside: the caller gets status, id and a sentence; the causes of what
//! is our own fault go to the log, once, here.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ruko_api_types::{ApiError, Holder};
use ruko_core::{AppName, UserName};
use ruko_http::Full;

use crate::rights::Need;
use crate::store::dialect;

/// Why a call was not carried out.
#[derive(Debug)]
pub(crate) enum ApiFault {
    /// The caller asked for something that is not allowed, not there or not possible.
    Refused { status: StatusCode, id: &'static str, message: String, resource: Option<&'static str> },
    /// Another push has the lease; the answer's body is the holder itself.
    Held(Box<Holder>),
    /// The database failed us.
    Database(sqlx::Error),
    /// Something else that is not the caller's fault.
    Internal(String),
}

/// What a controller gives.
pub(crate) type Answer<T> = Result<T, ApiFault>;

impl ApiFault {
    fn refused(status: StatusCode, id: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { status, id, message: message.into(), resource: None }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, "unauthorized", "This call needs a component's Bearer token.")
    }

    /// The component may not use this call.
    pub(crate) fn forbidden(component: crate::auth::Component) -> Self {
        let message = format!("The component `{component}` may not use this call.");
        Self::refused(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The user may not do this to the app.
    pub(crate) fn denied() -> Self {
        Self::refused(StatusCode::FORBIDDEN, "denied", "This user has no access to this app.")
    }

    /// The caller's token does not say who they are.
    pub(crate) fn not_logged_in(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The caller is known, and may not.
    pub(crate) fn not_allowed(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// A collaborator lacks what the call needs.
    pub(crate) fn lacks(need: Need, app: &AppName, owner: &UserName) -> Self {
        Self::not_allowed(match need {
            Need::Permission(permission) => {
                format!("You need the permission `{permission}` on `{app}` for this; its owner is `{owner}`.")
            }
            Need::Ownership => format!("Only the owner of `{app}`, `{owner}`, may do this."),
        })
    }

    /// Said of an app that is not there and of one that the caller may not know of, in the same words.
    pub(crate) fn no_such_app() -> Self {
        Self::missing("app", "Couldn't find that app.")
    }

    /// A resource of the Platform API is not there.
    pub(crate) fn missing(resource: &'static str, message: impl Into<String>) -> Self {
        Self::Refused {
            status: StatusCode::NOT_FOUND,
            id: "not_found",
            message: message.into(),
            resource: Some(resource),
        }
    }

    /// Too often: the caller should wait.
    pub(crate) fn too_often(id: &'static str, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::TOO_MANY_REQUESTS, id, message)
    }

    /// A refusal with a word of its own, for which programs wait.
    pub(crate) fn particular(status: StatusCode, id: &'static str, message: impl Into<String>) -> Self {
        Self::refused(status, id, message)
    }

    /// No place is left to whoever would hold a connection for long.
    pub(crate) fn full(full: Full) -> Self {
        match full {
            Full::InAll => {
                let message = "Too many logs and outputs are being read at this moment: try again later.";
                Self::refused(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
            }
            Full::OfOne(bound) => {
                let message =
                    format!("You have {bound} of these connections open, as many as one may: end some.");
                Self::too_often("too_many_connections", message)
            }
        }
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::refused(StatusCode::NOT_FOUND, "not_found", format!("There is no {what}."))
    }

    pub(crate) fn conflict(id: &'static str, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::CONFLICT, id, message)
    }

    pub(crate) fn gone(id: &'static str, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::GONE, id, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", message)
    }

    pub(crate) fn no_such_call() -> Self {
        Self::refused(StatusCode::NOT_FOUND, "no_such_call", "This API has no such call.")
    }

    pub(crate) fn wrong_method() -> Self {
        Self::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong_method",
            "This path does not answer to this method.",
        )
    }

    pub(crate) fn too_slow() -> Self {
        Self::refused(StatusCode::REQUEST_TIMEOUT, "timeout", "The request took too long.")
    }

    /// What the framework refused before a controller saw it.
    pub(crate) fn malformed(status: StatusCode, message: String) -> Self {
        let (status, id) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => (status, "too_large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "not_json"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_params"),
        };
        Self::refused(status, id, message)
    }
}

impl From<sqlx::Error> for ApiFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        let mut resource = None;
        let (status, id, message) = match self {
            Self::Refused { status, id, message, resource: of } => {
                resource = of;
                (status, id, message)
            }
            Self::Held(holder) => return (StatusCode::CONFLICT, Json(*holder)).into_response(),
            Self::Database(error) if dialect::is_busy(&error) => {
                tracing::error!(cause = ruko_core::exit::chain(&error), "the database has too much to do");
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "The API is too busy. Try again.".to_owned())
            }
            Self::Database(error) if dialect::is_unavailable(&error) => {
                tracing::error!(cause = ruko_core::exit::chain(&error), "the database cannot be used");
                let message = "The API's database cannot be reached. Try again in a moment.".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", message)
            }
            Self::Database(error) if dialect::is_disk_full(&error) => {
                tracing::error!(cause = ruko_core::exit::chain(&error), "the disk of the database is full");
                let message = "The disk that holds the API's database is full.".to_owned();
                (StatusCode::INSUFFICIENT_STORAGE, "disk_full", message)
            }
            Self::Database(error) => internal(&ruko_core::exit::chain(&error)),
            Self::Internal(cause) => internal(&cause),
        };
        let mut response =
            (status, Json(ApiError { id: id.to_owned(), message, resource: resource.map(str::to_owned) }))
                .into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2 asks for it.
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn internal(cause: &str) -> (StatusCode, &'static str, String) {
    tracing::error!(cause, "request failed");
    let message = "The API failed; its log says why.".to_owned();
    (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", message)
}
