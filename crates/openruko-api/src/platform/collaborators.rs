//! Who has access to an app, and to do what.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::platform::{
    Collaborator, CollaboratorChanges, NewCollaborator, Permission, PermissionRef, UserRef,
};
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::page::{Page, Paged};
use super::route::{MANAGE, Route, VIEW, delete, get, patch, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::judge;
use crate::rights::{self, Need, Permissions};
use crate::store::apps::AppRow;
use crate::store::collaborators::{self, CollaboratorRow};
use crate::store::users::{self, UserRow};

pub(super) fn routes() -> Vec<Route> {
    let mut routes = at("/apps/{app}/collaborators", "/apps/{app}/collaborators/{collaborator}");
    // Where the CLI believes that an app is a team's, it calls these.
    routes.extend(at("/teams/apps/{app}/collaborators", "/teams/apps/{app}/collaborators/{collaborator}"));
    routes
}

fn at(all: &'static str, one: &'static str) -> Vec<Route> {
    vec![
        get(all, VIEW, list).says("Who has access to an app").pages::<Collaborator>(),
        post(all, MANAGE, add)
            .says("Give somebody access")
            .takes::<NewCollaborator>()
            .creates::<Collaborator>(),
        get(one, VIEW, show).says("What somebody may do with an app").gives::<Collaborator>(),
        patch(one, MANAGE, change)
            .says("Change what somebody may do")
            .takes::<CollaboratorChanges>()
            .gives::<Collaborator>(),
        // Whoever may see the app may leave it.
        delete(one, VIEW, remove).says("Take access from somebody").gives::<Collaborator>(),
    ]
}

/// What it takes to give and take access.
const MANAGING: Need = Need::Permission(Permission::Manage);

/// Somebody with access.
enum Member {
    /// The owner has everything, and no row.
    Owner,
    Given(CollaboratorRow),
}

async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<Collaborator>> {
    let mut db = api.store.read().await?;
    let given = collaborators::list(&mut db, &app.id).await?.into_iter().map(Member::Given);
    let all = std::iter::once(Member::Owner).chain(given).map(|member| described(&app, &member));
    Ok(page.of(all.collect(), |one| one.id.clone()))
}

async fn add(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    Body(new): Body<NewCollaborator>,
) -> Answer<Response> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let own = may_give(&mut db, &caller, &app).await?;
    let user = account_called(&mut db, &new.user).await?;
    let given = match &new.permissions {
        Some(named) => Permissions::of(named),
        None => Permissions::USUAL.within(own),
    };
    has_all(own, given.beyond(Permissions::of(&[])), &app)?;
    if user.id == app.owner_id || collaborators::permissions(&mut db, &app.id, &user.id).await?.is_some() {
        let (user, app) = (user.address(), &app.name);
        return Err(ApiFault::invalid(format!("`{user}` has access to `{app}` already.")));
    }
    collaborators::insert(&mut db, &app.id, &user.id, given).await?;
    let member = member_called(&mut db, &app, &user.id).await?;
    db.commit().await?;
    Ok(created(described(&app, &member)))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Collaborator>> {
    let mut db = api.store.read().await?;
    let member = member_called(&mut db, &app, &called).await?;
    Ok(Json(described(&app, &member)))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    At((_, called)): At<(String, String)>,
    Body(changes): Body<CollaboratorChanges>,
) -> Answer<Json<Collaborator>> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let own = may_give(&mut db, &caller, &app).await?;
    let Member::Given(row) = member_called(&mut db, &app, &called).await? else {
        let (owner, app) = (app.owner_address(), &app.name);
        return Err(ApiFault::invalid(format!("`{owner}` owns `{app}`: an owner may do everything.")));
    };
    let wanted = Permissions::of(&changes.permissions);
    has_all(own, wanted.beyond(row.permissions), &app)?;
    collaborators::set_permissions(&mut db, &row.id, wanted).await?;
    let member = member_called(&mut db, &app, &row.id).await?;
    db.commit().await?;
    Ok(Json(described(&app, &member)))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Collaborator>> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let member = member_called(&mut db, &app, &called).await?;
    let Member::Given(row) = &member else {
        let (owner, app) = (app.owner_address(), &app.name);
        let message = format!("`{owner}` owns `{app}`: transfer it to somebody else first.");
        return Err(ApiFault::invalid(message));
    };
    if row.user_id != caller.user.id {
        rights::require(&mut db, &caller.user, &app, MANAGING).await?;
    }
    collaborators::delete(&mut db, &app.id, &row.user_id).await?;
    db.commit().await?;
    Ok(Json(described(&app, &member)))
}

/// What the caller may give to others in this transaction.
async fn may_give(db: &mut AnyConnection, caller: &Caller, app: &AppRow) -> Answer<Permissions> {
    let role = rights::role(db, &caller.user, app).await?;
    role.may_give().ok_or_else(|| ApiFault::lacks(MANAGING, &app.name, &app.owner))
}

/// Nobody gives more than they have.
fn has_all(own: Permissions, mut given: impl Iterator<Item = Permission>, app: &AppRow) -> Answer<()> {
    match given.find(|permission| !own.has(*permission)) {
        None => Ok(()),
        Some(lacking) => {
            let message =
                format!("You cannot give the permission `{lacking}` on `{}`: you do not have it.", app.name);
            Err(ApiFault::not_allowed(message))
        }
    }
}

/// Whoever has this e-mail address, name or id.
pub(super) async fn account_called(db: &mut AnyConnection, called: &str) -> Answer<UserRow> {
    let found = found_account(db, called).await?;
    found.ok_or_else(|| {
        let called = judge::shown(called);
        ApiFault::invalid(format!("There is no account `{called}` on this server: its admin makes accounts."))
    })
}

async fn found_account(db: &mut AnyConnection, called: &str) -> Answer<Option<UserRow>> {
    if let Some(user) = users::called(db, called).await? {
        return Ok(Some(user));
    }
    match ids::internal(called) {
        Some(id) => Ok(users::by_id(db, &id).await?),
        None => Ok(None),
    }
}

/// By the user's e-mail address, name or id, or by the id of the access itself.
async fn member_called(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<Member> {
    let user_id = found_account(db, called).await?.map(|user| user.id);
    if user_id.as_ref() == Some(&app.owner_id) || called == owners_id(app) {
        return Ok(Member::Owner);
    }
    let id = ids::internal(called);
    let all = collaborators::list(db, &app.id).await?;
    let found =
        all.into_iter().find(|row| user_id.as_ref() == Some(&row.user_id) || id.as_ref() == Some(&row.id));
    found
        .map(Member::Given)
        .ok_or_else(|| ApiFault::missing("collaborator", "Couldn't find that collaborator."))
}

/// Of the owner's access, which is not stored.
fn owners_id(app: &AppRow) -> String {
    ids::of_name("owner", &format!("{}/{}", app.id, app.owner_id))
}

fn described(app: &AppRow, member: &Member) -> Collaborator {
    let user = |id: &str, address: &str| UserRef { id: ids::public(id), email: address.to_owned() };
    let (id, user, role, permissions, created_at, updated_at) = match member {
        Member::Owner => {
            let owner = user(&app.owner_id, app.owner_address());
            (owners_id(app), owner, "owner", Permissions::EVERYTHING, app.created_at, app.created_at)
        }
        Member::Given(row) => {
            let given = user(&row.user_id, row.address());
            let id = ids::public(&row.id);
            (id, given, "collaborator", row.permissions, row.created_at, row.updated_at)
        }
    };
    Collaborator {
        id,
        app: apps::named(app),
        user,
        role: role.to_owned(),
        permissions: Some(told(permissions)),
        created_at: clock::rfc3339(created_at),
        updated_at: clock::rfc3339(updated_at),
    }
}

/// With what each means.
pub(super) fn told(permissions: Permissions) -> Vec<PermissionRef> {
    let told = |name| PermissionRef { name, description: means(name).to_owned() };
    permissions.list().map(told).collect()
}

fn means(permission: Permission) -> &'static str {
    match permission {
        Permission::View => "See the app, its dynos, releases and logs",
        Permission::Deploy => "Push code, fetch it, roll back",
        Permission::Operate => "Scale and restart it, set its config vars and domains",
        Permission::Manage => "Rename it, give others access",
    }
}
