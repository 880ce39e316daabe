//! Locks that the kernel frees when their holder dies.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::file::{AtPath, PathError};

/// An exclusive lock on a file. Freed when dropped, and by the kernel when the process dies. The file
/// stays: removing a locked file would let two holders in.
#[derive(Debug)]
pub struct Lock {
    file: Flock<OwnedFd>,
}

impl Lock {
    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// The file cannot be opened or locked for another reason than a holder.
    pub fn try_take(path: &Path) -> Result<Option<Self>, PathError> {
        let file = open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(std::io::Error::from(errno)).at("lock", path),
        }
    }

    /// Takes the lock, waiting for its holder.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn take(path: &Path) -> Result<Self, PathError> {
        let file = open(path)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into());
        Ok(Self { file: lock.at("lock", path)? })
    }

    /// Another handle of the lock, to be inherited by a child: the lock belongs to the open file and is held
    /// as long as one of them is open (flock(2)).
    ///
    /// # Errors
    /// There are too many open files.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        self.file.try_clone()
    }

    /// Ends this handle without freeing the lock, which a child has inherited.
    pub fn leave_to_heir(self) {
        // Dropping would free it for every handle.
        std::mem::forget(self);
    }
}

fn open(path: &Path) -> Result<OwnedFd, PathError> {
    // Whoever can open a lock can hold it. A link, or a pipe that nobody reads, is none: it is refused, not followed or
    // waited for.
    let no_trap = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(no_trap.bits());
    let file = options.open(path);
    Ok(file.at("open", path)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_heir_keeps_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::try_take(&path).unwrap().unwrap();
        let heir = first.share().unwrap();
        first.leave_to_heir();
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(heir);
    }

    #[test]
    fn what_is_no_file_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (link, pipe) = (dir.path().join("link"), dir.path().join("pipe"));
        std::os::unix::fs::symlink(dir.path().join("made"), &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Lock::take(&link).is_err() && Lock::take(&pipe).is_err());
        assert!(!dir.path().join("made").exists());
    }

    #[test]
    fn a_second_holder_is_kept_out_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
