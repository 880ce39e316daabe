//! `openruko admin`: users, keys, apps and what belongs to them, through the API.
//!
//! One module a noun. What is asked for goes to stdout, plain or as JSON; a failure goes up as a
//! [`Fault`].

use std::io::{self, IsTerminal, Read, Write};

use clap::{Args, Subcommand};
use ruko_api_client::{ApiClient, ApiClientError};
use ruko_core::config::{AdminConfig, Config};
use ruko_core::{Exit, Fault, Hint};

mod access;
mod app;
mod audit;
mod config;
mod db;
mod history;
mod key;
mod pushes;
mod show;
mod storage;
#[cfg(test)]
mod tests;
mod user;

use crate::escaped::Escaped;

/// Manage users, keys, apps, config vars and buildpacks; show releases and builds
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openruko admin user add matt
  openruko admin key add matt ~/.ssh/id_ed25519.pub
  openruko admin app create shop --owner matt
  openruko admin config set shop GREETING=hello
  openruko admin builds shop --json")]
pub(crate) struct AdminArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Api(ApiCommand),
    /// Move the API's database from SQLite to PostgreSQL or back
    #[command(subcommand)]
    Db(db::Command),
}

/// What goes through the API.
#[derive(Debug, Subcommand)]
enum ApiCommand {
    /// Add, change, list and remove users; their passwords and tokens
    #[command(subcommand)]
    User(user::Command),
    /// Add, list and remove the SSH keys of users
    #[command(subcommand)]
    Key(key::Command),
    /// Create, list, show and destroy apps
    #[command(subcommand)]
    App(app::Command),
    /// Let users push to and fetch apps of others
    #[command(subcommand)]
    Access(access::Command),
    /// List, set and remove the config vars of an app
    #[command(subcommand)]
    Config(config::Command),
    /// Set the buildpacks of an app
    #[command(subcommand)]
    Buildpacks(app::BuildpacksCommand),
    /// List the releases of an app, newest first
    Releases(history::ReleasesArgs),
    /// List the builds of an app, newest first
    Builds(history::BuildsArgs),
    /// List pushes with how they ended and what their steps took, newest first
    Pushes(pushes::PushesArgs),
    /// Print what a build printed
    Output(history::OutputArgs),
    /// Print the last lines of the log of an app
    Logs(history::LogsArgs),
    /// List who did what, newest first
    Audit(audit::AuditArgs),
    /// Show what there is in storage, and remove what is not kept
    Storage(storage::StorageArgs),
}

/// Carries out one `openruko admin` command with the address and token of `[admin]`.
///
/// # Errors
/// What was refused and why; 75 where trying again later may help.
pub(crate) fn run(args: AdminArgs, config: &Config) -> Result<Exit, Fault> {
    let command = match args.command {
        Command::Db(command) => return db::run(command),
        Command::Api(command) => command,
    };
    let config = config.admin()?;
    let (stdout, is_terminal) = (io::stdout().lock(), io::stdout().is_terminal());
    let mut out: Box<dyn Write> = if is_terminal { Box::new(Escaped::new(stdout)) } else { Box::new(stdout) };
    match carry_out(command, config, &mut io::stdin().lock(), &mut out) {
        Err(Failure::Reader) => Ok(Exit::Ok),
        Err(Failure::Fault(fault)) => Err(fault),
        Ok(()) => Ok(Exit::Ok),
    }
}

fn carry_out(
    command: ApiCommand,
    config: &AdminConfig,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let client =
        &ApiClient::from_token_file(&config.api_url, &config.token_file).map_err(|e| fault(e, config))?;
    let done = match command {
        ApiCommand::User(command) => user::run(command, client, stdin, out),
        ApiCommand::Key(command) => key::run(command, client, stdin, out),
        ApiCommand::App(command) => app::run(command, client, out),
        ApiCommand::Access(command) => access::run(&command, client, out),
        ApiCommand::Config(command) => config::run(command, client, stdin, out),
        ApiCommand::Buildpacks(command) => app::run_buildpacks(command, client, out),
        ApiCommand::Releases(args) => history::releases(&args, client, out),
        ApiCommand::Builds(args) => history::builds(&args, client, out),
        ApiCommand::Pushes(args) => pushes::run(&args, client, out),
        ApiCommand::Output(args) => history::output(&args, client, out),
        ApiCommand::Logs(args) => history::logs(&args, client, out),
        ApiCommand::Audit(args) => audit::run(&args, client, out),
        ApiCommand::Storage(args) => storage::run(&args, client, out),
    };
    done.map_err(|error| match error {
        Error::Api(error) => match is_broken_pipe(&error) {
            true => Failure::Reader,
            false => fault(error, config),
        },
        Error::Fault(fault) => Failure::Fault(fault),
        Error::Out(error) if error.kind() == io::ErrorKind::BrokenPipe => Failure::Reader,
        Error::Out(error) => Failure::Fault(Fault::refused(format!("cannot write to stdout: {error}"))),
    })
}

/// Why a command ended early.
#[derive(Debug)]
enum Failure {
    /// Whoever read our output has seen enough.
    Reader,
    Fault(Fault),
}

/// What can go wrong in a command.
#[derive(Debug)]
enum Error {
    Api(ApiClientError),
    Out(io::Error),
    Fault(Fault),
}

impl From<ApiClientError> for Error {
    fn from(error: ApiClientError) -> Self {
        Self::Api(error)
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

fn is_broken_pipe(error: &ApiClientError) -> bool {
    matches!(error, ApiClientError::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

fn fault(error: ApiClientError, config: &AdminConfig) -> Failure {
    let hint = match (&error, error.status()) {
        (ApiClientError::Unreachable { .. }, _) => Some("is `openruko up` running?".to_owned()),
        (ApiClientError::TokenFile { source, .. }, _) if source.kind() == io::ErrorKind::PermissionDenied => {
            Some("run it as root, or as a user who may read it".to_owned())
        }
        (_, Some(401 | 403)) => Some(format!(
            "`admin` in [api.components] must be the SHA-256 digest of the token in {}",
            config.token_file.display()
        )),
        _ => None,
    };
    let message = as_cause(&ruko_core::exit::chain(&error));
    let fault = if error.is_temporary() { Fault::try_again(message) } else { Fault::refused(message) };
    Failure::Fault(match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    })
}

/// The API's sentences, worded as the programs word what went wrong: lower case, no full stop.
fn as_cause(sentence: &str) -> String {
    let mut text = sentence.strip_suffix('.').unwrap_or(sentence).to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// The text of a file, or of stdin for `-`; at most `limit` bytes.
fn read_text(name: &str, stdin: &mut dyn Read, limit: u64) -> Result<String, Fault> {
    let text = match name {
        "-" => read_bounded(stdin, limit),
        path => std::fs::File::open(path).and_then(|file| read_bounded(file, limit)),
    };
    text.fault(format!("cannot read `{name}`"))
}

fn read_bounded(from: impl Read, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    from.take(limit + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= limit) {
        return Ok(text);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes")))
}
