//! Files: errors that name their path, trusted reading, atomic replacement.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// An I/O error with what was attempted on which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{}`", .path.display())]
pub struct PathError {
    /// What was attempted: `read`, `create`, …
    pub verb: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Names the path of an I/O error.
pub trait AtPath<T> {
    /// `cannot VERB PATH: cause`.
    ///
    /// # Errors
    /// The error itself, with verb and path.
    fn at(self, verb: &'static str, path: &Path) -> Result<T, PathError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, PathError> {
        self.map_err(|source| PathError { verb, path: path.to_owned(), source })
    }
}

/// Opens a file that grants power: it and every directory above it belong to root, and nobody else can
/// write them. A last component that is a symbolic link is refused.
///
/// # Errors
/// It cannot be opened, or somebody else could have written it.
pub fn open_trusted(path: &Path) -> Result<File, PathError> {
    let trusted = || {
        for dir in path.parent().into_iter().flat_map(Path::ancestors) {
            if !dir.as_os_str().is_empty() {
                only_root_writes(dir, &fs::metadata(dir)?)?;
            }
        }
        let file =
            File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(path)?;
        only_root_writes(path, &file.metadata()?)?;
        Ok(file)
    };
    trusted().at("trust", path)
}

fn only_root_writes(path: &Path, meta: &Metadata) -> io::Result<()> {
    let foreign = if meta.uid() != 0 {
        format!("belongs to uid {}", meta.uid())
    } else if meta.mode() & 0o022 != 0 {
        format!("has mode {:o}", meta.mode() & 0o7777)
    } else {
        return Ok(());
    };
    let why = format!("`{}` {foreign}: only root may be able to write it", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Replaces a file, or makes it, so that after a crash there is the old content or the new and nothing
/// between: written beside it, synced, renamed, directory synced.
///
/// # Errors
/// The directory cannot be written or is full; the old file is then untouched.
pub fn replace(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), PathError> {
    replace_as(path, mode, None, bytes)
}

/// As [`replace`], and the file belongs to this user and group.
///
/// # Errors
/// As of [`replace`]; or the file cannot be given to them, which only root can do.
pub fn replace_as(path: &Path, mode: u32, owner: Option<(u32, u32)>, bytes: &[u8]) -> Result<(), PathError> {
    let write = || {
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        if let Some((user, group)) = owner {
            fchown(file.as_file(), Some(user), Some(group))?;
        }
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(dir)?.sync_all()
    };
    write().at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, 0o640, b"one").unwrap();
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_can_write_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(open_trusted(&path).is_err());
    }

    #[test]
    fn a_file_below_a_directory_that_others_can_write_is_not_trusted() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "").unwrap();
        let why = crate::file::open_trusted(&path).unwrap_err();
        assert!(why.source.to_string().contains("only root"), "{}", why.source);
    }
}
