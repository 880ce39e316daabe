//! A push: authorized, leased, built in a container, committed.

use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use ruko_api_client::Opened;
use ruko_api_types::{Access, Committed, Holder, OpenPush, Push};
use ruko_core::{AppName, Exit, Fault, UserName};

use crate::context::Context;
use crate::ending::{api_down, denied, end, not_begun, not_started, passed_on};
use crate::events::Events;
use crate::finish::Plan;
use crate::host::{Outcome, PushHost};
use crate::lease::Lease;
use crate::request::Request;
use crate::session::{self, Cut, Running, Session};
use crate::terminal;

/// How long one question for the lease may wait at the API. Short, so that a client that goes away is
/// noticed between two.
const ASK_SECONDS: u64 = 2;
/// The longest wait for a lease that can be configured: the container's keeper waits no longer than five
/// minutes to be told what is wanted.
const LONGEST_WAIT: Duration = Duration::from_secs(240);

/// Runs a push to its end.
pub(crate) fn run(
    context: &Context,
    user: &UserName,
    request: &Request,
    events: Events,
) -> Result<ExitCode, Fault> {
    let app = &request.app;
    if !context.api.authorize(user, app, Access::Write).map_err(|why| api_down(&why))? {
        return Err(denied(app));
    }
    let session = Session::begin(context, events).map_err(not_begun)?;
    let Some(push) = open(context, user, app, &session)? else { return Ok(Exit::Refused.into()) };
    let lease = Lease::keep(&context.api, &push, session.events.sender());
    match session.start(push.push.container(), push.template.clone(), &push.limits) {
        Ok(running) => Ok(build(context, request, &push, lease, running)),
        Err(cut) => {
            lease.give_back(cut.reason());
            not_started(cut)
        }
    }
}

/// Takes the lease, waiting for another push to end. None when the client went away meanwhile.
fn open(context: &Context, user: &UserName, app: &AppName, session: &Session) -> Result<Option<Push>, Fault> {
    let patience = Duration::from_secs(context.config.serve()?.wait_seconds).min(LONGEST_WAIT);
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Asked without waiting first, so that the developer is told at once.
        let wait_seconds = if told { ASK_SECONDS.min(left.as_secs()) } else { 0 };
        let request = OpenPush { user: user.clone(), wait_seconds };
        match context.api.open_push(app, &request).map_err(|why| api_down(&why))? {
            Opened::Push(push) => return Ok(Some(*push)),
            Opened::Denied => return Err(denied(app)),
            Opened::Held(holder) if left < Duration::from_secs(1) => return Err(held(app, &holder)),
            Opened::Held(holder) if !told => {
                terminal::step(format!(
                    "{}; waiting up to {} seconds",
                    held_by(app, &holder),
                    patience.as_secs()
                ));
                told = true;
            }
            Opened::Held(_) => {}
        }
        match session.ended_early() {
            Some(Cut::ClientGone) => return Ok(None),
            Some(cut @ Cut::Because { .. }) => {
                terminal::log(&cut.reason());
                return Err(session::not_started());
            }
            None => {}
        }
    }
}

fn held_by(app: &AppName, holder: &Holder) -> String {
    format!(
        "{} has been pushing to {app} for {} seconds (since {})",
        holder.user, holder.seconds, holder.since
    )
}

fn held(app: &AppName, holder: &Holder) -> Fault {
    Fault::try_again(format!("{}; nothing was changed.", held_by(app, holder)))
        .hint("Push again when that push has ended.")
}

/// Runs git in the container and sees to it that the lease ends as the push did. From here on git speaks
/// its protocol: trouble is told in words only.
fn build(context: &Context, request: &Request, push: &Push, lease: Lease, running: Running) -> ExitCode {
    let env = context.config.build.env.clone();
    let host =
        PushHost::new(&context.api, push, &running.container, env, &running.ended, lease.commit_sent());
    let ended = running.git(context, request, &host);
    match (host.outcome(), ended) {
        (Outcome::Committed(committed), ended) => {
            lease.settle();
            finish(push, running, &committed);
            after_commit(&committed, ended)
        }
        (_, Err(cut)) => {
            lease.give_back(cut.reason());
            end(cut)
        }
        (Outcome::Failed(reason), Ok(status)) => {
            lease.give_back(reason);
            passed_on(status)
        }
        (Outcome::Nothing, Ok(status)) => {
            lease.forget();
            passed_on(status)
        }
        (Outcome::Broken, Ok(status)) => {
            let met: Vec<String> = running.container.limits_met().iter().map(ToString::to_string).collect();
            met.iter().for_each(|limit| terminal::trouble(format!("The build ended early: {limit}.")));
            lease.give_back(format!("the build ended early {}", met.join(", ")).trim_end());
            passed_on(status)
        }
    }
}

/// The client need not wait for the rest: another process does it.
pub(crate) fn finish(push: &Push, running: Running, committed: &Committed) {
    let plan = Plan {
        endpoint: running.endpoint,
        dir: running.dir.path().to_owned(),
        cache: committed.release.map(|_| push.cache.put.clone()),
        cache_max_bytes: push.limits.disk_bytes,
    };
    // The container may be gone already. Without it there is no cache, which costs time only.
    if plan.hand_over(running.container, &running.dir).is_ok() {
        running.dir.hand_over();
    }
}

/// A connection that broke after the commit does not undo it.
fn after_commit(committed: &Committed, ended: Result<ExitStatus, Cut>) -> ExitCode {
    match (ended, committed.release) {
        (Ok(status), _) => passed_on(status),
        (Err(Cut::ClientGone), _) => Exit::Refused.into(),
        (Err(Cut::Because { .. }), release) => {
            let what =
                release.map_or("Your push is stored".to_owned(), |version| format!("v{version} is released"));
            terminal::tell(
                &Fault::try_again(format!("{what}, but the connection broke before git could say so."))
                    .hint("Run `git fetch`: your push has arrived."),
            )
        }
    }
}
