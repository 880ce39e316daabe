//! Dynos: what an app is to run, and what the hosts that run it report of that. No host reports anything
//! yet, so every dyno that is wanted is down, and none can be started for one command.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::platform::{Accepted, Dyno, DynoState, NewDyno, ReleaseRef};
use sqlx::AnyConnection;

use super::caller::TheApp;
use super::formation::{self, Wanted};
use super::page::{Page, Paged};
use super::route::{OPERATE, Route, VIEW, delete, get, post};
use super::{apps, ids};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::Sql;
use crate::store::apps::AppRow;
use crate::store::releases::{self, ReleaseRow};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/dynos", VIEW, list).says("Dynos").pages::<Dyno>(),
        post("/apps/{app}/dynos", OPERATE, run)
            .says("Run a command in a dyno of its own")
            .takes::<NewDyno>()
            .creates::<Dyno>(),
        delete("/apps/{app}/dynos", OPERATE, restart_all)
            .with(StatusCode::ACCEPTED)
            .says("Restart all dynos")
            .gives::<Accepted>(),
        get("/apps/{app}/dynos/{dyno}", VIEW, show).says("A dyno").gives::<Dyno>(),
        delete("/apps/{app}/dynos/{dyno}", OPERATE, restart)
            .with(StatusCode::ACCEPTED)
            .says("Restart a dyno")
            .gives::<Accepted>(),
        post("/apps/{app}/dynos/{dyno}/actions/stop", OPERATE, stop)
            .with(StatusCode::ACCEPTED)
            .says("Stop a dyno")
            .gives::<Accepted>(),
    ]
}

/// What hosts report of dynos, by name: what each does, and since when.
type Reported = BTreeMap<String, (DynoState, Millis)>;

async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<Dyno>> {
    let mut db = api.store.read().await?;
    let dynos = of_app(&mut db, &app).await?;
    Ok(page.of(dynos, |dyno| dyno.id.clone()))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Dyno>> {
    let mut db = api.store.read().await?;
    Ok(Json(dyno_called(&mut db, &app, &called).await?))
}

async fn run(Body(_): Body<NewDyno>) -> ApiFault {
    let message = "Commands cannot be run on this server: it has no host that runs dynos.";
    ApiFault::particular(StatusCode::UNPROCESSABLE_ENTITY, "no_dyno_host", message)
}

async fn restart_all(State(api): State<Api>, app: TheApp) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    for wanted in formation::of_app(&mut db, &app).await? {
        formation::put(&mut db, &app, &wanted).await?;
    }
    db.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// A restart is recorded for a process type as a whole.
async fn restart(
    State(api): State<Api>,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let dyno = dyno_called(&mut db, &app, &called).await?;
    let all = formation::of_app(&mut db, &app).await?;
    for wanted in all.iter().filter(|wanted| wanted.process_type.as_str() == dyno.kind) {
        formation::put(&mut db, &app, wanted).await?;
    }
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
    dyno_called(&mut db, &app, &called).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// By name or by id.
async fn dyno_called(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<Dyno> {
    let found = of_app(db, app).await?.into_iter().find(|dyno| dyno.name == called || dyno.id == called);
    found.ok_or_else(|| ApiFault::missing("dyno", "Couldn't find that dyno."))
}

/// By process type and number; none before the first deploy.
async fn of_app(db: &mut AnyConnection, app: &AppRow) -> Sql<Vec<Dyno>> {
    let wanted = formation::of_app(db, app).await?;
    let release = releases::find(db, &app.id, app.release).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(told(app, &release, &wanted, &Reported::new()))
}

/// Every dyno that is wanted, with what is reported of it. One of which nothing is reported is down.
fn told(app: &AppRow, release: &ReleaseRow, wanted: &[Wanted], reported: &Reported) -> Vec<Dyno> {
    let numbered = wanted.iter().flat_map(|wanted| (1..=wanted.quantity).map(move |number| (wanted, number)));
    let dyno = |(wanted, number): (&Wanted, u32)| {
        let name = format!("{}.{number}", wanted.process_type);
        let since = wanted.updated_at.max(release.created_at);
        let (state, updated_at) = reported.get(&name).copied().unwrap_or((DynoState::Down, since));
        Dyno {
            id: ids::of_name("dyno", &format!("{}/{name}", app.id)),
            name,
            kind: wanted.process_type.to_string(),
            command: wanted.command.clone(),
            size: wanted.size.to_string(),
            state,
            attach_url: None,
            release: ReleaseRef { id: ids::public(&release.id), version: release.version },
            app: apps::named(app),
            created_at: clock::rfc3339(since),
            updated_at: clock::rfc3339(updated_at),
        }
    };
    numbered.map(dyno).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dyno_size::DynoSize;

    fn app() -> AppRow {
        AppRow {
            id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            name: "shop".parse().unwrap(),
            owner_id: "01ARZ3NDEKTSV4RRFFQ69G5FAW".to_owned(),
            owner: "matt".parse().unwrap(),
            owner_email: None,
            stack: "openruko-12".parse().unwrap(),
            build_stack: None,
            maintenance: false,
            acm: false,
            cache: 0,
            repo_version: 1,
            repo_bytes: None,
            release: 2,
            slug_bytes: None,
            buildpack: None,
            released_at: None,
            created_at: 0,
            updated_at: 0,
        }
    }

    fn release() -> ReleaseRow {
        ReleaseRow {
            id: "01ARZ3NDEKTSV4RRFFQ69G5FAX".to_owned(),
            version: 2,
            description: "Deploy".to_owned(),
            user: "matt".parse().unwrap(),
            user_id: None,
            user_email: None,
            status: "succeeded".to_owned(),
            slug: None,
            created_at: 3000,
            updated_at: 3000,
        }
    }

    fn wanted(name: &str, quantity: u32, updated_at: Millis) -> Wanted {
        let (process_type, command) = (name.parse().unwrap(), format!("run {name}"));
        Wanted { process_type, command, quantity, size: DynoSize::Eco, created_at: 0, updated_at }
    }

    #[test]
    fn what_is_reported_is_told_of_the_dynos_that_are_wanted() {
        let all = [wanted("web", 2, 1000), wanted("worker", 1, 5000), wanted("console", 0, 0)];
        let reported =
            [("web.2".to_owned(), (DynoState::Up, 9000)), ("web.3".to_owned(), (DynoState::Up, 9000))];
        let told = told(&app(), &release(), &all, &reported.into());
        let told: Vec<_> =
            told.iter().map(|dyno| (dyno.name.as_str(), dyno.state, dyno.updated_at.as_str())).collect();
        assert_eq!(
            told,
            [
                ("web.1", DynoState::Down, "1970-01-01T00:00:03Z"),
                ("web.2", DynoState::Up, "1970-01-01T00:00:09Z"),
                ("worker.1", DynoState::Down, "1970-01-01T00:00:05Z"),
            ]
        );
    }
}
