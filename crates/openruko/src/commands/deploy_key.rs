//! The key with which an app's builds fetch private submodules. Not Heroku's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ruko_api_types::platform::{DeployKey, DeployKeyHosts};
use ruko_core::Fault;
use ruko_sys::{Tool, ToolError};
use serde_json::Value;

use super::output::Table;
use super::session::{AppArgs, Session, Target, read};
use super::{Done, Error};

/// Show, make and remove the key with which an app's builds fetch private submodules
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeployKeyArgs {
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
    /// Make a key, in place of the one that there was; its private half stays with the server
    #[command(
        after_help = "Example:\n  openruko deploy-key:create --host github.com\n\nThe line that it prints is what the code host is given, as a key that may only read."
    )]
    Create {
        /// A host that the key is shown to, with its port if that is not 22; what you know it by is taken from
        /// ~/.ssh/known_hosts
        #[arg(long = "host", value_name = "HOST[:PORT]")]
        hosts: Vec<String>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Add a host that the key is shown to
    Trust {
        /// With its port if that is not 22; what you know it by is taken from ~/.ssh/known_hosts
        #[arg(value_name = "HOST[:PORT]", required = true)]
        hosts: Vec<String>,
        #[command(flatten)]
        app: AppArgs,
    },
    /// Remove the key
    Remove {
        #[command(flatten)]
        app: AppArgs,
    },
}

const PATH: &str = "/deploy-key";

pub(super) fn run(args: DeployKeyArgs, session: &Session) -> Done {
    match args.command {
        None => show(&args.app, args.json, session),
        Some(Command::Create { hosts, app }) => create(&hosts, &app, session),
        Some(Command::Trust { hosts, app }) => trust(&hosts, &app, session),
        Some(Command::Remove { app }) => {
            let target = session.target(&app)?;
            session.screen.action(format!("Removing the deploy key of ⬢ {}", target.app), || {
                target.api.delete(&target.path(PATH)).map(|()| ((), String::new()))
            })?;
            Ok(())
        }
    }
}

fn show(app: &AppArgs, json: bool, session: &Session) -> Done {
    let target = session.target(app)?;
    let key: Value = target.api.get(&target.path(PATH))?;
    if json {
        return Ok(session.screen.json(&key)?);
    }
    tell(key, &target, session)
}

fn create(hosts: &[String], app: &AppArgs, session: &Session) -> Done {
    let wanted = DeployKeyHosts { known_hosts: known(hosts)?.into_iter().collect() };
    let target = session.target(app)?;
    let made = session.screen.action(format!("Making a deploy key for ⬢ {}", target.app), || {
        target.api.put::<Value>(&target.path(PATH), &wanted).map(|made| (made, String::new()))
    })?;
    session.screen.remark("Give the code host this line, as a key that may only read:");
    tell(made, &target, session)
}

fn trust(hosts: &[String], app: &AppArgs, session: &Session) -> Done {
    let more = known(hosts)?;
    let target = session.target(app)?;
    let key: DeployKey = target.api.get(&target.path(PATH))?;
    let all: BTreeSet<String> = key.known_hosts.into_iter().chain(more).collect();
    let wanted = DeployKeyHosts { known_hosts: all.into_iter().collect() };
    let made = session
        .screen
        .action(format!("Showing the deploy key of ⬢ {} to {}", target.app, hosts.join(", ")), || {
            target.api.patch::<Value>(&target.path(PATH), &wanted).map(|made| (made, String::new()))
        })?;
    tell(made, &target, session)
}

/// The line itself first, alone on stdout's first line.
fn tell(key: Value, target: &Target, session: &Session) -> Done {
    let key: DeployKey = read(key, &target.server.url)?;
    session.screen.line(&key.public_key)?;
    let names: BTreeSet<&str> = key.known_hosts.iter().filter_map(|line| line.split(' ').next()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let mut table = Table::plain();
    table.row(["Fingerprint:", &key.fingerprint]);
    table.row([
        "Shown to:",
        if names.is_empty() { "no host yet: openruko deploy-key:trust HOST" } else { &names },
    ]);
    Ok(session.screen.table(&table)?)
}

/// The keys of these hosts, as this developer knows them: the server would have to believe whoever answers first.
fn known(hosts: &[String]) -> Result<BTreeSet<String>, Error> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let file = home.join(".ssh/known_hosts");
    let mut lines = BTreeSet::new();
    for host in hosts {
        let name = name(host).ok_or_else(|| Fault::usage(format!("`{}` is no host", host.escape_debug())))?;
        let found = looked_up(&name, &file)?;
        if found.is_empty() {
            return Err(Fault::refused(format!("your {} does not know {name}", file.display()))
                .hint(format!("connect to it once, compare the key that ssh shows with the one that it publishes, and try again: ssh {}", typed(host)))
                .into());
        }
        lines.extend(found);
    }
    Ok(lines)
}

/// As known_hosts has it: a port other than 22 stands behind the name in brackets.
fn name(host: &str) -> Option<String> {
    let (bare, port) = match host.rsplit_once(':') {
        Some((bare, port)) => (bare, Some(port.parse::<u16>().ok()?)),
        None => (host, None),
    };
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let good = !bare.is_empty() && !bare.starts_with('-') && bare.bytes().all(inside);
    let bare = bare.to_ascii_lowercase();
    good.then(|| match port {
        None | Some(22) => bare,
        Some(port) => format!("[{bare}]:{port}"),
    })
}

/// The words for ssh.
fn typed(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((bare, port)) => format!("-p {port} {bare}"),
        None => host.to_owned(),
    }
}

/// ssh-keygen finds names that are written down as digests, too.
fn looked_up(name: &str, file: &Path) -> Result<Vec<String>, Error> {
    match Tool::new("ssh-keygen").args(["-F", name, "-f"]).arg(file).output() {
        Ok(text) => Ok(entries(name, &String::from_utf8_lossy(&text))),
        // 1: not there.
        Err(ToolError::Failed { .. }) => Ok(Vec::new()),
        Err(error) => Err(Fault::from(error).into()),
    }
}

/// `NAMES ALGORITHM KEY`, under the one name. Marked lines say something else of a key.
fn entries(name: &str, text: &str) -> Vec<String> {
    let entry = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [first, algorithm, key, ..] if !first.starts_with(['#', '@']) => {
            Some(format!("{name} {algorithm} {key}"))
        }
        _ => None,
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_known_hosts_has_it() {
        for (typed, known) in
            [("GitHub.com", "github.com"), ("git.test:2222", "[git.test]:2222"), ("git.test:22", "git.test")]
        {
            assert_eq!(name(typed).as_deref(), Some(known));
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a:x", "a:99999", "a/b", "*"] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert_eq!(typed("git.test:2222"), "-p 2222 git.test");
    }

    #[test]
    fn what_ssh_keygen_found_is_taken_without_marks_and_digests() {
        let text = "# Host git.test found: line 1\n|1|abc=|def= ssh-ed25519 AAAA comment\n@revoked git.test ssh-rsa BBBB\n\
                    git.test,192.0.2.1 ecdsa-sha2-nistp256 CCCC\n";
        assert_eq!(
            entries("git.test", text),
            ["git.test ssh-ed25519 AAAA", "git.test ecdsa-sha2-nistp256 CCCC"]
        );
    }
}
