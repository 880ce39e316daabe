//! Config vars.
//!
//! To read them takes as much as to change them. They are secrets of what runs, such as the password of its
//! database, so the right to look at an app does not cover them; and whoever may set one may make the app
//! tell all of them. (At Heroku `deploy` covers them as `operate` does; here `deploy` is about code alone.)

use axum::Json;
use axum::extract::State;
use ruko_api_types::ConfigVarChange;
use ruko_api_types::platform::{ConfigChanges, ConfigVars};
use ruko_core::ConfigVarName;

use super::caller::{Caller, TheApp};
use super::releases::{no_config_vars, release_called};
use super::route::{OPERATE, Realm, Route, get, patch};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::{config_vars, releases};
use crate::{judge, release};

/// The largest change, in bytes: every config var there can be (see [`judge::config_vars`]), each character
/// of it escaped.
const CHANGE: usize = 7 << 20;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/config-vars", OPERATE, list)
            .about(Realm::Secrets)
            .says("Config vars")
            .gives::<ConfigVars>(),
        patch("/apps/{app}/config-vars", OPERATE, change)
            .about(Realm::Secrets)
            .up_to(CHANGE)
            .says("Set config vars, and remove them with null")
            .takes::<ConfigChanges>()
            .gives::<ConfigVars>(),
        get("/apps/{app}/releases/{release}/config-vars", OPERATE, of_release)
            .about(Realm::Secrets)
            .says("Config vars as they were with a release")
            .gives::<ConfigVars>(),
    ]
}

/// All of them, by name.
type Vars = Json<std::collections::BTreeMap<ConfigVarName, String>>;

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Vars> {
    let mut db = api.store.read().await?;
    Ok(Json(config_vars::of_app(&mut db, &app.id).await?))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    Body(wanted): Body<ConfigChanges>,
) -> Answer<Vars> {
    let wanted = parsed(wanted)?;
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let change = judge::config_vars(config_vars::of_app(&mut db, &app.id).await?, wanted)?;
    if !change.is_empty() {
        config_vars::apply(&mut db, &app.id, &change).await?;
        let user = &caller.user.name;
        release::repeat(&mut db, &api.settings, &app, user, &change.description()).await?;
        db.commit().await?;
    }
    Ok(Json(change.vars))
}

fn parsed(wanted: ConfigChanges) -> Answer<ConfigVarChange> {
    let parsed = |(name, value): (String, _)| match name.parse() {
        Ok(name) => Ok((name, value)),
        Err(refused) => Err(ApiFault::invalid(format!("{refused}."))),
    };
    wanted.into_iter().map(parsed).collect()
}

async fn of_release(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Vars> {
    let mut db = api.store.read().await?;
    let release = release_called(&mut db, &app, &called).await?;
    match releases::config_vars(&mut db, &app.id, release.version).await? {
        Some(vars) => Ok(Json(vars)),
        None => Err(ApiFault::missing(
            "config_vars",
            format!("v{} cannot be shown: {}.", release.version, no_config_vars()),
        )),
    }
}
