//! Who beside the owner may push to and fetch an app.

use axum::extract::State;
use axum::http::StatusCode;
use ruko_core::{AppName, UserName};

use super::{app_named, user_named};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::At;
use crate::rights::Permissions;
use crate::store::collaborators;

/// `PUT /internal/apps/{app}/collaborators/{user}`
pub(crate) async fn add(
    State(api): State<Api>,
    At((app, user)): At<(AppName, UserName)>,
) -> Answer<StatusCode> {
    let mut db = api.store.write().await?;
    let app = app_named(&mut db, &app).await?;
    let user = user_named(&mut db, &user).await?;
    if app.owner_id != user.id {
        collaborators::insert(&mut db, &app.id, &user.id, Permissions::USUAL).await?;
        db.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /internal/apps/{app}/collaborators/{user}`
pub(crate) async fn remove(
    State(api): State<Api>,
    At((app, user)): At<(AppName, UserName)>,
) -> Answer<StatusCode> {
    let mut db = api.store.write().await?;
    let app = app_named(&mut db, &app).await?;
    let user = user_named(&mut db, &user).await?;
    if app.owner_id == user.id {
        let message = format!("`{}` owns `{}`: an owner's access cannot be removed.", user.name, app.name);
        return Err(ApiFault::conflict("is_owner", message));
    }
    if !collaborators::delete(&mut db, &app.id, &user.id).await? {
        return Err(ApiFault::not_found(format!("collaborator `{}` of `{}`", user.name, app.name)));
    }
    db.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
