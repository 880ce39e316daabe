//! Opening and ending pushes, and the lease between.
//!
//! The lease is the push's row while it is `pending` and its term has not run out. Every decision on it
//! is taken in a transaction that holds the write lock from its beginning.

use std::fmt;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ruko_api_types::{
    Abort, Access, AppRef, BuildStatus, CachePlace, DeployKey, Holder, OpenPush, Push, RepoPlace, SlugPlace,
};
use ruko_core::exit::one_line;
use ruko_core::{AppName, PushId, UserName};
use sqlx::AnyConnection;
use tokio::time::Instant;

use super::access::authorized;
use super::{created, to_the_end};
use crate::api::{Api, ended_of};
use crate::clock::{self, Millis};
use crate::errors::{Answer, ApiFault};
use crate::extract::{At, Body};
use crate::places;
use crate::store::apps::AppRow;
use crate::store::pushes::{self, NewPush, PushRow};
use crate::store::{Write, apps, buildpacks, config_vars, deploy_keys, discarded, repos, retention};
use crate::webhooks;

/// The longest that a call waits for a lease, in seconds.
pub(crate) const MAX_WAIT: u64 = 30;

/// What is kept of a reason, in characters.
const MAX_REASON: usize = 1000;

/// `POST /internal/apps/{app}/pushes`
pub(crate) async fn create(
    State(api): State<Api>,
    At(app): At<AppName>,
    Body(open): Body<OpenPush>,
) -> Answer<Response> {
    let deadline = Instant::now() + Duration::from_secs(open.wait_seconds.min(MAX_WAIT));
    // Listened to from before the look, so that a lease given back right after it is not missed.
    let mut ended = api.pushes_ended.subscribe();
    loop {
        let held = match attempt(&api, &app, &open.user).await? {
            Attempt::Opened(push) => return Ok(created(push)),
            Attempt::Held(held) => held,
        };
        if Instant::now() >= deadline || api.is_stopping() {
            return Err(ApiFault::Held(Box::new(held.by)));
        }
        let until = api.look_again_by(deadline.min(held.until));
        tokio::select! {
            () = ended_of(&mut ended, &held.app_id) => {}
            () = tokio::time::sleep_until(until) => {}
            () = api.stopping() => {}
        }
    }
}

enum Attempt {
    Opened(Box<Push>),
    Held(Held),
}

struct Held {
    app_id: String,
    by: Holder,
    /// When the lease runs out unless it is renewed.
    until: Instant,
}

async fn attempt(api: &Api, app: &AppName, user: &UserName) -> Answer<Attempt> {
    let mut db = api.store.write().await?;
    let app = authorized(&mut db, user, app, Access::Write).await?;
    let now = clock::now();
    let mut lost = None;
    if let Some(other) = pushes::open_one(&mut db, &app.id).await? {
        if other.status(now) == BuildStatus::Pending {
            let left = Duration::from_millis(u64::try_from(other.lease_ends - now).unwrap_or(0));
            let by = other.holder(now);
            return Ok(Attempt::Held(Held { app_id: app.id, by, until: Instant::now() + left }));
        }
        pushes::lose(&mut db, &other).await?;
        webhooks::tell_build(&mut db, &other, None).await?;
        lost = Some(other);
    }
    let (id, name) = (app.id.clone(), app.name.clone());
    let push = open(&mut db, api, app, user, now).await?;
    db.commit().await?;
    if let Some(other) = lost {
        log_end(&other, &name, &Outcome::Failed(pushes::LOST));
    }
    api.tell_push_ended_of(&id);
    Ok(Attempt::Opened(Box::new(push)))
}

async fn open(db: &mut AnyConnection, api: &Api, app: AppRow, user: &UserName, now: Millis) -> Answer<Push> {
    let id = PushId::generate();
    let request_id = PushId::generate().to_string();
    let new = NewPush {
        id: &id,
        app_id: &app.id,
        user,
        request_id: &request_id,
        repo_key: &places::repo(&app.id, app.repo_version + 1, &id),
        slug_key: &places::slug(&app.id, &id),
        now,
        lease_ends: now + term(api),
    };
    pushes::insert(db, new).await?;
    pushes::forget_old(db, &app.id).await?;
    let push = push_named(db, &id).await?;
    let deploy_key = deploy_key(db, &app.id).await?;
    Ok(Push { deploy_key, ..metadata(db, api, app, push).await? })
}

/// What the process of an open push is told.
pub(super) async fn metadata(db: &mut AnyConnection, api: &Api, app: AppRow, push: PushRow) -> Answer<Push> {
    let settings = &api.settings;
    let cache = places::cache(&app.id, app.cache);
    let repo = repos::object(db, &app.id, app.repo_version).await?;
    let stack = settings.stacks.get(&app.build_stack);
    Ok(Push {
        repo: RepoPlace {
            version: app.repo_version,
            get: repo.iter().map(|(key, _)| settings.storage.get(key)).collect(),
            stored: repo.into_iter().map(|(_, stored)| stored).collect(),
            put: settings.storage.put(&push.repo_key),
        },
        slug: SlugPlace { put: settings.storage.put(&push.slug_key), max_bytes: settings.limits.slug_bytes },
        cache: CachePlace { get: settings.storage.get(&cache), put: settings.storage.put(&cache) },
        config_vars: config_vars::of_app(db, &app.id).await?,
        buildpacks: buildpacks::of_app(db, &app.id).await?,
        release_url: settings.release_url(&push.id),
        web_url: settings.web_url(&app.name),
        push: push.id,
        request_id: push.request_id,
        app: AppRef { id: app.id, name: app.name },
        user: push.user,
        stack: app.build_stack,
        template: stack.template,
        stack_image: stack.image,
        heroku_stack: stack.heroku,
        deploy_refs: settings.deploy_refs.clone(),
        limits: settings.limits,
        lease_seconds: settings.lease.as_secs(),
        tarball: None,
        git_urls: git_urls(api),
        deploy_key: None,
    })
}

/// The key is of use to a git push alone: a tarball has no submodules.
async fn deploy_key(db: &mut AnyConnection, app_id: &str) -> Answer<Option<DeployKey>> {
    let row = deploy_keys::of_app(db, app_id).await?;
    Ok(row.map(|row| DeployKey { private_key: row.private_key, known_hosts: row.known_hosts }))
}

fn git_urls(api: &Api) -> Vec<String> {
    let public = api.settings.public.iter();
    public.flat_map(|public| [public.ssh_url("{app}"), public.git_url("{app}")]).collect()
}

/// The term of a lease.
pub(super) fn term(api: &Api) -> Millis {
    Millis::try_from(api.settings.lease.as_millis()).unwrap_or(Millis::MAX / 2)
}

/// `PUT /internal/pushes/{id}/lease`
pub(crate) async fn renew(State(api): State<Api>, At(id): At<PushId>) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let push = push_named(&mut db, &id).await?;
        let now = clock::now();
        if push.status(now) != BuildStatus::Pending {
            write_down_if_lost(&api, db, &push, now).await?;
            return Err(lease_lost(&push, now));
        }
        pushes::renew(&mut db, &id, now + term(&api)).await?;
        db.commit().await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /internal/pushes/{id}/abort`
pub(crate) async fn abort(
    State(api): State<Api>,
    At(id): At<PushId>,
    Body(abort): Body<Abort>,
) -> Answer<StatusCode> {
    to_the_end(async move {
        let mut db = api.store.write().await?;
        let push = push_named(&mut db, &id).await?;
        let now = clock::now();
        if push.status(now) == BuildStatus::Pending {
            let reason = abort.reason.map(|reason| kept(&reason));
            match &reason {
                Some(reason) => {
                    pushes::fail(&mut db, &id, reason).await?;
                    // Whoever gives up a push stores nothing for it any more.
                    discarded::insert(&mut db, &[push.repo_key.clone(), push.slug_key.clone()]).await?;
                    retention::swept(&mut db, &id).await?;
                    webhooks::tell_build(&mut db, &push, None).await?;
                }
                None => pushes::forget(&mut db, &id).await?,
            }
            let app = apps::by_id(&mut db, &push.app_id).await?;
            db.commit().await?;
            let outcome = reason.as_deref().map_or(Outcome::Nothing, Outcome::Failed);
            log_end(&push, &app.name, &outcome);
            api.tell_push_ended_of(&push.app_id);
            api.storage_due.notify_waiters();
        } else {
            write_down_if_lost(&api, db, &push, now).await?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// What is kept of a reason, on one line.
fn kept(reason: &str) -> String {
    one_line(reason).chars().take(MAX_REASON).collect()
}

/// How a push ended.
pub(crate) enum Outcome<'a> {
    /// A commit, with a release or without one.
    Committed(Option<u64>),
    /// Nothing was pushed.
    Nothing,
    /// On one line.
    Failed(&'a str),
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed(Some(release)) => write!(f, "released v{release}"),
            Self::Committed(None) => f.write_str("stored without a release"),
            Self::Nothing => f.write_str("nothing was pushed"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

/// The line in the log that every push gets once it has ended.
pub(crate) fn log_end(push: &PushRow, app: &AppName, outcome: &Outcome<'_>) {
    tracing::info!("{}", end_line(push, app, outcome, clock::now()));
}

fn end_line(push: &PushRow, app: &AppName, outcome: &Outcome<'_>, now: Millis) -> String {
    format!("push by {} to {app} ended after {} s: {outcome}", push.user, push.seconds(now))
}

pub(super) async fn push_named(db: &mut AnyConnection, id: &PushId) -> Answer<PushRow> {
    pushes::find(db, id).await?.ok_or_else(|| ApiFault::not_found(format!("push {id}")))
}

/// Ends the transaction; a lease that ran out is recorded as such.
pub(super) async fn write_down_if_lost(api: &Api, mut db: Write, push: &PushRow, now: Millis) -> Answer<()> {
    if push.status(now) == BuildStatus::Lost {
        pushes::lose(&mut db, push).await?;
        webhooks::tell_build(&mut db, push, None).await?;
        let app = apps::by_id(&mut db, &push.app_id).await?;
        db.commit().await?;
        log_end(push, &app.name, &Outcome::Failed(pushes::LOST));
        api.tell_push_ended_of(&push.app_id);
    }
    Ok(())
}

pub(super) fn lease_lost(push: &PushRow, now: Millis) -> ApiFault {
    let message = match push.status(now) {
        BuildStatus::Lost => format!("The lease of push {} ran out.", push.id),
        _ => format!("Push {} has ended.", push.id),
    };
    ApiFault::gone("lease_lost", message)
}
