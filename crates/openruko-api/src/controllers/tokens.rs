//! Tokens of users: whose they are, and new ones from the admin.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ruko_api_types::{
    Access, Authenticate, Authenticated, INSUFFICIENT_SCOPE, INVALID_TOKEN, NewToken, UserToken,
};
use ruko_core::UserName;

use super::{created, user_named};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::platform;
use crate::store::authorizations::{self, NewAuthorization};
use crate::token::Token;

/// `POST /internal/authenticate`
pub(crate) async fn owner(
    State(api): State<Api>,
    Body(asked): Body<Authenticate>,
) -> Answer<Json<Authenticated>> {
    let mut db = api.store.read().await?;
    let digest = Token::presented(&asked.token).digest();
    let found = authorizations::of_token(&mut db, &digest).await?;
    match found.filter(|(authorization, _)| !authorization.has_expired(clock::now())) {
        Some((authorization, user)) if platform::covers_git(&authorization.scope, asked.access) => {
            Ok(Json(Authenticated { user: user.name }))
        }
        Some((authorization, _)) => Err(too_narrow(&authorization.scope, asked.access)),
        None => {
            api.throttles.wrong_token(asked.address, clock::now())?;
            let message = "The token is nobody's, or has expired.";
            Err(ApiFault::particular(StatusCode::UNAUTHORIZED, INVALID_TOKEN, message))
        }
    }
}

fn too_narrow(scope: &str, access: Access) -> ApiFault {
    let what = match access {
        Access::Read => "fetching",
        Access::Write => "pushing",
    };
    let message = format!("The scope of this token, `{scope}`, does not cover {what}.");
    ApiFault::particular(StatusCode::FORBIDDEN, INSUFFICIENT_SCOPE, message)
}

/// `POST /internal/users/{user}/tokens`
pub(crate) async fn create(
    State(api): State<Api>,
    At(user): At<UserName>,
    Body(new): Body<NewToken>,
) -> Answer<Response> {
    let token = Token::generate()?;
    let mut db = api.store.write().await?;
    let user = user_named(&mut db, &user).await?;
    let new = NewAuthorization {
        description: &new.description,
        scope: "global",
        expires_at: new.expires_in.map(expiry),
    };
    authorizations::insert(&mut db, &user.id, new, &token).await?;
    db.commit().await?;
    Ok(created(UserToken { token: token.reveal().to_owned() }))
}

/// So many seconds from now.
fn expiry(seconds: u64) -> Millis {
    let span = Millis::try_from(seconds).unwrap_or(Millis::MAX).saturating_mul(1000);
    clock::now().saturating_add(span)
}
