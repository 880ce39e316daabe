//! The one table of calls: method, path, who may use it, how large a body may be, and who answers.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use ruko_core::AppName;

use crate::api::Api;
use crate::auth::Component::{self, Admin, Host, Router as Routes, Serve};
use crate::controllers::{Named, to_the_end};
use crate::controllers::{
    access, app, audit, builds, collaborators, commits, config_vars, fetches, greeting, hosts, keys, logs,
    output, push_log, pushes, release_output, releases, routes, storage, tokens, user,
};
use crate::errors::ApiFault;
use crate::extract::whole;
use crate::store::{apps, audit as audit_store};

/// Bodies that name a thing or two, in bytes.
const SMALL: usize = 64 << 10;

/// Pieces of output, in bytes.
const PIECE: usize = 1 << 20;

/// Lines of logs, in bytes.
const BATCH: usize = ruko_api_types::log::MAX_BODY;

/// Commits, in bytes: ten thousand refs need more than two MiB.
const COMMIT: usize = 4 << 20;

/// Reports of all dynos of a host, in bytes: the command of each may have 32 KiB.
const REPORTS: usize = 16 << 20;

/// A change of config vars: JSON may write a byte of the 1 MiB that is allowed as six.
const CONFIG: usize = 7 << 20;

/// From the first byte of a request to the answer's head. Above the wait for a lease.
const SLOWEST: Duration = Duration::from_secs(60);

/// A call of the internal API.
struct Call {
    method: Method,
    path: &'static str,
    rights: &'static [Component],
    body: usize,
    answer: MethodRouter<Api>,
}

fn call(
    method: Method,
    path: &'static str,
    rights: &'static [Component],
    body: usize,
    answer: MethodRouter<Api>,
) -> Call {
    Call { method, path, rights, body, answer }
}

#[rustfmt::skip]
fn calls() -> Vec<Call> {
    use Method as M;
    const SERVE: &[Component] = &[Serve];
    const ADMIN: &[Component] = &[Admin];
    const HOST: &[Component] = &[Host];
    const ROUTER: &[Component] = &[Routes];
    const LINES: &[Component] = &[Host, Routes];
    vec![
        call(M::GET,    "/internal/keys",                                SERVE, SMALL,  get(keys::owner)),
        call(M::GET,    "/internal/keys/all",                            SERVE, SMALL,  get(keys::all)),
        call(M::GET,    "/internal/users/{user}/greeting",               SERVE, SMALL,  get(greeting::show)),
        call(M::POST,   "/internal/authenticate",                        SERVE, SMALL,  post(tokens::owner)),
        call(M::GET,    "/internal/authorize",                           SERVE, SMALL,  get(access::show)),
        call(M::POST,   "/internal/apps/{app}/pushes",                   SERVE, SMALL,  post(pushes::create)),
        call(M::POST,   "/internal/apps/{app}/fetches",                  SERVE, SMALL,  post(fetches::create)),
        call(M::PUT,    "/internal/pushes/{id}/lease",                   SERVE, SMALL,  put(pushes::renew)),
        call(M::POST,   "/internal/pushes/{id}/commit",                  SERVE, COMMIT, post(commits::create)),
        call(M::POST,   "/internal/pushes/{id}/abort",                   SERVE, SMALL,  post(pushes::abort)),
        call(M::PUT,    "/internal/pushes/{id}/steps",                   SERVE, SMALL,  put(push_log::tell)),
        call(M::GET,    "/internal/pushes",                              ADMIN, SMALL,  get(push_log::list)),
        call(M::POST,   "/internal/pushes/{id}/output",                  SERVE, PIECE,  post(output::append)),
        call(M::GET,    "/internal/pushes/{id}/output",                  ADMIN, SMALL,  get(output::show)),
        call(M::POST,   "/internal/logs",                                LINES,  BATCH,  post(logs::take)),
        call(M::POST,   "/internal/builds/take",                         SERVE, SMALL,  post(builds::take)),
        call(M::GET,    "/internal/builds/{id}/source",                  SERVE, SMALL,  get(builds::source)),
        call(M::GET,    "/internal/apps/{app}/releases/{version}/progress", SERVE, SMALL, get(release_output::progress)),
        call(M::POST,   "/internal/storage/work",                        SERVE, PIECE,  post(storage::work)),
        call(M::PUT,    "/internal/host",                                HOST,  SMALL,  put(hosts::hello)),
        call(M::GET,    "/internal/host/apps",                           HOST,  SMALL,  get(hosts::list)),
        call(M::GET,    "/internal/host/apps/{id}/releases/{version}/slug",   HOST, SMALL, get(hosts::slug)),
        call(M::POST,   "/internal/host/dynos",                          HOST,  REPORTS, post(hosts::report)),
        call(M::POST,   "/internal/host/apps/{id}/switch",               HOST,  SMALL,  post(hosts::switch)),
        call(M::POST,   "/internal/host/apps/{id}/releases/{version}/fail",   HOST, SMALL, post(hosts::fail)),
        call(M::POST,   "/internal/host/apps/{id}/releases/{version}/output", HOST, PIECE, post(hosts::output)),
        call(M::GET,    "/internal/router/apps",                         ROUTER, SMALL, get(routes::list)),
        call(M::POST,   "/internal/router/wake",                         ROUTER, SMALL, post(routes::wake)),
        call(M::POST,   "/internal/router/activity",                     ROUTER, PIECE, post(routes::activity)),
        call(M::POST,   "/internal/users",                               ADMIN, SMALL,  post(user::create)),
        call(M::GET,    "/internal/users",                               ADMIN, SMALL,  get(user::list)),
        call(M::PATCH,  "/internal/users/{user}",                        ADMIN, SMALL,  patch(user::change)),
        call(M::DELETE, "/internal/users/{user}",                        ADMIN, SMALL,  delete(user::destroy)),
        call(M::PUT,    "/internal/users/{user}/password",               ADMIN, SMALL,  put(user::set_password)),
        call(M::DELETE, "/internal/users/{user}/two-factor",             ADMIN, SMALL,  delete(user::reset_two_factor)),
        call(M::POST,   "/internal/users/{user}/keys",                   ADMIN, SMALL,  post(keys::create)),
        call(M::GET,    "/internal/users/{user}/keys",                   ADMIN, SMALL,  get(keys::list)),
        call(M::POST,   "/internal/users/{user}/tokens",                 ADMIN, SMALL,  post(tokens::create)),
        call(M::DELETE, "/internal/users/{user}/keys/{fingerprint}",     ADMIN, SMALL,  delete(keys::destroy)),
        call(M::POST,   "/internal/apps",                                ADMIN, SMALL,  post(app::create)),
        call(M::GET,    "/internal/apps",                                ADMIN, SMALL,  get(app::list)),
        call(M::GET,    "/internal/apps/{app}",                          ADMIN, SMALL,  get(app::show)),
        call(M::DELETE, "/internal/apps/{app}",                          ADMIN, SMALL,  delete(app::destroy)),
        call(M::PUT,    "/internal/apps/{app}/collaborators/{user}",     ADMIN, SMALL,  put(collaborators::add)),
        call(M::DELETE, "/internal/apps/{app}/collaborators/{user}",     ADMIN, SMALL,  delete(collaborators::remove)),
        call(M::GET,    "/internal/apps/{app}/config-vars",              ADMIN, SMALL,  get(config_vars::list)),
        call(M::PATCH,  "/internal/apps/{app}/config-vars",              ADMIN, CONFIG, patch(config_vars::change)),
        call(M::PUT,    "/internal/apps/{app}/buildpacks",               ADMIN, SMALL,  put(app::set_buildpacks)),
        call(M::GET,    "/internal/apps/{app}/releases",                 ADMIN, SMALL,  get(releases::list)),
        call(M::GET,    "/internal/apps/{app}/builds",                   ADMIN, SMALL,  get(builds::list)),
        call(M::GET,    "/internal/apps/{app}/log",                      ADMIN, SMALL,  get(logs::list)),
        call(M::GET,    "/internal/storage",                             ADMIN, SMALL,  get(storage::usage)),
        call(M::POST,   "/internal/storage/gc",                          ADMIN, SMALL,  post(storage::gc)),
        call(M::GET,    "/internal/audit",                               ADMIN, SMALL,  get(audit::list)),
    ]
}

/// Method, path and rights of every call that needs a token.
pub fn rights() -> Vec<(Method, &'static str, &'static [Component])> {
    calls().into_iter().map(|call| (call.method, call.path, call.rights)).collect()
}

pub(crate) fn router(api: Api) -> Router {
    let mut router = Router::new();
    for call in calls() {
        let audited = (call.path, call.rights);
        let guard = middleware::from_fn_with_state((api.clone(), audited), guard);
        // Who may not use a call is told so before its body is read, which the guard may do as well.
        router =
            router.route(call.path, call.answer.route_layer(guard).layer(DefaultBodyLimit::max(call.body)));
    }
    router
        .route("/health", get(health))
        .fallback(async || ApiFault::no_such_call())
        .method_not_allowed_fallback(async || ApiFault::wrong_method())
        .layer(middleware::from_fn(with_small_body))
        .layer(middleware::from_fn(bounded))
        .layer(middleware::from_fn(logged))
        .with_state(api)
}

/// `GET /health`, for whoever watches the service.
async fn health() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "status": "ok" }))
}

/// Only a component with the right passes.
async fn guard(
    State((api, (call, rights))): State<(Api, (&'static str, &'static [Component]))>,
    request: Request,
    next: Next,
) -> Result<Response, ApiFault> {
    let component = api.settings.tokens.component(request.headers()).ok_or_else(ApiFault::unauthorized)?;
    if !rights.contains(&component) {
        return Err(ApiFault::forbidden(component));
    }
    if component != Admin || request.method() == Method::GET {
        return Ok(next.run(request).await);
    }
    let action = format!("{} {call}", request.method());
    let request = whole(request).await?;
    to_the_end(async move {
        let change = Change::by_admin(&api, action, unsecret(request.uri().path())).await;
        let response = next.run(request).await;
        if response.status().is_success() {
            let made = response.extensions().get::<Named>().cloned();
            change.record(&api, made).await;
        }
        Ok(response)
    })
    .await
}

/// What `openruko admin` changes, if the call succeeds.
struct Change {
    action: String,
    path: String,
    /// The app that is in the path, by id and name at that moment.
    app: Option<(String, AppName)>,
}

impl Change {
    async fn by_admin(api: &Api, action: String, path: String) -> Self {
        let name: Option<AppName> =
            path.strip_prefix("/internal/apps/").and_then(|rest| rest.split('/').next()?.parse().ok());
        let found = async {
            let mut db = api.store.read().await.ok()?;
            apps::find(&mut db, &name?).await.ok()?
        };
        let app = found.await.map(|app| (app.id, app.name));
        Self { action, path, app }
    }

    /// The change stands already: a record that cannot be written is a line in the log.
    async fn record(self, api: &Api, made: Option<Named>) {
        let Self { action, path, app } = self;
        let detail = match made {
            Some(Named(name)) => format!("{path}/{name}"),
            None => path,
        };
        let written = async {
            let mut db = api.store.write().await?;
            audit_store::insert_admins(&mut db, &action, &detail, app.as_ref()).await?;
            db.commit().await
        };
        if let Err(error) = written.await {
            let cause = ruko_core::exit::chain(&error);
            tracing::error!(cause, action, "a change by an admin is not in the audit");
        }
    }
}

/// Whether a body is small enough to be read before anything is decided.
pub(crate) fn is_small(body: &Body) -> bool {
    body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).is_some_and(|bytes| bytes <= SMALL)
}

/// A small body is read first of all. A connection on which a request was answered with some of its body
/// unread ends, and a client that sends its next request into it meets that end instead of an answer.
pub(crate) async fn with_small_body(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() || !is_small(request.body()) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    match to_bytes(body, SMALL).await {
        Ok(bytes) => next.run(Request::from_parts(head, bytes.into())).await,
        Err(_) => {
            let message = "The body did not arrive in full.".to_owned();
            ApiFault::malformed(StatusCode::BAD_REQUEST, message).into_response()
        }
    }
}

/// Every request has an end.
pub(crate) async fn bounded(request: Request, next: Next) -> Response {
    match tokio::time::timeout(SLOWEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiFault::too_slow().into_response(),
    }
}

/// What stands before a secret in paths: what opens a log stream or the page of a login, and the URLs of drains.
const BEFORE_SECRETS: [&str; 3] = ["/streams/", "/cli-login/browser/", "/log-drains/"];

/// A path as it is written down: to where a secret begins.
pub(crate) fn unsecret(path: &str) -> String {
    let ends = BEFORE_SECRETS.iter().filter_map(|mark| Some(path.find(mark)? + mark.len()));
    match ends.min() {
        Some(end) if end < path.len() => format!("{}…", &path[..end]),
        _ => path.to_owned(),
    }
}

/// Every request has a line in the log. The query is left out, and secrets in the path.
pub(crate) async fn logged(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), unsecret(request.uri().path()));
    let begun = Instant::now();
    let response = next.run(request).await;
    let (status, ms) = (response.status().as_u16(), begun.elapsed().as_millis());
    if response.status().is_server_error() {
        tracing::warn!(%method, path, status, ms, "answered");
    } else {
        tracing::debug!(%method, path, status, ms, "answered");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_path_is_written_down() {
        for (path, shown) in [
            ("/streams/5ec2e7", "/streams/…"),
            ("/cli-login/browser/5ec2e7", "/cli-login/browser/…"),
            ("/apps/shop/log-drains/https%3A%2F%2Fu%3Ap%40logs.test", "/apps/shop/log-drains/…"),
            ("/apps/shop/log-drains", "/apps/shop/log-drains"),
            ("/cli-login/token", "/cli-login/token"),
            ("/streams/", "/streams/"),
        ] {
            assert_eq!(unsecret(path), shown);
        }
    }
}
