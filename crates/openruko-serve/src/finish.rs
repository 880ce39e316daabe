//! What a push leaves to do when its client has been answered: the build cache is stored, the container ends. Done by a process of its own, since the client waits
//! for the end of the one that served it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ruko_core::{Exit, Fault, Hint};
use ruko_sys::process::CommandSys;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::inner_ssh::{self, Endpoint};
use crate::runtime_dir::RuntimeDir;
use crate::storage::{self, Failure};
use crate::terminal;

/// How long a container may take to hand its cache over. It holds a slot of the machine meanwhile.
const CACHE_WITHIN: Duration = Duration::from_secs(120);

/// What is left to do. It goes to the other process over its stdin; the container's life-line is its
/// stdout.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) endpoint: Endpoint,
    pub(crate) dir: PathBuf,
    /// Where the cache goes, when there was a build.
    pub(crate) cache: Option<String>,
    pub(crate) cache_max_bytes: u64,
}

impl Plan {
    /// Starts the process that does it. It inherits the container's life-line and the directory's lock.
    pub(crate) fn hand_over(&self, container: &Container, dir: &RuntimeDir) -> io::Result<()> {
        let lifeline = container.take_lifeline().ok_or_else(|| io::Error::other("the container is gone"))?;
        let mut finisher = Command::new(std::env::current_exe()?)
            .arg("finish")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(lifeline)
            .stderr(dir.lock_for_heir()?)
            .current_dir("/")
            .own_session()
            .spawn()?;
        let mut stdin = finisher.stdin.take().ok_or_else(|| io::Error::other("no stdin"))?;
        stdin.write_all(&serde_json::to_vec(self)?)
    }
}

/// The other process. Its stderr is the lock file: nobody reads it any more.
pub(crate) fn run() -> Result<Exit, Fault> {
    let plan: Plan = serde_json::from_reader(io::stdin().lock()).fault("cannot read what is left to do")?;
    let dir = RuntimeDir::adopt(plan.dir.clone());
    let stored = match &plan.cache {
        Some(url) => store_cache(&dir, &plan, url),
        None => Ok(()),
    };
    if let Err(fault) = &stored {
        terminal::log(&fault.message);
    }
    stored.map(|()| Exit::Ok)
}

/// Streams the cache out of the container into storage. One that breaks off is not stored.
fn store_cache(dir: &RuntimeDir, plan: &Plan, url: &str) -> Result<(), Fault> {
    let mut ssh = inner_ssh::ruko_slug(dir, &plan.endpoint, None, "cache", Some(CACHE_WITHIN))?;
    let ssh = ssh.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = ssh.spawn().fault("cannot run `ssh`")?;
    let stdout = child.stdout.take().ok_or_else(|| Fault::refused("ssh has no stdout"))?;
    let mut cache = WholeOutput { stdout, child, whole: let_go };
    let mut first = [0];
    if cache.read(&mut first).fault("cannot fetch the build cache")? == 0 {
        return Ok(());
    }
    let mut cache = io::Cursor::new(first).chain(cache);
    match storage::put(url, &mut cache, plan.cache_max_bytes) {
        Ok(_) => Ok(()),
        Err(Failure::TooLarge { bytes, max }) => Err(Fault::refused(format!(
            "a build cache of {bytes} bytes is larger than {max} and was not kept"
        ))),
        Err(Failure::Full(cause) | Failure::Cause(cause)) => {
            Err(Fault::refused(format!("a build cache was not kept: {cause}")))
        }
    }
}

/// The container goes: its life-line is our stdout. Storage may take long with what came out of it.
fn let_go() -> io::Result<()> {
    Ok(nix::unistd::dup2_stdout(File::open("/dev/null")?)?)
}

/// The output of a child, which ends well only when the child did. `whole` is done then.
struct WholeOutput<R, F> {
    stdout: R,
    child: Child,
    whole: F,
}

impl<R: Read, F: FnMut() -> io::Result<()>> Read for WholeOutput<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stdout.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let status = self.child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("the container broke off ({status})")));
            }
            (self.whole)()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output, and whether the container went.
    fn output(script: &str) -> (io::Result<Vec<u8>>, bool) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (mut bytes, mut gone) = (vec![], false);
        let whole = || {
            gone = true;
            Ok(())
        };
        let read = WholeOutput { stdout, child, whole }.read_to_end(&mut bytes);
        (read.map(|_| bytes), gone)
    }

    #[test]
    fn output_that_breaks_off_is_an_error_and_the_container_goes_when_it_is_whole() {
        assert!(matches!(output("printf whole"), (Ok(bytes), true) if bytes == b"whole"));
        assert!(matches!(output("printf half; exit 1"), (Err(_), false)));
        assert!(matches!(output("printf half; kill -9 $$"), (Err(_), false)));
    }
}
