//! Archives written again: what comes out is read by another reader, the tar crate.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use std::io::Read;

use common::Tar;
use proptest::prelude::*;
use ruko_archive::{Cleaning, Limits, LinkRule, UnpackError, clean};

const LIMITS: Limits =
    Limits { bytes: 1 << 20, entries: 100, path_bytes: Limits::PATH_BYTES, links: LinkRule::Any };

fn cleaned(archive: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    clean(archive, &mut out, &Cleaning { below: "app", owner: 1000, limits: LIMITS }).map(|_| out)
}

/// Each entry as a line: kind, mode, owner, name, target or contents.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let line = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let mut contents = String::new();
        entry.read_to_string(&mut contents).unwrap();
        let target = entry.link_name().unwrap().map(|t| t.display().to_string()).unwrap_or_default();
        assert_eq!(header.uid().unwrap(), header.gid().unwrap());
        format!(
            "{} {:o} {} {} {target}{contents}",
            char::from(header.entry_type().as_byte()),
            header.mode().unwrap(),
            header.uid().unwrap(),
            entry.path().unwrap().display(),
        )
    };
    archive.entries().unwrap().map(line).collect()
}

fn refused(tar: Tar) -> String {
    let why = cleaned(&tar.gz()).unwrap_err();
    assert!(matches!(why, UnpackError::Refused { .. }), "{why:?}");
    why.to_string()
}

#[test]
fn a_slug_is_written_again_without_its_top_directory() {
    let long = format!("./app/{}", "d/".repeat(80) + "file");
    let tar = Tar::new()
        .directory("./", 0o755)
        .directory("./app/", 0o700)
        .directory("./app/bin/", 0o2775)
        .header(b'0', b"./app/bin/run", b"", 3, 0o4755)
        .contents(b"run")
        .symlink("./app/link", "/app/bin/run")
        .hard_link("./app/again", "./app/bin/run")
        .directory("./app/bin/", 0o700)
        .file("app/a/b/c", "deep")
        .pax(&[("path", long.as_bytes())])
        .file("x", "far");
    let mut lines = listing(&cleaned(&tar.gz()).unwrap());
    assert_eq!(lines.pop().unwrap(), format!("0 644 1000 {} far", long.strip_prefix("./app/").unwrap()));
    lines.truncate(7);
    assert_eq!(
        lines,
        [
            "5 775 1000 bin/ ",
            "0 755 1000 bin/run run",
            "2 777 1000 link /app/bin/run",
            "1 644 1000 again bin/run",
            "5 755 1000 a/ ",
            "5 755 1000 a/b/ ",
            "0 644 1000 a/b/c deep",
        ]
    );
}

#[test]
fn what_stands_elsewhere_or_twice_is_refused() {
    refused(Tar::new().file("etc/passwd", "x"));
    refused(Tar::new().file("application/x", "x"));
    refused(Tar::new().file("app", "x"));
    refused(Tar::new().symlink("app", "/"));
    refused(Tar::new().file("app/../x", "x"));
    refused(Tar::new().file("/app/x", "x"));
    refused(Tar::new().file("app/x", "1").file("./app/x", "2"));
    refused(Tar::new().file("app/x", "1").directory("app/x", 0o755));
    refused(Tar::new().directory("app/x", 0o755).symlink("app/x", "/"));
}

#[test]
fn nothing_stands_in_a_link_or_a_file() {
    refused(Tar::new().symlink("app/l", "/etc").file("app/l/x", "x"));
    refused(Tar::new().symlink("app/l", "a").file("app/l/m/x", "x"));
    refused(Tar::new().file("app/f", "x").file("app/f/g", "x"));
}

#[test]
fn a_hard_link_is_to_an_earlier_file() {
    refused(Tar::new().hard_link("app/h", "app/f").file("app/f", "x"));
    refused(Tar::new().hard_link("app/h", "app/h"));
    refused(Tar::new().symlink("app/l", "x").hard_link("app/h", "app/l"));
    refused(Tar::new().directory("app/d", 0o755).hard_link("app/h", "app/d"));
    refused(Tar::new().hard_link("app/h", "etc/passwd"));
}

#[test]
fn devices_and_fifos_are_refused() {
    for kind in [b'3', b'4', b'6', b'S', b'D', b'7'] {
        refused(Tar::new().entry(kind, b"app/x", b""));
    }
}

#[test]
fn bounds_are_named() {
    let archive = |tar: Tar| cleaned(&tar.gz()).unwrap_err().to_string();
    let many = (0..101).fold(Tar::new(), |tar, i| tar.file(&format!("app/{i}"), ""));
    assert!(archive(many).contains("100 entries"));
    let deep = format!("app/{}f", "a/".repeat(101));
    let implied = Tar::new().pax(&[("path", deep.as_bytes())]).file("f", "");
    assert!(archive(implied).contains("100 entries"));
    let large = Tar::new().header(b'0', b"app/x", b"", (1 << 20) + 1, 0o644);
    assert!(archive(large).contains("1048576 bytes"));
}

#[test]
fn what_ends_early_has_no_end_mark() {
    let whole = Tar::new().file("app/a", "a").file("app/b", "b").gz();
    for length in 0..whole.len() {
        let mut out = Vec::new();
        let how = Cleaning { below: "app", owner: 1000, limits: LIMITS };
        assert!(clean(&whole[..length], &mut out, &how).is_err());
        assert!(!out.ends_with(&[0; 1024]), "{length}");
    }
}

proptest! {
    /// Whatever comes in, what goes out is read by another reader, and stays within the bounds.
    #[test]
    fn what_comes_out_is_an_archive(
        parts in prop::collection::vec(("[a-c./]{0,6}", "[a-c./]{0,6}", 0_usize..5), 0..12),
    ) {
        let tar = parts.iter().fold(Tar::new(), |tar, (name, target, kind)| {
            let name = format!("app/{name}");
            match kind {
                0 => tar.file(&name, target),
                1 => tar.directory(&name, 0o755),
                2 => tar.symlink(&name, target),
                3 => tar.hard_link(&name, format!("app/{target}")),
                _ => tar.file(target, &name),
            }
        });
        if let Ok(out) = cleaned(&tar.gz()) {
            let names: Vec<String> = listing(&out)
                .iter()
                .filter_map(|line| line.split(' ').nth(3))
                .map(|name| name.trim_end_matches('/').to_owned())
                .collect();
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
            for name in &names {
                prop_assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".." || part.is_empty()));
            }
        }
    }
}
