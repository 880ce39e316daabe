//! The dynos of an app.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Dyno, Formation, FormationUpdate, FormationUpdates, Quantity};
use ruko_client::escape;
use ruko_core::Fault;
use serde_json::Value;

use super::Done;
use super::output::{Table, when};
use super::session::{AppArgs, Session, read};

/// List, scale, restart and stop the dynos of an app
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PsArgs {
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
    Scale(ScaleArgs),
    Restart(RestartArgs),
    /// Stop a dyno, or all of a process type
    Stop {
        /// A dyno such as run.1234, or a process type
        #[arg(value_name = "DYNO")]
        dyno: String,
        #[command(flatten)]
        app: AppArgs,
    },
}

/// Show or set how many dynos there are of each process type
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openruko ps:scale web=2 worker+1
  openruko ps:scale web=1:standard-2x")]
pub(crate) struct ScaleArgs {
    /// TYPE=COUNT, TYPE+MORE or TYPE-FEWER, each perhaps with :SIZE
    #[arg(value_name = "TYPE=COUNT")]
    changes: Vec<Change>,
    #[command(flatten)]
    app: AppArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Restart the dynos of an app
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// A dyno such as web.1, or a process type; all if not given
    #[arg(value_name = "DYNO")]
    which: Option<String>,
    /// A dyno
    #[arg(short, long, value_name = "DYNO", conflicts_with = "which")]
    dyno_name: Option<String>,
    /// A process type
    #[arg(short, long, value_name = "TYPE", conflicts_with_all = ["which", "dyno_name"])]
    process_type: Option<String>,
    #[command(flatten)]
    app: AppArgs,
}

/// `web=2:standard-1x` as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change(FormationUpdate);

impl FromStr for Change {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let wrong = || "it is not like web=2, web+1 or web=1:standard-1x".to_owned();
        let (quantity, size) = match raw.split_once(':') {
            Some((quantity, size)) => (quantity, Some(size.to_owned())),
            None => (raw, None),
        };
        // A type may have dashes: the sign is the one before the digits.
        let sign = quantity.rfind(['=', '+', '-']).ok_or_else(wrong)?;
        let (kind, mut count) = quantity.split_at(sign);
        count = count.strip_prefix('=').unwrap_or(count);
        let kind_ok =
            !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !kind_ok || size.as_deref() == Some("") {
            return Err(wrong());
        }
        let count: Quantity = count.parse().map_err(|_| wrong())?;
        Ok(Self(FormationUpdate { kind: kind.to_owned(), quantity: Some(count), size }))
    }
}

pub(super) fn run(args: PsArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args.app, args.json, session),
        Some(Command::Scale(args)) => scale(&args, session),
        Some(Command::Restart(args)) => restart(&args, session),
        Some(Command::Stop { dyno, app }) => {
            let target = session.target(&app)?;
            let path = match is_dyno(&dyno) {
                true => target.path(&format!("/dynos/{}/actions/stop", escape(&dyno))),
                false => target.path(&format!("/formations/{}/actions/stop", escape(&dyno))),
            };
            let what = format!("Stopping {} on ⬢ {}", called(&dyno), target.app);
            session.screen.action(what, || {
                target.api.post::<Value>(&path, &serde_json::json!({})).map(|_| ((), String::new()))
            })?;
            Ok(())
        }
    }
}

fn list(app: &AppArgs, json: bool, session: &Session) -> Done {
    let target = session.target(app)?;
    let dynos: Vec<Value> = target.api.list(&target.path("/dynos"))?;
    if json {
        return Ok(session.screen.json(&Value::Array(dynos))?);
    }
    let mut dynos: Vec<Dyno> = read(Value::Array(dynos), &target.server.url)?;
    if dynos.is_empty() {
        session.screen.remark(format!("No dynos on ⬢ {}", target.app));
        return Ok(());
    }
    dynos.sort_by_key(|dyno| place(&dyno.name));
    let mut groups = BTreeMap::<(String, String), Vec<Dyno>>::new();
    for dyno in dynos {
        groups.entry((dyno.kind.clone(), dyno.command.clone())).or_default().push(dyno);
    }
    for (index, ((kind, command), dynos)) in groups.iter().enumerate() {
        if index > 0 {
            session.screen.gap()?;
        }
        let size = dynos.first().map_or("", |dyno| &dyno.size);
        session.screen.heading(format!("{kind} ({size}): {command} ({})", dynos.len()))?;
        let mut table = Table::plain();
        for dyno in dynos {
            table.row([&format!("{}:", dyno.name), dyno.state.as_str(), &when(&dyno.updated_at)]);
        }
        session.screen.table(&table)?;
    }
    Ok(())
}

/// `web.10` after `web.9`.
fn place(name: &str) -> (String, u64) {
    let (kind, number) = name.rsplit_once('.').unwrap_or((name, ""));
    (kind.to_owned(), number.parse().unwrap_or(0))
}

pub(super) fn scale(args: &ScaleArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let path = target.path("/formation");
    if args.changes.is_empty() {
        let formation: Value = target.api.get(&path)?;
        if args.json {
            return Ok(session.screen.json(&formation)?);
        }
        let formation: Vec<Formation> = read(formation, &target.server.url)?;
        if formation.is_empty() {
            return Err(Fault::refused(format!(
                "⬢ {} has no process types: nothing was deployed",
                target.app
            ))
            .into());
        }
        let all: Vec<_> =
            formation.iter().map(|one| format!("{}={}:{}", one.kind, one.quantity, one.size)).collect();
        return Ok(session.screen.line(all.join(" "))?);
    }
    let updates = FormationUpdates { updates: args.changes.iter().map(|change| change.0.clone()).collect() };
    let changed = session.screen.action("Scaling dynos", || {
        let changed: Value = target.api.patch(&path, &updates)?;
        let formation: Vec<Formation> = read(changed.clone(), &target.server.url)?;
        let now = formation.iter().filter(|one| updates.updates.iter().any(|update| update.kind == one.kind));
        let now: Vec<_> = now.map(|one| format!("{} at {}:{}", one.kind, one.quantity, one.size)).collect();
        Ok::<_, super::Error>((changed, format!(", now running {}", now.join(", "))))
    })?;
    if args.json {
        session.screen.json(&changed)?;
    }
    Ok(())
}

pub(super) fn restart(args: &RestartArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let dyno = args.dyno_name.as_ref().or(args.which.as_ref().filter(|which| is_dyno(which)));
    let kind = args.process_type.as_ref().or(args.which.as_ref().filter(|which| !is_dyno(which)));
    let (path, what) = match (dyno, kind) {
        (Some(dyno), _) => (format!("/dynos/{}", escape(dyno)), called(dyno)),
        (None, Some(kind)) => (format!("/formations/{}", escape(kind)), called(kind)),
        (None, None) => ("/dynos".to_owned(), "all dynos".to_owned()),
    };
    let path = target.path(&path);
    session.screen.action(format!("Restarting {what} on ⬢ {}", target.app), || {
        target.api.delete(&path).map(|()| ((), String::new()))
    })?;
    Ok(())
}

fn is_dyno(word: &str) -> bool {
    word.contains('.')
}

fn called(word: &str) -> String {
    if is_dyno(word) { format!("dyno {word}") } else { format!("all {word} dynos") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_to_scale_is_read() {
        let read = |raw: &str| {
            let update = raw.parse::<Change>().ok()?.0;
            Some((update.kind, update.quantity?.to_string(), update.size))
        };
        assert_eq!(read("web=2"), Some(("web".into(), "2".into(), None)));
        assert_eq!(read("worker+1"), Some(("worker".into(), "+1".into(), None)));
        assert_eq!(read("slow-worker-1"), Some(("slow-worker".into(), "-1".into(), None)));
        assert_eq!(read("web=1:standard-2x"), Some(("web".into(), "1".into(), Some("standard-2x".into()))));
        for bad in ["web", "web=", "=1", "web=x", "web=-1x", "web=1:", "a/b=1", "web==1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn dynos_are_sorted_by_number() {
        assert!(place("web.9") < place("web.10") && place("run.1") < place("web.1"));
    }
}
