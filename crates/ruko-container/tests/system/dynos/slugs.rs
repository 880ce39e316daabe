//! `/app`: the slug, below what the dyno writes.

use std::os::unix::fs::symlink;

use super::*;
use crate::world::loop_devices;

const FILES: &[(&str, &str)] = &[
    ("hello.txt", "hello\n"),
    ("dir/inner/file", "inner\n"),
    ("dir/other", "other\n"),
    ("bin/run", "#!/bin/sh\n"),
];

#[test]
fn a_dyno_changes_its_files_as_it_likes_and_nobody_elses() {
    let platform = Platform::with("slots = 240\n", FILES);
    let before = fs::read(platform.site.dir.join("slugs").join(platform.slug.as_str())).unwrap();
    let script = "set -e; echo more >>hello.txt; rm dir/other; mv bin/run bin/renamed; chmod 700 bin/renamed; \
        python3 -c 'import os; os.rename(\"dir\", \"moved\")'; echo new >new; ln hello.txt link; \
        cat hello.txt moved/inner/file new; ls -A . moved bin; rm -rf moved bin; ls -A";
    let mut first = platform.runs("first", DynoStart { stdin: true, ..line(&format!("{script}; read -r")) });
    let changed = "hello\nmore\ninner\nnew\n.:\nbin\nhello.txt\nlink\nmoved\nnew\n\nbin:\nrenamed\n\nmoved:\ninner\n\
        hello.txt\nlink\nnew\n";
    first.output.wait_for("\nhello.txt\nlink\nnew\n");
    assert_eq!(first.output.text(), changed);
    let pristine = platform.says("find . -type f | sort | xargs cat");
    assert_eq!(pristine, "#!/bin/sh\ninner\nother\nhello\n");
    first.write(b"\n");
    assert_eq!(first.end().0, done(0));
    assert_eq!(platform.says("ls -A"), "bin\ndir\nhello.txt\n", "what was written went with the dyno");
    let after = fs::read(platform.site.dir.join("slugs").join(platform.slug.as_str())).unwrap();
    assert!(before == after, "the image is as it was");
}

#[test]
fn dynos_of_one_release_share_one_device_which_goes_with_the_last() {
    let platform = Platform::new();
    let of_slugs = || loop_devices(&platform.site.dir).iter().filter(|file| file.contains("/slugs/")).count();
    let dynos: Vec<_> =
        (0..4).map(|i| platform.runs(&format!("one-{i}"), line("cat hello.txt; exec sleep 1000"))).collect();
    dynos.iter().for_each(|dyno| dyno.output.wait_for("hello"));
    assert_eq!(of_slugs(), 1);
    // An image of the same name is another one.
    fs::remove_file(platform.site.dir.join("slugs").join(platform.slug.as_str())).unwrap();
    image(&platform.site, 'a', &[("hello.txt", "later\n")]);
    assert_eq!(platform.says("cat hello.txt"), "later\n");
    for mut dyno in dynos {
        assert_eq!(of_slugs(), 1);
        assert_eq!(dyno.run.end(), 0);
    }
    crate::world::eventually(PATIENCE, "the device is gone", || loop_devices(&platform.site.dir).is_empty());
}

#[test]
fn an_image_that_cannot_be_one_is_refused_before_anything_is_made() {
    let platform = Platform::new();
    let slugs = platform.site.dir.join("slugs");
    let refused = |digit: char| {
        let (stdin, _input) = io::pipe().unwrap();
        let (_output, stdout) = io::pipe().unwrap();
        let image = digit.to_string().repeat(64).parse().unwrap();
        let spec =
            RunSpec { purpose: Purpose::Dyno { image, shares: 1 }, ..platform.spec("refused", LIMITS) };
        let (message, try_again) = run(&platform.site, &spec, &[stdin.as_fd(), stdout.as_fd()]).refusal();
        assert!(!try_again && message.contains(&digit.to_string().repeat(64)), "{message}");
        message
    };
    let at = |digit: char| slugs.join(digit.to_string().repeat(64));
    assert!(refused('0').contains("is not there"));
    symlink(at('a'), at('1')).unwrap();
    assert!(refused('1').contains("symbolic link"), "{}", refused('1'));
    fs::create_dir(at('2')).unwrap();
    assert!(refused('2').contains("not a regular file"));
    assert!(Command::new("mkfifo").arg(at('3')).status().unwrap().success());
    assert!(refused('3').contains("not a regular file"));
    assert!(!platform.site.containers().join("refused").exists());
    // What only the kernel can tell.
    fs::write(at('4'), vec![b'x'; 100_000]).unwrap();
    assert!(refused('4').contains("is no image"), "{}", refused('4'));
    fs::write(at('5'), "").unwrap();
    assert!(refused('5').contains("is no image"), "{}", refused('5'));
    assert!(!platform.site.containers().join("refused").exists(), "a failed start leaves nothing");
    assert_eq!(loop_devices(&platform.site.dir), [""; 0]);
}

#[test]
fn without_a_place_for_images_there_are_no_dynos() {
    let platform = Platform::new();
    let config = fs::read_to_string(platform.site.config()).unwrap();
    let without: String = config
        .lines()
        .filter(|line| !line.starts_with("slugs_dir"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    fs::write(platform.site.config(), without).unwrap();
    let (stdin, _input) = io::pipe().unwrap();
    let (_output, stdout) = io::pipe().unwrap();
    let (message, _) =
        run(&platform.site, &platform.spec("none", LIMITS), &[stdin.as_fd(), stdout.as_fd()]).refusal();
    assert!(message.contains("`slugs_dir`"), "{message}");
}
