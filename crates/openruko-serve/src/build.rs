//! The build of a tarball: a push without git and without a client. Whoever asked for it reads the build's
//! record, so that is where everything is told.

use std::io;
use std::sync::Arc;

use ruko_api_types::push_log::Step;
use ruko_api_types::{Output, Push};
use ruko_core::{Exit, Fault, Hint, message};

use crate::context::Context;
use crate::events::Events;
use crate::host::{Outcome, PushHost};
use crate::lease::Lease;
use crate::push::finish;
use crate::queue::Kind;
use crate::session::{Base, Cut, Running, Session};
use crate::space::{self, Wanted};
use crate::steps::Clock;
use crate::{terminal, waiting};

/// Carries out the push on stdin, which a runner has taken up and which has its app's lease.
pub(crate) fn run(context: &Context) -> Result<Exit, Fault> {
    let push: Push = serde_json::from_reader(io::stdin().lock()).fault("cannot read what is to be built")?;
    let (push, clock) = (Arc::new(push), Clock::start());
    let events = Events::watch_client_and_signals().fault("cannot watch for signals")?;
    let lease = Lease::keep(&context.api, &push, events.sender());
    let mut recorded = 0;
    let mut record = |line: String| {
        let text = format!("{line}\n");
        let length = text.len() as u64;
        // The record is the place for it; without the API there is none.
        if context.api.output(&push.push, &Output { offset: recorded, text }).is_ok() {
            recorded += length;
        }
    };
    let running = Session::begin(context, events).map_err(|fault| Cut::not_started(fault.message)).and_then(
        |session| {
            space::check(&context.config, Wanted::of(&push))?;
            let tell = &mut |told: &str| record(message::step(told));
            let slot = waiting::for_slot(context, &session, &push.user, Kind::Push, tell)?;
            clock.ended(Step::Slot);
            let running = session.start(push.push.container(), Base::from(&*push), &push.limits)?;
            clock.ended(Step::Container);
            Ok((running, slot))
        },
    );
    match running {
        Ok((running, _slot)) => Ok(build(context, &push, lease, running, recorded, &clock)),
        Err(cut) => {
            cut.words().map(message::trouble).into_iter().for_each(record);
            terminal::log(&cut.reason());
            lease.give_back(cut.reason());
            drop(clock.tell_failed(&context.api, &push.push));
            Ok(Exit::TryAgain)
        }
    }
}

/// Runs the build in its container and sees to it that the lease ends as the build did. So many bytes of its
/// output are recorded already.
fn build(
    context: &Context,
    push: &Arc<Push>,
    lease: Lease,
    running: Running,
    recorded: u64,
    clock: &Clock,
) -> Exit {
    let host = Arc::new(PushHost::of(context, push, &lease, &running, clock).continuing(recorded));
    let ended = running.source(host.clone());
    let outcome = host.outcome();
    if let Outcome::Committed(committed) = &outcome {
        let _told = clock.tell_committed(&context.api, &push.push, committed);
        lease.settle();
        finish(push, running, committed);
        return Exit::Ok;
    }
    let reason = match (outcome, ended) {
        (_, Err(cut)) => {
            cut.words().into_iter().for_each(|words| host.trouble(words));
            cut.reason()
        }
        (Outcome::Failed(reason), Ok(_)) => reason,
        (_, Ok(status)) => {
            let met: Vec<String> = running.container.limits_met().iter().map(ToString::to_string).collect();
            host.trouble(format!("The build ended early: {}.", ended_early(&met, status.code())));
            format!("the build ended early {}", met.join(", ")).trim_end().to_owned()
        }
    };
    lease.give_back(reason);
    running.end();
    drop(clock.tell_failed(&context.api, &push.push));
    Exit::Refused
}

/// The bounds that were met are why, if there are any.
fn ended_early(met: &[String], status: Option<i32>) -> String {
    match (met, status) {
        ([], Some(status)) => format!("its process ended with status {status}"),
        ([], None) => "its process was killed".to_owned(),
        (met, _) => met.join(", "),
    }
}
