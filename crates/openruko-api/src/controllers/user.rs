//! Users.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ruko_api_types::{NewPassword, NewUser, PasswordSet, User, UserChanges};
use ruko_core::{EmailAddress, UserName};
use sqlx::AnyConnection;

use super::{created_as, user_named};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::password::Password;
use crate::store::authorizations;
use crate::store::users::{self, UserChange, UserRow};

/// `POST /internal/users`
pub(crate) async fn create(State(api): State<Api>, Body(new): Body<NewUser>) -> Answer<Response> {
    let mut db = api.store.write().await?;
    if let Some(known) = users::find(&mut db, &new.name).await? {
        return Ok(Json(User::from(known)).into_response());
    }
    let made = users::insert(&mut db, &new.name).await?;
    let changes = UserChanges { email: new.email, site_admin: Some(new.site_admin) };
    let user = changed(&mut db, &made, &changes).await?;
    db.commit().await?;
    let user = User::from(user);
    Ok(created_as(&user.name, &user))
}

/// `PATCH /internal/users/{user}`
pub(crate) async fn change(
    State(api): State<Api>,
    At(user): At<UserName>,
    Body(changes): Body<UserChanges>,
) -> Answer<Json<User>> {
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &user).await?;
    let user = changed(&mut db, &user, &changes).await?;
    db.commit().await?;
    Ok(Json(user.into()))
}

async fn changed(db: &mut AnyConnection, user: &UserRow, changes: &UserChanges) -> Answer<UserRow> {
    if let Some(email) = &changes.email {
        require_free(db, user, email).await?;
    }
    let change = UserChange { email: changes.email.as_ref(), site_admin: changes.site_admin, password: None };
    users::change(db, &user.id, change).await?;
    user_named(db, &user.name).await
}

async fn require_free(db: &mut AnyConnection, user: &UserRow, email: &EmailAddress) -> Answer<()> {
    match users::by_email(db, email).await? {
        Some(other) if other.id != user.id => {
            let message = format!("The e-mail address {email} belongs to the user `{}`.", other.name);
            Err(ApiFault::conflict("email_taken", message))
        }
        _ => Ok(()),
    }
}

/// `PUT /internal/users/{user}/password`
pub(crate) async fn set_password(
    State(api): State<Api>,
    At(name): At<UserName>,
    Body(new): Body<NewPassword>,
) -> Answer<Json<PasswordSet>> {
    let user = user_named(&mut *api.store.read().await?, &name).await?;
    let is_generated = new.password.is_none();
    let password = match new.password {
        Some(password) => Password::of(&user, password)?,
        None => Password::generate()?,
    };
    let generated = is_generated.then(|| password.reveal().to_owned());
    let kept = api.hashing.hash(password).await?;
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &name).await?;
    users::change(&mut db, &user.id, UserChange { password: Some(&kept), ..UserChange::default() }).await?;
    // Whoever knew the old one may have made tokens with it.
    let ended_tokens = match user.password {
        Some(_) => authorizations::delete_all_but(&mut db, &user.id, None).await?,
        None => 0,
    };
    db.commit().await?;
    Ok(Json(PasswordSet { generated, ended_tokens }))
}

/// `DELETE /internal/users/{user}/two-factor`
pub(crate) async fn reset_two_factor(State(api): State<Api>, At(user): At<UserName>) -> Answer<StatusCode> {
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &user).await?;
    users::end_two_factor(&mut db, &user.id).await?;
    db.commit().await?;
    Ok(StatusCode::NO_CONTENT)
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
    remove(&mut db, &user).await?;
    db.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user who owns nothing.
///
/// # Errors
/// 409 `owns_apps` or `owns_pipelines`, with the name of the first.
pub(crate) async fn remove(db: &mut AnyConnection, user: &UserRow) -> Answer<()> {
    let apps: Vec<String> = users::owned_apps(db, &user.id).await?.into_iter().map(String::from).collect();
    require_none("owns_apps", "app", &apps, user)?;
    let pipelines = users::owned_pipelines(db, &user.id).await?;
    require_none("owns_pipelines", "pipeline", &pipelines, user)?;
    Ok(users::delete(db, &user.id).await?)
}

fn require_none(id: &'static str, kind: &str, owned: &[String], user: &UserRow) -> Answer<()> {
    let Some(first) = owned.first() else { return Ok(()) };
    let message = match owned.len() - 1 {
        0 => format!("The user `{}` owns the {kind} `{first}`.", user.name),
        others => format!("The user `{}` owns the {kind} `{first}` and {others} more.", user.name),
    };
    Err(ApiFault::conflict(id, message))
}
