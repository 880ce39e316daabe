//! Objects are stored whole or not at all.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ruko_storage::{PutError, StorageError, StorageUrl, Stored, delete, get, list, put};
use tempfile::TempDir;

fn url(dir: &TempDir, name: &str) -> StorageUrl {
    StorageUrl::File(dir.path().join(name))
}

fn put_bytes(url: &StorageUrl, mut bytes: &[u8], max: u64) -> Result<Stored, PutError> {
    put(url, &mut bytes, max)
}

fn contents(url: &StorageUrl) -> Option<Vec<u8>> {
    get(url).unwrap().map(|mut object| {
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_put_is_got_counted_and_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let object = url(&dir, "slugs/app/1.tar.gz");
    assert!(contents(&object).is_none());
    // FIPS 180-2, appendix B.1.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    assert_eq!(put_bytes(&object, b"abc", 3).unwrap(), Stored { bytes: 3, sha256 });
    assert_eq!(contents(&object).unwrap(), b"abc");

    let large: Vec<u8> = (0..1_000_003u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(put_bytes(&object, &large, u64::MAX).unwrap().bytes, 4_000_012);
    assert!(contents(&object).unwrap() == large);
    assert_eq!(put_bytes(&object, b"", 0).unwrap().bytes, 0);
    assert_eq!(contents(&object).unwrap(), b"");
    assert_eq!(names_in(&dir.path().join("slugs/app")), ["1.tar.gz"]);
}

#[test]
fn only_the_owner_can_read_objects_and_new_directories() {
    let dir = tempfile::tempdir().unwrap();
    put_bytes(&url(&dir, "a/b/object"), b"x", 1).unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!([mode("a"), mode("a/b"), mode("a/b/object")], [0o700, 0o700, 0o600]);
}

#[test]
fn too_large_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let object = url(&dir, "object");
    assert!(matches!(put_bytes(&object, b"1234", 3), Err(PutError::TooLarge { max: 3 })));
    assert!(names_in(dir.path()).is_empty());
    put_bytes(&object, b"old", 3).unwrap();
    let endless = put(&object, &mut io::repeat(0), 1 << 20).unwrap_err();
    assert!(endless.to_string().contains("1048576"), "{endless}");
    assert_eq!(contents(&object).unwrap(), b"old");
    assert_eq!(names_in(dir.path()), ["object"]);
}

#[test]
fn a_source_that_fails_is_told_from_storage_that_fails() {
    struct Cut;
    impl Read for Cut {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("line cut"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let object = url(&dir, "object");
    put_bytes(&object, b"old", 3).unwrap();
    let why = put(&object, &mut (&b"half"[..]).chain(Cut), 100).unwrap_err();
    assert!(matches!(why, PutError::Source(_)), "{why:?}");
    assert_eq!(contents(&object).unwrap(), b"old");
    assert_eq!(names_in(dir.path()), ["object"]);

    let why = put_bytes(&url(&dir, "object/below"), b"x", 1).unwrap_err();
    assert!(matches!(why, PutError::Storage(_)), "{why:?}");
    assert!(why.to_string().contains("object/below"), "{why}");
}

/// A file system of 64 KiB: mounted where the kernel lets us, in a mount namespace of this thread's own.
#[test]
fn a_full_disk_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_owned();
    let outcome = std::thread::spawn(move || {
        ruko_sys::process::own_mounts().ok()?;
        let options = Some("size=64k");
        nix::mount::mount(Some("tmpfs"), &place, Some("tmpfs"), nix::mount::MsFlags::empty(), options)
            .ok()?;
        let object = StorageUrl::File(place.join("object"));
        let outcome = put(&object, &mut io::repeat(0).take(1 << 20), u64::MAX);
        Some((outcome.map(|_| ()), names_in(&place)))
    });
    let Some((outcome, left)) = outcome.join().unwrap() else {
        // Mounting needs root; without it, the kernel's answer is all that can be looked at.
        let full = io::Error::from(nix::errno::Errno::ENOSPC);
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        return;
    };
    let why = outcome.unwrap_err();
    assert!(matches!(why, PutError::Storage(StorageError::Full { .. })), "{why:?}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_killed_writers_left_is_swept_when_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for (name, is_old) in [(".put-old", true), (".put-new", false), ("object", true), (".putter", true)] {
        let file = File::create(dir.path().join(name)).unwrap();
        if is_old {
            file.set_modified(old).unwrap();
        }
    }
    put_bytes(&url(&dir, "another"), b"x", 1).unwrap();
    assert_eq!(names_in(dir.path()), [".put-new", ".putter", "another", "object"]);
}

#[test]
fn readers_see_whole_objects_while_writers_replace_them() {
    let dir = tempfile::tempdir().unwrap();
    let object = url(&dir, "object");
    put_bytes(&object, &[0; 300_000], u64::MAX).unwrap();
    std::thread::scope(|scope| {
        for byte in 1..4 {
            let object = &object;
            scope.spawn(move || {
                for _ in 0..10 {
                    put_bytes(object, &[byte; 300_000], u64::MAX).unwrap();
                }
            });
        }
        for _ in 0..50 {
            let bytes = contents(&object).unwrap();
            assert_eq!(bytes.len(), 300_000);
            assert!(bytes.iter().all(|b| *b == bytes[0]));
        }
    });
    assert_eq!(names_in(dir.path()), ["object"]);
}

#[test]
fn a_directory_is_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let object = url(&dir, "dir");
    fs::create_dir(dir.path().join("dir")).unwrap();
    assert!(matches!(get(&object), Err(StorageError::NoObject { .. })));
    let why = put_bytes(&object, b"x", 1).unwrap_err();
    assert!(matches!(why, PutError::Storage(StorageError::NoObject { .. })), "{why:?}");
    assert!(delete(&object).is_err());
    assert_eq!(names_in(dir.path()), ["dir"]);
}

#[test]
fn deleting_what_is_not_there_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let object = url(&dir, "object");
    put_bytes(&object, b"x", 1).unwrap();
    delete(&object).unwrap();
    assert!(contents(&object).is_none());
    delete(&object).unwrap();
    delete(&url(&dir, "missing/object")).unwrap();
}

#[test]
fn what_is_old_is_listed_and_what_killed_writers_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let root = StorageUrl::File(dir.path().to_owned());
    for name in ["slugs/a/1", "slugs/a/2", "caches/a"] {
        put_bytes(&url(&dir, name), b"x", 1).unwrap();
    }
    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for name in ["slugs/a/1", "caches/a", "slugs/a/.put-x"] {
        File::create(dir.path().join(name)).unwrap().set_modified(old).unwrap();
    }
    let mut listed = list(&root, Duration::from_secs(24 * 60 * 60)).unwrap();
    listed.sort();
    assert_eq!(listed, ["caches/a", "slugs/a/1"]);
    assert_eq!(names_in(&dir.path().join("slugs/a")), ["1", "2"]);
    assert!(list(&url(&dir, "missing"), Duration::ZERO).unwrap().is_empty());
}
