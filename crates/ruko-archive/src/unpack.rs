//! Unpacking.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use nix::errno::Errno;

use crate::Summary;
use crate::beneath::{Beneath, finish};
use crate::block::StreamError;
use crate::entry::{Entries, Entry, EntryError, Kind};
use crate::name::{Name, link_stays_inside, shown};

/// What an archive may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files' contents together, after decompression.
    pub bytes: u64,
    /// Entries, counting the directories that they need and do not name.
    pub entries: u64,
    /// Bytes of a name, and of a link's target.
    pub path_bytes: usize,
    /// Where symbolic links may point.
    pub links: LinkRule,
}

impl Limits {
    /// What the kernel takes as a path, without its NUL (`PATH_MAX`).
    pub const PATH_BYTES: usize = 4095;
}

/// Where symbolic links may point. Whatever the rule, a link is only stored: unpacking follows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRule {
    /// Inside the directory: relative, and going up (`..`) only at the beginning of the target and not
    /// above the top.
    Inside,
    /// Anywhere. For archives that are looked at inside a container, where links to `/app/…` are normal.
    Any,
}

/// Why an archive was not unpacked. What was unpacked until then is left to the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The source failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The bytes are no whole tar.gz.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// An entry that nobody honest writes, or whose kind is not allowed.
    #[error("the archive's entry `{name}` is refused: {why}")]
    Refused {
        /// Its name, fit for printing.
        name: String,
        /// Why.
        why: String,
    },
    /// A symbolic link may lead outside, and [`LinkRule::Inside`] holds.
    #[error("the archive's link `{name}` may lead outside: its target is `{target}`")]
    LinkOutside {
        /// Its name, fit for printing.
        name: String,
        /// Its target, fit for printing.
        target: String,
    },
    /// The files together are larger than the limit.
    #[error("the archive's files are larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// There are more entries than the limit.
    #[error("the archive has more than {max} entries")]
    TooManyEntries {
        /// The limit.
        max: u64,
    },
    /// An entry could not be written.
    #[error("cannot write `{name}` from the archive")]
    Write {
        /// Its name, fit for printing.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// An entry could not be passed on.
    #[error("cannot pass the archive on")]
    PassOn(#[source] io::Error),
    /// The directory to unpack into cannot be used.
    #[error("cannot unpack into `{0}`")]
    Into(String, #[source] io::Error),
}

impl From<StreamError> for UnpackError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Read(source) => Self::Read(source),
            StreamError::Damaged(why) => Self::Damaged(why),
        }
    }
}

impl From<EntryError> for UnpackError {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::Stream(error) => error.into(),
            EntryError::Refused(name, why) => Self::Refused { name, why },
        }
    }
}

/// Unpacks a tar.gz beneath `into`, a directory that exists.
///
/// Directories, files, symbolic links, and hard links to files of the same archive are made; any other
/// kind ends it. Modes keep their permission bits, times are restored to the second, everything belongs
/// to whoever runs it. An entry takes the place of a file or link that is there already; a directory is
/// never replaced, and what the archive does not name is left alone, the directory `into` itself
/// included. Nothing is written outside `into`, and no symbolic link is followed.
///
/// # Errors
/// See [`UnpackError`]. What was written until then stays.
pub fn unpack(from: impl Read, into: &Path, limits: &Limits) -> Result<Summary, UnpackError> {
    let beneath = Beneath::open(into).map_err(|e| UnpackError::Into(into.display().to_string(), e.into()))?;
    let decoder = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, from));
    let mut entries = Entries::new(BufReader::with_capacity(64 << 10, decoder), limits.path_bytes);
    let mut unpacking = Unpacking::new(beneath, *limits);
    while let Some(entry) = entries.next()? {
        unpacking.count(&entry)?;
        unpacking.make(entry, &mut entries)?;
    }
    unpacking.finish()
}

struct Unpacking {
    beneath: Beneath,
    limits: Limits,
    sum: Summary,
    /// The directories named so far with the modes and times they get at the end, when nothing more is
    /// made in them: writing into a directory changes its time, and its mode may forbid it.
    directories: BTreeMap<Name, (u32, i64)>,
    files: Files,
}

impl Unpacking {
    fn new(beneath: Beneath, limits: Limits) -> Self {
        let files = Files::default();
        Self { beneath, limits, sum: Summary::default(), directories: BTreeMap::new(), files }
    }

    fn count(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.sum.entries += 1;
        self.entries_within_limit()?;
        if let Kind::File(size) = entry.kind {
            let within = self.sum.bytes.checked_add(size).filter(|sum| *sum <= self.limits.bytes);
            self.sum.bytes = within.ok_or(UnpackError::TooLarge { max: self.limits.bytes })?;
        }
        Ok(())
    }

    fn entries_within_limit(&self) -> Result<(), UnpackError> {
        if self.sum.entries + self.beneath.implied > self.limits.entries {
            return Err(UnpackError::TooManyEntries { max: self.limits.entries });
        }
        Ok(())
    }

    fn make<R: Read>(&mut self, entry: Entry, entries: &mut Entries<R>) -> Result<(), UnpackError> {
        let Entry { name, kind, mode, mtime } = entry;
        let Some(name) = name else { return Ok(()) };
        match kind {
            Kind::Directory => {
                self.beneath.directory(&name).map_err(|e| cannot_write(&name, e))?;
                self.directories.insert(name, (mode, mtime));
            }
            Kind::File(size) => {
                let mut file = self.beneath.file(&name).map_err(|e| cannot_write(&name, e))?;
                entries.blocks.contents(size, |piece| write(&mut file, piece, &name))?;
                finish(&file, mode, mtime).map_err(|e| cannot_write(&name, e))?;
                self.files.add(&name);
            }
            Kind::Symlink(target) => self.symlink(&name, &target, mtime)?,
            Kind::HardLink(of) => self.hard_link(&name, &of)?,
        }
        self.entries_within_limit()
    }

    fn symlink(&mut self, name: &Name, target: &[u8], mtime: i64) -> Result<(), UnpackError> {
        if self.limits.links == LinkRule::Inside && !link_stays_inside(name, target) {
            return Err(UnpackError::LinkOutside { name: shown(name.bytes()), target: shown(target) });
        }
        self.files.remove(name);
        let made = self.beneath.symlink(name, OsStr::from_bytes(target), mtime);
        made.map_err(|e| cannot_write(name, e))
    }

    /// Only to a file of this archive: a link to a symbolic link would mean something else at its new
    /// place, and what was there before is not the archive's to share.
    fn hard_link(&mut self, name: &Name, of: &Name) -> Result<(), UnpackError> {
        if name == of || !self.files.contains(of) {
            let why = format!("it is a hard link to `{}`, no earlier file of it", shown(of.bytes()));
            return Err(refused(name, why));
        }
        self.beneath.hard_link(name, of).map_err(|e| cannot_write(name, e))?;
        self.files.add(name);
        Ok(())
    }

    /// Inner directories before outer ones, whose new modes may forbid going through them.
    fn finish(self) -> Result<Summary, UnpackError> {
        for (name, (mode, mtime)) in self.directories.iter().rev() {
            self.beneath.finish_directory(name, *mode, *mtime).map_err(|e| cannot_write(name, e))?;
        }
        Ok(self.sum)
    }
}

fn write(file: &mut File, piece: &[u8], name: &Name) -> Result<(), UnpackError> {
    file.write_all(piece).map_err(|source| UnpackError::Write { name: shown(name.bytes()), source })
}

pub(crate) fn refused(name: &Name, why: String) -> UnpackError {
    UnpackError::Refused { name: shown(name.bytes()), why }
}

/// What the kernel says when a name leads through a link, or when a directory is to be replaced, is the
/// archive's fault; the rest is the disk's.
fn cannot_write(name: &Name, errno: Errno) -> UnpackError {
    match errno {
        Errno::ELOOP | Errno::ENOTDIR | Errno::EXDEV => {
            refused(name, "what it stands in is a link or a file, not a directory".into())
        }
        Errno::EISDIR => refused(name, "a directory is in its place".into()),
        Errno::ENOSYS => {
            let why = io::Error::other("this kernel has no openat2(2); Linux 5.6 or later is needed");
            UnpackError::Write { name: shown(name.bytes()), source: why }
        }
        errno => UnpackError::Write { name: shown(name.bytes()), source: errno.into() },
    }
}

/// The names of the files made so far, as keyed hashes: eight bytes each, whatever the names.
#[derive(Default)]
struct Files {
    keys: RandomState,
    names: HashSet<u64>,
}

impl Files {
    fn add(&mut self, name: &Name) {
        self.names.insert(self.keys.hash_one(name));
    }

    fn remove(&mut self, name: &Name) {
        self.names.remove(&self.keys.hash_one(name));
    }

    fn contains(&self, name: &Name) -> bool {
        self.names.contains(&self.keys.hash_one(name))
    }
}
