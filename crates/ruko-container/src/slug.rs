//! What a dyno sees at `/app`: its slug, below what it writes itself.
//!
//! The slug is an image that an unprivileged process made. It is the lower layer of an overlay whose upper layer lies on
//! the disk of the container, which bounds it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use ruko_core::names::ImageName;
use ruko_core::{Fault, Hint};
use ruko_lxc::IdRange;
use ruko_sys::AtPath;
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, chown, fstat, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::image;
use crate::settings::Settings;
use crate::work::Work;

/// The id of the dyno's user in the container. The files of an image belong to it.
pub(crate) const USER: u32 = 1000;

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
        image::mount(&self.file, self.name.as_str(), Some(ids), &work.slug())?;
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
}
