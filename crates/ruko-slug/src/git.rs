//! git, run in a bare repository with an environment of our own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ruko_core::{BadName, CommitId};
use ruko_sys::{AtPath, PathError, Tool, ToolError};

/// Why git gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// git could not be fed.
    #[error("cannot talk to git")]
    Pipe(#[from] io::Error),
    /// What git printed is not what it prints.
    #[error("git printed an object id that is none")]
    Id(#[from] BadName),
    /// The repository is not there.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A bare repository. In a hook, what the push brought lies beside it until the hook has judged
/// (gitreceive-pack: quarantine).
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
    quarantine: Option<Quarantine>,
}

/// The pushed objects before they become part of the repository (git-receive-pack(1), "Quarantine
/// Environment").
#[derive(Clone, Debug)]
struct Quarantine {
    objects: PathBuf,
    alternates: OsString,
}

impl Repository {
    /// The repository at this path.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), quarantine: None }
    }

    /// The repository whose hook this process is. git tells it by environment variables.
    ///
    /// # Errors
    /// This is no hook, or the repository is not there.
    pub fn of_hook() -> Result<Self, GitError> {
        let dir = std::env::var_os("GIT_DIR").unwrap_or_else(|| ".".into());
        let dir = PathBuf::from(&dir).canonicalize().at("find the repository", Path::new(&dir))?;
        let objects = std::env::var_os("GIT_QUARANTINE_PATH");
        let quarantine = objects
            .map(|objects| -> Result<_, PathError> {
                let objects = PathBuf::from(&objects)
                    .canonicalize()
                    .at("find the pushed objects", Path::new(&objects))?;
                let alternates = std::env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES");
                Ok(Quarantine { objects, alternates: alternates.unwrap_or_default() })
            })
            .transpose()?;
        Ok(Self { dir, quarantine })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its own objects.
    pub fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// The objects that the push brought.
    pub fn quarantined(&self) -> Option<&Path> {
        self.quarantine.as_ref().map(|q| q.objects.as_path())
    }

    /// git with this git directory and the objects of this repository, pushed ones included. No
    /// configuration of the machine or of a home directory is read.
    pub(crate) fn git_in(&self, git_dir: &Path) -> Tool {
        let own = self.objects();
        let tool = trusting(plain(), git_dir).env("GIT_DIR", git_dir);
        match &self.quarantine {
            None => tool.env("GIT_OBJECT_DIRECTORY", own),
            Some(Quarantine { objects, alternates }) => tool
                .env("GIT_OBJECT_DIRECTORY", objects)
                .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", joined(&own, alternates)),
        }
    }

    /// git in this repository.
    pub fn git(&self) -> Tool {
        self.git_in(&self.dir)
    }

    /// All refs below `refs/`, by name.
    ///
    /// # Errors
    /// git cannot read them.
    pub fn refs(&self) -> Result<BTreeMap<Vec<u8>, CommitId>, GitError> {
        let lines = self.git().args(["for-each-ref", "--format=%(objectname) %(refname)"]).output()?;
        let mut refs = BTreeMap::new();
        for line in lines.split(|&b| b == b'\n') {
            if let Some(space) = line.iter().position(|&b| b == b' ') {
                refs.insert(line[space + 1..].to_vec(), id(&line[..space])?);
            }
        }
        Ok(refs)
    }

    /// The types of these objects in the same order; none where there is no such object.
    ///
    /// # Errors
    /// git cannot look.
    pub fn kinds(&self, ids: &[CommitId]) -> Result<Vec<Option<String>>, GitError> {
        let input: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let answer = fed(self.git().args(["cat-file", "--batch-check=%(objecttype)"]), input.into_bytes())?;
        // A missing object is answered `ID missing`, a found one with the bare type.
        let kind = |line: &str| (!line.contains(' ')).then(|| line.to_owned());
        Ok(String::from_utf8_lossy(&answer).lines().map(kind).collect())
    }

    /// Whether everything that these objects refer to is there, apart from what the refs have already.
    ///
    /// # Errors
    /// git cannot be run.
    pub fn connected(&self, ids: &[CommitId]) -> Result<bool, GitError> {
        let tool = self.git().args(["rev-list", "--objects", "--quiet", "--stdin", "--not", "--all"]);
        match fed(tool, lines(ids)) {
            Ok(_) => Ok(true),
            Err(GitError::Tool(ToolError::Failed { .. })) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The commits that these have and the refs do not have.
    ///
    /// # Errors
    /// git cannot list them.
    pub fn new_commits(&self, ids: &[CommitId]) -> Result<Vec<CommitId>, GitError> {
        let listed = fed(self.git().args(["rev-list", "--stdin", "--not", "--all"]), lines(ids))?;
        listed.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(id).collect()
    }
}

/// git with nothing but a safe environment.
pub(crate) fn plain() -> Tool {
    Tool::new("git")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        // An object is what it is named by, whatever refs/replace says of it (git-replace(1)).
        .env("GIT_NO_REPLACE_OBJECTS", "1")
}

/// The repository is used even where its directory belongs to somebody else: in a container it is a mount
/// point.
fn trusting(tool: Tool, dir: &Path) -> Tool {
    tool.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", dir)
}

fn joined(first: &Path, others: &OsStr) -> OsString {
    let mut all = first.as_os_str().to_owned();
    if !others.is_empty() {
        all.push(":");
        all.push(others);
    }
    all
}

fn id(text: &[u8]) -> Result<CommitId, GitError> {
    Ok(String::from_utf8_lossy(text).parse()?)
}

fn lines(ids: &[CommitId]) -> Vec<u8> {
    ids.iter().flat_map(|id| format!("{id}\n").into_bytes()).collect()
}

/// Runs a tool with this input and gives its stdout.
fn fed(tool: Tool, input: Vec<u8>) -> Result<Vec<u8>, GitError> {
    let mut command = tool.into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawn = |source| ToolError::Spawn { program: "git".into(), source };
    let mut child = command.spawn().map_err(spawn)?;
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    // A git that ends early, because something is missing, does not read the rest: its status says more.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = child.wait_with_output()?;
    let _ = feeder.join();
    if out.status.success() {
        return Ok(out.stdout);
    }
    let first: Vec<_> = command.get_args().take(1).map(OsStr::to_string_lossy).collect();
    Err(GitError::Tool(ToolError::Failed {
        command: format!("git {}", first.concat()),
        status: out.status,
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }))
}
