//! The build cache: what a build keeps for the next one.
//!
//! The hook decides whether it is kept, since the hook can still tell the developer; what is not kept is put
//! aside. What stays is packed by a second session, after the client was answered.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ruko_archive::{Compression, Times, TreeOptions, Writer};
use ruko_core::{Fault, Hint};
use ruko_sys::{AtPath, PathError};

/// The sizes of the files below `dir` together, in bytes; a file with several names counts once.
///
/// # Errors
/// Something in it cannot be read.
pub fn measure(dir: &Path) -> Result<u64, PathError> {
    let (mut bytes, mut linked) = (0, BTreeSet::new());
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).at("read", &dir)? {
            let entry = entry.at("read", &dir)?;
            let meta = entry.metadata().at("read", &entry.path())?;
            if meta.is_dir() {
                dirs.push(entry.path());
            } else if meta.nlink() == 1 || linked.insert((meta.dev(), meta.ino())) {
                bytes += meta.len();
            }
        }
    }
    Ok(bytes)
}

/// Puts a cache aside that is not kept. Removing it would keep the client waiting; it goes with the container.
///
/// # Errors
/// It cannot be renamed.
pub fn put_aside(dir: &Path) -> Result<(), PathError> {
    fs::rename(dir, dir.with_extension("not-kept")).at("put aside", dir)
}

/// Packs the cache to `out`, with times, which package managers look at. A cache that is empty or was put
/// aside is no bytes at all.
///
/// # Errors
/// It cannot be read, or `out` cannot be written. What was written is then no whole archive.
pub fn write(dir: &Path, out: impl Write) -> Result<(), Fault> {
    if !dir.is_dir() || fs::read_dir(dir).at("read", dir)?.next().is_none() {
        return Ok(());
    }
    let mut writer = Writer::new(out, Compression::Fast);
    writer.tree(dir, Path::new(""), &TreeOptions::all(Times::Kept)).fault("cannot pack the build cache")?;
    let (mut out, _) = writer.finish().fault("cannot pack the build cache")?;
    out.flush().fault("cannot write the build cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_a_link_is_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("cache");
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/one"), [0; 1000]).unwrap();
        fs::hard_link(dir.join("a/b/one"), dir.join("two")).unwrap();
        fs::write(dir.join("three"), [0; 100]).unwrap();
        std::os::unix::fs::symlink("a/b/one", dir.join("s")).unwrap();
        std::os::unix::fs::symlink("..", dir.join("up")).unwrap();
        assert_eq!(measure(&dir).unwrap(), 1100 + 7 + 2);
        put_aside(&dir).unwrap();
        assert!(!dir.exists());
    }
}
