//! A tar stream as somebody else wrote it, packed with gzip: unpacked beneath a directory, and written anew.
#![no_main]

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::{Component, Path};

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use ruko_archive::{Cleaning, Limits, LinkRule, clean, unpack};

const LIMITS: Limits = Limits { bytes: 1 << 16, entries: 64, path_bytes: 255, links: LinkRule::Inside };

fuzz_target!(|bytes: &[u8]| {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes).unwrap();
    let archive = gzip.finish().unwrap();
    written_anew(&archive);
    unpacked(&archive);
});

/// What was written is a whole archive that another reader understands, and nothing in it leads outside.
fn written_anew(archive: &[u8]) {
    let mut out = Vec::new();
    let how = Cleaning { below: "app", owner: 1000, limits: LIMITS };
    if clean(archive, &mut out, &how).is_err() {
        return;
    }
    for entry in tar::Archive::new(Cursor::new(out)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert_eq!(entry.header().uid().unwrap(), 1000);
        assert_eq!(entry.header().mode().unwrap() & !0o777, 0);
        io::copy(&mut entry.by_ref().take(LIMITS.bytes + 1), &mut io::sink()).unwrap();
    }
}

/// Nothing stands beside the directory afterwards, and its files are within the limit.
fn unpacked(archive: &[u8]) {
    let around = tempfile::tempdir_in("/dev/shm").unwrap();
    let into = around.path().join("a/b");
    fs::create_dir_all(&into).unwrap();
    let _ = unpack(archive, &into, &LIMITS);
    assert_eq!(names(around.path()), ["a"]);
    assert_eq!(names(&around.path().join("a")), ["b"]);
    assert!(bytes_below(&into) <= LIMITS.bytes);
    // Directories may have been left without the permission to be removed; root does not ask, others do.
    writable(&into);
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect()
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) if meta.is_file() => meta.len(),
        _ => 0,
    });
    sizes.sum()
}

fn writable(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            writable(&entry.path());
        }
    }
}
