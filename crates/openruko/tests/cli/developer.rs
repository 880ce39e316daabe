//! A developer with a home of their own, at a mock server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::mock::{Mock, Reply, Seen, TOKEN};

pub(crate) struct Developer {
    dir: TempDir,
    pub(crate) mock: Mock,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok().out).unwrap()
    }

    /// That it failed with this status and these words.
    #[track_caller]
    pub(crate) fn says(self, status: i32, words: &str) {
        assert!(self.status == status && self.err.contains(words), "no `{words}` and {status} in {self:?}");
    }
}

impl Developer {
    pub(crate) fn new(answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        Self { dir, mock: Mock::start(answer) }
    }

    /// One who has logged in already.
    pub(crate) fn logged_in(answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let developer = Self::new(answer);
        developer.typing(&["login", &developer.mock.url, "--name", "paas", "--token-stdin"], TOKEN).ok();
        developer.mock.forget();
        developer
    }

    pub(crate) fn home(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home().join(".config/openruko").join(name)
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.home()).env("OPENRUKO_NATIVE", "1").env("GIT_CONFIG_NOSYSTEM", "1");
        command.current_dir(self.work());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        self.typing(words, "")
    }

    pub(crate) fn typing(&self, words: &[&str], stdin: &str) -> Ended {
        self.with(words, stdin, &[])
    }

    pub(crate) fn with(&self, words: &[&str], stdin: &str, env: &[(&str, &str)]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_openruko"));
        command.args(words).envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { status: out.status.code().unwrap(), out: text(out.stdout), err: text(out.stderr) }
    }

    pub(crate) fn git(&self, words: &[&str]) -> String {
        let out = self.command("git").args(words).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}
