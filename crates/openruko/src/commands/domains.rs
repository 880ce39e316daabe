//! The domains of an app.

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Domain, NewDomain};
use ruko_client::escape;
use serde_json::Value;

use super::confirm::confirm;
use super::output::Table;
use super::session::{AppArgs, Session, read};
use super::{Done, Error};

/// What [`Domain::kind`] says of a domain that a user added.
const CUSTOM: &str = "custom";

/// List, add and remove the domains of an app
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DomainsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    app: AppArgs,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a domain
    Add {
        /// The host name
        #[arg(value_name = "HOSTNAME")]
        hostname: String,
        /// The certificate, by name
        #[arg(short, long, value_name = "NAME")]
        cert: Option<String>,
        #[command(flatten)]
        app: AppArgs,
        /// Print JSON
        #[arg(short, long)]
        json: bool,
    },
    /// Remove a domain
    Remove {
        /// The host name
        #[arg(value_name = "HOSTNAME")]
        hostname: String,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Remove all domains that were added
    Clear {
        #[command(flatten)]
        app: AppArgs,
        /// The app's name, so that nothing is asked
        #[arg(long, value_name = "APP")]
        confirm: Option<String>,
    },
}

pub(super) fn run(args: DomainsArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args.app, args.json, session),
        Some(Command::Add { hostname, cert, app, json }) => {
            add(NewDomain { hostname, sni_endpoint: cert }, &app, json, session)
        }
        Some(Command::Remove { hostname, app }) => {
            let target = session.target(&app)?;
            let path = target.path(&format!("/domains/{}", escape(&hostname)));
            session.screen.action(format!("Removing {hostname} from ⬢ {}", target.app), || {
                target.api.delete(&path).map(|()| ((), String::new()))
            })?;
            Ok(())
        }
        Some(Command::Clear { app, confirm }) => clear(&app, confirm.as_deref(), session),
    }
}

fn list(app: &AppArgs, json: bool, session: &Session) -> Done {
    let target = session.target(app)?;
    let domains: Vec<Value> = target.api.list(&target.path("/domains"))?;
    if json {
        return Ok(session.screen.json(&Value::Array(domains))?);
    }
    let domains: Vec<Domain> = read(Value::Array(domains), &target.server.url)?;
    let (custom, own): (Vec<_>, Vec<_>) = domains.iter().partition(|domain| domain.kind == CUSTOM);
    session.screen.heading(format!("{} Domain", target.app))?;
    for domain in own {
        session.screen.line(&domain.hostname)?;
    }
    if custom.is_empty() {
        return Ok(());
    }
    session.screen.gap()?;
    session.screen.heading(format!("{} Custom Domains", target.app))?;
    let mut table = Table::with_head(["Domain Name", "DNS Target", "Status", "Certificate"]);
    for domain in custom {
        let certificate = domain.sni_endpoint.as_ref().map_or("-", |endpoint| &endpoint.name);
        table.row([&domain.hostname, domain.cname.as_deref().unwrap_or("-"), &domain.status, certificate]);
    }
    Ok(session.screen.table(&table)?)
}

fn add(wanted: NewDomain, app: &AppArgs, json: bool, session: &Session) -> Done {
    let target = session.target(app)?;
    let path = target.path("/domains");
    let made = session.screen.action(format!("Adding {} to ⬢ {}", wanted.hostname, target.app), || {
        target.api.post::<Value>(&path, &wanted).map(|made| (made, String::new()))
    })?;
    if json {
        return Ok(session.screen.json(&made)?);
    }
    let made: Domain = read(made, &target.server.url)?;
    if let Some(cname) = made.cname {
        session
            .screen
            .remark(format!("Configure your app's DNS provider to point to the DNS Target {cname}."));
    }
    Ok(())
}

fn clear(app: &AppArgs, confirmed: Option<&str>, session: &Session) -> Done {
    let target = session.target(app)?;
    let what = format!("this removes all custom domains of ⬢ {}", target.app);
    confirm(&session.screen, &what, &target.app, confirmed)?;
    session.screen.action(format!("Removing all domains from ⬢ {}", target.app), || {
        let domains: Vec<Domain> = target.api.list(&target.path("/domains"))?;
        for domain in domains.iter().filter(|domain| domain.kind == CUSTOM) {
            target.api.delete(&target.path(&format!("/domains/{}", escape(&domain.hostname))))?;
        }
        Ok::<_, Error>(((), String::new()))
    })
}
