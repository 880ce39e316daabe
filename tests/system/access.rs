//! Who may do what, and what a stranger learns.

use std::process::{Command, Stdio};

use openruko_tests::{Developer, World};

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("access::stranger_learns_nothing", stranger_learns_nothing),
    ("access::unknown_key_is_refused_by_sshd", unknown_key_is_refused_by_sshd),
    ("access::only_git_is_served", only_git_is_served),
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
    let ssh = dev.ssh_command();
    let words: Vec<&str> = ssh.split_whitespace().collect();
    let out = Command::new(words[0])
        .args(&words[1..])
        .args(["-p", &world.ssh().port().to_string(), "git@127.0.0.1"])
        .args(command)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

fn only_git_is_served(world: &World) {
    let dev = world.developer("gil");
    for command in
        [&[][..], &["id"], &["git-receive-pack 'x-app.git'; id"], &["git-shell"], &["scp", "-t", "/"]]
    {
        let (status, stdout, stderr) = ssh(world, &dev, command);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{command:?}");
        assert!(stderr.contains(" !     ") && stderr.contains("git remote add"), "{stderr}");
    }
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
    let (_, _, greeting) = ssh(world, &dev, &[]);
    assert!(greeting.contains(" !     "), "the key opens: {greeting}");
    let keys = world.admin_json(&["key", "list", "rene"]);
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap().to_owned();
    let _ = world.admin(&["key", "remove", "rene", &fingerprint]);
    let (status, _, stderr) = ssh(world, &dev, &[]);
    assert_eq!(status, Some(255));
    assert!(stderr.contains("Permission denied"), "{stderr}");
}
