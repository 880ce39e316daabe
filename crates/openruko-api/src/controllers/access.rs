//! Who may do what with an app's repository.

use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::Access;
use ruko_core::{AppName, UserName};
use serde::Deserialize;
use sqlx::AnyConnection;

use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::Asked;
use crate::store::apps::AppRow;
use crate::store::{collaborators, users};

#[derive(Deserialize)]
pub(crate) struct Question {
    user: UserName,
    app: AppName,
    access: Access,
}

/// `GET /internal/authorize?user=&app=&access=`
pub(crate) async fn show(State(api): State<Api>, Asked(asked): Asked<Question>) -> Answer<StatusCode> {
    let mut db = api.store.read().await?;
    // Owner and collaborators may both read and write; the parameter is there for finer rights.
    let (Access::Read | Access::Write) = asked.access;
    authorized(&mut db, &asked.user, &asked.app).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The app, if the user may read and write it. A user that is not known is told no more than that.
pub(super) async fn authorized(db: &mut AnyConnection, user: &UserName, app: &AppName) -> Answer<AppRow> {
    let user = users::find(db, user).await?.ok_or_else(ApiFault::denied)?;
    let app = super::app_named(db, app).await?;
    if app.owner_id == user.id || collaborators::is_one(db, &app.id, &user.id).await? {
        Ok(app)
    } else {
        Err(ApiFault::denied())
    }
}
