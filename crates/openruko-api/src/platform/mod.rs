//! The Platform API, version 3, as Heroku describes it
//! (<https://devcenter.heroku.com/articles/platform-api-reference>) and as the Heroku CLI uses it.
//!
//! A call is found in one table ([`routes`]); its [`guard`] decides once, before the handler runs, who calls
//! and whether they may. A module a noun then answers.

mod account;
mod acm;
mod addons;
mod apps;
mod authorizations;
mod browser_login;
mod buildpacks;
mod builds;
mod call_limit;
mod caller;
mod collaborators;
mod config_vars;
mod deploy_key;
mod domains;
mod dyno_sizes;
mod dynos;
mod features;
mod formation;
mod guard;
mod ids;
mod keys;
mod log_drains;
mod log_sessions;
mod login;
mod login_page;
mod names;
mod one_offs;
mod openapi;
mod page;
mod pipelines;
mod promotions;
mod releases;
mod route;
mod server;
mod sni_endpoints;
mod sources;
mod teams;
mod transfers;
mod two_factor;
mod web_settings;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;

use crate::api::Api;
use crate::errors::ApiFault;
use crate::rights::Need;

pub(crate) use call_limit::CallLimit;
pub(crate) use dynos::tell_reported;
pub(crate) use guard::covers_git;
pub(crate) use ids::public as public_id;
use route::Route;

/// Every call that there is.
fn routes() -> Vec<Route> {
    [
        server::routes(),
        account::routes(),
        apps::routes(),
        collaborators::routes(),
        transfers::routes(),
        config_vars::routes(),
        deploy_key::routes(),
        releases::routes(),
        formation::routes(),
        dyno_sizes::routes(),
        dynos::routes(),
        web_settings::routes(),
        features::routes(),
        addons::routes(),
        teams::routes(),
        buildpacks::routes(),
        domains::routes(),
        sni_endpoints::routes(),
        acm::routes(),
        log_sessions::routes(),
        log_drains::routes(),
        pipelines::routes(),
        promotions::routes(),
        webhooks::routes(),
        authorizations::routes(),
        two_factor::routes(),
        browser_login::routes(),
        keys::routes(),
        builds::routes(),
        sources::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Who may use a call, for a test of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// No token is asked for.
    Anyone,
    /// Whoever has an account.
    User,
    /// Site admins.
    SiteAdmin,
    /// Whoever has a right to the app in the path: a permission, or ownership.
    App(Need),
}

/// Method, path and right of every call.
pub fn rights() -> Vec<(axum::http::Method, &'static str, Who)> {
    routes().into_iter().map(|route| (route.rule.method.clone(), route.rule.path, route.rule.who)).collect()
}

/// The router of the public listener.
pub(crate) fn router(api: Api) -> Router {
    let document = Arc::new(openapi::document(&routes()));
    let (slow, quick) = routes().into_iter().partition(|route| route.is_slow);
    guarded(&api, quick)
        .route("/openapi.json", openapi::serve(document))
        .fallback(async || ApiFault::no_such_call())
        .method_not_allowed_fallback(async || ApiFault::wrong_method())
        .layer(middleware::from_fn(crate::router::with_small_body))
        .layer(middleware::from_fn(crate::router::bounded))
        .merge(guarded(&api, slow).layer(middleware::from_fn(guard::closing)))
        .layer(middleware::from_fn(guard::dressed))
        .layer(middleware::from_fn(crate::router::logged))
        .with_state(api)
}

fn guarded(api: &Api, routes: Vec<Route>) -> Router<Api> {
    let mut router = Router::new();
    for Route { rule, body, answer, .. } in routes {
        let guard = middleware::from_fn_with_state((api.clone(), Arc::new(rule.clone())), guard::guard);
        // The guard reads bodies, too.
        router = router.route(rule.path, answer.route_layer(guard).layer(DefaultBodyLimit::max(body)));
    }
    router
}
