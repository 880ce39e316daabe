//! The SSH keys of the caller's account.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{Key, NewKey};
use sqlx::AnyConnection;

use super::caller::Caller;
use super::route::{Realm, Route, delete, get, post};
use super::{Who, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::public_key::PublicKey;
use crate::store::keys::{self, KeyRow};
use crate::store::users::UserRow;

/// The most keys of one account.
const MAX_KEYS: usize = 200;

pub(super) fn routes() -> Vec<Route> {
    let account = |route: Route| route.about(Realm::Account);
    vec![
        account(get("/account/keys", Who::User, list).says("SSH keys").gives::<Vec<Key>>()),
        account(post("/account/keys", Who::User, create).says("Add an SSH key"))
            .takes::<NewKey>()
            .creates::<Key>(),
        account(get("/account/keys/{key}", Who::User, show).says("An SSH key").gives::<Key>()),
        account(delete("/account/keys/{key}", Who::User, destroy).says("Remove an SSH key").gives::<Key>()),
    ]
}

async fn list(State(api): State<Api>, caller: Caller) -> Answer<Json<Vec<Key>>> {
    let mut db = api.store.read().await?;
    let rows = keys::of_user(&mut db, &caller.user.id).await?;
    Ok(Json(rows.iter().map(|row| described(&caller.user, row)).collect()))
}

async fn create(State(api): State<Api>, caller: Caller, Body(new): Body<NewKey>) -> Answer<Response> {
    let key: PublicKey = new.public_key.parse().map_err(|bad| ApiFault::invalid(format!("{bad}")))?;
    let mut db = api.store.write().await?;
    match keys::find(&mut db, &key.fingerprint).await? {
        Some(known) if known.user == caller.user.name => {
            return Err(ApiFault::invalid(format!("The key {} is yours already.", key.fingerprint)));
        }
        // Whose it is, is their own affair.
        Some(_) => {
            let message =
                format!("The key {} is in use by another account: make a new one.", key.fingerprint);
            return Err(ApiFault::invalid(message));
        }
        None => {}
    }
    if keys::of_user(&mut db, &caller.user.id).await?.len() >= MAX_KEYS {
        return Err(ApiFault::invalid(format!("The account has {MAX_KEYS} keys, which is the limit.")));
    }
    keys::insert(&mut db, &caller.user.id, &key).await?;
    let made = find(&mut db, &caller, &key.fingerprint).await?;
    db.commit().await?;
    Ok(created(described(&caller.user, &made)))
}

async fn show(State(api): State<Api>, caller: Caller, At(called): At<String>) -> Answer<Json<Key>> {
    let mut db = api.store.read().await?;
    let row = find(&mut db, &caller, &called).await?;
    Ok(Json(described(&caller.user, &row)))
}

async fn destroy(State(api): State<Api>, caller: Caller, At(called): At<String>) -> Answer<Json<Key>> {
    let mut db = api.store.write().await?;
    let row = find(&mut db, &caller, &called).await?;
    keys::delete(&mut db, &caller.user.id, &row.fingerprint).await?;
    db.commit().await?;
    Ok(Json(described(&caller.user, &row)))
}

/// One of the caller's, by its id or its fingerprint.
async fn find(db: &mut AnyConnection, caller: &Caller, called: &str) -> Answer<KeyRow> {
    let id = ids::internal(called);
    let mut rows = keys::of_user(db, &caller.user.id).await?.into_iter();
    let found = rows.find(|row| Some(&row.id) == id.as_ref() || row.fingerprint == called);
    found.ok_or_else(|| ApiFault::missing("key", "Couldn't find that key."))
}

fn described(user: &UserRow, row: &KeyRow) -> Key {
    let moment = clock::rfc3339(row.created_at);
    Key {
        id: ids::public(&row.id),
        email: user.address().to_owned(),
        comment: row.comment.clone(),
        fingerprint: row.fingerprint.clone(),
        public_key: format!("{} {}", row.public_key, row.comment).trim_end().to_owned(),
        created_at: moment.clone(),
        updated_at: moment,
    }
}
