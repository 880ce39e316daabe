//! Waiting: for the app's lease while another push has it, and for a build slot. Whoever waits is told for what,
//! and again when that changes; who goes away meanwhile is noticed at once.

use std::time::{Duration, Instant};

use ruko_api_client::Opened;
use ruko_api_types::{Holder, OpenPush, Push};
use ruko_core::{AppName, Fault, UserName};

use crate::context::Context;
use crate::ending::{api_down, denied};
use crate::queue::{Kind, Place, Rules, Standing};
use crate::session::{self, Cut, Session};
use crate::terminal;

/// How long one question for the lease may wait at the API. Short, so that a client that goes away is
/// noticed between two.
const ASK_SECONDS: u64 = 2;
/// The longest wait for a lease that can be configured.
const LONGEST_FOR_LEASE: Duration = Duration::from_secs(240);
/// The longest wait for a build slot that can be configured. Together with the other one it is shorter than
/// the container's keeper waits to be told what is wanted.
const LONGEST_FOR_SLOT: Duration = Duration::from_secs(3600);
/// How often somebody who is the next looks whether there is a slot, and the others whether they came closer.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

/// Takes the lease, waiting for another push to end. None when the client went away meanwhile.
pub(crate) fn for_lease(
    context: &Context,
    user: &UserName,
    app: &AppName,
    session: &Session,
) -> Result<Option<Push>, Fault> {
    let patience = Duration::from_secs(context.config.serve()?.wait_seconds).min(LONGEST_FOR_LEASE);
    let deadline = Instant::now() + patience;
    let mut told = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Asked without waiting first, so that the developer is told at once.
        let wait_seconds = if told.is_some() { ASK_SECONDS.min(left.as_secs()) } else { 0 };
        let request = OpenPush { user: user.clone(), wait_seconds };
        match context.api.open_push(app, &request).map_err(|why| api_down(&why))? {
            Opened::Push(push) => return Ok(Some(*push)),
            Opened::Denied => return Err(denied(app)),
            Opened::Held(holder) if left < Duration::from_secs(1) => return Err(held(app, &holder)),
            Opened::Held(holder) => {
                if told.as_ref() != Some(&holder.push) {
                    terminal::step(format!(
                        "Waiting for another push: {}; up to {} seconds",
                        held_by(app, &holder),
                        left.as_secs()
                    ));
                }
                told = Some(holder.push);
            }
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

/// Takes a build slot, waiting for its turn. Whoever waits is told where they stand through `tell`, once
/// for each change.
pub(crate) fn for_slot(
    context: &Context,
    session: &Session,
    user: &UserName,
    kind: Kind,
    tell: &mut dyn FnMut(&str),
) -> Result<Place, Cut> {
    let not_started = |fault: Fault| Cut::not_started(fault.message);
    let serve = context.config.serve().map_err(|why| Cut::not_started(why.to_string()))?;
    let rules = Rules::of(serve);
    let patience = Duration::from_secs(serve.slot_seconds).min(LONGEST_FOR_SLOT);
    let deadline = Instant::now() + patience;
    let mut place = Place::queue(&session.dir, user, kind, rules).map_err(not_started)?;
    let mut told = None;
    loop {
        let standing = place.look().map_err(not_started)?;
        if standing == Standing::Admitted {
            return Ok(place);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Cut::because(waited_enough(standing, rules, patience)));
        }
        if told != Some(standing) {
            tell(&format!("Waiting for a build slot: {}", words(standing, kind)));
            told = Some(standing);
        }
        let pause = if is_next(standing) { LOOK_AGAIN.0 } else { LOOK_AGAIN.1 };
        if let Some(cut) = session.ended_before(deadline.min(now + pause)) {
            return Err(cut);
        }
    }
}

fn is_next(standing: Standing) -> bool {
    matches!(standing, Standing::Behind { pushes: 0, fetches: 0 } | Standing::OwnAreEnough(_))
}

/// Where somebody stands, as they are told.
fn words(standing: Standing, kind: Kind) -> String {
    let mine = match kind {
        Kind::Push => "yours",
        Kind::Fetch => "this fetch",
    };
    let ahead = match standing {
        Standing::Admitted => return "there is one".to_owned(),
        Standing::OwnAreEnough(own) => {
            return format!("you use {own} already, and {own} {} what one user may have at a time", is(own));
        }
        Standing::Behind { pushes: 0, fetches: 0 } => return format!("{mine} is the next"),
        Standing::Behind { pushes, fetches: 0 } => count(pushes, "push", "pushes"),
        Standing::Behind { pushes: 0, fetches } => count(fetches, "fetch", "fetches"),
        Standing::Behind { pushes, fetches } => {
            format!("{} and {}", count(pushes, "push", "pushes"), count(fetches, "fetch", "fetches"))
        }
    };
    let are = if matches!(standing, Standing::Behind { pushes, fetches } if pushes + fetches == 1) {
        "is"
    } else {
        "are"
    };
    format!("{ahead} {are} ahead of {mine}")
}

fn count(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn is(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn waited_enough(standing: Standing, rules: Rules, patience: Duration) -> Fault {
    let time = count(usize::try_from(patience.as_secs()).unwrap_or(usize::MAX), "second", "seconds");
    let Rules { slots, per_user } = rules;
    match standing {
        Standing::OwnAreEnough(_) => Fault::try_again(format!(
            "You have had {} in use for {time}, which is the limit for one user; nothing was changed.",
            count(per_user, "build slot", "build slots"),
        ))
        .hint("Try again when one of your pushes has ended."),
        Standing::Behind { .. } | Standing::Admitted => Fault::try_again(format!(
            "{} of this server {} taken for {time}, and that is how long one waits; nothing was changed.",
            if slots == 1 { "The one build slot".to_owned() } else { format!("All {slots} build slots") },
            if slots == 1 { "was" } else { "were" },
        ))
        .hint("Try again later."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_how_many_are_ahead() {
        let behind = |pushes, fetches| Standing::Behind { pushes, fetches };
        assert_eq!(words(behind(2, 0), Kind::Push), "2 pushes are ahead of yours");
        assert_eq!(words(behind(1, 0), Kind::Fetch), "1 push is ahead of this fetch");
        assert_eq!(words(behind(1, 1), Kind::Push), "1 push and 1 fetch are ahead of yours");
        assert_eq!(words(behind(0, 3), Kind::Push), "3 fetches are ahead of yours");
        assert_eq!(words(behind(0, 0), Kind::Push), "yours is the next");
        let own = words(Standing::OwnAreEnough(2), Kind::Push);
        assert_eq!(own, "you use 2 already, and 2 are what one user may have at a time");
    }

    #[test]
    fn a_refusal_names_the_bound_that_was_met() {
        let rules = Rules { slots: 4, per_user: 2 };
        let patience = Duration::from_secs(600);
        let fault = waited_enough(Standing::Behind { pushes: 1, fetches: 0 }, rules, patience);
        assert_eq!(
            fault.message,
            "All 4 build slots of this server were taken for 600 seconds, and that is how long one waits; \
             nothing was changed."
        );
        assert_eq!(fault.exit, ruko_core::Exit::TryAgain);
        let own = waited_enough(Standing::OwnAreEnough(2), rules, patience).message;
        assert!(own.contains("2 build slots in use for 600 seconds"), "{own}");
    }
}
