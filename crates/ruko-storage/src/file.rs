//! Objects as files.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ruko_core::hex;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::counted::read_within;
use crate::{PutError, StorageError, StorageUrl, Stored};

/// What objects on their way are called, beside their target: objects themselves never begin so.
const TEMPORARY: &str = ".put-";

/// A file that nobody has written to for so long was left by a writer that was killed.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A failed storage operation, from its cause.
fn failed(verb: &'static str, url: &StorageUrl) -> impl Fn(io::Error) -> StorageError {
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::Full { url: url.clone() },
        ErrorKind::IsADirectory => StorageError::NoObject { url: url.clone() },
        _ => StorageError::Io { verb, url: url.clone(), source },
    }
}

pub(crate) fn get(url: &StorageUrl, path: &Path) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
    let failed = failed("get", url);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    if !file.metadata().map_err(&failed)?.is_file() {
        return Err(StorageError::NoObject { url: url.clone() });
    }
    Ok(Some(Box::new(Object { file, url: url.clone() })))
}

/// An object being read. Its errors name it.
struct Object {
    file: File,
    url: StorageUrl,
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file
            .read(buffer)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot get `{}`: {e}", self.url)))
    }
}

pub(crate) fn put(
    url: &StorageUrl,
    path: &Path,
    from: &mut dyn Read,
    max_bytes: u64,
) -> Result<Stored, PutError> {
    let failed = failed("put", url);
    let dir = path.parent().unwrap_or(Path::new("/"));
    make_directories(dir).map_err(&failed)?;
    sweep(dir);
    let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir).map_err(&failed)?;
    let stored = copy(from, temporary.as_file(), max_bytes, &failed)?;
    keep(temporary, path, dir).map_err(&failed)?;
    Ok(stored)
}

/// Makes a directory and those above it, and sees that their names are on disk.
fn make_directories(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.is_dir()).collect();
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => dir.parent().map_or(Ok(()), sync)?,
        }
    }
    Ok(())
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes what killed writers left. Failing at that is no reason not to store.
fn sweep(dir: &Path) {
    let now = SystemTime::now();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            continue;
        }
        let written = entry.metadata().and_then(|meta| meta.modified());
        let age = written.ok().and_then(|written| now.duration_since(written).ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// So many objects are listed at most.
const LISTED: usize = 1_000_000;

pub(crate) fn list(url: &StorageUrl, root: &Path, older_than: Duration) -> Result<Vec<String>, StorageError> {
    let now = SystemTime::now();
    let is_old = |entry: &fs::DirEntry| {
        let written = entry.metadata().and_then(|meta| meta.modified());
        written.ok().and_then(|written| now.duration_since(written).ok()).is_some_and(|age| age > older_than)
    };
    let (mut dirs, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        let entries = match fs::read_dir(&dir) {
            // It went meanwhile, or nothing was ever stored.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(failed("list", url))?,
        };
        sweep(&dir);
        for entry in entries.flatten() {
            if found.len() >= LISTED {
                return Ok(found);
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() && is_old(&entry) {
                let path = entry.path();
                found.extend(path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned));
            }
        }
    }
    Ok(found)
}

/// Copies, counts and hashes in one pass.
fn copy(
    from: &mut dyn Read,
    mut to: &File,
    max_bytes: u64,
    failed: &impl Fn(io::Error) -> StorageError,
) -> Result<Stored, PutError> {
    let mut hash = Sha256::new();
    let bytes = read_within(max_bytes, from, |piece| {
        hash.update(piece);
        to.write_all(piece).map_err(failed)
    })?;
    Ok(Stored { bytes, sha256: hex(&hash.finalize()) })
}

/// Puts the object in its place: on disk first, then under its name, then the name on disk.
fn keep(temporary: NamedTempFile, path: &Path, dir: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    sync(dir)
}

pub(crate) fn delete(url: &StorageUrl, path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("delete", url)(e)),
        _ => Ok(()),
    }
}
