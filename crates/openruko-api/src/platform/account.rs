//! The caller's own account.

use axum::Json;
use ruko_api_types::platform::Account;

use super::caller::Caller;
use super::route::{Realm, Route, get};
use super::{Who, ids};
use crate::clock;
use crate::store::users::UserRow;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/account", Who::User, show).about(Realm::Identity).says("The account").gives::<Account>(),
        get("/users/~", Who::User, show).about(Realm::Identity).says("The account").gives::<Account>(),
    ]
}

async fn show(caller: Caller) -> Json<Account> {
    Json(described(&caller.user))
}

fn described(user: &UserRow) -> Account {
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
