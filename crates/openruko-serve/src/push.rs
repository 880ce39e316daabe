//! A push: authorized, leased, built in a container, committed.

use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use ruko_api_types::push_log::Step;
use ruko_api_types::{Access, Committed, Push};
use ruko_core::{Exit, Fault, UserName};

use crate::context::Context;
use crate::ending::{Ending, api_down, denied, not_begun, not_started, passed_on};
use crate::events::Events;
use crate::finish::Plan;
use crate::host::{NO_REPO, Outcome, PushHost};
use crate::lease::Lease;
use crate::queue::{Kind, Place};
use crate::request::Request;
use crate::session::{Base, Cut, Running, Session};
use crate::space::{self, Wanted};
use crate::steps::Clock;
use crate::{terminal, waiting};

/// A git that hung up on what it was offered. The usual reason, which old ones say in no words: they met another
/// algorithm than that of their repository, and only they know which it is.
const HUNG_UP: &str = "Your git hung up before it pushed anything.\nIf its repository has SHA-256 object names \
                       (git rev-parse --show-object-format), it cannot be pushed here: only SHA-1 ones are taken.";

/// Runs a push to its end.
pub(crate) fn run(
    context: &Context,
    user: &UserName,
    request: &Request,
    events: Events,
) -> Result<ExitCode, Fault> {
    let (app, clock) = (&request.app, Clock::start());
    if !context.api.authorize(user, app, Access::Write).map_err(|why| api_down(&why))? {
        return Err(denied(app));
    }
    let session = Session::begin(context, events).map_err(not_begun)?;
    clock.ended(Step::Authorize);
    let Some(push) = waiting::for_lease(context, user, app, &session)? else {
        return Ok(Exit::Refused.into());
    };
    clock.ended(Step::Lease);
    let push = Arc::new(push);
    let lease = Lease::keep(&context.api, &push, session.events.sender());
    match container(context, session, &push, &clock) {
        Ok((running, slot)) => Ok(build(context, request, &push, lease, (running, slot), &clock)),
        Err(cut) => {
            lease.give_back(cut.reason());
            drop(clock.tell_failed(&context.api, &push.push));
            not_started(cut)
        }
    }
}

/// A container for the push, and the slot that is its as long as somebody waits for it.
fn container(
    context: &Context,
    session: Session,
    push: &Push,
    clock: &Clock,
) -> Result<(Running, Place), Cut> {
    space::check(&context.config, Wanted::of(push))?;
    let slot =
        waiting::for_slot(context, &session, &push.user, Kind::Push, &mut |told| terminal::step(told))?;
    clock.ended(Step::Slot);
    let running = session.start(push.push.container(), Base::from(push), &push.limits)?;
    clock.ended(Step::Container);
    Ok((running, slot))
}

/// Runs git in the container and sees to it that the lease ends as the push did. From here on git speaks
/// its protocol: trouble is told in words only, and when lease and slot are free.
fn build(
    context: &Context,
    request: &Request,
    push: &Arc<Push>,
    lease: Lease,
    (running, slot): (Running, Place),
    clock: &Clock,
) -> ExitCode {
    let host = Arc::new(PushHost::of(context, push, &lease, &running, clock));
    let ended = running.git(context, request, Some(push.limits.pack_bytes), host.clone());
    let outcome = host.outcome();
    if let Outcome::Committed(committed) = outcome {
        let _told = clock.tell_committed(&context.api, &push.push, &committed);
        lease.settle();
        finish(push, running, &committed);
        drop(slot);
        return after_commit(&committed, ended);
    }
    let ending = came_to_nothing(outcome, ended, lease, &running);
    running.end();
    drop(slot);
    drop(clock.tell_failed(&context.api, &push.push));
    ending.tell()
}

/// Gives the lease back with the reason; the developer is to be told what git does not tell.
fn came_to_nothing(
    outcome: Outcome,
    ended: Result<ExitStatus, Cut>,
    lease: Lease,
    running: &Running,
) -> Ending {
    match (outcome, ended) {
        (_, Err(cut)) => {
            lease.give_back(cut.reason());
            Ending::cut(&cut)
        }
        (Outcome::Failed(reason), Ok(status)) => {
            lease.give_back(reason);
            Ending::git(status)
        }
        (Outcome::Unreadable(cause), Ok(status)) => {
            lease.give_back(format!("{NO_REPO} ({cause})"));
            Ending::git(status).saying(NO_REPO)
        }
        (Outcome::Nothing | Outcome::Committed(_), Ok(status)) => {
            lease.forget();
            match status.success() {
                true => Ending::git(status),
                false => Ending::git(status).saying(HUNG_UP),
            }
        }
        (Outcome::Broken, Ok(status)) => {
            let met: Vec<String> = running.container.limits_met().iter().map(ToString::to_string).collect();
            lease.give_back(format!("the build ended early {}", met.join(", ")).trim_end());
            let words = met.iter().map(|limit| format!("The build ended early: {limit}."));
            words.fold(Ending::git(status), Ending::saying)
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
    if plan.hand_over(&running.container, &running.dir).is_ok() {
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use ruko_api_client::ApiClient;

    use super::*;
    use crate::{host, session};

    /// What is told of a git that ended with 1.
    fn told(outcome: Outcome) -> Vec<String> {
        let parent = tempfile::tempdir().unwrap();
        let running = session::tests::running(parent.path());
        let nowhere = ApiClient::new("http://127.0.0.1:1", "token".into()).unwrap();
        let lease = Lease::keep(&nowhere, &host::tests::push(), running.events.sender());
        came_to_nothing(outcome, Ok(ExitStatus::from_raw(1 << 8)), lease, &running).words().to_vec()
    }

    #[test]
    fn a_guess_is_made_only_where_nothing_is_known() {
        assert_eq!(told(Outcome::Nothing), [HUNG_UP]);
        assert!(told(Outcome::Failed("The app's repository cannot be read.".into())).is_empty());
        assert_eq!(told(Outcome::Unreadable("it is damaged".into())), [NO_REPO]);
    }
}
