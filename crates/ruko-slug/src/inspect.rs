//! What a packed slug holds, for admins.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruko_core::message::bytes;
use ruko_core::{Fault, Hint, ProcessType, hex};
use ruko_sys::AtPath;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::procfile;

/// Entries that are listed at most.
const MAX_ENTRIES: usize = 1 << 20;

/// Directories that are shown at most.
const MAX_DIRECTORIES: usize = 10;

/// The largest Procfile that is looked at, in bytes.
const MAX_PROCFILE: u64 = 64 << 10;

/// What a slug holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slug {
    /// Its size.
    pub packed_bytes: u64,
    /// Its SHA-256 digest, in hexadecimal: as the release records it.
    pub sha256: String,
    /// The sizes of its files together.
    pub unpacked_bytes: u64,
    /// What its Procfile declares. Types that a buildpack added are recorded with the release only.
    pub process_types: BTreeMap<ProcessType, String>,
    /// The directories with the most in them, largest first.
    pub largest: Vec<Directory>,
    /// All entries in order.
    pub entries: Vec<Entry>,
}

/// A directory of a slug with all that lies below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// Its path; lossy where it is not UTF-8.
    pub path: String,
    /// The files below it together.
    pub bytes: u64,
    /// How many entries are below it.
    pub entries: u64,
}

/// One entry of a slug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The path as it is in the slug; lossy where it is not UTF-8.
    pub path: String,
    /// `file`, `directory`, `symlink`, `hardlink` or `other`.
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Bytes of a file.
    pub bytes: u64,
    /// Where a link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Reads a slug.
///
/// # Errors
/// It is not there, is no whole tar.gz, or has more entries than are listed.
pub fn read(path: &Path) -> Result<Slug, Fault> {
    let file = File::open(path).at("read", path)?;
    let packed_bytes = file.metadata().at("read", path)?.len();
    let what = format!("cannot read the slug `{}`", path.display());
    let mut hashed = Hashed { from: file, digest: Sha256::new() };
    let (entries, procfile) = entries(BufReader::new(&mut hashed)).fault(&what)?;
    // What may follow the last entry belongs to the object all the same.
    io::copy(&mut hashed, &mut io::sink()).fault(&what)?;
    let process_types = procfile.map(|text| procfile::parse(&text)).transpose().fault(&what)?;
    let unpacked_bytes = entries.iter().map(|entry| entry.bytes).sum();
    let process_types = process_types.map(|procfile| procfile.types).unwrap_or_default();
    let (sha256, largest) = (hex(&hashed.digest.finalize()), largest(&entries));
    Ok(Slug { packed_bytes, sha256, unpacked_bytes, process_types, largest, entries })
}

/// Whatever is read of it goes into its digest.
struct Hashed<R> {
    from: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// The directories below the app's own that hold the most.
fn largest(entries: &[Entry]) -> Vec<Directory> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for entry in entries {
        let path = entry.path.trim_start_matches("./").trim_end_matches('/');
        for (end, _) in path.match_indices('/').skip(1) {
            let sum = sums.entry(&path[..end]).or_default();
            *sum = (sum.0 + entry.bytes, sum.1 + 1);
        }
    }
    let mut all: Vec<_> = sums.into_iter().collect();
    all.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    let directory =
        |(path, (bytes, entries)): (&str, (u64, u64))| Directory { path: path.to_owned(), bytes, entries };
    all.into_iter().take(MAX_DIRECTORIES).map(directory).collect()
}

fn entries(from: impl io::BufRead) -> io::Result<(Vec<Entry>, Option<Vec<u8>>)> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(from));
    let (mut entries, mut procfile) = (vec![], None);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entries.len() == MAX_ENTRIES {
            return Err(io::Error::other(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let shown = describe(&entry)?;
        if shown.path.trim_start_matches("./") == "app/Procfile" && shown.kind == "file" {
            let mut text = vec![];
            (&mut entry).take(MAX_PROCFILE).read_to_end(&mut text)?;
            procfile = Some(text);
        }
        entries.push(shown);
    }
    Ok((entries, procfile))
}

fn describe<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<Entry> {
    use tar::EntryType as T;
    let kind = match entry.header().entry_type() {
        T::Regular | T::Continuous => "file",
        T::Directory => "directory",
        T::Symlink => "symlink",
        T::Link => "hardlink",
        _ => "other",
    };
    Ok(Entry {
        path: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
        kind,
        mode: entry.header().mode()? & 0o7777,
        bytes: if kind == "file" { entry.size() } else { 0 },
        target: entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()),
    })
}

/// Writes it for people. Names are escaped: they are somebody else's.
///
/// # Errors
/// `out` cannot be written.
pub fn print(slug: &Slug, out: &mut dyn Write) -> io::Result<()> {
    let (packed, unpacked) = (bytes(slug.packed_bytes), bytes(slug.unpacked_bytes));
    writeln!(out, "Size: {packed} packed, {unpacked} unpacked, {} entries", slug.entries.len())?;
    writeln!(out, "SHA-256: {}", slug.sha256)?;
    for (name, command) in &slug.process_types {
        writeln!(out, "Type: {name}: {}", escaped(command))?;
    }
    for Directory { path, bytes: size, entries } in &slug.largest {
        writeln!(out, "Directory: {} in {entries} entries: {}", bytes(*size), escaped(path))?;
    }
    for entry in &slug.entries {
        let target = entry.target.as_deref().map(|target| format!(" -> {}", escaped(target)));
        let (path, target) = (escaped(&entry.path), target.unwrap_or_default());
        writeln!(out, "{:9} {:04o} {:>12} {path}{target}", entry.kind, entry.mode, entry.bytes)?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: u64) -> Entry {
        Entry { path: path.to_owned(), kind: "file", mode: 0o644, bytes, target: None }
    }

    #[test]
    fn the_largest_directories_come_first() {
        let entries =
            [file("./app/a", 9), file("./app/lib/x", 2), file("./app/lib/deep/y", 5), file("./app/z/q", 3)];
        let found = largest(&entries);
        let shown: Vec<_> = found.iter().map(|one| (one.path.as_str(), one.bytes, one.entries)).collect();
        assert_eq!(shown, [("app/lib", 7, 2), ("app/lib/deep", 5, 1), ("app/z", 3, 1)]);
    }
}
