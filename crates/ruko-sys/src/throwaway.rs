//! File systems that nobody will read again.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::major;

/// `EXT4_IOC_SHUTDOWN` of the kernel's fs/ext4/ext4.h, which has the number and meaning of XFS's
/// `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: nix::libc::c_ulong = nix::request_code_read!(b'X', 125, size_of::<u32>()) as _;

/// Do not write anything back, not even a journal (`EXT4_GOING_FLAGS_NOLOGFLUSH`).
const WITHOUT_FLUSH: u32 = 2;

/// The major device number of loop devices (the kernel's Documentation/admin-guide/devices.txt).
const LOOP: u64 = 7;

/// Declares the loop-mounted ext4 file system in which `dir` lies dead: what was not written back yet never
/// will be, and every use of it fails. Without that, unmounting a build's disk writes gigabytes for nobody.
///
/// # Errors
/// It is no ext4 file system on a loop device (any other may be the host's own), the kernel is older than
/// 4.10, or this process is not root.
pub fn abandon_filesystem(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    if major(dir.metadata()?.dev()) != LOOP {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not on a loop device"));
    }
    let flags = WITHOUT_FLUSH;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads one u32 at the address.
    #[expect(unsafe_code, reason = "no safe wrapper of this ioctl exists")]
    let result = unsafe { nix::libc::ioctl(dir.as_raw_fd(), SHUTDOWN, &raw const flags) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_loop_mounted_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(abandon_filesystem(dir.path()).is_err());
        std::fs::write(dir.path().join("alive"), "").unwrap();
    }
}
