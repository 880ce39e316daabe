//! Where `make install` put the programs and files.

use std::path::{Path, PathBuf};

use ruko_core::{Fault, Hint};

/// An installation below a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Install {
    prefix: PathBuf,
}

impl Install {
    /// The installation that this program belongs to: it is `PREFIX/bin/openruko`.
    pub(crate) fn find() -> Result<Self, Fault> {
        let me = std::env::current_exe().fault("cannot find myself")?;
        let install = Self::at(&me)?;
        let programs = [
            install.api(),
            install.git(),
            install.serve(),
            install.container(),
            install.host(),
            install.router(),
        ];
        for needed in programs.into_iter().chain([install.templates()]) {
            if !needed.exists() {
                return Err(Fault::refused(format!(
                    "`{}` is missing beside `{}`",
                    needed.display(),
                    me.display()
                ))
                .hint("install with `make install` and start the openruko that it installed"));
            }
        }
        Ok(install)
    }

    /// The installation that a program `PREFIX/bin/…` belongs to.
    pub(super) fn at(program: &Path) -> Result<Self, Fault> {
        let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        Ok(Self { prefix: super::plain_path("the installation's prefix", prefix)? })
    }

    fn libexec(&self) -> PathBuf {
        self.prefix.join("libexec/openruko")
    }

    fn share(&self) -> PathBuf {
        self.prefix.join("share/openruko")
    }

    pub(crate) fn api(&self) -> PathBuf {
        self.libexec().join("openruko-api")
    }

    pub(super) fn serve(&self) -> PathBuf {
        self.libexec().join("openruko-serve")
    }

    pub(super) fn git(&self) -> PathBuf {
        self.libexec().join("openruko-git")
    }

    pub(super) fn host(&self) -> PathBuf {
        self.libexec().join("openruko-host")
    }

    pub(super) fn router(&self) -> PathBuf {
        self.libexec().join("openruko-router")
    }

    pub(super) fn container(&self) -> PathBuf {
        self.libexec().join("ruko-container")
    }

    /// What is mounted into containers: the tools that run there.
    pub(super) fn tools(&self) -> PathBuf {
        self.libexec().join("tools")
    }

    pub(super) fn hooks(&self) -> PathBuf {
        self.share().join("hooks")
    }

    pub(super) fn buildpacks(&self) -> PathBuf {
        self.share().join("buildpacks")
    }

    pub(super) fn templates(&self) -> PathBuf {
        self.share().join("templates")
    }
}
