//! Builds: those of tarballs, which are asked for here, and those of git pushes.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ruko_api_types::BuildStatus as Status;
use ruko_api_types::platform::{
    App, Build, BuildStatus, Buildpack, Identified, NewBuild, NewSourceBlob, SourceBlob, UserRef,
};
use ruko_api_types::{Output, Stored};
use ruko_core::{PushId, UserName, message};
use serde::Deserialize;
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::page::{Page, Paged};
use super::route::{DEPLOY, Route, VIEW, delete, get, post};
use super::{Who, apps as platform_apps, ids, sources};
use crate::api::Api;
use crate::clock;
use crate::controllers::output;
use crate::controllers::pushes::{Outcome, log_end};
use crate::controllers::{LISTED, created};
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::store::apps::{self, AppRow};
use crate::store::builds::{self, BuildRow};
use crate::store::pushes::{self, NewPush, PushRow};
use crate::store::{discarded, output as pieces};
use crate::token::Token;
use crate::{judge, places};

/// Builds of one app that may wait.
const MAX_WAITING: u64 = 10;

/// How a buildpack of the registry is written, whose name alone is kept.
const URN: &str = "urn:buildpack:";

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/apps/{app}/builds", DEPLOY, create)
            .says("Build a tarball and release it")
            .takes::<NewBuild>()
            .creates::<Build>(),
        get("/apps/{app}/builds", VIEW, list).says("Builds, those of git pushes included").pages::<Build>(),
        get("/apps/{app}/builds/{build}", VIEW, show).says("A build").gives::<Build>(),
        delete("/apps/{app}/builds/{build}", DEPLOY, cancel).says("Cancel a build").gives::<Build>(),
        delete("/apps/{app}/build-cache", DEPLOY, throw_cache_away)
            .says("Throw the build cache away")
            .gives::<App>(),
        get("/builds/{build}/output", Who::Anyone, follow)
            .says("What a build prints, followed until its end")
            .opens_with("secret", "As in the build's `output_stream_url`.")
            .streams("text/plain"),
    ]
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    TheApp(app): TheApp,
    Body(new): Body<NewBuild>,
) -> Answer<Response> {
    let NewBuild { source_blob: NewSourceBlob { url, version, checksum }, buildpacks } = new;
    let version = judge::version(version.as_deref())?;
    let checksum = checksum.as_deref().map(judge::checksum).transpose()?;
    let buildpacks = buildpacks.map(named).transpose()?;
    let mut db = api.store.write().await?;
    let app = apps::find_by_id(&mut db, &app.id).await?.ok_or_else(ApiFault::no_such_app)?;
    let source = sources::named(&mut db, super::server::public(&api)?, &url).await?;
    require_checksum(checksum.as_deref(), source.stored.as_ref())?;
    let waiting = pushes::queued_of(&mut db, &app.id).await?;
    if waiting >= MAX_WAITING {
        let message =
            format!("{waiting} builds of {} wait already: try again when there are fewer.", app.name);
        return Err(ApiFault::too_often("too_many_builds", message));
    }
    let id = queue(&mut db, &app, &caller.user.name).await?;
    builds::insert(&mut db, &id, &source.id, version.as_deref(), buildpacks.as_deref()).await?;
    let build = find(&mut db, &app, id.as_str()).await?;
    db.commit().await?;
    api.build_queued.notify_waiters();
    Ok(created(described(&api, &app, build)?))
}

/// The buildpacks as pushes name them.
fn named(buildpacks: Vec<Buildpack>) -> Answer<Vec<String>> {
    let name = |url: String| url.strip_prefix(URN).map_or_else(|| url.clone(), str::to_owned);
    let named: Vec<String> = buildpacks.into_iter().map(|buildpack| name(buildpack.url)).collect();
    judge::buildpacks(&named)?;
    Ok(named)
}

fn require_checksum(expected: Option<&str>, stored: Option<&Stored>) -> Answer<()> {
    match (expected, stored) {
        (Some(expected), Some(stored)) if expected != stored.sha256 => {
            let is = &stored.sha256;
            Err(ApiFault::invalid(format!("The tarball that was uploaded has the checksum SHA256:{is}.")))
        }
        _ => Ok(()),
    }
}

async fn queue(db: &mut AnyConnection, app: &AppRow, user: &UserName) -> Answer<PushId> {
    let id = PushId::generate();
    let request_id = PushId::generate();
    let new = NewPush {
        id: &id,
        app_id: &app.id,
        user,
        request_id: request_id.as_str(),
        repo_key: &places::repo(&app.id, app.repo_version + 1, &id),
        slug_key: &places::slug(&app.id, &id),
        now: clock::now(),
        lease_ends: 0,
    };
    pushes::queue(db, new).await?;
    Ok(id)
}

async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<Build>> {
    let mut db = api.store.read().await?;
    let rows = builds::of_app(&mut db, &app.id, LISTED).await?;
    let builds: Answer<Vec<Build>> = rows.into_iter().rev().map(|row| described(&api, &app, row)).collect();
    Ok(page.of(builds?, |build| build.id.clone()))
}

/// The app's and the build's names in the path.
#[derive(Deserialize)]
struct Called {
    build: String,
}

fn missing() -> ApiFault {
    ApiFault::missing("build", "Couldn't find that build.")
}

async fn find(db: &mut AnyConnection, app: &AppRow, id: &str) -> Answer<BuildRow> {
    builds::find(db, &app.id, id).await?.ok_or_else(missing)
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At(Called { build }): At<Called>,
) -> Answer<Json<Build>> {
    let mut db = api.store.read().await?;
    let row = find(&mut db, &app, &ids::internal(&build).ok_or_else(missing)?).await?;
    Ok(Json(described(&api, &app, row)?))
}

async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    TheApp(app): TheApp,
    At(Called { build }): At<Called>,
) -> Answer<Json<Build>> {
    let id = ids::internal(&build).ok_or_else(missing)?;
    let mut db = api.store.write().await?;
    let push = find(&mut db, &app, &id).await?.push;
    if !matches!(push.status(clock::now()), Status::Queued | Status::Pending) {
        return Err(ApiFault::conflict("build_ended", "This build has ended already."));
    }
    let reason = format!("cancelled by user {}", caller.user.name);
    end_output(&mut db, &api, &push, &message::trouble(format!("Build {reason}."))).await?;
    pushes::fail(&mut db, &push.id, &reason).await?;
    let row = find(&mut db, &app, &id).await?;
    db.commit().await?;
    log_end(&push, &app.name, &Outcome::Failed(&reason));
    api.tell_push_ended_of(&app.id);
    Ok(Json(described(&api, &app, row)?))
}

/// Adds the last line to what a build printed: its limit is reached then, so nothing that its process still
/// says comes after it.
async fn end_output(db: &mut AnyConnection, api: &Api, push: &PushRow, line: &str) -> Answer<()> {
    let limit = api.settings.limits.output_bytes;
    let said = Output { offset: push.output_bytes, text: format!("{line}\n") };
    if let Some((piece, _)) = judge::output(&said, push.output_bytes, limit)? {
        pieces::append(db, &push.id, &piece, limit).await?;
    }
    Ok(())
}

async fn throw_cache_away(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<App>> {
    let mut db = api.store.write().await?;
    let app = apps::find_by_id(&mut db, &app.id).await?.ok_or_else(ApiFault::no_such_app)?;
    apps::throw_cache_away(&mut db, &app.id).await?;
    discarded::insert(&mut db, &[places::cache(&app.id, app.cache)]).await?;
    db.commit().await?;
    api.storage_due.notify_waiters();
    Ok(Json(platform_apps::described(&api, &app)?))
}

/// The secret in the URL of a build's output.
#[derive(Deserialize)]
struct Secret {
    secret: Option<String>,
}

/// The secret of each build follows from its id. (An id has one length: the digest of one gives nobody that of
/// another.)
fn secret(api: &Api, id: &PushId) -> String {
    Token::presented(&format!("{}/{id}", api.output_key.reveal())).digest()
}

async fn follow(
    State(api): State<Api>,
    At(Called { build }): At<Called>,
    Asked(Secret { secret: given }): Asked<Secret>,
) -> Answer<Response> {
    let id: PushId = ids::internal(&build).and_then(|id| id.parse().ok()).ok_or_else(missing)?;
    let expected = Token::presented(&secret(&api, &id)).digest();
    if !given.is_some_and(|given| Token::presented(&given).has_digest(&expected)) {
        return Err(missing());
    }
    let mut db = api.store.read().await?;
    let push = pushes::find(&mut db, &id).await?.ok_or_else(missing)?;
    drop(db);
    let place = api.output_readers.take(&push.user).map_err(ApiFault::full)?;
    Ok(output::read(api, id, true, Some(place)))
}

/// As clients see it.
fn described(api: &Api, app: &AppRow, row: BuildRow) -> Answer<Build> {
    let public = super::server::public(api)?;
    let now = clock::now();
    let BuildRow { push, user_id, user_email, release_id, slug_id, version, stack, buildpacks } = row;
    let id = ids::public(push.id.as_str());
    let identified = |id: Option<String>| id.map(|id| Identified { id: ids::public(&id) });
    Ok(Build {
        output_stream_url: format!("{}/builds/{id}/output?secret={}", public.url, secret(api, &push.id)),
        status: status(push.status(now)),
        source_blob: SourceBlob { url: None, version, checksum: None },
        buildpacks: buildpacks
            .map(|urls| urls.into_iter().map(|url| Buildpack { url, name: None }).collect()),
        release: identified(release_id),
        slug: identified(slug_id),
        stack: stack.unwrap_or_else(|| app.build_stack.to_string()),
        user: UserRef {
            id: ids::public(user_id.as_deref().unwrap_or_default()),
            email: user_email.unwrap_or_else(|| push.user.to_string()),
        },
        app: platform_apps::named(app),
        created_at: clock::rfc3339(push.created_at),
        updated_at: clock::rfc3339(push.ended_at(now).unwrap_or(push.created_at)),
        id,
    })
}

fn status(status: Status) -> BuildStatus {
    match status {
        Status::Queued | Status::Pending => BuildStatus::Pending,
        Status::Succeeded => BuildStatus::Succeeded,
        Status::Failed | Status::Lost => BuildStatus::Failed,
    }
}
