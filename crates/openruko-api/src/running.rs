//! What should run of an app, as the host is told.

use ruko_api_types::AppRef;
use ruko_api_types::host::{AppToRun, Attach, DynoToRun, OneOff, ProcessToRun, ReleaseToRun, SlugToRun};
use ruko_core::dyno::DynoName;
use sqlx::AnyConnection;

use crate::clock;
use crate::formation::{self, Wanted};
use crate::settings::Settings;
use crate::store::apps::AppRow;
use crate::store::marks::{self, Marks};
use crate::store::one_offs::{self, OneOffRow};
use crate::store::releases::{self, PHASE, ReleaseRow, SlugOfRelease};
use crate::store::{Sql, config_vars, web};

/// The process type of dynos for one command.
pub(crate) const RUN: &str = "run";

/// An app, with everything that should run of it.
pub(crate) async fn of_app(db: &mut AnyConnection, settings: &Settings, app: AppRow) -> Sql<AppToRun> {
    let marks = marks::of_app(db, &app.id).await?;
    let mut one_offs = Vec::new();
    for row in one_offs::of_app(db, &app.id).await? {
        one_offs.extend(one_off(db, settings, &app, row).await?);
    }
    let candidate = match app.candidate {
        Some(version) => release(db, settings, &app, version, &marks).await?,
        None => None,
    };
    Ok(AppToRun {
        current: release(db, settings, &app, app.serving, &marks).await?,
        candidate,
        web: web::of_app(db, &app.id).await?,
        revision: app.revision,
        asleep: app.asleep,
        one_offs,
        app: AppRef { id: app.id, name: app.name },
    })
}

/// None when there is nothing to run.
async fn release(
    db: &mut AnyConnection,
    settings: &Settings,
    app: &AppRow,
    version: u64,
    marks: &Marks,
) -> Sql<Option<ReleaseToRun>> {
    let Some(release) = releases::find(db, &app.id, version).await? else { return Ok(None) };
    let Some(mut to_run) = bare(db, settings, app, &release).await? else { return Ok(None) };
    let (phase, dynos): (Vec<_>, Vec<_>) = formation::of_release(db, app, version)
        .await?
        .into_iter()
        .partition(|wanted| wanted.process_type.as_str() == PHASE);
    if app.candidate == Some(version) {
        to_run.release_phase = phase.into_iter().next().map(|phase| phase.command);
    }
    to_run.processes = dynos.into_iter().map(|wanted| process(settings, wanted, version, marks)).collect();
    Ok(Some(to_run))
}

/// A release with nothing but its slug and config vars; none when it has no slug.
async fn bare(
    db: &mut AnyConnection,
    settings: &Settings,
    app: &AppRow,
    release: &ReleaseRow,
) -> Sql<Option<ReleaseToRun>> {
    let Some(slug) = &release.slug else { return Ok(None) };
    // Of what runs they are kept, unless it is older than the record.
    let config_vars = match releases::config_vars(db, &app.id, release.version).await? {
        Some(vars) => vars,
        None => config_vars::of_app(db, &app.id).await?,
    };
    Ok(Some(ReleaseToRun {
        id: release.id.clone(),
        version: release.version,
        created_at: clock::rfc3339(release.created_at),
        slug: Some(self::slug(settings, slug)),
        stack: settings.stacks.to_run(&slug.stack),
        config_vars,
        release_phase: None,
        processes: Vec::new(),
    }))
}

/// Where a slug is, for a while from now on.
pub(crate) fn slug(settings: &Settings, slug: &SlugOfRelease) -> SlugToRun {
    SlugToRun {
        url: settings.storage.get(&slug.object_key),
        stored: slug.stored.clone(),
        commit: slug.commit.as_ref().map(ToString::to_string),
    }
}

fn process(settings: &Settings, wanted: Wanted, version: u64, marks: &Marks) -> ProcessToRun {
    let dynos = names(&wanted, version, marks)
        .map(|name| DynoToRun { generation: marks.generation(&name.process_type, name.number), name })
        .collect();
    ProcessToRun {
        size: settings.sizes.to_run(wanted.size),
        process_type: wanted.process_type,
        command: wanted.command,
        dynos,
    }
}

/// The dynos of a process type that should run: not those that were stopped.
pub(crate) fn names(wanted: &Wanted, version: u64, marks: &Marks) -> impl Iterator<Item = DynoName> {
    let name = |number| DynoName { process_type: wanted.process_type.clone(), number };
    (1..=wanted.quantity)
        .filter(move |number| !marks.is_stopped(&wanted.process_type, *number, version))
        .map(name)
}

/// None if what it should run is gone.
async fn one_off(
    db: &mut AnyConnection,
    settings: &Settings,
    app: &AppRow,
    row: OneOffRow,
) -> Sql<Option<OneOff>> {
    let Some(release) = releases::find(db, &app.id, row.release).await? else { return Ok(None) };
    let Some(release) = bare(db, settings, app, &release).await? else { return Ok(None) };
    Ok(Some(OneOff {
        name: one_off_name(row.number)?,
        id: row.id,
        command: row.command,
        env: row.env,
        size: settings.sizes.to_run(row.size),
        release,
        attach: row.secret_digest.map(|secret_sha256| Attach { secret_sha256, terminal: row.terminal }),
        stopped: row.stopped,
    }))
}

/// `run.1234`
pub(crate) fn one_off_name(number: u32) -> Sql<DynoName> {
    let process_type = RUN.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    Ok(DynoName { process_type, number })
}
