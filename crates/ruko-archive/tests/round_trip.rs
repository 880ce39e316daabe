//! What is packed comes out the same, whoever unpacks it.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use common::{LIMITS, Node, Tar, gz, snapshot};
use proptest::prelude::*;
use ruko_archive::{Compression, Limits, PackError, Summary, Times, TreeOptions, Writer, unpack};
use tempfile::TempDir;

const LARGE: Limits = Limits { bytes: 1 << 30, entries: 100_000, ..LIMITS };

fn pack(dir: &Path, how: Compression, times: Times) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), how);
    let skipped = writer.tree(dir, Path::new(""), &TreeOptions::all(times)).unwrap();
    assert_eq!(skipped.count, 0);
    writer.finish().unwrap().0
}

fn unpacked(archive: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    unpack(archive, dir.path(), &LARGE).unwrap();
    dir
}

/// Something to make at a path.
#[derive(Clone, Debug)]
enum Thing {
    Directory(u32),
    File(u32, Vec<u8>),
    Symlink(Vec<u8>),
    /// Another name of the file made last.
    Link,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => prop::sample::select(b"abc.-".to_vec()), 2 => 1u8..];
    let length = prop_oneof![8 => 1usize..8, 1 => 90usize..110, 1 => 200usize..255];
    length.prop_flat_map(move |n| prop::collection::vec(byte.clone(), n)).prop_map(|mut name| {
        name.iter_mut().filter(|b| **b == b'/').for_each(|b| *b = b'_');
        if name == b"." || name == b".." { b"dots".to_vec() } else { name }
    })
}

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(name(), 1..4).prop_map(|parts| parts.into_iter().map(OsString::from_vec).collect())
}

fn thing() -> impl Strategy<Value = Thing> {
    let target = prop::collection::vec(1u8.., 1..150);
    let contents = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 500..1100),
    ];
    prop_oneof![
        2 => (0u32..0o100).prop_map(|mode| Thing::Directory(mode | 0o700)),
        5 => (0u32..0o1000, contents).prop_map(|(mode, contents)| Thing::File(mode | 0o400, contents)),
        2 => target.prop_map(Thing::Symlink),
        1 => Just(Thing::Link),
    ]
}

/// Makes what can be made: a path through a file, or one that is taken, is passed over.
fn make(top: &Path, things: &[(PathBuf, Thing)]) {
    let mut last_file = None;
    for (path, thing) in things {
        let path = top.join(path);
        if path.symlink_metadata().is_ok() || fs::create_dir_all(path.parent().unwrap()).is_err() {
            continue;
        }
        match thing {
            Thing::Directory(mode) => {
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
            }
            Thing::File(mode, contents) => {
                fs::write(&path, contents).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
                last_file = Some(path);
            }
            Thing::Symlink(target) => symlink(OsString::from_vec(target.clone()), &path).unwrap(),
            Thing::Link => {
                if let Some(file) = &last_file {
                    fs::hard_link(file, &path).unwrap();
                }
            }
        }
    }
}

fn with_fixed_times(nodes: BTreeMap<PathBuf, Node>) -> BTreeMap<PathBuf, Node> {
    const FIXED: i64 = 315_532_800;
    let fixed = |node| match node {
        Node::Directory { mode, .. } => Node::Directory { mode, mtime: FIXED },
        Node::File { mode, contents, names, .. } => Node::File { mode, mtime: FIXED, contents, names },
        Node::Symlink { target, .. } => Node::Symlink { target, mtime: FIXED },
        Node::Other => Node::Other,
    };
    nodes.into_iter().map(|(path, node)| (path, fixed(node))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_comes_out_as_it_was(things in prop::collection::vec((path(), thing()), 0..20)) {
        let tree = tempfile::tempdir().unwrap();
        make(tree.path(), &things);
        let before = snapshot(tree.path());
        for how in [Compression::Stored, Compression::Fast, Compression::Parallel { threads: 2 }] {
            let out = unpacked(&pack(tree.path(), how, Times::Kept));
            prop_assert_eq!(&snapshot(out.path()), &before);
        }
        let out = unpacked(&pack(tree.path(), Compression::Fast, Times::Fixed));
        prop_assert_eq!(snapshot(out.path()), with_fixed_times(before));
    }
}

/// A tree of several blocks: some that compress, some that do not.
fn large_tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut state = 1u64;
    for n in 0..40 {
        let bytes: Vec<u8> = (0..100_000 + n * 1000)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if n % 2 == 0 { state.to_be_bytes()[0] } else { b"some text that repeats "[i % 23] }
            })
            .collect();
        fs::write(dir.path().join(format!("file{n}")), bytes).unwrap();
    }
    dir
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_on_the_place() {
    let tree = large_tree();
    let one = pack(tree.path(), Compression::Parallel { threads: 1 }, Times::Fixed);
    for threads in [0, 2, 3, 8, 1000] {
        assert!(
            pack(tree.path(), Compression::Parallel { threads }, Times::Fixed) == one,
            "{threads} threads"
        );
    }
    let copy = unpacked(&one);
    assert!(pack(copy.path(), Compression::Parallel { threads: 2 }, Times::Fixed) == one, "another place");
    assert_eq!(snapshot(copy.path()), with_fixed_times(snapshot(tree.path())));
}

fn fed(program: &str, args: &[&str], dir: &Path, input: &[u8]) {
    let mut child = Command::new(program).args(args).current_dir(dir).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success(), "{program}");
}

#[test]
fn other_programs_read_it() {
    let tree = large_tree();
    let long: PathBuf = ["directory with a long name"; 8].iter().collect();
    fs::create_dir_all(tree.path().join(&long)).unwrap();
    fs::write(tree.path().join(&long).join("file"), "x").unwrap();
    fs::hard_link(tree.path().join(&long).join("file"), tree.path().join(&long).join("another")).unwrap();
    symlink("t".repeat(150), tree.path().join("link")).unwrap();
    for how in [Compression::Stored, Compression::Fast, Compression::Parallel { threads: 2 }] {
        let archive = pack(tree.path(), how, Times::Kept);
        let out = tempfile::tempdir().unwrap();
        fed("gzip", &["--test"], out.path(), &archive);
        fed("tar", &["--extract", "--gzip", "--preserve-permissions"], out.path(), &archive);
        assert_eq!(snapshot(out.path()), snapshot(tree.path()), "{how:?}");
    }
}

#[test]
fn archives_of_other_programs_are_read() {
    let tree = large_tree();
    let long: PathBuf = ["directory with a long name"; 8].iter().collect();
    fs::create_dir_all(tree.path().join(&long)).unwrap();
    let odd = OsString::from_vec(b"\xff new\nline".to_vec());
    fs::write(tree.path().join(&long).join(&odd), "x").unwrap();
    fs::hard_link(tree.path().join("file1"), tree.path().join("file1 again")).unwrap();
    symlink("t".repeat(150), tree.path().join("link")).unwrap();
    for format in ["gnu", "posix"] {
        let tar = Command::new("tar")
            .args(["--create", "--gzip", "--directory"])
            .arg(tree.path())
            .args([&format!("--format={format}"), "."])
            .output()
            .unwrap();
        assert!(tar.status.success());
        assert_eq!(snapshot(unpacked(&tar.stdout).path()), snapshot(tree.path()), "{format}");
    }
}

#[test]
fn directories_and_bytes_of_ones_own_come_with_the_fixed_time() {
    let mut writer = Writer::new(Vec::new(), Compression::Fast);
    writer.directory(Path::new("./app"), 0o755).unwrap();
    writer.file_bytes(Path::new("app/Procfile"), 0o4644, b"web: run\n").unwrap();
    let (archive, summary) = writer.finish().unwrap();
    assert_eq!(summary, Summary { entries: 2, bytes: 9 });
    let mtime = 315_532_800;
    assert_eq!(
        snapshot(unpacked(&archive).path()),
        BTreeMap::from([
            ("app".into(), Node::Directory { mode: 0o755, mtime }),
            (
                "app/Procfile".into(),
                Node::File { mode: 0o644, mtime, contents: b"web: run\n".into(), names: 1 }
            ),
        ])
    );
}

/// Heroku's slugs name everything `./app/…`.
#[test]
fn names_keep_the_dot_that_they_are_given_with() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    fs::hard_link(dir.path().join("f"), dir.path().join("g")).unwrap();
    let mut writer = Writer::new(Vec::new(), Compression::Stored);
    writer.directory(Path::new("./app"), 0o755).unwrap();
    writer.tree(dir.path(), Path::new("./app"), &TreeOptions::all(Times::Fixed)).unwrap();
    let archive = writer.finish().unwrap().0;
    let mut listed =
        Command::new("tar").arg("tz").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    listed.stdin.take().unwrap().write_all(&archive).unwrap();
    assert_eq!(listed.wait_with_output().unwrap().stdout, b"./app/\n./app/f\n./app/g\n");
    assert_eq!(fs::read(unpacked(&archive).path().join("app/g")).unwrap(), b"x");
}

#[test]
fn an_empty_archive_is_an_archive() {
    for how in [Compression::Stored, Compression::Fast, Compression::Parallel { threads: 2 }] {
        let (archive, summary) = Writer::new(Vec::new(), how).finish().unwrap();
        assert_eq!(summary, Summary::default());
        assert!(snapshot(unpacked(&archive).path()).is_empty());
    }
}

#[test]
fn what_is_excluded_is_left_out_with_all_in_it() {
    let tree = tempfile::tempdir().unwrap();
    for file in [".git/config", "tmp/a", "src/.git", "src/tmp/b"] {
        fs::create_dir_all(tree.path().join(file).parent().unwrap()).unwrap();
        fs::write(tree.path().join(file), "").unwrap();
    }
    let mut writer = Writer::new(Vec::new(), Compression::Fast);
    let exclude = |path: &Path| path == Path::new(".git") || path == Path::new("src/tmp");
    let options = TreeOptions { times: Times::Kept, exclude: &exclude };
    writer.tree(tree.path(), Path::new("app"), &options).unwrap();
    let out = unpacked(&writer.finish().unwrap().0);
    let names: Vec<PathBuf> = snapshot(out.path()).into_keys().collect();
    assert_eq!(names, ["app", "app/src", "app/src/.git", "app/tmp", "app/tmp/a"].map(PathBuf::from));
}

#[test]
fn sockets_and_fifos_are_skipped_and_counted() {
    let tree = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(tree.path().join("socket")).unwrap();
    nix::unistd::mkfifo(&tree.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(tree.path().join("file"), "").unwrap();
    let mut writer = Writer::new(Vec::new(), Compression::Fast);
    let skipped = writer.tree(tree.path(), Path::new(""), &TreeOptions::all(Times::Kept)).unwrap();
    assert_eq!((skipped.count, skipped.names), (2, vec!["fifo".into(), "socket".into()]));
    assert_eq!(writer.finish().unwrap().1.entries, 1);
}

#[test]
fn files_with_several_names_are_stored_once() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("m"), vec![7; 5000]).unwrap();
    for name in ["b", "z"] {
        fs::hard_link(tree.path().join("m"), tree.path().join(name)).unwrap();
    }
    let mut writer = Writer::new(Vec::new(), Compression::Stored);
    writer.tree(tree.path(), Path::new("p"), &TreeOptions::all(Times::Kept)).unwrap();
    let (archive, summary) = writer.finish().unwrap();
    assert_eq!(summary, Summary { entries: 3, bytes: 5000 });
    let out = unpacked(&archive);
    assert_eq!(fs::metadata(out.path().join("p/z")).unwrap().nlink(), 3);
}

/// Files of `/proc` say size 0 and have contents, files of `/sys` say 4096 and have less: to a reader they
/// are files that grow and shrink while they are read.
#[test]
fn a_file_that_changes_its_size_ends_the_archive() {
    for (dir, file) in [("/proc/sys/kernel", "ostype"), ("/sys/kernel", "uevent_seqnum")] {
        let mut writer = Writer::new(Vec::new(), Compression::Fast);
        let exclude = |path: &Path| path != Path::new(file);
        let options = TreeOptions { times: Times::Fixed, exclude: &exclude };
        let why = writer.tree(Path::new(dir), Path::new(""), &options).unwrap_err();
        assert!(matches!(&why, PackError::Changed { name } if name == file), "{why:?}");
        assert!(matches!(writer.file_bytes(Path::new("next"), 0o644, b""), Err(PackError::Incomplete)));
        assert!(matches!(writer.finish(), Err(PackError::Incomplete)));
    }
}

#[test]
fn names_that_no_archive_may_hold_are_refused() {
    let mut writer = Writer::new(Vec::new(), Compression::Fast);
    for name in ["", ".", "/etc/passwd", "../up", "a/../b"] {
        let why = writer.file_bytes(Path::new(name), 0o644, b"").unwrap_err();
        assert!(matches!(why, PackError::Name { .. }), "{why:?}");
    }
    writer.file_bytes(Path::new("good"), 0o644, b"").unwrap();
    assert_eq!(writer.finish().unwrap().1.entries, 1);
}

#[test]
fn a_destination_that_fails_is_named_as_the_cause() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = large_tree();
    for how in [Compression::Stored, Compression::Parallel { threads: 2 }] {
        let mut writer = Writer::new(Full(1 << 20), how);
        let outcome = writer.tree(tree.path(), Path::new(""), &TreeOptions::all(Times::Fixed));
        let outcome = outcome.and_then(|_| writer.finish().map(|_| ()));
        assert!(matches!(&outcome, Err(PackError::Write(_))), "{outcome:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut writer = Writer::new(Vec::new(), Compression::Fast);
    let missing = Path::new("/nonexistent/tree");
    let why = writer.tree(missing, Path::new(""), &TreeOptions::all(Times::Fixed)).unwrap_err();
    assert!(why.to_string().contains("/nonexistent/tree"), "{why}");
}

#[test]
fn read_only_directories_are_filled_and_filled_again() {
    let tar = Tar::new().directory("d", 0o555).directory("d/e", 0o500).file("d/e/f", "x");
    let out = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        unpack(&*tar.clone().gz(), out.path(), &LIMITS).unwrap();
        let nodes = snapshot(out.path());
        assert_eq!(nodes[Path::new("d")], Node::Directory { mode: 0o555, mtime: 1_000_000_000 });
        assert_eq!(nodes[Path::new("d/e")], Node::Directory { mode: 0o500, mtime: 1_000_000_000 });
    }
    for dir in ["d", "d/e"] {
        fs::set_permissions(out.path().join(dir), Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn what_the_archive_does_not_name_is_left_alone() {
    let out = tempfile::tempdir().unwrap();
    fs::create_dir(out.path().join("hooks")).unwrap();
    fs::write(out.path().join("hooks/pre-receive"), "#!/bin/sh\n").unwrap();
    File::open(out.path().join("hooks"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
        .unwrap();
    let before = snapshot(out.path());
    unpack(&*Tar::new().directory("./", 0o000).file("HEAD", "ref").gz(), out.path(), &LIMITS).unwrap();
    let mut after = snapshot(out.path());
    assert!(after.remove(Path::new("HEAD")).is_some());
    assert_eq!(after, before);
}

#[test]
fn several_gzip_members_are_one_archive() {
    let tar = Tar::new().file("f", "contents").end();
    let members: Vec<u8> = tar.chunks(300).flat_map(gz).collect();
    assert_eq!(fs::read(unpacked(&members).path().join("f")).unwrap(), b"contents");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let why = unpack(&b""[..], Path::new("/nonexistent/into"), &LIMITS).unwrap_err();
    assert!(why.to_string().contains("/nonexistent/into"), "{why}");
}
