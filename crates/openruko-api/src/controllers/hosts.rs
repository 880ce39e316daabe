//! The calls of the host: it says what it offers, asks what should run, reports what does, and judges candidates.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::Output;
use ruko_api_types::host::{
    AppToRun, AppsToRun, DynoReport, DynoReports, FailRelease, HostHello, ReleaseStatus, ReleaseToRun,
    SlugToRun, Switch,
};
use ruko_api_types::platform::DynoState;
use ruko_core::exit::one_line;
use serde::Deserialize;
use sqlx::AnyConnection;

use super::changes::{self, End, Question};
use super::to_the_end;
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::formation::WEB;
use crate::platform::tell_reported;
use crate::running::{self, RUN};
use crate::store::apps::{self, AppRow};
use crate::store::dynos::{self, DynoRow};
use crate::store::{Sql, hosts, one_offs, releases, revisions, web};
use crate::{judge, release, routing};

/// How long after the end of a release its last lines are taken.
const LATE: Millis = 60_000;

/// What a release phase may print, in bytes; beyond that it is not kept.
const PHASE_OUTPUT: u64 = 1 << 20;

/// What is kept of a reason, in characters.
const MAX_REASON: usize = 1000;

/// Numbers of dynos for one command are above those of formations.
pub(crate) const ONE_OFF_NUMBERS: std::ops::RangeInclusive<u32> = 1000..=9999;

/// `PUT /internal/host`
pub(crate) async fn hello(State(api): State<Api>, Body(hello): Body<HostHello>) -> Answer<StatusCode> {
    judge::hello(&hello)?;
    let mut db = api.store.write().await?;
    hosts::put(&mut db, &hello).await?;
    db.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /internal/host/apps`
pub(crate) async fn list(State(api): State<Api>, Asked(asked): Asked<Question>) -> Answer<Json<AppsToRun>> {
    let mut changes = changes::wait(&api, &asked).await?;
    let mut apps = Vec::new();
    while let Some(row) = changes.next() {
        let app = running::of_app(&mut changes.db, &api.settings, row).await?;
        changes.weigh(size(&app));
        apps.push(app);
    }
    let End { revision, more, gone } = changes.end().await?;
    Ok(Json(AppsToRun { revision, more, apps, gone }))
}

/// `GET /internal/host/apps/{id}/releases/{version}/slug`: where the slug of a release is, anew. Addresses in storage
/// hold for a while only, and a release may run for longer.
pub(crate) async fn slug(
    State(api): State<Api>,
    At(OfRelease { id, version }): At<OfRelease>,
) -> Answer<Json<SlugToRun>> {
    let mut db = api.store.read().await?;
    let app = app_of(&mut db, &id).await?;
    let release = releases::find(&mut db, &app.id, version).await?;
    let slug = release.and_then(|release| release.slug).filter(|slug| !slug.is_gone);
    let slug = slug.ok_or_else(|| ApiFault::not_found(format!("slug of release v{version}")))?;
    Ok(Json(running::slug(&api.settings, &slug)))
}

/// About how many bytes a dyno takes beside its command, by its name and generation.
const DYNO: usize = 64;

/// About how many bytes an app takes: what of it may be large.
fn size(app: &AppToRun) -> usize {
    let one_offs = app.one_offs.iter().map(|one_off| &one_off.release);
    let all = app.current.iter().chain(&app.candidate).chain(one_offs);
    let commands = app.one_offs.iter().map(|one_off| one_off.command.len() + vars(&one_off.env) + DYNO);
    all.map(weight).chain(commands).sum()
}

fn weight(release: &ReleaseToRun) -> usize {
    let processes = release.processes.iter().map(|one| one.command.len() + one.dynos.len() * DYNO);
    vars(&release.config_vars)
        + release.release_phase.as_ref().map_or(0, String::len)
        + processes.sum::<usize>()
}

fn vars<K: AsRef<str>>(vars: &BTreeMap<K, String>) -> usize {
    vars.iter().map(|(name, value)| name.as_ref().len() + value.len()).sum()
}

/// `POST /internal/host/dynos`
pub(crate) async fn report(State(api): State<Api>, Body(reports): Body<DynoReports>) -> Answer<StatusCode> {
    judge::reports(&reports)?;
    to_the_end(async move {
        let mut db = api.store.write().await?;
        carry_out(&mut db, &reports).await?;
        db.commit().await?;
        api.webhooks_due.notify_waiters();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

async fn carry_out(db: &mut AnyConnection, reports: &DynoReports) -> Sql<()> {
    let known: BTreeMap<String, String> = dynos::all(db).await?.into_iter().collect();
    let gone = gone(db, reports, &known).await?;
    let mut before = BTreeMap::new();
    let told_of = reports.dynos.iter().map(|report| &report.app);
    let touched: BTreeSet<&String> = told_of.chain(gone.iter().filter_map(|id| known.get(id))).collect();
    for id in touched {
        if apps::find_by_id(db, id).await?.is_some() {
            before.insert(id, dynos::of_app(db, id).await?);
        }
    }
    for id in &gone {
        end(db, id).await?;
    }
    for report in reports.dynos.iter().filter(|report| before.contains_key(&report.app)) {
        if is_over(report) {
            end(db, &report.id).await?;
        } else {
            dynos::put(db, report).await?;
            one_offs::reported(db, &report.id).await?;
        }
    }
    for (id, before) in before {
        let after = dynos::of_app(db, id).await?;
        if concerns_requests(&before) != concerns_requests(&after) {
            revisions::raise(db, id).await?;
        }
        if before != after {
            tell_reported(db, id, &before, &after).await?;
        }
    }
    Ok(())
}

/// What is there no more. Where everything was told, that is also what was not told of: but one-off dynos of which
/// the host never knew are still to be started.
async fn gone(
    db: &mut AnyConnection,
    reports: &DynoReports,
    known: &BTreeMap<String, String>,
) -> Sql<BTreeSet<String>> {
    let mut gone: BTreeSet<String> = reports.gone.iter().cloned().collect();
    if reports.all {
        let told = reports.dynos.iter().map(|report| &report.id);
        let there: BTreeSet<&String> = told.chain(&reports.there).collect();
        let one_offs = one_offs::all_reported(db).await?;
        gone.extend(known.keys().chain(&one_offs).filter(|id| !there.contains(id)).cloned());
    }
    Ok(gone)
}

/// A dyno for one command is not kept once it has ended.
fn is_over(report: &DynoReport) -> bool {
    let is_one_off =
        report.name.process_type.as_str() == RUN && ONE_OFF_NUMBERS.contains(&report.name.number);
    is_one_off
        && (report.exit_status.is_some() || matches!(report.state, DynoState::Crashed | DynoState::Down))
}

async fn end(db: &mut AnyConnection, id: &str) -> Sql<()> {
    dynos::delete(db, id).await?;
    one_offs::end(db, id).await.map(drop)
}

/// Of a web dyno, what may change where requests go. Whether one starts, runs or ends matters only of what gets
/// requests; that it crashed, always.
#[derive(PartialEq, Eq)]
enum Concern<'a> {
    Routed(&'a str, DynoState, Option<SocketAddr>),
    Other { id: &'a str, has_crashed: bool },
}

fn concerns_requests(rows: &[DynoRow]) -> Vec<Concern<'_>> {
    let web = rows.iter().filter(|row| row.name.process_type.as_str() == WEB);
    web.map(|row| match row.routed {
        true => Concern::Routed(&row.id, row.state, row.address),
        false => Concern::Other { id: &row.id, has_crashed: row.state == DynoState::Crashed },
    })
    .collect()
}

/// The path of a release.
#[derive(Deserialize)]
pub(crate) struct OfRelease {
    id: String,
    version: u64,
}

async fn app_of(db: &mut AnyConnection, id: &str) -> Answer<AppRow> {
    apps::find_by_id(db, id).await?.ok_or_else(|| ApiFault::not_found("such app any more"))
}

/// `POST /internal/host/apps/{id}/switch`
pub(crate) async fn switch(
    State(api): State<Api>,
    At(id): At<String>,
    Body(switch): Body<Switch>,
) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let app = app_of(&mut db, &id).await?;
        let is_candidate = app.candidate == Some(switch.release);
        if !is_candidate && app.serving != switch.release {
            return Err(overtaken(&app, switch.release));
        }
        require_answering(&mut db, &app, &switch).await?;
        let before = routing::routed(&dynos::of_app(&mut db, &app.id).await?);
        dynos::route(&mut db, &app.id, &switch.dynos).await?;
        if is_candidate {
            release::serve(&mut db, &app.id, switch.release).await?;
        }
        let woken = app.asleep && !switch.dynos.is_empty();
        if is_candidate || woken {
            web::rouse(&mut db, &app.id, clock::now()).await?;
        }
        if woken || before != routing::routed(&dynos::of_app(&mut db, &app.id).await?) {
            revisions::raise(&mut db, &app.id).await?;
        }
        db.commit().await?;
        if is_candidate {
            tracing::info!("release v{} of {} serves", switch.release, app.name);
            api.tell_changed_of(&app.id);
            api.say(&app.id, &format!("Release v{} serves", switch.release)).await;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn overtaken(app: &AppRow, version: u64) -> ApiFault {
    let (name, serving) = (&app.name, app.serving);
    let candidate =
        app.candidate.map_or("no candidate".to_owned(), |candidate| format!("v{candidate} to come"));
    let message =
        format!("v{version} is no release of `{name}` to run: v{serving} serves, with {candidate}.");
    ApiFault::conflict("not_to_run", message)
}

/// Each of them is a web dyno of the release, was reported up, and can be reached.
async fn require_answering(db: &mut AnyConnection, app: &AppRow, switch: &Switch) -> Answer<()> {
    let there = dynos::of_app(db, &app.id).await?;
    for id in &switch.dynos {
        let answers = there.iter().any(|dyno| {
            dyno.id == *id
                && dyno.release == switch.release
                && dyno.name.process_type.as_str() == WEB
                && dyno.answers_at().is_some()
        });
        if !answers {
            return Err(ApiFault::invalid(format!(
                "`{}` is no web dyno of v{} of `{}` that was reported up and has an address.",
                judge::shown(id),
                switch.release,
                app.name
            )));
        }
    }
    Ok(())
}

/// `POST /internal/host/apps/{id}/releases/{version}/fail`
pub(crate) async fn fail(
    State(api): State<Api>,
    At(OfRelease { id, version }): At<OfRelease>,
    Body(fail): Body<FailRelease>,
) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let app = app_of(&mut db, &id).await?;
        if app.candidate != Some(version) {
            let known = releases::find(&mut db, &app.id, version).await?;
            return match known.map(|release| release.status) {
                Some(ReleaseStatus::Failed) => Ok(StatusCode::NO_CONTENT),
                _ => Err(overtaken(&app, version)),
            };
        }
        let reason: String = one_line(&fail.reason).chars().take(MAX_REASON).collect();
        release::fail(&mut db, &app.id, version, &reason).await?;
        db.commit().await?;
        tracing::info!("release v{version} of {} failed: {reason}", app.name);
        api.say(&app.id, &format!("Release v{version} failed: {reason}")).await;
        api.tell_changed_of(&app.id);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /internal/host/apps/{id}/releases/{version}/output`
pub(crate) async fn output(
    State(api): State<Api>,
    At(OfRelease { id, version }): At<OfRelease>,
    Body(sent): Body<Output>,
) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let app = app_of(&mut db, &id).await?;
        let release = releases::find(&mut db, &app.id, version).await?;
        let release = release.ok_or_else(|| ApiFault::not_found(format!("release v{version}")))?;
        let over = release.status != ReleaseStatus::Pending && clock::now() - release.updated_at > LATE;
        if over || !release.has_phase {
            let message = format!("v{version} has no release phase that prints anything at this time.");
            return Err(ApiFault::gone("release_ended", message));
        }
        if let Some((piece, reaches)) = judge::output(&sent, release.output_bytes, PHASE_OUTPUT)? {
            releases::append_output(&mut db, &app.id, version, &piece, reaches).await?;
            db.commit().await?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_a_developer_can_make_large_weighs() {
        let process = |dynos: u32| {
            let size = json!({ "name": "Eco", "memory_bytes": 1, "shares": 1, "pids": 1 });
            let dynos: Vec<_> =
                (1..=dynos).map(|n| json!({ "name": format!("web.{n}"), "generation": 0 })).collect();
            json!({ "process_type": "web", "command": "x".repeat(1000), "size": size, "dynos": dynos })
        };
        let release = |dynos: u32| {
            json!({ "id": "r", "version": 1, "created_at": "", "slug": null, "release_phase": "x".repeat(2000),
                    "config_vars": { "A": "x".repeat(4000) }, "processes": [process(dynos)] })
        };
        let app: AppToRun = serde_json::from_value(json!({
            "app": { "id": "a", "name": "shop" }, "revision": 1, "asleep": false, "web": {}, "one_offs": [],
            "current": release(10), "candidate": release(0),
        }))
        .unwrap();
        assert_eq!(size(&app), 2 * (1 + 4000 + 2000 + 1000) + 10 * DYNO);
    }
}
