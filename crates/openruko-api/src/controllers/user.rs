//! Users.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ruko_api_types::{NewUser, User};
use ruko_core::UserName;

use super::{created, user_named};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::users;

/// `POST /internal/users`
pub(crate) async fn create(State(api): State<Api>, Body(new): Body<NewUser>) -> Answer<Response> {
    let mut db = api.store.write().await?;
    if let Some(known) = users::find(&mut db, &new.name).await? {
        return Ok(Json(User::from(known)).into_response());
    }
    let user = users::insert(&mut db, &new.name).await?;
    db.commit().await?;
    Ok(created(User::from(user)))
}

/// `GET /internal/users`
pub(crate) async fn list(State(api): State<Api>) -> Answer<Json<Vec<User>>> {
    let mut db = api.store.read().await?;
    let users = users::list(&mut db).await?;
    Ok(Json(users.into_iter().map(User::from).collect()))
}

/// `DELETE /internal/users/{user}`
pub(crate) async fn destroy(State(api): State<Api>, At(user): At<UserName>) -> Answer<StatusCode> {
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &user).await?;
    let owned = users::owned_apps(&mut db, &user.id).await?;
    if let Some(first) = owned.first() {
        let message = match owned.len() - 1 {
            0 => format!("The user `{}` owns the app `{first}`.", user.name),
            others => format!("The user `{}` owns the app `{first}` and {others} more.", user.name),
        };
        return Err(ApiFault::conflict("owns_apps", message));
    }
    users::delete(&mut db, &user.id).await?;
    db.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
