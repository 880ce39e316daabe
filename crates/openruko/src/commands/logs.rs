//! The log of an app.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use clap::Args;
use ruko_api_types::platform::{LogSession, NewLogSession};
use ruko_client::{Api, ClientError, Events};
use ruko_core::Fault;

use super::output::{Screen, plain};
use super::session::{AppArgs, Session, Target};
use super::{Done, Error};

/// How long to wait before a log is taken up again, where the server does not say: the standard's figure.
const PAUSE: Duration = Duration::from_secs(3);

/// Not longer, whatever the server says.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often in a row it may fail to be taken up again.
const TRIES: usize = 5;

/// The colours of dynos, as SGR parameters.
const COLOURS: [u8; 10] = [33, 36, 32, 35, 34, 93, 96, 92, 95, 94];

/// Print the log of an app
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    app: AppArgs,
    /// How many of the last lines
    #[arg(short, long, value_name = "LINES", default_value_t = 100)]
    num: u32,
    /// Go on with new lines
    #[arg(short, long)]
    tail: bool,
    /// Only this process type, or this dyno
    #[arg(short, long, visible_alias = "dyno-name", visible_alias = "process-type", value_name = "DYNO")]
    ps: Option<String>,
    /// Only this dyno, or this process type
    #[arg(short, long, value_name = "DYNO", conflicts_with = "ps")]
    dyno: Option<String>,
    /// Only app or heroku
    #[arg(short, long, value_name = "SOURCE")]
    source: Option<String>,
    /// Colour nothing
    #[arg(long)]
    no_color: bool,
}

pub(super) fn run(args: &LogsArgs, session: &Session) -> Done {
    let target = session.target(&args.app)?;
    let wanted = NewLogSession {
        lines: Some(args.num),
        tail: args.tail,
        dyno: args.ps.clone().or_else(|| args.dyno.clone()),
        source: args.source.clone(),
    };
    show(&target, &wanted, !args.no_color, session)
}

/// Opens a log session and prints it to its end.
pub(super) fn show(target: &Target, wanted: &NewLogSession, colour: bool, session: &Session) -> Done {
    let log: LogSession = target.api.post(&target.path("/log-sessions"), wanted)?;
    let printer = Printer { colour: colour && session.screen.colour, screen: &session.screen };
    match wanted.tail {
        true => follow(&target.api, &log.logplex_url, &printer),
        false => printer.print(&mut target.api.events(&log.logplex_url, None)?, &target.api),
    }
}

type Log = Events<Box<dyn io::Read + Send>>;

/// Prints what comes, and takes the log up again where it ended as long as the server lets one.
fn follow(api: &Api, url: &str, printer: &Printer<'_>) -> Done {
    let mut log = api.events(url, None)?;
    let mut last_id = None;
    let mut pause = PAUSE;
    loop {
        match printer.print(&mut log, api) {
            // A connection that broke is taken up again as one that ended.
            Ok(()) | Err(Error::Client(_)) => {}
            stop => return stop,
        }
        last_id = log.last_id().map(str::to_owned).or(last_id);
        pause = log.retry().unwrap_or(pause).min(LONGEST_PAUSE);
        log = again(api, url, last_id.as_deref(), pause)?;
    }
}

fn again(api: &Api, url: &str, last_id: Option<&str>, pause: Duration) -> Result<Log, Error> {
    let mut tries = TRIES;
    loop {
        thread::sleep(pause);
        tries -= 1;
        match api.events(url, last_id) {
            Err(error) if error.is_temporary() && tries > 0 => continue,
            Err(error) if matches!(error.status(), Some(403 | 404)) => {
                return Err(Fault::refused("log stream timed out").hint("try again").into());
            }
            log => return Ok(log?),
        }
    }
}

struct Printer<'a> {
    colour: bool,
    screen: &'a Screen,
}

impl Printer<'_> {
    /// Prints a log until it ends.
    fn print(&self, log: &mut Log, api: &Api) -> Done {
        loop {
            match log.next_event() {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => {
                    event
                        .data
                        .lines()
                        .filter(|line| !line.is_empty())
                        .try_for_each(|line| self.line(line))?;
                }
                Err(source) => {
                    return Err(ClientError::BrokeOff { server: api.url().to_string(), source }.into());
                }
            }
        }
    }

    fn line(&self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.screen.out_terminal {
            return writeln!(out, "{line}");
        }
        let (shown, _) = plain::coloured(line.as_bytes());
        match self.colour {
            // What a line left switched on ends with it.
            true => writeln!(out, "{}\x1b[0m", painted(&shown)),
            false => writeln!(out, "{}", without_colours(&shown)),
        }
    }
}

/// The part before `: ` in its dyno's colour.
fn painted(line: &str) -> String {
    match line.split_once("]: ") {
        Some((head, text)) => match head.rsplit_once('[') {
            Some((_, dyno)) => format!("\x1b[{}m{head}]:\x1b[0m {text}", colour_of(dyno)),
            None => line.to_owned(),
        },
        None => line.to_owned(),
    }
}

/// The same for the same dyno.
fn colour_of(dyno: &str) -> u8 {
    let sum = dyno.bytes().fold(0usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    COLOURS[sum % COLOURS.len()]
}

/// Takes the colours away from text in which there is no other escape sequence.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| plain + piece.split_once('m').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_line_has_its_dynos_colour() {
        let line = painted("2026-11-22T11:06:39.172134+00:00 app[web.1]: hello [x]: y");
        let colour = colour_of("web.1");
        assert_eq!(
            line,
            format!("\x1b[{colour}m2026-11-22T11:06:39.172134+00:00 app[web.1]:\x1b[0m hello [x]: y")
        );
        assert_eq!(painted("no head"), "no head");
    }

    #[test]
    fn colours_can_be_taken_away() {
        assert_eq!(without_colours("a\x1b[1;31mred\x1b[0mb"), "aredb");
        assert_eq!(without_colours("plain"), "plain");
    }
}
