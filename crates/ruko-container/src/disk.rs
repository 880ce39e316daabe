//! The disk of a container: a file system in a sparse file, so that whatever a container can write is
//! bounded, in bytes and in files.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;

use ruko_core::message::bytes;
use ruko_core::{Fault, Hint};
use ruko_lxc::{System, Tools};
use ruko_sys::{AtPath, LoopDevice, Space};
use rustix::mount::{MountFlags, mount};

/// Nothing on this file system outlives the container, so nothing is paid for durability: no journal, no
/// barriers, no access times, no zeroing of tables that were never used.
const FORMAT: [&str; 6] =
    ["-q", "-m0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"];
const MOUNT: &CStr = c"nobarrier,noinit_itable";

/// Refuses where the host's disk is nearly full. What running containers have not yet written of their
/// sparse images is not counted: most builds use a small part of theirs, and a small machine could run
/// only few of them if all of it were set aside.
pub(crate) fn check_space(dir: &Path, reserve: u64) -> Result<(), Fault> {
    let Space { free, .. } = Space::at(dir).at("look at", dir)?;
    if free >= reserve {
        return Ok(());
    }
    Err(Fault::try_again(format!(
        "the file system of `{}` has {} free, and a container starts only where {} are free",
        dir.display(),
        bytes(free),
        bytes(reserve)
    ))
    .hint("make room there, or lower `reserve_bytes` of [container]"))
}

/// Makes a file system of this size and mounts it. Its file has no name afterwards: the space is free
/// again as soon as nothing uses the file system, even if nobody is left to tidy up.
pub(crate) fn make(point: &Path, image: &Path, size: u64) -> Result<(), Fault> {
    let file = File::options().read(true).write(true).create_new(true).open(image).at("create", image)?;
    file.set_len(size).at("size", image)?;
    let image_text = image.to_string_lossy();
    let mut format = FORMAT.to_vec();
    format.push(&image_text);
    System.run("mkfs.ext4", &format)?;
    let device = LoopDevice::attach(&file).fault("cannot make a loop device")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    mount(device.path(), point, "ext4", flags, MOUNT).map_err(std::io::Error::from).at("mount", image)?;
    fs::remove_file(image).at("remove", image)?;
    Ok(())
}

/// Whether less than a hundredth is left of the bytes or the files.
pub(crate) fn is_full(point: &Path) -> bool {
    let nearly = |free: u64, all: u64| free < all / 100;
    Space::at(point).is_ok_and(|space| {
        nearly(space.free, space.size) || space.free_files.is_some_and(|free| nearly(free, space.files))
    })
}
