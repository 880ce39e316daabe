//! `POST …/git-receive-pack` and `…/git-upload-pack`: a request goes to git as it comes, and git's answer to
//! the client.
//!
//! Over ssh, what openruko-serve says beside git goes over stderr. HTTP has one stream: to a client that
//! pushes and takes bands it is sent as progress between git's packets; where git was never started, the
//! answer is a refusal in git's own protocol. An answer to a push always ends with a flush: a client whose
//! answer just ends waits for ever (seen with git 2.39 and 2.47: send-pack waits for remote-curl, and
//! remote-curl for send-pack).

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::answer;
use crate::body::{BodyError, RequestBody};
use crate::front::Record;
use crate::packets::{FLUSH, KEEP_ALIVE, Last, Splitter, banded, is_error, packet};
use crate::prelude::{Client, Prelude};
use crate::serve::Serve;
use crate::wanted::Service;

/// After so long without a word the client is sent an empty packet: proxies close what is silent for a
/// minute. git does it every five seconds, but only once it runs.
const QUIET: Duration = Duration::from_secs(15);

/// How long openruko-serve's stderr may stay open after its stdout.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);

/// So many lines of openruko-serve are passed on.
const MAX_LINES: usize = 200;

/// Pieces of an answer on their way to a client.
const PIECES: usize = 8;

/// What marks openruko's own lines of trouble.
const MARK: &str = " !     ";

pub(crate) fn content_type(service: Service) -> String {
    format!("application/x-{}-result", service.name())
}

/// Answers while the request still comes.
pub(crate) fn answer(
    serve: Serve,
    service: Service,
    prelude: Prelude,
    body: RequestBody,
    record: Record,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let talk =
        Talk { to: sender, service, client: prelude.client, git: Git::Unknown(Vec::new()), lines: vec![] };
    tokio::spawn(async move {
        let exit = talk.run(serve, prelude.bytes, body).await.ok().flatten();
        record.end(200, exit);
    });
    let pieces =
        stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|piece| (piece, receiver)));
    answer::stream(&content_type(service), pieces)
}

/// The client is not there any more.
struct Gone;

/// One exchange.
struct Talk {
    to: mpsc::Sender<io::Result<Bytes>>,
    service: Service,
    client: Client,
    git: Git,
    /// What openruko-serve said.
    lines: Vec<String>,
}

/// What is known of git.
enum Git {
    /// Too little was said yet.
    Unknown(Vec<u8>),
    /// It refused, or openruko-serve did, with this packet; or nothing was said at all.
    Refused(Vec<u8>),
    /// It speaks.
    Speaks {
        packets: Splitter,
        /// Its last mark is held back: openruko-serve may have something to add.
        mark_held: bool,
    },
}

impl Talk {
    /// Runs it to its end. Left early, openruko-serve sees a client that went away.
    async fn run(
        mut self,
        mut serve: Serve,
        first: Vec<u8>,
        body: RequestBody,
    ) -> Result<Option<ExitStatus>, Gone> {
        let mut feeding = JoinSet::new();
        if let Some(stdin) = serve.stdin.take() {
            feeding.spawn(feed(stdin, first, body));
        }
        let to = self.to.clone();
        let (mut rest, mut piece) = (None, Vec::with_capacity(64 << 10));
        let (mut words_ended, mut stdout_ended) = (false, None::<Instant>);
        let mut quiet_since = Instant::now();
        while stdout_ended.is_none() || !words_ended {
            tokio::select! {
                () = to.closed() => return Err(Gone),
                read = serve.stdout.read_buf(&mut piece), if stdout_ended.is_none() => {
                    if matches!(read, Ok(0) | Err(_)) {
                        stdout_ended = Some(Instant::now());
                    }
                    self.git_says(&piece).await?;
                    piece.clear();
                    quiet_since = Instant::now();
                }
                line = serve.words.next(), if !words_ended => match line {
                    Some(line) => self.serve_says(line).await?,
                    None => words_ended = true,
                },
                Some(fed) = feeding.join_next() => match fed {
                    Ok(Ok(body)) => rest = Some(body),
                    Ok(Err((error, body))) => {
                        drop(serve);
                        return self.give_up(&error, body).await.map(|()| None);
                    }
                    Err(_) => return Err(Gone),
                },
                () = sleep_until(quiet_since + QUIET), if self.may_add() => {
                    self.send(KEEP_ALIVE.to_vec()).await?;
                    quiet_since = Instant::now();
                }
                () = last_words(stdout_ended) => words_ended = true,
            }
        }
        let exit = serve.status().await;
        drop(serve);
        self.end(exit.is_some_and(|exit| exit.success())).await?;
        // What git did not read, its client still sends.
        if rest.is_none()
            && let Some(Ok(Ok(body))) = feeding.join_next().await
        {
            rest = Some(body);
        }
        if let Some(rest) = rest {
            rest.drain().await;
        }
        Ok(exit)
    }

    async fn send(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.to.send(Ok(bytes.into())).await.map_err(|_| Gone)
    }

    /// Passes on what git says, in whole packets.
    async fn git_says(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if let Git::Unknown(held) = &mut self.git {
            held.extend_from_slice(bytes);
            if held.len() < 8 && !bytes.is_empty() {
                return Ok(());
            }
            let held = std::mem::take(held);
            if held.is_empty() || is_error(&held) {
                self.git = Git::Refused(held);
                return Ok(());
            }
            self.git = Git::Speaks { packets: Splitter::default(), mark_held: false };
            return self.pass_on(&held).await;
        }
        self.pass_on(bytes).await
    }

    async fn pass_on(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let Git::Speaks { packets, mark_held } = &mut self.git else { return Ok(()) };
        let mut whole = packets.push(bytes);
        if whole.is_empty() {
            return Ok(());
        }
        if std::mem::take(mark_held) {
            whole = [FLUSH, &whole].concat();
        }
        if self.service == Service::ReceivePack && packets.last() == Last::Mark {
            *mark_held = true;
            whole.truncate(whole.len() - FLUSH.len());
        }
        self.send(whole).await
    }

    /// Passes on a line of openruko-serve, where the client can read it.
    async fn serve_says(&mut self, line: String) -> Result<(), Gone> {
        if self.lines.len() >= MAX_LINES {
            return Ok(());
        }
        if self.may_add() {
            self.send(banded(2, format!("{line}\n").as_bytes())).await?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// Whether packets of our own may stand here.
    fn may_add(&self) -> bool {
        let between_packets = match &self.git {
            Git::Unknown(_) | Git::Refused(_) => true,
            Git::Speaks { packets, .. } => packets.may_be_joined(),
        };
        self.service == Service::ReceivePack && self.client.bands && between_packets
    }

    /// Sees to it that the answer ends in a way that its client understands.
    async fn end(&mut self, well: bool) -> Result<(), Gone> {
        match (&self.git, self.service) {
            (Git::Refused(_) | Git::Unknown(_), _) if well && self.lines.is_empty() => self.flush().await,
            (Git::Refused(_) | Git::Unknown(_), _) => self.refuse().await,
            (Git::Speaks { .. }, Service::ReceivePack) => self.flush().await,
            // To a client that fetches, an end in the middle must not look like one.
            (Git::Speaks { packets, .. }, Service::UploadPack) if !well && packets.last() != Last::Error => {
                let broken = Err(io::Error::other("git ended badly"));
                self.to.send(broken).await.map_err(|_| Gone)
            }
            (Git::Speaks { .. }, Service::UploadPack) => Ok(()),
        }
    }

    /// The flush at the end of an answer to a push.
    async fn flush(&self) -> Result<(), Gone> {
        let held = matches!(self.git, Git::Speaks { mark_held: true, .. });
        let expected = self.service == Service::ReceivePack && (self.client.bands || self.client.report);
        if held || expected { self.send(FLUSH.to_vec()).await } else { Ok(()) }
    }

    /// The refusal of a service that was not started: openruko's words, or else git's own.
    async fn refuse(&self) -> Result<(), Gone> {
        let words: Vec<&str> = self.lines.iter().filter_map(|line| line.strip_prefix(MARK)).collect();
        let first = words.first().copied().unwrap_or("git was not started");
        match (self.service, &self.git) {
            (Service::ReceivePack, _) => self.send(report(&self.client, first)).await,
            (Service::UploadPack, Git::Refused(said)) if words.is_empty() && !said.is_empty() => {
                self.send(said.clone()).await
            }
            (Service::UploadPack, _) => {
                let words = if words.is_empty() { first.to_owned() } else { words.join("\n") };
                self.send(packet(format!("ERR {words}").as_bytes())).await
            }
        }
    }

    /// The request cannot be read to its end, so git was ended.
    async fn give_up(&mut self, error: &BodyError, body: RequestBody) -> Result<(), Gone> {
        if matches!(error, BodyError::Gone) {
            return Err(Gone);
        }
        self.serve_says(format!("{MARK}{error}")).await?;
        match self.service {
            Service::ReceivePack => self.send(report(&self.client, &error.to_string())).await?,
            Service::UploadPack => self.end(false).await?,
        }
        body.drain().await;
        Ok(())
    }
}

/// A report that nothing was done, and why (gitprotocol-pack(5), "Report Status").
fn report(client: &Client, why: &str) -> Vec<u8> {
    let mut report = Vec::new();
    if client.report {
        report.extend(packet(format!("unpack {why}\n").as_bytes()));
        for name in &client.refs {
            report.extend(packet(&[b"ng ", name.as_slice(), b" nothing was changed\n"].concat()));
        }
        report.extend(FLUSH);
    }
    if !client.bands {
        return report;
    }
    let banded: Vec<u8> = report.chunks(60_000).flat_map(|piece| banded(1, piece)).collect();
    [&banded, FLUSH].concat()
}

/// Sends a request to git; gives back what git did not want.
async fn feed(
    mut stdin: ChildStdin,
    first: Vec<u8>,
    mut body: RequestBody,
) -> Result<RequestBody, (BodyError, RequestBody)> {
    let mut next = Some(Bytes::from(first));
    while let Some(piece) = next {
        if stdin.write_all(&piece).await.is_err() {
            break;
        }
        next = match body.next().await {
            Ok(piece) => piece,
            Err(error) => return Err((error, body)),
        };
    }
    Ok(body)
}

async fn last_words(stdout_ended: Option<Instant>) {
    match stdout_ended {
        Some(ended) => sleep_until(ended + LAST_WORDS_WITHIN).await,
        None => std::future::pending().await,
    }
}
