//! The second factor of the caller's account: begun, confirmed with a first code, ended; recovery codes.
//! Heroku's own calls for this are not public; these are ours.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ruko_api_types::platform::{Account, RecoveryCodes, TwoFactorCode, TwoFactorEnd, TwoFactorSecret};
use sqlx::AnyConnection;

use super::caller::{Caller, CameFrom};
use super::route::{Realm, Route, delete, post, put};
use super::{Who, account, login};
use crate::api::Api;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::Body;
use crate::store::users::{self, UserRow};
use crate::totp::{self, Authenticator, Code};

pub(super) fn routes() -> Vec<Route> {
    const PATH: &str = "/account/two-factor";
    let account = |route: Route| route.about(Realm::Account);
    vec![
        account(post(PATH, Who::User, begin).says("Begin to set up a second factor"))
            .creates::<TwoFactorSecret>(),
        account(put(PATH, Who::User, confirm).says("Turn the second factor on with its first code"))
            .takes::<TwoFactorCode>()
            .gives::<RecoveryCodes>(),
        account(delete(PATH, Who::User, end).says("Turn the second factor off"))
            .takes::<TwoFactorEnd>()
            .gives::<Account>(),
        account(post("/account/recovery-codes", Who::User, renew).says("New recovery codes"))
            .takes::<TwoFactorCode>()
            .creates::<RecoveryCodes>(),
    ]
}

async fn begin(State(api): State<Api>, caller: Caller) -> Answer<Response> {
    let app = Authenticator::generate()?;
    let mut db = api.store.write().await?;
    let user = again(&mut db, &caller).await?;
    if user.totp_since.is_some() {
        return Err(ApiFault::invalid("The second factor is on already: turn it off first."));
    }
    if user.password.is_none() {
        return Err(ApiFault::invalid("Set a password first: the code is asked for beside it."));
    }
    users::begin_two_factor(&mut db, &user.id, &app.secret()).await?;
    db.commit().await?;
    let public = super::server::public(&api)?;
    let host = public.url.split_once("://").map_or(public.url.as_str(), |(_, rest)| rest);
    let url = app.url(host.split('/').next().unwrap_or(host), user.address());
    Ok(created(TwoFactorSecret { secret: app.secret(), url }))
}

async fn confirm(
    State(api): State<Api>,
    caller: Caller,
    Body(typed): Body<TwoFactorCode>,
) -> Answer<Json<RecoveryCodes>> {
    if caller.user.totp_since.is_some() {
        return Err(ApiFault::invalid("The second factor is on already."));
    }
    let begun = || ApiFault::invalid("The second factor was not begun: begin with POST /account/two-factor.");
    let secret = caller.user.totp_secret.clone().ok_or_else(begun)?;
    check(&api, &caller.user, &typed.code).await?;
    let mut db = api.store.write().await?;
    if !users::confirm_two_factor(&mut db, &caller.user.id, &secret).await? {
        return Err(begun());
    }
    let codes = new_codes(&mut db, &caller.user).await?;
    db.commit().await?;
    Ok(Json(codes))
}

async fn end(
    State(api): State<Api>,
    caller: Caller,
    CameFrom(address): CameFrom,
    Body(proof): Body<TwoFactorEnd>,
) -> Answer<Json<Account>> {
    require_on(&caller)?;
    login::check_password(&api, &caller.user, Some(proof.password), address).await?;
    login::check_code(&api, &caller.user, &proof.code).await.map_err(as_invalid)?;
    let mut db = api.store.write().await?;
    users::end_two_factor(&mut db, &caller.user.id).await?;
    let user = again(&mut db, &caller).await?;
    db.commit().await?;
    Ok(Json(account::described(&user)))
}

async fn renew(State(api): State<Api>, caller: Caller, Body(typed): Body<TwoFactorCode>) -> Answer<Response> {
    require_on(&caller)?;
    check(&api, &caller.user, &typed.code).await?;
    let mut db = api.store.write().await?;
    let codes = new_codes(&mut db, &caller.user).await?;
    db.commit().await?;
    Ok(created(codes))
}

/// A code of the app itself: a recovery code proves nothing about the app.
async fn check(api: &Api, user: &UserRow, code: &str) -> Answer<()> {
    match Code::typed(code) {
        Code::App(_) => login::check_code(api, user, code).await.map_err(as_invalid),
        Code::Recovery(_) => {
            Err(ApiFault::invalid("The code must be the six digits of the authenticator app."))
        }
    }
}

/// Whoever has a token is logged in: at 401 the CLI would begin to log in again.
fn as_invalid(fault: ApiFault) -> ApiFault {
    match fault {
        ApiFault::Refused { status: StatusCode::UNAUTHORIZED, message, .. } => ApiFault::invalid(message),
        other => other,
    }
}

fn require_on(caller: &Caller) -> Answer<()> {
    match caller.user.totp_since {
        Some(_) => Ok(()),
        None => Err(ApiFault::invalid("The second factor is off.")),
    }
}

async fn again(db: &mut AnyConnection, caller: &Caller) -> Answer<UserRow> {
    let user = users::by_id(db, &caller.user.id).await?;
    user.ok_or_else(|| ApiFault::not_logged_in("This account is gone."))
}

/// In place of the old ones.
async fn new_codes(db: &mut AnyConnection, user: &UserRow) -> Answer<RecoveryCodes> {
    users::forget_recovery_codes(db, &user.id).await?;
    let recovery_codes = totp::recovery_codes()?;
    for code in &recovery_codes {
        users::insert_recovery_code(db, &user.id, &totp::recovery_digest(code)).await?;
    }
    Ok(RecoveryCodes { recovery_codes })
}
