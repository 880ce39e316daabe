//! What every call passes before its handler: who calls, how far their token goes, how often they called,
//! and what they may do with the app. And after it: the record of what was changed.

use std::sync::Arc;

use axum::RequestExt;
use axum::body::{HttpBody, to_bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ruko_api_types::Access;
use ruko_core::AppName;
use ruko_http::ClientAddress;
use sqlx::AnyConnection;

use super::Who;
use super::caller::{Caller, Credentials, TheApp};
use super::ids;
use super::route::{Realm, Rule};
use crate::api::Api;
use crate::clock;
use crate::controllers::to_the_end;
use crate::errors::{Answer, ApiFault};
use crate::extract::whole;
use crate::rights;
use crate::router::unsecret;
use crate::store::Sql;
use crate::store::apps::{self, AppRow};
use crate::store::audit::{self, Change};
use crate::store::authorizations;
use crate::webhooks::{self, Event};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const CALLS_LEFT: HeaderName = HeaderName::from_static("ratelimit-remaining");

/// The longest Request-Id that is echoed, in bytes: the CLI makes it longer with every call.
const MAX_REQUEST_ID: usize = 1000;

/// Decides whether the call is carried out. Who is refused may be told so before a long body is read; the
/// connection then ends, and the answer says that, so that no client sends its next request into it.
pub(super) async fn guard(
    State((api, rule)): State<(Api, Arc<Rule>)>,
    request: Request,
    next: Next,
) -> Response {
    let is_long = !crate::router::is_small(request.body());
    let answer = guarded(api, rule, request, next).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if is_long && !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Where a body may take as long as it takes, a refusal does not wait for it, however short it is: the connection
/// ends, and the answer says so.
pub(super) async fn closing(request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    if has_body && !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn guarded(api: Api, rule: Arc<Rule>, mut request: Request, next: Next) -> Answer<Response> {
    if rule.who == Who::Anyone {
        return Ok(next.run(request).await);
    }
    let mut db = api.store.read().await?;
    let caller = caller(&mut db, request.headers()).await?;
    require_scope(&caller, &rule)?;
    let left = api.calls.count(&api, &caller.user.id)?;
    if rule.who == Who::SiteAdmin && !caller.user.site_admin {
        return Err(ApiFault::not_allowed("Only site admins may do this."));
    }
    let app = match rule.who {
        Who::App(need) => {
            let app = app_in_path(&mut db, &mut request).await?;
            rights::require(&mut db, &caller.user, &app, need).await?;
            Some(app)
        }
        _ => None,
    };
    drop(db);
    let change = (!rule.method.is_safe()).then(|| change(&rule, &caller, app.as_ref(), &request));
    request.extensions_mut().insert(caller);
    if let Some(app) = app {
        request.extensions_mut().insert(TheApp(app));
    }
    let mut response = match change {
        Some(change) => {
            let request = whole(request).await?;
            to_the_end(changed(api, rule, change, request, next)).await?
        }
        None => next.run(request).await,
    };
    response.headers_mut().insert(CALLS_LEFT, left.into());
    Ok(response)
}

/// Carries a change out, records it and tells of it.
async fn changed(
    api: Api,
    rule: Arc<Rule>,
    mut change: Change,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let mut response = next.run(request).await;
    if response.status().is_success() {
        if let Some(TheApp(app)) = response.extensions().get() {
            change.app = Some(about(app));
        }
        record(&api, &change).await;
        response = told(&api, &rule, &change, response).await?;
        match &change.app {
            Some((app_id, _)) => api.tell_changed_of(app_id),
            // A handler that changed apps which its path does not name told of them itself.
            None => api.webhooks_due.notify_waiters(),
        }
    }
    Ok(response)
}

/// Whose token the request carries.
pub(super) async fn caller(db: &mut AnyConnection, headers: &HeaderMap) -> Answer<Caller> {
    let token = Credentials::of(headers).map(Credentials::token);
    let token = token.ok_or_else(|| ApiFault::not_logged_in("There is no token: log in first."))?;
    let found = authorizations::of_token(db, &token.digest()).await?;
    let (authorization, user) =
        found.ok_or_else(|| ApiFault::not_logged_in("Invalid credentials provided."))?;
    if authorization.has_expired(clock::now()) {
        return Err(ApiFault::not_logged_in("This token has expired: log in again."));
    }
    Ok(Caller { user, authorization, token })
}

fn require_scope(caller: &Caller, rule: &Rule) -> Answer<()> {
    let scope = &caller.authorization.scope;
    if covers(scope, rule.realm, rule.method.is_safe()) {
        return Ok(());
    }
    Err(ApiFault::not_allowed(format!("The scope of this token, `{scope}`, does not cover this call.")))
}

/// Whether a token of this scope is good for git: what is fetched and pushed belongs to apps, and a push
/// changes them.
pub(crate) fn covers_git(scope: &str, access: Access) -> bool {
    covers(scope, Realm::Apps, access == Access::Read)
}

fn covers(scope: &str, realm: Realm, is_read: bool) -> bool {
    scope.split_whitespace().any(|word| scope_allows(word, realm, is_read))
}

/// How far each scope goes: <https://devcenter.heroku.com/articles/oauth#scopes>.
fn scope_allows(word: &str, realm: Realm, is_read: bool) -> bool {
    match word {
        "global" => true,
        "identity" => realm == Realm::Identity && is_read,
        "read" => matches!(realm, Realm::Identity | Realm::Apps) && is_read,
        "read-protected" => realm != Realm::Account && is_read,
        "write" => realm == Realm::Apps || (realm == Realm::Identity && is_read),
        "write-protected" => realm != Realm::Account && (realm != Realm::Identity || is_read),
        _ => false,
    }
}

/// By name or by id.
async fn app_in_path(db: &mut AnyConnection, request: &mut Request) -> Answer<AppRow> {
    let params = request.extract_parts::<RawPathParams>().await;
    let params = params.map_err(|refused| ApiFault::malformed(refused.status(), refused.body_text()))?;
    let called = params.iter().find(|(name, _)| *name == "app").map(|(_, value)| value.to_owned());
    let called = called.ok_or_else(|| ApiFault::Internal("a path without an app".to_owned()))?;
    app_called(db, &called).await
}

/// By name or by id; what is neither is not there.
pub(super) async fn app_called(db: &mut AnyConnection, called: &str) -> Answer<AppRow> {
    let found = match (called.parse(), ids::internal(called)) {
        (Ok(name), _) => apps::find(db, &name).await?,
        (_, Some(id)) => apps::find_by_id(db, &id).await?,
        _ => None,
    };
    found.ok_or_else(ApiFault::no_such_app)
}

/// What will have changed, if the call succeeds.
fn change(rule: &Rule, caller: &Caller, app: Option<&AppRow>, request: &Request) -> Change {
    let address = request.extensions().get::<ClientAddress>().map(|address| address.0.to_string());
    Change {
        user: caller.user.name.clone(),
        address: address.unwrap_or_default(),
        action: format!("{} {}", rule.method, rule.path),
        app: app.map(about),
        detail: unsecret(request.uri().path()),
    }
}

/// The app, as the record names it. Where it is not in the path, the handler puts it into the answer.
fn about(app: &AppRow) -> (String, AppName) {
    (app.id.clone(), app.name.clone())
}

/// The change stands already: a record that cannot be written is a line in the log.
async fn record(api: &Api, change: &Change) {
    let written = async {
        let mut db = api.store.write().await?;
        audit::insert(&mut db, change).await?;
        db.commit().await
    };
    if let Err(error) = written.await {
        let cause = ruko_core::exit::chain(&error);
        tracing::error!(cause, user = %change.user, action = change.action, "a change is not in the audit");
    }
}

/// What a call changed, as webhooks name it. Releases and builds are not here: they are told of where they are
/// made, which pushes do as well.
fn kind(path: &str) -> Option<&'static str> {
    let rest = path.strip_prefix("/apps/{app}")?;
    match rest.split('/').nth(1) {
        None => Some("api:app"),
        Some("collaborators") => Some("api:collaborator"),
        Some("domains") => Some("api:domain"),
        Some("formation") => Some("api:formation"),
        Some("sni-endpoints") => Some("api:sni-endpoint"),
        _ => None,
    }
}

/// Tells webhooks of a change, the answer to which is what there is to tell. The change stands already: what
/// cannot be put down is a line in the log.
async fn told(api: &Api, rule: &Rule, change: &Change, response: Response) -> Answer<Response> {
    let Some((kind, (app_id, _))) = kind(rule.path).zip(change.app.as_ref()) else { return Ok(response) };
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|e| ApiFault::Internal(e.to_string()))?;
    let action = match rule.method {
        Method::POST => "create",
        Method::DELETE => "destroy",
        _ => "update",
    };
    let data = serde_json::from_slice(&body).unwrap_or_default();
    let event = Event { kind, action, data, user: &change.user };
    if let Err(error) = put_down(api, app_id, &event).await {
        let cause = ruko_core::exit::chain(&error);
        tracing::error!(cause, user = %change.user, action = change.action, "webhooks are not told of a change");
    }
    Ok(Response::from_parts(head, body.into()))
}

async fn put_down(api: &Api, app_id: &str, event: &Event<'_>) -> Sql<()> {
    let mut db = api.store.read().await?;
    let wanting = webhooks::wanting(&mut db, app_id, event.kind).await?;
    drop(db);
    if wanting.is_empty() {
        return Ok(());
    }
    let mut db = api.store.write().await?;
    webhooks::tell(&mut db, &wanting, event).await?;
    db.commit().await
}

/// What every answer carries.
pub(super) async fn dressed(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if method == Method::GET || method == Method::HEAD {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// The caller's own, if it is one, so that both sides find it in their logs; else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &HeaderValue| {
        let fit = |b: &u8| b.is_ascii_hexdigit() || b"-,".contains(b);
        (1..=MAX_REQUEST_ID).contains(&value.len()) && value.as_bytes().iter().all(fit)
    };
    let own = || HeaderValue::try_from(ids::new()).unwrap_or(HeaderValue::from_static(""));
    headers.get(REQUEST_ID).filter(|value| plain(value)).cloned().unwrap_or_else(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_goes_as_far_as_heroku_says() {
        let realms = [Realm::Identity, Realm::Account, Realm::Apps, Realm::Secrets];
        let covered = |word| -> Vec<(usize, bool)> {
            let all = realms.iter().enumerate().flat_map(|(i, r)| [(i, *r, true), (i, *r, false)]);
            all.filter(|(_, realm, read)| scope_allows(word, *realm, *read)).map(|(i, _, r)| (i, r)).collect()
        };
        assert_eq!(covered("global").len(), 8);
        assert_eq!(covered("identity"), [(0, true)]);
        assert_eq!(covered("read"), [(0, true), (2, true)]);
        assert_eq!(covered("read-protected"), [(0, true), (2, true), (3, true)]);
        assert_eq!(covered("write"), [(0, true), (2, true), (2, false)]);
        assert_eq!(covered("write-protected"), [(0, true), (2, true), (2, false), (3, true), (3, false)]);
        assert_eq!(covered("fly"), []);
    }

    #[test]
    fn only_a_plain_request_id_is_echoed() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(value));
            request_id(&headers)
        };
        assert_eq!(of("0a1b-2c,3d"), "0a1b-2c,3d");
        assert_ne!(of("x y"), "x y");
        assert_eq!(request_id(&HeaderMap::new()).len(), 36);
    }
}
