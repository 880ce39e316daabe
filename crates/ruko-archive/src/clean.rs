//! From an archive that somebody else wrote to a plain tar stream that any reader understands one way.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use crate::Summary;
use crate::block::BLOCK;
use crate::entry::{Entries, Entry, Kind};
use crate::name::{Name, link_stays_inside, shown};
use crate::pack::{Meta, pad, put_header};
use crate::unpack::{Limits, LinkRule, UnpackError, refused};

/// How an archive is written again.
#[derive(Clone, Copy, Debug)]
pub struct Cleaning<'a> {
    /// The directory of the archive that is wanted: `app`. It is taken off the names, and nothing may stand beside
    /// it.
    pub below: &'a str,
    /// The uid and gid of everything.
    pub owner: u32,
    /// What the archive may hold at most.
    pub limits: Limits,
}

/// The mode of directories that an archive needs but does not name.
const IMPLIED_DIRECTORY: u32 = 0o755;

/// Reads a tar.gz and writes what is below one directory of it as a tar stream, judged as
/// [`unpack`](crate::unpack) judges it and written anew: directories, files, symbolic links and hard links to files
/// of the same archive; modes without more than permissions; every directory before what is in it, and every name
/// once.
///
/// # Errors
/// See [`UnpackError`]. What was written until then has no end mark: no reader takes it for whole.
pub fn clean(from: impl Read, to: impl Write, how: &Cleaning<'_>) -> Result<Summary, UnpackError> {
    let decoder = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, from));
    let mut entries = Entries::new(BufReader::with_capacity(64 << 10, decoder), how.limits.path_bytes);
    let mut cleaner = Cleaner { to, how: *how, sum: Summary::default(), seen: Seen::default() };
    while let Some(entry) = entries.next()? {
        cleaner.entry(entry, &mut entries)?;
    }
    cleaner.finish()
}

struct Cleaner<'a, W: Write> {
    to: W,
    how: Cleaning<'a>,
    sum: Summary,
    seen: Seen,
}

impl<W: Write> Cleaner<'_, W> {
    fn entry<R: Read>(&mut self, entry: Entry, entries: &mut Entries<R>) -> Result<(), UnpackError> {
        self.count(&entry.kind)?;
        // Above the directory that is wanted, and the directory itself.
        let Some(name) = entry.name.as_ref() else { return Ok(()) };
        let Some(inner) = self.inner(name)? else {
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(refused(name, "it is in the place of a directory".into())),
            };
        };
        self.parents(&inner)?;
        self.place(&inner, &entry.kind)?;
        let Entry { kind, mode, mtime, .. } = entry;
        let mtime = u64::try_from(mtime).unwrap_or(0).min(u32::MAX.into());
        let mut meta =
            Meta { kind: EntryType::Regular, mode, owner: self.how.owner, mtime, size: 0, target: b"" };
        match &kind {
            Kind::Directory => self.directory(&inner, &Meta { kind: EntryType::Directory, ..meta }),
            Kind::File(size) => {
                meta.size = *size;
                self.header(inner.bytes(), &meta)?;
                entries
                    .blocks
                    .contents(*size, |piece| self.to.write_all(piece).map_err(UnpackError::PassOn))?;
                pad(&mut self.to, *size).map_err(UnpackError::PassOn)
            }
            Kind::Symlink(target) => {
                if self.how.limits.links == LinkRule::Inside && !link_stays_inside(&inner, target) {
                    let (name, target) = (shown(name.bytes()), shown(target));
                    return Err(UnpackError::LinkOutside { name, target });
                }
                self.header(inner.bytes(), &Meta { kind: EntryType::Symlink, mode: 0o777, target, ..meta })
            }
            Kind::HardLink(of) => {
                let target = self.inner(of)?.filter(|of| self.seen.get(of) == Some(Is::File));
                let why = || format!("it is a hard link to `{}`, no earlier file of it", shown(of.bytes()));
                let target = target.ok_or_else(|| refused(name, why()))?;
                self.seen.add(inner.path().as_os_str(), Is::File);
                let meta = Meta { kind: EntryType::Link, target: target.bytes(), ..meta };
                self.header(inner.bytes(), &meta)
            }
        }
    }

    fn count(&mut self, kind: &Kind) -> Result<(), UnpackError> {
        let Limits { bytes, entries, .. } = self.how.limits;
        self.sum.entries += 1;
        if self.sum.entries > entries {
            return Err(UnpackError::TooManyEntries { max: entries });
        }
        if let Kind::File(size) = kind {
            let within = self.sum.bytes.checked_add(*size).filter(|sum| *sum <= bytes);
            self.sum.bytes = within.ok_or(UnpackError::TooLarge { max: bytes })?;
        }
        Ok(())
    }

    /// The name from the directory that is wanted on; none for that directory.
    fn inner(&self, name: &Name) -> Result<Option<Name>, UnpackError> {
        let below = self.how.below;
        let rest = name.path().strip_prefix(below);
        let rest = rest.map_err(|_| refused(name, format!("it is not below `./{below}/`")))?;
        if rest.as_os_str().is_empty() {
            return Ok(None);
        }
        let inner = Name::parse(rest.as_os_str().as_bytes(), usize::MAX);
        inner.map_err(|why| refused(name, why.to_string()))
    }

    /// Sees to it that everything above is a directory, written before.
    fn parents(&mut self, name: &Name) -> Result<(), UnpackError> {
        let mut above: Vec<&Path> = name.path().ancestors().skip(1).collect();
        // The last is the top directory.
        above.pop();
        for path in above.into_iter().rev() {
            match self.seen.get_path(path) {
                Some(Is::Directory) => {}
                Some(_) => {
                    let why = "what it stands in is a link or a file, not a directory";
                    return Err(refused(name, why.into()));
                }
                None => {
                    self.count(&Kind::Directory)?;
                    self.seen.add(path.as_os_str(), Is::Directory);
                    let bytes = [path.as_os_str().as_bytes(), b"/"].concat();
                    let meta = Meta {
                        kind: EntryType::Directory,
                        mode: IMPLIED_DIRECTORY,
                        owner: self.how.owner,
                        mtime: 0,
                        size: 0,
                        target: b"",
                    };
                    self.header(&bytes, &meta)?;
                }
            }
        }
        Ok(())
    }

    /// Notes what the name is. Only a directory may be there already.
    fn place(&mut self, name: &Name, kind: &Kind) -> Result<(), UnpackError> {
        match (self.seen.get(name), kind) {
            (Some(Is::Directory), Kind::Directory) => {}
            (Some(_), _) => return Err(refused(name, "the archive has it twice".into())),
            // Noted when they are written: no link is to itself.
            (None, Kind::Directory | Kind::HardLink(_)) => {}
            (None, Kind::File(_)) => self.seen.add(name.path().as_os_str(), Is::File),
            (None, Kind::Symlink(_)) => self.seen.add(name.path().as_os_str(), Is::Link),
        }
        Ok(())
    }

    fn directory(&mut self, name: &Name, meta: &Meta<'_>) -> Result<(), UnpackError> {
        if self.seen.get(name).is_some() {
            return Ok(());
        }
        self.seen.add(name.path().as_os_str(), Is::Directory);
        self.header(&[name.bytes(), b"/"].concat(), meta)
    }

    fn header(&mut self, name: &[u8], meta: &Meta<'_>) -> Result<(), UnpackError> {
        put_header(&mut self.to, name, meta).map_err(UnpackError::PassOn)
    }

    fn finish(mut self) -> Result<Summary, UnpackError> {
        let end = |to: &mut W| -> io::Result<()> {
            to.write_all(&[0; 2 * BLOCK])?;
            to.flush()
        };
        end(&mut self.to).map_err(UnpackError::PassOn)?;
        Ok(self.sum)
    }
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Directory,
    File,
    Link,
}

/// The names written so far, as keyed hashes: a few bytes each, whatever the names.
#[derive(Default)]
struct Seen {
    keys: RandomState,
    names: HashMap<u64, Is>,
}

impl Seen {
    fn add(&mut self, name: &OsStr, is: Is) {
        self.names.insert(self.keys.hash_one(name.as_bytes()), is);
    }

    fn get(&self, name: &Name) -> Option<Is> {
        self.get_path(name.path())
    }

    fn get_path(&self, path: &Path) -> Option<Is> {
        self.names.get(&self.keys.hash_one(path.as_os_str().as_bytes())).copied()
    }
}
