//! The process that makes images, as a program: what it makes is read by `unsquashfs`.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

fn make(slug: &[u8], image: &Path) -> Output {
    let mut maker = Command::new(env!("CARGO_BIN_EXE_openruko-host"))
        .arg("image")
        .arg(image)
        .env_clear()
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses before it has read everything closes its end.
    let _ = maker.stdin.take().unwrap().write_all(slug);
    maker.wait_with_output().unwrap()
}

type Tar = Builder<GzEncoder<Vec<u8>>>;

fn slug(fill: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    fill(&mut tar);
    tar.into_inner().unwrap().finish().unwrap()
}

fn entry(tar: &mut Tar, name: &str, kind: EntryType, mode: u32, target: &str, contents: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    tar.append(&header, contents).unwrap();
}

/// Mode, owner, size and name of everything in an image.
fn listing(image: &Path) -> Vec<String> {
    let out = Command::new("unsquashfs").arg("-lln").arg(image).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let rest = words[5..].join(" ");
        format!("{} {} {}", words[0], words[1], rest.trim_start_matches("squashfs-root"))
    };
    text.lines().filter(|line| line.contains("squashfs-root")).map(line).collect()
}

#[test]
fn an_image_belongs_to_the_dynos_user_and_gives_no_power() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let made = make(
        &slug(|tar| {
            entry(tar, "./app/", EntryType::Directory, 0o700, "", b"");
            entry(tar, "./app/bin/run", EntryType::Regular, 0o6755, "", b"#!/bin/sh\n");
            entry(tar, "./app/bin/again", EntryType::Link, 0o755, "./app/bin/run", b"");
            entry(tar, "./app/link", EntryType::Symlink, 0o777, "/etc/passwd", b"");
            entry(tar, "./app/shared/", EntryType::Directory, 0o1777, "", b"");
        }),
        &image,
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(
        // The first is the top directory, which nobody sees.
        listing(&image)[1..],
        [
            "drwxr-xr-x 1000/1000 /bin",
            "-rwxr-xr-x 1000/1000 /bin/again",
            "-rwxr-xr-x 1000/1000 /bin/run",
            "lrwxrwxrwx 1000/1000 /link -> /etc/passwd",
            "drwxrwxrwx 1000/1000 /shared",
        ]
    );
}

#[test]
fn hostile_slugs_are_refused_and_leave_no_image() {
    let regular =
        |name: &'static str| move |tar: &mut Tar| entry(tar, name, EntryType::Regular, 0o644, "", b"x");
    let through_a_link = |tar: &mut Tar| {
        entry(tar, "app/l", EntryType::Symlink, 0o777, "/etc", b"");
        entry(tar, "app/l/passwd", EntryType::Regular, 0o644, "", b"x");
    };
    let twice = |tar: &mut Tar| {
        entry(tar, "app/f", EntryType::Regular, 0o644, "", b"1");
        entry(tar, "app/f", EntryType::Symlink, 0o777, "/", b"");
    };
    let device = |tar: &mut Tar| entry(tar, "app/d", EntryType::Char, 0o666, "", b"");
    let whole = slug(regular("app/f"));
    for (slug, why) in [
        (slug(regular("app/../x")), "`..`"),
        (slug(regular("/app/x")), "absolute"),
        (slug(regular("etc/passwd")), "not below"),
        (slug(through_a_link), "a link or a file"),
        (slug(twice), "twice"),
        (slug(device), "device"),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (b"no archive".to_vec(), "damaged"),
        (Vec::new(), "damaged"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&slug, &dir.path().join("image"));
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert_eq!(made.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{why}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_worth_another_try() {
    let slug = slug(|tar| entry(tar, "app/f", EntryType::Regular, 0o644, "", b"x"));
    let made = make(&slug, Path::new("/nonexistent/image"));
    assert_eq!(made.status.code(), Some(75), "{}", String::from_utf8_lossy(&made.stderr));
}
