//! Whether a web dyno proves itself: it listens, and answers a path if there is one.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Message;
use crate::plan::Event;

/// How long a connection may take. An address that is not there yet would be waited for in whole seconds.
const CONNECT: Duration = Duration::from_millis(250);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The longest status line that is read, in bytes.
const STATUS_LINE: usize = 1024;

/// What is asked of a dyno.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) app: String,
    /// The app's name, for the header `Host`.
    pub(crate) host: String,
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    pub(crate) path: Option<String>,
}

/// Tries until it does, or nobody wants to know any more.
pub(crate) async fn run(probe: Probe, tell: mpsc::UnboundedSender<Message>) {
    let begun = Instant::now();
    let mut last = None;
    loop {
        match attempt(&probe).await {
            Ok(()) => {
                let _ = tell.send(Message::Event(probe.app.clone(), Event::Proved(probe.id)));
                return;
            }
            // Of a dyno that does not listen nothing needs to be said.
            Err(why) if why.is_some() && why != last => {
                let event = Event::Unproved(probe.id.clone(), why.clone().unwrap_or_default());
                if tell.send(Message::Event(probe.app.clone(), event)).is_err() {
                    return;
                }
                last = why;
            }
            Err(_) => {}
        }
        sleep(pause(begun.elapsed())).await;
    }
}

/// Often at first: somebody may wait for a dyno that was asleep.
fn pause(passed: Duration) -> Duration {
    match passed.as_millis() {
        0..2000 => Duration::from_millis(5),
        2000..10_000 => Duration::from_millis(25),
        _ => Duration::from_millis(250),
    }
}

async fn attempt(probe: &Probe) -> Result<(), Option<String>> {
    let mut stream = match timeout(CONNECT, TcpStream::connect(probe.address)).await {
        Ok(Ok(stream)) => stream,
        _ => return Err(None),
    };
    let Some(path) = &probe.path else { return Ok(()) };
    let status = timeout(ANSWER, ask(&mut stream, &probe.host, path)).await;
    match status {
        Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
        Ok(Ok(status)) => Err(Some(format!("status {status}"))),
        Ok(Err(error)) => Err(Some(error.to_string())),
        Err(_) => Err(Some(format!("no answer within {} seconds", ANSWER.as_secs()))),
    }
}

/// Sends a request as the router would, and reads the status of its answer.
async fn ask(stream: &mut TcpStream, host: &str, path: &str) -> std::io::Result<u16> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(std::io::Error::other("the path cannot be asked for"));
    }
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
         User-Agent: openruko-host\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    let mut chunk = [0; 256];
    while !line.contains(&b'\n') && line.len() < STATUS_LINE {
        match stream.read(&mut chunk).await? {
            0 => break,
            n => line.extend_from_slice(&chunk[..n]),
        }
    }
    status(&line).ok_or_else(|| std::io::Error::other("what it answers is no HTTP"))
}

/// The status of `HTTP/1.1 200 OK` (RFC 9112, section 4).
fn status(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line.split(|&b| b == b'\n').next()?).ok()?;
    let (version, rest) = text.split_once(' ')?;
    let digits = rest.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    version.starts_with("HTTP/1.").then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_its_line() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\nx: y"), Some(200));
        assert_eq!(status(b"HTTP/1.0 404\r\n"), Some(404));
        for bad in [&b"SSH-2.0-OpenSSH"[..], b"HTTP/2 200", b"HTTP/1.1 2", b"HTTP/1.1 +20", b"", b"\xff"] {
            assert_eq!(status(bad), None);
        }
    }
}
