//! A push: authorized, leased, built in a container, committed.

use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use ruko_api_client::{ApiClientError, Opened};
use ruko_api_types::{Access, Committed, Holder, OpenPush, Push};
use ruko_core::exit::chain;
use ruko_core::{AppName, Exit, Fault, UserName};

use crate::cli::Context;
use crate::events::Events;
use crate::finish::Plan;
use crate::host::{Outcome, PushHost};
use crate::lease::Lease;
use crate::request::Service;
use crate::session::{Cut, Running, Session};
use crate::terminal;

/// How long one question for the lease may wait at the API. Short, so that a client that goes away is
/// noticed between two.
const ASK_SECONDS: u64 = 2;

/// Runs a push to its end.
pub(crate) fn run(
    context: &Context,
    user: &UserName,
    app: &AppName,
    events: Events,
) -> Result<ExitCode, Fault> {
    if !context.api.authorize(user, app, Access::Write).map_err(|why| api_down(&why))? {
        return Err(denied(app));
    }
    let session = Session::begin(context, events).map_err(not_begun)?;
    let Some(push) = open(context, user, app, &session)? else { return Ok(Exit::Refused.into()) };
    let term = Duration::from_secs(push.lease_seconds);
    let lease = Lease::keep(&context.api, &push.push, term, session.events.sender());
    match session.start(push.push.container(), push.template.clone(), &push.limits) {
        Ok(running) => build(context, &push, lease, running),
        Err(cut) => {
            lease.give_back(cut.reason());
            end(cut)
        }
    }
}

/// An app that is not there and one that is somebody else's read the same.
pub(crate) fn denied(app: &AppName) -> Fault {
    Fault::refused(format!("There is no app {app} here that you may use."))
        .hint("Check the name, and ask its owner for access.")
}

/// Nothing is ever allowed because nobody could be asked.
pub(crate) fn api_down(why: &ApiClientError) -> Fault {
    terminal::log(&Fault::try_again(chain(why)));
    Fault::try_again("The server cannot be asked at the moment; nothing was changed.")
        .hint("Try again in a minute.")
}

/// What keeps a session from beginning is for the admin; the developer can only try again.
pub(crate) fn not_begun(why: Fault) -> Fault {
    terminal::log(&why);
    Fault::try_again("The server cannot start a container at the moment; nothing was changed.")
        .hint("Try again in a minute; if it stays so, tell the server's admin.")
}

/// Takes the lease, waiting for another push to end. None when the client went away meanwhile.
fn open(context: &Context, user: &UserName, app: &AppName, session: &Session) -> Result<Option<Push>, Fault> {
    let patience = Duration::from_secs(context.config.serve()?.wait_seconds);
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = OpenPush { user: user.clone(), wait_seconds: ASK_SECONDS.min(left.as_secs()) };
        let request = if told { request } else { OpenPush { wait_seconds: 0, ..request } };
        match context.api.open_push(app, &request).map_err(|why| api_down(&why))? {
            Opened::Push(push) => return Ok(Some(*push)),
            Opened::Denied => return Err(denied(app)),
            Opened::Held(holder) if left.is_zero() => return Err(held(app, &holder)),
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
            Some(Cut::Because(fault)) => return Err(fault),
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

/// Runs git in the container and sees to it that the lease ends as the push did.
fn build(context: &Context, push: &Push, lease: Lease, running: Running) -> Result<ExitCode, Fault> {
    let env = context.config.build.env.clone();
    let host = PushHost::new(&context.api, push, &running.container, env);
    let ended = running.git(context, Service::ReceivePack, &host);
    host.discard_uncommitted();
    match (host.outcome(), ended) {
        (Outcome::Committed(committed), ended) => {
            lease.settle();
            finish(context, push, running, &committed);
            after_commit(&committed, ended)
        }
        (_, Err(cut)) => {
            lease.give_back(cut.reason());
            end(cut)
        }
        (Outcome::Failed(reason), Ok(status)) => {
            lease.give_back(reason);
            Ok(passed_on(status))
        }
        (Outcome::Nothing, Ok(status)) => {
            lease.forget();
            Ok(passed_on(status))
        }
        (Outcome::Broken, Ok(status)) => {
            let met = running.container.limits_met();
            met.iter().for_each(|limit| terminal::trouble(format!("The build ended early: {limit}.")));
            let met: Vec<String> = met.iter().map(ToString::to_string).collect();
            lease.give_back(format!("the build ended early {}", met.join(", ")).trim_end());
            Ok(passed_on(status))
        }
    }
}

/// The client need not wait for the rest: another process does it.
fn finish(context: &Context, push: &Push, running: Running, committed: &Committed) {
    let cache = committed.release.map(|_| push.cache.put.clone());
    let plan = Plan {
        endpoint: running.endpoint,
        dir: running.dir.path().to_owned(),
        cache,
        cache_max_bytes: push.limits.disk_bytes,
        discard: committed.discard.clone(),
    };
    // What fails here costs time or space at the next push, and nothing else.
    if plan.hand_over(&context.config_path, running.container).is_ok() {
        running.dir.hand_over();
    }
}

/// A connection that broke after the commit does not undo it.
fn after_commit(committed: &Committed, ended: Result<ExitStatus, Cut>) -> Result<ExitCode, Fault> {
    match (ended, committed.release) {
        (Ok(status), _) => Ok(passed_on(status)),
        (Err(Cut::ClientGone), _) => Ok(Exit::Refused.into()),
        (Err(Cut::Because(_)), Some(version)) => Err(Fault::try_again(format!(
            "v{version} is released, but the connection broke before git could say so."
        ))
        .hint("Run `git fetch`: your push has arrived.")),
        (Err(Cut::Because(fault)), None) => Err(fault),
    }
}

/// How a push that was cut short ends.
pub(crate) fn end(cut: Cut) -> Result<ExitCode, Fault> {
    match cut {
        Cut::ClientGone => Ok(Exit::Refused.into()),
        Cut::Because(fault) => Err(fault),
    }
}

/// The status of ssh, which is that of git in the container.
pub(crate) fn passed_on(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(Exit::Refused.into(), ExitCode::from)
}
