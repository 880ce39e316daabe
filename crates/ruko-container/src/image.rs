//! Images: squashfs files that containers are shown read-only, their files belonging to the container's own ids.
//!
//! The kernel reads them, through one loop device for all containers that have the same one, so that they share what
//! was read of it. Mounts are in the mount namespace of this process and go with it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ruko_core::{Fault, Hint};
use ruko_lxc::IdRange;
use ruko_sys::{AtPath, Lock, LoopDevice};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// Who looks for the loop device of an image keeps others from making a second one.
const LOCK: &str = "/run/openruko/slugs.lock";

/// What a kernel must be able to do.
const KERNEL: &str = "that takes Linux 6.2 or newer";

/// Mounts an image. `name` is that of its file. With ids, what belongs to those from 0 on in it belongs to these.
pub(crate) fn mount(file: &File, name: &str, ids: Option<IdRange>, point: &Path) -> Result<(), Fault> {
    let lock = Lock::take(Path::new(LOCK))?;
    let device = LoopDevice::share(file, name).fault("cannot make a loop device")?;
    let image = squashfs(&device).map_err(io::Error::from).fault(format!("`{name}` is no image"))?;
    drop(lock);
    if let Some(ids) = ids {
        mapped(ruko_sys::idmap::map_ids(&image, ids.first, ids.count))?;
    }
    attach(&image, point)
}

/// Shows a directory once more, as if what belongs to the ids from 0 on belonged to these. Root can make things there,
/// too, which the overlay does in its name.
pub(crate) fn show_mapped(dir: &Path, ids: IdRange, point: &Path) -> Result<(), Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, dir, flags).map_err(io::Error::from).at("show", dir)?;
    mapped(ruko_sys::idmap::map_ids_and_root(&tree, ids.first, ids.count))?;
    attach(&tree, point)
}

fn mapped(done: io::Result<()>) -> Result<(), Fault> {
    done.fault("this kernel cannot show files as those of a container").map_err(|fault| fault.hint(KERNEL))
}

fn attach(tree: &OwnedFd, point: &Path) -> Result<(), Fault> {
    move_mount(tree, c"", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(io::Error::from)
        .at("mount an image at", point)?;
    Ok(())
}

/// The file system of an image, not attached anywhere yet. Where it is mounted already it is the same one.
fn squashfs(device: &LoopDevice) -> rustix::io::Result<OwnedFd> {
    let squashfs = fsopen("squashfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(&squashfs, "ro")?;
    fsconfig_set_string(&squashfs, "source", device.path())?;
    fsconfig_create(&squashfs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&squashfs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
