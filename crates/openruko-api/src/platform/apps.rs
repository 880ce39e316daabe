//! Apps.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{App, AppChanges, Named, NewApp, UserRef};
use ruko_core::{AppName, StackName};
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::page::{Page, Paged};
use super::route::{MANAGE, OPERATE, OWNER, Route, VIEW, delete, get, patch, post};
use super::{Who, ids, names};
use crate::api::Api;
use crate::clock;
use crate::controllers::{app as internal, created};
use crate::errors::{Answer, ApiFault};
use crate::extract::Body;
use crate::rights;
use crate::settings::Settings;
use crate::store::apps::{self, AppChange, AppRow, Piece};
use crate::store::pushes;

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/apps", Who::User, create).says("Create an app").takes::<NewApp>().creates::<App>(),
        get("/apps", Who::User, list).says("Every app that one may see").pages::<App>(),
        get("/users/~/apps", Who::User, list).says("Every app that one may see").pages::<App>(),
        get("/apps/{app}", VIEW, show).says("An app").gives::<App>(),
        patch("/apps/{app}", OPERATE, change)
            .says("Rename it, set its stack or its maintenance mode")
            .takes::<AppChanges>()
            .gives::<App>(),
        delete("/apps/{app}", OWNER, destroy).says("Destroy an app").gives::<App>(),
    ]
}

/// How often a made-up name may be taken.
const ATTEMPTS: usize = 20;

async fn create(State(api): State<Api>, caller: Caller, Body(new): Body<NewApp>) -> Answer<Response> {
    require_region(&api, new.region.as_deref())?;
    let asked = new.name.as_deref().map(name).transpose()?;
    let stack = new.stack.as_deref().map(|asked| known_stack(&api.settings, asked)).transpose()?;
    let mut db = api.store.write().await?;
    let name = match asked {
        Some(name) => free(&mut db, name).await?,
        None => made_up(&mut db).await?,
    };
    let mut app = internal::make(&mut db, &api, &name, &caller.user).await?;
    if let Some(stack) = &stack {
        let change = AppChange { build_stack: Some(stack), ..AppChange::default() };
        apps::change(&mut db, &app.id, change).await?;
        app = still_there(&mut db, &app).await?;
    }
    db.commit().await?;
    Ok(created(described(&api, &app)?))
}

fn name(raw: &str) -> Answer<AppName> {
    raw.parse().map_err(|_| {
        ApiFault::invalid(
            "Name must start with a letter, end with a letter or digit, can only contain lower-case letters, \
             digits and dashes, and must have from 3 to 30 characters",
        )
    })
}

async fn free(db: &mut AnyConnection, name: AppName) -> Answer<AppName> {
    match apps::find(db, &name).await? {
        None => Ok(name),
        Some(_) => Err(ApiFault::invalid(format!("Name {name} is already taken"))),
    }
}

async fn made_up(db: &mut AnyConnection) -> Answer<AppName> {
    for _ in 0..ATTEMPTS {
        let name = names::random()?;
        if apps::find(db, &name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(ApiFault::Internal(format!("{ATTEMPTS} made-up names were all taken")))
}

fn require_region(api: &Api, asked: Option<&str>) -> Answer<()> {
    let region = &super::server::public(api)?.region;
    match asked {
        Some(asked) if asked != region && asked != ids::of_name("region", region) => {
            Err(ApiFault::invalid(format!("There is no such region: this server has `{region}` alone.")))
        }
        _ => Ok(()),
    }
}

fn known_stack(settings: &Settings, asked: &str) -> Answer<StackName> {
    let found = settings.stacks.find(asked, |name| ids::of_name("stack", name));
    found.cloned().ok_or_else(|| {
        let stacks = settings.stacks.listed();
        ApiFault::invalid(format!("There is no stack of that name here. There is: {stacks}."))
    })
}

async fn list(State(api): State<Api>, caller: Caller, page: Page) -> Answer<Paged<App>> {
    let mut db = api.store.read().await?;
    if !caller.user.site_admin {
        let rows = apps::seen_by(&mut db, &caller.user.id).await?;
        return Ok(page.of(all_described(&api, &rows)?, |app| app.id.clone()));
    }
    let after = page.after_id();
    let piece = Piece { after: after.as_deref(), descending: page.descending, limit: page.limit() };
    let rows = apps::piece(&mut db, &piece).await?;
    Ok(page.cut(all_described(&api, &rows)?, |app| app.id.clone()))
}

fn all_described(api: &Api, apps: &[AppRow]) -> Answer<Vec<App>> {
    apps.iter().map(|app| described(api, app)).collect()
}

async fn show(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<App>> {
    Ok(Json(described(&api, &app)?))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    TheApp(app): TheApp,
    Body(wanted): Body<AppChanges>,
) -> Answer<Json<App>> {
    let name = wanted.name.as_deref().map(name).transpose()?.filter(|name| *name != app.name);
    let stack = wanted.build_stack.as_deref().map(|asked| known_stack(&api.settings, asked)).transpose()?;
    let mut db = api.store.write().await?;
    if let Some(name) = &name {
        // Its address changes, and with it everything that others know of it.
        if let Who::App(need) = MANAGE {
            rights::require(&mut db, &caller.user, &app, need).await?;
        }
        free(&mut db, name.clone()).await?;
    }
    let change = AppChange {
        name: name.as_ref(),
        build_stack: stack.as_ref(),
        maintenance: wanted.maintenance,
        ..AppChange::default()
    };
    apps::change(&mut db, &app.id, change).await?;
    let app = apps::find_by_id(&mut db, &app.id).await?.ok_or_else(ApiFault::no_such_app)?;
    db.commit().await?;
    if let Some(closed) = wanted.maintenance {
        let mode = if closed { "enabled" } else { "disabled" };
        api.say(&app.id, &format!("Maintenance mode {mode} by user {}", caller.user.name)).await;
    }
    Ok(Json(described(&api, &app)?))
}

async fn destroy(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<App>> {
    let mut db = api.store.write().await?;
    if let Some(open) = pushes::open_now(&mut db, &app.id, clock::now()).await? {
        let message =
            format!("`{}` is pushing to `{}` at this moment: try again after that.", open.user, app.name);
        return Err(ApiFault::conflict("push_open", message));
    }
    let app = still_there(&mut db, &app).await?;
    internal::discard(&mut db, &app).await?;
    db.commit().await?;
    api.forget_log(&app.id).await;
    api.storage_due.notify_waiters();
    Ok(Json(described(&api, &app)?))
}

/// The app once more, as it is in this transaction.
pub(super) async fn still_there(db: &mut AnyConnection, app: &AppRow) -> Answer<AppRow> {
    apps::find_by_id(db, &app.id).await?.ok_or_else(ApiFault::no_such_app)
}

/// As clients see it.
pub(super) fn described(api: &Api, app: &AppRow) -> Answer<App> {
    let public = super::server::public(api)?;
    let named = |kind, name: &str| Named { id: ids::of_name(kind, name), name: name.to_owned() };
    Ok(App {
        id: ids::public(&app.id),
        name: app.name.to_string(),
        web_url: api.settings.web_url(&app.name),
        git_url: public.git_url(app.name.as_str()),
        owner: UserRef { id: ids::public(&app.owner_id), email: app.owner_address().to_owned() },
        region: named("region", &public.region),
        stack: named("stack", app.stack.as_str()),
        build_stack: named("stack", app.build_stack.as_str()),
        generation: named("generation", "cedar"),
        maintenance: app.maintenance,
        acm: app.acm,
        repo_size: app.repo_bytes,
        slug_size: app.slug_bytes,
        team: None,
        organization: None,
        space: None,
        internal_routing: None,
        buildpack_provided_description: app.buildpack.clone(),
        archived_at: None,
        create_status: "complete".to_owned(),
        created_at: clock::rfc3339(app.created_at),
        released_at: app.released_at.map(clock::rfc3339),
        updated_at: clock::rfc3339(app.updated_at),
    })
}

/// As it is named inside other resources.
pub(super) fn named(app: &AppRow) -> Named {
    Named { id: ids::public(&app.id), name: app.name.to_string() }
}
