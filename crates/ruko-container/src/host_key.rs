//! The key by which a container's sshd is known.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ruko_core::{Fault, Hint};
use ruko_sys::{AtPath, Tool};

use crate::work::Work;

/// The container's host key in the making, while we wait for the caller.
pub(crate) struct HostKey {
    path: PathBuf,
    making: Child,
}

impl HostKey {
    /// Starts making one.
    pub(crate) fn begin(work: &Work) -> Result<Self, Fault> {
        let path = work.key("host_key");
        let mut command = Tool::new("ssh-keygen")
            .die_with_parent()
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&path)
            .into_command();
        let making = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        Ok(Self { path, making: making.fault("cannot run `ssh-keygen`")? })
    }

    /// Waits for it and gives the file of its private half.
    pub(crate) fn finish(mut self) -> Result<PathBuf, Fault> {
        if self.making.wait()?.success() {
            return Ok(self.path);
        }
        let mut why = String::new();
        if let Some(stderr) = self.making.stderr.take() {
            stderr.take(4096).read_to_string(&mut why)?;
        }
        Err(Fault::refused(format!("`ssh-keygen` failed: {}", why.trim())))
    }
}

/// Reads the public half of a host key: algorithm and key, without the comment.
pub(crate) fn public_key(private: &Path) -> Result<String, Fault> {
    let path = private.with_extension("pub");
    let mut text = String::new();
    File::open(&path).at("open", &path)?.take(4096).read_to_string(&mut text)?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(algorithm), Some(key)) => Ok(format!("{algorithm} {key}")),
        _ => Err(Fault::refused(format!("`{}` is not a public key", path.display()))),
    }
}
