//! One module a noun: a call's parameters in, a decision inside one transaction, the answer out.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ruko_core::{AppName, UserName};
use serde::Serialize;
use sqlx::AnyConnection;

use crate::errors::{Answer, ApiFault};
use crate::store::apps::AppRow;
use crate::store::users::UserRow;
use crate::store::{apps, users};

pub(crate) mod access;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod collaborators;
pub(crate) mod commits;
pub(crate) mod config_vars;
pub(crate) mod fetches;
pub(crate) mod greeting;
pub(crate) mod hosts;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod output;
pub(crate) mod push_log;
pub(crate) mod pushes;
pub(crate) mod release_output;
pub(crate) mod releases;
pub(crate) mod routes;
pub(crate) mod sources;
pub(crate) mod storage;
pub(crate) mod tokens;
pub(crate) mod user;

/// The most entries of a listing that grows with time.
pub(crate) const LISTED: u32 = 500;

async fn user_named(db: &mut AnyConnection, name: &UserName) -> Answer<UserRow> {
    users::find(db, name).await?.ok_or_else(|| ApiFault::not_found(format!("user `{name}`")))
}

async fn app_named(db: &mut AnyConnection, name: &AppName) -> Answer<AppRow> {
    apps::find(db, name).await?.ok_or_else(|| ApiFault::not_found(format!("app `{name}`")))
}

/// What was made by a call whose path does not name it, for the audit.
#[derive(Clone, Debug)]
pub(crate) struct Named(pub(crate) String);

/// [`created`], with the name for the audit.
pub(crate) fn created_as(name: impl ToString, thing: impl Serialize) -> Response {
    let mut response = created(thing);
    response.extensions_mut().insert(Named(name.to_string()));
    response
}

pub(crate) fn created(thing: impl Serialize) -> Response {
    (StatusCode::CREATED, Json(thing)).into_response()
}

/// Carries a change to its end even when the caller goes away in between, so that it is recorded, and whoever
/// waits for it is told. What it reads of the caller should be here before: nobody waits for it then.
pub(crate) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Answer<T>> + Send + 'static,
) -> Answer<T> {
    match tokio::spawn(change).await {
        Ok(answer) => answer,
        Err(broken) => Err(ApiFault::Internal(broken.to_string())),
    }
}
