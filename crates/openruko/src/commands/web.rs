//! How an app's web dynos prove themselves before they get requests, and when they sleep.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use ruko_api_types::host::WebSettings;
use ruko_api_types::platform::WebSettingsChanges;
use serde_json::Value;

use super::Done;
use super::output::Table;
use super::session::{AppArgs, Session, read};

/// Show or set how web dynos prove themselves, and when they sleep
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WebArgs {
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
    Set(SetArgs),
}

/// Set how web dynos prove themselves, and when they sleep
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openruko web:set --check /health
  openruko web:set --idle-after 30m --force-https on
  openruko web:set --check none --idle-after never")]
pub(crate) struct SetArgs {
    /// The path that a new web dyno must answer with a status from 200 to 399 before it gets requests; `none`:
    /// listening is enough
    #[arg(long, value_name = "PATH")]
    check: Option<Check>,
    /// How long nobody asks for the app until it sleeps, such as 30m or 2h; `never`: it does not
    #[arg(long, value_name = "TIME")]
    idle_after: Option<IdleAfter>,
    /// Whether requests over plain HTTP are sent to HTTPS
    #[arg(long, value_name = "on|off")]
    force_https: Option<Switch>,
    #[command(flatten)]
    app: AppArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// A path, or none. The server judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check(Option<String>);

impl FromStr for Check {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        match raw {
            "none" => Ok(Self(None)),
            path if path.starts_with('/') => Ok(Self(Some(path.to_owned()))),
            _ => Err("a path begins with `/`; `none` is the word for none"),
        }
    }
}

/// Seconds, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdleAfter(Option<u64>);

/// A time's last letter, and how many seconds it stands for: the longest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl FromStr for IdleAfter {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "a time is a number and s, m, h or d, such as 30m; or `never`";
        if raw == "never" {
            return Ok(Self(None));
        }
        let unit = raw.chars().next_back().and_then(|last| UNITS.iter().find(|(letter, _)| *letter == last));
        let (letter, seconds) = unit.ok_or(BAD)?;
        let number: u64 = raw.strip_suffix(*letter).unwrap_or_default().parse().map_err(|_| BAD)?;
        number.checked_mul(*seconds).map(|seconds| Self(Some(seconds))).ok_or(BAD)
    }
}

/// `30m`, as it can be typed.
fn shown(seconds: u64) -> String {
    let whole = UNITS.iter().find(|(_, unit)| seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(letter, unit)| format!("{}{letter}", seconds / unit))
}

pub(super) fn run(args: WebArgs, session: &Session) -> Done {
    match args.command {
        None => show(&args, session),
        Some(Command::Set(args)) => set(args, session),
    }
}

fn show(args: &WebArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let json: Value = target.api.get(&target.path("/web-settings"))?;
    if args.json {
        return Ok(session.screen.json(&json)?);
    }
    session.screen.heading(format!("{} Web Settings", target.app))?;
    table(&read(json, &target.server.url)?, session)
}

fn set(args: SetArgs, session: &Session) -> Done {
    let changes = WebSettingsChanges {
        check_path: args.check.map(|Check(path)| path),
        idle_after_seconds: args.idle_after.map(|IdleAfter(seconds)| seconds),
        force_https: args.force_https.map(|switch| matches!(switch, Switch::On)),
    };
    let target = session.target(&args.app)?;
    let path = target.path("/web-settings");
    let json: Value =
        session.screen.action(format!("Setting how the web sees ⬢ {}", target.app), || {
            target.api.patch(&path, &changes).map(|json| (json, String::new()))
        })?;
    if args.json {
        return Ok(session.screen.json(&json)?);
    }
    table(&read(json, &target.server.url)?, session)
}

fn table(settings: &WebSettings, session: &Session) -> Done {
    let mut table = Table::plain();
    table.row(["Check:", settings.check_path.as_deref().unwrap_or("none: listening is enough")]);
    let idle = settings.idle_after_seconds.map_or_else(|| "never".to_owned(), shown);
    table.row(["Idle after:", &idle]);
    table.row(["Force HTTPS:", if settings.force_https { "on" } else { "off" }]);
    Ok(session.screen.table(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_in_the_same_words() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("30d", 30 * 86_400)] {
            assert_eq!(text.parse(), Ok(IdleAfter(Some(seconds))));
            assert_eq!(shown(seconds), text);
        }
        assert_eq!("never".parse(), Ok(IdleAfter(None)));
        for bad in ["", "30", "m", "-1m", "1.5h", "30 m", "99999999999999999999s", "9999999999999999999d"] {
            assert!(bad.parse::<IdleAfter>().is_err(), "{bad}");
        }
        assert_eq!("none".parse(), Ok(Check(None)));
        assert!("health".parse::<Check>().is_err());
    }
}
