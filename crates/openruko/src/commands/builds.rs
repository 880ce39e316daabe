//! The builds of an app.

use std::num::NonZeroU64;

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Build, BuildStatus};
use ruko_client::escape;
use ruko_core::Fault;
use serde_json::Value;

use super::output::{Table, when};
use super::session::{AppArgs, Session, Target, read};
use super::{Done, Error, releases};

/// List the builds of an app, newest first; show one and what it printed
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BuildsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    app: AppArgs,
    /// How many
    #[arg(short, long, value_name = "COUNT", default_value = "15")]
    num: NonZeroU64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a build
    Info {
        /// The build's id; the newest if not given
        #[arg(value_name = "BUILD")]
        build: Option<String>,
        #[command(flatten)]
        app: AppArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a build printed, and follow it while it runs
    Output {
        /// The build's id; the newest if not given
        #[arg(value_name = "BUILD")]
        build: Option<String>,
        #[command(flatten)]
        app: AppArgs,
    },
}

pub(super) fn run(args: BuildsArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args, session),
        Some(Command::Info { build, app, json }) => {
            info(build.as_deref(), &session.target(&app)?, json, session)
        }
        Some(Command::Output { build, app }) => {
            let target = session.target(&app)?;
            let (_, build) = one(build.as_deref(), &target)?;
            releases::follow(&target.api, &build.output_stream_url, &session.screen)
        }
    }
}

fn newest(target: &Target, count: u64) -> Result<Vec<Value>, Error> {
    let range = format!("created_at ..; max={count}, order=desc");
    Ok(target.api.page(&target.path("/builds"), Some(&range))?.items)
}

fn list(args: &BuildsArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let builds = Value::Array(newest(&target, args.num.get())?);
    if args.json {
        return Ok(session.screen.json(&builds)?);
    }
    let builds: Vec<Build> = read(builds, &target.server.url)?;
    if builds.is_empty() {
        session.screen.remark(format!("⬢ {} has no builds.", target.app));
        return Ok(());
    }
    session.screen.heading(format!("{} Builds", target.app))?;
    let mut table = Table::plain();
    for build in &builds {
        table.row([
            &build.id,
            status(build.status),
            version(build),
            &build.user.email,
            &when(&build.created_at),
        ]);
    }
    Ok(session.screen.table(&table)?)
}

fn one(wanted: Option<&str>, target: &Target) -> Result<(Value, Build), Error> {
    let nothing = || Fault::refused(format!("⬢ {} has no builds", target.app));
    let json: Value = match wanted {
        Some(id) => target.api.get(&target.path(&format!("/builds/{}", escape(id))))?,
        None => newest(target, 1)?.into_iter().next().ok_or_else(nothing)?,
    };
    Ok((json.clone(), read(json, &target.server.url)?))
}

fn info(wanted: Option<&str>, target: &Target, json: bool, session: &Session) -> Done {
    let (value, build) = one(wanted, target)?;
    if json {
        return Ok(session.screen.json(&value)?);
    }
    session.screen.heading(format!("Build {}", build.id))?;
    let buildpacks: Vec<&str> =
        build.buildpacks.iter().flatten().map(|buildpack| buildpack.url.as_str()).collect();
    let mut table = Table::plain();
    table.row(["By:", &build.user.email]);
    table.row(["Status:", status(build.status)]);
    table.row(["Version:", version(&build)]);
    table.row(["Stack:", &build.stack]);
    table.row([
        "Buildpacks:",
        &if buildpacks.is_empty() { "detected".to_owned() } else { buildpacks.join(", ") },
    ]);
    table.row(["When:", &when(&build.created_at)]);
    Ok(session.screen.table(&table)?)
}

fn version(build: &Build) -> &str {
    build.source_blob.version.as_deref().unwrap_or("-")
}

fn status(status: BuildStatus) -> &'static str {
    match status {
        BuildStatus::Pending => "pending",
        BuildStatus::Succeeded => "succeeded",
        BuildStatus::Failed => "failed",
        BuildStatus::Unknown => "unknown",
    }
}
