//! Buildpacks: which one, its own copy, detect, compile and release ("Buildpack API", Heroku Dev Center).

pub mod fetch;
pub mod reference;
pub mod survey;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use ruko_core::exit::one_line;

use crate::env::Environment;
use crate::leftovers::{self, Captured, Ended};
use crate::yaml::{self, Release};

/// What of a script's streams is kept where they are not shown as they come, in bytes.
const MAX_CAPTURE: usize = 1 << 20;

/// What of a report is kept, in bytes.
const MAX_REPORT: usize = 16 << 10;

/// How long a report may take, in seconds.
const REPORT_SECONDS: u32 = 20;

/// Sources a script as the next buildpack's shell would, and prints the environment that it leaves, also where it
/// calls exit. /usr/bin/env, since the script may change PATH.
const SOURCE_AND_PRINT: &str =
    r#"exec 3>&1 >/dev/null; trap 'exec /usr/bin/env -0 >&3 3>&-' EXIT; . "$1"; set +eu"#;

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
        /// What it said on stderr.
        said: String,
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

impl From<Captured> for Detected {
    fn from(Captured { ended, stdout, stderr }: Captured) -> Self {
        if !ended.status.success() {
            return Self::No(String::from_utf8_lossy(&stderr).trim_end().to_owned());
        }
        let said = String::from_utf8_lossy(&stdout);
        // A script that says nothing matched all the same.
        let name = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Buildpack");
        Self::Yes(one_line(name).chars().take(100).collect())
    }
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
        capture(self.detecting(build, env), "bin/detect").map(Detected::from)
    }

    /// Runs the bin/detect of these, beside each other.
    ///
    /// # Errors
    /// One of them cannot be run.
    pub fn detect_all(
        buildpacks: &[Self],
        build: &Path,
        env: &Environment,
    ) -> Result<Vec<Detected>, ScriptError> {
        let commands = buildpacks.iter().map(|buildpack| buildpack.detecting(build, env));
        let captured = leftovers::capture_all(commands, MAX_CAPTURE)
            .map_err(|source| ScriptError::Spawn { script: "bin/detect", source })?;
        Ok(captured.into_iter().map(Detected::from).collect())
    }

    fn detecting(&self, build: &Path, env: &Environment) -> Command {
        let mut command = self.script("detect", build, env);
        command.arg(build);
        command
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
        command.args(["--noprofile", "--norc", "-c", SOURCE_AND_PRINT, "bash"]);
        command.arg(&export).current_dir(cwd);
        let captured = succeeded(capture(command, "export")?, "export")?;
        Ok((!captured.stdout.is_empty()).then(|| Environment::from_env_0(&captured.stdout)))
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
        let captured = succeeded(capture(command, "bin/release")?, "bin/release")?;
        Ok(yaml::parse(&captured.stdout))
    }

    /// Runs bin/report and gives what it prints of the build, or why it gave nothing. None if the buildpack has none.
    pub fn report(&self, dirs: &Directories<'_>, env: &Environment) -> Option<Result<String, ScriptError>> {
        let script = self.dir.join("bin/report");
        if !script.is_file() {
            return None;
        }
        // Nobody needs it, so nobody waits for it for ever. timeout(1) ends with 124 then.
        let mut command = Command::new("/usr/bin/timeout");
        env.apply(&mut command);
        command.arg("--kill-after=1").arg(REPORT_SECONDS.to_string()).arg(script);
        command.args([dirs.build, dirs.cache, dirs.env]).current_dir(dirs.build);
        let captured = capture(command, "bin/report").and_then(|captured| succeeded(captured, "bin/report"));
        Some(captured.map(|captured| {
            let kept = &captured.stdout[..captured.stdout.len().min(MAX_REPORT)];
            String::from_utf8_lossy(kept).trim().to_owned()
        }))
    }
}

fn capture(command: Command, script: &'static str) -> Result<Captured, ScriptError> {
    leftovers::capture(command, MAX_CAPTURE).map_err(|source| ScriptError::Spawn { script, source })
}

fn succeeded(captured: Captured, script: &'static str) -> Result<Captured, ScriptError> {
    let status = captured.ended.status;
    if status.success() {
        return Ok(captured);
    }
    Err(ScriptError::Failed { script, status, said: String::from_utf8_lossy(&captured.stderr).into_owned() })
}
