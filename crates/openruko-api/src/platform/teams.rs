//! Heroku's teams. There are none here; what the CLI asks after them is answered in words.

use axum::Json;
use ruko_api_types::platform::PermissionRef;

use super::Who;
use super::collaborators::told;
use super::route::{Realm, Route, get, post};
use crate::errors::ApiFault;
use crate::rights::Permissions;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/teams/permissions", Who::User, permissions)
            .about(Realm::Identity)
            .says("Every permission that there is")
            .gives::<Vec<PermissionRef>>(),
        get("/teams/{team}", Who::User, no_team).says("A team: there is none").refuses(),
        get("/teams/{team}/apps", Who::User, no_team).says("The apps of a team: there is none").refuses(),
        post("/teams/apps", Who::User, no_team).says("Create an app of a team: there is none").refuses(),
    ]
}

async fn permissions() -> Json<Vec<PermissionRef>> {
    Json(told(Permissions::EVERYTHING))
}

async fn no_team() -> ApiFault {
    ApiFault::missing("team", "Couldn't find that team: this server has none.")
}
