//! The door with a mock of the API behind it, and a script in the place of openruko-serve.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Debian's git, and whichever comes first on the PATH.
pub(crate) const GITS: [&str; 2] = ["/usr/bin/git", "git"];

const ID: &str = "user.name=ada";
const MAIL: &str = "user.email=ada@example.com";

/// Runs git in `repo.git` beside it, after what other files beside it say. `started` and `environment` tell
/// what it was started with.
const SERVE: &str = r#"#!/bin/sh
HERE=$(dirname "$0")
echo "$3 $4 $SSH_ORIGINAL_COMMAND $GIT_PROTOCOL" >>"$HERE/started"
tr '\0' '\n' </proc/$$/environ >>"$HERE/environment"
tr '\0' '\n' </proc/$$/cmdline >>"$HERE/environment"
[ "$1" = --config ] || exit 2
if [ -e "$HERE/refuse$3" ]; then
  echo ' !     Ada is pushing; nothing was changed.' >&2
  echo ' !     Push again later.' >&2
  printf '0024ERR receive-pack was not started'
  exit "$(cat "$HERE/refuse$3")"
fi
if [ "$3" = --stateless-rpc ] && [ -e "$HERE/chatter" ]; then
  trap '' PIPE
  while printf '0006\002x'; do sleep 0.05; done
  echo ended >>"$HERE/ended"
  exit 1
fi
if [ "$3" = --stateless-rpc ] && [ -e "$HERE/break-off" ]; then
  case $SSH_ORIGINAL_COMMAND in
    *upload-pack*) printf '0008NAK\n00' ;;
    *) cat >/dev/null; printf '000e\002building\n0010' ;;
  esac
  echo ' !     The build was stopped: it took too long.' >&2
  exit 1
fi
if [ "$3" = --stateless-rpc ] && [ -e "$HERE/say" ]; then
  cat "$HERE/say" >&2
  cat "$HERE/fifo"
fi
case $SSH_ORIGINAL_COMMAND in
  "git-receive-pack 'shop.git'") service=receive-pack ;;
  "git-upload-pack 'shop.git'") service=upload-pack ;;
  *) exit 2 ;;
esac
case $3 in
  --advertise) exec git "$service" --stateless-rpc --http-backend-info-refs "$HERE/repo.git" ;;
  --stateless-rpc) exec git "$service" --stateless-rpc "$HERE/repo.git" ;;
esac
exit 2
"#;

/// What a git command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) ok: bool,
    pub(crate) said: String,
}

impl From<Output> for Done {
    fn from(out: Output) -> Self {
        let said = [out.stdout, out.stderr].concat();
        Self { ok: out.status.success(), said: String::from_utf8_lossy(&said).into_owned() }
    }
}

/// Runs it to its end, which has to come.
pub(crate) fn run(command: &mut Command) -> Done {
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(command.get_program()).args(command.get_args()).env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap());
    let out = limited.stdin(Stdio::null()).output().unwrap();
    assert_ne!(out.status.code(), Some(124), "{command:?} hangs: {}", String::from_utf8_lossy(&out.stderr));
    out.into()
}

/// Waits for something that has to come.
pub(crate) fn eventually(mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The door and what is behind it.
pub(crate) struct World {
    dir: TempDir,
    door: Child,
    address: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With further lines in `[git]`.
    pub(crate) fn with(extra: &str) -> Self {
        Self::start(&mock_api(), extra)
    }

    pub(crate) fn without_api() -> Self {
        // Port 1 of the loopback is never listened on.
        Self::start("127.0.0.1:1", "")
    }

    fn start(api: &str, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("token"), "component-secret").unwrap();
        fs::write(path("serve"), SERVE).unwrap();
        fs::set_permissions(path("serve"), fs::Permissions::from_mode(0o755)).unwrap();
        let init = ["init", "-q", "--bare", "-b", "main", "repo.git"];
        assert!(Command::new("git").args(init).current_dir(dir.path()).status().unwrap().success());
        let config = format!(
            "[serve]\napi_url = 'http://{api}'\ntoken_file = '{here}/token'\nruntime_dir = '{here}'\n\
             container_command = ['false']\n[git]\nlisten = '127.0.0.1:0'\n\
             serve_program = '{here}/serve'\n{extra}\n",
            here = dir.path().display()
        );
        fs::write(path("config.toml"), config).unwrap();
        let (door, address) = open(dir.path());
        Self { dir, door, address }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub(crate) fn url(&self, app: &str) -> String {
        format!("http://{}/{app}.git", self.address)
    }

    pub(crate) fn remote(&self, token: &str, app: &str) -> String {
        format!("http://heroku:{token}@{}/{app}.git", self.address)
    }

    /// A file that the script wrote.
    pub(crate) fn seen(&self, name: &str) -> String {
        fs::read_to_string(self.dir().join(name)).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        self.seen("log")
    }

    /// git in the served repository.
    pub(crate) fn served(&self, call: &str, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", ID, "-c", MAIL, "-C"]).arg(self.dir().join("repo.git"));
        let out = git.arg(call).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// A commit that no client has.
    pub(crate) fn serve_a_new_commit(&self) {
        let tree = self.served("rev-parse", &["main^{tree}"]);
        let id = self.served("commit-tree", &["-p", "main", "-m", "new", &tree]);
        self.served("update-ref", &["refs/heads/main", &id]);
    }

    /// Only this half of the exchange is refused from now on.
    pub(crate) fn refuse(&self, exchange: &str, status: u8) {
        for other in ["--advertise", "--stateless-rpc"] {
            let _ = fs::remove_file(self.dir().join(format!("refuse{other}")));
        }
        fs::write(self.dir().join(format!("refuse{exchange}")), status.to_string()).unwrap();
    }

    pub(crate) fn chatter(&self) {
        fs::write(self.dir().join("chatter"), "").unwrap();
    }

    pub(crate) fn break_off(&self) {
        fs::write(self.dir().join("break-off"), "").unwrap();
    }

    /// The script says this, and waits until it is released.
    pub(crate) fn say_and_wait(&self, words: &str) -> impl FnOnce() + use<> {
        fs::write(self.dir().join("say"), format!("{words}\n")).unwrap();
        self.fifo()
    }

    /// A build that says nothing, and waits until it is released.
    pub(crate) fn hook_that_waits(&self) -> impl FnOnce() + use<> {
        let release = self.fifo();
        let hook = self.dir().join("repo.git/hooks/pre-receive");
        fs::write(&hook, format!("#!/bin/sh\ncat '{}'\n", self.dir().join("fifo").display())).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        release
    }

    fn fifo(&self) -> impl FnOnce() + use<> {
        let fifo = self.dir().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        move || drop(fs::File::options().write(true).open(fifo).unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.door.kill();
        let _ = self.door.wait();
    }
}

/// Starts the program; its stderr goes to the file `log`.
fn open(dir: &Path) -> (Child, String) {
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut door = Command::new(env!("CARGO_BIN_EXE_openruko-git"));
    door.env_clear().arg("--config").arg(dir.join("config.toml"));
    let mut door = door.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut address = None;
    eventually(|| {
        let said = fs::read_to_string(dir.join("log")).unwrap();
        assert!(door.try_wait().unwrap().is_none(), "{said}");
        let line = said.lines().find_map(|line| line.split_once("listening on "));
        address = line.and_then(|(_, url)| Some(url.split_once("://")?.1.to_owned()));
        address.is_some()
    });
    (door, address.unwrap())
}

/// A developer's repository, with one git.
pub(crate) struct Repo {
    dir: TempDir,
    home: PathBuf,
    git: &'static str,
}

impl Repo {
    pub(crate) fn new(world: &World, git: &'static str) -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap(), home: world.dir().to_owned(), git };
        assert!(repo.git(&["init", "-q", "-b", "main"]).ok);
        repo
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut git = Command::new(self.git);
        git.current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(["-c", ID, "-c", MAIL])
            .args(args)
            .stdin(Stdio::null());
        git
    }

    pub(crate) fn git(&self, args: &[&str]) -> Done {
        run(&mut self.command(args))
    }

    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Each a second younger than the one before: git negotiates in the order of dates, and commits of one
    /// second have no order.
    pub(crate) fn commit(&self, name: &str, text: &str) {
        static SECONDS: AtomicU64 = AtomicU64::new(1_700_000_000);
        fs::write(self.dir.path().join(name.replace('/', "-")), text).unwrap();
        assert!(self.git(&["add", "-A"]).ok);
        let date = format!("{} +0000", SECONDS.fetch_add(1, Ordering::Relaxed));
        assert!(run(self.command(&["commit", "-q", "-m", "change"]).env("GIT_COMMITTER_DATE", date)).ok);
    }

    /// Bytes that cannot be packed.
    pub(crate) fn commit_noise(&self, bytes: u64) {
        let mut noise = Vec::new();
        fs::File::open("/dev/urandom").unwrap().take(bytes).read_to_end(&mut noise).unwrap();
        fs::write(self.dir.path().join("noise"), noise).unwrap();
        self.commit("file", "with noise");
    }

    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).said.trim().to_owned()
    }
}

/// `good` is ada's token, and shop her app.
fn mock_api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head).is_ok_and(|count| count > 2) {
        let line = head.lines().last().unwrap_or_default().to_lowercase();
        length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert!(head.contains("Bearer component-secret"), "{head}");
    let (status, json) = said(&head, &String::from_utf8(body).unwrap());
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", json.len());
    let _ = stream.write_all(format!("{head}{json}").as_bytes());
}

fn said(head: &str, body: &str) -> (u16, String) {
    let error = |id: &str, message: &str| format!(r#"{{"id":"{id}","message":"{message}"}}"#);
    if head.starts_with("POST /internal/authenticate ") {
        let asked: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(asked["address"], "127.0.0.1");
        return match asked["token"].as_str().unwrap() {
            "narrow" if asked["access"] == "write" => {
                (403, error("insufficient_scope", "It does not cover pushing."))
            }
            "good" | "narrow" => (200, r#"{"user":"ada"}"#.to_owned()),
            "throttled" => (429, error("rate_limit", "Too many attempts. Try again in a minute.")),
            _ => (401, error("invalid_token", "No such token.")),
        };
    }
    if head.starts_with("GET /internal/authorize?user=ada&app=shop&access=") {
        return (204, String::new());
    }
    assert!(head.starts_with("GET /internal/authorize?user=ada&"), "{head}");
    if head.contains("app=secret") {
        return (403, error("denied", "No access."));
    }
    (404, error("not_found", "There is no such app."))
}
