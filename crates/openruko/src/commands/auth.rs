//! Who one is.

use clap::{Args, Subcommand};
use ruko_api_types::platform::Account;
use serde_json::Value;

use super::session::{Session, read};
use super::{Done, login};

/// Log in and out, show who one is
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct AuthArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    /// Print the token: a secret
    Token,
    Whoami(WhoamiArgs),
}

/// Show whose token is used
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: AuthArgs, session: &Session) -> Done {
    match args.command {
        Command::Login(args) => login::login(args, session),
        Command::Logout(args) => login::logout(args, session),
        Command::Whoami(args) => whoami(&args, session),
        Command::Token => {
            let (_, server) = session.server()?;
            Ok(session.screen.line(session.token(&server.url)?.reveal())?)
        }
    }
}

pub(super) fn whoami(args: &WhoamiArgs, session: &Session) -> Done {
    let connection = session.connect()?;
    let account: Value = connection.api.get("/account")?;
    if args.json {
        return Ok(session.screen.json(&account)?);
    }
    let account: Account = read(account, &connection.server.url)?;
    Ok(session.screen.line(account.email)?)
}
