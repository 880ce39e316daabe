//! What a packed slug holds, for admins.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruko_core::message::bytes;
use ruko_core::{Fault, Hint, ProcessType};
use ruko_sys::AtPath;
use serde::Serialize;

use crate::procfile;

/// Entries that are listed at most.
const MAX_ENTRIES: usize = 1 << 20;

/// The largest Procfile that is looked at, in bytes.
const MAX_PROCFILE: u64 = 64 << 10;

/// What a slug holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slug {
    /// Its size.
    pub packed_bytes: u64,
    /// The sizes of its files together.
    pub unpacked_bytes: u64,
    /// What its Procfile declares. Types that a buildpack added are recorded with the release only.
    pub process_types: BTreeMap<ProcessType, String>,
    /// All entries in order.
    pub entries: Vec<Entry>,
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
    let (entries, procfile) = entries(BufReader::new(file)).fault(&what)?;
    let process_types = procfile.map(|text| procfile::parse(&text)).transpose().fault(&what)?;
    let unpacked_bytes = entries.iter().map(|entry| entry.bytes).sum();
    let process_types = process_types.map(|procfile| procfile.types).unwrap_or_default();
    Ok(Slug { packed_bytes, unpacked_bytes, process_types, entries })
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
    for (name, command) in &slug.process_types {
        writeln!(out, "Type: {name}: {}", escaped(command))?;
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
