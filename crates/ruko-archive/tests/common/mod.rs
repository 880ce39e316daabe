//! What the tests of this crate share: a directory with something precious beside it, archives written
//! header by header, and a description of a tree.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use ruko_archive::{Limits, LinkRule, Summary, UnpackError, unpack};
use tempfile::TempDir;

pub(crate) const LIMITS: Limits =
    Limits { bytes: 1 << 20, entries: 1000, path_bytes: Limits::PATH_BYTES, links: LinkRule::Any };

/// A directory to unpack into, beside a file and a directory that nothing may touch.
pub(crate) struct Room {
    outside: TempDir,
    before: BTreeMap<PathBuf, Node>,
}

impl Room {
    pub(crate) fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("into")).unwrap();
        fs::create_dir_all(outside.path().join("precious/x")).unwrap();
        fs::write(outside.path().join("precious/canary"), "alive").unwrap();
        let before = snapshot(outside.path());
        Self { outside, before }
    }

    pub(crate) fn outside(&self) -> &Path {
        self.outside.path()
    }

    pub(crate) fn inside(&self) -> PathBuf {
        self.outside.path().join("into")
    }

    pub(crate) fn unpack(&self, archive: &[u8]) -> Result<Summary, UnpackError> {
        self.unpack_within(archive, &LIMITS)
    }

    /// Unpacks, and sees that nothing outside was touched whatever the outcome.
    pub(crate) fn unpack_within(&self, archive: &[u8], limits: &Limits) -> Result<Summary, UnpackError> {
        let outcome = unpack(archive, &self.inside(), limits);
        self.assert_nothing_outside_was_touched();
        outcome
    }

    pub(crate) fn assert_nothing_outside_was_touched(&self) {
        let outside = |(path, node): (PathBuf, Node)| (!path.starts_with("into")).then_some((path, node));
        let before: Vec<_> = self.before.clone().into_iter().filter_map(outside).collect();
        let after: Vec<_> = snapshot(self.outside()).into_iter().filter_map(outside).collect();
        assert_eq!(before, after, "something outside was touched");
    }
}

/// One thing in a tree, as far as an archive keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory { mode: u32, mtime: i64 },
    File { mode: u32, mtime: i64, contents: Vec<u8>, names: u64 },
    Symlink { target: PathBuf, mtime: i64 },
    Other,
}

/// A tree by the paths from its top.
pub(crate) fn snapshot(top: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let (mode, mtime) = (meta.mode() & 0o7777, meta.mtime());
            let node = if meta.is_dir() {
                todo.push(path.clone());
                Node::Directory { mode, mtime }
            } else if meta.is_symlink() {
                Node::Symlink { target: fs::read_link(&path).unwrap(), mtime }
            } else if meta.is_file() {
                Node::File { mode, mtime, contents: fs::read(&path).unwrap(), names: meta.nlink() }
            } else {
                Node::Other
            };
            nodes.insert(path.strip_prefix(top).unwrap().to_owned(), node);
        }
    }
    nodes
}

/// A tar stream written by hand, so that it can hold what no honest writer writes.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A header with these fields and a right checksum.
    pub(crate) fn header(mut self, kind: u8, name: &[u8], link: &[u8], size: u64, mode: u32) -> Self {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        old.linkflag = [kind];
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub(crate) fn contents(mut self, contents: &[u8]) -> Self {
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, kind: u8, name: &[u8], contents: &[u8]) -> Self {
        self.header(kind, name, b"", contents.len() as u64, 0o644).contents(contents)
    }

    pub(crate) fn file(self, name: &str, contents: &str) -> Self {
        self.entry(b'0', name.as_bytes(), contents.as_bytes())
    }

    pub(crate) fn directory(self, name: &str, mode: u32) -> Self {
        self.header(b'5', name.as_bytes(), b"", 0, mode)
    }

    pub(crate) fn symlink(self, name: &str, target: impl AsRef<Path>) -> Self {
        self.header(b'2', name.as_bytes(), target.as_ref().as_os_str().as_bytes(), 0, 0o777)
    }

    pub(crate) fn hard_link(self, name: &str, target: impl AsRef<Path>) -> Self {
        self.header(b'1', name.as_bytes(), target.as_ref().as_os_str().as_bytes(), 0, 0o644)
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.entry(b'x', b"pax", &pax_records(records))
    }

    /// The stream with its end mark.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    pub(crate) fn gz(self) -> Vec<u8> {
        gz(&self.end())
    }
}

pub(crate) fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..4).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
