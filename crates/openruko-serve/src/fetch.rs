//! A fetch, a clone, an archive: the stored repository is served from a container, without lease and
//! without commit.

use std::process::ExitCode;

use ruko_api_types::Fetch;
use ruko_core::{ContainerName, Fault, UserName};

use crate::cli::Context;
use crate::events::Events;
use crate::host::FetchHost;
use crate::push::{api_down, denied, end, not_begun, passed_on};
use crate::request::Request;
use crate::session::{Cut, Session};

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
    serve(context, &fetch, request, session).or_else(end)
}

fn serve(context: &Context, fetch: &Fetch, request: &Request, session: Session) -> Result<ExitCode, Cut> {
    let name = ContainerName::generate("fetch");
    let running = session.start(name, fetch.template.clone(), &fetch.limits)?;
    let host = FetchHost { layers: &fetch.repo };
    running.git(context, request.service, &host).map(passed_on)
}
