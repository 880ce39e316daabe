//! The state directory: where everything is, and whose.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ruko_core::Fault;
use ruko_sys::{AtPath, PathError};

use super::host::{Account, Users};

/// Where state is kept unless told otherwise.
pub(super) const DEFAULT_DIR: &str = "/var/lib/openruko";

/// A state directory.
#[derive(Clone, Debug)]
pub(super) struct State {
    dir: PathBuf,
}

impl State {
    /// Names it; nothing is made yet.
    pub(super) fn at(dir: &Path) -> Result<Self, Fault> {
        let dir = super::plain_path("the state directory", dir)?;
        Ok(Self { dir })
    }

    /// Makes every directory with its owner and mode.
    pub(super) fn make(&self, users: &Users) -> Result<(), PathError> {
        let root = Account::ROOT;
        for (path, owner, mode) in [
            (self.dir.clone(), root, 0o755),
            (self.api(), users.openruko, 0o700),
            (self.storage(), users.git, 0o700),
            (self.run(), users.git, 0o700),
            (self.dynos(), users.git, 0o700),
            (self.slugs(), users.git, 0o700),
            (self.stacks(), root, 0o755),
            (self.router(), users.openruko, 0o700),
            (self.containers(), root, 0o711),
            (self.sshd(), root, 0o700),
            (self.tokens(), root, 0o711),
        ] {
            fs::create_dir_all(&path).at("create", &path)?;
            owner.own(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).at("set the mode of", &path)?;
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// The API's database.
    pub(super) fn api(&self) -> PathBuf {
        self.dir.join("api")
    }

    /// Tarballs that wait to be built; the API makes it.
    pub(super) fn uploads(&self) -> PathBuf {
        self.api().join("uploads")
    }

    /// The logs of apps; the API makes it.
    pub(super) fn logs(&self) -> PathBuf {
        self.api().join("logs")
    }

    /// Repositories, slugs and caches.
    pub(super) fn storage(&self) -> PathBuf {
        self.dir.join("storage")
    }

    /// Sockets and keys of pushes while they last.
    pub(super) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// What openruko-host keeps of dynos.
    pub(super) fn dynos(&self) -> PathBuf {
        self.dir.join("dynos")
    }

    /// The images of slugs that run here.
    pub(super) fn slugs(&self) -> PathBuf {
        self.dir.join("slugs")
    }

    /// The images of stacks.
    pub(super) fn stacks(&self) -> PathBuf {
        self.dir.join("stacks")
    }

    /// What the router keeps.
    pub(super) fn router(&self) -> PathBuf {
        self.dir.join("router")
    }

    pub(super) fn containers(&self) -> PathBuf {
        self.dir.join("containers")
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    pub(super) fn token(&self, component: &str) -> PathBuf {
        self.tokens().join(component)
    }

    fn sshd(&self) -> PathBuf {
        self.dir.join("sshd")
    }

    pub(super) fn host_key(&self) -> PathBuf {
        self.sshd().join("ssh_host_ed25519_key")
    }

    pub(super) fn sshd_config(&self) -> PathBuf {
        self.sshd().join("sshd_config")
    }

    /// sudo reads the files of this directory whose names have no dot (sudoers(5)).
    pub(super) fn sudoers(&self) -> PathBuf {
        let name = self.dir.to_string_lossy().replace(['/', '.'], "-");
        PathBuf::from(format!("/etc/sudoers.d/openruko{name}"))
    }
}
