//! Where things are in a build container.

use std::path::PathBuf;

/// The paths of a build container. The default is the container's; tests have their own.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `HOME` of everything that runs, and where the app will run from.
    pub home: PathBuf,
    /// Where build directories, ENV_DIR and copies of buildpacks are made.
    pub tmp: PathBuf,
    /// The buildpacks that ship with openruko.
    pub buildpacks: PathBuf,
    /// The host channel.
    pub socket: PathBuf,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            home: "/app".into(),
            tmp: "/tmp".into(),
            buildpacks: "/app/buildpacks".into(),
            socket: ruko_channel::SOCKET.into(),
        }
    }
}

impl Layout {
    /// The bare repository that a push goes into.
    pub fn repository(&self) -> PathBuf {
        self.home.join("tmp/repo.git")
    }

    /// The build cache.
    pub fn cache(&self) -> PathBuf {
        self.home.join("tmp/cache")
    }

    /// The build directory of the build with this id.
    pub fn build_dir(&self, id: &str) -> PathBuf {
        self.tmp.join(format!("build_{id}"))
    }

    /// The ENV_DIR of the build with this id.
    pub fn env_dir(&self, id: &str) -> PathBuf {
        self.tmp.join(format!("env_{id}"))
    }

    /// The copy of the `n`th buildpack of the build with this id.
    pub fn buildpack(&self, id: &str, n: usize) -> PathBuf {
        self.tmp.join(format!("buildpack_{id}_{n}"))
    }
}
