//! Who may do what with an app's repository.

use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::Access;
use ruko_api_types::platform::Permission;
use ruko_core::{AppName, UserName};
use serde::Deserialize;
use sqlx::AnyConnection;

use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::Asked;
use crate::rights::{self, Need, Role};
use crate::store::apps::AppRow;
use crate::store::users;

#[derive(Deserialize)]
pub(crate) struct Question {
    user: UserName,
    app: AppName,
    access: Access,
}

/// `GET /internal/authorize?user=&app=&access=`
pub(crate) async fn show(State(api): State<Api>, Asked(asked): Asked<Question>) -> Answer<StatusCode> {
    let mut db = api.store.read().await?;
    authorized(&mut db, &asked.user, &asked.app, asked.access).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The app, if the user has that access to it. A user that is not known is told no more than that.
pub(super) async fn authorized(
    db: &mut AnyConnection,
    user: &UserName,
    app: &AppName,
    access: Access,
) -> Answer<AppRow> {
    let user = users::find(db, user).await?.ok_or_else(ApiFault::denied)?;
    let app = super::app_named(db, app).await?;
    let need = Need::Permission(match access {
        Access::Read => Permission::View,
        Access::Write => Permission::Deploy,
    });
    match rights::role(db, &user, &app).await? {
        role if role.may(need) => Ok(app),
        Role::Stranger => Err(ApiFault::denied()),
        _ => Err(ApiFault::lacks(need, &app.name, &app.owner)),
    }
}
