//! Who may do what, and what a stranger learns.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use openruko_tests::{Developer, PlainSshd, World};

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("access::stranger_learns_nothing", stranger_learns_nothing),
    ("access::unknown_key_is_refused_by_sshd", unknown_key_is_refused_by_sshd),
    ("access::only_git_is_served", only_git_is_served),
    ("access::login_without_a_command_is_greeted", login_without_a_command_is_greeted),
    ("access::all_keys_are_kept_in_a_file_that_opens", all_keys_are_kept_in_a_file_that_opens),
    (
        "access::file_of_keys_is_written_as_whoever_owns_its_place",
        file_of_keys_is_written_as_whoever_owns_its_place,
    ),
    ("access::collaborator_may_push_until_removed", collaborator_may_push_until_removed),
    ("access::removed_key_no_longer_opens", removed_key_no_longer_opens),
];

fn stranger_learns_nothing(world: &World) {
    let owner = world.developer("oscar");
    let stranger = world.developer("mallory");
    world.app("private-app", &owner);
    owner.fixture("procfile").deploy("private-app");
    let repo = stranger.fixture("procfile");
    let refused = repo.push("private-app", &["main"]);
    let missing = repo.push("missing-app", &["main"]);
    assert!(!refused.ok && !missing.ok);
    // What ssh and what git print is not in one order.
    let lines = |seen: &str, app: &str| {
        let mut lines: Vec<String> = seen.replace(app, "X").lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(lines(&refused.seen, "private-app"), lines(&missing.seen, "missing-app"));
    assert!(refused.seen.contains(" !     "), "{}", refused.seen);
    for app in ["private-app", "missing-app"] {
        let out = stranger.git(repo.path()).args(["ls-remote", &stranger.remote(app)]).output().unwrap();
        assert!(!out.status.success() && out.stdout.is_empty());
    }
    assert_eq!(
        world.admin_json(&["builds", "private-app"]).as_array().unwrap().len(),
        1,
        "nothing was started"
    );
}

fn unknown_key_is_refused_by_sshd(world: &World) {
    let nobody = Developer::unknown(world);
    let refused = nobody.fixture("procfile").push("private-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains("Permission denied (publickey)"), "{}", refused.seen);
}

/// ssh as a developer, with a command; its exit status, stdout and stderr.
fn ssh(world: &World, dev: &Developer, command: &[&str]) -> (Option<i32>, String, String) {
    let out = dev.ssh(world.ssh()).args(command).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

fn only_git_is_served(world: &World) {
    let dev = world.developer("gil");
    for command in [&["id"][..], &["git-receive-pack 'x-app.git'; id"], &["git-shell"], &["scp", "-t", "/"]] {
        let (status, stdout, stderr) = ssh(world, &dev, command);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{command:?}");
        assert!(stderr.contains(" !     ") && stderr.contains("git remote add"), "{stderr}");
    }
}

/// `ssh git@host`: who it is, with which key, what there is, and nothing on stdout, which is git's.
fn login_without_a_command_is_greeted(world: &World) {
    let dev = world.developer("greta");
    let (status, stdout, stderr) = ssh(world, &dev, &[]);
    assert_eq!((status, stdout.as_str()), (Some(0), ""), "{stderr}");
    let keys = world.admin_json(&["key", "list", "greta"]);
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap();
    assert!(
        stderr.contains("You are greta") && stderr.contains(&format!("{fingerprint} (greta)")),
        "{stderr}"
    );
    assert!(stderr.contains("no apps yet") && stderr.contains("no shell"), "{stderr}");
    world.app("greeted-app", &dev);
    let (status, _, stderr) = ssh(world, &dev, &[]);
    assert_eq!(status, Some(0));
    assert!(stderr.contains(&format!("git clone {}", dev.remote("greeted-app"))), "{stderr}");
}

/// The other way to tell sshd: a file that anything may be in.
fn all_keys_are_kept_in_a_file_that_opens(world: &World) {
    let dev = world.developer("fiona");
    let scratch = world.scratch();
    let real = scratch.path().join("real");
    let link = scratch.path().join("authorized_keys");
    fs::write(&real, "ssh-rsa AAAAB3foreign root@elsewhere\r\nno-pty ssh-rsa AAAAB3unterminated").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
    symlink(&real, &link).unwrap();
    let run = || {
        let out = world
            .program("libexec/openruko/openruko-serve")
            .args(["keys", "--all"])
            .arg(&link)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        (fs::read_to_string(&real).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (text, _) = run();
    assert!(
        text.starts_with("ssh-rsa AAAAB3foreign root@elsewhere\r\nno-pty ssh-rsa AAAAB3unterminated\n"),
        "{text}"
    );
    assert!(text.contains(" fiona\" ssh-ed25519 "), "{text}");
    assert!(link.is_symlink() && fs::metadata(&real).unwrap().permissions().mode() & 0o777 == 0o604);

    let sshd = PlainSshd::start(world, &dev, &real);
    let greeted = sshd.login(&dev);
    assert!(greeted.contains("You are fiona"), "{greeted}");
    let keys = world.admin_json(&["key", "list", "fiona"]);
    let _ = world.admin(&["key", "remove", "fiona", keys[0]["fingerprint"].as_str().unwrap()]);
    let (text, said) = run();
    assert!(!text.contains(" fiona\" ") && said.contains("1 removed"), "{said}");
    assert!(sshd.login(&dev).contains("Permission denied"));

    // Where nothing is yet, it is made as sshd wants it.
    let home = scratch.path().join("home");
    fs::create_dir(&home).unwrap();
    let made = world
        .program("libexec/openruko/openruko-serve")
        .env("HOME", &home)
        .args(["keys", "--all"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(".ssh"), mode(".ssh/authorized_keys")), (0o700, 0o600));
}

/// Whoever can write to the directory can put links and pipes there: root must not be led by them.
fn file_of_keys_is_written_as_whoever_owns_its_place(world: &World) {
    const NOBODY: u32 = 65534;
    let scratch = world.scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let of_root = scratch.path().join("of-root");
    fs::create_dir(&of_root).unwrap();
    let home = |name: &str, set_up: &dyn Fn(&std::path::Path)| {
        let home = scratch.path().join(name);
        fs::create_dir(&home).unwrap();
        set_up(&home);
        for path in
            [home.join(".ssh"), home.clone()].iter().filter(|path| path.is_dir() && !path.is_symlink())
        {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let serve = world.program("libexec/openruko/openruko-serve");
        let mut within = Command::new("timeout");
        within.arg("20").arg(serve.get_program()).args(serve.get_args()).env("HOME", &home);
        (home, within.args(["keys", "--all"]).output().unwrap())
    };

    let (made, out) = home("nothing-there", &|_| {});
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for path in [".ssh", ".ssh/authorized_keys", ".ssh/authorized_keys.openruko-lock"] {
        let meta = fs::metadata(made.join(path)).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o077), (NOBODY, 0), "{path}");
    }

    let lock = |home: &std::path::Path| {
        fs::create_dir(home.join(".ssh")).unwrap();
        home.join(".ssh/authorized_keys.openruko-lock")
    };
    let led = [
        home("lock-is-a-link", &|home| symlink(of_root.join("made"), lock(home)).unwrap()),
        home("directory-is-a-link", &|home| symlink(&of_root, home.join(".ssh")).unwrap()),
        home("lock-is-a-pipe", &|home| {
            let pipe = lock(home);
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            chown(&pipe, Some(NOBODY), Some(NOBODY)).unwrap();
        }),
    ];
    for (home, out) in led {
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{}: {said}", home.display());
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(fs::read_dir(&of_root).unwrap().count(), 0, "root was led there");
}

fn collaborator_may_push_until_removed(world: &World) {
    let owner = world.developer("olaf");
    let friend = world.developer("frida");
    world.app("shared-app", &owner);
    let repo = friend.fixture("procfile");
    assert!(!repo.push("shared-app", &["main"]).ok);
    let _ = world.admin(&["access", "add", "shared-app", "frida"]);
    repo.deploy("shared-app");
    let _ = world.admin(&["access", "remove", "shared-app", "frida"]);
    repo.commit(&[("more", "1")]);
    assert!(!repo.push("shared-app", &["main"]).ok);
    assert_eq!(world.deploys("shared-app"), 1);
}

fn removed_key_no_longer_opens(world: &World) {
    let dev = world.developer("rene");
    let (status, _, greeting) = ssh(world, &dev, &[]);
    assert_eq!(status, Some(0), "the key opens: {greeting}");
    let keys = world.admin_json(&["key", "list", "rene"]);
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap().to_owned();
    let _ = world.admin(&["key", "remove", "rene", &fingerprint]);
    let (status, _, stderr) = ssh(world, &dev, &[]);
    assert_eq!(status, Some(255));
    assert!(stderr.contains("Permission denied"), "{stderr}");
}
