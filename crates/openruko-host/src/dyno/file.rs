//! What is known of a dyno: a file in its directory, for its supervisor and for an agent that adopts it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ruko_core::container::RunSpec;
use ruko_core::dyno::DynoName;
use ruko_core::{Fault, Hint};
use serde::{Deserialize, Serialize};

/// A dyno's directory.
#[derive(Clone, Debug)]
pub struct DynoDir(PathBuf);

impl DynoDir {
    /// It need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Held by the supervisor as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Where the supervisor listens.
    pub fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn file(&self) -> PathBuf {
        self.0.join("dyno.json")
    }

    /// Writes what is known of the dyno.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &DynoFile) -> Result<(), Fault> {
        let text = serde_json::to_vec(file)?;
        // Not synced: after a crash of the machine there is no dyno.
        let path = self.file();
        let open = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let written = open.and_then(|mut file| file.write_all(&text));
        written.try_again(format!("cannot write `{}`", path.display()))
    }

    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read, or is of another version.
    pub fn read(&self) -> Result<DynoFile, Fault> {
        let path = self.file();
        let text = std::fs::read(&path).fault(format!("cannot read `{}`", path.display()))?;
        serde_json::from_slice(&text).fault(format!("`{}` is not valid", path.display()))
    }

    /// Removes the directory. What is gone already is no error, what resists is left to the next start.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Why a dyno runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It belongs to the formation.
    Formation,
    /// It is a release phase.
    Release,
    /// It was asked for, for one command.
    OneOff,
}

/// What is known of a dyno. Its environment is not: config vars are not kept on the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoFile {
    /// A ULID.
    pub id: String,
    /// The app's id.
    pub app: String,
    /// `web.1`.
    pub name: DynoName,
    /// Why it runs.
    pub role: Role,
    /// The version of its release.
    pub release: u64,
    /// See [`ruko_api_types::host::DynoToRun::generation`].
    pub generation: u64,
    /// What runs in it.
    pub command: String,
    /// `Standard-1X`, …
    pub size: String,
    /// When its supervisor was started, in milliseconds since 1970.
    pub since: u64,
    /// Somebody is to attach to it: its output is theirs and does not go to the log.
    pub attach: bool,
    /// How long it has after SIGTERM when a signal ends its supervisor, in seconds.
    pub stop_seconds: u64,
    /// Its container.
    pub spec: RunSpec,
    /// What runs the container, with its arguments.
    pub container_command: Vec<String>,
}
