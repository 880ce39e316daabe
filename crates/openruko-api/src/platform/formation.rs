//! The formation: how many dynos of each process type an app is to run, and of what size. Its process types
//! are those of the current release; what was said about others is kept for when they come back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::platform::{Accepted, Formation, FormationChange, FormationUpdate, FormationUpdates};
use ruko_core::ProcessType;
use sqlx::AnyConnection;

use super::caller::TheApp;
use super::route::{OPERATE, Route, VIEW, delete, get, patch, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::dyno_size::DynoSize;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::judge;
use crate::store::Sql;
use crate::store::apps::AppRow;
use crate::store::formation::{self, FormationRow, Said};
use crate::store::releases::{self, ProcessTypes};

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

/// The most dynos of one process type.
const MAX_DYNOS: u32 = 100;

/// What is to run of a process type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) process_type: ProcessType,
    pub(super) command: String,
    pub(super) quantity: u32,
    pub(super) size: DynoSize,
    pub(super) created_at: Millis,
    /// When it was last changed, or told to restart.
    pub(super) updated_at: Millis,
}

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<Formation>>> {
    let mut db = api.store.read().await?;
    let all = of_app(&mut db, &app).await?;
    Ok(Json(all.iter().map(|wanted| described(&app, wanted)).collect()))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Formation>> {
    let mut db = api.store.read().await?;
    let all = of_app(&mut db, &app).await?;
    Ok(Json(described(&app, &all[place(&app, &all, &called)?])))
}

async fn change(
    State(api): State<Api>,
    app: TheApp,
    Body(wanted): Body<FormationUpdates>,
) -> Answer<Json<Vec<Formation>>> {
    let (app, all) = carry_out(&api, app, &wanted.updates).await?;
    Ok(Json(all.iter().map(|wanted| described(&app, wanted)).collect()))
}

async fn change_one(
    State(api): State<Api>,
    app: TheApp,
    At((_, called)): At<(String, String)>,
    Body(wanted): Body<FormationChange>,
) -> Answer<Json<Formation>> {
    let update = FormationUpdate { kind: called, quantity: wanted.quantity, size: wanted.size };
    let (app, all) = carry_out(&api, app, std::slice::from_ref(&update)).await?;
    Ok(Json(described(&app, &all[place(&app, &all, &update.kind)?])))
}

/// The app, and its whole formation after the updates.
async fn carry_out(api: &Api, app: TheApp, updates: &[FormationUpdate]) -> Answer<(AppRow, Vec<Wanted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let before = of_app(&mut db, &app).await?;
    let after = updated(&app, before.clone(), updates)?;
    for (_, after) in before.iter().zip(&after).filter(|(before, after)| before != after) {
        put(&mut db, &app, after).await?;
    }
    let all = of_app(&mut db, &app).await?;
    db.commit().await?;
    Ok((app, all))
}

async fn restart(
    State(api): State<Api>,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let all = of_app(&mut db, &app).await?;
    put(&mut db, &app, &all[place(&app, &all, &called)?]).await?;
    db.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// No dyno runs: whatever is to be stopped is not up.
async fn stop(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.read().await?;
    let all = of_app(&mut db, &app).await?;
    place(&app, &all, &called)?;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// What the app is to run, by process type. Nothing before its first deploy.
pub(super) async fn of_app(db: &mut AnyConnection, app: &AppRow) -> Sql<Vec<Wanted>> {
    let types = releases::process_types(db, &app.id, app.release).await?;
    let said = formation::of_app(db, &app.id).await?;
    Ok(merged(types, &said, app.released_at.unwrap_or(app.created_at)))
}

/// Of what nothing was said there is one dyno if it answers the web, else none: as Heroku does it.
fn merged(types: ProcessTypes, said: &[FormationRow], since: Millis) -> Vec<Wanted> {
    let wanted = |(process_type, command): (ProcessType, String)| {
        let said = said.iter().find(|row| row.process_type == process_type);
        Wanted {
            quantity: said.map_or(u32::from(process_type.as_str() == "web"), |row| row.quantity),
            size: said.map_or(DynoSize::USUAL, |row| row.size),
            created_at: said.map_or(since, |row| row.created_at),
            updated_at: said.map_or(since, |row| row.updated_at),
            process_type,
            command,
        }
    };
    types.into_iter().map(wanted).collect()
}

/// All updates, one after the other, or none of them.
fn updated(app: &AppRow, mut all: Vec<Wanted>, updates: &[FormationUpdate]) -> Answer<Vec<Wanted>> {
    for update in updates {
        let at = place(app, &all, &update.kind)?;
        let wanted = &mut all[at];
        if let Some(quantity) = update.quantity {
            wanted.quantity = quantity.after(wanted.quantity);
        }
        if let Some(size) = &update.size {
            wanted.size = sized(size)?;
        }
        if wanted.quantity > MAX_DYNOS {
            let (name, asked) = (&wanted.process_type, wanted.quantity);
            let message =
                format!("Couldn't scale {name} to {asked}: a process type has at most {MAX_DYNOS} dynos.");
            return Err(ApiFault::invalid(message));
        }
    }
    Ok(all)
}

fn sized(raw: &str) -> Answer<DynoSize> {
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
    formation::put(db, &app.id, said).await
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

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: &[&str]) -> ProcessTypes {
        names.iter().map(|name| (name.parse().unwrap(), format!("run {name}"))).collect()
    }

    fn said(name: &str, quantity: u32, size: DynoSize) -> FormationRow {
        FormationRow { process_type: name.parse().unwrap(), quantity, size, created_at: 5, updated_at: 6 }
    }

    #[test]
    fn one_web_dyno_runs_until_somebody_says_otherwise() {
        let all = merged(types(&["web", "worker"]), &[], 1);
        let told: Vec<_> = all.iter().map(|w| (w.process_type.as_str(), w.quantity, w.size)).collect();
        assert_eq!(told, [("web", 1, DynoSize::Basic), ("worker", 0, DynoSize::Basic)]);

        let rows = [said("web", 0, DynoSize::Standard2X), said("gone", 3, DynoSize::Eco)];
        let all = merged(types(&["web"]), &rows, 1);
        assert_eq!(all.len(), 1, "a process type that the release does not have is not there");
        assert_eq!((all[0].quantity, all[0].size, all[0].created_at), (0, DynoSize::Standard2X, 5));
    }
}
