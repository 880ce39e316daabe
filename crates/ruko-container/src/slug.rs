//! What a dyno sees at `/app`: its slug, below what it writes itself.
//!
//! The slug is an image that an unprivileged process made. It is mounted read-only, through one loop device for all
//! dynos that have it, so that they share what the kernel has read of it. It is the lower layer of an overlay whose
//! upper layer lies on the disk of the container, which bounds it. All mounts are in the mount namespace of this
//! process and go with it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use ruko_core::names::ImageName;
use ruko_core::{Fault, Hint};
use ruko_lxc::IdRange;
use ruko_sys::{AtPath, Lock, LoopDevice};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, chown, fstat, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};

use crate::settings::Settings;
use crate::work::Work;

/// The id of the dyno's user in the container. The files of an image belong to it.
pub(crate) const USER: u32 = 1000;

/// Who looks for the loop device of an image keeps others from making a second one.
const LOCK: &str = "/run/openruko/slugs.lock";

/// A slug that was asked for and is there.
#[derive(Debug)]
pub(crate) struct Slug {
    pub(crate) name: ImageName,
    file: File,
}

impl Slug {
    /// Opens an image. It belongs to who makes images, and is as little trusted as they are: it is read by the
    /// kernel alone.
    pub(crate) fn open(settings: &Settings, name: &ImageName) -> Result<Self, Fault> {
        let Some(dir) = &settings.slugs_dir else {
            return Err(Fault::refused(
                "[container] of the configuration has no `slugs_dir`: no dyno can be started",
            ));
        };
        let path = dir.join(name.as_str());
        let closed = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(|dir| {
            // One that is a pipe would be waited for.
            openat(&dir, name.as_str(), OFlags::RDONLY | OFlags::NONBLOCK | closed, Mode::empty())
        });
        let file = match opened {
            Err(Errno::NOENT) => {
                return Err(Fault::refused(format!("the slug's image `{}` is not there", path.display())));
            }
            opened => opened.map_err(io::Error::from).at("open", &path)?,
        };
        let stat = fstat(&file).map_err(io::Error::from).at("look at", &path)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Fault::refused(format!(
                "the slug's image `{}` is not a regular file",
                path.display()
            )));
        }
        Ok(Self { name: name.clone(), file: File::from(file) })
    }

    /// Mounts what the dyno sees, for a container with these ids.
    pub(crate) fn mount(&self, work: &Work, ids: IdRange) -> Result<(), Fault> {
        self.mount_image(&work.slug(), ids)?;
        let layers = work.disk().join("app");
        for (name, mode) in [("", 0o711), ("upper", 0o755), ("work", 0o700)] {
            let dir = layers.join(name);
            fs::DirBuilder::new().mode(mode).create(&dir).at("create", &dir)?;
        }
        let upper = layers.join("upper");
        let user = ids.first + USER;
        chown(&upper, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))
            .map_err(io::Error::from)
            .at("give away", &upper)?;
        // `volatile`: nothing here outlives the dyno, so nothing is synced. `redirect_dir`: directories of the slug
        // can be renamed.
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile,redirect_dir=on,index=off,metacopy=off",
            work.slug().display(),
            upper.display(),
            layers.join("work").display(),
        );
        let options = std::ffi::CString::new(options).fault("the layers of /app cannot be named")?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
        mount("overlay", work.app(), "overlay", flags, options.as_c_str())
            .map_err(io::Error::from)
            .fault("cannot lay what the dyno writes over its slug")
    }

    fn mount_image(&self, point: &Path, ids: IdRange) -> Result<(), Fault> {
        let lock = Lock::take(Path::new(LOCK))?;
        let device = LoopDevice::share(&self.file, self.name.as_str()).fault("cannot make a loop device")?;
        let image =
            self.image(&device).map_err(io::Error::from).fault(format!("`{}` is no image", self.name))?;
        drop(lock);
        ruko_sys::idmap::map_ids(&image, ids.first, ids.count)
            .fault("this kernel cannot show the files of a slug as those of a dyno")
            .map_err(|fault| fault.hint("that takes Linux 6.2 or newer"))?;
        move_mount(&image, c"", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(io::Error::from)
            .at("mount a slug at", point)?;
        Ok(())
    }

    /// The file system of the image, not attached anywhere yet. Where it is mounted already it is the same one.
    fn image(&self, device: &LoopDevice) -> rustix::io::Result<std::os::fd::OwnedFd> {
        let squashfs = fsopen("squashfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&squashfs, "ro")?;
        fsconfig_set_string(&squashfs, "source", device.path())?;
        fsconfig_create(&squashfs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&squashfs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }
}
