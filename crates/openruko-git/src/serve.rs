//! openruko-serve, started as sshd starts it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ruko_core::UserName;
use ruko_sys::Tool;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::front::Place;
use crate::settings::Settings;
use crate::wanted::{Phase, Wanted};

/// How long it may take to end when its streams are closed. It gives its lease back and lets go of its
/// container meanwhile.
const END_WITHIN: Duration = Duration::from_secs(10);

/// The longest line of its stderr that is shown, in bytes.
const MAX_LINE: usize = 1000;

/// A service that runs. Dropped, its streams are closed: to openruko-serve that is a client that went
/// away. What does not end then is killed.
pub(crate) struct Serve {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: ChildStdout,
    pub(crate) words: Words,
    life: Life,
}

impl Serve {
    /// Starts it for a user whose token was good.
    pub(crate) fn start(
        settings: &Settings,
        user: &UserName,
        wanted: &Wanted,
        git_protocol: Option<&str>,
        place: Place,
    ) -> io::Result<Self> {
        let mut child = Command::from(command(settings, user, wanted, git_protocol)).spawn()?;
        let missing = || io::Error::other("a stream is missing");
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().ok_or_else(missing)?,
            words: Words { from: child.stderr.take().ok_or_else(missing)?, held: Vec::new(), ended: false },
            life: Life { child: Some(child), place: Some(place) },
        })
    }

    /// How it ended, once its streams have; none when it had to be killed.
    pub(crate) async fn status(&mut self) -> Option<ExitStatus> {
        let child = self.life.child.as_mut()?;
        tokio::time::timeout(END_WITHIN, child.wait()).await.ok()?.ok()
    }
}

/// An environment of three variables and an argument vector: the token is in neither.
fn command(
    settings: &Settings,
    user: &UserName,
    wanted: &Wanted,
    git_protocol: Option<&str>,
) -> std::process::Command {
    let exchange = match wanted.phase {
        Phase::Advertisement => "--advertise",
        Phase::Rpc => "--stateless-rpc",
    };
    let original = format!("{} '{}.git'", wanted.service.name(), wanted.app);
    let mut tool = Tool::new(&settings.serve_program)
        .arg("--config")
        .arg(&settings.config_path)
        .args([exchange, user.as_str()])
        .env("SSH_ORIGINAL_COMMAND", original);
    if let Some(protocol) = git_protocol {
        tool = tool.env("GIT_PROTOCOL", protocol);
    }
    let mut command = tool.into_command();
    if wanted.phase == Phase::Rpc {
        command.stdin(Stdio::piped());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

struct Life {
    child: Option<Child>,
    place: Option<Place>,
}

impl Drop for Life {
    fn drop(&mut self) {
        let (child, place) = (self.child.take(), self.place.take());
        if let (Some(child), Ok(runtime)) = (child, tokio::runtime::Handle::try_current()) {
            runtime.spawn(see_off(child, place));
        }
    }
}

/// Waits for the end of a child whose streams are closed. Its place is taken until then.
async fn see_off(mut child: Child, place: Option<Place>) {
    if tokio::time::timeout(END_WITHIN, child.wait()).await.is_err() {
        tracing::warn!("openruko-serve did not end within {} seconds and is killed", END_WITHIN.as_secs());
        if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = child.wait().await;
    }
    drop(place);
}

/// What it says on stderr, line by line, fit to be shown.
pub(crate) struct Words {
    from: ChildStderr,
    held: Vec<u8>,
    ended: bool,
}

impl Words {
    /// The next line; none at the end. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.held.iter().position(|&b| b == b'\n') {
                let rest = self.held.split_off(end + 1);
                return Some(shown(&std::mem::replace(&mut self.held, rest)));
            }
            if self.ended || self.held.len() > MAX_LINE {
                let rest = std::mem::take(&mut self.held);
                return (!rest.is_empty()).then(|| shown(&rest));
            }
            match self.from.read_buf(&mut self.held).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(_) => {}
            }
        }
    }
}

/// A line that cannot drive a terminal.
fn shown(line: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]).trim_end().chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_shape_and_drive_no_terminal() {
        assert_eq!(shown(b" !     no\x1b[2J \r\n"), " !     no\\u{1b}[2J");
        assert_eq!(shown(&[b'x'; 5000]).len(), MAX_LINE);
    }
}
