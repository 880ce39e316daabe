//! Dynos: what an app is to run, and what the host reports of that. Without a host every dyno that is wanted is
//! down, and none can be started for one command.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ruko_api_types::platform::{Accepted, Dyno, DynoState, NewDyno, ReleaseRef};
use ruko_core::UserName;
use ruko_core::dyno::DynoName;
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::one_offs::{self, Attachment};
use super::page::{Page, Paged};
use super::route::{OPERATE, Route, VIEW, delete, get, post};
use super::{apps, ids};
use crate::api::Api;
use crate::auth::Component;
use crate::clock::{self, Millis};
use crate::controllers::created;
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::formation::{self, WEB, Wanted};
use crate::running;
use crate::store::Sql;
use crate::store::apps::{self as store_apps, AppRow};
use crate::store::dynos::{self, DynoRow};
use crate::store::marks::{self, Marks, Target};
use crate::store::one_offs::{self as commands, OneOffRow};
use crate::store::releases::{self, PHASE, ReleaseRow};
use crate::webhooks::{self, Event};

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

async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<Dyno>> {
    let mut db = api.store.snapshot().await?;
    let dynos = of_app(&mut db, &api, &app).await?.into_iter().map(|found| found.dyno).collect();
    Ok(page.of(dynos, |dyno: &Dyno| dyno.id.clone()))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Dyno>> {
    let mut db = api.store.snapshot().await?;
    Ok(Json(dyno_called(&mut db, &api, &app, &called).await?.dyno))
}

async fn run(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    Body(new): Body<NewDyno>,
) -> Answer<Response> {
    if !api.settings.runs_dynos {
        let message = "Commands cannot be run on this server: it has no host that runs dynos.";
        return Err(ApiFault::particular(StatusCode::UNPROCESSABLE_ENTITY, "no_dyno_host", message));
    }
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app.0).await?;
    let Attachment { id, url } = one_offs::start(&mut db, &app, &caller.user.name, &new).await?;
    let made = dyno_called(&mut db, &api, &app, &id).await?.dyno;
    tell_made(&mut db, &app, &caller.user.name, &made).await?;
    db.commit().await?;
    let text = format!("Starting process with command `{}` by user {}", made.command, caller.user.name);
    api.say(&app.id, &text).await;
    Ok(created(Dyno { attach_url: url, ..made }))
}

/// Tells webhooks of a dyno for one command, not of the secret that opens its terminal.
async fn tell_made(db: &mut AnyConnection, app: &AppRow, user: &UserName, dyno: &Dyno) -> Sql<()> {
    let wanting = webhooks::wanting(db, &app.id, "api:dyno").await?;
    let data = serde_json::to_value(dyno).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    webhooks::tell(db, &wanting, &Event { kind: "api:dyno", action: "create", data, user }).await
}

/// Tells webhooks what the host reported of an app's dynos, of which these were known and these are now.
pub(crate) async fn tell_reported(
    db: &mut AnyConnection,
    app_id: &str,
    before: &[DynoRow],
    after: &[DynoRow],
) -> Sql<()> {
    let wanting = webhooks::wanting(db, app_id, "dyno").await?;
    if wanting.is_empty() {
        return Ok(());
    }
    let host: UserName = Component::Host.as_str().parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    let app = store_apps::by_id(db, app_id).await?;
    for (action, row) in changes(before, after) {
        let mut known = Known::default();
        known.releases.extend(releases::find(db, app_id, row.release).await?.map(|r| (row.release, r)));
        let dyno = reported(&app, row, &known);
        let data = serde_json::to_value(dyno).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
        webhooks::tell(db, &wanting, &Event { kind: "dyno", action, data, user: &host }).await?;
    }
    Ok(())
}

/// What became of each dyno, in webhooks' words.
fn changes<'a>(before: &'a [DynoRow], after: &'a [DynoRow]) -> Vec<(&'static str, &'a DynoRow)> {
    let same = |rows: &'a [DynoRow], id: &str| rows.iter().find(|row| row.id == id);
    let gone = before.iter().filter(|row| same(after, &row.id).is_none()).map(|row| ("destroy", row));
    let there = after.iter().filter_map(|row| match same(before, &row.id) {
        None => Some(("create", row)),
        Some(was) if was.state != row.state => Some(("update", row)),
        Some(_) => None,
    });
    gone.chain(there).collect()
}

async fn restart_all(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app.0).await?;
    marks::restart(&mut db, &app.id, Target::All).await?;
    db.commit().await?;
    api.say(&app.id, &format!("Restarting all dynos by user {}", caller.user.name)).await;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// A dyno for one command ends: it is not run twice.
async fn restart(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app.0).await?;
    match dyno_called(&mut db, &api, &app, &called).await?.what {
        What::Wanted(name) => {
            let target = Target::Dyno(&name.process_type, name.number);
            marks::restart(&mut db, &app.id, target).await?;
        }
        What::OneOff(id) => commands::stop(&mut db, &app.id, &id).await?,
        What::Phase => return Err(phase()),
    }
    db.commit().await?;
    api.say(&app.id, &format!("Restarting {called} by user {}", caller.user.name)).await;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

/// Until it is restarted, its process type scaled, or a new release made.
async fn stop(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<(StatusCode, Json<Accepted>)> {
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app.0).await?;
    match dyno_called(&mut db, &api, &app, &called).await?.what {
        What::Wanted(name) => {
            let target = Target::Dyno(&name.process_type, name.number);
            marks::stop(&mut db, &app.id, target, app.release).await?;
        }
        What::OneOff(id) => commands::stop(&mut db, &app.id, &id).await?,
        What::Phase => return Err(phase()),
    }
    db.commit().await?;
    api.say(&app.id, &format!("Stopping {called} by user {}", caller.user.name)).await;
    Ok((StatusCode::ACCEPTED, Json(Accepted {})))
}

fn phase() -> ApiFault {
    ApiFault::conflict("release_phase", "A release phase runs to its end: a newer release takes its place.")
}

/// What somebody named.
enum What {
    /// A dyno of the formation.
    Wanted(DynoName),
    /// The id of one for a single command.
    OneOff(String),
    /// One that runs a release phase.
    Phase,
}

struct Found {
    what: What,
    dyno: Dyno,
}

/// By name or by id.
async fn dyno_called(db: &mut AnyConnection, api: &Api, app: &AppRow, called: &str) -> Answer<Found> {
    let is_called = |found: &Found| {
        let is_one_off = matches!(&found.what, What::OneOff(id) if id == called);
        found.dyno.name == called || found.dyno.id == called || is_one_off
    };
    let found = of_app(db, api, app).await?.into_iter().find(is_called);
    found.ok_or_else(|| ApiFault::missing("dyno", "Couldn't find that dyno."))
}

/// Those of the formation by process type and number, none before the first deploy; then a release phase, then those
/// for one command.
async fn of_app(db: &mut AnyConnection, api: &Api, app: &AppRow) -> Sql<Vec<Found>> {
    let version = app.running();
    let wanted = formation::of_release(db, app, version).await?;
    let known = Known {
        reported: dynos::of_app(db, &app.id).await?,
        marks: marks::of_app(db, &app.id).await?,
        one_offs: commands::of_app(db, &app.id).await?,
        releases: BTreeMap::new(),
        runs: api.settings.runs_dynos && (version == app.serving || Some(version) == app.candidate),
    };
    let known = with_releases(db, app, version, known).await?;
    told(app, version, &wanted, &known)
}

async fn with_releases(db: &mut AnyConnection, app: &AppRow, version: u64, mut known: Known) -> Sql<Known> {
    let reported = known.reported.iter().map(|dyno| dyno.release);
    let one_offs = known.one_offs.iter().map(|one_off| one_off.release);
    let versions: Vec<u64> = reported.chain(one_offs).chain([version]).collect();
    for version in versions {
        if !known.releases.contains_key(&version)
            && let Some(release) = releases::find(db, &app.id, version).await?
        {
            known.releases.insert(version, release);
        }
    }
    Ok(known)
}

/// What is known of an app's dynos.
#[derive(Default)]
struct Known {
    /// Oldest first.
    reported: Vec<DynoRow>,
    marks: Marks,
    one_offs: Vec<OneOffRow>,
    releases: BTreeMap<u64, ReleaseRow>,
    /// A host runs what is wanted, or will in a moment.
    runs: bool,
}

impl Known {
    /// What was reported under a name: the newest of the release that is meant, else the newest of all. So a
    /// candidate's dynos do not show as long as the others are there.
    fn under(&self, name: &DynoName, version: u64) -> Option<&DynoRow> {
        let same = self.reported.iter().filter(|dyno| dyno.name == *name);
        same.max_by_key(|dyno| (dyno.release == version, &dyno.id))
    }

    /// Since when a release is there.
    fn since(&self, version: u64) -> Millis {
        self.releases.get(&version).map_or(0, |release| release.created_at)
    }
}

fn told(app: &AppRow, version: u64, wanted: &[Wanted], known: &Known) -> Sql<Vec<Found>> {
    let numbered = wanted.iter().flat_map(|wanted| (1..=wanted.quantity).map(move |number| (wanted, number)));
    let mut all: Vec<Found> = numbered
        .map(|(wanted, number)| {
            let name = DynoName { process_type: wanted.process_type.clone(), number };
            Found { dyno: dyno(app, version, wanted, &name, known), what: What::Wanted(name) }
        })
        .collect();
    let is_phase = |dyno: &&DynoRow| {
        dyno.name.process_type.as_str() == PHASE && matches!(dyno.state, DynoState::Starting | DynoState::Up)
    };
    let phase = known.reported.iter().filter(is_phase);
    all.extend(phase.map(|row| Found { dyno: reported(app, row, known), what: What::Phase }));
    for one_off in &known.one_offs {
        all.push(Found { dyno: command(app, one_off, known)?, what: What::OneOff(one_off.id.clone()) });
    }
    Ok(all)
}

/// One of the formation. Of a sleeping app those that answer the web are idle. One of which nothing is reported starts
/// in a moment, if there is a host and it was not stopped.
fn dyno(app: &AppRow, version: u64, wanted: &Wanted, name: &DynoName, known: &Known) -> Dyno {
    let is_stopped = known.marks.is_stopped(&name.process_type, name.number, version);
    let is_idle = app.asleep && name.process_type.as_str() == WEB && !is_stopped;
    let row = known.under(name, version);
    if let Some(row) = row.filter(|_| !is_idle) {
        return reported(app, row, known);
    }
    let since = wanted.updated_at.max(known.since(version));
    let state = match (is_idle, is_stopped) {
        (true, _) => DynoState::Idle,
        (false, false) if known.runs => DynoState::Starting,
        _ => DynoState::Down,
    };
    Dyno {
        id: ids::of_name("dyno", &format!("{}/{name}", app.id)),
        name: name.to_string(),
        kind: wanted.process_type.to_string(),
        command: wanted.command.clone(),
        size: wanted.size.to_string(),
        state,
        attach_url: None,
        release: release_ref(version, known),
        app: apps::named(app),
        created_at: clock::rfc3339(since),
        updated_at: clock::rfc3339(since),
    }
}

fn reported(app: &AppRow, row: &DynoRow, known: &Known) -> Dyno {
    Dyno {
        id: ids::public(&row.id),
        name: row.name.to_string(),
        kind: row.name.process_type.to_string(),
        command: row.command.clone(),
        size: row.size.clone(),
        state: row.state,
        attach_url: None,
        release: release_ref(row.release, known),
        app: apps::named(app),
        created_at: clock::rfc3339(row.created_at),
        updated_at: clock::rfc3339(row.since),
    }
}

/// One for a command: it starts as long as nothing was reported of it.
fn command(app: &AppRow, one_off: &OneOffRow, known: &Known) -> Sql<Dyno> {
    let name = running::one_off_name(one_off.number)?;
    let row = known.reported.iter().find(|dyno| dyno.id == one_off.id);
    Ok(Dyno {
        id: ids::public(&one_off.id),
        kind: name.process_type.to_string(),
        name: name.to_string(),
        command: one_off.command.clone(),
        size: one_off.size.to_string(),
        state: row.map_or(DynoState::Starting, |row| row.state),
        attach_url: None,
        release: release_ref(one_off.release, known),
        app: apps::named(app),
        created_at: clock::rfc3339(one_off.created_at),
        updated_at: clock::rfc3339(row.map_or(one_off.created_at, |row| row.since)),
    })
}

fn release_ref(version: u64, known: &Known) -> ReleaseRef {
    let id = known.releases.get(&version).map(|release| ids::public(&release.id));
    ReleaseRef { id: id.unwrap_or_else(|| ids::public("")), version }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dyno_size::DynoSize;
    use ruko_api_types::host::ReleaseStatus;

    fn app() -> AppRow {
        AppRow {
            id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            name: "shop".parse().unwrap(),
            owner_id: "01ARZ3NDEKTSV4RRFFQ69G5FAW".to_owned(),
            owner: "matt".parse().unwrap(),
            owner_email: None,
            stack: "openruko-12".parse().unwrap(),
            build_stack: "openruko-12".parse().unwrap(),
            maintenance: false,
            acm: false,
            cache: 0,
            repo_version: 1,
            repo_bytes: None,
            release: 2,
            serving: 2,
            candidate: None,
            revision: 1,
            asleep: false,
            slug_bytes: Some(1),
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
            status: ReleaseStatus::Succeeded,
            reason: None,
            has_phase: false,
            has_config_vars: true,
            output_bytes: 0,
            slug: None,
            created_at: 3000,
            updated_at: 3000,
        }
    }

    fn wanted(name: &str, quantity: u32, updated_at: Millis) -> Wanted {
        let (process_type, command) = (name.parse().unwrap(), format!("run {name}"));
        Wanted { process_type, command, quantity, size: DynoSize::Eco, created_at: 0, updated_at }
    }

    fn row(id: &str, name: &str, release: u64, state: DynoState) -> DynoRow {
        DynoRow {
            id: id.to_owned(),
            app_id: app().id,
            name: name.parse().unwrap(),
            release,
            state,
            since: 9000,
            address: None,
            command: "run".to_owned(),
            size: "Eco".to_owned(),
            routed: false,
            created_at: 8000,
        }
    }

    fn known(runs: bool, reported: Vec<DynoRow>) -> Known {
        let releases = [(2, release())].into();
        Known { reported, marks: Marks::default(), one_offs: Vec::new(), releases, runs }
    }

    fn states(app: &AppRow, wanted: &[Wanted], known: &Known) -> Vec<(String, DynoState, String)> {
        let told = told(app, 2, wanted, known).unwrap();
        told.into_iter().map(|found| (found.dyno.name, found.dyno.state, found.dyno.updated_at)).collect()
    }

    #[test]
    fn what_is_reported_is_told_of_the_dynos_that_are_wanted() {
        use DynoState::{Crashed, Down, Starting, Up};
        let all = [wanted("web", 2, 1000), wanted("worker", 1, 5000), wanted("console", 0, 0)];
        let reported = vec![
            row("01", "web.2", 2, Crashed),
            row("02", "web.2", 2, Up),
            row("03", "web.2", 3, Starting),
            row("04", "web.3", 2, Up),
        ];
        let entry =
            |name: &str, state, at: &str| (name.to_owned(), state, format!("1970-01-01T00:00:0{at}Z"));
        assert_eq!(
            states(&app(), &all, &known(false, reported.clone())),
            [entry("web.1", Down, "3"), entry("web.2", Up, "9"), entry("worker.1", Down, "5")]
        );
        let told = states(&app(), &all, &known(true, reported));
        assert_eq!((told[0].1, told[1].1, told[2].1), (Starting, Up, Starting));
    }

    #[test]
    fn webhooks_are_told_what_became_of_each_dyno() {
        use DynoState::{Crashed, Starting, Up};
        let before = [row("01", "web.1", 2, Up), row("02", "web.2", 2, Up), row("03", "web.3", 2, Up)];
        let after =
            [row("01", "web.1", 2, Up), row("02", "web.2", 2, Crashed), row("04", "web.3", 2, Starting)];
        let told: Vec<_> =
            changes(&before, &after).into_iter().map(|(action, row)| (action, row.id.as_str())).collect();
        assert_eq!(told, [("destroy", "03"), ("update", "02"), ("create", "04")]);
    }

    #[test]
    fn web_dynos_of_a_sleeping_app_are_idle_and_a_release_phase_shows_while_it_runs() {
        let asleep = AppRow { asleep: true, ..app() };
        let all = [wanted("web", 1, 1000), wanted("worker", 1, 1000)];
        let reported = vec![
            row("01", "web.1", 2, DynoState::Up),
            row("02", "worker.1", 2, DynoState::Up),
            row("03", "release.1", 3, DynoState::Up),
            row("04", "release.2", 2, DynoState::Down),
        ];
        let told = states(&asleep, &all, &known(true, reported));
        let told: Vec<_> = told.iter().map(|(name, state, _)| (name.as_str(), *state)).collect();
        let up = DynoState::Up;
        assert_eq!(told, [("web.1", DynoState::Idle), ("worker.1", up), ("release.1", up)]);
    }
}
