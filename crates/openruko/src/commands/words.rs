//! The words of a command line before they are parsed: which program they are for, and Heroku's colons.

use std::ffi::{OsStr, OsString};

/// First words that are never the Heroku CLI's, whether it is there or not.
const OURS: [&str; 19] = [
    "doctor",
    "up",
    "teardown",
    "admin",
    "login",
    "logout",
    "servers",
    "completions",
    "version",
    "help",
    "auth:token",
    "auth:login",
    "auth:logout",
    "web",
    "web:set",
    "deploy-key",
    "deploy-key:create",
    "deploy-key:trust",
    "deploy-key:remove",
];

/// Commands whose arguments are somebody else's command line.
const CARRIERS: [&str; 5] = ["run", "run:detached", "run:inside", "rake", "local:run"];

/// A command line, read as far as is needed to know who should read the rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// All of it, program name first.
    args: Vec<OsString>,
    /// Where the command's first word is.
    command: Option<usize>,
}

/// What the Heroku CLI would get.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForHeroku {
    /// The words without our own options.
    pub(crate) words: Vec<OsString>,
    /// The value of `--server`.
    pub(crate) server: Option<String>,
    /// Whether `--native` forbids it.
    pub(crate) native: bool,
}

impl Line {
    pub(crate) fn new(args: Vec<OsString>) -> Self {
        let mut command = None;
        let mut index = 1;
        while let Some(word) = args.get(index).and_then(|word| word.to_str()) {
            match word {
                "--server" | "--config" => index += 2,
                "--native" => index += 1,
                _ if word.starts_with("--server=") || word.starts_with("--config=") => index += 1,
                // Another option: ours to explain.
                _ if word.starts_with('-') => break,
                _ => {
                    command = Some(index);
                    break;
                }
            }
        }
        Self { args, command }
    }

    /// The command in Heroku's spelling, as far as it has colons: `config:set`.
    pub(crate) fn command(&self) -> Option<&str> {
        self.args.get(self.command?)?.to_str()
    }

    /// Whether these words are for this program alone.
    pub(crate) fn is_ours(&self) -> bool {
        let second = || self.args.get(self.command? + 1)?.to_str();
        match self.command() {
            None => true,
            Some("auth") => matches!(second(), Some("token" | "login" | "logout")),
            Some("git") => second() == Some("credentials"),
            Some(word) => OURS.contains(&word) || word == "git:credentials",
        }
    }

    /// The command and its arguments without our own options.
    pub(crate) fn for_heroku(&self) -> ForHeroku {
        let carrier = self.command().is_some_and(|word| CARRIERS.contains(&word));
        let mut found = ForHeroku { words: Vec::new(), server: None, native: false };
        // What a carrier carries is not ours to read.
        let readable = if carrier { self.command.unwrap_or(0) } else { self.args.len() };
        let mut args = self.args.iter().enumerate().skip(1);
        let mut ended = false;
        while let Some((index, word)) = args.next() {
            let text = word.to_str().unwrap_or_default();
            ended |= text == "--";
            match text {
                _ if ended || index > readable => found.words.push(word.clone()),
                "--native" => found.native = true,
                "--server" => {
                    found.server = args.next().map(|(_, value)| value.to_string_lossy().into_owned())
                }
                _ if text.starts_with("--server=") => {
                    found.server = Some(text["--server=".len()..].to_owned())
                }
                _ => found.words.push(word.clone()),
            }
        }
        found
    }

    /// The words for our own grammar: `config:set` becomes `config set`, after `help`, too.
    pub(crate) fn normalised(&self) -> Vec<OsString> {
        let Some(command) = self.command else { return self.args.clone() };
        let helped = if self.args[command] == "help" { command + 1 } else { command };
        let mut words = Vec::with_capacity(self.args.len() + 1);
        for (index, word) in self.args.iter().enumerate() {
            match index == command || index == helped {
                true => words.extend(split(word)),
                false => words.push(word.clone()),
            }
        }
        words
    }

    /// The command as it is told to people: its first word, and the second where that makes the command.
    pub(crate) fn named(&self, grammar: &clap::Command) -> String {
        let first = self.command().unwrap_or_default();
        let second = self.command.and_then(|command| self.args.get(command + 1)?.to_str());
        match second {
            Some(second) if grammar.find_subcommand(first).is_some() => format!("{first} {second}"),
            _ => first.to_owned(),
        }
    }

    /// Whether a grammar has this command, so far as words name commands.
    pub(crate) fn is_in(&self, grammar: &clap::Command) -> bool {
        let Some(start) = self.command else { return true };
        let mut here = grammar;
        for (depth, word) in self.normalised().iter().skip(start).enumerate() {
            let word = word.to_str().unwrap_or_default();
            match here.find_subcommand(word) {
                Some(next) => here = next,
                None => {
                    let topic = here.has_subcommands() && here.get_positionals().next().is_none();
                    return depth > 0 && (word.starts_with('-') || word == "help" || !topic);
                }
            }
        }
        true
    }
}

/// `config:set` as two words. What is not Heroku's spelling stays.
fn split(word: &OsStr) -> Vec<OsString> {
    let text = word.to_str().unwrap_or_default();
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match text.contains(':') && text.split(':').all(is_part) {
        true => text.split(':').map(OsString::from).collect(),
        false => vec![word.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::new(std::iter::once("openruko").chain(text.split_whitespace()).map(OsString::from).collect())
    }

    fn normalised(text: &str) -> String {
        let words: Vec<_> =
            line(text).normalised().into_iter().map(|word| word.into_string().unwrap()).collect();
        words[1..].join(" ")
    }

    #[test]
    fn colons_are_for_commands_alone() {
        assert_eq!(normalised("config:set URL=a:b"), "config set URL=a:b");
        assert_eq!(normalised("--server paas config:get A"), "--server paas config get A");
        assert_eq!(normalised("help ps:scale"), "help ps scale");
        assert_eq!(normalised("run:detached rake db:migrate"), "run detached rake db:migrate");
        assert_eq!(normalised("ps scale web=1:standard-1x"), "ps scale web=1:standard-1x");
        assert_eq!(normalised("a::b"), "a::b");
        assert_eq!(normalised("--help"), "--help");
    }

    #[test]
    fn some_words_are_never_the_heroku_clis() {
        for ours in [
            "login https://x",
            "auth:token",
            "auth token",
            "git:credentials get",
            "up",
            "",
            "--version",
            "--server x servers",
        ] {
            assert!(line(ours).is_ours(), "{ours}");
        }
        for theirs in ["apps", "auth:whoami", "git:remote -a x", "config:set A=1", "--server x ps", "pg:psql"]
        {
            assert!(!line(theirs).is_ours(), "{theirs}");
        }
    }

    #[test]
    fn the_heroku_cli_does_not_see_our_options() {
        let heroku = |text: &str| {
            let found = line(text).for_heroku();
            let words: Vec<_> = found.words.into_iter().map(|word| word.into_string().unwrap()).collect();
            (words.join(" "), found.server, found.native)
        };
        let server = Some("paas".to_owned());
        assert_eq!(heroku("--server paas ps -a shop"), ("ps -a shop".into(), server.clone(), false));
        assert_eq!(heroku("ps --native -a shop --server=paas"), ("ps -a shop".into(), server.clone(), true));
        assert_eq!(
            heroku("--server paas run rails --server x"),
            ("run rails --server x".into(), server, false)
        );
        assert_eq!(heroku("ps -- --server x"), ("ps -- --server x".into(), None, false));
    }

    #[test]
    fn what_is_not_in_the_grammar_is_known_to_be_so() {
        let grammar = clap::Command::new("openruko")
            .subcommand(clap::Command::new("config").subcommand(clap::Command::new("set")))
            .subcommand(clap::Command::new("logs"));
        for known in ["config", "config:set A=1", "config -a shop", "logs x", "--help", "config help"] {
            assert!(line(known).is_in(&grammar), "{known}");
        }
        assert_eq!(line("pg:psql x").named(&grammar), "pg:psql");
        assert_eq!(line("config diff x").named(&grammar), "config diff");
        for unknown in ["pg:psql", "config:diff", "config diff", "addons"] {
            assert!(!line(unknown).is_in(&grammar), "{unknown}");
        }
    }
}
