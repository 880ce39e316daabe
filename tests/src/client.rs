//! A developer on a machine of their own: a key, a git client, a repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::world::World;

/// A developer.
pub struct Developer {
    home: TempDir,
    name: String,
    ssh: std::net::SocketAddr,
    ca: PathBuf,
}

/// What git said about a push.
#[derive(Debug)]
pub struct Pushed {
    /// Whether git's exit status was 0.
    pub ok: bool,
    /// Everything that the developer saw.
    pub seen: String,
}

impl Developer {
    pub(crate) fn new(world: &World, name: &str) -> Self {
        let home = world.scratch();
        let key = home.path().join("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        let developer = Self { home, name: name.to_owned(), ssh: world.ssh(), ca: world.ca() };
        developer.trust(world, world.ssh());
        developer
    }

    /// Expects the world's host key at this address.
    pub fn trust(&self, world: &World, host: std::net::SocketAddr) {
        let host_key = fs::read_to_string(world.state().join("sshd/ssh_host_ed25519_key.pub")).unwrap();
        let known_hosts = self.home.path().join("known_hosts");
        let mut known = fs::read_to_string(&known_hosts).unwrap_or_default();
        known.push_str(&format!("[{}]:{} {host_key}", host.ip(), host.port()));
        fs::write(known_hosts, known).unwrap();
    }

    /// A developer whose key nobody registered.
    #[must_use]
    pub fn unknown(world: &World) -> Self {
        Self::new(world, "nobody-knows")
    }

    /// The user name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the configuration of this developer's programs is.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The public key's file.
    #[must_use]
    pub fn public_key(&self) -> PathBuf {
        self.home.path().join("id.pub")
    }

    /// The remote of an app.
    #[must_use]
    pub fn remote(&self, app: &str) -> String {
        format!("ssh://git@{}/{app}.git", self.ssh)
    }

    /// The ssh command of this developer.
    #[must_use]
    pub fn ssh_command(&self) -> String {
        let home = self.home.path().display();
        format!(
            "ssh -F none -i {home}/id -o IdentitiesOnly=yes -o IdentityAgent=none \
             -o UserKnownHostsFile={home}/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes"
        )
    }

    /// `ssh git@…`, about to be run; a command may be added.
    #[must_use]
    pub fn ssh(&self, to: std::net::SocketAddr) -> Command {
        let words = self.ssh_command();
        let mut words = words.split_whitespace();
        let mut ssh = Command::new(words.next().unwrap());
        ssh.args(words)
            .args(["-p", &to.port().to_string(), &format!("git@{}", to.ip())])
            .stdin(Stdio::null());
        ssh
    }

    /// git, in a directory, with this developer's key, believing the world's certificates, and with nothing of
    /// the machine's configuration.
    #[must_use]
    pub fn git(&self, dir: &Path) -> Command {
        let mut git = Command::new("git");
        git.current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", self.ssh_command())
            .env("GIT_SSL_CAINFO", &self.ca)
            .env("GIT_AUTHOR_NAME", &self.name)
            .env("GIT_AUTHOR_EMAIL", "dev@example.com")
            .env("GIT_COMMITTER_NAME", &self.name)
            .env("GIT_COMMITTER_EMAIL", "dev@example.com")
            .stdin(Stdio::null());
        git
    }

    /// A new repository with these files committed on `main`.
    #[must_use]
    pub fn repo(&self, files: &[(&str, &str)]) -> Repo<'_> {
        let repo = Repo { developer: self, dir: tempfile::tempdir_in(self.home.path()).unwrap() };
        repo.git(&["init", "-q", "-b", "main"]);
        repo.commit(files);
        repo
    }

    /// A new repository with a fixture app committed on `main`.
    #[must_use]
    pub fn fixture(&self, name: &str) -> Repo<'_> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let mut files = Vec::new();
        collect(&from, &from, &mut files);
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        self.repo(&files)
    }
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// A repository of a developer.
pub struct Repo<'a> {
    developer: &'a Developer,
    dir: TempDir,
}

impl Repo<'_> {
    /// Its work tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes files and commits them; the new commit's id.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
        self.head()
    }

    /// The id of the commit that is checked out.
    #[must_use]
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git, which must succeed; its stdout.
    pub fn git(&self, args: &[&str]) -> String {
        let out = self.developer.git(self.path()).args(args).output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// `git push REMOTE-OF-APP REFSPECS`, about to be run.
    #[must_use]
    pub fn push_command(&self, app: &str, refspecs: &[&str]) -> Command {
        self.push_to(&self.developer.remote(app), refspecs)
    }

    /// `git push URL REFSPECS`, about to be run.
    #[must_use]
    pub fn push_to(&self, url: &str, refspecs: &[&str]) -> Command {
        let mut git = self.developer.git(self.path());
        git.args(["push", url]).args(refspecs);
        git
    }

    /// Pushes and waits for the end.
    pub fn push(&self, app: &str, refspecs: &[&str]) -> Pushed {
        self.push_command(app, refspecs).output().unwrap().into()
    }

    /// Pushes `main`, which must be released; what the developer saw.
    pub fn deploy(&self, app: &str) -> String {
        let pushed = self.push(app, &["main"]);
        assert!(pushed.ok && pushed.seen.contains("Released v"), "{}", pushed.seen);
        pushed.seen
    }

    /// Begins a push whose end somebody else decides.
    #[must_use]
    pub fn push_in_background(&self, app: &str) -> Child {
        let mut push = self.push_command(app, &["main"]);
        push.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The commit that a ref of the app's repository points to.
    #[must_use]
    pub fn remote_ref(&self, app: &str, name: &str) -> Option<String> {
        let listed = self.git(&["ls-remote", &self.developer.remote(app), name]);
        listed.split_whitespace().next().map(str::to_owned)
    }
}

impl From<Output> for Pushed {
    fn from(out: Output) -> Self {
        let seen = [out.stdout, out.stderr].concat();
        Self { ok: out.status.success(), seen: String::from_utf8_lossy(&seen).into_owned() }
    }
}
