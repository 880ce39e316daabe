//! The config vars of an app.

use std::fmt;
use std::io::Write;
use std::process::Command as Process;
use std::str::FromStr;

use clap::{Args, Subcommand};
use ruko_api_types::platform::{ConfigChanges, ConfigVars, Release};
use ruko_core::{ConfigVarName, Fault, Hint};
use serde_json::json;

use super::confirm::answer;
use super::output::plain;
use super::session::{AppArgs, Session, Target};
use super::{Done, Error};

/// List, get, set, remove and edit the config vars of an app
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct Format {
    /// Print lines that a shell can read
    #[arg(short, long, conflicts_with = "json")]
    shell: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the values of config vars
    Get {
        /// The names
        #[arg(value_name = "KEY", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        app: AppArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Set config vars; makes a release
    Set {
        /// Names and values
        #[arg(value_name = "KEY=VALUE", required = true)]
        vars: Vec<Assignment>,
        #[command(flatten)]
        app: AppArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove config vars; makes a release
    Unset {
        /// The names
        #[arg(value_name = "KEY", required = true)]
        names: Vec<String>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Change config vars in $VISUAL or $EDITOR; makes a release
    Edit {
        /// Only this one
        #[arg(value_name = "KEY")]
        name: Option<String>,
        #[command(flatten)]
        app: AppArgs,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
    },
}

/// `KEY=VALUE` as it was typed.
#[derive(Clone, PartialEq, Eq)]
struct Assignment {
    name: ConfigVarName,
    value: String,
}

/// Without the value.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let (name, value) = raw.split_once('=').ok_or("it has no `=` between name and value")?;
        let name = name.parse().map_err(|bad: ruko_core::names::BadName| bad.to_string())?;
        Ok(Self { name, value: value.to_owned() })
    }
}

pub(super) fn run(args: ConfigArgs, session: &Session) -> Done {
    match args.command {
        None => {
            let target = session.target(&args.app)?;
            let vars = target.vars()?;
            match (args.format.json, args.format.shell) {
                (false, false) => list(&target.app, &vars, session),
                _ => formatted(&args.format, &vars, session),
            }
        }
        Some(Command::Get { names, app, format }) => get(&names, &session.target(&app)?, &format, session),
        Some(Command::Set { vars, app, json }) => set(vars, &session.target(&app)?, json, session),
        Some(Command::Unset { names, app }) => {
            let target = session.target(&app)?;
            let what = format!("Unsetting {} and restarting ⬢ {}", names.join(", "), target.app);
            change(&target, &names.into_iter().map(|name| (name, None)).collect(), &what, session)?;
            Ok(())
        }
        Some(Command::Edit { name, app, yes }) => edit(name.as_deref(), &session.target(&app)?, yes, session),
    }
}

impl Target {
    fn vars(&self) -> Result<ConfigVars, Error> {
        Ok(self.api.get(&self.path("/config-vars"))?)
    }
}

fn list(app: &str, vars: &ConfigVars, session: &Session) -> Done {
    if vars.is_empty() {
        session.screen.remark(format!("⬢ {app} has no config vars."));
        return Ok(());
    }
    session.screen.heading(format!("{app} Config Vars"))?;
    pairs(vars, session)
}

/// Names and values in full: a value that was cut could be taken for the value.
fn pairs(vars: &ConfigVars, session: &Session) -> Done {
    let widest = vars.keys().map(|name| name.chars().count()).max().unwrap_or(0) + 1;
    for (name, value) in vars {
        let name = format!("{name}:");
        session.screen.text(&format!("{name:widest$} {value}"))?;
    }
    Ok(())
}

fn formatted(format: &Format, vars: &ConfigVars, session: &Session) -> Done {
    if format.json {
        return Ok(session.screen.json(&json!(vars))?);
    }
    for (name, value) in vars {
        session.screen.text(&format!("{name}={}", shell_words::quote(value)))?;
    }
    Ok(())
}

fn get(names: &[String], target: &Target, format: &Format, session: &Session) -> Done {
    let all = target.vars()?;
    if format.json || format.shell {
        let some = all.into_iter().filter(|(name, _)| names.contains(name)).collect();
        return formatted(format, &some, session);
    }
    for name in names {
        // An empty line for one that is not set, as the Heroku CLI prints it.
        session.screen.text(all.get(name).map_or("", String::as_str))?;
    }
    Ok(())
}

fn set(vars: Vec<Assignment>, target: &Target, json: bool, session: &Session) -> Done {
    let mut wanted = ConfigVars::new();
    for Assignment { name, value } in vars {
        if wanted.insert(name.to_string(), value).is_some() {
            return Err(Fault::usage(format!("{name} is given twice")).into());
        }
    }
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    let what = format!("Setting {} and restarting ⬢ {}", names.join(", "), target.app);
    let changes = wanted.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    let all = change(target, &changes, &what, session)?;
    match json {
        true => Ok(session.screen.json(&json!(all))?),
        false => pairs(&wanted, session),
    }
}

/// Makes a change and says which release it became; gives all config vars.
fn change(
    target: &Target,
    changes: &ConfigChanges,
    what: &str,
    session: &Session,
) -> Result<ConfigVars, Error> {
    session.screen.action(what, || {
        let all = target.api.patch(&target.path("/config-vars"), changes)?;
        let releases =
            target.api.page::<Release>(&target.path("/releases"), Some("version ..; order=desc, max=1"))?;
        let version = releases.items.first().map(|release| format!(", v{}", release.version));
        Ok((all, version.unwrap_or_default()))
    })
}

fn edit(name: Option<&str>, target: &Target, yes: bool, session: &Session) -> Done {
    let all = target.vars()?;
    let before: ConfigVars = match name {
        Some(name) => [(name.to_owned(), all.get(name).cloned().unwrap_or_default())].into(),
        None => all.clone(),
    };
    let after = parsed(&edited(&written(&before))?)?;
    let changes = difference(&all, &before, &after);
    if changes.is_empty() {
        session.screen.remark("Nothing was changed.");
        return Ok(());
    }
    shown(&all, &changes, session)?;
    if !yes && !matches!(answer(&format!("Update ⬢ {}? [y/N] ", target.app))?.as_str(), "y" | "Y" | "yes") {
        return Err(Fault::refused("nothing was changed").into());
    }
    if target.vars()? != all {
        return Err(Fault::refused(
            "the config vars were changed by somebody else meanwhile, nothing was changed",
        )
        .hint("edit them again")
        .into());
    }
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    let what = format!("Setting {} and restarting ⬢ {}", names.join(", "), target.app);
    change(target, &changes, &what, session)?;
    Ok(())
}

/// As the user edits them: a word each in a shell's spelling, so that a value may have several lines.
fn written(vars: &ConfigVars) -> String {
    vars.iter().map(|(name, value)| format!("{name}={}\n", shell_words::quote(value))).collect()
}

fn parsed(text: &str) -> Result<ConfigVars, Error> {
    let again = "edit them again: each is KEY='VALUE' on a line of its own";
    let words =
        shell_words::split(text).fault("the edited config vars cannot be read").map_err(|f| f.hint(again))?;
    let mut vars = ConfigVars::new();
    for word in words {
        let Assignment { name, value } = word.parse().map_err(|why| {
            let word: String = word.chars().take(40).collect();
            Fault::refused(format!("`{}` cannot be read: {why}", word.escape_debug())).hint(again)
        })?;
        vars.insert(name.to_string(), value);
    }
    Ok(vars)
}

/// What makes `after` of `before`, as far as `all` is not so already.
fn difference(all: &ConfigVars, before: &ConfigVars, after: &ConfigVars) -> ConfigChanges {
    let removed = before.keys().filter(|name| !after.contains_key(*name) && all.contains_key(*name));
    let removed = removed.map(|name| (name.clone(), None));
    let set = after.iter().filter(|(name, value)| all.get(*name) != Some(value));
    removed.chain(set.map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
}

fn shown(all: &ConfigVars, changes: &ConfigChanges, session: &Session) -> Done {
    for (name, new) in changes {
        if let Some(old) = all.get(name) {
            session.screen.text(&format!("- {name}={}", shell_words::quote(old)))?;
        }
        if let Some(new) = new {
            session.screen.text(&format!("+ {name}={}", shell_words::quote(new)))?;
        }
    }
    Ok(())
}

/// Lets the user edit text, in a file that nobody else can read and that is gone afterwards.
fn edited(text: &str) -> Result<String, Error> {
    let cannot = "cannot make a file to edit";
    let mut file =
        tempfile::Builder::new().prefix("openruko-config-").suffix(".env").tempfile().fault(cannot)?;
    file.write_all(text.as_bytes()).fault(cannot)?;
    let named = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".into());
    // A shell reads the variable, as git does: it may hold options.
    let mut process = Process::new("sh");
    process.args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file.path());
    let status = process.status().fault(format!("cannot run `{}`", plain::text(&editor)))?;
    if !status.success() {
        return Err(Fault::refused(format!("`{}` failed, nothing was changed", plain::text(&editor))).into());
    }
    Ok(std::fs::read_to_string(file.path()).fault("cannot read what was edited")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> ConfigVars {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_edited_comes_back_as_it_was() {
        let all = vars(&[
            ("A", ""),
            ("B", "it's \"quoted\" $HOME # no comment"),
            ("C", "two\nlines"),
            ("D", "a=b"),
        ]);
        assert_eq!(parsed(&written(&all)).unwrap(), all);
        assert_eq!(parsed("# a comment\nA=1\n\nB='x y'").unwrap(), vars(&[("A", "1"), ("B", "x y")]));
        for bad in ["A", "A='open", "1A=x", "=x"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let all = vars(&[("A", "1"), ("B", "2"), ("C", "3")]);
        let changes = difference(&all, &all, &vars(&[("A", "1"), ("B", "x"), ("D", "4")]));
        let expected = [("B".into(), Some("x".into())), ("C".into(), None), ("D".into(), Some("4".into()))];
        assert_eq!(changes, expected.into());
        assert!(difference(&all, &vars(&[("E", "")]), &vars(&[])).is_empty(), "it was not set before");
    }

    #[test]
    fn a_value_is_not_printed_by_accident() {
        assert_eq!(format!("{:?}", "A=secret".parse::<Assignment>().unwrap()), "A=…");
        assert_eq!("A=b=c".parse::<Assignment>().unwrap().value, "b=c");
        assert!("A".parse::<Assignment>().is_err() && "-x=1".parse::<Assignment>().is_err());
    }
}
