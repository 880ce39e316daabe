//! `openruko admin user`.

use std::io::Write;

use clap::Subcommand;
use ruko_api_client::ApiClient;
use ruko_core::UserName;

use super::{Done, show};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user; one that is there already stays as it is
    Add {
        /// The user's name
        name: UserName,
    },
    /// List all users
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a user who owns no apps, with their keys and their access to apps
    Remove {
        /// The user's name
        name: UserName,
    },
}

pub(super) fn run(command: Command, client: &ApiClient, out: &mut dyn Write) -> Done {
    match command {
        Command::Add { name } => match client.add_user(&name)?.new {
            true => writeln!(out, "user `{name}` added")?,
            false => writeln!(out, "user `{name}` was there already")?,
        },
        Command::List { json } => {
            let users = client.users()?;
            if json {
                return Ok(show::json(out, &users)?);
            }
            let rows: Vec<_> = users.into_iter().map(|user| [user.name.into(), user.created_at]).collect();
            show::table(out, &rows)?;
        }
        Command::Remove { name } => {
            client.remove_user(&name)?;
            writeln!(out, "user `{name}` removed")?;
        }
    }
    Ok(())
}
