//! `openruko admin pushes`.

use std::io::Write;

use clap::Args;
use ruko_api_client::ApiClient;
use ruko_api_types::push_log::{PushRecord, StepTime};
use ruko_api_types::{BuildStatus, RefUpdate};
use ruko_core::{AppName, UserName};

use super::{Done, show};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openruko admin pushes --app shop --failed
  openruko admin pushes --json | jq '.[] | select(.waited_ms > 10000)'")]
pub(super) struct PushesArgs {
    /// To this app alone
    #[arg(long)]
    app: Option<AppName>,
    /// By this user alone
    #[arg(long)]
    user: Option<UserName>,
    /// Only those that came to nothing
    #[arg(long)]
    failed: bool,
    /// The most entries
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PushesArgs, client: &ApiClient, out: &mut dyn Write) -> Done {
    let pushes = client.pushes(args.app.as_ref(), args.user.as_ref(), args.failed, args.limit)?;
    if args.json {
        return Ok(show::json(out, &pushes)?);
    }
    show::table(out, &pushes.into_iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

fn row(push: PushRecord) -> [String; 9] {
    let result = match (push.status, push.release) {
        (BuildStatus::Succeeded, Some(version)) => format!("released v{version}"),
        (BuildStatus::Succeeded, None) => "stored".to_owned(),
        (status, _) => super::history::status(status).to_owned(),
    };
    [
        push.push.into(),
        push.created_at,
        push.app.to_string(),
        push.user.into(),
        refs(&push.refs),
        result,
        push.waited_ms.map_or_else(|| "-".to_owned(), |ms| format!("waited {}", seconds(ms))),
        steps(&push.steps),
        push.reason.unwrap_or_default(),
    ]
}

fn refs(updates: &[RefUpdate]) -> String {
    let short = |update: &RefUpdate| {
        let name = &update.name;
        name.strip_prefix("refs/heads/").or(name.strip_prefix("refs/")).unwrap_or(name).to_owned()
    };
    match updates {
        [] => "-".to_owned(),
        [first] => short(first),
        [first, others @ ..] => format!("{} and {} more", short(first), others.len()),
    }
}

/// What took no time is left out.
fn steps(steps: &[StepTime]) -> String {
    let shown = steps.iter().filter(|time| time.ms > 0 && !time.step.is_waiting());
    let shown: Vec<String> = shown.map(|time| format!("{} {}", time.step.name(), seconds(time.ms))).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(" ") }
}

fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        _ => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use ruko_api_types::push_log::Step;

    use super::*;

    #[test]
    fn times_are_short_and_what_took_none_is_left_out() {
        let time = |step, ms| StepTime { step, ms };
        let all = [time(Step::Authorize, 0), time(Step::Lease, 900), time(Step::Compile, 61_250)];
        assert_eq!(steps(&all), "compile 61.2s");
        assert_eq!(steps(&all[..1]), "-");
        assert_eq!(seconds(999), "999ms");
    }
}
