//! The steps as commands of their own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::fs;
use std::process::{Command, Output};

use world::{World, git};

fn stdout(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn stderr(out: &Output, status: i32) -> String {
    assert_eq!(out.status.code(), Some(status), "{out:?}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn a_wrong_command_line_is_status_2_and_help_has_an_example() {
    let container = World::new().container();
    for args in [&[][..], &["nonsense"], &["session"], &["session", "shell"], &["checkout", "main", "x"]] {
        stderr(&container.run(args), 2);
    }
    assert!(stdout(&container.run(&["--help"])).contains("ruko-slug inspect slug.tar.gz --json"));
    assert!(stdout(&container.run(&["--help"])).contains("--buildpacks <DIR>"));
    assert!(!stdout(&container.run(&["--help"])).contains("--socket"));
}

#[test]
fn a_tree_is_checked_out_and_packed_the_same_each_time() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: a\n"), ("bin/x", "#!/bin/sh\n")]);
    let container = world.container();
    let commit = git(&app, &["rev-parse", "HEAD"]);
    let repository = app.join(".git");
    let mut slugs = vec![];
    for name in ["one", "two"] {
        let into = world.path(name);
        let args =
            ["checkout", &commit, into.to_str().unwrap(), "--repository", repository.to_str().unwrap()];
        stdout(&container.run(&args));
        assert_eq!(stdout(&container.run(&["types", into.to_str().unwrap()])), "web: a\n");
        slugs.push(container.run(&["pack", into.to_str().unwrap()]).stdout);
    }
    assert!(!slugs[0].is_empty() && slugs[0] == slugs[1]);
    let left: Vec<_> = fs::read_dir(world.path("one")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let slug = world.path("slug.tgz");
    fs::write(&slug, &slugs[0]).unwrap();
    let text = stdout(&container.run(&["inspect", slug.to_str().unwrap()]));
    assert!(text.starts_with("Size: ") && text.contains("\nType: web: a\n"), "{text}");
    assert!(text.contains("file      0755           10 ./app/bin/x\n"), "{text}");
    let submitted = stdout(&container.run(&["submit", slug.to_str().unwrap()]));
    assert!(submitted.starts_with(&format!("{} ", slugs[0].len())), "{submitted}");
    assert_eq!(world.host.kept().slug.as_ref(), Some(&slugs[0]));
}

#[test]
fn types_merge_a_release_document() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: a\nweb: b\n")]);
    let release = world.path("release.yml");
    fs::write(&release, "default_process_types: {web: no, console: c}\n").unwrap();
    let args = ["types", app.to_str().unwrap(), "--release", release.to_str().unwrap()];
    let out = world.container().run(&args);
    assert_eq!(stdout(&out), "console: c\nweb: b\n");
    assert!(stderr(&out, 0).contains("declares web again"));
}

#[test]
fn compile_runs_a_buildpack_alone() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: a\n"), ("mix.exs", "")]);
    let container = world.container();
    let (dir, tmp) = (app.to_str().unwrap(), container.dir.join("tmp"));
    let tmp = tmp.to_str().unwrap();
    let out = container.run(&["compile", dir, tmp, tmp, "--buildpack", "procfile"]);
    assert!(stdout(&out).contains("mix.exs is there"), "{out:?}");
    let why = stderr(&container.run(&["compile", dir, tmp, tmp, "--buildpack", "none"]), 1);
    assert!(why.contains("no buildpack named `none` ships"), "{why}");
}

#[test]
fn an_installed_program_finds_the_buildpacks_that_were_installed_with_it() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: a\n")]);
    // A second name and no copy: a program that is being written while another test forks cannot be run.
    let prefix = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tools = prefix.path().join("libexec/openruko/tools");
    let share = prefix.path().join("share/openruko");
    fs::create_dir_all(&tools).unwrap();
    fs::create_dir_all(&share).unwrap();
    let program = tools.join("ruko-slug");
    fs::hard_link(env!("CARGO_BIN_EXE_ruko-slug"), &program).unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../buildpacks");
    std::os::unix::fs::symlink(shipped, share.join("buildpacks")).unwrap();
    let detected = Command::new(&program).arg("detect").arg(&app).output().unwrap();
    assert_eq!(stdout(&detected), "procfile\tProcfile\n");
}

#[test]
fn what_is_no_slug_is_refused_with_its_name() {
    let world = World::new();
    let path = world.path("broken");
    fs::write(&path, "not a slug").unwrap();
    let why = stderr(&world.container().run(&["inspect", path.to_str().unwrap()]), 1);
    assert!(why.starts_with("ruko-slug: cannot read the slug `") && why.contains("broken"), "{why}");
}

#[test]
fn a_session_without_its_host_says_so_and_that_later_may_work() {
    let world = World::new();
    fs::remove_file(world.path("host.sock")).unwrap();
    let why = stderr(&world.container().run(&["session", "receive-pack"]), 75);
    assert!(why.starts_with(" !     cannot reach the host's side"), "{why}");
}

#[test]
fn a_damaged_stored_repository_ends_the_session_and_is_not_replaced_by_an_empty_one() {
    let world = World::new();
    world.host.kept().repository = Some(b"damaged".to_vec());
    let why = stderr(&world.container().run(&["session", "receive-pack"]), 1);
    assert!(why.starts_with(" !     cannot unpack the stored repository"), "{why}");
}

/// It runs on every stack, whatever C library that has.
#[test]
fn it_needs_no_shared_library() {
    let headers = ["--program-headers", "--dynamic", "--wide", env!("CARGO_BIN_EXE_ruko-slug")];
    let out = Command::new("readelf").args(headers).output().unwrap();
    let seen = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && seen.contains("LOAD"), "{out:?}");
    assert!(!seen.contains("INTERP") && !seen.contains("NEEDED"), "{seen}");
}
