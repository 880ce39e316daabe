//! Where one run keeps its sockets and keys: a private directory that vanishes with it. What a crash left
//! is swept by the next run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ruko_sys::{AtPath, Lock, PathError};

/// A directory held by a lock; removed when dropped.
pub(crate) struct RuntimeDir {
    path: PathBuf,
    _lock: Lock,
    keep: bool,
}

impl RuntimeDir {
    /// Makes a new one below `parent`, after sweeping what has no owner any more.
    pub(crate) fn create(parent: &Path) -> Result<Self, PathError> {
        sweep(parent);
        // A sweeper may meet the directory between its making and its locking: then the next try wins.
        loop {
            let dir = tempfile::Builder::new()
                .prefix("s-")
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(parent)
                .at("create a directory in", parent)?;
            if let Ok(Some(lock)) = Lock::try_take(&dir.path().join("lock")) {
                return Ok(Self { path: dir.keep(), _lock: lock, keep: false });
            }
        }
    }

    /// Takes over the directory of a run that is about to end.
    pub(crate) fn adopt(path: PathBuf) -> Result<Self, PathError> {
        let lock = Lock::take(&path.join("lock"))?;
        Ok(Self { path, _lock: lock, keep: false })
    }

    /// Leaves the directory to another process, which [adopts](Self::adopt) it.
    pub(crate) fn hand_over(mut self) {
        self.keep = true;
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
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes directories whose lock nobody holds. Another sweeper may be at it too: what is gone is gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let lock = path.join("lock");
        if lock.exists() && matches!(Lock::try_take(&lock), Ok(Some(_))) {
            let _ = fs::remove_dir_all(&path);
        }
    }
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
        first.hand_over();
        let second = RuntimeDir::adopt(path.clone()).unwrap();
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
