//! Idmapped mounts (`mount_setattr(2)`, Linux 5.12): a file system whose files seem to belong to other users.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

/// Makes what belongs to the ids from 0 on, on disk, seem to belong to those from `first` on. The mount must not be
/// attached anywhere yet.
///
/// # Errors
/// This type of file system cannot be mapped by this kernel (`EINVAL`), or this process is not root.
pub fn map_ids(mount: impl AsFd, first: u32, count: u32) -> io::Result<()> {
    map(mount, &format!("0 {first} {count}\n"))
}

/// As [`map_ids`], and what belongs to the next id on disk seems to belong to root. Otherwise root could make nothing
/// there, having no id on that disk.
///
/// # Errors
/// As [`map_ids`].
pub fn map_ids_and_root(mount: impl AsFd, first: u32, count: u32) -> io::Result<()> {
    map(mount, &format!("0 {first} {count}\n{count} 0 1\n"))
}

/// The lines of the map are those of `user_namespaces(7)`.
fn map(mount: impl AsFd, lines: &str) -> io::Result<()> {
    let user_namespace = user_namespace(lines)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(user_namespace.as_raw_fd()).map_err(io::Error::other)?,
    };
    // SAFETY: both descriptors are open for the whole call, the path is an empty C string, and the kernel reads as
    // many bytes as the structure has.
    #[expect(unsafe_code, reason = "no safe wrapper of this system call exists")]
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// A user namespace with this map. The kernel makes one only for a process, which ends at once.
fn user_namespace(lines: &str) -> io::Result<File> {
    let (mut made, tell) = io::pipe()?;
    let (wait, done) = io::pipe()?;
    // SAFETY: the child calls unshare, write, read and _exit only, all async-signal-safe, and allocates nothing.
    #[expect(unsafe_code, reason = "a process that only enters a namespace needs no program")]
    let forked = unsafe { fork() }?;
    match forked {
        ForkResult::Child => {
            let errno = unshare(CloneFlags::CLONE_NEWUSER).err().map_or(0, |errno| errno as i32);
            let _ = (&tell).write_all(&errno.to_ne_bytes());
            // Until the parent has what it wanted, or ends.
            let _ = nix::unistd::close(done.as_raw_fd());
            let _ = (&wait).read(&mut [0]);
            // SAFETY: always sound; nothing of the parent's is torn down.
            #[expect(unsafe_code, reason = "exit handlers are the parent's")]
            unsafe {
                libc::_exit(0)
            }
        }
        ForkResult::Parent { child } => {
            drop(tell);
            let mut errno = [0; 4];
            let made = made.read_exact(&mut errno).and_then(|()| match i32::from_ne_bytes(errno) {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            });
            let namespace = made.and_then(|()| mapped(child, lines));
            drop(done);
            waitpid(child, None)?;
            namespace
        }
    }
}

fn mapped(child: Pid, lines: &str) -> io::Result<File> {
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{child}/{map}"), lines)?;
    }
    File::open(format!("/proc/{child}/ns/user"))
}
