//! A login that is finished in a browser: a program begins it and waits, somebody opens a page, says who
//! they are and whether they want it, and the program gets a token.
//!
//! The program and the page have a secret each. There is no cookie, so nothing that another site could make
//! a browser send: who allows a login types their password into this very form. The token is made when the
//! program fetches it, so that it is never kept.

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ruko_api_types::platform::{BrowserLogin, BrowserToken, NewAuthorization, NewBrowserLogin as Asked};
use ruko_http::network;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::Who;
use super::authorizations::{self, Wanted};
use super::caller::{CameFrom, Credentials};
use super::login::{self, Attempt};
use super::login_page::{self, Question};
use super::route::{Route, get, post};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body, Form};
use crate::store::browser_logins::{self, BrowserLoginRow, NewBrowserLogin, Status};
use crate::store::users;
use crate::token::Token;

/// How long a login may take, from its beginning to the fetching of its token.
const LIFE: Millis = 10 * 60_000;

/// How long a program is held before it must ask again. Below the sixty seconds after which the CLI gives
/// up on a connection.
const HELD: Duration = Duration::from_secs(50);

/// How many logins may be under way at a time, of whomever.
const MAX_OPEN: u64 = 1000;

/// How long the token lives: as long as the CLI asks for when it logs in itself, in seconds.
const EXPIRES_IN: u64 = 30 * 24 * 3600;

pub(super) fn routes() -> Vec<Route> {
    const PAGE: &str = "/cli-login/browser/{secret}";
    vec![
        post("/cli-login/auth", Who::Anyone, begin)
            .says("Begin a login that is finished in a browser")
            .takes::<Asked>()
            .creates::<BrowserLogin>(),
        get("/cli-login/token", Who::Anyone, wait)
            .says("Wait for the token, with the login's secret as Bearer; 503: ask again")
            .gives::<BrowserToken>(),
        get(PAGE, Who::Anyone, page).says("The page for the browser").streams("text/html"),
        post(PAGE, Who::Anyone, answer).says("The page's form").takes_form::<Typed>().streams("text/html"),
    ]
}

async fn begin(
    State(api): State<Api>,
    CameFrom(address): CameFrom,
    Body(asked): Body<Asked>,
) -> Answer<Response> {
    let description = authorizations::description(asked.description.unwrap_or_default())?;
    api.throttles.begin_browser_login(address, clock::now())?;
    let (cli, browser) = (Token::generate_plain()?, Token::generate_plain()?);
    let mut db = api.store.write().await?;
    browser_logins::forget_expired(&mut db, clock::now()).await?;
    if browser_logins::number(&mut db).await? >= MAX_OPEN {
        return Err(ApiFault::too_often(
            "rate_limit",
            "Too many logins are under way: try again in 10 minutes.",
        ));
    }
    let new = NewBrowserLogin {
        cli: &cli,
        browser: &browser,
        description: &description,
        address: &address.to_string(),
        expires_at: clock::now() + LIFE,
    };
    browser_logins::insert(&mut db, new).await?;
    db.commit().await?;
    Ok(created(BrowserLogin {
        browser_url: format!("/browser/{}", browser.reveal()),
        cli_url: "/token".to_owned(),
        token: cli.reveal().to_owned(),
    }))
}

async fn wait(
    State(api): State<Api>,
    CameFrom(address): CameFrom,
    headers: HeaderMap,
) -> Answer<Json<BrowserToken>> {
    let _place = api.login_waiters.take(&network(address)).map_err(ApiFault::full)?;
    let secret = Credentials::of(&headers).map(Credentials::token);
    let secret = secret.ok_or_else(|| ApiFault::not_logged_in("The login's secret is missing."))?;
    let until = Instant::now() + HELD;
    let held = tokio::time::timeout_at(until, async {
        loop {
            // Made before the look: an answer in between is not missed.
            let answered = api.browser_answered.notified();
            if let Some(done) = take(&api, &secret).await? {
                return Ok(Some(done));
            }
            tokio::select! {
                () = answered => {}
                () = tokio::time::sleep_until(api.look_again_by(until)) => {}
                () = api.stopping() => return Ok(None),
            }
        }
    });
    match held.await {
        Ok(Ok(Some(done))) => Ok(Json(done)),
        Ok(Err(fault)) => Err(fault),
        Ok(Ok(None)) | Err(_) => {
            let message = "Nobody answered in the browser yet: ask again.";
            Err(ApiFault::particular(StatusCode::SERVICE_UNAVAILABLE, "not_yet", message))
        }
    }
}

/// What a login came to, once: it is forgotten with that.
async fn take(api: &Api, secret: &Token) -> Answer<Option<BrowserToken>> {
    let found = {
        let mut db = api.store.read().await?;
        browser_logins::of_cli(&mut db, secret).await?
    };
    let refused = |error: &str| Ok(Some(BrowserToken::Refused { error: error.to_owned() }));
    match found.filter(|login| login.expires_at > clock::now()) {
        None => refused("This login is over: begin a new one."),
        Some(BrowserLoginRow { status: Status::Open, .. }) => Ok(None),
        Some(_) => finish(api, secret).await.map(Some),
    }
}

async fn finish(api: &Api, secret: &Token) -> Answer<BrowserToken> {
    let refused = |error: &str| BrowserToken::Refused { error: error.to_owned() };
    let mut db = api.store.write().await?;
    let Some(login) = browser_logins::of_cli(&mut db, secret).await? else {
        return Ok(refused("This login is over: begin a new one."));
    };
    browser_logins::delete(&mut db, &login.id).await?;
    let user = match &login.status {
        Status::Allowed(user) => users::by_id(&mut db, user).await?,
        Status::Open | Status::Denied => None,
    };
    let answer = match user {
        None => refused("The login was denied in the browser."),
        Some(user) => {
            let asked = NewAuthorization {
                description: Some(login.description),
                expires_in: Some(EXPIRES_IN),
                scope: None,
            };
            let (_, token) = authorizations::mint(&mut db, &user, &Wanted::of(asked)?).await?;
            BrowserToken::Granted { access_token: token.reveal().to_owned() }
        }
    };
    db.commit().await?;
    Ok(answer)
}

/// The login that a page is for, as long as it can be answered.
async fn open(api: &Api, secret: &str) -> Answer<Option<BrowserLoginRow>> {
    let mut db = api.store.read().await?;
    let found = browser_logins::of_browser(&mut db, &Token::presented(secret)).await?;
    Ok(found.filter(|login| login.status == Status::Open && login.expires_at > clock::now()))
}

async fn page(
    State(api): State<Api>,
    CameFrom(address): CameFrom,
    At(secret): At<String>,
) -> Answer<Response> {
    Ok(match open(&api, &secret).await? {
        Some(login) => login_page::question(StatusCode::OK, &question(&login, address)),
        None => login_page::over(),
    })
}

fn question(login: &BrowserLoginRow, address: IpAddr) -> Question<'_> {
    Question {
        description: &login.description,
        program: &login.address,
        is_elsewhere: login.address != address.to_string(),
        name: "",
        problem: None,
    }
}

/// What the form sends.
#[derive(Deserialize, JsonSchema)]
struct Typed {
    /// A name or an e-mail address.
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    /// Of the second factor, where the account has one.
    #[serde(default)]
    code: String,
    /// `allow`; anything else denies.
    decision: String,
}

async fn answer(
    State(api): State<Api>,
    CameFrom(address): CameFrom,
    At(secret): At<String>,
    Form(typed): Form<Typed>,
) -> Answer<Response> {
    let Some(login) = open(&api, &secret).await? else { return Ok(login_page::over()) };
    if typed.decision != "allow" {
        return settle(&api, &login, None).await;
    }
    let attempt = Attempt {
        name: &typed.name,
        password: &typed.password,
        code: Some(typed.code.as_str()),
        address,
        purpose: &format!("browser: {}", login.description),
    };
    match login::log_in(&api, attempt).await {
        Ok(user) => settle(&api, &login, Some(&user.id)).await,
        Err(ApiFault::Refused { status, message, .. }) => {
            let asked = Question { name: &typed.name, problem: Some(&message), ..question(&login, address) };
            Ok(login_page::question(status, &asked))
        }
        Err(fault) => Err(fault),
    }
}

/// The first answer counts.
async fn settle(api: &Api, login: &BrowserLoginRow, user_id: Option<&str>) -> Answer<Response> {
    let mut db = api.store.write().await?;
    if !browser_logins::answer(&mut db, &login.id, user_id).await? {
        return Ok(login_page::over());
    }
    db.commit().await?;
    api.browser_answered.notify_waiters();
    Ok(if user_id.is_some() { login_page::allowed() } else { login_page::denied() }.into_response())
}
