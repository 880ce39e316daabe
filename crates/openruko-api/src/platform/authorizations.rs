//! Authorizations: the tokens of an account, and the login that makes them.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ruko_api_types::platform::{
    AccessToken, Authorization, AuthorizationChanges, NewAuthorization as Asked, UserRef,
};
use serde_json::Value;
use sqlx::AnyConnection;

use super::caller::{Caller, CameFrom, Credentials};
use super::login::{self, Attempt};
use super::route::{Realm, Route, delete, get, patch, post};
use super::{Who, guard, ids};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::audit::{self, Change};
use crate::store::authorizations::{self, AuthorizationRow, NewAuthorization};
use crate::store::users::UserRow;
use crate::token::Token;

/// Where the CLI puts the code of the second factor.
const TWO_FACTOR: &str = "heroku-two-factor-code";

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 200;

/// The longest life of a token that ends at all, in seconds: ten years.
const MAX_EXPIRES_IN: u64 = 10 * 365 * 24 * 3600;

/// The most tokens of one account.
const MAX_TOKENS: usize = 500;

/// How long an expired token is remembered, to be told why it is refused.
const EXPIRED_KEPT: Millis = 7 * 24 * 3_600_000;

/// What a token may be for: <https://devcenter.heroku.com/articles/oauth#scopes>.
const SCOPES: [&str; 6] = ["global", "identity", "read", "write", "read-protected", "write-protected"];

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/oauth/authorizations/{authorization}";
    let account = |route: Route| route.about(Realm::Account);
    vec![
        post("/oauth/authorizations", Who::Anyone, create)
            .says("Log in with Basic e-mail and password, or make another token with one of global scope")
            .heeds("Heroku-Two-Factor-Code", "A code of the authenticator app, or a recovery code.")
            .takes::<Asked>()
            .creates::<Authorization>(),
        account(get("/oauth/authorizations", Who::User, list).says("Tokens").gives::<Vec<Authorization>>()),
        account(get(ONE, Who::User, show).says("A token").gives::<Authorization>()),
        account(patch(ONE, Who::User, change).says("Describe a token"))
            .takes::<AuthorizationChanges>()
            .gives::<Authorization>(),
        account(delete(ONE, Who::User, revoke).says("End a token").gives::<Authorization>()),
        account(post(
            "/oauth/authorizations/{authorization}/actions/regenerate-tokens",
            Who::User,
            regenerate,
        ))
        .says("Another token in place of this one; it ends when the old one would have")
        .gives::<Authorization>(),
        account(get("/oauth/sessions", Who::User, none).says("No sessions").gives::<Vec<Value>>()),
        account(delete("/oauth/sessions/{session}", Who::User, no_session))
            .says("There are no sessions")
            .refuses(),
        account(get("/oauth/clients", Who::User, none).says("No clients").gives::<Vec<Value>>()),
    ]
}

/// `[]`, for what there is none of here.
pub(super) async fn none() -> Json<[Value; 0]> {
    Json([])
}

async fn no_session() -> ApiFault {
    ApiFault::missing("session", "Couldn't find that session: there are tokens alone.")
}

/// What a new token is to be, judged.
pub(super) struct Wanted {
    description: String,
    scope: String,
    expires_at: Option<Millis>,
}

impl Wanted {
    /// # Errors
    /// 422: which part cannot be, and why.
    pub(super) fn of(asked: Asked) -> Answer<Self> {
        Ok(Self {
            description: description(asked.description.unwrap_or_default())?,
            scope: scope(asked.scope)?,
            expires_at: asked.expires_in.map(expiry).transpose()?,
        })
    }
}

/// # Errors
/// 422 where it is too long.
pub(super) fn description(raw: String) -> Answer<String> {
    if raw.chars().count() > MAX_DESCRIPTION {
        let message = format!("The description must not be longer than {MAX_DESCRIPTION} characters.");
        return Err(ApiFault::invalid(message));
    }
    Ok(raw.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

fn scope(asked: Option<Vec<String>>) -> Answer<String> {
    let asked = asked.unwrap_or_else(|| vec!["global".to_owned()]);
    if let Some(unknown) = asked.iter().find(|word| !SCOPES.contains(&word.as_str())) {
        let known = SCOPES.join("`, `");
        let shown: String = unknown.chars().take(40).collect();
        return Err(ApiFault::invalid(format!("There is no scope `{shown}`: there are `{known}`.")));
    }
    let words: Vec<&str> = SCOPES.into_iter().filter(|word| asked.iter().any(|a| a == word)).collect();
    if words.is_empty() {
        return Err(ApiFault::invalid("The scope is empty: name one, or leave it out for `global`."));
    }
    Ok(words.join(" "))
}

fn expiry(seconds: u64) -> Answer<Millis> {
    match i64::try_from(seconds) {
        Ok(span) if (1..=MAX_EXPIRES_IN).contains(&seconds) => Ok(clock::now() + span * 1000),
        _ => Err(ApiFault::invalid(format!("`expires_in` must be from 1 to {MAX_EXPIRES_IN} seconds."))),
    }
}

/// Makes a token for a user, and forgets old ones of anybody's.
///
/// # Errors
/// 422 where the user has too many.
pub(super) async fn mint(
    db: &mut AnyConnection,
    user: &UserRow,
    wanted: &Wanted,
) -> Answer<(AuthorizationRow, Token)> {
    authorizations::forget_expired(db, clock::now() - EXPIRED_KEPT).await?;
    if authorizations::of_user(db, &user.id).await?.len() >= MAX_TOKENS {
        let message = format!("The account has {MAX_TOKENS} tokens, which is the limit: revoke some.");
        return Err(ApiFault::invalid(message));
    }
    let token = Token::generate()?;
    let new = NewAuthorization {
        description: &wanted.description,
        scope: &wanted.scope,
        expires_at: wanted.expires_at,
    };
    let row = authorizations::insert(db, &user.id, new, &token).await?;
    Ok((row, token))
}

async fn create(
    State(api): State<Api>,
    CameFrom(address): CameFrom,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Answer<Response> {
    let wanted = Wanted::of(asked)?;
    let (user, by_token) = match Credentials::of(&headers) {
        Some(Credentials::Password { name, password }) => {
            let code = headers.get(TWO_FACTOR).and_then(|code| code.to_str().ok());
            let purpose = format!("token: {}", wanted.description);
            let (name, password) = (name.as_str(), password.as_str());
            let attempt = Attempt { name, password, code, address, purpose: &purpose };
            (login::log_in(&api, attempt).await?, false)
        }
        _ => (global_caller(&api, &headers).await?.user, true),
    };
    let mut db = api.store.write().await?;
    let (row, token) = mint(&mut db, &user, &wanted).await?;
    if by_token {
        audit::insert(&mut db, &minted(&user, address)).await?;
    }
    db.commit().await?;
    Ok(created(described(&user, &row, token.reveal())))
}

/// What the guard would record: this call has none, since some of its callers have no token.
fn minted(user: &UserRow, address: IpAddr) -> Change {
    Change {
        user: user.name.clone(),
        address: address.to_string(),
        action: "POST /oauth/authorizations".to_owned(),
        app: None,
        detail: "/oauth/authorizations".to_owned(),
    }
}

/// Whoever presents a token that may do everything: a narrower one must not make a wider one.
async fn global_caller(api: &Api, headers: &HeaderMap) -> Answer<Caller> {
    let mut db = api.store.read().await?;
    let caller = guard::caller(&mut db, headers).await?;
    drop(db);
    if !caller.authorization.scope.split_whitespace().any(|word| word == "global") {
        return Err(ApiFault::not_allowed("Only a token of the scope `global` can make others."));
    }
    api.calls.count(api, &caller.user.id)?;
    Ok(caller)
}

async fn list(State(api): State<Api>, caller: Caller) -> Answer<Json<Vec<Authorization>>> {
    let mut db = api.store.read().await?;
    let rows = authorizations::of_user(&mut db, &caller.user.id).await?;
    Ok(Json(rows.iter().map(|row| known(&caller, row)).collect()))
}

async fn show(State(api): State<Api>, caller: Caller, At(called): At<String>) -> Answer<Json<Authorization>> {
    let mut db = api.store.read().await?;
    let row = find(&mut db, &caller, &called).await?;
    Ok(Json(known(&caller, &row)))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    At(called): At<String>,
    Body(wanted): Body<AuthorizationChanges>,
) -> Answer<Json<Authorization>> {
    let mut db = api.store.write().await?;
    let row = find(&mut db, &caller, &called).await?;
    if let Some(raw) = wanted.description {
        authorizations::describe(&mut db, &row.id, &description(raw)?).await?;
    }
    let row = find(&mut db, &caller, &called).await?;
    db.commit().await?;
    Ok(Json(known(&caller, &row)))
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    At(called): At<String>,
) -> Answer<Json<Authorization>> {
    let mut db = api.store.write().await?;
    let row = find(&mut db, &caller, &called).await?;
    authorizations::delete(&mut db, &row.id).await?;
    db.commit().await?;
    Ok(Json(known(&caller, &row)))
}

async fn regenerate(
    State(api): State<Api>,
    caller: Caller,
    At(called): At<String>,
) -> Answer<Json<Authorization>> {
    let token = Token::generate()?;
    let mut db = api.store.write().await?;
    let row = find(&mut db, &caller, &called).await?;
    if row.has_expired(clock::now()) {
        return Err(ApiFault::invalid("This token has expired: make a new one instead."));
    }
    authorizations::replace_token(&mut db, &row.id, &token).await?;
    let row = find(&mut db, &caller, &called).await?;
    db.commit().await?;
    Ok(Json(described(&caller.user, &row, token.reveal())))
}

/// One of the caller's own. What the CLI calls `~`, the default one, is never there.
async fn find(db: &mut AnyConnection, caller: &Caller, called: &str) -> Answer<AuthorizationRow> {
    let found = match ids::internal(called) {
        Some(id) => authorizations::find(db, &caller.user.id, &id).await?,
        None => None,
    };
    found.ok_or_else(|| ApiFault::missing("authorization", "Couldn't find that authorization."))
}

/// One that was made before: its token is hinted at, unless it is the one that the caller just presented,
/// by which the CLI finds itself in the list.
fn known(caller: &Caller, row: &AuthorizationRow) -> Authorization {
    let is_own = row.id == caller.authorization.id;
    let token = if is_own { caller.token.reveal() } else { row.token_hint.as_str() };
    described(&caller.user, row, token)
}

fn described(user: &UserRow, row: &AuthorizationRow, token: &str) -> Authorization {
    Authorization {
        id: ids::public(&row.id),
        description: Some(row.description.clone()),
        scope: row.scope.split_whitespace().map(str::to_owned).collect(),
        access_token: Some(AccessToken {
            id: ids::of_name("access-token", &row.id),
            token: token.to_owned(),
            expires_in: row.expires_at.map(|end| clock::seconds_between(clock::now(), end)),
        }),
        client: None,
        session: None,
        user: UserRef { id: ids::public(&user.id), email: user.address().to_owned() },
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.updated_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(words: &[&str]) -> Option<String> {
        scope(Some(words.iter().map(|word| (*word).to_owned()).collect())).ok()
    }

    #[test]
    fn scopes_are_known_words_each_once() {
        assert_eq!(scope(None).unwrap(), "global");
        assert_eq!(scope_of(&["write", "identity", "write"]).unwrap(), "identity write");
        for bad in [&["fly"][..], &[], &["global read"], &["read", ""]] {
            assert_eq!(scope_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_life_has_bounds() {
        for bad in [0, MAX_EXPIRES_IN + 1, u64::MAX] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
        assert!(expiry(1).is_ok() && expiry(MAX_EXPIRES_IN).is_ok());
    }

    #[test]
    fn a_description_is_one_line() {
        assert_eq!(description(" a\nb ".to_owned()).unwrap(), "a b");
        assert!(description("x".repeat(201)).is_err());
    }
}
