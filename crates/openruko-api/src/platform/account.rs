//! The caller's own account, and what the CLI asks of accounts that is not here.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use ruko_api_types::platform::{Account, AccountChanges, AccountEnd};
use serde_json::Value;

use super::authorizations::none;
use super::caller::{Caller, CameFrom};
use super::route::{Realm, Route, delete, get, patch};
use super::{Who, ids, login};
use crate::api::Api;
use crate::clock;
use crate::controllers::user as internal;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::password::Password;
use crate::store::authorizations;
use crate::store::users::{self, UserChange, UserRow};

pub(super) fn routes() -> Vec<Route> {
    let nothing =
        |path, says| get(path, Who::User, none).about(Realm::Identity).says(says).gives::<Vec<Value>>();
    vec![
        get("/account", Who::User, show).about(Realm::Identity).says("The account").gives::<Account>(),
        get("/users/~", Who::User, show).about(Realm::Identity).says("The account").gives::<Account>(),
        patch("/account", Who::User, change)
            .about(Realm::Account)
            .says("Change the password")
            .takes::<AccountChanges>()
            .gives::<Account>(),
        delete("/account", Who::User, destroy)
            .about(Realm::Account)
            .says("Delete the account, which must own nothing")
            .takes::<AccountEnd>()
            .gives::<Account>(),
        nothing("/account/features", "No features of accounts"),
        get("/account/features/{feature}", Who::User, no_feature)
            .about(Realm::Identity)
            .says("No features of accounts")
            .refuses(),
        nothing("/account/app-transfers", "No transfers wait for an answer"),
        get("/accounts/{account}/actions/get-quota", Who::User, no_quota)
            .about(Realm::Identity)
            .says("No quotas")
            .refuses(),
        nothing("/teams", "No teams"),
        nothing("/organizations", "No teams, under their older name"),
        nothing("/enterprise-accounts", "No enterprise accounts"),
    ]
}

async fn no_feature(At(_): At<String>) -> ApiFault {
    ApiFault::missing("feature", "Couldn't find that feature: accounts have none here.")
}

async fn no_quota(At(_): At<String>) -> ApiFault {
    ApiFault::missing("quota", "There are no quotas here.")
}

async fn show(caller: Caller) -> Json<Account> {
    Json(described(&caller.user))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    CameFrom(address): CameFrom,
    Body(wanted): Body<AccountChanges>,
) -> Answer<Json<Account>> {
    if wanted.name.as_deref().is_some_and(|name| name != caller.user.name.as_str()) {
        return Err(ApiFault::invalid("The name of an account cannot be changed."));
    }
    require_same_email(&caller.user, wanted.email.as_deref())?;
    let new = match wanted.new_password {
        Some(new) => Some(new_password(&api, &caller.user, wanted.password, new, address).await?),
        None => None,
    };
    let mut db = api.store.write().await?;
    let change = UserChange { email: None, password: new.as_deref(), site_admin: None };
    users::change(&mut db, &caller.user.id, change).await?;
    if new.is_some() && caller.user.password.is_some() {
        // Whoever knew the old one may have made tokens with it.
        authorizations::delete_all_but(&mut db, &caller.user.id, Some(&caller.authorization.id)).await?;
    }
    let user = users::by_id(&mut db, &caller.user.id).await?.unwrap_or(caller.user);
    db.commit().await?;
    Ok(Json(described(&user)))
}

/// Access to apps is given by e-mail address, and nobody here can ask a mailbox whose it is: who has which, an admin
/// says. What the account is shown with may be said.
fn require_same_email(user: &UserRow, wanted: Option<&str>) -> Answer<()> {
    match wanted {
        Some(wanted) if !wanted.trim().eq_ignore_ascii_case(user.address()) => {
            Err(ApiFault::invalid(format!(
                "The e-mail address of an account is changed by an admin of this server, \
                 with `openruko admin user set {} --email ADDRESS`.",
                user.name
            )))
        }
        _ => Ok(()),
    }
}

/// What is kept of a new password; the old one is asked for where there is one.
async fn new_password(
    api: &Api,
    user: &UserRow,
    old: Option<String>,
    new: String,
    address: IpAddr,
) -> Answer<String> {
    let new = Password::of(user, new)?;
    if user.password.is_some() {
        login::check_password(api, user, old, address).await?;
    }
    api.hashing.hash(new).await
}

async fn destroy(
    State(api): State<Api>,
    caller: Caller,
    CameFrom(address): CameFrom,
    Body(proof): Body<AccountEnd>,
) -> Answer<Json<Account>> {
    if caller.user.password.is_some() {
        login::check_password(&api, &caller.user, proof.password, address).await?;
    }
    let mut db = api.store.write().await?;
    internal::remove(&mut db, &caller.user).await?;
    db.commit().await?;
    Ok(Json(described(&caller.user)))
}

pub(super) fn described(user: &UserRow) -> Account {
    Account {
        id: ids::public(&user.id),
        email: user.address().to_owned(),
        name: Some(user.name.to_string()),
        two_factor_authentication: user.totp_since.is_some(),
        verified: true,
        created_at: clock::rfc3339(user.created_at),
        updated_at: clock::rfc3339(user.updated_at),
    }
}
