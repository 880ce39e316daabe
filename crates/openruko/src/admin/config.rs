//! `openruko admin config`. Values are secrets: they are printed only when that was asked for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::str::FromStr;

use clap::Subcommand;
use ruko_api_client::{ApiClient, ApiClientError};
use ruko_api_types::ConfigVarChange;
use ruko_core::{AppName, ConfigVarName, Fault};

use super::{Done, read_text, show};

/// The largest value, in bytes. The API has the same bound.
const MAX_VALUE: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the names of an app's config vars
    List {
        /// The app's name
        app: AppName,
        /// Print values, too: they are secrets
        #[arg(long)]
        show_values: bool,
        /// Print JSON: an array of names, or with --show-values an object
        #[arg(long)]
        json: bool,
    },
    /// Set config vars; makes a release when the app has one
    #[command(
        after_help = "Values on a command line can be seen by other users of this machine. KEY=@FILE takes the
value from a file and KEY=@- from stdin, without the line break at its end; KEY=@@TEXT sets
a value that begins with @.

Examples:
  openruko admin config set shop GREETING=hello DATABASE_URL=@database-url.txt
  pass show shop/token | openruko admin config set shop TOKEN=@-"
    )]
    Set {
        /// The app's name
        app: AppName,
        /// KEY=VALUE, KEY=@FILE or KEY=@-
        #[arg(value_name = "KEY=VALUE", required = true)]
        vars: Vec<Assignment>,
    },
    /// Remove config vars; makes a release when the app has one
    Unset {
        /// The app's name
        app: AppName,
        /// The names
        #[arg(value_name = "KEY", required = true)]
        names: Vec<ConfigVarName>,
    },
}

/// `KEY=VALUE` as it was typed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    name: ConfigVarName,
    value: Value,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    File(String),
}

/// Without the value.
impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let (name, value) = raw.split_once('=').ok_or("it has no `=` between name and value")?;
        let value = match value.strip_prefix('@') {
            None => Value::Text(value.to_owned()),
            Some(text) if text.starts_with('@') => Value::Text(text.to_owned()),
            Some("") => return Err("`@` must be followed by a file's name or `-`".to_owned()),
            Some(file) => Value::File(file.to_owned()),
        };
        Ok(Self { name: name.parse().map_err(|bad| format!("{bad}"))?, value })
    }
}

pub(super) fn run(command: Command, client: &ApiClient, stdin: &mut dyn Read, out: &mut dyn Write) -> Done {
    match command {
        Command::List { app, show_values, json } => {
            let vars = client.config_vars(&app)?;
            match (show_values, json) {
                (true, true) => show::json(out, &vars)?,
                (true, false) => values(&vars, out)?,
                (false, true) => show::json(out, &vars.keys().collect::<Vec<_>>())?,
                (false, false) => names(&vars, out)?,
            }
            Ok(())
        }
        Command::Set { app, vars } => {
            let mut wanted = ConfigVarChange::new();
            for Assignment { name, value } in vars {
                let value = read(value, stdin)?;
                if wanted.insert(name.clone(), Some(value)).is_some() {
                    return Err(Fault::usage(format!("{name} is given twice")).into());
                }
            }
            let released = change(&app, &wanted, client)?;
            told(&wanted.keys().collect::<Vec<_>>(), "set", released, out)
        }
        Command::Unset { app, names } => unset(&app, names, client, out),
    }
}

fn unset(app: &AppName, names: Vec<ConfigVarName>, client: &ApiClient, out: &mut dyn Write) -> Done {
    let before = client.config_vars(app)?;
    let wanted: ConfigVarChange = names.into_iter().map(|name| (name, None)).collect();
    let (there, missing): (Vec<_>, Vec<_>) = wanted.keys().partition(|name| before.contains_key(*name));
    if !there.is_empty() {
        let released = change(app, &wanted, client)?;
        told(&there, "removed", released, out)?;
    }
    for name in missing {
        writeln!(out, "{name} was not set")?;
    }
    Ok(())
}

fn read(value: Value, stdin: &mut dyn Read) -> Result<String, Fault> {
    match value {
        Value::Text(text) => Ok(text),
        Value::File(name) => {
            let text = read_text(&name, stdin, MAX_VALUE)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
    }
}

/// What a change came to.
enum Released {
    /// A new release.
    As(u64),
    /// No release, since nothing changed.
    Nothing,
}

fn change(app: &AppName, change: &ConfigVarChange, client: &ApiClient) -> Result<Released, ApiClientError> {
    let before = client.app(app)?.release;
    client.change_config_vars(app, change)?;
    let after = client.app(app)?.release;
    Ok(if before == after { Released::Nothing } else { Released::As(after) })
}

fn told(names: &[&ConfigVarName], what: &str, released: Released, out: &mut dyn Write) -> Done {
    let list = show::joined(names);
    match released {
        Released::As(version) => writeln!(out, "{list} {what}, released as v{version}")?,
        Released::Nothing => writeln!(out, "{list} {what}, nothing changed")?,
    }
    Ok(())
}

fn names(vars: &BTreeMap<ConfigVarName, String>, out: &mut dyn Write) -> std::io::Result<()> {
    for name in vars.keys() {
        writeln!(out, "{name}")?;
    }
    if !vars.is_empty() {
        // To stderr: a script that reads the names must not read this.
        let _ = writeln!(std::io::stderr(), "openruko: hint: --show-values prints the values, too");
    }
    Ok(())
}

fn values(vars: &BTreeMap<ConfigVarName, String>, out: &mut dyn Write) -> std::io::Result<()> {
    for (name, value) in vars {
        // One line each, and no terminal is driven by a value; scripts use --json.
        let shown: String = value
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect();
        writeln!(out, "{name}={shown}")?;
    }
    Ok(())
}
