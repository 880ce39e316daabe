//! An sshd like openruko's own, that finds its keys in another way.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::client::Developer;
use crate::world::World;

/// An sshd with the configuration of a world's own but for where keys are. Dropped, it ends.
pub struct PlainSshd {
    sshd: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl PlainSshd {
    /// With this authorized_keys file. The developer expects its host key.
    #[must_use]
    pub fn start(world: &World, dev: &Developer, keys: &Path) -> Self {
        let keys = format!("AuthorizedKeysFile {}\nStrictModes no\n", keys.display());
        Self::with(world, dev, &keys)
    }

    /// With these lines that say where keys are.
    #[must_use]
    pub fn with(world: &World, dev: &Developer, keys: &str) -> Self {
        let dir = world.scratch();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        dev.trust(world, address);
        let ours = fs::read_to_string(world.state().join("sshd/sshd_config")).unwrap();
        let mut config: String = ours
            .lines()
            .filter(|line| !line.starts_with("AuthorizedKeys") && !line.starts_with("ListenAddress"))
            .map(|line| format!("{line}\n"))
            .collect();
        config.push_str(&format!("ListenAddress {address}\n{keys}"));
        let path = dir.path().join("sshd_config");
        fs::write(&path, config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(sshd.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Server listening")), "the plain sshd did not start");
        std::thread::spawn(move || lines.for_each(drop));
        Self { sshd, address, _dir: dir }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Logs in without a command; what the developer reads.
    #[must_use]
    pub fn login(&self, dev: &Developer) -> String {
        let out = dev.ssh(self.address).output().unwrap();
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }
}

impl Drop for PlainSshd {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}
