//! Buildpacks: which one, its own copy, detect, compile and release ("Buildpack API", Heroku Dev Center).

pub mod fetch;
pub mod reference;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use ruko_core::exit::one_line;

use crate::env::Environment;
use crate::leftovers::{self, Captured, Ended};
use crate::yaml::{self, Release};

/// What of a script's streams is kept where they are not shown as they come, in bytes.
const MAX_CAPTURE: usize = 1 << 20;

/// Why a script gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It could not be started.
    #[error("cannot run {script} of the buildpack")]
    Spawn {
        /// Which.
        script: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("{script} failed ({status})")]
    Failed {
        /// Which.
        script: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
    },
}

/// A buildpack's directory.
#[derive(Clone, Debug)]
pub struct Buildpack {
    dir: PathBuf,
}

/// The three directories that a buildpack works with.
#[derive(Clone, Copy, Debug)]
pub struct Directories<'a> {
    /// The app.
    pub build: &'a Path,
    /// What is kept from build to build.
    pub cache: &'a Path,
    /// The app's config vars.
    pub env: &'a Path,
}

/// What detect said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detected {
    /// It takes the app, which it calls so.
    Yes(String),
    /// It does not, and says what it looks for.
    No(String),
}

impl Buildpack {
    /// The buildpack in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn script(&self, name: &str, cwd: &Path, env: &Environment) -> Command {
        let mut command = Command::new(self.dir.join("bin").join(name));
        env.apply(&mut command);
        command.current_dir(cwd);
        command
    }

    /// Runs bin/detect.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn detect(&self, build: &Path, env: &Environment) -> Result<Detected, ScriptError> {
        let mut command = self.script("detect", build, env);
        command.arg(build);
        let Captured { ended, stdout, stderr } = capture(command, "bin/detect")?;
        if !ended.status.success() {
            return Ok(Detected::No(String::from_utf8_lossy(&stderr).trim().to_owned()));
        }
        let said = String::from_utf8_lossy(&stdout).into_owned();
        // A script that says nothing matched all the same.
        let name = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Buildpack");
        Ok(Detected::Yes(one_line(name).chars().take(100).collect()))
    }

    /// Runs bin/compile; what it says goes to `sink` as it comes.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn compile(
        &self,
        dirs: &Directories<'_>,
        env: &Environment,
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Ended, ScriptError> {
        let mut command = self.script("compile", dirs.build, env);
        command.args([dirs.build, dirs.cache, dirs.env]);
        leftovers::stream(command, sink)
            .map_err(|source| ScriptError::Spawn { script: "bin/compile", source })
    }

    /// The environment of the buildpacks after this one: that of before, and what the script `export` in
    /// the buildpack's directory sets. None if it wrote no such script.
    ///
    /// # Errors
    /// It cannot be sourced.
    pub fn export(&self, cwd: &Path, env: &Environment) -> Result<Option<Environment>, ScriptError> {
        let export = self.dir.join("export");
        if !export.is_file() {
            return Ok(None);
        }
        let mut command = Command::new("/bin/bash");
        env.apply(&mut command);
        // Sourced as the next script's shell would. /usr/bin/env, since the script may change PATH.
        command.args(["--noprofile", "--norc", "-c", ". \"$1\" >/dev/null; exec /usr/bin/env -0", "bash"]);
        command.arg(&export).current_dir(cwd);
        let captured = capture(command, "export")?;
        succeeded(captured.ended, "export")?;
        Ok(Some(Environment::from_env_0(&captured.stdout)))
    }

    /// Runs bin/release and reads what it prints. A buildpack need not have one.
    ///
    /// # Errors
    /// It cannot be run, or fails.
    pub fn release(&self, build: &Path, env: &Environment) -> Result<Release, ScriptError> {
        if !self.dir.join("bin/release").is_file() {
            return Ok(Release::default());
        }
        let mut command = self.script("release", build, env);
        command.arg(build);
        let captured = capture(command, "bin/release")?;
        succeeded(captured.ended, "bin/release")?;
        Ok(yaml::parse(&captured.stdout[..captured.stdout.len().min(yaml::MAX_BYTES)]))
    }
}

fn capture(command: Command, script: &'static str) -> Result<Captured, ScriptError> {
    leftovers::capture(command, MAX_CAPTURE).map_err(|source| ScriptError::Spawn { script, source })
}

fn succeeded(ended: Ended, script: &'static str) -> Result<(), ScriptError> {
    if ended.status.success() { Ok(()) } else { Err(ScriptError::Failed { script, status: ended.status }) }
}
