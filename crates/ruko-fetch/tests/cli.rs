//! The program as people and scripts run it: in a home of its own, with an empty environment.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ruko_archive::{Compression, Writer};
use tempfile::TempDir;

/// A user without rights, as whom `extract` is run when the tests run as root.
const NOBODY: u32 = 65534;

struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Others must be able to run it, wherever it was built. Copied by a process of its own: a child
        // that another test forks meanwhile would inherit our handle, and what is open for writing
        // cannot be run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_ruko-fetch")).arg(dir.path()).status();
        assert!(copied.unwrap().success());
        fs::create_dir(dir.path().join("home")).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(dir.path().join("home"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("home").join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join("ruko-fetch"));
        command.args(args).env_clear().current_dir(self.path(""));
        command
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Outcome {
        run(self.command(args), input)
    }

    fn run_as_nobody(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command(args);
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        run(command, input)
    }
}

#[derive(Debug)]
struct Outcome {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl From<Output> for Outcome {
    fn from(out: Output) -> Self {
        let stderr = String::from_utf8(out.stderr).unwrap();
        Self { status: out.status.code(), stdout: out.stdout, stderr }
    }
}

impl Outcome {
    /// Ended with this status, said nothing on stdout, and this on stderr.
    fn assert_failed(&self, status: i32, says: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert!(self.stderr.starts_with("ruko-fetch: ") && self.stderr.contains(says), "{self:?}");
        assert!(self.stderr.lines().count() <= 2, "{self:?}");
    }

    fn assert_done(&self) -> &[u8] {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }
}

fn run(mut command: Command, input: &[u8]) -> Outcome {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A program that refuses does not read its input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap().into()
    })
}

fn archive(fill: impl FnOnce(&mut Writer<Vec<u8>>)) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Compression::Fast);
    fill(&mut writer);
    writer.finish().unwrap().0
}

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn put_and_get_by_streams_and_by_files() {
    let home = Home::new();
    let url = home.url("store/object");
    assert_eq!(home.run(&["put", &url], b"abc").assert_done(), format!("3 {ABC}\n").as_bytes());
    assert_eq!(home.run(&["get", &url], b"").assert_done(), b"abc");

    home.run(&["get", &url, "--output", "copy"], b"").assert_done();
    assert_eq!(fs::read(home.path("copy")).unwrap(), b"abc");
    let out = home.run(&["put", &url, "--input", "copy", "--json"], b"");
    assert_eq!(out.assert_done(), format!("{{\"bytes\":3,\"sha256\":\"{ABC}\"}}\n").as_bytes());
    assert_eq!(home.names(), ["copy", "store"]);
}

#[test]
fn an_object_that_is_not_there_is_told_from_one_that_cannot_be_read() {
    let home = Home::new();
    fs::create_dir(home.path("directory")).unwrap();
    for output in ["-", "copy"] {
        let missing = home.run(&["get", &home.url("missing"), "-o", output], b"");
        missing.assert_failed(1, "there is no object at `file:///");
        let wrong = home.run(&["get", &home.url("directory"), "-o", output], b"");
        wrong.assert_failed(1, "is no object, but something else");
        assert!(!wrong.stderr.contains("there is no object"));
    }
    assert_eq!(home.names(), ["directory"]);
}

#[test]
fn only_a_file_is_replaced_and_links_are_kept() {
    let home = Home::new();
    let url = home.url("object");
    home.run(&["put", &url], b"new").assert_done();
    fs::write(home.path("file"), "old").unwrap();
    std::os::unix::fs::symlink("file", home.path("link")).unwrap();
    home.run(&["get", &url, "--output", "link"], b"").assert_done();
    assert_eq!(fs::read(home.path("file")).unwrap(), b"new");
    assert!(home.path("link").symlink_metadata().unwrap().is_symlink());
    for place in [".", "/dev/null"] {
        home.run(&["get", &url, "--output", place], b"").assert_failed(1, "no file that could be replaced");
    }
    assert_eq!(home.names(), ["file", "link", "object"]);
}

#[test]
fn put_beyond_the_limit_leaves_what_was_there() {
    let home = Home::new();
    let url = home.url("object");
    home.run(&["put", &url, "--max-bytes", "3"], b"abc").assert_done();
    home.run(&["put", &url, "--max-bytes", "3"], b"abcd").assert_failed(1, "larger than 3 bytes");
    home.run(&["put", &url, "--input", "missing"], b"").assert_failed(1, "missing");
    home.run(&["put", &url, "--input", "."], b"").assert_failed(1, "cannot read `.`");
    assert_eq!(fs::read(home.path("object")).unwrap(), b"abc");
    assert_eq!(home.names(), ["object"]);
}

#[test]
fn a_url_is_refused_without_being_repeated() {
    let home = Home::new();
    for url in [
        "https://bucket.example/key?X-Amz-Signature=x#s3cret",
        "https://user:s3cret@host.example/key",
        "file:///key?s3cret",
        "file://s3cret@host/key",
        "s3cret",
    ] {
        for command in ["get", "put"] {
            let out = home.run(&[command, url], b"");
            out.assert_failed(2, "the URL cannot be used");
            assert!(!out.stderr.contains("s3cret"), "{out:?}");
        }
    }
    assert!(home.names().is_empty(), "a refusal leaves nothing behind");
}

#[test]
fn the_command_line() {
    let home = Home::new();
    for wrong in [
        &[][..],
        &["frob"],
        &["get"],
        &["put", "file:///x", "--max-bytes", "many"],
        &["extract", "--links", "out"],
    ] {
        let out = home.run(wrong, b"");
        assert_eq!((out.status, out.stdout.len()), (Some(2), 0), "{out:?}");
        assert!(!out.stderr.is_empty());
    }
    for help in [&["--help"][..], &["get", "--help"], &["put", "--help"], &["extract", "--help"]] {
        let out = home.run(help, b"");
        assert!(String::from_utf8_lossy(out.assert_done()).contains("Example:\n  ruko-fetch "), "{out:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let home = Home::new();
    let url = home.url("object");
    home.run(&["put", &url], &vec![7; 4 << 20]).assert_done();
    let mut child =
        home.command(&["get", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let out = Outcome::from(child.wait_with_output().unwrap());
    assert_eq!((out.status, out.stderr.as_str()), (Some(1), ""));
}

#[test]
fn a_full_stdout_is_named() {
    let home = Home::new();
    let url = home.url("object");
    home.run(&["put", &url], b"abc").assert_done();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let out = home.command(&["get", &url]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    Outcome::from(out).assert_failed(1, "cannot write to stdout");
}

#[test]
fn an_archive_is_extracted_from_stdin_or_a_file() {
    let home = Home::new();
    let bytes = archive(|writer| {
        writer.directory(Path::new("app"), 0o755).unwrap();
        writer.file_bytes(Path::new("app/Procfile"), 0o644, b"web: run\n").unwrap();
    });
    home.run_as_nobody(&["extract"], &bytes).assert_done();
    assert_eq!(fs::read(home.path("app/Procfile")).unwrap(), b"web: run\n");

    fs::write(home.path("slug.tar.gz"), &bytes).unwrap();
    home.run_as_nobody(&["extract", "--into", "app", "slug.tar.gz"], b"").assert_done();
    assert_eq!(fs::read(home.path("app/app/Procfile")).unwrap(), b"web: run\n");
    home.run_as_nobody(&["extract", "--into", "missing"], &bytes)
        .assert_failed(1, "cannot unpack into `missing`");
}

#[test]
fn an_archive_beyond_a_limit_is_refused() {
    let home = Home::new();
    let bytes = archive(|writer| {
        for name in ["a", "b", "c"] {
            writer.file_bytes(Path::new(name), 0o644, b"four").unwrap();
        }
    });
    home.run_as_nobody(&["extract", "--max-bytes", "11"], &bytes).assert_failed(1, "larger than 11 bytes");
    home.run_as_nobody(&["extract", "--max-entries", "2"], &bytes).assert_failed(1, "more than 2 entries");
    home.run_as_nobody(&["extract", "--max-bytes", "12", "--max-entries", "3"], &bytes).assert_done();
    home.run_as_nobody(&["extract"], &bytes[..bytes.len() / 2]).assert_failed(1, "damaged");
    home.run_as_nobody(&["extract"], b"no archive").assert_failed(1, "damaged");
}

#[test]
fn links_that_lead_outside_need_to_be_asked_for() {
    let home = Home::new();
    let tree = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/app/vendor", tree.path().join("vendor")).unwrap();
    let bytes = archive(|writer| {
        let options = ruko_archive::TreeOptions::all(ruko_archive::Times::Fixed);
        writer.tree(tree.path(), Path::new(""), &options).unwrap();
    });
    home.run_as_nobody(&["extract"], &bytes).assert_failed(1, "--links any");
    assert!(home.names().is_empty());
    home.run_as_nobody(&["extract", "--links", "any"], &bytes).assert_done();
    assert_eq!(fs::read_link(home.path("vendor")).unwrap(), Path::new("/app/vendor"));
}

#[test]
fn root_does_not_extract() {
    let home = Home::new();
    let bytes = archive(|writer| writer.file_bytes(Path::new("file"), 0o644, b"").unwrap());
    if !nix::unistd::geteuid().is_root() {
        // Who is root is then looked at by the unit test of the map of user ids only.
        home.run(&["extract"], &bytes).assert_done();
        return;
    }
    home.run(&["extract"], &bytes).assert_failed(1, "root does not unpack");
    assert!(home.names().is_empty());
}

/// It runs on every stack, whatever C library that has.
#[test]
fn it_needs_no_shared_library() {
    let headers = ["--program-headers", "--dynamic", "--wide", env!("CARGO_BIN_EXE_ruko-fetch")];
    let out = Command::new("readelf").args(headers).output().unwrap();
    let seen = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && seen.contains("LOAD"), "{out:?}");
    assert!(!seen.contains("INTERP") && !seen.contains("NEEDED"), "{seen}");
}
