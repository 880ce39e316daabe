//! What a command line of the CLI does to git remotes.

use std::ffi::{OsStr, OsString};

use crate::GitTransport;

/// The remote that our commands write, where Heroku's would write `heroku`.
pub(crate) const REMOTE: &str = "openruko";

/// Our own flag: the remote shall be an https one.
const HTTP_GIT: &str = "--http-git";

/// A command line, ready for the CLI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) args: Vec<OsString>,
    pub(crate) transport: GitTransport,
    pub(crate) command: Command,
}

/// What matters of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `create`: adds a remote where there is none of its name.
    Create,
    /// `git:remote`: adds or sets this remote.
    Remote(String),
    /// `git:clone`: makes this directory, if the command line says which.
    Clone(Option<OsString>),
    /// Any other: uses remotes, and may remove or rename them.
    Other,
}

impl Plan {
    /// Reads a command line: strips what is ours and adds the name of the remote where the command takes
    /// one and none was given.
    pub(crate) fn new(args: &[OsString], transport: GitTransport) -> Self {
        let Some((word, rest)) = args.split_first() else { return Self::other(args, transport) };
        let which = match word.to_str() {
            Some("create" | "apps:create") => Which::Create,
            Some("git:remote") => Which::Remote,
            Some("git:clone") => Which::Clone,
            _ => return Self::other(args, transport),
        };
        let mut rest = rest.to_vec();
        let flags_end = rest.iter().position(|arg| arg == "--").unwrap_or(rest.len());
        let ours = rest.iter().take(flags_end).any(|arg| arg == HTTP_GIT);
        let mut index = 0;
        rest.retain(|arg| {
            index += 1;
            index > flags_end || arg != HTTP_GIT
        });
        let given = flag(&rest, "-r", "--remote");
        let command = match which {
            Which::Create => Command::Create,
            Which::Remote => Command::Remote(given.clone().unwrap_or_else(|| REMOTE.to_owned())),
            Which::Clone => Command::Clone(clone_directory(&rest)),
        };
        let mut args = vec![word.clone()];
        if given.is_none() {
            args.extend(["--remote".into(), REMOTE.into()]);
        }
        args.append(&mut rest);
        Self { args, transport: if ours { GitTransport::Https } else { transport }, command }
    }

    fn other(args: &[OsString], transport: GitTransport) -> Self {
        Self { args: args.to_vec(), transport, command: Command::Other }
    }
}

enum Which {
    Create,
    Remote,
    Clone,
}

/// Flags before a `--`, with their values, and the other words.
fn words<'a>(args: &'a [OsString], with_value: &[(&str, &str)]) -> Vec<Word<'a>> {
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_str().unwrap_or_default();
        if text == "--" {
            words.extend(args.by_ref().map(|arg| Word::Plain(arg)));
        } else if let Some(flag) = with_value.iter().find(|(short, long)| text == *short || text == *long) {
            words.extend(args.next().map(|value| Word::Flag(flag.1.to_owned(), value.to_owned())));
        } else if let Some(word) = glued(text, with_value) {
            words.push(word);
        } else if !text.starts_with('-') || text == "-" {
            words.push(Word::Plain(arg));
        }
    }
    words
}

enum Word<'a> {
    Flag(String, OsString),
    Plain(&'a OsStr),
}

/// `--remote=NAME` and `-rNAME`.
fn glued<'a>(text: &str, with_value: &[(&str, &str)]) -> Option<Word<'a>> {
    with_value.iter().find_map(|(short, long)| {
        let long_value = text.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
        let short_value = text.strip_prefix(short).filter(|rest| !rest.is_empty());
        let value = long_value.or(short_value.filter(|_| !text.starts_with("--")))?;
        Some(Word::Flag((*long).to_owned(), value.into()))
    })
}

fn flag(args: &[OsString], short: &str, long: &str) -> Option<String> {
    words(args, &[(short, long)]).into_iter().find_map(|word| match word {
        Word::Flag(_, value) => Some(value.to_string_lossy().into_owned()),
        Word::Plain(_) => None,
    })
}

/// Where `git:clone` puts the clone: the directory that is given, or the app's name.
fn clone_directory(args: &[OsString]) -> Option<OsString> {
    let words = words(args, &[("-a", "--app"), ("-r", "--remote")]);
    let given = words.iter().find_map(|word| match word {
        Word::Plain(directory) => Some((*directory).to_owned()),
        Word::Flag(..) => None,
    });
    given.or_else(|| {
        words.into_iter().find_map(|word| match word {
            Word::Flag(name, app) if name == "--app" => Some(app),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use GitTransport::{Https, Ssh};

    fn plan(line: &str) -> (String, GitTransport, Command) {
        let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        let plan = Plan::new(&args, Ssh);
        let args: Vec<_> = plan.args.iter().map(|arg| arg.to_str().unwrap()).collect();
        (args.join(" "), plan.transport, plan.command)
    }

    #[test]
    fn remotes_get_our_name_unless_one_is_given() {
        let remote = |name: &str| Command::Remote(name.to_owned());
        let clone = |directory: &str| Command::Clone(Some(directory.into()));
        for (line, args, command) in [
            ("create", "create --remote openruko", Command::Create),
            ("apps:create shop", "apps:create --remote openruko shop", Command::Create),
            ("create shop -r staging", "create shop -r staging", Command::Create),
            ("create --remote=staging", "create --remote=staging", Command::Create),
            ("git:remote -a shop", "git:remote --remote openruko -a shop", remote("openruko")),
            ("git:remote -a shop -rtwo", "git:remote -a shop -rtwo", remote("two")),
            ("git:remote -a shop --remote two", "git:remote -a shop --remote two", remote("two")),
            ("git:clone -a shop", "git:clone --remote openruko -a shop", clone("shop")),
            ("git:clone --app=shop -r r", "git:clone --app=shop -r r", clone("shop")),
            ("git:clone -a shop dir", "git:clone --remote openruko -a shop dir", clone("dir")),
            ("git:clone dir -a shop", "git:clone --remote openruko dir -a shop", clone("dir")),
            ("git:clone", "git:clone --remote openruko", Command::Clone(None)),
            ("ps -r staging", "ps -r staging", Command::Other),
            ("apps:rename new", "apps:rename new", Command::Other),
            ("", "", Command::Other),
        ] {
            assert_eq!(plan(line), (args.to_owned(), Ssh, command), "{line}");
        }
    }

    #[test]
    fn our_flag_never_reaches_the_cli() {
        for (line, args) in [
            ("create --http-git shop", "create --remote openruko shop"),
            ("create shop --http-git -r x", "create shop -r x"),
            ("git:remote --http-git -a shop", "git:remote --remote openruko -a shop"),
        ] {
            let (ready, transport, _) = plan(line);
            assert_eq!((ready.as_str(), transport), (args, Https), "{line}");
        }
    }

    #[test]
    fn what_other_commands_are_given_is_theirs() {
        for line in ["run rake --http-git", "run -- create --http-git", "config:set A=--http-git"] {
            assert_eq!(plan(line), (line.to_owned(), Ssh, Command::Other));
        }
    }
}
