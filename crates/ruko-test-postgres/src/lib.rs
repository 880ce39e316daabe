//! A PostgreSQL server for the length of a test run: made from Debian's package, reached over a unix
//! socket that only its user and root can open, gone when the test process is.
//!
//! For tests alone: what goes wrong ends the test with a sentence.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::unistd::{Uid, User};

/// Where Debian installs each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A running server.
pub struct Server {
    dir: PathBuf,
    programs: PathBuf,
    owner: Uid,
    /// Of TCP; its socket is named after it as well.
    port: Option<u16>,
    supervisor: Mutex<Supervisor>,
    databases: AtomicU32,
}

/// The shell that runs the server, and ends it when `words` is closed.
struct Supervisor {
    process: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of one's own, to stop and start.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_at(None)
    }

    /// A server that listens on the loopback, too, where it lets in the user `ruko`, whom a test makes,
    /// with a password and TLS alone.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_on_loopback() -> Self {
        // PostgreSQL does not choose a port itself.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
        Self::start_at(Some(free.port()))
    }

    fn start_at(port: Option<u16>) -> Self {
        let programs = programs();
        let dir = tempfile::Builder::new().prefix("openruko-postgres-").tempdir().unwrap().keep();
        let owner = owner();
        chown(&dir, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
        let mut supervisor = Supervisor::start(&owner, &dir, &programs, port);
        supervisor.hear();
        let supervisor = Mutex::new(supervisor);
        Self { dir, programs, owner: owner.uid, port, supervisor, databases: AtomicU32::new(0) }
    }

    /// A new, empty database.
    pub fn database(&self) -> Database<'_> {
        self.database_with("")
    }

    /// A new, empty database whose files lie in `dir`, an empty directory of the server's user.
    pub fn database_in(&self, dir: &Path) -> Database<'_> {
        let space = format!("space{}", self.databases.load(Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE TABLESPACE {space} LOCATION '{}'", dir.display()));
        self.database_with(&format!("TABLESPACE {space}"))
    }

    fn database_with(&self, options: &str) -> Database<'_> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 {options}"));
        Database { server: self, name }
    }

    /// Runs a statement in a database, and gives its rows as psql prints them, unaligned.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.env_clear().arg("--host").arg(&self.dir).args(["--username=postgres", "--dbname", database]);
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql.args(self.port.map(|port| format!("--port={port}")));
        let done = psql.args(["--command", statement]).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Stops it as an administrator would: open connections are told and closed.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// Stops it as a crash would.
    pub fn crash(&self) {
        self.tell("crash");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.tell("start");
    }

    /// The directory of its socket. The user it runs as may make files there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it listens on the loopback, and the certificate that it shows there.
    ///
    /// # Panics
    /// It listens on its socket alone.
    pub fn loopback(&self) -> (SocketAddr, PathBuf) {
        let port = self.port.expect("it was started with start_on_loopback");
        (SocketAddr::from(([127, 0, 0, 1], port)), self.dir.join("server.crt"))
    }

    /// The user it runs as.
    pub fn owner(&self) -> u32 {
        self.owner.as_raw()
    }

    fn tell(&self, word: &str) {
        let mut supervisor = self.supervisor.lock().unwrap();
        writeln!(supervisor.words.as_mut().unwrap(), "{word}").unwrap();
        supervisor.hear();
    }
}

impl Supervisor {
    fn start(owner: &User, dir: &Path, programs: &Path, port: Option<u16>) -> Self {
        let mut command = if Uid::effective().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--clear-groups", "--reuid"]).arg(owner.uid.to_string());
            command.arg("--regid").arg(owner.gid.to_string()).arg("sh");
            command
        } else {
            Command::new("sh")
        };
        command.args(["-c", include_str!("supervisor.sh"), "postgres"]).arg(dir).arg(programs);
        command.args(port.map(|port| port.to_string()));
        // A group of its own: Ctrl-C ends the tests, and these the server.
        command.current_dir(dir).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let words = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, words, answers }
    }

    /// Waits until the last word was carried out.
    fn hear(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "PostgreSQL does not do as it is told; see above");
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.words.take());
        let _ = self.process.wait();
    }
}

/// One test's database. It is dropped with this.
pub struct Database<'s> {
    server: &'s Server,
    name: String,
}

impl Database<'_> {
    /// As the configuration takes it.
    pub fn url(&self) -> String {
        let port = self.server.port.map(|port| format!("&port={port}")).unwrap_or_default();
        format!("postgres:///{}?host={}&user=postgres{port}", self.name, self.server.dir.display())
    }

    /// Its name on its server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a statement in it.
    pub fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.name, statement)
    }
}

impl fmt::Debug for Database<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // While a test fails, the server may be stopped.
        if !std::thread::panicking() {
            self.server.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// PostgreSQL refuses to run as root.
fn owner() -> User {
    let me = Uid::effective();
    if !me.is_root() {
        return User::from_uid(me).unwrap().expect("this process runs as a user without a name");
    }
    let known = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap());
    known.expect("there is neither a user `postgres` nor `nobody` to run PostgreSQL as")
}

/// The directory of the newest version's programs.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_unstable();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).collect::<Vec<_>>();
    let mut dirs = versions.into_iter().rev().map(|(_, dir)| dir).chain(on_path);
    dirs.find(|dir| ["initdb", "pg_ctl", "psql"].iter().all(|program| dir.join(program).exists()))
        .expect("PostgreSQL is not installed: `make deps` installs Debian's package `postgresql`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_stops_crashes_and_leaves_nothing_behind() {
        let server = Server::start();
        let dir = server.dir.clone();
        let database = server.database();
        database.sql("CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (7)");
        server.stop();
        server.start_again();
        server.crash();
        server.start_again();
        assert_eq!(database.sql("SELECT n FROM t"), "7\n");
        drop(database);
        drop(server);
        assert!(!dir.exists());
    }
}
