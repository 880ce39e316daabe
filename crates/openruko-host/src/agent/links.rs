//! The connections to the supervisors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ruko_api_types::log::{LogLine, LogSource};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::Message;
use super::calls::Call;
use super::logs::{Of, Said};
use crate::dyno::file::{DynoDir, DynoFile, Role};
use crate::dyno::wire::{Ask, Line, MAX_TELL, Stage, State, Tell};

/// How often a supervisor that lives is connected to again.
const ATTEMPTS: usize = 5;

/// The pause before that.
const PAUSE: Duration = Duration::from_millis(200);

/// Who keeps a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// The log of the app.
    Log,
    /// The output of the release.
    Output,
}

#[derive(Debug)]
struct Link {
    asks: mpsc::UnboundedSender<Ask>,
    log: u64,
    /// None: nobody but the log keeps its lines.
    output: Option<u64>,
}

/// What supervisors are asked, by the dynos' ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<Mutex<HashMap<String, Link>>>);

impl Links {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Link>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A dyno that will have a supervisor. What it is asked before waits.
    pub(crate) fn open(&self, id: &str, role: Role) -> mpsc::UnboundedReceiver<Ask> {
        let (asks, receiver) = mpsc::unbounded_channel();
        let output = (role == Role::Release).then_some(0);
        self.with(|links| links.insert(id.to_owned(), Link { asks, log: 0, output }));
        receiver
    }

    pub(crate) fn close(&self, id: &str) {
        self.with(|links| links.remove(id));
    }

    /// Asks a supervisor. One that is gone is noticed elsewhere.
    pub(crate) fn ask(&self, id: &str, ask: Ask) -> bool {
        self.with(|links| links.get(id).is_some_and(|link| link.asks.send(ask).is_ok()))
    }

    /// Lines, by dyno and number, that one of those who keep them has.
    pub(crate) fn acknowledge(&self, of: impl IntoIterator<Item = (String, u64)>, by: Sink) {
        let mut latest: HashMap<String, u64> = HashMap::new();
        for (id, seq) in of {
            let latest = latest.entry(id).or_default();
            *latest = seq.max(*latest);
        }
        self.with(|links| {
            for (id, seq) in latest {
                let Some(link) = links.get_mut(&id) else { continue };
                let before = link.kept();
                match by {
                    Sink::Log => link.log = link.log.max(seq),
                    Sink::Output => link.output = link.output.map(|output| output.max(seq)),
                }
                if link.kept() > before {
                    let _ = link.asks.send(Ask::Ack { seq: link.kept() });
                }
            }
        });
    }
}

impl Link {
    /// The lines up to this one are kept by all who should.
    fn kept(&self) -> u64 {
        self.output.map_or(self.log, |output| output.min(self.log))
    }
}

/// What a link tells to.
#[derive(Clone)]
pub(crate) struct Ears {
    pub(crate) messages: mpsc::UnboundedSender<Message>,
    pub(crate) lines: mpsc::UnboundedSender<Said>,
}

/// Serves the link to a supervisor until that is gone.
pub(crate) async fn serve(
    dir: DynoDir,
    file: DynoFile,
    mut stream: Option<UnixStream>,
    mut asks: mpsc::UnboundedReceiver<Ask>,
    ears: Ears,
) {
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        attempts += 1;
        let connected = match stream.take() {
            Some(stream) => Ok(stream),
            None => UnixStream::connect(dir.socket()).await,
        };
        if let Ok(stream) = connected {
            let (from, to) = stream.into_split();
            let mut follower = Follower { file: &file, ears: &ears, seen: 0, ended: None };
            tokio::select! {
                heard = follower.hear(from) => {
                    if heard {
                        attempts = 0;
                    }
                }
                () = pass_on(to, &mut asks) => {}
            }
        }
        if is_dead(&dir) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let _ = ears.messages.send(Message::Lost(file.id));
}

/// Whether nobody holds the lock.
fn is_dead(dir: &DynoDir) -> bool {
    // Where there is no directory any more, there is no supervisor either, and no lock is to be made.
    !dir.lock().exists() || ruko_sys::Lock::try_take(&dir.lock()).is_ok_and(|lock| lock.is_some())
}

async fn pass_on(mut to: OwnedWriteHalf, asks: &mut mpsc::UnboundedReceiver<Ask>) {
    let mut next = Some(Ask::Follow);
    while let Some(ask) = next {
        let Ok(mut line) = serde_json::to_vec(&ask) else { return };
        line.push(b'\n');
        if to.write_all(&line).await.is_err() {
            break;
        }
        next = asks.recv().await;
    }
    // Whether the supervisor is gone is for the other half to say.
    std::future::pending::<()>().await;
}

struct Follower<'a> {
    file: &'a DynoFile,
    ears: &'a Ears,
    /// The last line that came.
    seen: u64,
    /// The end of a release phase, told when all of its output has come.
    ended: Option<State>,
}

impl Follower<'_> {
    /// Whether anything was heard at all.
    async fn hear(&mut self, from: OwnedReadHalf) -> bool {
        let mut from = BufReader::new(from);
        let mut heard = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut from).take(MAX_TELL as u64).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(n) if n > 0) {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(Tell::State(state)) => self.state(state),
                Ok(Tell::Line(line)) => self.line(line),
                Err(_) => break,
            }
            heard = true;
        }
        if let Some(state) = self.ended.take() {
            self.tell(state);
        }
        heard
    }

    fn state(&mut self, state: State) {
        let ended = matches!(state.stage, Stage::Ended(_));
        if ended && self.file.role == Role::Release && self.seen < state.lines {
            self.ended = Some(state);
        } else {
            self.tell(state);
        }
    }

    fn tell(&self, state: State) {
        let _ = self.ears.messages.send(Message::State(self.file.id.clone(), state));
    }

    fn line(&mut self, line: Line) {
        let Line { seq, at, source, text, offset } = line;
        self.seen = seq;
        let (id, app) = (&self.file.id, &self.file.app);
        if self.file.role == Role::Release {
            let output = match source {
                LogSource::App => format!("{text}\n"),
                LogSource::Heroku => String::new(),
            };
            let version = self.file.release;
            let call = Call::Output { version, offset, text: output, of: (id.clone(), seq) };
            let _ = self.ears.messages.send(Message::Call(app.clone(), call));
        }
        let line = LogLine { app: app.clone(), at, source, process: self.file.name.to_string(), text };
        let _ = self.ears.lines.send(Said { line, of: Of::Dyno(id.clone(), seq) });
        if self.ended.as_ref().is_some_and(|state| seq >= state.lines)
            && let Some(state) = self.ended.take()
        {
            self.tell(state);
        }
    }
}
