//! Where a run keeps what only it and its container may see: a file system of its own, mounted in a mount
//! namespace of its own. It is gone with the process, whatever that dies of.
//!
//! Containers are also shown things from here, because process 1 of a container enters its root file
//! system as a user who is nobody on this host: it could not pass through a closed directory, such as
//! `state_dir` or the home of whoever tries openruko out.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ruko_core::{Fault, Hint};
use ruko_lxc::net::Bridge;
use ruko_sys::AtPath;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

/// The same for every run: each has its own file system there.
const WORK: &str = "/run/openruko/work";

/// Where LXC's tools think that containers are: they name the socket of a container after it, and process
/// 1 must be able to enter it. It holds nothing; each bridge has its own, so that installations may use the
/// same names.
pub(crate) fn lxc_path(bridge: &Bridge) -> PathBuf {
    Path::new(WORK).join("lxc").join(bridge.as_str())
}

/// The work directory of this run.
#[derive(Debug)]
pub(crate) struct Work {
    shown: Cell<u32>,
}

impl Work {
    /// Leaves the host's mount namespace and mounts the file system.
    pub(crate) fn enter(bridge: &Bridge) -> Result<Self, Fault> {
        ruko_sys::process::own_mounts().fault("cannot make a mount namespace")?;
        let work = Path::new(WORK);
        fs::create_dir_all(work).at("create", work)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", work, "tmpfs", flags, c"size=1m,mode=0711")
            .map_err(io::Error::from)
            .at("mount a file system at", work)?;
        for name in ["keys", "disk", "mapped", "stack", "root", "shown", "slug", "app"] {
            let dir = work.join(name);
            let mode = if name == "keys" { 0o700 } else { 0o711 };
            fs::DirBuilder::new().mode(mode).create(&dir).at("create", &dir)?;
        }
        let lxc = lxc_path(bridge);
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&lxc).at("create", &lxc)?;
        Ok(Self { shown: Cell::new(0) })
    }

    /// Where a key of this name lies.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        Path::new(WORK).join("keys").join(name)
    }

    /// Where the container's disk is mounted.
    pub(crate) fn disk(&self) -> PathBuf {
        Path::new(WORK).join("disk")
    }

    /// Where the container's disk is mounted once more, what is on it belonging to the container's ids.
    pub(crate) fn mapped(&self) -> PathBuf {
        Path::new(WORK).join("mapped")
    }

    /// Where the image of a stack is mounted.
    pub(crate) fn stack(&self) -> PathBuf {
        Path::new(WORK).join("stack")
    }

    /// Where the root file system of a container on a stack is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        Path::new(WORK).join("root")
    }

    /// Where the image of a dyno's slug is mounted.
    pub(crate) fn slug(&self) -> PathBuf {
        Path::new(WORK).join("slug")
    }

    /// Where what a dyno sees at `/app` is mounted.
    pub(crate) fn app(&self) -> PathBuf {
        Path::new(WORK).join("app")
    }

    /// A path under which a container can be shown a file or directory of the host.
    pub(crate) fn show(&self, source: &Path) -> Result<PathBuf, Fault> {
        let target = Path::new(WORK).join("shown").join(self.shown.get().to_string());
        self.shown.set(self.shown.get() + 1);
        let meta = fs::metadata(source).at("show", source)?;
        let needed = if meta.is_dir() { 0o005 } else { 0o004 };
        if meta.mode() & needed != needed {
            let mode = meta.mode() & 0o7777;
            return Err(Fault::refused(format!(
                "containers cannot read `{}`: its mode is {mode:o}",
                source.display()
            ))
            .hint("let everybody read what every build is meant to see"));
        }
        if meta.is_dir() {
            fs::create_dir(&target).at("create", &target)?;
        } else {
            fs::write(&target, "").at("create", &target)?;
        }
        mount_bind(source, &target).map_err(io::Error::from).at("show", source)?;
        Ok(target)
    }

    /// Lets go of the disk and of what lies over it, without writing back what nobody will read.
    pub(crate) fn drop_disk(&self) {
        // Where the kernel cannot do that, the end only takes longer.
        let _ = ruko_sys::throwaway::abandon_filesystem(&self.disk());
        for point in [self.app(), self.root(), self.mapped(), self.slug(), self.stack(), self.disk()] {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
    }
}
