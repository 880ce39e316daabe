//! Config vars.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use ruko_api_types::ConfigVarChange;
use ruko_core::{AppName, ConfigVarName, UserName};

use super::app_named;
use crate::api::Api;
use crate::auth::Component;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::judge;
use crate::release;
use crate::store::config_vars;

type ConfigVars = Json<BTreeMap<ConfigVarName, String>>;

/// `GET /internal/apps/{app}/config-vars`
pub(crate) async fn list(State(api): State<Api>, At(app): At<AppName>) -> Answer<ConfigVars> {
    let mut db = api.store.read().await?;
    let app = app_named(&mut db, &app).await?;
    Ok(Json(config_vars::of_app(&mut db, &app.id).await?))
}

/// `PATCH /internal/apps/{app}/config-vars`
pub(crate) async fn change(
    State(api): State<Api>,
    At(app): At<AppName>,
    Body(change): Body<ConfigVarChange>,
) -> Answer<ConfigVars> {
    let mut db = api.store.write().await?;
    let app = app_named(&mut db, &app).await?;
    let change = judge::config_vars(config_vars::of_app(&mut db, &app.id).await?, change)?;
    if !change.is_empty() {
        config_vars::apply(&mut db, &app.id, &change).await?;
        release::repeat(&mut db, &api.settings, &app, &admin()?, &change.description()).await?;
        db.commit().await?;
        api.tell_changed_of(&app.id);
    }
    Ok(Json(change.vars))
}

/// Only the component `admin` may use this call, and it acts for no user.
fn admin() -> Answer<UserName> {
    Component::Admin.as_str().parse().map_err(|e| ApiFault::Internal(format!("{e}")))
}
