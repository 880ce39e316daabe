//! Room on a file system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// What a file system has, as `statvfs(3)` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Its device: the same for every path on it.
    pub device: u64,
    /// Bytes that may still be written by who is not root.
    pub free: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Files that may still be made. None where they are not counted, as on btrfs.
    pub free_files: Option<u64>,
    /// The files for which it was made; 0 where they are not counted.
    pub files: u64,
}

impl Space {
    /// Of the file system where a path is or, if it is to be made on demand, will be: where its last directory is that
    /// is there.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn at(path: &Path) -> io::Result<Self> {
        let there = path.ancestors().find(|part| part.exists()).unwrap_or(path);
        let device = fs::metadata(there)?.dev();
        let stat = statvfs(there)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok(Self {
            device,
            free: bytes(stat.blocks_available()),
            size: bytes(stat.blocks()),
            free_files: (stat.files() > 0).then(|| stat.files_available()),
            files: stat.files(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_will_be_where_its_parent_is() {
        let dir = tempfile::tempdir().unwrap();
        let (there, to_be) = (Space::at(dir.path()).unwrap(), Space::at(&dir.path().join("a/b")).unwrap());
        assert_eq!((there.device, there.size), (to_be.device, to_be.size));
        assert!(there.free > 0 && there.free <= there.size);
        assert_ne!(there.device, Space::at(Path::new("/proc")).unwrap().device);
        let error = Space::at(Path::new("never/there")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
