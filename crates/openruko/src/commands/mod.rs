//! What developers type: Heroku's commands of every day, native, and what the Heroku CLI cannot know.
//!
//! One module a family of commands. What is asked for goes to stdout, plain or as JSON; progress and remarks
//! go to stderr; a failure goes up as a [`Fault`].

mod access;
mod apps;
mod auth;
mod builds;
mod config;
mod confirm;
mod deploy_key;
mod domains;
mod git;
mod heroku;
mod keys;
mod login;
mod logs;
mod output;
mod ps;
mod releases;
mod run;
mod servers;
mod session;
mod terminal;
mod web;
mod words;

use std::io;
use std::process::ExitCode;

use clap::Subcommand;
use ruko_client::{ClientError, Home};
use ruko_core::{Exit, Fault};

pub(crate) use heroku::heroku;
use output::Screen;
use session::Session;
pub(crate) use words::Line;

/// The server that is meant, by name or address.
pub(crate) const SERVER_VARIABLE: &str = "OPENRUKO_SERVER";

/// A token in place of the remembered one.
const TOKEN_VARIABLE: &str = "OPENRUKO_TOKEN";

/// Set and neither empty nor `0`: the Heroku CLI is not used.
pub(crate) const NATIVE_VARIABLE: &str = "OPENRUKO_NATIVE";

/// A developer's command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Servers(servers::ServersArgs),
    Auth(auth::AuthArgs),
    Whoami(auth::WhoamiArgs),
    Git(git::GitArgs),
    Apps(apps::AppsArgs),
    Create(apps::CreateArgs),
    Info(apps::InfoArgs),
    Rename(apps::RenameArgs),
    Destroy(apps::DestroyArgs),
    Open(apps::OpenArgs),
    Maintenance(apps::MaintenanceArgs),
    Access(access::AccessArgs),
    Keys(keys::KeysArgs),
    Config(config::ConfigArgs),
    Ps(ps::PsArgs),
    Scale(ps::ScaleArgs),
    Restart(ps::RestartArgs),
    Web(web::WebArgs),
    DeployKey(deploy_key::DeployKeyArgs),
    Releases(releases::ReleasesArgs),
    Rollback(releases::RollbackArgs),
    Builds(builds::BuildsArgs),
    Domains(domains::DomainsArgs),
    Logs(logs::LogsArgs),
    Run(run::RunArgs),
}

/// Carries out one command.
///
/// # Errors
/// What was refused and why; 75 where the server cannot be reached or trying again later may help.
pub(crate) fn carry_out(command: Command, server: Option<String>) -> Result<ExitCode, Fault> {
    let home = Home::find(|name| std::env::var_os(name))?;
    let session = Session { home, wanted: server, screen: Screen::of_this_process() };
    match dispatch(command, &session) {
        // Whoever read our output has seen enough.
        Err(Error::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok.into()),
        outcome => outcome.map_err(failure),
    }
}

fn failure(error: Error) -> Fault {
    match error {
        Error::Out(error) => Fault::refused(format!("cannot write to stdout: {error}")),
        Error::Fault(fault) => fault,
        Error::Client(error) => fault(&error),
    }
}

fn dispatch(command: Command, session: &Session) -> Result<ExitCode, Error> {
    let done = match command {
        Command::Login(args) => login::login(args, session),
        Command::Logout(args) => login::logout(args, session),
        Command::Servers(args) => servers::run(args, session),
        Command::Auth(args) => auth::run(args, session),
        Command::Whoami(args) => auth::whoami(&args, session),
        Command::Git(args) => git::run(args, session),
        Command::Apps(args) => apps::run(args, session),
        Command::Create(args) => apps::create(args, session),
        Command::Info(args) => apps::info(&args, session),
        Command::Rename(args) => apps::rename(args, session),
        Command::Destroy(args) => apps::destroy(&args, session),
        Command::Open(args) => apps::open(&args, session),
        Command::Maintenance(args) => apps::maintenance(args, session),
        Command::Access(args) => access::run(args, session),
        Command::Keys(args) => keys::run(args, session),
        Command::Config(args) => config::run(args, session),
        Command::Ps(args) => ps::run(args, session),
        Command::Scale(args) => ps::scale(&args, session),
        Command::Restart(args) => ps::restart(&args, session),
        Command::Web(args) => web::run(args, session),
        Command::DeployKey(args) => deploy_key::run(args, session),
        Command::Releases(args) => releases::run(args, session),
        Command::Rollback(args) => releases::rollback(&args, session),
        Command::Builds(args) => builds::run(args, session),
        Command::Domains(args) => domains::run(args, session),
        Command::Logs(args) => logs::run(&args, session),
        // A one-off dyno's own status may be passed on.
        Command::Run(args) => return run::run(args, session),
    };
    done.map(|()| Exit::Ok.into())
}

/// What can go wrong in a command.
#[derive(Debug)]
pub(crate) enum Error {
    Client(ClientError),
    Out(io::Error),
    Fault(Fault),
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Out(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

type Done = Result<(), Error>;

fn fault(error: &ClientError) -> Fault {
    let message = as_cause(&ruko_core::exit::chain(error));
    let fault = if error.is_temporary() { Fault::try_again(message) } else { Fault::refused(message) };
    match error {
        ClientError::Unreachable { .. } => fault.hint("is the address right, and does the server run?"),
        ClientError::Refused { status: 401, .. } => fault.hint("log in again with `openruko login`"),
        _ => fault,
    }
}

/// The server's sentences, worded as the programs word what went wrong: lower case, no full stop.
fn as_cause(sentence: &str) -> String {
    let mut text = sentence.strip_suffix('.').unwrap_or(sentence).to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// What to say of a command that is not ours where there is no Heroku CLI.
pub(crate) fn needs_heroku(command: &str) -> Fault {
    let command = command.chars().take(60).collect::<String>();
    Fault::usage(format!("`{}` is not a command of openruko itself, and there is no Heroku CLI on this machine that might have it", command.escape_debug()))
        .hint("`npm install -g heroku` installs it, and openruko then carries its commands to your server; `openruko help` lists what works without")
}
