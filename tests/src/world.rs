//! One openruko, installed and running, for a whole run of the tests.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ruko_core::config::{Config, PublicConfig};
use ruko_sys::Lock;
use ruko_sys::process::CommandSys;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Developer;
use crate::platform::Platform;
use crate::tls;
use crate::wait::{eventually, until};
use crate::web::Web;

/// Every part of the path must belong to root alone (sshd and ruko-container insist), so not /tmp.
const WORLDS: &str = "/var/lib/openruko-test";

/// One openruko. Dropped, it is stopped and leaves nothing.
pub struct World {
    dir: TempDir,
    ssh: SocketAddr,
    up: Mutex<Option<Child>>,
    _locks: [Lock; 2],
}

/// For [`World::start`]: what is released is not run.
pub fn without_dynos(config: &mut Config) {
    (config.host, config.router) = (None, None);
    let components = &mut config.api.as_mut().unwrap().components;
    components.retain(|name, _| name != "host" && name != "router");
}

impl World {
    /// Installs what was built, starts it, and starts it again with `configure` applied.
    #[must_use]
    pub fn start(configure: impl FnOnce(&mut Config)) -> Self {
        fs::create_dir_all(WORLDS).unwrap();
        sweep();
        let dir = tempfile::Builder::new()
            .prefix("w")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(WORLDS)
            .unwrap();
        let lock = Lock::try_take(&dir.path().join("lock")).unwrap().expect("a new directory is nobody's");
        let [ssh, api, public, git, web, rendezvous] = free_addresses();
        let (bridge, subnet, network) = free_network();
        let world = Self { dir, ssh, up: Mutex::new(None), _locks: [lock, network] };
        world.install();
        let first = ["--ssh-listen", &ssh.to_string(), "--api-listen", &api.to_string(), "--bridge", &bridge]
            .map(str::to_owned)
            .into_iter()
            .chain(["--subnet".to_owned(), subnet])
            .chain(["--public-listen".to_owned(), public.to_string()])
            .chain(["--git-listen".to_owned(), git.to_string()])
            .chain(["--web-listen".to_owned(), web.to_string()])
            .chain(["--rendezvous-listen".to_owned(), rendezvous.to_string()]);
        world.up(first);
        world.down();
        let mut config = world.config();
        world.open_to_developers(&mut config);
        // Tests wait for each other by other means.
        let serve = config.serve.as_mut().unwrap();
        (serve.build_slots, serve.user_slots) = (Some(64), Some(64));
        // One pool for the whole machine: a test of a hundred dynos must leave some to the others.
        config.container.as_mut().unwrap().slots = 240;
        configure(&mut config);
        world.configure(&config);
        world.up([]);
        world
    }

    /// git over HTTPS, at an address whose certificate developers can hold against [`World::ca`], and as many
    /// calls of the Platform API as tests make.
    fn open_to_developers(&self, config: &mut Config) {
        let git = config.git.as_mut().unwrap();
        git.tls = Some(tls::make(&self.tls_dir(), "git"));
        let public = config.api.as_mut().unwrap().public.as_mut().unwrap();
        public.git_url = format!("https://localhost:{}/{{app}}.git", git.listen.port());
        public.calls_per_hour = 100_000;
    }

    /// `make install` of what cargo built into this very target directory.
    fn install(&self) {
        let binaries = std::env::current_exe().unwrap();
        // target/PROFILE/deps/system-…, or target/PROFILE/bench
        let out = binaries.ancestors().find(|dir| dir.join("openruko-serve").exists());
        let out = out.expect("the programs are built: `cargo build --workspace`");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let made = Command::new("make")
            .arg("-C")
            .arg(root)
            .args(["-s", "install"])
            .arg(format!("OUT={}", out.display()))
            .arg(format!("PREFIX={}", self.prefix().display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "make install: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts `openruko up`, and waits until it is up. It ends with the thread that calls this.
    pub fn up(&self, args: impl IntoIterator<Item = String>) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let before = self.log().matches("openruko is up").count();
        let mut child = Command::new(self.prefix().join("bin/openruko"))
            .args(["up", "--state"])
            .arg(self.state())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .die_with_parent()
            .spawn()
            .unwrap();
        eventually("openruko is up", Duration::from_secs(60), || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("openruko up ended ({status}):\n{}", self.log());
            }
            (self.log().matches("openruko is up").count() > before).then_some(())
        });
        *self.up.lock().unwrap() = Some(child);
    }

    /// Ctrl-C, and waits for the end.
    pub fn down(&self) {
        if let Some(mut child) = self.up.lock().unwrap().take() {
            send(child.id(), Signal::SIGINT);
            let ended = child.wait().unwrap();
            assert!(ended.success(), "openruko up ended badly ({ended}):\n{}", self.log());
        }
    }

    /// `kill -9` of `openruko up`.
    pub fn kill(&self) {
        if let Some(mut child) = self.up.lock().unwrap().take() {
            send(child.id(), Signal::SIGKILL);
            child.wait().unwrap();
        }
    }

    /// Everything that `openruko up` printed.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("up.log")
    }

    fn prefix(&self) -> PathBuf {
        self.dir.path().join("prefix")
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A directory for what a test writes.
    #[must_use]
    pub fn scratch(&self) -> TempDir {
        let scratch = self.dir.path().join("scratch");
        fs::create_dir_all(&scratch).unwrap();
        tempfile::tempdir_in(scratch).unwrap()
    }

    fn config_path(&self) -> PathBuf {
        self.state().join("config.toml")
    }

    /// Takes another configuration: for the next [`World::up`].
    pub fn configure(&self, config: &Config) {
        fs::write(self.config_path(), toml::to_string(config).unwrap()).unwrap();
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::load(&self.config_path(), std::iter::empty()).unwrap()
    }

    /// Where git's ssh listens.
    #[must_use]
    pub fn ssh(&self) -> SocketAddr {
        self.ssh
    }

    /// The certificate of who signed the one of the git door.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        tls::authority(&self.tls_dir())
    }

    fn tls_dir(&self) -> PathBuf {
        self.state().join("tls")
    }

    /// The Platform API's URL.
    #[must_use]
    pub fn public_url(&self) -> String {
        self.public().url
    }

    /// The remote of an app over HTTPS.
    #[must_use]
    pub fn git_url(&self, app: &str) -> String {
        self.public().git_url.replace("{app}", app)
    }

    fn public(&self) -> PublicConfig {
        self.config().api().unwrap().public.clone().unwrap()
    }

    /// The path of something installed.
    #[must_use]
    pub fn installed(&self, path: &str) -> PathBuf {
        self.prefix().join(path)
    }

    /// One of the installed programs, as root, with this world's configuration.
    #[must_use]
    pub fn program(&self, path: &str) -> Command {
        let mut command = Command::new(self.prefix().join(path));
        command.arg("--config").arg(self.config_path()).stdin(Stdio::null());
        command
    }

    /// `openruko admin …`, which must succeed; its stdout.
    #[must_use]
    pub fn admin(&self, args: &[&str]) -> String {
        let out = self.program("bin/openruko").arg("admin").args(args).output().unwrap();
        assert!(out.status.success(), "admin {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// `openruko admin … --json`, parsed.
    #[must_use]
    pub fn admin_json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.admin(&args)).unwrap()
    }

    /// A developer with a key.
    #[must_use]
    pub fn developer(&self, name: &str) -> Developer {
        let developer = Developer::new(self, name);
        let _ = self.admin(&["user", "add", name]);
        let _ = self.admin(&["key", "add", name, developer.public_key().to_str().unwrap()]);
        developer
    }

    /// A new token of a developer.
    #[must_use]
    pub fn token(&self, developer: &Developer) -> String {
        self.admin(&["user", "token", developer.name()]).trim().to_owned()
    }

    /// A developer at the Platform API.
    #[must_use]
    pub fn platform(&self, developer: &Developer) -> Platform {
        Platform::new(self.public_url(), self.token(developer))
    }

    /// Where an app is asked for.
    #[must_use]
    pub fn web(&self, app: &str) -> Web {
        self.web_as(&format!("{app}.localhost"))
    }

    /// The same, under another name.
    #[must_use]
    pub fn web_as(&self, host: &str) -> Web {
        Web::new(self.config().router().unwrap().listen, host.to_owned())
    }

    /// An app of a developer.
    pub fn app(&self, name: &str, owner: &Developer) {
        let _ = self.admin(&["app", "create", name, "--owner", owner.name()]);
    }

    /// How often code of an app was deployed. Its releases are numbered without gaps, and the first came with
    /// the app.
    #[must_use]
    pub fn deploys(&self, app: &str) -> usize {
        let releases = self.admin_json(&["releases", app]);
        let mut releases: Vec<(u64, &str)> = releases
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["version"].as_u64().unwrap(), one["description"].as_str().unwrap()))
            .collect();
        releases.sort_unstable();
        assert!(releases.iter().map(|one| one.0).eq(1..=releases.len() as u64), "{releases:?}");
        assert_eq!(releases[0].1, "Initial release");
        releases.iter().filter(|(_, description)| description.starts_with("Deploy")).count()
    }

    /// The current release of an app.
    #[must_use]
    pub fn current_release(&self, app: &str) -> Value {
        let releases = self.admin_json(&["releases", app]);
        let newest = releases.as_array().unwrap().iter().max_by_key(|release| release["version"].as_u64());
        newest.expect("the app has a release").clone()
    }

    /// Who holds an app's lease, if anybody does.
    #[must_use]
    pub fn lease(&self, app: &str) -> Option<Value> {
        let app = self.admin_json(&["app", "show", app]);
        app.get("push").filter(|push| !push.is_null()).cloned()
    }

    /// The containers of this world.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let out = self.program("libexec/openruko/ruko-container").args(["list", "--json"]).output().unwrap();
        assert!(out.status.success(), "list: {}", String::from_utf8_lossy(&out.stderr));
        let list: Value = serde_json::from_slice(&out.stdout).unwrap();
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The container in which a push to `app` is being built, by the id of the push that holds the lease.
    #[must_use]
    pub fn container_of(&self, app: &str) -> Option<String> {
        let push = self.lease(app)?["push"].as_str()?.to_ascii_lowercase();
        self.containers().into_iter().find(|name| name.ends_with(&push))
    }

    /// The processes of this world whose command line holds all of these.
    #[must_use]
    pub fn processes(&self, words: &[&str]) -> Vec<u32> {
        let prefix = self.dir.path().to_str().unwrap().to_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&prefix) && words.iter().all(|word| line.contains(word)) {
                found.push(pid);
            }
        }
        found
    }

    /// openruko-serve as sshd starts it for a user, with further environment variables.
    #[must_use]
    pub fn serve(&self, user: &str, original_command: &str, env: &[(&str, &str)]) -> Command {
        let mut serve = self.program("libexec/openruko/openruko-serve");
        serve.arg(user).uid(ruko_sys::process::user("git").expect("there is a user git"));
        serve.env("SSH_ORIGINAL_COMMAND", original_command).envs(env.iter().copied()).current_dir("/");
        serve
    }

    /// The file behind a `file:` URL of storage.
    #[must_use]
    pub fn stored(&self, url: &str) -> PathBuf {
        PathBuf::from(url.strip_prefix("file://").expect("storage is file:"))
    }

    /// Unpacks an app's current slug below `into`.
    pub fn unpack_slug(&self, app: &str, into: &Path) {
        let url = self.current_release(app)["slug_url"].as_str().unwrap().to_owned();
        let limits = ruko_archive::Limits {
            bytes: 1 << 30,
            entries: 1_000_000,
            path_bytes: 4096,
            links: ruko_archive::LinkRule::Any,
        };
        ruko_archive::unpack(File::open(self.stored(&url)).unwrap(), into, &limits).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.up.get_mut().unwrap().take() {
            send(child.id(), Signal::SIGINT);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "openruko up printed:\n{}", self.log());
        }
        dismantle(self.dir.path());
    }
}

/// Sends a signal to a process by its id.
pub(crate) fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.try_into().unwrap()), signal);
}

/// Takes back what a world set up outside its directory.
fn dismantle(world: &Path) {
    let _ = Command::new(world.join("prefix/bin/openruko"))
        .args(["teardown", "--state"])
        .arg(world.join("state"))
        .stderr(Stdio::null())
        .status();
    unmount_below(world);
}

/// What a test mounted in its world.
fn unmount_below(world: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(world)) {
        let _ = Command::new("umount").args(["--lazy", point]).status();
    }
}

/// Worlds of runs that were killed.
fn sweep() {
    for entry in fs::read_dir(WORLDS).unwrap().flatten() {
        let world = entry.path();
        let lock = world.join("lock");
        if !lock.exists() {
            continue;
        }
        // Held until the world is gone.
        if let Ok(Some(_lock)) = Lock::try_take(&lock) {
            until("the old world's processes are gone", Duration::from_secs(20), || {
                let state = world.join("state/lock");
                !state.exists() || matches!(Lock::try_take(&state), Ok(Some(_)))
            });
            dismantle(&world);
            let _ = fs::remove_dir_all(&world);
        }
    }
}

/// All held at once, so that no two are the same.
fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// A bridge name and a network that nobody on this machine has, and the lock that keeps it so.
fn free_network() -> (String, String, Lock) {
    let taken = Command::new("ip").args(["-4", "-o", "addr"]).output().unwrap();
    let taken = String::from_utf8_lossy(&taken.stdout).into_owned();
    for third in 0..250 {
        if taken.contains(&format!(" 10.213.{third}.")) {
            continue;
        }
        // Not in a world's own directory: worlds begin at the same time.
        if let Some(lock) = Lock::try_take(&Path::new(WORLDS).join(format!("net-{third}"))).unwrap() {
            return (format!("rkt{third}"), format!("10.213.{third}.1/24"), lock);
        }
    }
    panic!("no network is free below 10.213.0.0/16");
}
