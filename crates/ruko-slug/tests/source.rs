//! The build of a tarball as a container sees it: `ruko-slug build-source`, and a host at the other end of a
//! real unix socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::process::{Command, Stdio};

use world::World;

/// A tar.gz of these files, as a developer makes it.
fn tarball(world: &World, files: &[(&str, &str)], args: &[&str]) -> Vec<u8> {
    let app = world.app(files);
    let mut tar = Command::new("tar");
    tar.args(["--exclude=.git", "-czf", "-"]).args(args).current_dir(app);
    let out = tar.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// An archive of one entry of this kind, which no ordinary tar would write, and the zeros at its end.
fn hostile(name: &str, kind: u8, target: &str) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(b"00000000000\0");
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let tar = [&header[..], &[0; 1024]].concat();
    let mut gzip = Command::new("gzip");
    let mut child = gzip.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &tar).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Builds what the host has, and gives whether it came to a release, and what was said.
fn build(world: &World) -> (bool, String) {
    let out = world.container().run(&["build-source"]);
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn a_tarball_becomes_a_release_and_the_repository_stays_as_it_is() {
    let world = World::new();
    let buildpack = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Versioned\n"),
        ("bin/compile", "#!/bin/sh\necho \"version $SOURCE_VERSION\"\n"),
    ]);
    let files =
        [("Procfile", "web: ./serve\n"), ("serve", "#!/bin/sh\n"), ("big", "x"), (".slugignore", "big\n")];
    world.host.kept().source = Some(tarball(&world, &files, &["."]));
    world.host.kept().source_version = Some("v1.2".into());
    world.host.kept().buildpacks = vec![buildpack];
    let (ok, said) = build(&world);
    assert!(ok, "{said}");
    for line in ["version v1.2", "-----> Compressing...", "       Released v1"] {
        assert!(said.lines().any(|one| one == line), "no `{line}` in:\n{said}");
    }
    let kept = world.host.kept();
    assert_eq!(kept.output, said, "the record has what was printed");
    let commit = &kept.commits[0];
    assert!(commit.refs.is_empty() && kept.repository.is_none());
    let manifest = commit.manifest.as_ref().unwrap();
    assert_eq!((&manifest.head, manifest.buildpack.as_str()), (&None, "Versioned"));
    assert_eq!(manifest.process_types[&"web".parse().unwrap()], "./serve");
    drop(kept);
    let entries = world.slug_entries();
    assert!(entries.iter().any(|entry| entry == "./app/serve"), "{entries:?}");
    assert!(!entries.iter().any(|entry| entry == "./app/big"), "{entries:?}");
}

#[test]
fn a_directory_at_the_top_is_kept_and_named() {
    let world = World::new();
    world.host.kept().source = Some(tarball(&world, &[("app-1/Procfile", "web: x\n")], &["app-1"]));
    let (ok, said) = build(&world);
    assert!(!ok && said.contains("tar -czf source.tar.gz -C app-1 ."), "{said}");
    assert!(said.contains("no buildpack recognises the app"), "{said}");
}

#[test]
fn what_nobody_honest_packs_is_refused_in_words() {
    for (archive, word) in [
        (hostile("../escape", b'0', ""), "../escape"),
        (hostile("/etc/passwd", b'0', ""), "/etc/passwd"),
        (hostile("link", b'2', "../../etc"), "may lead outside"),
        (hostile("null", b'3', ""), "null"),
        (b"no archive".to_vec(), "damaged"),
        (vec![], "damaged"),
    ] {
        let world = World::new();
        world.host.kept().source = Some(archive);
        let (ok, said) = build(&world);
        assert!(
            !ok && said.contains("the source cannot be unpacked") && said.contains(word),
            "{word}: {said}"
        );
        let kept = world.host.kept();
        assert!(kept.failures[0].contains(word), "{:?}", kept.failures);
        assert!(kept.commits.is_empty() && kept.slug.is_none());
    }
}

#[test]
fn a_source_that_is_larger_than_the_disk_is_refused() {
    let world = World::new();
    world.host.kept().limits.disk_bytes = 1000;
    world.host.kept().source = Some(tarball(&world, &[("Procfile", &"#".repeat(2000))], &["."]));
    let (ok, said) = build(&world);
    assert!(!ok && said.contains("1000 bytes"), "{said}");
}

#[test]
fn a_failing_compile_is_told_and_nothing_is_committed() {
    let world = World::new();
    let buildpack = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Broken\n"),
        ("bin/compile", "#!/bin/sh\necho 'no luck'\nexit 7\n"),
    ]);
    world.host.kept().buildpacks = vec![buildpack];
    world.host.kept().source = Some(tarball(&world, &[("Procfile", "web: x\n")], &["."]));
    let (ok, said) = build(&world);
    assert!(!ok && said.contains("no luck") && said.contains("failed to compile Broken app."), "{said}");
    assert!(world.host.kept().commits.is_empty());
}
