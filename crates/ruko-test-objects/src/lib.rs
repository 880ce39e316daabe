//! An object store for the length of a test run: a whole OpenStack Swift in one process (`server.py`), which speaks
//! S3 as well as its own API, both with signatures that it checks. `make objectstore` installs it.
//!
//! For tests alone: what goes wrong ends the test with a sentence.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod door;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use ruko_presign::{Digest, Objects, S3, Swift};

pub use door::{Door, Fault};

/// The region that S3's signatures are for.
pub const REGION: &str = "eu-test-1";
/// The bucket of S3, and the container of Swift: they are the same.
pub const BUCKET: &str = "openruko";
/// The id of the access key.
pub const ACCESS_KEY_ID: &str = "test:tester";
/// Its secret.
pub const SECRET: &str = "testing";
/// The TempURL key of the account.
pub const TEMPURL_KEY: &str = "tempurl-key";

/// A running object store. Dropped, it is gone with all that it kept.
pub struct Server {
    dir: PathBuf,
    address: SocketAddr,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// The one that the tests of this process share. It ends with the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of one's own.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("openruko-objects-").tempdir().unwrap().keep();
        let (process, address) = start(&dir, None);
        Self { dir, address, process: Mutex::new(Some(process)) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`. What it has stored is kept.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again where it was, with all that it had.
    pub fn start_again(&self) {
        let (process, _) = start(&self.dir, Some(self.address.port()));
        *self.process.lock().unwrap() = Some(process);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.get_mut().unwrap().take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Its objects by S3, reached at this address.
pub fn s3(address: SocketAddr) -> Objects {
    let endpoint = format!("http://{address}");
    Objects::s3(&S3 {
        endpoint: &endpoint,
        region: REGION,
        path_style: true,
        bucket: BUCKET,
        access_key_id: ACCESS_KEY_ID,
        secret: SECRET,
    })
    .unwrap()
}

/// The same by Swift.
pub fn swift(address: SocketAddr) -> Objects {
    let url = account(address);
    Objects::swift(&Swift { url: &url, container: BUCKET, key: TEMPURL_KEY, digest: Digest::Sha256 }).unwrap()
}

/// The account of Swift.
pub fn account(address: SocketAddr) -> String {
    format!("http://{address}/v1/AUTH_test")
}

fn start(dir: &Path, port: Option<u16>) -> (Child, SocketAddr) {
    let mut process = Command::new(python())
        .args(["-W", "ignore", concat!(env!("CARGO_MANIFEST_DIR"), "/server.py")])
        .arg(dir)
        .args(port.map(|port| port.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| {
        let mut why = String::new();
        let _ = process.stderr.take().unwrap().read_to_string(&mut why);
        panic!("the object store did not start: {why}")
    });
    // Nobody reads what it says from here on; a full pipe would stop it.
    let mut stderr = process.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    (process, address)
}

/// Beside what cargo built: `target/objectstore/bin/python` for `target/debug/deps/a-test`.
fn python() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|dir| dir.join("objectstore/bin/python")).find(|python| python.exists());
    found.expect("the object store is installed: `make objectstore`")
}
