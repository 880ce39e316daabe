//! One-off dynos.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use ruko_api_types::platform::{Dyno, EnvValue, NewDyno, NewLogSession};
use ruko_client::{ClientError, Rendezvous};
use ruko_core::{Exit, Fault, Hint};
use serde_json::Value;

use super::session::{AppArgs, Session, Target, read};
use super::terminal::{self, Ended, Lines, Raw};
use super::{Error, logs};

/// Comes before the status of the command, the same as with the Heroku CLI: a noncharacter that no program
/// prints.
const MARK: &str = "\u{ffff} heroku-command-exit-status: ";

/// No status has more digits.
const STATUS_DIGITS: usize = 3;

/// Run a command in a one-off dyno
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  openruko run bash
  openruko run --exit-code -- rake db:migrate
  openruko run:detached --tail rake reports"
)]
pub(crate) struct RunArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
    /// End with the command's own exit status
    #[arg(short = 'x', long)]
    exit_code: bool,
    /// Give the command no terminal
    #[arg(long)]
    no_tty: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command in a one-off dyno, and do not wait for it
    Detached {
        #[command(flatten)]
        options: Options,
        /// Print its log
        #[arg(short, long)]
        tail: bool,
        /// Print JSON
        #[arg(long, conflicts_with = "tail")]
        json: bool,
        /// The command and its arguments
        #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Options {
    #[command(flatten)]
    app: AppArgs,
    /// Variables beside the config vars
    #[arg(short, long, value_name = "KEY=VALUE", value_delimiter = ';')]
    env: Vec<Variable>,
    /// The dyno's size
    #[arg(short, long)]
    size: Option<String>,
    /// The process type that it counts as
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

/// `KEY=VALUE` of `--env`.
#[derive(Clone, Debug)]
struct Variable(String, String);

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        match raw.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("it is not like KEY=VALUE"),
        }
    }
}

pub(super) fn run(args: RunArgs, session: &Session) -> Result<ExitCode, Error> {
    match args.command {
        None => attached(args, session),
        Some(Command::Detached { options, tail, json, words }) => {
            let wanted = wanted(&options, command(&words), false);
            detached(&session.target(&options.app)?, &wanted, tail, json, session)?;
            Ok(Exit::Ok.into())
        }
    }
}

fn wanted(options: &Options, command: String, attach: bool) -> NewDyno {
    let env = options.env.iter().map(|Variable(name, value)| (name.clone(), EnvValue::Text(value.clone())));
    NewDyno {
        command,
        attach,
        env: env.collect(),
        size: options.size.clone(),
        kind: options.kind.clone(),
        ..NewDyno::default()
    }
}

/// One line for the dyno's shell, as the Heroku CLI makes it: what has blanks or quotes is one word there, too.
fn command(words: &[String]) -> String {
    let quoted = |word: &String| match word.contains([' ', '"']) {
        true => format!("\"{}\"", word.replace('"', "\\\"")),
        false => word.clone(),
    };
    match words {
        [whole] => whole.clone(),
        words => words.iter().map(quoted).collect::<Vec<_>>().join(" "),
    }
}

fn detached(
    target: &Target,
    wanted: &NewDyno,
    tail: bool,
    json: bool,
    session: &Session,
) -> Result<(), Error> {
    let path = target.path("/dynos");
    let (value, dyno) =
        session.screen.action(format!("Running {} on ⬢ {}", wanted.command, target.app), || {
            let value: Value = target.api.post(&path, wanted)?;
            let dyno: Dyno = read(value.clone(), &target.server.url)?;
            let detail = format!(", {}", dyno.name);
            Ok::<_, Error>(((value, dyno), detail))
        })?;
    if json {
        return Ok(session.screen.json(&value)?);
    }
    if tail {
        let log = NewLogSession { tail: true, dyno: Some(dyno.name), ..NewLogSession::default() };
        return logs::show(target, &log, true, session);
    }
    session
        .screen
        .remark(format!("Run openruko logs --app {} --dyno {} to view the output.", target.app, dyno.name));
    Ok(())
}

fn attached(args: RunArgs, session: &Session) -> Result<ExitCode, Error> {
    let target = session.target(&args.options.app)?;
    let line = command(&args.words);
    let whole = if args.exit_code { with_status(&line) } else { line.clone() };
    let mut dyno = wanted(&args.options, whole, true);
    dyno.env.extend(surroundings());
    dyno.force_no_tty = args.no_tty.then_some(true);

    let path = target.path("/dynos");
    let mut rendezvous =
        session.screen.action_until(format!("Running {line} on ⬢ {}", target.app), || {
            let made: Dyno = target.api.post(&path, &dyno)?;
            let url = made.attach_url.as_deref().ok_or_else(|| {
                Fault::refused(format!("the server gave {} no terminal", made.name))
                    .hint("try `openruko run:detached`")
            })?;
            let rendezvous = Rendezvous::attach(url, target.server.ca_file.as_deref())?;
            Ok::<_, Error>((rendezvous, format!("up, {} ({})", made.name, made.size)))
        })?;

    let mut status = args.exit_code.then(Status::default);
    let ended = {
        let raw = io::stdin().is_terminal() && !args.no_tty;
        let _raw = raw.then(Raw::enter).transpose().fault("cannot make the terminal raw")?;
        converse(&mut rendezvous, status.as_mut())
    };
    match ended.map_err(|source| ClientError::BrokeOff { server: "the dyno's terminal".into(), source })? {
        Ended::Left => {
            Err(Fault::refused("disconnected; the dyno may still run").hint("`openruko ps` lists it").into())
        }
        Ended::Process => match status.map(Status::end) {
            None => Ok(Exit::Ok.into()),
            Some(Some(status)) => Ok(ExitCode::from(status)),
            Some(None) => Err(Fault::refused("the command ended without telling its exit status").into()),
        },
    }
}

/// The terminal's kind and size, where output goes to one.
fn surroundings() -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    if let Ok(term) = std::env::var("TERM") {
        env.insert("TERM".to_owned(), EnvValue::Text(term));
    }
    if let Some((columns, lines)) = terminal::size() {
        env.insert("COLUMNS".to_owned(), EnvValue::Number(columns.into()));
        env.insert("LINES".to_owned(), EnvValue::Number(lines.into()));
    }
    env
}

fn with_status(command: &str) -> String {
    format!("{command} ; echo \"{MARK}$?\"")
}

fn converse(dyno: &mut Rendezvous, mut status: Option<&mut Status>) -> io::Result<Ended> {
    let mut lines = (!io::stdout().is_terminal()).then(Lines::default);
    let ended = terminal::connect(dyno, &mut |printed| {
        let printed = match &mut status {
            Some(status) => status.pass(printed),
            None => printed.to_vec(),
        };
        match &mut lines {
            Some(lines) => terminal::write(&lines.pass(&printed)),
            None => terminal::write(&printed),
        }
    })?;
    if let Some(status) = status {
        terminal::write(status.rest())?;
    }
    if let Some(mut lines) = lines {
        terminal::write(lines.rest())?;
    }
    Ok(ended)
}

/// Looks for the command's exit status in what is printed, and takes it out.
#[derive(Default)]
struct Status {
    found: Option<u8>,
    /// What may be the beginning of the mark.
    held: Vec<u8>,
}

impl Status {
    /// What of this can be printed already.
    fn pass(&mut self, printed: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(printed);
        let Some(start) = all.windows(MARK.len()).position(|window| window == MARK.as_bytes()) else {
            let begun = (1..MARK.len()).rev().find(|&length| all.ends_with(&MARK.as_bytes()[..length]));
            self.held = all.split_off(all.len() - begun.unwrap_or(0));
            return all;
        };
        let told = all.split_off(start);
        let digits = &told[MARK.len()..];
        let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if length == digits.len() && length <= STATUS_DIGITS {
            // There may be more of it to come.
            self.held = told;
            return all;
        }
        self.found = number(&digits[..length]).or(self.found);
        let after = &digits[length..];
        let after = after.strip_prefix(b"\r").unwrap_or(after);
        all.extend_from_slice(after.strip_prefix(b"\n").unwrap_or(after));
        all
    }

    /// What was held back and is no mark.
    fn rest(&mut self) -> &[u8] {
        match self.held.strip_prefix(MARK.as_bytes()).map(number) {
            Some(Some(status)) => {
                self.found = Some(status);
                &[]
            }
            _ => &self.held,
        }
    }

    fn end(self) -> Option<u8> {
        self.found
    }
}

fn number(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> String {
        command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_a_shells_line_as_with_the_heroku_cli() {
        assert_eq!(words(&["rake", "db:migrate"]), "rake db:migrate");
        assert_eq!(words(&["ls | wc -l"]), "ls | wc -l");
        assert_eq!(words(&["echo", "a b", "say \"x\""]), "echo \"a b\" \"say \\\"x\\\"\"");
    }

    fn status(pieces: &[&str]) -> (String, Option<u8>) {
        let mut status = Status::default();
        let mut printed: Vec<u8> = pieces.iter().flat_map(|piece| status.pass(piece.as_bytes())).collect();
        printed.extend_from_slice(status.rest());
        (String::from_utf8(printed).unwrap(), status.end())
    }

    #[test]
    fn the_status_is_taken_out_of_the_output() {
        let mark = format!("{MARK}12\r\n");
        assert_eq!(status(&["out\r\n", &mark]), ("out\r\n".into(), Some(12)));
        assert_eq!(
            status(&["out\n", &mark[..5], &mark[5..mark.len() - 3], &mark[mark.len() - 3..]]),
            ("out\n".into(), Some(12))
        );
        assert_eq!(status(&[&format!("{MARK}0")]), (String::new(), Some(0)));
        assert_eq!(status(&["out", "\u{ffff} her"]), ("out\u{ffff} her".into(), None));
        assert_eq!(status(&["nothing"]), ("nothing".into(), None));
    }
}
