//! Archives that nobody honest writes. Each is refused, and what is outside stays as it was.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{LIMITS, Node, Room, Tar, gz, pax_records, snapshot};
use proptest::prelude::*;
use ruko_archive::{Limits, LinkRule, UnpackError, unpack};

fn is_refused(archive: Tar) -> String {
    let room = Room::new();
    let why = room.unpack(&archive.gz()).unwrap_err();
    assert!(matches!(why, UnpackError::Refused { .. }), "{why:?}");
    why.to_string()
}

fn is_damaged(archive: &[u8]) -> String {
    match Room::new().unpack(archive).unwrap_err() {
        UnpackError::Damaged(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_that_lead_outside() {
    for name in ["../evil", "a/../../evil", "a/..", "..", "./../evil", "/", "//evil", "/tmp/evil", ""] {
        is_refused(Tar::new().file(name, "x"));
        is_refused(Tar::new().directory(name, 0o755));
        is_refused(Tar::new().symlink(name, "x"));
    }
    is_refused(Tar::new().file(".", "x"));
    is_refused(Tar::new().file("a/", "x"));
}

#[test]
fn names_that_two_readers_read_differently() {
    let long = |name: &[u8]| Tar::new().entry(b'L', b"././@LongLink", name);
    is_refused(long(b"a\0b\0").file("a", "x"));
    is_refused(long(b"../evil\0").file("a", "x"));
    is_refused(long(&[b'a'; Limits::PATH_BYTES + 1]).file("a", "x"));
    is_refused(Tar::new().pax(&[("path", b"../evil")]).file("a", "x"));
    is_refused(Tar::new().pax(&[("path", b"/tmp/evil")]).file("a", "x"));
    is_refused(Tar::new().pax(&[("path", b"a\0b")]).file("a", "x"));
    is_refused(Tar::new().pax(&[("path", b"")]).file("a", "x"));
    is_refused(Tar::new().pax(&[("linkpath", b"")]).symlink("a", "x"));
    for tar in [
        long(b"b\0").entry(b'L', b"long", b"c\0").file("a", "x"),
        long(b"b\0").pax(&[("path", b"c")]).file("a", "x"),
        Tar::new().pax(&[("path", b"b")]).pax(&[("path", b"c")]).file("a", "x"),
        Tar::new().pax(&[("path", b"b"), ("path", b"c")]).file("a", "x"),
        Tar::new().entry(b'g', b"global", &pax_records(&[("path", b"b")])).file("a", "x"),
        Tar::new().entry(b'g', b"global", &pax_records(&[("size", b"1")])).file("a", "x"),
        Tar::new().entry(b'g', b"g", b"").entry(b'g', b"g", b"").file("a", "x"),
        Tar::new().entry(b'x', b"pax", b"99 path=a\n").file("a", "x"),
        Tar::new().entry(b'x', b"pax", b"no record").file("a", "x"),
        Tar::new().pax(&[("GNU.sparse.major", b"1")]).file("a", "x"),
        Tar::new().pax(&[("size", b"-1")]).file("a", "x"),
        long(b"b\0"),
    ] {
        is_damaged(&tar.gz());
    }
}

#[test]
fn sizes_that_two_readers_read_differently() {
    // A reader that believes the pax record takes the second file for contents of the first.
    let smuggled = Tar::new().pax(&[("size", b"1024")]).file("a", "").file("b", "x").contents(b"");
    assert!(is_refused(smuggled).contains("1024"));
    is_refused(Tar::new().header(b'5', b"a", b"", 512, 0o755).contents(&[b'x'; 512]));
    is_refused(Tar::new().header(b'2', b"a", b"b", 512, 0o755).contents(&[b'x'; 512]));
    is_refused(Tar::new().file("b", "").header(b'1', b"a", b"b", 512, 0o755).contents(&[b'x'; 512]));
}

#[test]
fn metadata_larger_than_any_name() {
    // The contents are not even there: they are refused before they are read.
    for kind in [b'L', b'K', b'x', b'g'] {
        let why = is_damaged(&gz(&Tar::new().header(kind, b"m", b"", 1 << 40, 0).0));
        assert!(why.contains("longer than"), "{why}");
    }
}

#[test]
fn writing_through_a_link_of_the_archive() {
    let room = Room::new();
    let outside = room.outside();
    let through: Vec<Tar> = vec![
        Tar::new().symlink("l", outside).file("l/evil", "x"),
        Tar::new().symlink("l", outside).directory("l/evil", 0o777),
        Tar::new().symlink("l", outside).symlink("l/evil", "x"),
        Tar::new().symlink("l", outside).file("f", "x").hard_link("l/evil", "f"),
        Tar::new().symlink("l", "..").file("l/evil", "x"),
        Tar::new().symlink("a/l", "../..").file("a/l/precious/evil", "x"),
        Tar::new().symlink("l", ".").symlink("m", "l/..").file("m/evil", "x"),
        Tar::new().symlink("l", outside).file("l/precious/canary", "dead"),
        Tar::new().file("f", "x").file("f/g", "x"),
    ];
    for tar in through {
        fs::remove_dir_all(room.inside()).unwrap();
        fs::create_dir(room.inside()).unwrap();
        let why = room.unpack(&tar.gz()).unwrap_err();
        assert!(matches!(why, UnpackError::Refused { .. }), "{why:?}");
    }
}

#[test]
fn writing_through_a_link_that_was_there() {
    let room = Room::new();
    symlink(room.outside().join("precious"), room.inside().join("l")).unwrap();
    let why = room.unpack(&Tar::new().file("l/canary", "dead").gz()).unwrap_err();
    assert!(matches!(why, UnpackError::Refused { .. }), "{why:?}");
}

#[test]
fn a_link_is_replaced_and_not_written_through() {
    let room = Room::new();
    let canary = room.outside().join("precious/canary");
    symlink(&canary, room.inside().join("there")).unwrap();
    fs::hard_link(&canary, room.inside().join("shared")).unwrap();
    let tar = Tar::new()
        .file("there", "new")
        .file("shared", "new")
        .symlink("mine", &canary)
        .file("mine", "new")
        .symlink("dir", room.outside().join("precious"))
        .directory("dir", 0o700);
    room.unpack(&tar.gz()).unwrap();
    for name in ["there", "shared", "mine"] {
        assert!(room.inside().join(name).symlink_metadata().unwrap().is_file(), "{name}");
        assert_eq!(fs::read(room.inside().join(name)).unwrap(), b"new");
    }
    assert!(room.inside().join("dir").symlink_metadata().unwrap().is_dir());
}

#[test]
fn a_directory_is_never_replaced() {
    for tar in [
        Tar::new().directory("d", 0o755).file("d", "x"),
        Tar::new().directory("d", 0o755).symlink("d", "x"),
        Tar::new().file("f", "x").directory("d", 0o755).hard_link("d", "f"),
    ] {
        assert!(is_refused(tar).contains("directory"));
    }
}

#[test]
fn hard_links_to_anything_but_a_file_of_the_archive() {
    let room = Room::new();
    fs::write(room.inside().join("older"), "x").unwrap();
    let outside = room.outside().to_owned();
    let canary = outside.join("precious/canary");
    for tar in [
        Tar::new().hard_link("evil", &canary),
        Tar::new().hard_link("evil", "../precious/canary"),
        Tar::new().hard_link("evil", "older"),
        Tar::new().hard_link("evil", "evil"),
        Tar::new().hard_link("evil", ""),
        Tar::new().hard_link("evil", "."),
        Tar::new().directory("d", 0o755).hard_link("evil", "d"),
        Tar::new().symlink("l", &outside).hard_link("evil", "l/precious/canary"),
        Tar::new().symlink("l", &canary).hard_link("evil", "l"),
        Tar::new().file("f", "x").symlink("f", &canary).hard_link("evil", "f"),
        Tar::new().file("f", "").pax(&[("linkpath", b"../precious/canary")]).hard_link("evil", "f"),
    ] {
        assert!(room.unpack(&tar.gz()).is_err());
        assert!(room.inside().join("evil").symlink_metadata().is_err());
    }
}

#[test]
fn kinds_that_are_no_files() {
    for (kind, word) in [
        (b'3', "device"),
        (b'4', "device"),
        (b'6', "fifo"),
        (b'S', "sparse"),
        (b'7', "type"),
        (b'D', "type"),
        (b'M', "type"),
        (b'V', "type"),
        (b'Z', "type"),
    ] {
        let why = is_refused(Tar::new().header(kind, b"evil", b"", 0, 0o644));
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn set_user_id_and_the_like_are_dropped() {
    let room = Room::new();
    let tar = Tar::new().header(b'0', b"f", b"", 0, 0o7755).directory("d", 0o7777);
    room.unpack(&tar.gz()).unwrap();
    assert_eq!(fs::metadata(room.inside().join("f")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(room.inside().join("d")).unwrap().mode() & 0o7777, 0o777);
}

#[test]
fn more_bytes_than_allowed() {
    let room = Room::new();
    for size in [LIMITS.bytes + 1, 1 << 60, u64::MAX] {
        let claimed = Tar::new().header(b'0', b"huge", b"", size, 0o644);
        let why = room.unpack(&gz(&claimed.0)).unwrap_err();
        assert!(matches!(why, UnpackError::TooLarge { max } if max == LIMITS.bytes), "{why:?}");
    }
    let halves = Tar::new().entry(b'0', b"a", &vec![0; 600 << 10]).entry(b'0', b"b", &vec![0; 600 << 10]);
    let why = room.unpack(&halves.gz()).unwrap_err();
    assert!(why.to_string().contains(&LIMITS.bytes.to_string()), "{why}");
    assert!(!room.inside().join("b").exists(), "it is refused before it is written");
    let whole = Tar::new().entry(b'0', b"c", &vec![0; 1 << 20]);
    assert_eq!(room.unpack(&whole.gz()).unwrap().bytes, LIMITS.bytes);
}

#[test]
fn more_entries_than_allowed() {
    let room = Room::new();
    let limits = Limits { entries: 5, ..LIMITS };
    let many = |count| (0..count).fold(Tar::new(), |tar, n| tar.file(&n.to_string(), ""));
    room.unpack_within(&many(5).gz(), &limits).unwrap();
    for too_many in [
        many(6),
        Tar::new().file("a/b/c/d/e/f/g", ""),
        (0..6).fold(Tar::new(), |tar, _| tar.file("same", "")),
    ] {
        let why = room.unpack_within(&too_many.gz(), &limits).unwrap_err();
        assert!(matches!(why, UnpackError::TooManyEntries { max: 5 }), "{why:?}");
    }
}

#[test]
fn a_name_longer_than_allowed() {
    let room = Room::new();
    let limits = Limits { path_bytes: 10, ..LIMITS };
    room.unpack_within(&Tar::new().file("1234567890", "").gz(), &limits).unwrap();
    for tar in [Tar::new().file("12345678901", ""), Tar::new().symlink("l", "12345678901")] {
        assert!(room.unpack_within(&tar.gz(), &limits).is_err());
    }
}

#[test]
fn links_that_may_lead_outside_where_the_rule_forbids_it() {
    let limits = Limits { links: LinkRule::Inside, ..LIMITS };
    for (name, target) in
        [("l", "/app/x"), ("l", ".."), ("a/l", "../../x"), ("l", "a/../../x"), ("l", "a/..")]
    {
        let room = Room::new();
        let why = room.unpack_within(&Tar::new().symlink(name, target).gz(), &limits).unwrap_err();
        assert!(matches!(why, UnpackError::LinkOutside { .. }), "{why:?}");
        assert!(room.unpack(&Tar::new().symlink(name, target).gz()).is_ok(), "the other rule allows it");
    }
    let inside = Tar::new().symlink("a/l", "../b/c").symlink("m", "a/l").symlink("dangling", "nowhere");
    Room::new().unpack_within(&inside.gz(), &limits).unwrap();
}

#[test]
fn every_truncation_is_found() {
    let tar = Tar::new().directory("d", 0o755).file("d/f", "contents").symlink("l", "d").end();
    let whole = gz(&tar);
    for length in 0..whole.len() {
        is_damaged(&whole[..length]);
    }
    // Cut between members or blocks, gzip itself is in order.
    for length in (0..tar.len() - 1024).step_by(512) {
        is_damaged(&gz(&tar[..length]));
    }
    let room = Room::new();
    room.unpack(&whole).unwrap();
}

#[test]
fn what_follows_the_end_is_found() {
    let tar = Tar::new().file("f", "x").end();
    for garbage in [&b"x"[..], b"\0", b"\x1f", b"\x1f\x8b\x08", &[b'g'; 5000]] {
        is_damaged(&[&gz(&tar), garbage].concat());
    }
    is_damaged(&gz(&[&tar[..], b"x"].concat()));
    is_damaged(&[gz(&tar), gz(&Tar::new().file("second", "x").end())].concat());
    is_damaged(&gz(&[&tar[..], &vec![0; 5 << 20]].concat()));
    let padded = [tar, vec![0; 9216]].concat();
    Room::new().unpack(&gz(&padded)).unwrap();
}

#[test]
fn what_is_no_archive() {
    for bytes in [&b""[..], b"hello", &Tar::new().file("plain", "tar").end(), &gz(b""), &gz(&[b'x'; 2000])] {
        is_damaged(bytes);
    }
    let wrong_sum = {
        let mut tar = Tar::new().file("f", "x").end();
        tar[0] = b'g';
        gz(&tar)
    };
    assert!(is_damaged(&wrong_sum).contains("checksum"));
}

#[test]
fn a_source_that_fails_is_told_from_a_damaged_archive() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("line cut"))
        }
    }
    let room = Room::new();
    let archive = Tar::new().file("f", "x").gz();
    let why = unpack((&archive[..20]).chain(Broken), &room.inside(), &LIMITS).unwrap_err();
    assert!(matches!(why, UnpackError::Read(_)), "{why:?}");
}

#[test]
fn a_name_cannot_forge_a_line() {
    let why = is_refused(Tar::new().file("../a\n\x1b[31mall is well", "x"));
    assert!(!why.contains(['\n', '\x1b']), "{why:?}");
}

/// Somebody swaps a directory for a link to the outside and back while files are written into it.
#[test]
fn a_directory_that_becomes_a_link_meanwhile() {
    let room = Room::new();
    let names: Vec<String> = (0..300).map(|n| format!("d{}/x/f{n}", n % 3)).collect();
    let archive = names.iter().fold(Tar::new(), |tar, name| tar.file(name, "x")).gz();
    let done = AtomicBool::new(false);
    let (dir, aside) = (room.inside().join("d0"), room.inside().join("aside"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if fs::rename(&dir, &aside).is_ok() {
                    let _ = symlink(room.outside().join("precious"), &dir);
                    let _ = fs::remove_file(&dir);
                    let _ = fs::rename(&aside, &dir);
                }
            }
        });
        for _ in 0..20 {
            // Whether it succeeds is a matter of luck; where it writes is not.
            let _ = unpack(&archive[..], &room.inside(), &LIMITS);
        }
        done.store(true, Ordering::Relaxed);
    });
    room.assert_nothing_outside_was_touched();
}

/// Pieces of which archives are made at random: whatever their order, nothing gets outside.
fn piece() -> impl Strategy<Value = (u8, PathBuf, PathBuf, bool)> {
    let names = prop::sample::select(vec![
        "a",
        "b",
        "a/b",
        "a/b/c",
        "b/a",
        "../precious",
        "..",
        "../..",
        "l/..",
        "../precious/canary",
        "a/../..",
        "/",
        ".",
        "",
        "a/",
        "l",
        "l/a",
        "OUTSIDE",
        "OUTSIDE/precious/canary",
    ]);
    let names = names.prop_map(PathBuf::from);
    (prop::sample::select(b"012512512513".to_vec()), names.clone(), names, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_entries_gets_outside(pieces in prop::collection::vec(piece(), 1..8)) {
        let room = Room::new();
        let real = |path: &Path| match path.strip_prefix("OUTSIDE") {
            Ok(rest) => room.outside().join(rest),
            Err(_) => path.to_owned(),
        };
        let mut tar = Tar::new();
        for (kind, name, target, by_pax) in pieces {
            let (name, target) = (real(&name), real(&target));
            let (name, target) = (name.as_os_str().as_encoded_bytes(), target.as_os_str().as_encoded_bytes());
            tar = if by_pax {
                let records = pax_records(&[("path", name), ("linkpath", target)]);
                tar.entry(b'x', b"pax", &records).header(kind, b"", b"", 0, 0o777)
            } else {
                tar.header(kind, name, target, 0, 0o777)
            };
        }
        let archive = tar.gz();
        // The room sees that nothing outside was touched, whether it is refused or not.
        let _ = room.unpack_within(&archive, &Limits { links: LinkRule::Inside, ..LIMITS });
        for (path, node) in snapshot(&room.inside()) {
            if let (Node::Symlink { .. }, Ok(real)) = (node, room.inside().join(path).canonicalize()) {
                prop_assert!(real.starts_with(room.inside().canonicalize().unwrap()));
            }
        }
        let _ = room.unpack(&archive);
    }

    #[test]
    fn damaged_bytes_do_no_harm(place in any::<prop::sample::Index>(), flip in 1u8.., inner in any::<bool>()) {
        let mut tar = Tar::new().directory("d", 0o755).pax(&[("path", b"d/long")]).file("f", "contents")
            .symlink("l", "d").end();
        let room = Room::new();
        let archive = if inner {
            let place = place.index(tar.len());
            tar[place] ^= flip;
            gz(&tar)
        } else {
            let mut archive = gz(&tar);
            let place = place.index(archive.len());
            archive[place] ^= flip;
            archive
        };
        let _ = room.unpack(&archive);
        let kinds = snapshot(&room.inside());
        prop_assert!(!kinds.values().any(|node| *node == Node::Other));
    }
}
