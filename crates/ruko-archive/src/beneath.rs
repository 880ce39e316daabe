//! Making things beneath a directory, through its handle. No symbolic link is followed on the way,
//! whoever made it: every lookup of more than one component goes through `openat2(2)` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, and what is made is named relative to the handle of the
//! directory it stands in, by one component.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, fstat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::name::Name;

/// The mode of directories that an archive needs but does not name.
const IMPLIED_DIRECTORY: Mode = Mode::from_bits_truncate(0o755);
/// The mode of directories while they are filled; their own is set at the end.
const OPEN_DIRECTORY: Mode = Mode::from_bits_truncate(0o700);

/// Opens `path` beneath `dir`, following no symbolic link.
pub(crate) fn open_beneath(dir: impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(dir, path, how)
}

/// A moment as files keep it. The access time is set to the same.
fn at(seconds: i64) -> TimeSpec {
    TimeSpec::new(seconds, 0)
}

/// The directory that everything is made beneath.
pub(crate) struct Beneath {
    top: OwnedFd,
    /// The directory used last: neighbours in an archive mostly share it. It stays right because a
    /// directory is never replaced by something else.
    last: Option<(PathBuf, OwnedFd)>,
    /// Directories made because a name needed them.
    pub(crate) implied: u64,
}

impl Beneath {
    pub(crate) fn open(top: &Path) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { top: nix::fcntl::open(top, flags, Mode::empty())?, last: None, implied: 0 })
    }

    /// Makes a file, in place of one that may be there, and gives it opened for writing.
    pub(crate) fn file(&mut self, name: &Name) -> nix::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = self.parent(name)?;
        let file =
            in_place(dir, name.last(), || openat(dir, name.last(), flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
        Ok(file.into())
    }

    /// Makes a symbolic link, in place of what may be there. The target is stored, never looked at.
    pub(crate) fn symlink(&mut self, name: &Name, target: &OsStr, mtime: i64) -> nix::Result<()> {
        let dir = self.parent(name)?;
        in_place(dir, name.last(), || symlinkat(target, dir, name.last()))?;
        utimensat(dir, name.last(), &at(mtime), &at(mtime), UtimensatFlags::NoFollowSymlink)
    }

    /// Makes `name` another name of the file `of`, in place of what may be there.
    pub(crate) fn hard_link(&mut self, name: &Name, of: &Name) -> nix::Result<()> {
        let of_dir = open_beneath(&self.top, or_here(of.parent()), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let dir = self.parent(name)?;
        in_place(dir, name.last(), || linkat(&of_dir, of.last(), dir, name.last(), AtFlags::empty()))
    }

    /// Makes a directory, or takes the one that is there, writable by its owner until
    /// [`Beneath::finish_directory`].
    pub(crate) fn directory(&mut self, name: &Name) -> nix::Result<()> {
        let dir = self.parent(name)?;
        match mkdirat(dir, name.last(), OPEN_DIRECTORY) {
            Err(Errno::EEXIST) => {}
            made => return made,
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(dir, name.last(), flags, Mode::empty()) {
            Ok(existing) => make_writable(&existing),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                unlinkat(dir, name.last(), UnlinkatFlags::NoRemoveDir)?;
                mkdirat(dir, name.last(), OPEN_DIRECTORY)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Gives a directory its own mode and time, after everything in it was made.
    pub(crate) fn finish_directory(&self, name: &Name, mode: u32, mtime: i64) -> nix::Result<()> {
        let dir = open_beneath(&self.top, name.path(), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        finish(&dir, mode, mtime)
    }

    /// The handle of the directory that `name` stands in; made when it is missing.
    fn parent(&mut self, name: &Name) -> nix::Result<BorrowedFd<'_>> {
        let parent = name.parent();
        if parent.as_os_str().is_empty() {
            return Ok(self.top.as_fd());
        }
        if self.last.as_ref().is_none_or(|(path, _)| path != parent) {
            let dir = match open_beneath(&self.top, parent, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Err(Errno::ENOENT) => self.imply(parent)?,
                opened => opened?,
            };
            self.last = Some((parent.to_owned(), dir));
        }
        Ok(self.last.as_ref().map_or(self.top.as_fd(), |(_, dir)| dir.as_fd()))
    }

    /// Makes a directory and those above it, component by component.
    fn imply(&mut self, path: &Path) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut dir = openat(&self.top, ".", flags, Mode::empty())?;
        for part in path.components() {
            match mkdirat(&dir, part.as_os_str(), IMPLIED_DIRECTORY) {
                Ok(()) => self.implied += 1,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            dir = openat(&dir, part.as_os_str(), flags, Mode::empty())?;
        }
        Ok(dir)
    }
}

/// Gives a file or directory its mode and time. Bits beyond the permissions are dropped: set-user-id,
/// set-group-id and sticky are nothing that an archive may grant.
pub(crate) fn finish(of: impl AsFd, mode: u32, mtime: i64) -> nix::Result<()> {
    fchmod(of.as_fd(), Mode::from_bits_truncate(mode & 0o777))?;
    futimens(of.as_fd(), &at(mtime), &at(mtime))
}

fn make_writable(dir: &OwnedFd) -> nix::Result<()> {
    let mode = fstat(dir)?.st_mode;
    if mode & OPEN_DIRECTORY.bits() == OPEN_DIRECTORY.bits() {
        return Ok(());
    }
    fchmod(dir, Mode::from_bits_truncate(mode & 0o777) | OPEN_DIRECTORY)
}

/// Makes something at `last`, after removing the file or link that may be there: nothing is ever written
/// through what an earlier entry, or somebody else, left in its place.
fn in_place<T>(dir: BorrowedFd<'_>, last: &OsStr, make: impl Fn() -> nix::Result<T>) -> nix::Result<T> {
    match make() {
        Err(Errno::EEXIST) => {
            unlinkat(dir, last, UnlinkatFlags::NoRemoveDir)?;
            make()
        }
        made => made,
    }
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
