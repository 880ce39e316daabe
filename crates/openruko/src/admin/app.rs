//! `openruko admin app` and `openruko admin buildpacks`.

use std::io::Write;

use clap::Subcommand;
use ruko_api_client::ApiClient;
use ruko_api_types::{App, Destroyed};
use ruko_core::{AppName, Fault, UserName};

use super::{Done, show};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an app; one that this user owns already stays as it is
    Create {
        /// The app's name, which becomes part of its address
        name: AppName,
        /// Who owns it
        #[arg(long, value_name = "USER")]
        owner: UserName,
    },
    /// List all apps: name, owner, release, address
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one app
    Show {
        /// The app's name
        name: AppName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Destroy an app with its releases, config vars and builds
    Destroy {
        /// The app's name
        name: AppName,
        /// The name once more: nothing brings the app back
        #[arg(long, value_name = "NAME")]
        confirm: AppName,
    },
}

pub(super) fn run(command: Command, client: &ApiClient, out: &mut dyn Write) -> Done {
    match command {
        Command::Create { name, owner } => {
            let app = client.create_app(&name, &owner)?;
            match app.new {
                true => writeln!(out, "app `{name}` created, its address is {}", app.thing.web_url)?,
                false => writeln!(out, "app `{name}` of `{owner}` was there already")?,
            }
        }
        Command::List { json } => {
            let apps = client.apps()?;
            if json {
                return Ok(show::json(out, &apps)?);
            }
            let row =
                |app: App| [app.name.into(), app.owner.into(), show::version(Some(app.release)), app.web_url];
            show::table(out, &apps.into_iter().map(row).collect::<Vec<_>>())?;
        }
        Command::Show { name, json } => {
            let app = client.app(&name)?;
            if json {
                return Ok(show::json(out, &app)?);
            }
            show::table(out, &described(app))?;
        }
        Command::Destroy { name, confirm } => {
            if confirm != name {
                return Err(
                    Fault::usage(format!("--confirm says `{confirm}`, but the app is `{name}`")).into()
                );
            }
            destroyed(&client.destroy_app(&name)?, out)?;
        }
    }
    Ok(())
}

fn described(app: App) -> Vec<[String; 2]> {
    let push = app.push.map_or_else(
        || "-".to_owned(),
        |push| format!("{} by {}, {} s ago", push.push, push.user, push.seconds),
    );
    let or_none = |list: String| if list.is_empty() { "-".to_owned() } else { list };
    let buildpacks = if app.buildpacks.is_empty() { "detected".into() } else { app.buildpacks.join(", ") };
    let rows: [(&str, String); 11] = [
        ("name", app.name.into()),
        ("id", app.id),
        ("owner", app.owner.into()),
        ("collaborators", or_none(show::joined(&app.collaborators))),
        ("stack", app.stack.into()),
        ("buildpacks", buildpacks),
        ("repository", format!("version {}", app.repo_version)),
        ("release", show::version(Some(app.release))),
        ("open push", push),
        ("address", app.web_url),
        ("created", app.created_at),
    ];
    rows.into_iter().map(|(key, value)| [key.to_owned(), value]).collect()
}

fn destroyed(destroyed: &Destroyed, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "app `{}` destroyed; what it has in storage is deleted in the background",
        destroyed.app.name
    )
}

#[derive(Debug, Subcommand)]
pub(super) enum BuildpacksCommand {
    /// Replace the list of an app's buildpacks
    #[command(after_help = "Examples:
  openruko admin buildpacks set shop https://github.com/heroku/heroku-buildpack-nodejs python
  openruko admin buildpacks set shop")]
    Set {
        /// The app's name
        app: AppName,
        /// URLs with an optional #REF, or names of buildpacks that ship with openruko, in order; none
        /// means detect
        #[arg(value_name = "URL")]
        urls: Vec<String>,
    },
}

pub(super) fn run_buildpacks(command: BuildpacksCommand, client: &ApiClient, out: &mut dyn Write) -> Done {
    let BuildpacksCommand::Set { app, urls } = command;
    let set = client.set_buildpacks(&app, urls)?.buildpacks;
    match set.is_empty() {
        true => writeln!(out, "the next push to `{app}` detects its buildpack")?,
        false => writeln!(out, "the next push to `{app}` uses {}", set.join(", "))?,
    }
    Ok(())
}
