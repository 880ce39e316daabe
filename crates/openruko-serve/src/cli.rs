//! The command line, the environment that sshd gives, and how a run ends.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ruko_core::config::{Config, DEFAULT_PATH, PATH_VARIABLE};
use ruko_core::{Exit, Fault, Hint, UserName};

use crate::context::Context;
use crate::request::{self, Exchange, Refusal, Request, Service};
use crate::{
    authorized_keys, build, builds, events, fetch, finish, greeting, inner_ssh, keys, push, terminal,
};

/// The forced command of sshd, and what openruko-git starts: runs one git service for one user.
#[derive(Parser)]
#[command(
    name = "openruko-serve",
    version,
    after_help = "Example, as sshd's configuration:\n  AuthorizedKeysCommand /usr/libexec/openruko/openruko-serve keys %f\n  AuthorizedKeysCommandUser git\n\nExample, by hand, as the git user:\n  SSH_ORIGINAL_COMMAND=\"git-upload-pack 'my-app.git'\" openruko-serve alice </dev/null"
)]
struct Cli {
    /// The configuration file.
    #[arg(long, env = PATH_VARIABLE, default_value = DEFAULT_PATH, global = true)]
    config: PathBuf,
    /// Read the configuration and act on nothing.
    #[arg(long)]
    check: bool,
    /// Only say what the service offers: the answer to git's `info/refs`.
    #[arg(long, conflicts_with = "stateless_rpc")]
    advertise: bool,
    /// Answer one request of git over HTTP, read from stdin.
    #[arg(long)]
    stateless_rpc: bool,
    #[command(subcommand)]
    command: Option<Command>,
    /// The id of the key that sshd has checked, for the greeting.
    #[arg(long, value_name = "ID", value_parser = key_id)]
    key: Option<String>,
    /// On whose behalf: sshd has checked this user's key.
    user: Option<UserName>,
}

impl Cli {
    fn exchange(&self) -> Exchange {
        match (self.advertise, self.stateless_rpc) {
            (true, _) => Exchange::Advertisement,
            (_, true) => Exchange::StatelessRpc,
            _ => Exchange::Whole,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Print the authorized_keys line of a key, for AuthorizedKeysCommand; or keep all keys in a file.
    #[command(
        after_help = "Examples:\n  openruko-serve keys SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n  openruko-serve keys --all /home/git/.ssh/authorized_keys"
    )]
    Keys {
        /// As sshd gives it for %f: `SHA256:…`. With --all: the file, ~/.ssh/authorized_keys if not given.
        #[arg(value_name = "FINGERPRINT|FILE", required_unless_present = "all")]
        what: Option<std::ffi::OsString>,
        /// Keep every key in a marked section of an authorized_keys file, for an sshd that cannot ask. Lines
        /// outside of the section stay as they are.
        #[arg(long)]
        all: bool,
    },
    /// Take up the builds of tarballs that users ask the Platform API for, as a service.
    Builds {
        /// So many at a time.
        #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
        at_a_time: u16,
    },
    /// Carry out the build on stdin.
    #[command(hide = true)]
    Build,
    /// Connect to a container's sshd, for ssh's ProxyCommand.
    #[command(hide = true)]
    Connect {
        /// Where it is.
        address: Ipv4Addr,
        /// Where it listens.
        port: u16,
    },
    /// Finish a push whose client was answered.
    #[command(hide = true)]
    Finish,
}

/// Runs the program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return ruko_cli::print(&usage),
    };
    let exchange = cli.exchange();
    match (cli.command, cli.user) {
        _ if cli.check => ruko_core::report("openruko-serve", check(&cli.config)),
        (Some(Command::Keys { what, all }), _) => {
            let outcome = Context::load(cli.config).and_then(|context| match all {
                true => authorized_keys::write(&context, what.map(PathBuf::from)),
                false => keys::print(&context, &what.unwrap_or_default().to_string_lossy()),
            });
            ruko_core::report("openruko-serve", outcome)
        }
        (Some(Command::Builds { at_a_time }), _) => {
            let outcome = Context::load(cli.config)
                .and_then(|context| builds::run(&context, at_a_time.into()).map(|never| match never {}));
            ruko_core::report("openruko-serve", outcome)
        }
        (Some(Command::Build), _) => {
            let outcome = Context::load(cli.config).and_then(|context| build::run(&context));
            ruko_core::report("openruko-serve", outcome)
        }
        (Some(Command::Connect { address, port }), _) => {
            ruko_core::report("openruko-serve", inner_ssh::connect(SocketAddrV4::new(address, port)))
        }
        (Some(Command::Finish), _) => ruko_core::report("openruko-serve", finish::run()),
        (None, Some(user)) => serve(cli.config, &user, cli.key.as_deref(), exchange),
        (None, None) => {
            let fault = Fault::usage("who is it for? give a user name, or `keys FINGERPRINT`");
            ruko_core::report("openruko-serve", Err(fault))
        }
    }
}

fn key_id(raw: &str) -> Result<String, &'static str> {
    if keys::is_key_id(raw) { Ok(raw.to_owned()) } else { Err("a key's id has letters and digits") }
}

fn check(path: &std::path::Path) -> Result<Exit, Fault> {
    let config = Config::load(path, std::env::vars()).fault("the configuration cannot be used")?;
    config.serve().fault("the configuration cannot be used")?;
    Ok(Exit::Ok)
}

/// One git service for one user. Failures are told to the app developer, not to an admin.
fn serve(config_path: PathBuf, user: &UserName, key: Option<&str>, exchange: Exchange) -> ExitCode {
    let original = std::env::var_os("SSH_ORIGINAL_COMMAND");
    let request = match request::parse(original.as_deref(), exchange) {
        Ok(request) => request,
        Err(Refusal::Interactive) if exchange == Exchange::Whole => {
            return set_up(config_path)
                .and_then(|context| greeting::greet(&context, user, key))
                .unwrap_or_else(|fault| terminal::tell(&fault));
        }
        Err(refusal) => {
            terminal::trouble(refusal);
            return Exit::Refused.into();
        }
    };
    set_up(config_path)
        .and_then(|context| run(&context, user, &request))
        .unwrap_or_else(|fault| terminal::refuse(request.service, &fault))
}

/// The reason stays with the admin: a stranger learns nothing about the installation.
fn set_up(config_path: PathBuf) -> Result<Context, Fault> {
    Context::load(config_path).map_err(|fault| {
        terminal::log(&fault.message);
        Fault::try_again("This server is not set up to serve git at the moment.")
            .hint("Tell its admin to run: openruko-serve --check")
    })
}

fn run(context: &Context, user: &UserName, request: &Request) -> Result<ExitCode, Fault> {
    let events = events::Events::watch_client_and_signals().fault("Cannot watch the connection")?;
    match (request.service, request.exchange) {
        (Service::ReceivePack, Exchange::Advertisement) => {
            fetch::advertise_push(context, user, request, events)
        }
        (Service::ReceivePack, _) => push::run(context, user, request, events),
        (Service::UploadPack | Service::UploadArchive, _) => fetch::run(context, user, request, events),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn man_page_and_completions_are_what_the_program_says() {
        ruko_manual::keep(<Cli as clap::CommandFactory>::command(), "8");
    }
}
