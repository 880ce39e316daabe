//! A host in memory, a container in a temporary directory for each session, and a git client.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use ruko_api_types::host::{ReleaseProgress, ReleaseStatus};
use ruko_api_types::{Committed, Stored};
use ruko_channel::{BuildRequest, CommitRequest, Refusal};
use ruko_core::config::BuildLimits;
use ruko_core::{AppName, PushId, StackName};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ruko-slug");

/// What the host was given, and what it answers.
pub(crate) struct Kept {
    pub(crate) repository: Option<Vec<u8>>,
    pub(crate) source: Option<Vec<u8>>,
    pub(crate) source_version: Option<String>,
    pub(crate) slug: Option<Vec<u8>>,
    pub(crate) cache: Option<Vec<u8>>,
    pub(crate) commits: Vec<CommitRequest>,
    pub(crate) output: String,
    pub(crate) failures: Vec<String>,
    pub(crate) config_vars: BTreeMap<String, String>,
    pub(crate) buildpacks: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) heroku_stack: Option<StackName>,
    pub(crate) limits: BuildLimits,
    pub(crate) bounds_met: Vec<String>,
    pub(crate) refuse_commit: Option<String>,
    /// What is told of the release, one after the other; then that it serves.
    pub(crate) progress: Vec<Result<ReleaseProgress, String>>,
    /// The stored repositories of other apps.
    pub(crate) others: BTreeMap<String, Option<Vec<u8>>>,
    /// Its private half, and the hosts that it is shown to.
    pub(crate) deploy_key: Option<(String, String)>,
    /// Where it signs.
    agent: Option<(ruko_channel::Agent, tempfile::TempDir)>,
    pending_repository: Option<Vec<u8>>,
}

pub(crate) struct Host(Mutex<Kept>);

impl Host {
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }
}

fn take(bytes: &mut dyn Read) -> Result<(Vec<u8>, Stored), Refusal> {
    let mut all = vec![];
    bytes.read_to_end(&mut all).map_err(|e| Refusal(e.to_string()))?;
    let stored = Stored { bytes: all.len() as u64, sha256: "0".repeat(64) };
    Ok((all, stored))
}

type Object = Box<dyn Read>;

fn object(bytes: &Option<Vec<u8>>) -> Option<Object> {
    bytes.clone().map(|bytes| Box::new(std::io::Cursor::new(bytes)) as Object)
}

impl ruko_channel::Host for Host {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        let kept = self.kept();
        let config_vars = kept.config_vars.iter();
        Ok(BuildRequest {
            push: PushId::generate(),
            request_id: "request-1".into(),
            app: "my-app".parse().unwrap(),
            stack: "openruko-12".parse().unwrap(),
            heroku_stack: kept.heroku_stack.clone(),
            config_vars: config_vars.map(|(name, value)| (name.parse().unwrap(), value.clone())).collect(),
            buildpacks: kept.buildpacks.clone(),
            deploy_refs: vec!["refs/heads/main".into(), "refs/heads/master".into()],
            source_version: kept.source_version.clone(),
            limits: kept.limits,
            env: kept.env.clone(),
            git_urls: vec!["ssh://git@host/{app}.git".into()],
            known_hosts: kept.deploy_key.as_ref().map(|(_, known_hosts)| known_hosts.clone()),
        })
    }

    fn repo(&self) -> Result<Option<Object>, Refusal> {
        Ok(object(&self.kept().repository))
    }

    fn source(&self) -> Result<Option<Object>, Refusal> {
        Ok(object(&self.kept().source))
    }

    fn submodule(&self, app: &AppName) -> Result<Option<Object>, Refusal> {
        let kept = self.kept();
        let other = kept.others.get(app.as_str());
        other.map(object).ok_or_else(|| Refusal(format!("There is no app {app} here that matt may read.")))
    }

    fn agent(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut kept = self.kept();
        let (key, _) = kept.deploy_key.clone().ok_or_else(|| Refusal("no deploy key".into()))?;
        let (agent, _dir) = kept.agent.get_or_insert_with(|| {
            let dir = tempfile::tempdir().unwrap();
            (ruko_channel::Agent::start(dir.path(), &key).unwrap(), dir)
        });
        agent.answer(message).map_err(|e| Refusal(e.to_string()))
    }

    fn cache(&self) -> Option<Object> {
        object(&self.kept().cache)
    }

    fn store_slug(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        let (all, stored) = take(bytes)?;
        self.kept().slug = Some(all);
        Ok(stored)
    }

    fn store_repo(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        let (all, stored) = take(bytes)?;
        self.kept().pending_repository = Some(all);
        Ok(stored)
    }

    fn commit(&self, request: CommitRequest) -> Result<Committed, Refusal> {
        let mut kept = self.kept();
        if let Some(why) = &kept.refuse_commit {
            return Err(Refusal(why.clone()));
        }
        kept.repository = kept.pending_repository.take();
        let is_release = request.manifest.is_some();
        kept.commits.push(request);
        let releases = kept.commits.iter().filter(|commit| commit.manifest.is_some()).count();
        let release = is_release.then_some(releases as u64);
        Ok(Committed { repo_version: 1, release, web_url: "http://my-app.test/".into() })
    }

    fn progress(&self, _: u64) -> Result<ReleaseProgress, Refusal> {
        let mut kept = self.kept();
        if kept.progress.is_empty() {
            return Ok(progress("", ReleaseStatus::Succeeded));
        }
        kept.progress.remove(0).map_err(Refusal)
    }

    fn output(&self, text: &str) {
        self.kept().output.push_str(text);
    }

    fn failed(&self, reason: &str) -> Vec<String> {
        let mut kept = self.kept();
        kept.failures.push(reason.to_owned());
        kept.bounds_met.clone()
    }
}

/// How far a release is whose phase printed this.
pub(crate) fn progress(output: &str, status: ReleaseStatus) -> ReleaseProgress {
    ReleaseProgress {
        output: output.to_owned(),
        output_to: 0,
        status,
        reason: None,
        serving: None,
        dynos: BTreeMap::new(),
    }
}

/// A push's end, as the client saw it.
pub(crate) struct Push {
    pub(crate) ok: bool,
    /// The lines of the far side, without `remote: `.
    pub(crate) lines: Vec<String>,
    /// All that git printed.
    pub(crate) text: String,
}

impl Push {
    pub(crate) fn assert_ok(&self) {
        assert!(self.ok, "{}", self.text);
    }

    pub(crate) fn assert_refused(&self) {
        assert!(!self.ok, "{}", self.text);
    }

    pub(crate) fn assert_line(&self, expected: &str) {
        assert!(self.lines.iter().any(|line| line == expected), "no `{expected}` in:\n{}", self.text);
    }

    pub(crate) fn assert_contains(&self, expected: &str) {
        assert!(self.text.contains(expected), "no `{expected}` in:\n{}", self.text);
    }

    pub(crate) fn position(&self, expected: &str) -> usize {
        self.lines.iter().position(|line| line.contains(expected)).unwrap_or_else(|| {
            panic!("no `{expected}` in:\n{}", self.text);
        })
    }
}

pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) host: Arc<Host>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept {
            repository: None,
            source: None,
            source_version: None,
            slug: None,
            cache: None,
            commits: vec![],
            output: String::new(),
            failures: vec![],
            config_vars: BTreeMap::new(),
            buildpacks: vec![],
            env: BTreeMap::new(),
            heroku_stack: None,
            limits: BuildLimits::default(),
            bounds_met: vec![],
            refuse_commit: None,
            progress: vec![],
            others: BTreeMap::new(),
            deploy_key: None,
            agent: None,
            pending_repository: None,
        };
        let host = Arc::new(Host(Mutex::new(kept)));
        let listener = UnixListener::bind(dir.path().join("host.sock")).unwrap();
        let serving = host.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let host = serving.clone();
                thread::spawn(move || drop(ruko_channel::serve(&stream, &*host)));
            }
        });
        Self { dir, host }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The repository of an app with these files, on branch main.
    pub(crate) fn app(&self, files: &[(&str, &str)]) -> PathBuf {
        let app = tempfile::Builder::new().prefix("app-").tempdir_in(self.dir.path()).unwrap().keep();
        git(&app, &["init", "-q", "-b", "main"]);
        commit(&app, files);
        app
    }

    /// A buildpack of these scripts, and a file:// URL for it.
    pub(crate) fn buildpack(&self, scripts: &[(&str, &str)]) -> String {
        let dir = tempfile::Builder::new().prefix("buildpack-").tempdir_in(self.dir.path()).unwrap().keep();
        git(&dir, &["init", "-q", "-b", "main"]);
        commit(&dir, scripts);
        format!("file://{}", dir.display())
    }

    /// A container as a session finds it: hooks are there, everything else is empty.
    pub(crate) fn container(&self) -> Container {
        self.container_at(tempfile::Builder::new().prefix("c-").tempdir_in(self.dir.path()).unwrap().keep())
    }

    /// A container in this directory, in which nothing is left of another one. Two containers have the same
    /// paths only so.
    pub(crate) fn container_at(&self, dir: PathBuf) -> Container {
        fs::remove_dir_all(&dir).unwrap();
        let hooks = dir.join("app/tmp/repo.git/hooks");
        fs::create_dir_all(&hooks).unwrap();
        fs::create_dir(dir.join("tmp")).unwrap();
        let container = Container { dir, socket: self.path("host.sock") };
        let build = format!("#!/bin/sh\nexec {} build\n", container.command_line());
        script(&hooks.join("pre-receive"), &build);
        let ssh = format!(
            "#!/bin/sh\ncase \"$*\" in\n*receive-pack*) service=receive-pack;;\n*upload-archive*) \
             service=upload-archive;;\n*) service=upload-pack;;\nesac\nexec {} session $service\n",
            container.command_line()
        );
        script(&container.ssh(), &ssh);
        container
    }

    pub(crate) fn push(&self, app: &Path, refs: &[&str]) -> Push {
        self.push_into(&self.container(), app, refs)
    }

    pub(crate) fn push_into(&self, container: &Container, app: &Path, refs: &[&str]) -> Push {
        let mut command = client(app);
        let url = "ssh://git@host/my-app.git";
        let out = command.env("GIT_SSH", container.ssh()).args(["push", url]).args(refs).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let remote = text.lines().filter_map(|line| line.strip_prefix("remote: "));
        // git fills lines up with spaces to overwrite what a terminal may show.
        let lines = remote.map(|line| line.trim_end().to_owned()).collect();
        Push { ok: out.status.success(), lines, text }
    }

    /// A clone of what the host has stored.
    pub(crate) fn clone(&self) -> PathBuf {
        let container = self.container();
        let into = container.dir.join("clone");
        let mut command = client(self.dir.path());
        command.env("GIT_SSH", container.ssh()).args(["clone", "-q", "ssh://git@host/my-app.git"]).arg(&into);
        ok(command.output().unwrap());
        into
    }

    /// What `git archive --remote` gives of this ref, as text.
    pub(crate) fn archive(&self, reference: &str) -> String {
        let mut command = client(self.dir.path());
        command.env("GIT_SSH", self.container().ssh());
        command.args(["archive", "--remote=ssh://git@host/my-app.git", "--format=tar", reference]);
        ok(command.output().unwrap())
    }

    pub(crate) fn slug_entries(&self) -> Vec<String> {
        let slug = self.path("slug.tar.gz");
        fs::write(&slug, self.host.kept().slug.as_ref().unwrap()).unwrap();
        let json = ok(Command::new(PROGRAM).arg("inspect").arg(&slug).arg("--json").output().unwrap());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let path =
            |entry: &serde_json::Value| entry["path"].as_str().unwrap().trim_end_matches('/').to_owned();
        json["entries"].as_array().unwrap().iter().map(path).collect()
    }
}

/// A directory that stands for a container's `/app` and `/tmp`.
pub(crate) struct Container {
    pub(crate) dir: PathBuf,
    socket: PathBuf,
}

impl Container {
    pub(crate) fn ssh(&self) -> PathBuf {
        self.dir.join("ssh")
    }

    pub(crate) fn args(&self) -> Vec<String> {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../buildpacks").display().to_string();
        let socket = self.socket.display().to_string();
        ["--home", &path("app"), "--tmp", &path("tmp"), "--buildpacks", &shipped, "--socket", &socket]
            .map(str::to_owned)
            .to_vec()
    }

    fn command_line(&self) -> String {
        format!("{PROGRAM} {}", self.args().join(" "))
    }

    /// Runs the hook in a repository with these ref updates; gives whether it let them through and what it
    /// said.
    pub(crate) fn hook(&self, repository: &Path, updates: &str) -> (bool, String) {
        let mut command = Command::new(PROGRAM);
        command.args(self.args()).arg("build").env("GIT_DIR", repository);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(updates.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(PROGRAM).args(self.args()).args(args).stdin(Stdio::null()).output().unwrap()
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Commits these files to the repository, scripts executable.
pub(crate) fn commit(repository: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = repository.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if text.starts_with("#!") { script(&path, text) } else { fs::write(&path, text).unwrap() }
    }
    git(repository, &["add", "-A", "-f"]);
    git(repository, &["commit", "-q", "--allow-empty", "-m", "more"]);
}

fn client(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("LC_ALL", "C.UTF-8");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_SSH_VARIANT", "ssh").current_dir(dir);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.test");
    }
    command
}

fn ok(out: Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

/// Runs git for the app developer, and gives its stdout.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    ok(client(dir).args(args).output().unwrap())
}
