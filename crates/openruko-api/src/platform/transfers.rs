//! Giving an app to another owner. It is done at once: whoever gets one can give it on, or destroy it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use ruko_api_types::platform::{App, AppTransfer, NewAppTransfer, TeamAppChanges, UserRef};
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::collaborators::account_called;
use super::route::{OWNER, Route, VIEW, get, patch, post};
use super::{Who, apps as platform_apps, guard, ids};
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::Body;
use crate::rights::{self, Need, Permissions};
use crate::store::apps::{self, AppChange, AppRow};
use crate::store::collaborators;
use crate::store::users::UserRow;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/account/app-transfers", Who::User, transfer)
            .says("Give an app to another owner")
            .takes::<NewAppTransfer>()
            .creates::<AppTransfer>(),
        get("/teams/apps/{app}", VIEW, show).says("An app").gives::<App>(),
        patch("/teams/apps/{app}", OWNER, change)
            .says("Give an app to another owner")
            .takes::<TeamAppChanges>()
            .gives::<App>(),
    ]
}

async fn transfer(
    State(api): State<Api>,
    caller: Caller,
    Body(wanted): Body<NewAppTransfer>,
) -> Answer<(StatusCode, Extension<TheApp>, Json<AppTransfer>)> {
    let mut db = api.store.write().await?;
    let app = guard::app_called(&mut db, &wanted.app).await?;
    rights::require(&mut db, &caller.user, &app, Need::Ownership).await?;
    let recipient = give(&mut db, &app, &wanted.recipient).await?;
    db.commit().await?;
    let transfer = described(&app, &recipient);
    Ok((StatusCode::CREATED, Extension(TheApp(app)), Json(transfer)))
}

async fn show(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<App>> {
    Ok(Json(platform_apps::described(&api, &app)?))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    Body(wanted): Body<TeamAppChanges>,
) -> Answer<Json<App>> {
    if wanted.locked == Some(true) {
        return Err(ApiFault::invalid(
            "There are no teams on this server, so nobody could join an app unasked: there is nothing to lock.",
        ));
    }
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    rights::require(&mut db, &caller.user, &app, Need::Ownership).await?;
    if let Some(recipient) = &wanted.owner {
        give(&mut db, &app, recipient).await?;
    }
    let app = apps::by_id(&mut db, &app.id).await?;
    db.commit().await?;
    Ok(Json(platform_apps::described(&api, &app)?))
}

/// The old owner keeps access, with everything that can be given.
async fn give(db: &mut AnyConnection, app: &AppRow, recipient: &str) -> Answer<UserRow> {
    let recipient = account_called(db, recipient).await?;
    if recipient.id == app.owner_id {
        let (owner, app) = (recipient.address(), &app.name);
        return Err(ApiFault::invalid(format!("`{owner}` owns `{app}` already.")));
    }
    let change = AppChange { owner_id: Some(&recipient.id), ..AppChange::default() };
    apps::change(db, &app.id, change).await?;
    collaborators::delete(db, &app.id, &recipient.id).await?;
    collaborators::insert(db, &app.id, &app.owner_id, Permissions::EVERYTHING).await?;
    Ok(recipient)
}

/// `app` as it was before.
fn described(app: &AppRow, recipient: &UserRow) -> AppTransfer {
    let now = clock::rfc3339(clock::now());
    AppTransfer {
        id: ids::new(),
        app: platform_apps::named(app),
        owner: UserRef { id: ids::public(&app.owner_id), email: app.owner_address().to_owned() },
        recipient: UserRef { id: ids::public(&recipient.id), email: recipient.address().to_owned() },
        state: "accepted".to_owned(),
        created_at: now.clone(),
        updated_at: now,
    }
}
