//! The real Heroku CLI, where it is installed.

use std::ffi::OsString;
use std::process::ExitCode;

use ruko_core::Fault;

/// Runs `words` with the Heroku CLI against a server, and gives the status that it ended with. `None` where
/// there is no Heroku CLI: the commands of every day then work natively.
///
/// INTEGRATION POINT: the forwarder is wired in here. `words` are the user's own, without `--server` and
/// `--native`; `server` is the name or address that the user gave with `--server` or `OPENRUKO_SERVER`, if any:
/// `Session { wanted, .. }.server()` and `.token()` say the rest.
pub(crate) fn heroku(_words: &[OsString], _server: Option<&str>) -> Option<Result<ExitCode, Fault>> {
    None
}
