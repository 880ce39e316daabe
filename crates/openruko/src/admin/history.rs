//! `openruko admin releases`, `builds`, `output` and `logs`.

use std::io::Write;

use clap::Args;
use ruko_api_client::ApiClient;
use ruko_api_types::{Build, BuildStatus, Release};
use ruko_core::{AppName, PushId, message};

use super::{Done, show};

#[derive(Debug, Args)]
pub(super) struct ReleasesArgs {
    /// The app's name
    app: AppName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct BuildsArgs {
    /// The app's name
    app: AppName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  openruko admin output 01JDC5Z8M3K7Q0V4T9XWBH2N6R --follow")]
pub(super) struct OutputArgs {
    /// The push's id, as `openruko admin builds` prints it
    push: PushId,
    /// Go on printing until the build has ended
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  openruko admin logs my-app --num 20 --ps web")]
pub(super) struct LogsArgs {
    /// The app's name
    app: AppName,
    /// How many of the last lines
    #[arg(short, long, value_name = "LINES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=1500))]
    num: u32,
    /// Only this dyno, or this process type
    #[arg(short, long, value_name = "DYNO")]
    ps: Option<String>,
    /// Only app or heroku
    #[arg(short, long, value_name = "SOURCE")]
    source: Option<String>,
}

pub(super) fn releases(args: &ReleasesArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    let releases = client.releases(&args.app)?;
    if args.json {
        return Ok(show::json(out, &releases)?);
    }
    let row = |release: Release| {
        let size = release.slug.map_or_else(|| "-".to_owned(), |slug| message::bytes(slug.bytes));
        let types: Vec<_> = release.process_types.into_keys().collect();
        let (version, user) = (show::version(Some(release.version)), release.user.into());
        [version, release.description, size, show::joined(&types), user, release.created_at]
    };
    show::table(out, &releases.into_iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

pub(super) fn builds(args: &BuildsArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    let builds = client.builds(&args.app)?;
    if args.json {
        return Ok(show::json(out, &builds)?);
    }
    let row = |build: Build| {
        let status = status(build.status).to_owned();
        let release = show::version(build.release);
        let reason = build.reason.unwrap_or_default();
        [build.push.into(), status, release, build.user.into(), build.created_at, reason]
    };
    show::table(out, &builds.into_iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

pub(super) fn status(status: BuildStatus) -> &'static str {
    match status {
        BuildStatus::Queued => "queued",
        BuildStatus::Pending => "pending",
        BuildStatus::Succeeded => "succeeded",
        BuildStatus::Failed => "failed",
        BuildStatus::Lost => "lost",
    }
}

pub(super) fn output(args: &OutputArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    Ok(client.copy_output(&args.push, args.follow, out)?)
}

pub(super) fn logs(args: &LogsArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    for line in client.log(&args.app, args.num, args.ps.as_deref(), args.source.as_deref())? {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
