//! The settings of repositories, by git itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ruko_core::{Fault, Hint};

use crate::GitTransport;
use crate::remotes::{Remotes, Settled};

/// What git needs for a server's https remotes.
pub(crate) struct HttpAccess {
    /// Scheme, host and port.
    origin: String,
    /// Certificates to trust beside the system's.
    ca_file: Option<PathBuf>,
}

impl HttpAccess {
    /// A relative path of certificates is taken from the directory of this process.
    pub(crate) fn new(origin: &str, ca_file: Option<&Path>) -> Self {
        let ca_file = ca_file.map(|file| file.canonicalize().unwrap_or_else(|_| file.to_owned()));
        Self { origin: origin.to_owned(), ca_file }
    }

    /// Settings (key and values, in this order) under which git asks a program for the token. The empty one
    /// puts aside all helpers that were set before, so that none of them is asked or stores the token.
    pub(crate) fn settings(&self, helper: &str) -> Vec<(String, Vec<String>)> {
        let helper = vec![String::new(), format!("!{helper}")];
        let mut settings = vec![(format!("credential.{}.helper", self.origin), helper)];
        if let Some(file) = &self.ca_file {
            let file = file.to_string_lossy().into_owned();
            settings.push((format!("http.{}/.sslCAInfo", self.origin), vec![file]));
        }
        settings
    }
}

/// A git repository, by a directory in it.
pub(crate) struct Repository<'a>(pub(crate) &'a Path);

impl Repository<'_> {
    /// The remotes that are set in the repository; none where there is no repository, or no git.
    pub(crate) fn remotes(&self) -> Remotes {
        let asked = self.git(["config", "--local", "-z", "--get-regexp", r"^remote\..*\.url$"]).output();
        let Ok(answer) = asked else { return Remotes::new() };
        let list = String::from_utf8_lossy(&answer.stdout).into_owned();
        let entries = list.split('\0').filter_map(|entry| entry.split_once('\n'));
        let named = entries.filter_map(|(key, url)| {
            let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
            Some((name.to_owned(), url.to_owned()))
        });
        // Of several addresses git fetches from the first.
        let mut remotes = Remotes::new();
        for (name, url) in named {
            remotes.entry(name).or_insert(url);
        }
        remotes
    }

    /// The remote that the CLI takes where several are set (`heroku.remote`).
    pub(crate) fn default_remote(&self) -> Option<String> {
        let output = self.git(["config", "heroku.remote"]).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// Does what was found to be done for remotes.
    ///
    /// # Errors
    /// git refuses a setting.
    pub(crate) fn settle(&self, settled: &[Settled], access: &HttpAccess, helper: &str) -> Result<(), Fault> {
        for remote in settled {
            self.run(["remote", "set-url", &remote.remote, &remote.url])?;
        }
        if settled.iter().any(|remote| remote.transport == GitTransport::Https) {
            for (key, values) in access.settings(helper) {
                self.set(&key, &values)?;
            }
        }
        Ok(())
    }

    /// Gives a key these values instead of those that it has.
    fn set(&self, key: &str, values: &[String]) -> Result<(), Fault> {
        for (index, value) in values.iter().enumerate() {
            let how = if index == 0 { "--replace-all" } else { "--add" };
            self.run(["config", "--local", how, key, value])?;
        }
        Ok(())
    }

    fn run<const COUNT: usize>(&self, args: [&str; COUNT]) -> Result<(), Fault> {
        let what = || format!("`git {}` in `{}` failed", args.join(" "), self.0.display());
        let output = self.git(args).output().fault(what())?;
        if output.status.success() {
            return Ok(());
        }
        Err(Fault::refused(format!("{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// In the user's environment: git finds its settings by it.
    fn git<const COUNT: usize>(&self, args: [&str; COUNT]) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.0).args(args.map(OsStr::new)).stdin(Stdio::null());
        git
    }
}
