//! Pushes, seen as builds; and builds of tarballs, as runners take them up.

use std::pin::pin;
use std::time::Duration;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use ruko_api_types::{Access, Build, BuildStatus, Push, TakeBuild};
use ruko_core::{AppName, PushId};
use tokio::time::Instant;

use super::access::authorized;
use super::pushes::{MAX_WAIT, Outcome, log_end, metadata, push_named, term};
use super::{LISTED, app_named, created};
use crate::api::Api;
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::store::{Sql, apps, builds, pushes};
use crate::uploads::Uploads;

/// How long a build waits at most: longer than as many as may wait before it take.
const LONGEST_WAIT: Millis = 6 * 3_600_000;

/// Why a build is given up.
const NOBODY_CAME: &str = "nobody took it up within 6 hours; does `openruko-serve builds` run?";

/// `GET /internal/apps/{app}/builds`
pub(crate) async fn list(State(api): State<Api>, At(app): At<AppName>) -> Answer<Json<Vec<Build>>> {
    let mut db = api.store.read().await?;
    let app = app_named(&mut db, &app).await?;
    let now = clock::now();
    let pushes = pushes::of_app(&mut db, &app.id, LISTED).await?;
    Ok(Json(pushes.into_iter().map(|push| push.build(now)).collect()))
}

/// `POST /internal/builds/take`
pub(crate) async fn take(State(api): State<Api>, Body(asked): Body<TakeBuild>) -> Answer<Response> {
    let deadline = Instant::now() + Duration::from_secs(asked.wait_seconds.min(MAX_WAIT));
    loop {
        // Listened to from before the look, so that nothing that happens right after it is missed.
        let mut queued = pin!(api.build_queued.notified());
        let mut freed = pin!(api.push_ended.notified());
        queued.as_mut().enable();
        freed.as_mut().enable();
        if let Some(push) = take_next(&api).await? {
            return Ok(created(push));
        }
        if Instant::now() >= deadline || api.is_stopping() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let until = first_lease_end(&api).await?.map_or(deadline, |end| end.min(deadline));
        tokio::select! {
            () = &mut queued => {}
            () = &mut freed => {}
            () = tokio::time::sleep_until(api.look_again_by(until)) => {}
            () = api.stopping() => {}
        }
    }
}

/// Opens the build that has waited longest of those whose app nobody pushes to. One whose user has lost the
/// right to deploy meanwhile has failed.
async fn take_next(api: &Api) -> Answer<Option<Push>> {
    // Who waits looks often, where several processes share a database: mostly for nothing.
    if pushes::next_queued(&mut *api.store.read().await?, clock::now()).await?.is_none() {
        return Ok(None);
    }
    let mut db = api.store.write().await?;
    let now = clock::now();
    let mut ended = Vec::new();
    let mut taken = None;
    while let Some(push) = pushes::next_queued(&mut db, now).await? {
        let app = apps::by_id(&mut db, &push.app_id).await?;
        if let Err(refusal) = authorized(&mut db, &push.user, &app.name, Access::Write).await {
            let ApiFault::Refused { message, .. } = refusal else { return Err(refusal) };
            pushes::fail(&mut db, &push.id, &message).await?;
            ended.push((push, app.name, message));
            continue;
        }
        if let Some(other) = pushes::open_one(&mut db, &app.id).await? {
            pushes::lose(&mut db, &other).await?;
            ended.push((other, app.name.clone(), pushes::LOST.to_owned()));
        }
        pushes::open_queued(&mut db, &push.id, now + term(api)).await?;
        pushes::forget_old(&mut db, &app.id).await?;
        let wanted = builds::wanted(&mut db, &push.id).await?.ok_or(sqlx::Error::RowNotFound)?;
        let mut opened = metadata(&mut db, api, app, push).await?;
        opened.tarball = Some(wanted.tarball);
        opened.buildpacks = wanted.buildpacks.unwrap_or(opened.buildpacks);
        taken = Some(opened);
        break;
    }
    db.commit().await?;
    for (push, app, reason) in &ended {
        log_end(push, app, &Outcome::Failed(reason));
        api.tell_push_ended_of(&push.app_id);
    }
    Ok(taken)
}

/// Ends the builds that nobody takes up: then no runner is there.
pub(crate) async fn give_up_waiting(api: &Api) -> Sql<()> {
    let mut db = api.store.write().await?;
    let any = pushes::give_up_queued(&mut db, clock::now() - LONGEST_WAIT, NOBODY_CAME).await?;
    db.commit().await?;
    if any {
        tracing::warn!("builds were given up: {NOBODY_CAME}");
        api.tell_push_ended();
    }
    Ok(())
}

/// When a lease runs out for which a build waits: nobody calls then.
async fn first_lease_end(api: &Api) -> Answer<Option<Instant>> {
    let mut db = api.store.read().await?;
    let end = pushes::next_lease_end(&mut db).await?;
    let left = |end| Duration::from_millis(u64::try_from(end - clock::now()).unwrap_or(0));
    Ok(end.map(|end| Instant::now() + left(end)))
}

/// `GET /internal/builds/{id}/source`
pub(crate) async fn source(State(api): State<Api>, At(id): At<PushId>) -> Answer<Response> {
    let mut db = api.store.read().await?;
    let push = push_named(&mut db, &id).await?;
    if push.status(clock::now()) != BuildStatus::Pending {
        return Err(ApiFault::gone("push_ended", format!("Push {id} has ended, or has not begun.")));
    }
    let wanted = builds::wanted(&mut db, &id).await?;
    let wanted = wanted.ok_or_else(|| ApiFault::not_found(format!("tarball of push {id}")))?;
    drop(db);
    let gone = || ApiFault::not_found(format!("tarball of push {id} any more"));
    let uploads = api.uploads.as_ref().ok_or_else(gone)?;
    tarball(uploads, &wanted.source_id).await?.ok_or_else(gone)
}

/// A tarball as an answer; none when it is gone.
pub(crate) async fn tarball(uploads: &Uploads, source_id: &str) -> Answer<Option<Response>> {
    let bytes = uploads.read(source_id).await.map_err(|e| ApiFault::Internal(format!("uploads: {e}")))?;
    Ok(bytes
        .map(|bytes| ([(CONTENT_TYPE, "application/gzip")], HttpBody::from_stream(bytes)).into_response()))
}
