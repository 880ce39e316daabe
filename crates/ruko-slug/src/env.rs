//! The environment of buildpacks, and ENV_DIR.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use ruko_core::{ConfigVarName, StackName};
use ruko_sys::{AtPath, PathError, tool::SAFE_PATH};

/// The environment of a build: nothing is inherited. App config vars are not in it; they are in ENV_DIR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

/// What an environment is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// For `HOME`.
    pub home: &'a Path,
    /// For `STACK`.
    pub stack: &'a StackName,
    /// For `SOURCE_VERSION`.
    pub source_version: &'a str,
    /// For `REQUEST_ID`.
    pub request_id: &'a str,
    /// `[build.env]` of the host.
    pub extra: &'a BTreeMap<String, String>,
}

/// How long a download may take, by the variables that Heroku's buildpacks read as well. Theirs are shorter than a
/// slow mirror needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, in seconds.
    pub connect: u32,
    /// In all, in seconds.
    pub total: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: 30, total: 600 }
    }
}

impl Timeouts {
    const NAMES: [&str; 2] = ["CURL_CONNECT_TIMEOUT", "CURL_TIMEOUT"];
    /// No download takes longer, whatever an app says.
    const MOST: u32 = 3600;

    /// What these say, the later ones before the earlier ones; what is no number of seconds says nothing.
    pub fn of<'a>(vars: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut timeouts = Self::default();
        for (name, value) in vars {
            let Some(seconds) = value.trim().parse().ok().filter(|s| (1..=Self::MOST).contains(s)) else {
                continue;
            };
            match Self::NAMES.iter().position(|known| name == *known) {
                Some(0) => timeouts.connect = seconds,
                Some(_) => timeouts.total = seconds,
                None => {}
            }
        }
        timeouts
    }
}

/// Names that `[build.env]` does not override.
const OURS: [&str; 5] = ["HOME", "STACK", "SOURCE_VERSION", "REQUEST_ID", "PATH"];

/// Beginnings of the only `GIT_*` names that a build may see: how git reaches a network. All others say
/// where a repository is, and a build must not take ours for its own.
const GIT_ALLOWED: [&str; 3] = ["GIT_SSL_", "GIT_HTTP_", "GIT_CURL_"];

impl Environment {
    /// The environment of the first buildpack.
    pub fn new(facts: &Facts<'_>) -> Self {
        let mut vars: BTreeMap<OsString, OsString> = BTreeMap::new();
        let mut set = |name: &str, value: &OsStr| vars.insert(name.into(), value.to_owned());
        let Timeouts { connect, total } = Timeouts::default();
        for (name, seconds) in Timeouts::NAMES.into_iter().zip([connect, total]) {
            set(name, seconds.to_string().as_ref());
        }
        set("LANG", "C.UTF-8".as_ref());
        for (name, value) in facts.extra.iter().filter(|(name, _)| may_be_set(name)) {
            set(name, value.as_ref());
        }
        set("PATH", SAFE_PATH.as_ref());
        set("HOME", facts.home.as_os_str());
        set("STACK", facts.stack.as_str().as_ref());
        set("SOURCE_VERSION", facts.source_version.as_ref());
        set("REQUEST_ID", facts.request_id.as_ref());
        Self(vars)
    }

    /// The environment that a shell left: `NAME=VALUE`, each ended by NUL, as `env -0` prints it. What a
    /// shell sets for itself is left out, and so are the git variables that a build must not have.
    pub fn from_env_0(bytes: &[u8]) -> Self {
        let pair = |line: &[u8]| {
            let equals = line.iter().position(|&b| b == b'=')?;
            Some((
                OsString::from_vec(line[..equals].to_vec()),
                OsString::from_vec(line[equals + 1..].to_vec()),
            ))
        };
        let own = |name: &OsStr| ["_", "SHLVL", "PWD", "OLDPWD"].iter().any(|own| name == *own);
        let pairs = bytes.split(|&b| b == 0).filter_map(pair);
        Self(pairs.filter(|(name, _)| !name.is_empty() && !own(name) && !is_foreign_git(name)).collect())
    }

    /// Gives a command this environment and nothing else.
    pub fn apply(&self, command: &mut Command) {
        command.env_clear().envs(&self.0);
    }
}

fn may_be_set(name: &str) -> bool {
    !OURS.contains(&name)
        && !is_foreign_git(OsStr::new(name))
        && !name.is_empty()
        && !name.contains(['=', '\0'])
}

fn is_foreign_git(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"GIT_") && !GIT_ALLOWED.iter().any(|allowed| name.starts_with(allowed.as_bytes()))
}

/// ENV_DIR: one file for each config var, with its exact value, for nobody but the build user. Gone when
/// dropped.
#[derive(Debug)]
pub struct EnvDir {
    path: PathBuf,
}

impl EnvDir {
    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written, or is there already.
    pub fn write(path: PathBuf, vars: &BTreeMap<ConfigVarName, String>) -> Result<Self, PathError> {
        DirBuilder::new().mode(0o700).create(&path).at("create", &path)?;
        let dir = Self { path };
        for (name, value) in vars {
            let path = dir.path.join(name.as_str());
            let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(value.as_bytes())).at("write", &path)?;
        }
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for EnvDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn nothing_but_what_is_meant_reaches_a_build() {
        let extra = BTreeMap::from(
            [
                ("PIP_INDEX_URL", "u"),
                ("HOME", "/x"),
                ("GIT_DIR", "/x"),
                ("GIT_SSL_CAINFO", "/ca"),
                ("STACK", "x"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let facts = Facts {
            home: Path::new("/app"),
            stack: &"openruko-12".parse().unwrap(),
            source_version: "",
            request_id: "r",
            extra: &extra,
        };
        let mut command = Command::new("env");
        Environment::new(&facts).apply(&mut command);
        let out = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut names: Vec<_> = out.lines().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "CURL_CONNECT_TIMEOUT",
                "CURL_TIMEOUT",
                "GIT_SSL_CAINFO",
                "HOME",
                "LANG",
                "PATH",
                "PIP_INDEX_URL",
                "REQUEST_ID",
                "SOURCE_VERSION",
                "STACK"
            ]
        );
        assert!(out.contains("HOME=/app\n") && out.contains("STACK=openruko-12\n"));
    }

    #[test]
    fn how_long_a_download_may_take_can_be_said_in_seconds() {
        let of = |vars: &[(&str, &str)]| Timeouts::of(vars.iter().copied());
        let said =
            [("CURL_TIMEOUT", "5"), ("X", "7"), ("CURL_TIMEOUT", " 9\n"), ("CURL_CONNECT_TIMEOUT", "2")];
        assert_eq!(of(&said), Timeouts { connect: 2, total: 9 });
        for nonsense in ["", "0", "-1", "x", "3601", "1.5"] {
            assert_eq!(of(&[("CURL_TIMEOUT", nonsense)]), Timeouts::default(), "{nonsense}");
        }
    }

    #[test]
    fn what_a_shell_exports_is_read_back_byte_for_byte() {
        let read = Environment::from_env_0(b"A=1=2\0B=two\nlines\0_=x\0GIT_DIR=/x\0C=\xff\0\0");
        assert_eq!(read.0.len(), 3);
        assert_eq!(read.0[OsStr::new("A")], "1=2");
        assert_eq!(read.0[OsStr::new("B")], "two\nlines");
    }

    #[test]
    fn env_dir_holds_exact_values_for_the_build_user_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let vars = BTreeMap::from([("KEY".parse().unwrap(), "a\nb ".to_owned())]);
        let dir = EnvDir::write(tmp.path().join("env"), &vars).unwrap();
        let file = dir.path().join("KEY");
        assert_eq!(fs::read(&file).unwrap(), b"a\nb ");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o700);
        drop(dir);
        assert!(!tmp.path().join("env").exists());
    }
}
