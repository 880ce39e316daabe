//! Who somebody is by password and second factor: the one way in for every form of login.

use std::net::IpAddr;

use axum::http::StatusCode;

use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::store::audit::{self, Login};
use crate::store::users::{self, UserRow};
use crate::totp::{Authenticator, Code};

/// What somebody presents.
pub(super) struct Attempt<'a> {
    /// An e-mail address or a name.
    pub(super) name: &'a str,
    pub(super) password: &'a str,
    /// A code of the authenticator app, or a recovery code.
    pub(super) code: Option<&'a str>,
    pub(super) address: IpAddr,
    /// What it is for, for the audit.
    pub(super) purpose: &'a str,
}

/// Whose name, password and, where one is asked for, code these are. An account that is not there, one
/// without a password and a wrong password are one answer, in words and in time.
///
/// # Errors
/// 401 `unauthorized`; 403 `two_factor` where a code is missing; 429 `rate_limit`.
pub(super) async fn log_in(api: &Api, attempt: Attempt<'_>) -> Answer<UserRow> {
    api.throttles.try_password(attempt.name, attempt.address, clock::now())?;
    let user = {
        let mut db = api.store.read().await?;
        users::called(&mut db, attempt.name.trim()).await?
    };
    let kept = user.as_ref().and_then(|user| user.password.clone());
    let is_right = api.hashing.matches(kept, attempt.password.to_owned()).await?;
    let Some(user) = user.as_ref().filter(|_| is_right) else {
        record(api, &attempt, user.as_ref(), audit::LOGIN_FAILED, "wrong password").await?;
        return Err(ApiFault::not_logged_in("There is no such account, or its password is another one."));
    };
    api.throttles.right_password(attempt.name, attempt.address, clock::now());
    if user.totp_since.is_some() {
        let code = attempt.code.filter(|code| !code.trim().is_empty()).ok_or_else(asks_for_code)?;
        if let Err(refused) = check_code(api, user, code).await {
            record(api, &attempt, Some(user), audit::LOGIN_FAILED, "wrong code").await?;
            return Err(refused);
        }
    }
    record(api, &attempt, Some(user), audit::LOGIN, attempt.purpose).await?;
    Ok(user.clone())
}

/// The CLI waits for this id, asks for a code and calls again.
fn asks_for_code() -> ApiFault {
    let message = "A code of your authenticator app, or a recovery code, is needed as well.";
    ApiFault::particular(StatusCode::FORBIDDEN, "two_factor", message)
}

/// Takes a code of the user's authenticator app, or a recovery code: each once.
///
/// # Errors
/// 401 `unauthorized`; 429 `rate_limit`.
pub(super) async fn check_code(api: &Api, user: &UserRow, code: &str) -> Answer<()> {
    api.throttles.try_code(&user.id, clock::now())?;
    let mut db = api.store.write().await?;
    let taken = match (Code::typed(code), &user.totp_secret) {
        (Code::App(code), Some(secret)) => {
            match Authenticator::with_secret(secret)?.step_of(&code, clock::now()) {
                Some(step) => users::use_step(&mut db, &user.id, step).await?,
                None => false,
            }
        }
        (Code::Recovery(digest), _) => users::use_recovery_code(&mut db, &user.id, &digest).await?,
        (Code::App(_), None) => false,
    };
    if !taken {
        return Err(ApiFault::not_logged_in("The code is wrong, or was used before: wait for the next one."));
    }
    db.commit().await?;
    api.throttles.right_code(&user.id, clock::now());
    Ok(())
}

/// Takes the password of somebody who is logged in already, before something that a stolen token must not
/// be enough for.
///
/// # Errors
/// 422 without a password or with a wrong one; 429 `rate_limit`.
pub(super) async fn check_password(
    api: &Api,
    user: &UserRow,
    password: Option<String>,
    address: IpAddr,
) -> Answer<()> {
    let needed = || ApiFault::invalid("The account's password is needed for this, as `password`.");
    let password = password.ok_or_else(needed)?;
    api.throttles.try_password(user.name.as_str(), address, clock::now())?;
    if !api.hashing.matches(user.password.clone(), password).await? {
        return Err(ApiFault::invalid("The password is wrong."));
    }
    api.throttles.right_password(user.name.as_str(), address, clock::now());
    Ok(())
}

async fn record(
    api: &Api,
    attempt: &Attempt<'_>,
    user: Option<&UserRow>,
    action: &'static str,
    detail: &str,
) -> Answer<()> {
    let mut db = api.store.write().await?;
    let user = user.map(|user| &user.name);
    audit::insert_login(&mut db, Login { user, address: attempt.address, action, detail }).await?;
    Ok(db.commit().await?)
}
