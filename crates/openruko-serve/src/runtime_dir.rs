//! Where one run keeps its sockets and keys: a private directory that vanishes with it. What a crash left
//! is swept by the next run.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ruko_sys::{AtPath, Lock, PathError};

/// A directory without a lock file was left in the moment between its making and its locking, if it is
/// older than this.
const UNLOCKED_FOR: Duration = Duration::from_secs(600);

/// A directory held by a lock; removed when dropped.
pub(crate) struct RuntimeDir {
    path: PathBuf,
    /// None where the lock was inherited: it is held as long as this process lives.
    lock: Option<Lock>,
}

impl RuntimeDir {
    /// Makes a new one below `parent`, after sweeping what has no owner any more.
    pub(crate) fn create(parent: &Path) -> Result<Self, PathError> {
        sweep(parent);
        loop {
            let dir = tempfile::Builder::new()
                .prefix("s-")
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(parent)
                .at("create a directory in", parent)?;
            // A sweeper may have met it between its making and its locking: then the next try wins.
            if let Some(lock) = Lock::try_take(&dir.path().join("lock"))? {
                return Ok(Self { path: dir.keep(), lock: Some(lock) });
            }
        }
    }

    /// Takes over the directory of a run that is about to end. Its lock has to be inherited: see
    /// [`RuntimeDir::lock_for_heir`].
    pub(crate) fn adopt(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    /// The lock, to be inherited by the process that adopts the directory.
    pub(crate) fn lock_for_heir(&self) -> io::Result<OwnedFd> {
        self.lock.as_ref().ok_or_else(|| io::Error::other("the lock is inherited itself"))?.share()
    }

    /// Leaves the directory and its lock to the heir.
    pub(crate) fn hand_over(mut self) {
        self.path = PathBuf::new();
        if let Some(lock) = self.lock.take() {
            lock.leave_to_heir();
        }
    }

    /// As if the process had been killed: the lock is free and the directory stays.
    #[cfg(test)]
    pub(crate) fn abandon(mut self) {
        self.path = PathBuf::new();
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether a living process has the directory of a run.
pub(crate) fn is_held(dir: &Path) -> bool {
    matches!(Lock::try_take(&dir.join("lock")), Ok(None))
}

/// Removes directories whose lock nobody holds. Another sweeper may be at it too: what is gone is gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let lock = path.join("lock");
        if lock.exists() {
            // Held while the directory is removed.
            if let Ok(Some(_lock)) = Lock::try_take(&lock) {
                let _ = fs::remove_dir_all(&path);
            }
        } else if entry.metadata().and_then(|meta| meta.modified()).is_ok_and(is_old) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_old(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age > UNLOCKED_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_swept_and_what_lives_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = RuntimeDir::create(parent.path()).unwrap();
        let dead = parent.path().join("s-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let second = RuntimeDir::create(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.path().exists() && second.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_was_handed_over_stays() {
        let parent = tempfile::tempdir().unwrap();
        let first = RuntimeDir::create(parent.path()).unwrap();
        let path = first.path().to_owned();
        let inherited = first.lock_for_heir().unwrap();
        first.hand_over();
        let second = RuntimeDir::adopt(path.clone());
        drop(RuntimeDir::create(parent.path()).unwrap());
        assert!(path.exists(), "a sweeper keeps away from what an heir holds");
        drop(second);
        assert!(!path.exists());
        drop(inherited);
    }
}
