//! The releases of an app.

use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::str::FromStr;

use clap::{Args, Subcommand};
use ruko_api_types::platform::{ConfigVars, NewRelease, Release, ReleaseStatus};
use ruko_client::{Api, ClientError};
use ruko_core::Fault;
use serde_json::Value;

use super::output::{Screen, Table, plain, when};
use super::session::{AppArgs, Session, Target, read};
use super::{Done, Error};

/// List the releases of an app, newest first; show one; roll back
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ReleasesArgs {
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
    /// Show a release
    Info {
        /// The release, such as v7; the newest if not given
        #[arg(value_name = "RELEASE")]
        release: Option<Version>,
        #[command(flatten)]
        app: AppArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what the release phase printed
    Output {
        /// The release, such as v7; the newest if not given
        #[arg(value_name = "RELEASE")]
        release: Option<Version>,
        #[command(flatten)]
        app: AppArgs,
    },
    Rollback(RollbackArgs),
}

/// Go back to an earlier release: makes a new one of its slug and config vars
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The release, such as v7; the one before the newest if not given
    #[arg(value_name = "RELEASE")]
    release: Option<Version>,
    #[command(flatten)]
    app: AppArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `v7` or `7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version(u64);

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        raw.strip_prefix('v').unwrap_or(raw).parse().map(Self).map_err(|_| "it is not like v7")
    }
}

pub(super) fn run(args: ReleasesArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args, session),
        Some(Command::Info { release, app, json }) => info(release, &session.target(&app)?, json, session),
        Some(Command::Output { release, app }) => output(release, &session.target(&app)?, session),
        Some(Command::Rollback(args)) => rollback(&args, session),
    }
}

fn list(args: &ReleasesArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let range = format!("version ..; max={}, order=desc", args.num);
    let releases: Value = Value::Array(target.api.page(&target.path("/releases"), Some(&range))?.items);
    if args.json {
        return Ok(session.screen.json(&releases)?);
    }
    let releases: Vec<Release> = read(releases, &target.server.url)?;
    let Some(newest) = releases.first() else {
        session.screen.remark(format!("⬢ {} has no releases.", target.app));
        return Ok(());
    };
    let current = releases.iter().find(|release| release.current).unwrap_or(newest);
    session.screen.heading(format!("{} Releases - Current: v{}", target.app, current.version))?;
    let mut table = Table::plain();
    for release in &releases {
        let version = format!("v{}", release.version);
        table.row([&version, &described(release), &release.user.email, &when(&release.created_at)]);
    }
    Ok(session.screen.table(&table)?)
}

fn described(release: &Release) -> String {
    match release.status {
        ReleaseStatus::Succeeded | ReleaseStatus::Unknown => release.description.clone(),
        status => format!("{} ({})", release.description, status.as_str()),
    }
}

/// The named release, or the newest: as the API gave it, and read.
fn one(wanted: Option<Version>, target: &Target) -> Result<(Value, Release), Error> {
    let json = match wanted {
        Some(Version(version)) => target.api.get(&target.path(&format!("/releases/{version}")))?,
        None => newest(target, 1)?.into_iter().next().ok_or_else(|| none(target))?,
    };
    Ok((json.clone(), read(json, &target.server.url)?))
}

fn newest(target: &Target, count: u64) -> Result<Vec<Value>, ClientError> {
    let range = format!("version ..; max={count}, order=desc");
    Ok(target.api.page(&target.path("/releases"), Some(&range))?.items)
}

fn none(target: &Target) -> Fault {
    Fault::refused(format!("⬢ {} has no releases", target.app))
}

fn info(wanted: Option<Version>, target: &Target, json: bool, session: &Session) -> Done {
    let (value, release) = one(wanted, target)?;
    if json {
        return Ok(session.screen.json(&value)?);
    }
    let vars: ConfigVars =
        target.api.get(&target.path(&format!("/releases/{}/config-vars", release.version)))?;
    session.screen.heading(format!("Release v{}", release.version))?;
    let mut table = Table::plain();
    table.row(["By:", &release.user.email]);
    table.row(["Change:", &release.description]);
    table.row(["Status:", release.status.as_str()]);
    table.row(["When:", &when(&release.created_at)]);
    session.screen.table(&table)?;
    session.screen.gap()?;
    session.screen.heading(format!("v{} Config Vars", release.version))?;
    for (name, value) in vars {
        session.screen.text(&format!("{name}: {value}"))?;
    }
    Ok(())
}

fn output(wanted: Option<Version>, target: &Target, session: &Session) -> Done {
    let (_, release) = one(wanted, target)?;
    match release.output_stream_url {
        Some(url) => follow(&target.api, &url, &session.screen),
        None => {
            session.screen.remark(format!("Release v{} has no release output.", release.version));
            Ok(())
        }
    }
}

/// Copies what a build or a release phase prints, until it ends.
pub(super) fn follow(api: &Api, url: &str, screen: &Screen) -> Done {
    let stream = match api.text(url) {
        Err(error) if error.status() == Some(404) => {
            return Err(Fault::try_again("it has not started yet").hint("try again in a moment").into());
        }
        stream => stream?,
    };
    match screen.out_terminal {
        true => copy(stream, &mut plain::Coloured::new(io::stdout()), api),
        false => copy(stream, &mut io::stdout(), api),
    }
}

fn copy(mut from: impl Read, to: &mut dyn Write, api: &Api) -> Done {
    let mut piece = vec![0; 16 << 10];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(to.flush()?),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ClientError::BrokeOff { server: api.url().to_string(), source }.into()),
        };
        to.write_all(&piece[..length])?;
        // Each piece when it comes: somebody watches.
        to.flush()?;
    }
}

pub(super) fn rollback(args: &RollbackArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let to = match args.release {
        Some(_) => one(args.release, &target)?.1,
        None => {
            let releases: Vec<Release> = read(Value::Array(newest(&target, 10)?), &target.server.url)?;
            let before = releases.into_iter().filter(|release| release.eligible_for_rollback).nth(1);
            before.ok_or_else(|| Fault::refused(format!("⬢ {} has no release to go back to", target.app)))?
        }
    };
    let wanted = NewRelease { release: Some(to.id), ..NewRelease::default() };
    let path = target.path("/releases");
    let (json, made) =
        session.screen.action(format!("Rolling back ⬢ {} to v{}", target.app, to.version), || {
            let json: Value = target.api.post(&path, &wanted)?;
            let made: Release = read(json.clone(), &target.server.url)?;
            let detail = format!(", v{}", made.version);
            Ok::<_, Error>(((json, made), detail))
        })?;
    if args.json {
        return Ok(session.screen.json(&json)?);
    }
    match made.output_stream_url {
        Some(url) => follow(&target.api, &url, &session.screen),
        None => {
            session.screen.remark("Rollback affects code and config vars.");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_named_with_and_without_their_letter() {
        assert_eq!("v7".parse(), Ok(Version(7)));
        assert_eq!("7".parse(), Ok(Version(7)));
        assert!("".parse::<Version>().is_err() && "vv7".parse::<Version>().is_err());
    }
}
