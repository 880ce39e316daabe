//! The real Heroku CLI, where it is installed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use ruko_client::Home;
use ruko_core::Fault;
use ruko_forward::{GitTransport, Heroku, Upstream, find_heroku};

use super::output::Screen;
use super::session::Session;
use super::{Error, failure};

/// Another Heroku CLI than the first on the path.
const PROGRAM_VARIABLE: &str = "OPENRUKO_HEROKU";

/// Runs `words` with the Heroku CLI against a server, and gives the status that it ended with. `None` where
/// there is no Heroku CLI: the commands of every day then work natively. `words` are the user's own, without
/// `--server` and `--native`; `server` is the name or address that the user gave.
pub(crate) fn heroku(words: &[OsString], server: Option<&str>) -> Option<Result<ExitCode, Fault>> {
    let own = std::env::current_exe().ok()?;
    let program = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from).or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        find_heroku(&path, Some(&own))
    })?;
    let heroku = Heroku { program, openruko: own, transport: GitTransport::default() };
    Some(run(&heroku, words, server))
}

fn run(heroku: &Heroku, words: &[OsString], server: Option<&str>) -> Result<ExitCode, Fault> {
    let upstream = upstream(server).map_err(failure)?;
    let status = ruko_forward::run(&upstream, heroku, words)?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}

/// The server that is meant, and our token for it.
fn upstream(wanted: Option<&str>) -> Result<Upstream, Error> {
    let home = Home::find(|name| std::env::var_os(name))?;
    let session = Session { home, wanted: wanted.map(str::to_owned), screen: Screen::of_this_process() };
    let (name, server) = session.server()?;
    let token = session.token(&server.url)?;
    Ok(Upstream {
        // An address will do for a server that was never given a name.
        name: name.map_or_else(|| server.url.to_string(), |name| name.to_string()),
        url: server.url.to_string(),
        token: token.reveal().to_owned(),
        git_url: server.git_url,
        ssh_url: server.ssh_url,
        ca_file: server.ca_file,
    })
}
