//! Walking a tree in a fixed order, following no symbolic link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::beneath::open_beneath;

/// Something in the tree, opened.
pub(crate) enum Found {
    Directory(FileStat),
    File(File, FileStat),
    Symlink(OsString, FileStat),
    /// A socket, fifo or device.
    Other,
}

/// The walk: every directory before what is in it, names in the order of their bytes.
pub(crate) struct Walk<'a> {
    top: OwnedFd,
    exclude: &'a dyn Fn(&Path) -> bool,
    /// The directories on the way down, each with the names in it that are still to come, last first.
    open: Vec<(PathBuf, Vec<Seen>)>,
}

/// A name in a directory, with its kind where the file system tells it.
struct Seen {
    name: OsString,
    kind: Option<Type>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(top: &Path, exclude: &'a dyn Fn(&Path) -> bool) -> nix::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = nix::fcntl::open(top, flags, Mode::empty())?;
        let names = names_in(top.try_clone().map_err(|_| Errno::last())?)?;
        Ok(Self { top, exclude, open: vec![(PathBuf::new(), names)] })
    }

    /// The next thing with its path from the top. An error comes with the path that it is about.
    pub(crate) fn next(&mut self) -> Option<(PathBuf, nix::Result<Found>)> {
        loop {
            let (dir, names) = self.open.last_mut()?;
            let Some(seen) = names.pop() else {
                self.open.pop();
                continue;
            };
            let path = dir.join(&seen.name);
            if !(self.exclude)(&path) {
                let found = self.look(&path, seen.kind);
                return Some((path, found));
            }
        }
    }

    fn look(&mut self, path: &Path, kind: Option<Type>) -> nix::Result<Found> {
        let kind = match kind {
            Some(kind) => Some(kind),
            None => kind_of(&fstat(&self.open_as(path, OFlag::O_PATH)?)?),
        };
        match kind {
            Some(Type::Directory) => self.directory(path),
            Some(Type::File) => self.file(path),
            Some(Type::Symlink) => {
                let link = self.open_as(path, OFlag::O_PATH)?;
                Ok(Found::Symlink(readlinkat(&link, "")?, fstat(&link)?))
            }
            _ => Ok(Found::Other),
        }
    }

    fn directory(&mut self, path: &Path) -> nix::Result<Found> {
        let dir = self.open_as(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let stat = fstat(&dir)?;
        self.open.push((path.to_owned(), names_in(dir)?));
        Ok(Found::Directory(stat))
    }

    /// Opened without waiting: what was a file may have become a fifo since.
    fn file(&self, path: &Path) -> nix::Result<Found> {
        let file = self.open_as(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        let stat = fstat(&file)?;
        Ok(if kind_of(&stat) == Some(Type::File) { Found::File(file.into(), stat) } else { Found::Other })
    }

    fn open_as(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        open_beneath(&self.top, path, flags)
    }
}

fn kind_of(stat: &FileStat) -> Option<Type> {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => Some(Type::Directory),
        SFlag::S_IFREG => Some(Type::File),
        SFlag::S_IFLNK => Some(Type::Symlink),
        _ => None,
    }
}

/// What is in a directory, last name first.
fn names_in(dir: OwnedFd) -> nix::Result<Vec<Seen>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(dir)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let name = OsStr::from_bytes(name).to_owned();
            names.push(Seen { name, kind: entry.file_type() });
        }
    }
    names.sort_unstable_by(|a, b| b.name.cmp(&a.name));
    Ok(names)
}
