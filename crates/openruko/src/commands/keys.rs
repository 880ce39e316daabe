//! The SSH keys of the account.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Account, Key, NewKey};
use ruko_client::escape;
use ruko_core::{Fault, Hint};
use serde_json::Value;

use super::confirm::confirm;
use super::output::Table;
use super::session::{Session, read};
use super::{Done, Error};

/// List, add and remove the SSH keys of the account
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Show keys in full
    #[arg(short, long)]
    long: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a key
    Add {
        /// The public key's file; the only one in ~/.ssh if not given
        file: Option<PathBuf>,
    },
    /// Remove a key
    Remove {
        /// The comment at the end of the key's line, or its fingerprint
        #[arg(value_name = "COMMENT")]
        key: String,
    },
    /// Remove all keys
    Clear {
        /// The account's e-mail address, so that nothing is asked
        #[arg(long, value_name = "EMAIL")]
        confirm: Option<String>,
    },
}

pub(super) fn run(args: KeysArgs, session: &Session) -> Done {
    match args.command {
        None => list(&args, session),
        Some(Command::Add { file }) => add(file, session),
        Some(Command::Remove { key }) => remove(&key, session),
        Some(Command::Clear { confirm }) => clear(confirm.as_deref(), session),
    }
}

fn list(args: &KeysArgs, session: &Session) -> Done {
    let connection = session.connect()?;
    let keys: Vec<Value> = connection.api.list("/account/keys")?;
    if args.json {
        return Ok(session.screen.json(&Value::Array(keys))?);
    }
    let keys: Vec<Key> = read(Value::Array(keys), &connection.server.url)?;
    let Some(first) = keys.first() else {
        session.screen.remark("You have no SSH keys: `openruko keys:add` adds one.");
        return Ok(());
    };
    session.screen.heading(format!("{} keys", first.email))?;
    let mut table = Table::plain();
    for key in &keys {
        match args.long {
            true => session.screen.line(&key.public_key)?,
            false => table.row([&short(&key.public_key), &key.comment, &key.fingerprint]),
        }
    }
    Ok(session.screen.table(&table)?)
}

/// `ssh-ed25519 AAAAC3Nz...9qcf`: enough to tell keys apart.
fn short(line: &str) -> String {
    let mut words = line.split_whitespace();
    let (algorithm, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let ends = (blob.get(..10), blob.len().checked_sub(10).and_then(|from| blob.get(from..)));
    match ends {
        (Some(begin), Some(end)) if blob.len() > 20 => format!("{algorithm} {begin}...{end}"),
        _ => format!("{algorithm} {blob}"),
    }
}

fn add(file: Option<PathBuf>, session: &Session) -> Done {
    let file = match file {
        Some(file) => file,
        None => only_key()?,
    };
    let public_key = fs::read_to_string(&file).fault(format!("cannot read `{}`", file.display()))?;
    if public_key.contains("PRIVATE KEY") {
        let what = format!("`{}` is a private key, which must not leave this machine", file.display());
        return Err(Fault::refused(what).hint("give the file that ends in .pub").into());
    }
    let connection = session.connect()?;
    session.screen.action(format!("Uploading {} SSH key", file.display()), || {
        connection.api.post::<Value>("/account/keys", &NewKey { public_key }).map(|_| ((), String::new()))
    })?;
    Ok(())
}

/// The only public key in `~/.ssh`.
fn only_key() -> Result<PathBuf, Error> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let entries = fs::read_dir(home.join(".ssh")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "pub")).collect();
    found.sort();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Fault::usage("there is no public key in ~/.ssh")
            .hint("`ssh-keygen -t ed25519` makes one")
            .into()),
        _ => {
            let names: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
            Err(Fault::usage(format!("which key? There are {}", names.join(", ")))
                .hint("name one: `openruko keys:add FILE`")
                .into())
        }
    }
}

fn remove(wanted: &str, session: &Session) -> Done {
    let connection = session.connect()?;
    let keys: Vec<Key> = connection.api.list("/account/keys")?;
    let meant: Vec<&Key> =
        keys.iter().filter(|key| key.comment == wanted || key.fingerprint == wanted).collect();
    if meant.is_empty() {
        let what = format!("there is no SSH key with comment or fingerprint `{}`", wanted.escape_debug());
        return Err(Fault::refused(what).hint("`openruko keys` lists them").into());
    }
    session.screen.action(format!("Removing {wanted} SSH key"), || {
        meant.iter().try_for_each(|key| connection.api.delete(&path(key))).map(|()| ((), String::new()))
    })?;
    Ok(())
}

fn clear(confirmed: Option<&str>, session: &Session) -> Done {
    let connection = session.connect()?;
    let account: Account = connection.api.get("/account")?;
    confirm(&session.screen, "this removes all your SSH keys", &account.email, confirmed)?;
    let keys: Vec<Key> = connection.api.list("/account/keys")?;
    session.screen.action("Removing all SSH keys", || {
        keys.iter().try_for_each(|key| connection.api.delete(&path(key))).map(|()| ((), String::new()))
    })?;
    Ok(())
}

fn path(key: &Key) -> String {
    format!("/account/keys/{}", escape(&key.id))
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn keys_are_shortened_in_the_middle() {
        assert_eq!(
            short("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIabcdefghij me@x"),
            "ssh-ed25519 AAAAC3NzaC...abcdefghij"
        );
        assert_eq!(short("ssh-ed25519 AAAA"), "ssh-ed25519 AAAA");
        assert_eq!(short(""), " ");
    }
}
