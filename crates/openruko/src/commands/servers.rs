//! `openruko servers`: those that are known.

use clap::{Args, Subcommand};
use ruko_client::{Credentials, KnownServer, ServerName, ServerUrl, Servers, revoke};
use ruko_core::Fault;
use serde_json::json;

use super::output::Table;
use super::session::{self, Session};
use super::{Done, Error};

/// List the servers that are known, choose the default, forget one
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ServersArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the servers that are known
    List(ListArgs),
    /// Show or choose the server that is meant when none is named
    Default {
        /// The server's name
        name: Option<ServerName>,
    },
    /// Log out of a server and forget it
    Remove {
        /// The server's name
        name: ServerName,
    },
}

pub(super) fn run(args: ServersArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args.list, session),
        Some(Command::List(args)) => list(&args, session),
        Some(Command::Default { name: None }) => {
            let (name, server) = session.server()?;
            Ok(session.screen.line(name.map_or(server.url.to_string(), |name| name.to_string()))?)
        }
        Some(Command::Default { name: Some(name) }) => {
            known(&name, session)?;
            Servers::prefer(&session.home, &name)?;
            Ok(session.screen.line(format!("{name} is the default"))?)
        }
        Some(Command::Remove { name }) => remove(&name, session),
    }
}

fn list(args: &ListArgs, session: &Session) -> Done {
    let servers = Servers::load(&session.home)?;
    let credentials = Credentials::load(&session.home)?;
    let preferred = servers.preferred().map(|(name, _)| name);
    let account = |url: &ServerUrl| credentials.of(url).map(|credential| credential.account.clone());
    if args.json {
        let one = |(name, server): (&ServerName, &KnownServer)| {
            json!({"name": name, "url": server.url, "git_url": server.git_url, "ssh_url": server.ssh_url,
                "web_url": server.web_url, "ca_file": server.ca_file, "account": account(&server.url),
                "default": Some(name) == preferred})
        };
        return Ok(session.screen.json(&servers.servers.iter().map(one).collect())?);
    }
    let mut table = Table::with_head(["", "name", "address", "account"]);
    for (name, server) in &servers.servers {
        let mark = if Some(name) == preferred { "*" } else { "" };
        table.row([mark, name.as_str(), server.url.as_str(), account(&server.url).as_deref().unwrap_or("-")]);
    }
    match servers.servers.is_empty() {
        true => session.screen.remark("No server is known: `openruko login https://paas.example.com`"),
        false => session.screen.table(&table)?,
    }
    Ok(())
}

fn remove(name: &ServerName, session: &Session) -> Done {
    let server = known(name, session)?;
    if let Some(credential) = Credentials::load(&session.home)?.of(&server.url) {
        let api = session::api(&server, Some(&credential.token))?;
        let revoked = credential.authorization.as_ref().map(|authorization| revoke(&api, authorization));
        if let Some(Err(error)) = revoked {
            session
                .screen
                .remark(format!("The token was not given back: {}", ruko_core::exit::chain(&error)));
        }
        Credentials::forget(&session.home, &server.url)?;
    }
    Servers::forget(&session.home, name)?;
    Ok(session.screen.line(format!("Forgot {name}"))?)
}

fn known(name: &ServerName, session: &Session) -> Result<KnownServer, Error> {
    let missing =
        || Fault::refused(format!("there is no server `{name}`")).hint("`openruko servers` lists them");
    Servers::load(&session.home)?.servers.remove(name).ok_or_else(|| missing().into())
}
