//! `openruko admin access`.

use std::io::Write;

use clap::Subcommand;
use ruko_api_client::ApiClient;
use ruko_core::{AppName, UserName};

use super::Done;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Let a user push to and fetch an app
    Add {
        /// The app's name
        app: AppName,
        /// The user's name
        user: UserName,
    },
    /// Take that access away
    Remove {
        /// The app's name
        app: AppName,
        /// The user's name
        user: UserName,
    },
}

pub(super) fn run(command: &Command, client: &ApiClient, out: &mut dyn Write) -> Done {
    match command {
        Command::Add { app, user } => {
            client.add_collaborator(app, user)?;
            writeln!(out, "`{user}` can push to and fetch `{app}`")?;
        }
        Command::Remove { app, user } => {
            client.remove_collaborator(app, user)?;
            writeln!(out, "`{user}` can no longer push to and fetch `{app}`")?;
        }
    }
    Ok(())
}
