//! Every kind of repository that there is in the wild, through the whole path.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use openruko_tests::{Developer, Pushed, Repo, World};
use serde_json::json;

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    (
        "repositories::odd_names_links_and_modes_arrive_as_they_are",
        odd_names_links_and_modes_arrive_as_they_are,
    ),
    ("repositories::many_and_large_files_are_released", many_and_large_files_are_released),
    ("repositories::every_git_here_speaks_every_protocol", every_git_here_speaks_every_protocol),
    ("repositories::several_refs_move_together_or_not_at_all", several_refs_move_together_or_not_at_all),
    ("repositories::tags_and_branches_come_change_and_go", tags_and_branches_come_change_and_go),
    ("repositories::sha256_is_refused_in_words", sha256_is_refused_in_words),
    (
        "repositories::what_git_cannot_check_is_refused_before_a_build",
        what_git_cannot_check_is_refused_before_a_build,
    ),
    ("repositories::options_of_pushes_are_answered", options_of_pushes_are_answered),
    ("repositories::shallow_clones_are_told_what_to_do", shallow_clones_are_told_what_to_do),
    (
        "repositories::private_submodule_is_fetched_with_the_deploy_key",
        private_submodule_is_fetched_with_the_deploy_key,
    ),
    (
        "repositories::another_app_is_a_submodule_for_those_who_may_read_it",
        another_app_is_a_submodule_for_those_who_may_read_it,
    ),
    ("repositories::private_submodules_ask_for_a_deploy_key", private_submodules_ask_for_a_deploy_key),
];

/// The gits of this machine: the one that developers have by default, and Debian's, if they are two.
fn gits() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let all = std::env::split_paths(&path).map(|dir| dir.join("git")).filter(|git| git.exists());
    let mut found: Vec<PathBuf> = all.map(|git| fs::canonicalize(git).unwrap()).collect();
    found.sort();
    found.dedup();
    found
}

/// One of them, for a developer.
fn with(git: &Path, dev: &Developer, dir: &Path) -> Command {
    let mut command = dev.git(dir);
    let path = std::env::var_os("PATH").unwrap();
    let first = std::iter::once(git.parent().unwrap().to_owned()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(first).unwrap());
    command
}

fn run(command: &mut Command) -> Pushed {
    command.output().unwrap().into()
}

fn done(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The names in an app's current slug, as bytes.
fn slug_listing(world: &World, app: &str) -> Vec<u8> {
    let url = world.current_release(app)["slug_url"].as_str().unwrap().to_owned();
    let out = Command::new("tar")
        .args(["-tvzf"])
        .arg(world.stored(&url))
        .args(["--quoting-style=literal"])
        .output();
    out.unwrap().stdout
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn odd_names_links_and_modes_arrive_as_they_are(world: &World) {
    let dev = world.developer("odile");
    world.app("odd-app", &dev);
    let repo = dev.fixture("procfile");
    let latin1 = OsStr::from_bytes(b"caf\xe9 \xff.txt");
    fs::write(repo.path().join(latin1), "bytes").unwrap();
    let deep = "a very deep directory/".repeat(9);
    fs::create_dir_all(repo.path().join(&deep)).unwrap();
    fs::write(repo.path().join(&deep).join("deep.txt"), "deep").unwrap();
    for (name, target) in [
        ("inside", "hello.txt"),
        ("absolute", "/app/hello.txt"),
        ("dangling", "no/such/file"),
        ("outside", "../../etc/passwd"),
    ] {
        symlink(target, repo.path().join(name)).unwrap();
    }
    for name in ["README", "readme", "-option", "two\nlines", "it's \"quoted\" $HOME"] {
        fs::write(repo.path().join(name), name).unwrap();
    }
    let script = repo.path().join("run.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        repo.path().join(".gitattributes"),
        "secret.txt export-ignore\nversion.txt export-subst\n* text=auto eol=crlf\n",
    )
    .unwrap();
    // Not through this client's own conversion: what is committed is what counts.
    repo.git(&["config", "core.autocrlf", "false"]);
    repo.commit(&[("secret.txt", "kept\n"), ("version.txt", "$Format:%H$\n")]);
    repo.deploy("odd-app");

    let listing = slug_listing(world, "odd-app");
    for part in [
        b"./app/caf\xe9 \xff.txt\n".as_slice(),
        b"deep.txt\n",
        b"./app/inside -> hello.txt\n",
        b"./app/absolute -> /app/hello.txt\n",
        b"./app/dangling -> no/such/file\n",
        b"./app/outside -> ../../etc/passwd\n",
        b"./app/README\n",
        b"./app/readme\n",
        b"./app/-option\n",
        b"./app/two\nlines\n",
        b"./app/it's \"quoted\" $HOME\n",
        b"./app/secret.txt\n",
    ] {
        let text = String::from_utf8_lossy(&listing);
        assert!(contains(&listing, part), "no {:?} in {text}", String::from_utf8_lossy(part));
    }
    let text = String::from_utf8_lossy(&listing);
    let modes = |name: &str| text.lines().find(|line| line.ends_with(name)).unwrap()[..10].to_owned();
    assert_eq!((modes("/run.sh").as_str(), modes("/secret.txt").as_str()), ("-rwxr-xr-x", "-rw-r--r--"));
    let slug = world.scratch();
    world.unpack_slug("odd-app", slug.path());
    let built = |name: &str| fs::read_to_string(slug.path().join("app").join(name)).unwrap();
    assert_eq!(built("version.txt"), "$Format:%H$\n", "a checkout, not an export");

    let scratch = world.scratch();
    done(dev.git(scratch.path()).args(["clone", "-q", &dev.remote("odd-app"), "copy"]));
    let tree = |dir: &Path| done(dev.git(dir).args(["ls-tree", "-rz", "HEAD"]));
    assert_eq!(tree(&scratch.path().join("copy")), tree(repo.path()));
}

/// Bytes that do not compress.
fn random(bytes: u64, path: &Path) {
    let mut from = std::io::Read::take(fs::File::open("/dev/urandom").unwrap(), bytes);
    std::io::copy(&mut from, &mut fs::File::create(path).unwrap()).unwrap();
}

fn many_and_large_files_are_released(world: &World) {
    let dev = world.developer("maxime");
    world.app("large-repo", &dev);
    let repo = dev.fixture("procfile");
    for n in 0..10_000 {
        let dir = repo.path().join(format!("files/{}", n / 500));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{n}.txt")), n.to_string()).unwrap();
    }
    random(100 << 20, &repo.path().join("large.bin"));
    repo.git(&["config", "core.compression", "0"]);
    // The slug's bound here is a small one.
    repo.commit(&[(".slugignore", "large.bin\n")]);
    repo.deploy("large-repo");
    let text = String::from_utf8_lossy(&slug_listing(world, "large-repo")).into_owned();
    assert_eq!(
        text.lines().filter(|line| line.contains("./app/files/") && line.ends_with(".txt")).count(),
        10_000
    );
    assert!(!text.contains("large.bin"));
    // A small change of it is a small push, and everything comes back.
    repo.commit(&[("hello.txt", "changed")]);
    repo.deploy("large-repo");
    let scratch = world.scratch();
    done(dev.git(scratch.path()).args(["clone", "-q", "--depth=1", &dev.remote("large-repo"), "copy"]));
    let same = Command::new("cmp")
        .arg(repo.path().join("large.bin"))
        .arg(scratch.path().join("copy/large.bin"))
        .status();
    assert!(same.unwrap().success());
}

fn every_git_here_speaks_every_protocol(world: &World) {
    let dev = world.developer("polly");
    world.app("polyglot-app", &dev);
    let repo = dev.fixture("procfile");
    repo.deploy("polyglot-app");
    let remote = dev.remote("polyglot-app");
    for (n, git) in gits().iter().enumerate() {
        for version in ["0", "1", "2"] {
            let speaking = |dir: &Path| {
                let mut command = with(git, &dev, dir);
                command.args(["-c", &format!("protocol.version={version}")]);
                command
            };
            let listed = done(speaking(repo.path()).args(["ls-remote", &remote, "refs/heads/main"]));
            assert!(listed.starts_with(&repo.head()), "{git:?} {version}: {listed}");
            let scratch = world.scratch();
            done(speaking(scratch.path()).args(["clone", "-q", &remote, "copy"]));
            let branch = format!("git-{n}-{version}");
            let pushed = run(speaking(&scratch.path().join("copy")).args([
                "push",
                &remote,
                &format!("HEAD:{branch}"),
            ]));
            assert!(
                pushed.ok && pushed.seen.contains("which is not deployed"),
                "{git:?} {version}: {}",
                pushed.seen
            );
            done(speaking(repo.path()).args(["fetch", "-q", &remote, &branch]));
            let archive = format!("--remote={remote}");
            let tar = done(speaking(repo.path()).args(["archive", &archive, &branch, "hello.txt"]));
            assert!(tar.contains("A file that is served."), "{git:?} {version}");
        }
    }
}

fn several_refs_move_together_or_not_at_all(world: &World) {
    let dev = world.developer("attila");
    world.app("atomic-app", &dev);
    let repo = dev.fixture("procfile");
    repo.git(&["tag", "v1"]);
    let pushed = repo.push("atomic-app", &["--atomic", "main", "main:topic", "v1"]);
    assert!(pushed.ok && pushed.seen.contains("Released v2"), "{}", pushed.seen);
    for name in ["refs/heads/topic", "refs/tags/v1", "refs/heads/main"] {
        assert_eq!(repo.remote_ref("atomic-app", name), Some(repo.head()), "{name}");
    }
    // One of them is no fast-forward: with --atomic none moves, nothing is built, and without it the others do.
    let before = repo.head();
    repo.git(&["checkout", "-q", "--orphan", "elsewhere"]);
    repo.commit(&[("elsewhere", "1")]);
    repo.git(&["checkout", "-q", "main"]);
    repo.commit(&[("new", "1")]);
    let refused = repo.push("atomic-app", &["--atomic", "main", "elsewhere:topic"]);
    assert!(!refused.ok && !refused.seen.contains("Released"), "{}", refused.seen);
    assert_eq!(repo.remote_ref("atomic-app", "refs/heads/main"), Some(before.clone()));
    // What the hook refuses, it refuses as a whole.
    let refused = repo.push("atomic-app", &["main", "main:refs/notes/x"]);
    assert!(!refused.ok && refused.seen.contains("neither a branch nor a tag"), "{}", refused.seen);
    assert_eq!(repo.remote_ref("atomic-app", "refs/heads/main"), Some(before));
    let partly = repo.push("atomic-app", &["main", "elsewhere:topic"]);
    assert!(!partly.ok && partly.seen.contains("Released v3"), "{}", partly.seen);
    assert_eq!(repo.remote_ref("atomic-app", "refs/heads/main"), Some(repo.head()));
}

fn tags_and_branches_come_change_and_go(world: &World) {
    let dev = world.developer("tanja");
    world.app("tagged-app", &dev);
    let repo = dev.fixture("procfile");
    let old = repo.head();
    repo.git(&["tag", "-a", "-m", "x", "v1"]);
    let pushed = repo.push("tagged-app", &["v1", "main:master"]);
    assert!(pushed.ok && pushed.seen.contains("Released v2"), "master is deployed: {}", pushed.seen);
    let alone = repo.push("tagged-app", &["v1:refs/tags/v1-again"]);
    assert!(alone.ok && alone.seen.contains("'v1-again^{commit}':main"), "{}", alone.seen);
    repo.commit(&[("new", "1")]);
    repo.git(&["tag", "-f", "v1"]);
    assert!(!repo.push("tagged-app", &["v1"]).ok, "a tag is not moved by accident");
    assert!(repo.push("tagged-app", &["+v1"]).ok);
    assert_eq!(repo.remote_ref("tagged-app", "refs/tags/v1"), Some(repo.head()));
    let all = repo.push("tagged-app", &[":v1", ":v1-again", "main:x", &format!("{old}:refs/heads/y")]);
    assert!(all.ok, "{}", all.seen);
    assert_eq!(repo.remote_ref("tagged-app", "refs/tags/*"), None);
    assert_eq!(repo.remote_ref("tagged-app", "refs/heads/y"), Some(old));
    let odd =
        repo.push("tagged-app", &["main:refs/heads/-rf", "main:refs/heads/$(id)", "main:refs/heads/Master"]);
    let typed = ["git push openruko refs/heads/-rf:main", "git push openruko '$(id)':main"];
    assert!(odd.ok && typed.iter().any(|line| odd.seen.contains(line)), "{}", odd.seen);
    assert_eq!(repo.remote_ref("tagged-app", "refs/heads/-rf"), Some(repo.head()));
    let long = repo.push("tagged-app", &[&format!("main:refs/heads/{}", "x".repeat(241))]);
    assert!(!long.ok && long.seen.contains("at most 512 bytes, and 240"), "{}", long.seen);
    let gone = repo.push("tagged-app", &[":no-such-branch"]);
    assert!(gone.seen.contains("no-such-branch"), "git says so itself: {}", gone.seen);
    assert_eq!(world.deploys("tagged-app"), 1);
    assert_eq!(
        done(dev.git(repo.path()).args(["ls-remote", "--symref", &dev.remote("tagged-app"), "HEAD"]))
            .lines()
            .next(),
        Some("ref: refs/heads/master\tHEAD")
    );
}

fn sha256_is_refused_in_words(world: &World) {
    let dev = world.developer("sharon");
    world.app("sha-app", &dev);
    for git in gits() {
        let scratch = world.scratch();
        let git = |args: &[&str]| run(with(&git, &dev, scratch.path()).args(args));
        assert!(git(&["init", "-q", "--object-format=sha256", "-b", "main"]).ok);
        assert!(git(&["commit", "-q", "--allow-empty", "-m", "x"]).ok);
        // It hangs up in the middle of what it is offered. When the rest of that arrives later, OpenSSH finds nobody who
        // reads it, and drops what is said on stderr as well (eow@openssh.com in its PROTOCOL): rare, and not ours.
        let told = (0..5).any(|_| {
            let refused = git(&["push", &dev.remote("sha-app"), "main"]);
            assert!(!refused.ok, "{}", refused.seen);
            refused.seen.contains("only SHA-1 ones are taken")
        });
        assert!(told, "nobody says why");
    }
    assert_eq!(world.admin_json(&["builds", "sha-app"]).as_array().unwrap().len(), 0);
    assert!(world.lease("sha-app").is_none());
}

/// The id of an object that is written although it is no good one.
fn write_object(repo: &Repo<'_>, dev: &Developer, kind: &str, bytes: &[u8]) -> String {
    let mut hash = dev.git(repo.path());
    hash.args(["hash-object", "-w", "--literally", "-t", kind, "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut hash = hash.spawn().unwrap();
    hash.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(hash.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn what_git_cannot_check_is_refused_before_a_build(world: &World) {
    let dev = world.developer("fritz");
    world.app("fsck-app", &dev);
    let repo = dev.fixture("procfile");
    let blob = repo.git(&["rev-parse", "HEAD:hello.txt"]).trim().to_owned();
    let raw: Vec<u8> = (0..20).map(|i| u8::from_str_radix(&blob[2 * i..2 * i + 2], 16).unwrap()).collect();
    let entry = |mode: &str, name: &str| [format!("{mode} {name}\0").as_bytes(), &raw].concat();
    for (name, tree, says) in [
        ("a .git", entry("100644", ".git"), "hasDotgit"),
        ("a .GIT", entry("100644", ".GIT"), "hasDotgit"),
        ("dots", entry("100644", ".."), "hasDotdot"),
        ("a path", entry("100644", "a/b"), "fullPathname"),
        ("two of a name", [entry("100644", "a"), entry("100644", "a")].concat(), "duplicateEntries"),
        ("a link as .gitmodules", entry("120000", ".gitmodules"), "gitmodulesSymlink"),
    ] {
        let tree = write_object(&repo, &dev, "tree", &tree);
        let commit = repo.git(&["commit-tree", "-m", "x", &tree]).trim().to_owned();
        let refused = repo.push("fsck-app", &[&format!("{commit}:refs/heads/main")]);
        assert!(!refused.ok && refused.seen.contains(says), "{name}: {}", refused.seen);
        assert!(!refused.seen.contains("app detected"), "{name}: {}", refused.seen);
    }
    // A submodule whose URL would run something: git's own check knows that one.
    let modules = "[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n";
    repo.commit(&[(".gitmodules", modules)]);
    let refused = repo.push("fsck-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains("gitmodulesUrl"), "{}", refused.seen);
    assert_eq!(world.deploys("fsck-app"), 0);
    assert!(world.lease("fsck-app").is_none());
}

fn options_of_pushes_are_answered(world: &World) {
    let dev = world.developer("opal");
    world.app("options-app", &dev);
    let repo = dev.fixture("procfile");
    let dry = repo.push("options-app", &["--dry-run", "main"]);
    assert!(dry.ok && dry.seen.contains("[new branch]"), "{}", dry.seen);
    assert_eq!((world.deploys("options-app"), repo.remote_ref("options-app", "refs/heads/main")), (0, None));
    let optioned = repo.push("options-app", &["-o", "ci.skip", "main"]);
    assert!(!optioned.ok && optioned.seen.contains("does not support push options"), "{}", optioned.seen);
    // An empty commit is a deploy, too; an empty tree is no app.
    repo.commit(&[]);
    repo.deploy("options-app");
    repo.commit(&[]);
    repo.deploy("options-app");
    let empty = repo.git(&["commit-tree", "-m", "x", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"]);
    let refused = repo.push("options-app", &[&format!("+{}:main", empty.trim())]);
    assert!(!refused.ok && refused.seen.contains("no buildpack recognises the app"), "{}", refused.seen);
    repo.git(&["branch", "topic"]);
    repo.git(&["tag", "v1"]);
    let mirrored = repo.push("options-app", &["--mirror"]);
    assert!(mirrored.ok, "{}", mirrored.seen);
    assert_eq!(repo.remote_ref("options-app", "refs/tags/v1"), Some(repo.head()));
    let many: String = (0..5001).map(|n| format!("create refs/tags/many/{n} HEAD\n")).collect();
    let mut update = dev.git(repo.path());
    let mut update = update.args(["update-ref", "--stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    update.stdin.take().unwrap().write_all(many.as_bytes()).unwrap();
    assert!(update.wait().unwrap().success());
    let refused = repo.push("options-app", &["--tags"]);
    assert!(
        !refused.ok && refused.seen.contains("updates 5001 refs at once, and 5000 is the limit"),
        "{}",
        refused.seen
    );
}

fn shallow_clones_are_told_what_to_do(world: &World) {
    let dev = world.developer("shirin");
    let repo = dev.fixture("procfile");
    repo.commit(&[("a", "1")]);
    repo.commit(&[("b", "1")]);
    let scratch = world.scratch();
    for (n, git) in gits().iter().enumerate() {
        let name = format!("shallow-{n}");
        world.app(&name, &dev);
        let from = format!("file://{}", repo.path().display());
        done(with(git, &dev, scratch.path()).args(["clone", "-q", "--depth=1", &from, &name]));
        let copy = scratch.path().join(&name);
        let push = || run(with(git, &dev, &copy).args(["push", &dev.remote(&name), "main"]));
        let refused = push();
        assert!(!refused.ok && refused.seen.contains("git fetch --unshallow"), "{}", refused.seen);
        assert!(!refused.seen.contains("app detected"), "{}", refused.seen);
        done(with(git, &dev, &copy).args(["fetch", "-q", "--unshallow"]));
        let pushed = push();
        assert!(pushed.ok && pushed.seen.contains("Released v2"), "{}", pushed.seen);
    }
}

/// Names a submodule in a repository, without fetching it.
fn link(repo: &Repo<'_>, path: &str, url: &str, id: &str) {
    let modules = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
    fs::write(repo.path().join(".gitmodules"), modules).unwrap();
    repo.git(&["add", ".gitmodules"]);
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{id},{path}")]);
    repo.git(&["commit", "-q", "-m", "a submodule"]);
}

fn another_app_is_a_submodule_for_those_who_may_read_it(world: &World) {
    let dev = world.developer("susan");
    let friend = world.developer("sven");
    world.app("lib-app", &dev);
    world.app("super-app", &dev);
    let lib = dev.repo(&[("Procfile", "web: true\n"), ("lib.txt", "from the other app")]);
    lib.deploy("lib-app");
    let repo = dev.fixture("procfile");
    link(&repo, "vendor/lib", "../lib-app.git", &lib.head());
    let seen = repo.deploy("super-app");
    assert!(seen.contains("vendor/lib from the app lib-app"), "{seen}");
    let slug = world.scratch();
    world.unpack_slug("super-app", slug.path());
    assert_eq!(fs::read_to_string(slug.path().join("app/vendor/lib/lib.txt")).unwrap(), "from the other app");

    // Whoever may push the one and not read the other gets nothing of it.
    let _ = world.admin(&["access", "add", "super-app", "sven"]);
    let theirs = friend.fixture("procfile");
    theirs.git(&["fetch", "-q", &friend.remote("super-app"), "main"]);
    theirs.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    theirs.commit(&[]);
    let refused = theirs.push("super-app", &["main"]);
    assert!(
        !refused.ok && refused.seen.contains("There is no app lib-app here that sven may read"),
        "{}",
        refused.seen
    );
    assert!(!refused.seen.contains("app detected"), "{}", refused.seen);
    let _ = world.admin(&["access", "add", "lib-app", "sven"]);
    theirs.deploy("super-app");
    // What the app's own code asks of the host comes too late.
    let ask = "python3 - <<'END'\nimport socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('/app/tmp/host.sock')\n\
               b = b'{\"request\":\"submodule-get\",\"app\":\"lib-app\"}'\ns.sendall(b'J' + len(b).to_bytes(4, 'big') + b)\n\
               f = s.makefile('rb')\nprint('TOLD', f.read(int.from_bytes(f.read(5)[1:], 'big')))\nEND\n";
    let files = crate::builds::app_that_builds_with(ask);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    repo.git(&["fetch", "-q", &dev.remote("super-app"), "main"]);
    repo.git(&["reset", "-q", "--hard", "FETCH_HEAD"]);
    repo.commit(&files);
    let seen = repo.deploy("super-app");
    assert!(
        seen.contains("TOLD") && seen.contains("build has begun") && !seen.contains("\"found\":true"),
        "{seen}"
    );
}

fn private_submodules_ask_for_a_deploy_key(world: &World) {
    let dev = world.developer("kira");
    world.app("keyed-app", &dev);
    let repo = dev.fixture("procfile");
    // An address of a network for examples (RFC 5737): nobody is there.
    link(&repo, "private", "ssh://git@192.0.2.1/private.git", &"1".repeat(40));
    let refused = repo.push("keyed-app", &["main"]);
    assert!(
        !refused.ok && refused.seen.contains("openruko deploy-key:create --host 192.0.2.1"),
        "{}",
        refused.seen
    );
    let platform = world.platform(&dev);
    let none = platform.call("GET", "/apps/keyed-app/deploy-key", &json!(null));
    assert_eq!(none.0, 404, "{none:?}");
    let key = platform.done("PUT", "/apps/keyed-app/deploy-key", &json!({}));
    assert!(key["public_key"].as_str().unwrap().starts_with("ssh-ed25519 AAAA"), "{key}");
    assert!(!key.to_string().contains("PRIVATE"), "{key}");
    assert_eq!(platform.done("GET", "/apps/keyed-app/deploy-key", &json!(null)), key);
    let stranger = world.platform(&world.developer("karl"));
    assert_eq!(stranger.call("GET", "/apps/keyed-app/deploy-key", &json!(null)).0, 404);
    let _ = platform.done("DELETE", "/apps/keyed-app/deploy-key", &json!(null));
    assert_eq!(platform.call("GET", "/apps/keyed-app/deploy-key", &json!(null)).0, 404);
}

/// A code host on the internet, as far as builds can tell: an sshd in a network namespace of its own, at an address of
/// a network for examples (RFC 5737), which serves git to one key.
struct CodeHost {
    namespace: String,
    sshd: Child,
    address: String,
    host_key: String,
    dir: tempfile::TempDir,
}

impl CodeHost {
    fn start(world: &World) -> Self {
        let number = std::process::id() % 60 * 4;
        let (namespace, outer) = (format!("rkt-code-{number}"), format!("rktc{number}"));
        let (gateway, address) = (format!("203.0.113.{}", number + 1), format!("203.0.113.{}", number + 2));
        let dir = world.scratch();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let set_up = format!(
            "set -e; ip netns add {namespace}; ip link add {outer} type veth peer name eth0 netns {namespace}; \
             ip addr add {gateway}/30 dev {outer}; ip link set {outer} up; n='ip -n {namespace}'; \
             $n addr add {address}/30 dev eth0; $n link set eth0 up; $n link set lo up; \
             ssh-keygen -q -t ed25519 -N '' -C '' -f {}",
            path("host")
        );
        done(Command::new("sh").args(["-c", &set_up]));
        let config = format!(
            "ListenAddress {address}:22\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n",
            path("host"),
            path("authorized_keys")
        );
        fs::write(path("config"), config).unwrap();
        let mut sshd = Command::new("ip")
            .args(["netns", "exec", &namespace, "/usr/sbin/sshd", "-D", "-e", "-f", &path("config")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(sshd.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Server listening")), "the code host's sshd did not start");
        std::thread::spawn(move || lines.for_each(drop));
        let host_key = fs::read_to_string(path("host.pub")).unwrap().trim().to_owned();
        Self { namespace, sshd, address, host_key, dir }
    }

    fn lets_in(&self, public_key: &str) {
        let line = format!("restrict,command=\"git-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" {public_key}\n");
        fs::write(self.dir.path().join("authorized_keys"), line).unwrap();
    }

    /// Takes over a repository; its URL.
    fn hosts(&self, repo: &Repo<'_>) -> String {
        let bare = self.dir.path().join("private.git");
        repo.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
        format!("ssh://root@{}{}", self.address, bare.display())
    }
}

impl Drop for CodeHost {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        // The pair of interfaces goes with it.
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
    }
}

fn private_submodule_is_fetched_with_the_deploy_key(world: &World) {
    let dev = world.developer("klara");
    world.app("secretive-app", &dev);
    let host = CodeHost::start(world);
    let private = dev.repo(&[("private.txt", "for those with a key")]);
    // A build looks for what is left of the key, and for an agent.
    let look = "ls -a /tmp | sed 's/^/LEFT /'; env | grep SSH_; grep -rls 'OPENSSH PRIVAT[E]' /tmp /app/tmp /run; true";
    let repo = crate::builds::repo_that_builds_with(&dev, look);
    link(&repo, "private", &host.hosts(&private), &private.head());
    let platform = world.platform(&dev);
    let at = "/apps/secretive-app/deploy-key";
    let known = json!({ "known_hosts": [format!("{} {}", host.address, host.host_key)] });
    let key = platform.done("PUT", at, &known)["public_key"].as_str().unwrap().to_owned();
    host.lets_in("");
    let refused = repo.push("secretive-app", &["main"]);
    assert!(!refused.ok && refused.seen.contains("Permission denied"), "{}", refused.seen);
    assert!(refused.seen.contains("Add the app's deploy key there"), "{}", refused.seen);
    host.lets_in(&key);
    let seen = repo.deploy("secretive-app");
    assert!(seen.contains("LEFT build_") && !seen.contains("agent_") && !seen.contains("SSH_"), "{seen}");
    assert!(!seen.lines().any(|line| line.contains("remote: /")), "no private key is left: {seen}");
    let slug = world.scratch();
    world.unpack_slug("secretive-app", slug.path());
    let fetched = fs::read_to_string(slug.path().join("app/private/private.txt")).unwrap();
    assert_eq!(fetched, "for those with a key");
    openruko_tests::until("the agent has ended", Duration::from_secs(5), || {
        world.processes(&["ssh-agent"]).is_empty()
    });
}
