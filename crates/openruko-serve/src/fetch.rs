//! A fetch, a clone, an archive: the stored repository is served from a container, without lease and
//! without commit.

use std::process::ExitCode;
use std::sync::Arc;

use ruko_api_types::{Access, Fetch};
use ruko_core::{ContainerName, Fault, UserName};

use crate::context::Context;
use crate::ending::{Ending, api_down, denied, not_begun, not_started};
use crate::events::Events;
use crate::host::{FetchHost, NO_REPO};
use crate::queue::Kind;
use crate::request::Request;
use crate::session::{Base, Session};
use crate::space::{self, Wanted};
use crate::{terminal, waiting};

/// Runs a fetch to its end.
pub(crate) fn run(
    context: &Context,
    user: &UserName,
    request: &Request,
    events: Events,
) -> Result<ExitCode, Fault> {
    let fetch = context.api.open_fetch(&request.app, user).map_err(|why| api_down(&why))?;
    let fetch = fetch.ok_or_else(|| denied(&request.app))?;
    let session = Session::begin(context, events).map_err(not_begun)?;
    let Fetch { template, stack_image: stack, limits, repo, stored, .. } = fetch;
    let started = space::check(&context.config, Wanted::of_fetch(&repo)).and_then(|()| {
        let tell = &mut |told: &str| terminal::step(told);
        let slot = waiting::for_slot(context, &session, user, Kind::Fetch, tell)?;
        Ok((session.start(ContainerName::generate("fetch"), Base { template, stack }, &limits)?, slot))
    });
    match started {
        Ok((running, slot)) => {
            let host = Arc::new(FetchHost::new(repo, stored));
            let ended = running.git(context, request, None, host.clone());
            running.end();
            drop(slot);
            let ending = match (ended, host.broke()) {
                (Ok(status), None) => Ending::git(status),
                (Ok(status), Some(cause)) => {
                    terminal::log(&cause);
                    Ending::git(status).saying(NO_REPO)
                }
                (Err(cut), _) => Ending::cut(&cut),
            };
            Ok(ending.tell())
        }
        Err(cut) => not_started(cut),
    }
}

/// Says what a push would meet. It changes nothing, so it takes no lease and leaves no record; but it is
/// for those only who may push.
pub(crate) fn advertise_push(
    context: &Context,
    user: &UserName,
    request: &Request,
    events: Events,
) -> Result<ExitCode, Fault> {
    if !context.api.authorize(user, &request.app, Access::Write).map_err(|why| api_down(&why))? {
        return Err(denied(&request.app));
    }
    run(context, user, request, events)
}
