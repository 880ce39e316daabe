//! Where things are in a build container.

use std::path::{Path, PathBuf};

/// Where an installation has this program, below its prefix, and where the buildpacks that ship.
const INSTALLED: (&str, &str) = ("libexec/openruko/tools/ruko-slug", "share/openruko/buildpacks");

/// The paths of a build container. The default is the container's, but that an admin on a host gets the
/// buildpacks of the installation; tests have their own.
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
            buildpacks: std::env::current_exe()
                .ok()
                .and_then(|program| installed_buildpacks(&program))
                .unwrap_or_else(|| "/app/buildpacks".into()),
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

/// The buildpacks beside an installed program; none in a container, where the program lies elsewhere.
fn installed_buildpacks(program: &Path) -> Option<PathBuf> {
    let (below, buildpacks) = INSTALLED;
    let prefix =
        program.ends_with(below).then(|| program.ancestors().nth(Path::new(below).iter().count()))??;
    Some(prefix.join(buildpacks)).filter(|dir| dir.is_dir())
}
