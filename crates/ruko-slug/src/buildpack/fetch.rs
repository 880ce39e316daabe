//! A private, writable copy of a buildpack.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ruko_archive::{Limits, LinkRule};
use ruko_core::exit::{chain, one_line};
use ruko_sys::{AtPath, PathError, Tool, ToolError};

use super::reference::{Reference, Url};
use crate::env::Timeouts;
use crate::git;

/// The scripts of a buildpack that are run.
const SCRIPTS: [&str; 4] = ["detect", "compile", "release", "report"];

/// What an unpacked buildpack may hold.
const LIMITS: Limits =
    Limits { bytes: 2 << 30, entries: 200_000, path_bytes: Limits::PATH_BYTES, links: LinkRule::Inside };

/// Why a buildpack could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No buildpack of this name ships.
    #[error("no buildpack named `{0}` ships with this platform ({1} do): give its git URL instead")]
    NotShipped(String, String),
    /// It could not be downloaded.
    #[error("cannot fetch the buildpack {reference}: {why}")]
    Download {
        /// Which, without secrets.
        reference: String,
        /// What git or curl said, without secrets.
        why: String,
    },
    /// It was had and is none.
    #[error("{0} is not a buildpack: it has no bin/{1}")]
    NotOne(String, &'static str),
    /// A file could not be written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A buildpack that ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name.
    pub name: String,
    /// It stands after `*` in the order: it takes what no other does, and is no rival of those that do.
    pub last_resort: bool,
}

/// Where buildpacks come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The directory of those that ship.
    pub shipped: &'a Path,
    /// How the network is reached: `[build.env]`.
    pub env: &'a BTreeMap<String, String>,
    /// How long a download may take.
    pub timeouts: Timeouts,
}

impl Source<'_> {
    /// The buildpacks that ship, in the order of the file `ORDER` beside them, one name a line, where `*` stands
    /// for all that it does not name. Without the file, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn shipped(&self) -> Result<Vec<Shipped>, PathError> {
        let entries = fs::read_dir(self.shipped).at("read", self.shipped)?;
        let is_buildpack = |path: PathBuf| path.join("bin/detect").is_file().then_some(path);
        let mut found: Vec<String> = entries
            .filter_map(|entry| is_buildpack(entry.ok()?.path())?.file_name()?.to_str().map(str::to_owned))
            .collect();
        found.sort_unstable();
        let order = fs::read_to_string(self.shipped.join("ORDER")).unwrap_or_else(|_| "*".into());
        Ok(in_order(&order, &found))
    }

    /// Where a buildpack that ships lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.shipped.join(name)
    }

    /// Makes a copy of a buildpack at `into`, which does not exist yet.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub fn fetch(&self, reference: &Reference, into: &Path) -> Result<(), FetchError> {
        match reference {
            Reference::Shipped(name) => self.copy(name, into)?,
            Reference::Git { url, revision } => self.clone(url, revision.as_deref(), into)?,
            Reference::Archive(url) => self.unpack(url, into)?,
        }
        for script in ["detect", "compile"] {
            if !into.join("bin").join(script).is_file() {
                return Err(FetchError::NotOne(reference.to_string(), script));
            }
        }
        make_executable(into)
    }

    fn copy(&self, name: &str, into: &Path) -> Result<(), FetchError> {
        let names: Vec<String> = self.shipped()?.into_iter().map(|shipped| shipped.name).collect();
        if !names.iter().any(|shipped| shipped == name) {
            return Err(FetchError::NotShipped(name.to_owned(), names.join(", ")));
        }
        Ok(copy_tree(&self.path(name), into)?)
    }

    /// git as it fetches: it may ask nobody, and may speak nothing that runs commands. The host may say which ssh it
    /// uses, with which key.
    fn git(&self) -> Tool {
        let tool = git::plain()
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
            .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
            .env("GIT_HTTP_LOW_SPEED_TIME", "60");
        let tool = self.env.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
        tool.env("GIT_ALLOW_PROTOCOL", "https:http:git:ssh:file").args([
            "-c",
            "advice.detachedHead=false",
            "-c",
            "gc.auto=0",
        ])
    }

    /// As little as possible first: one commit of a branch or tag, then the commit of that id. Servers that
    /// give neither are asked for everything.
    fn clone(&self, url: &Url, revision: Option<&str>, into: &Path) -> Result<(), FetchError> {
        let little = match revision {
            None => self.shallow().arg("--").arg(url.secret()).arg(into).run(),
            Some(revision) => {
                let branch = self.shallow().arg(format!("--branch={revision}"));
                let branch = branch.arg("--").arg(url.secret()).arg(into).run();
                branch.or_else(|_| self.fetch_commit(url, revision, into))
            }
        };
        if little.is_ok() {
            return Ok(());
        }
        let _ = fs::remove_dir_all(into);
        let all = self.git().args(["clone", "--quiet", "--"]).arg(url.secret()).arg(into).run();
        let all = all.and_then(|()| match revision {
            None => self.fill_submodules(into),
            Some(revision) => self.check_out(revision, into),
        });
        failed(url, all)
    }

    fn shallow(&self) -> Tool {
        self.git().args(["clone", "--quiet", "--depth=1", "--recurse-submodules", "--shallow-submodules"])
    }

    fn fetch_commit(&self, url: &Url, id: &str, into: &Path) -> Result<(), ToolError> {
        let _ = fs::remove_dir_all(into);
        self.git().args(["init", "--quiet", "--"]).arg(into).run()?;
        let fetch = self.git().arg("-C").arg(into).args(["fetch", "--quiet", "--depth=1", "--"]);
        fetch.arg(url.secret()).arg(id).run()?;
        self.check_out("FETCH_HEAD", into)
    }

    fn check_out(&self, revision: &str, into: &Path) -> Result<(), ToolError> {
        let git = || self.git().arg("-C").arg(into);
        // A branch of the remote is known here by its remote name only.
        let checkout = |revision: &str| git().args(["checkout", "--quiet", "--detach", revision, "--"]).run();
        checkout(&format!("refs/remotes/origin/{revision}")).or_else(|_| checkout(revision))?;
        self.fill_submodules(into)
    }

    fn fill_submodules(&self, into: &Path) -> Result<(), ToolError> {
        self.git().arg("-C").arg(into).args(["submodule", "--quiet", "update", "--init", "--recursive"]).run()
    }

    fn unpack(&self, url: &Url, into: &Path) -> Result<(), FetchError> {
        fs::create_dir(into).at("create", into)?;
        let download = |why: String| FetchError::Download { reference: url.to_string(), why };
        let tool = self.env.iter().fold(Tool::new("curl"), |tool, (name, value)| tool.env(name, value));
        // Its own options come first: a file of options in a home directory is not ours.
        let tool =
            tool.args(["--disable", "--fail", "--silent", "--show-error", "--location", "--retry", "3"]);
        let mut command = tool
            .args(["--connect-timeout", &self.timeouts.connect.to_string()])
            .args(["--max-time", &self.timeouts.total.to_string()])
            .args(["--retry-max-time", &self.timeouts.total.to_string()])
            .args(["--proto", "=https,http,file", "--"])
            .arg(url.secret())
            .into_command();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| download(format!("cannot run curl: {e}")))?;
        let unpacked = child.stdout.take().map(|bytes| ruko_archive::unpack(bytes, into, &LIMITS));
        let ended = child.wait_with_output().map_err(|e| download(e.to_string()))?;
        // curl's word first: an archive is half for a reason that curl knows.
        if !ended.status.success() && !ended.stderr.is_empty() {
            return Err(download(one_line(&url.redact_in(&String::from_utf8_lossy(&ended.stderr)))));
        }
        match unpacked {
            Some(Err(e)) => Err(download(chain(&e))),
            _ if !ended.status.success() => Err(download(format!("curl failed ({})", ended.status))),
            _ => lift(into),
        }
    }
}

/// Copies a directory with modes and links. What is neither file, directory nor link has no place in a
/// buildpack and is left out.
fn copy_tree(from: &Path, into: &Path) -> Result<(), PathError> {
    fs::create_dir(into).at("create", into)?;
    for entry in fs::read_dir(from).at("read", from)? {
        let entry = entry.at("read", from)?;
        let (from, into) = (entry.path(), into.join(entry.file_name()));
        let kind = entry.file_type().at("read", &from)?;
        if kind.is_dir() {
            copy_tree(&from, &into)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&from).at("read", &from)?;
            symlink(target, &into).at("create", &into)?;
        } else if kind.is_file() {
            fs::copy(&from, &into).at("copy", &from)?;
        }
    }
    Ok(())
}

/// An archive may have everything in one directory, as code hosts pack it: its contents are lifted out.
fn lift(into: &Path) -> Result<(), FetchError> {
    let entries: Vec<_> = fs::read_dir(into).at("read", into)?.flatten().collect();
    let [only] = &entries[..] else { return Ok(()) };
    if !only.path().join("bin").is_dir() || only.file_name() == "bin" {
        return Ok(());
    }
    let beside = into.with_extension("lifted");
    fs::rename(only.path(), &beside).at("rename", &only.path())?;
    fs::remove_dir(into).at("remove", into)?;
    Ok(fs::rename(&beside, into).at("rename", &beside)?)
}

fn failed(url: &Url, outcome: Result<(), ToolError>) -> Result<(), FetchError> {
    outcome.map_err(|e| {
        let why = match &e {
            ToolError::Failed { stderr, .. } => stderr.clone(),
            spawn @ ToolError::Spawn { .. } => chain(spawn),
        };
        FetchError::Download { reference: url.to_string(), why: one_line(&url.redact_in(&why)) }
    })
}

/// Scripts may be checked in without the execute bit.
fn make_executable(buildpack: &Path) -> Result<(), FetchError> {
    for path in SCRIPTS.iter().map(|script| buildpack.join("bin").join(script)).filter(|path| path.is_file())
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).at("make executable", &path)?;
    }
    Ok(())
}

fn in_order(order: &str, found: &[String]) -> Vec<Shipped> {
    let listed: Vec<&str> =
        order.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let others = listed.iter().position(|line| *line == "*").unwrap_or(listed.len());
    let names = |line: &str| -> Vec<String> {
        let named =
            |name: &&String| if line == "*" { !listed.contains(&name.as_str()) } else { *name == line };
        found.iter().filter(named).cloned().collect()
    };
    let of_line = |(at, line): (usize, &&str)| {
        names(line).into_iter().map(move |name| Shipped { name, last_resort: at > others })
    };
    listed.iter().enumerate().flat_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_file_says_who_is_asked_first_and_last() {
        let found = ["a", "nodejs", "procfile", "python", "z"].map(str::to_owned);
        let order = "# first match wins\nnodejs\npython\nnot-there\n*\nprocfile\n";
        let names =
            |order| in_order(order, &found).into_iter().map(|shipped| shipped.name).collect::<Vec<_>>();
        assert_eq!(names(order), ["nodejs", "python", "a", "z", "procfile"]);
        assert_eq!(names("*"), found);
        assert!(names("").is_empty());
        let last: Vec<_> =
            in_order(order, &found).into_iter().filter(|shipped| shipped.last_resort).collect();
        assert_eq!(last, [Shipped { name: "procfile".into(), last_resort: true }]);
    }

    #[test]
    fn a_copy_has_modes_and_links_and_can_be_written_to() {
        let tmp = tempfile::tempdir().unwrap();
        let (from, into) = (tmp.path().join("from"), tmp.path().join("into"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/detect"), "x").unwrap();
        fs::set_permissions(from.join("bin/detect"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("bin/detect", from.join("link")).unwrap();
        fs::set_permissions(from.join("bin"), fs::Permissions::from_mode(0o555)).unwrap();
        copy_tree(&from, &into).unwrap();
        fs::set_permissions(from.join("bin"), fs::Permissions::from_mode(0o755)).unwrap();
        let mode = |path: &str| fs::metadata(into.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("bin/detect"), 0o755);
        assert_eq!(mode("bin") & 0o200, 0o200);
        assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("bin/detect"));
        assert!(copy_tree(&from, &into).is_err());
    }
}
