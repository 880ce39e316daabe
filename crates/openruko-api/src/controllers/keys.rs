//! SSH keys: whose they are, and their administration.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ruko_api_types::{Key, KeyOwner, KeyPage, MAX_KEY_PAGE, NewKey};
use ruko_core::UserName;
use serde::Deserialize;

use super::{created, user_named};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::public_key::PublicKey;
use crate::store::keys;

#[derive(Deserialize)]
pub(crate) struct Question {
    fingerprint: String,
}

/// `GET /internal/keys?fingerprint=`
pub(crate) async fn owner(State(api): State<Api>, Asked(asked): Asked<Question>) -> Answer<Json<KeyOwner>> {
    let mut db = api.store.read().await?;
    let key = keys::find(&mut db, &asked.fingerprint).await?;
    key.map(|key| Json(key.into())).ok_or_else(|| ApiFault::not_found("such key"))
}

#[derive(Deserialize)]
pub(crate) struct Piece {
    #[serde(default)]
    after: String,
    limit: u32,
}

/// `GET /internal/keys/all?after=&limit=`
pub(crate) async fn all(State(api): State<Api>, Asked(asked): Asked<Piece>) -> Answer<Json<KeyPage>> {
    let limit = asked.limit.clamp(1, MAX_KEY_PAGE);
    let mut db = api.store.read().await?;
    let mut rows = keys::after(&mut db, &asked.after, limit + 1).await?;
    let is_last = rows.len() <= limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| !is_last).map(|row| row.id.clone());
    Ok(Json(KeyPage { keys: rows.into_iter().map(KeyOwner::from).collect(), next }))
}

/// `POST /internal/users/{user}/keys`
pub(crate) async fn create(
    State(api): State<Api>,
    At(user): At<UserName>,
    Body(new): Body<NewKey>,
) -> Answer<Response> {
    let key: PublicKey = new.public_key.parse().map_err(|bad| ApiFault::invalid(format!("{bad}")))?;
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &user).await?;
    match keys::find(&mut db, &key.fingerprint).await? {
        Some(known) if known.user == user.name => return Ok(Json(Key::from(known)).into_response()),
        Some(known) => {
            let message = format!("The key {} belongs to the user `{}`.", key.fingerprint, known.user);
            return Err(ApiFault::conflict("key_taken", message));
        }
        None => keys::insert(&mut db, &user.id, &key).await?,
    }
    let made = keys::find(&mut db, &key.fingerprint).await?.ok_or(sqlx::Error::RowNotFound)?;
    db.commit().await?;
    Ok(created(Key::from(made)))
}

/// `GET /internal/users/{user}/keys`
pub(crate) async fn list(State(api): State<Api>, At(user): At<UserName>) -> Answer<Json<Vec<Key>>> {
    let mut db = api.store.read().await?;
    let user = user_named(&mut db, &user).await?;
    let keys = keys::of_user(&mut db, &user.id).await?;
    Ok(Json(keys.into_iter().map(Key::from).collect()))
}

/// `DELETE /internal/users/{user}/keys/{fingerprint}`
pub(crate) async fn destroy(
    State(api): State<Api>,
    At((user, fingerprint)): At<(UserName, String)>,
) -> Answer<StatusCode> {
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &user).await?;
    if !keys::delete(&mut db, &user.id, &fingerprint).await? {
        return Err(ApiFault::not_found(format!("such key of the user `{}`", user.name)));
    }
    db.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
