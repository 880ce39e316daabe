//! Who may do what with an app.

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Collaborator, NewCollaborator, Permission};
use ruko_client::escape;
use serde_json::Value;

use super::Done;
use super::output::Table;
use super::session::{AppArgs, Session, read};

/// List those who have access to an app, give and take it
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    app: AppArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give a user access
    Add {
        /// The user's e-mail address or name
        #[arg(value_name = "EMAIL")]
        user: String,
        /// What the user may do: view, deploy, operate, manage
        #[arg(short, long, value_name = "PERMISSIONS", value_delimiter = ',')]
        permissions: Option<Vec<Permission>>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Take a user's access away
    Remove {
        /// The user's e-mail address or name
        #[arg(value_name = "EMAIL")]
        user: String,
        #[command(flatten)]
        app: AppArgs,
    },
}

pub(super) fn run(args: AccessArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args.app, args.json, session),
        Some(Command::Add { user, permissions, app }) => {
            let target = session.target(&app)?;
            let path = target.path("/collaborators");
            let what = format!("Adding {user} access to the app ⬢ {}", target.app);
            let wanted = NewCollaborator { user, permissions };
            session
                .screen
                .action(what, || target.api.post::<Value>(&path, &wanted).map(|_| ((), String::new())))?;
            Ok(())
        }
        Some(Command::Remove { user, app }) => {
            let target = session.target(&app)?;
            let path = target.path(&format!("/collaborators/{}", escape(&user)));
            session
                .screen
                .action(format!("Removing {user} access from the app ⬢ {}", target.app), || {
                    target.api.delete(&path).map(|()| ((), String::new()))
                })?;
            Ok(())
        }
    }
}

fn list(app: &AppArgs, json: bool, session: &Session) -> Done {
    let target = session.target(app)?;
    let all: Vec<Value> = target.api.list(&target.path("/collaborators"))?;
    if json {
        return Ok(session.screen.json(&Value::Array(all))?);
    }
    let all: Vec<Collaborator> = read(Value::Array(all), &target.server.url)?;
    let mut table = Table::plain();
    for one in &all {
        let permissions = one.permissions.iter().flatten().map(|permission| permission.name.as_str());
        table.row([&one.user.email, &one.role, &permissions.collect::<Vec<_>>().join(", ")]);
    }
    Ok(session.screen.table(&table)?)
}
