//! Packing.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;
use tar::{EntryType, Header};

use crate::Summary;
use crate::block::BLOCK;
use crate::gzip::{Compression, Gzip, Taken};
use crate::name::{Name, shown};
use crate::walk::{Found, Walk};

/// 1980-01-01 00:00:00 UTC: the earliest time that zip can hold, so that what is packed again as zip
/// (Python wheels, Java archives) can be.
const FIXED_TIME: u64 = 315_532_800;

/// Files with several names that are remembered at once. Beyond it, further names become files of their own.
const MOST_LINKED: usize = 1 << 20;

/// Names that a warning about skipped things shows.
const NAMES_SHOWN: usize = 10;

/// What GNU tar calls the entries that hold long names.
const LONG_LINK: &[u8] = b"././@LongLink";

/// Why an archive was not packed. What was written until then is no whole archive, and no reader takes it
/// for one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A name that no archive may hold.
    #[error("`{name}` cannot be packed: {why}")]
    Name {
        /// The name, fit for printing.
        name: String,
        /// Why.
        why: String,
    },
    /// Something in the tree could not be read.
    #[error("cannot read `{name}` to pack it")]
    Read {
        /// Its path, fit for printing.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A file became longer or shorter while it was packed.
    #[error("`{name}` changed while it was packed")]
    Changed {
        /// Its path, fit for printing.
        name: String,
    },
    /// The archive could not be written to its destination.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// An earlier call failed.
    #[error("the archive is incomplete: an entry before could not be packed")]
    Incomplete,
}

/// The times that files get in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// 1980-01-01 00:00:00 UTC for everything, so that the same contents give the same bytes.
    Fixed,
    /// As they are, to the second.
    Kept,
}

/// How a tree is packed.
#[derive(Clone, Copy)]
pub struct TreeOptions<'a> {
    /// The times.
    pub times: Times,
    /// Tells for a path from the tree's top whether it is left out, with all that is in it.
    pub exclude: &'a dyn Fn(&Path) -> bool,
}

impl TreeOptions<'_> {
    /// Everything, with fixed or kept times.
    pub fn all(times: Times) -> Self {
        Self { times, exclude: &|_| false }
    }
}

/// What was not packed because no archive of ours holds it: sockets, fifos and devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them, from the tree's top: at most ten.
    pub names: Vec<PathBuf>,
}

/// Writes a tar.gz. Everything belongs to uid and gid 0 in it; whoever unpacks owns it then.
pub struct Writer<W: Write> {
    /// Gone after a failure: what follows would not be where a reader looks for it.
    out: Option<Gzip<W>>,
    sum: Summary,
}

/// What a header says beside the name.
pub(crate) struct Meta<'a> {
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    /// Its uid and its gid.
    pub(crate) owner: u32,
    pub(crate) mtime: u64,
    pub(crate) size: u64,
    pub(crate) target: &'a [u8],
}

impl<W: Write> Writer<W> {
    /// Begins an archive. Nothing is written before the first block is full.
    pub fn new(out: W, how: Compression) -> Self {
        Self { out: Some(Gzip::new(out, how)), sum: Summary::default() }
    }

    /// Adds a directory, with the fixed time.
    ///
    /// # Errors
    /// The name is not allowed, or the archive cannot be written.
    pub fn directory(&mut self, name: &Path, mode: u32) -> Result<(), PackError> {
        let name = EntryName::parse(name)?;
        let meta =
            Meta { kind: EntryType::Directory, mode, owner: 0, mtime: FIXED_TIME, size: 0, target: b"" };
        self.entry(|out| header(out, &name.of_directory(), &meta))
    }

    /// Adds a file with these contents, with the fixed time.
    ///
    /// # Errors
    /// The name is not allowed, or the archive cannot be written.
    pub fn file_bytes(&mut self, name: &Path, mode: u32, contents: &[u8]) -> Result<(), PackError> {
        let name = EntryName::parse(name)?;
        let size = contents.len() as u64;
        let meta = Meta { kind: EntryType::Regular, mode, owner: 0, mtime: FIXED_TIME, size, target: b"" };
        self.sum.bytes += size;
        self.entry(|out| {
            header(out, name.bytes(), &meta)?;
            out.write_all(contents).and_then(|()| pad(out, size)).map_err(PackError::Write)
        })
    }

    /// Adds all that is in a directory, in the order of the names' bytes, each named `prefix/PATH` (or
    /// `PATH` with an empty prefix). The directory itself gets no entry: [`Writer::directory`] writes it
    /// where one is wanted. Symbolic links are stored and not followed; files with several names in the
    /// tree are stored once.
    ///
    /// # Errors
    /// Something cannot be read, changed meanwhile, or the archive cannot be written.
    pub fn tree(
        &mut self,
        dir: &Path,
        prefix: &Path,
        options: &TreeOptions<'_>,
    ) -> Result<Skipped, PackError> {
        let mut walk = Walk::new(dir, options.exclude).map_err(|e| cannot_read(dir, e.into()))?;
        let mut linked = Linked::default();
        let mut skipped = Skipped::default();
        while let Some((path, found)) = walk.next() {
            let name = EntryName::parse(&prefix.join(&path))?;
            match found.map_err(|e| cannot_read(&path, e.into()))? {
                Found::Directory(stat) => {
                    let meta = meta_of(EntryType::Directory, &stat, options.times, b"");
                    self.entry(|out| header(out, &name.of_directory(), &meta))?;
                }
                Found::File(file, stat) => self.file(&name, file, &stat, options.times, &mut linked)?,
                Found::Symlink(target, stat) => self.symlink(&name, &target, &stat, options.times)?,
                Found::Other => skipped.note(path),
            }
        }
        Ok(skipped)
    }

    /// Ends the archive and gives its destination back.
    ///
    /// # Errors
    /// The archive cannot be written, or an entry before could not be.
    pub fn finish(mut self) -> Result<(W, Summary), PackError> {
        let mut out = self.out.take().ok_or(PackError::Incomplete)?;
        out.write_all(&[0; 2 * BLOCK]).map_err(PackError::Write)?;
        Ok((out.finish().map_err(PackError::Write)?, self.sum))
    }

    fn file(
        &mut self,
        name: &EntryName,
        mut file: File,
        stat: &FileStat,
        times: Times,
        linked: &mut Linked,
    ) -> Result<(), PackError> {
        if let Some(first) = linked.name_of(stat, name) {
            let meta = meta_of(EntryType::Link, stat, times, first.bytes());
            return self.entry(|out| header(out, name.bytes(), &meta));
        }
        let mut meta = meta_of(EntryType::Regular, stat, times, b"");
        meta.size = u64::try_from(stat.st_size).unwrap_or(0);
        self.sum.bytes += meta.size;
        self.entry(|out| {
            header(out, name.bytes(), &meta)?;
            copy(out, &mut file, meta.size, name)?;
            pad(out, meta.size).map_err(PackError::Write)
        })
    }

    fn symlink(
        &mut self,
        name: &EntryName,
        target: &OsStr,
        stat: &FileStat,
        times: Times,
    ) -> Result<(), PackError> {
        let mut meta = meta_of(EntryType::Symlink, stat, times, target.as_bytes());
        meta.mode = 0o777;
        self.entry(|out| header(out, name.bytes(), &meta))
    }

    /// Writes an entry whole, or leaves the archive without its end.
    fn entry(&mut self, write: impl FnOnce(&mut Gzip<W>) -> Result<(), PackError>) -> Result<(), PackError> {
        let mut out = self.out.take().ok_or(PackError::Incomplete)?;
        write(&mut out)?;
        self.out = Some(out);
        self.sum.entries += 1;
        Ok(())
    }
}

impl Skipped {
    fn note(&mut self, path: PathBuf) {
        self.count += 1;
        if self.names.len() < NAMES_SHOWN {
            self.names.push(path);
        }
    }
}

/// Files with several names, by device and inode, with the name that each was stored under and the names
/// that may still come.
#[derive(Default)]
struct Linked(HashMap<(u64, u64), (EntryName, u64)>);

impl Linked {
    /// The name under which this file was stored already.
    fn name_of(&mut self, stat: &FileStat, name: &EntryName) -> Option<EntryName> {
        if stat.st_nlink < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        match self.0.get_mut(&key) {
            Some((first, to_come)) => {
                *to_come = to_come.saturating_sub(1);
                Some(if *to_come == 0 { self.0.remove(&key)?.0 } else { first.clone() })
            }
            None => {
                if self.0.len() < MOST_LINKED {
                    self.0.insert(key, (name.clone(), stat.st_nlink - 1));
                }
                None
            }
        }
    }
}

/// A name as it is written: checked, and with the `./` that it was given with, which Heroku's slugs have.
#[derive(Clone)]
struct EntryName(Vec<u8>);

impl EntryName {
    fn parse(name: &Path) -> Result<Self, PackError> {
        let raw = name.as_os_str().as_bytes();
        let refused = |why: String| PackError::Name { name: shown(raw), why };
        let here: &[u8] = if raw.starts_with(b"./") { b"./" } else { b"" };
        match Name::parse(raw, usize::MAX) {
            Ok(Some(name)) => Ok(Self([here, name.bytes()].concat())),
            Ok(None) => Err(refused("it names the top directory".into())),
            Err(why) => Err(refused(why.to_string())),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn of_directory(&self) -> Vec<u8> {
        [self.bytes(), b"/"].concat()
    }
}

fn cannot_read(path: &Path, source: io::Error) -> PackError {
    PackError::Read { name: shown(path.as_os_str().as_bytes()), source }
}

fn meta_of<'a>(kind: EntryType, stat: &FileStat, times: Times, target: &'a [u8]) -> Meta<'a> {
    let mtime = match times {
        Times::Fixed => FIXED_TIME,
        Times::Kept => u64::try_from(stat.st_mtime).unwrap_or(0),
    };
    Meta { kind, mode: stat.st_mode, owner: 0, mtime, size: 0, target }
}

/// Writes a header, after those of GNU's long names where the name or the target has no room in it.
fn header(out: &mut impl Write, name: &[u8], meta: &Meta<'_>) -> Result<(), PackError> {
    put_header(out, name, meta).map_err(PackError::Write)
}

/// See [`header`].
pub(crate) fn put_header(out: &mut impl Write, name: &[u8], meta: &Meta<'_>) -> io::Result<()> {
    let mut header = blank(meta.kind, meta.mode & 0o777, meta.mtime, meta.size);
    header.set_uid(meta.owner.into());
    header.set_gid(meta.owner.into());
    put_name(out, &mut header.as_old_mut().name, EntryType::GNULongName, name)?;
    put_name(out, &mut header.as_old_mut().linkname, EntryType::GNULongLink, meta.target)?;
    write_header(out, header)
}

/// A header without names.
fn blank(kind: EntryType, mode: u32, mtime: u64, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(size);
    header
}

fn write_header(out: &mut impl Write, mut header: Header) -> io::Result<()> {
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Puts a name, or as much of it as there is room for, into a header's field. A name that does not fit
/// goes out whole before, as the contents of an entry of its own, ended by a NUL (`tar(5)`, GNU format).
fn put_name(out: &mut impl Write, field: &mut [u8], long: EntryType, name: &[u8]) -> io::Result<()> {
    let fits = name.len().min(field.len());
    field[..fits].copy_from_slice(&name[..fits]);
    if fits == name.len() {
        return Ok(());
    }
    let size = name.len() as u64 + 1;
    let mut header = blank(long, 0o644, 0, size);
    header.as_old_mut().name[..LONG_LINK.len()].copy_from_slice(LONG_LINK);
    write_header(out, header)?;
    out.write_all(name)?;
    out.write_all(&[0])?;
    pad(out, size)
}

/// Fills the last block of an entry's contents.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][over..]) }
}

/// Copies exactly `size` bytes, which must be all of the file.
fn copy<W: Write>(out: &mut Gzip<W>, file: &mut File, size: u64, name: &EntryName) -> Result<(), PackError> {
    let changed = || PackError::Changed { name: shown(name.bytes()) };
    let mut left = size;
    while left > 0 {
        match out.read_from(file, left).map_err(PackError::Write)? {
            Taken::Bytes(0) => return Err(changed()),
            Taken::Bytes(count) => left -= count as u64,
            Taken::Failed(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Taken::Failed(e) => return Err(cannot_read(Path::new(OsStr::from_bytes(name.bytes())), e)),
        }
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(changed()),
        Err(e) => Err(cannot_read(Path::new(OsStr::from_bytes(name.bytes())), e)),
    }
}
