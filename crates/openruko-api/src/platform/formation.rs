//! The formation: how many dynos of each process type an app is to run, and of what size. Its process types
//! are those of the current release; what was said about others is kept for when they come back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::platform::{Accepted, Formation, FormationChange, FormationUpdate, FormationUpdates};
use ruko_core::ProcessType;
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::route::{OPERATE, Route, VIEW, delete, get, patch, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock;
use crate::dyno_size::DynoSize;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::formation::{self, Wanted};
use crate::judge;
use crate::store::Sql;
use crate::store::apps::AppRow;
use crate::store::formation::{self as store, Said};
use crate::store::marks::{self, Target};
use crate::store::releases::PHASE;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/formation", VIEW, list).says("What is to run").gives::<Vec<Formation>>(),
        patch("/apps/{app}/formation", OPERATE, change)
            .says("Scale and resize; all or nothing")
            .takes::<FormationUpdates>()
            .gives::<Vec<Formation>>(),
        get("/apps/{app}/formation/{type}", VIEW, show).says("A process type").gives::<Formation>(),
        patch("/apps/{app}/formation/{type}", OPERATE, change_one)
            .says("Scale and resize a process type")
            .takes::<FormationChange>()
            .gives::<Formation>(),
        delete("/apps/{app}/formations/{type}", OPERATE, restart)
            .with(StatusCode::ACCEPTED)
            .says("Restart the dynos of a process type")
            .gives::<Accepted>(),
        post("/apps/{app}/formations/{type}/actions/stop", OPERATE, stop)
            .with(StatusCode::ACCEPTED)
            .says("Stop the dynos of a process type")
            .gives::<Accepted>(),
    ]
}

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<Formation>>> {
    let mut db = api.store.read().await?;
    let all = of_app(&mut db, &api, &app).await?;
    Ok(Json(all.iter().map(|wanted| described(&app, wanted)).collect()))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Formation>> {
    let mut db = api.store.read().await?;
    let all = of_app(&mut db, &api, &app).await?;
    Ok(Json(described(&app, &all[place(&app, &all, &called)?])))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    Body(wanted): Body<FormationUpdates>,
) -> Answer<Json<Vec<Formation>>> {
    let (app, all) = carry_out(&api, &caller, app, &wanted.updates).await?;
    Ok(Json(all.iter().map(|wanted| described(&app, wanted)).collect()))
}

async fn change_one(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    At((_, called)): At<(String, String)>,
    Body(wanted): Body<FormationChange>,
) -> Answer<Json<Formation>> {
    let update = FormationUpdate { kind: called, quantity: wanted.quantity, size: wanted.size };
    let (app, all) = carry_out(&api, &caller, app, std::slice::from_ref(&update)).await?;
    Ok(Json(described(&app, &all[place(&app, &all, &update.kind)?])))
}

/// The app, and its whole formation after the updates.
async fn carry_out(
    api: &Api,
    caller: &Caller,
    app: TheApp,
    updates: &[FormationUpdate],
) -> Answer<(AppRow, Vec<Wanted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let before = of_app(&mut db, api, &app).await?;
    let after = updated(&app, before.clone(), updates, api.settings.dynos_per_app)?;
    for (_, after) in before.iter().zip(&after).filter(|(before, after)| before != after) {
        put(&mut db, &app, after).await?;
    }
    // Whoever says how many there are to be wants those that were stopped as well, be it as many as before.
    for update in updates.iter().filter(|update| update.quantity.is_some()) {
        let wanted = &after[place(&app, &after, &update.kind)?];
        marks::start(&mut db, &app.id, &wanted.process_type).await?;
    }
    let all = of_app(&mut db, api, &app).await?;
    db.commit().await?;
    let text = format!("Scaled to {} by user {}", scaled(&all, updates), caller.user.name);
    api.say(&app.id, &text).await;
    Ok((app, all))
}

/// As Heroku's log has it: `web@2:Basic`, of those that were named.
fn scaled(all: &[Wanted], updates: &[FormationUpdate]) -> String {
    let named =
        all.iter().filter(|wanted| updates.iter().any(|one| one.kind == wanted.process_type.as_str()));
    let one = |wanted: &Wanted| format!("{}@{}:{}", wanted.process_type, wanted.quantity, wanted.size);
    named.map(one).collect::<Vec<_>>().join(" ")
}

async fn restart(
    State(api): State<Api>,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let all = of_app(&mut db, &api, &app).await?;
    let wanted = &all[place(&app, &all, &called)?];
    marks::restart(&mut db, &app.id, Target::Type(&wanted.process_type)).await?;
    db.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// Until they are restarted or scaled, or a new release is made.
async fn stop(
    State(api): State<Api>,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let all = of_app(&mut db, &api, &app).await?;
    let wanted = &all[place(&app, &all, &called)?];
    marks::stop(&mut db, &app.id, Target::Type(&wanted.process_type), app.release).await?;
    db.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// What the app is to run, by process type: what its candidate does, where it has one. Nothing before its first
/// deploy.
pub(super) async fn of_app(db: &mut AnyConnection, api: &Api, app: &AppRow) -> Sql<Vec<Wanted>> {
    formation::to_run(db, &api.settings, app, app.base()).await
}

/// All updates, one after the other, or none of them.
fn updated(
    app: &AppRow,
    mut all: Vec<Wanted>,
    updates: &[FormationUpdate],
    most: u32,
) -> Answer<Vec<Wanted>> {
    for update in updates {
        let at = place(app, &all, &update.kind)?;
        let wanted = &mut all[at];
        if let Some(quantity) = update.quantity {
            wanted.quantity = quantity.after(wanted.quantity);
        }
        if let Some(size) = &update.size {
            wanted.size = sized(size)?;
        }
        if wanted.process_type.as_str() == PHASE && wanted.quantity > 0 {
            let message = "Couldn't scale release: it runs once for each release, before that serves.";
            return Err(ApiFault::invalid(message));
        }
    }
    let total: u64 = all.iter().map(|wanted| u64::from(wanted.quantity)).sum();
    if total > most.into() {
        let name = &app.name;
        let message = format!("Couldn't scale {name} to {total} dynos: an app has at most {most} in all.");
        return Err(ApiFault::invalid(message));
    }
    Ok(all)
}

pub(super) fn sized(raw: &str) -> Answer<DynoSize> {
    raw.parse().map_err(|_| {
        let names = DynoSize::ALL.map(DynoSize::as_str).join(", ");
        ApiFault::invalid(format!("There is no dyno size `{}`: the sizes are {names}.", judge::shown(raw)))
    })
}

/// Where the process type of that name, or the entry of that id, stands.
fn place(app: &AppRow, all: &[Wanted], called: &str) -> Answer<usize> {
    let is_called = |wanted: &Wanted| {
        wanted.process_type.as_str() == called || public_id(app, &wanted.process_type) == called
    };
    all.iter().position(is_called).ok_or_else(|| {
        let message = format!("Couldn't find that process type ({}).", judge::shown(called));
        ApiFault::missing("formation", message)
    })
}

/// Writes down what is to run. As of now its dynos are older than that: they are to be replaced.
pub(super) async fn put(db: &mut AnyConnection, app: &AppRow, wanted: &Wanted) -> Sql<()> {
    let said = Said {
        id: &ids::internal_of_name(KIND, &name(app, &wanted.process_type)),
        process_type: &wanted.process_type,
        quantity: wanted.quantity,
        size: wanted.size,
    };
    store::put(db, &app.id, said).await
}

/// For ids: the same whether anything was said about the process type or not.
const KIND: &str = "formation";

fn name(app: &AppRow, process_type: &ProcessType) -> String {
    format!("{}/{process_type}", app.id)
}

fn public_id(app: &AppRow, process_type: &ProcessType) -> String {
    ids::of_name(KIND, &name(app, process_type))
}

fn described(app: &AppRow, wanted: &Wanted) -> Formation {
    Formation {
        id: public_id(app, &wanted.process_type),
        kind: wanted.process_type.to_string(),
        quantity: wanted.quantity,
        size: wanted.size.to_string(),
        command: wanted.command.clone(),
        app: apps::named(app),
        created_at: clock::rfc3339(wanted.created_at),
        updated_at: clock::rfc3339(wanted.updated_at),
    }
}
