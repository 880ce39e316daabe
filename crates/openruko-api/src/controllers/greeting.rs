//! What `ssh git@host` tells its user.

use axum::Json;
use axum::extract::State;
use ruko_api_types::{Greeting, Key};
use ruko_core::UserName;
use serde::Deserialize;

use super::user_named;
use crate::api::Api;
use crate::errors::Answer;
use crate::extract::{Asked, At};
use crate::store::{apps, keys};

/// As many apps are named; the rest are counted.
const NAMED: u32 = 20;

#[derive(Deserialize)]
pub(crate) struct Question {
    #[serde(default)]
    key: String,
}

/// `GET /internal/users/{user}/greeting?key=`
pub(crate) async fn show(
    State(api): State<Api>,
    At(user): At<UserName>,
    Asked(asked): Asked<Question>,
) -> Answer<Json<Greeting>> {
    let mut db = api.store.read().await?;
    let user = user_named(&mut db, &user).await?;
    let mut own = keys::of_user(&mut db, &user.id).await?.into_iter();
    let key = own.find(|key| key.id == asked.key);
    let (apps, app_count) = apps::names_seen_by(&mut db, &user.id, NAMED).await?;
    let public = api.settings.public.as_ref();
    Ok(Json(Greeting {
        email: user.email,
        key: key.map(Key::from),
        apps,
        app_count,
        ssh_url: public.map(|public| public.ssh_url("{app}")),
        api_url: public.map(|public| public.url.clone()),
    }))
}
