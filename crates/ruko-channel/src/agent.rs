//! An ssh agent on the host that signs for an ssh in the container: the private key stays on the host. The
//! messages are those of ssh-agent (draft-ietf-sshm-ssh-agent); they are carried by [`crate::Request::Agent`].

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ruko_sys::Tool;

/// The longest message, in bytes. A request to sign is a few hundred.
pub const MAX_AGENT_MESSAGE: usize = 16 << 10;

/// SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST: what may be asked. Nothing that adds, removes or
/// locks.
const ALLOWED: [u8; 2] = [11, 13];

/// SSH_AGENT_FAILURE.
const FAILURE: u8 = 5;

/// How long the agent may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether it has started: it says so to nobody.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// SSH_AGENTC_REMOVE_ALL_IDENTITIES.
const FORGET: u8 = 19;

/// What the agent runs and ends with: waits for the end of stdin. ssh-agent itself looks for that end every ten
/// seconds only (ssh-agent(1), `ssh-agent command`).
const HEART: &str = "cat >/dev/null; kill \"$SSH_AGENT_PID\"";

/// An agent that holds one key. Dropped, it forgets the key at once and ends.
#[derive(Debug)]
pub struct Agent {
    /// The agent ends when this one does, which is when its stdin ends: with this process, whatever ends that.
    /// (The agent itself cannot be told to die with its parent: it is set-group-ID, prctl(2).)
    heart: Child,
    socket: PathBuf,
}

impl Agent {
    /// Starts OpenSSH's own agent, whose socket lies in `dir`, and gives it the key.
    ///
    /// # Errors
    /// It cannot be started, or does not take the key.
    pub fn start(dir: &Path, private_key: &str) -> io::Result<Self> {
        let socket = dir.join("agent.sock");
        let mut command =
            Tool::new("ssh-agent").arg("-a").arg(&socket).args(["sh", "-c", HEART]).into_command();
        let heart = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let agent = Self { heart, socket };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&agent.socket).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "ssh-agent does not answer"));
            }
            thread::sleep(LOOK_EVERY);
        }
        agent.add(private_key)?;
        Ok(agent)
    }

    fn add(&self, private_key: &str) -> io::Result<()> {
        let tool = Tool::new("ssh-add").env("SSH_AUTH_SOCK", &self.socket).args(["-q", "-"]);
        let mut command = tool.into_command();
        let mut adding =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = adding.stdin.take() {
            stdin.write_all(private_key.as_bytes())?;
        }
        let out = adding.wait_with_output()?;
        if out.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(io::Error::other(format!("ssh-add failed ({}): {why}", out.status)))
    }

    /// Answers a message of ssh. What is not allowed fails, as an agent says it.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn answer(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        if !message.first().is_some_and(|kind| ALLOWED.contains(kind)) {
            return Ok(vec![FAILURE]);
        }
        self.exchange(message)
    }

    fn exchange(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write_message(&mut stream, message)?;
        read_message(&mut stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.exchange(&[FORGET]);
        drop(self.heart.stdin.take());
        let _ = self.heart.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The container's end: a socket that an ssh there takes for an agent, each message of which goes over a
/// connection of its own to the host.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(socket: &Path, channel: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let channel = channel.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            // ssh speaks over one connection, one message after the other.
            let _ = carry(stream, &channel);
        }
    });
    Ok(())
}

fn carry(mut ssh: UnixStream, channel: &Path) -> io::Result<()> {
    while let Some(message) = read_message(&mut ssh)? {
        let answer = crate::Client::connect(channel)?.agent(message).unwrap_or_else(|_| vec![FAILURE]);
        write_message(&mut ssh, &answer)?;
    }
    Ok(())
}

/// None at a clean end.
fn read_message(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_AGENT_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message for ssh-agent is too long"));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write_message(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    to.write_all(&[&length.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listing_and_signing_reach_the_agent() {
        let nobody =
            Agent { heart: Tool::new("true").into_command().spawn().unwrap(), socket: "/nonexistent".into() };
        for kind in [0, 9, 17, 18, 19, 22, 25, 27, 255] {
            assert_eq!(nobody.answer(&[kind]).unwrap(), [FAILURE], "{kind}");
        }
        assert_eq!(nobody.answer(&[]).unwrap(), [FAILURE]);
        assert!(nobody.answer(&[11]).is_err());
    }

    #[test]
    fn messages_are_read_back_and_long_ones_refused() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, b"ab").unwrap();
        let mut from = &bytes[..];
        assert_eq!(read_message(&mut from).unwrap().unwrap(), b"ab");
        assert_eq!(read_message(&mut from).unwrap(), None);
        assert!(read_message(&mut &[0xff; 8][..]).is_err());
    }
}
