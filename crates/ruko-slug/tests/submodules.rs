//! Pushes of apps with submodules: of the platform, of a git server, and private ones over ssh, behind a real sshd.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use world::{World, commit, git};

/// A process that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `git://`, of everything below a directory.
fn git_daemon(base: &Path) -> (Server, String) {
    let port = free_port();
    let out = Command::new("git").arg("--exec-path").output().unwrap();
    let daemon = Path::new(String::from_utf8(out.stdout).unwrap().trim()).join("git-daemon");
    let mut server = Command::new(daemon)
        .args(["--verbose", "--export-all", "--listen=127.0.0.1", &format!("--port={port}")])
        .arg(format!("--base-path={}", base.display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Ready to rumble")));
    std::thread::spawn(move || lines.for_each(drop));
    (Server(server), format!("git://127.0.0.1:{port}"))
}

/// Names a submodule in a repository, without fetching it as `git submodule add` would.
fn link(repository: &Path, path: &str, url: &str, id: &str) {
    let file = repository.join(".gitmodules");
    let before = fs::read_to_string(&file).unwrap_or_default();
    fs::write(&file, format!("{before}[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")).unwrap();
    git(repository, &["add", ".gitmodules"]);
    git(repository, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},{path}")]);
    git(repository, &["commit", "-q", "-m", "a submodule"]);
}

fn head(repository: &Path) -> String {
    git(repository, &["rev-parse", "HEAD"])
}

fn library(world: &World, files: &[(&str, &str)]) -> PathBuf {
    let library = world.app(files);
    // As code hosts do.
    git(&library, &["config", "uploadpack.allowReachableSHA1InWant", "true"]);
    library
}

/// The path of a repository below the one that the daemon serves.
fn below(base: &Path, repository: &Path) -> String {
    repository.strip_prefix(base).unwrap().display().to_string()
}

#[test]
fn submodules_are_restored_recursively_at_their_commits() {
    let world = World::new();
    let base = world.path("");
    let (_daemon, url) = git_daemon(&base);
    let inner = library(&world, &[("inner.txt", "inner"), ("run", "#!/bin/sh\n")]);
    let outer = library(&world, &[("outer.txt", "old")]);
    // Relative to the submodule, not to the app.
    let beside = format!("../{}", below(&base, &inner));
    link(&outer, "nested/inner", &beside, &head(&inner));
    let pinned = head(&outer);
    commit(&outer, &[("outer.txt", "new")]);
    commit(&inner, &[("inner.txt", "newer")]);
    let app = world.app(&[("Procfile", "web: one\n")]);
    link(&app, "vendor/öuter lib", &format!("{url}/{}", below(&base, &outer)), &pinned);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Restoring submodules");
    let entries = world.slug_entries();
    for entry in [
        "./app/vendor/öuter lib/outer.txt",
        "./app/vendor/öuter lib/nested/inner/inner.txt",
        "./app/vendor/öuter lib/nested/inner/run",
    ] {
        assert!(entries.iter().any(|e| e == entry), "{entry} of {entries:?}");
    }
    assert!(!entries.iter().any(|entry| entry.ends_with("/.git")), "{entries:?}");
    let slug = world.path("slug");
    fs::create_dir(&slug).unwrap();
    let unpacked =
        Command::new("tar").arg("xzf").arg(world.path("slug.tar.gz")).arg("-C").arg(&slug).status();
    assert!(unpacked.unwrap().success());
    let text = |path: &str| fs::read_to_string(slug.join("app/vendor/öuter lib").join(path)).unwrap();
    assert_eq!((text("outer.txt").as_str(), text("nested/inner/inner.txt").as_str()), ("old", "inner"));
    let mode = fs::metadata(slug.join("app/vendor/öuter lib/nested/inner/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}

#[test]
fn another_app_of_the_platform_is_a_submodule_by_its_relative_url() {
    let library = World::new();
    let lib = library.app(&[("Procfile", "web: one\n"), ("lib.txt", "of the platform")]);
    library.push(&lib, &["main"]).assert_ok();
    let stored = library.host.kept().repository.clone();

    let world = World::new();
    world.host.kept().others = [("lib".to_owned(), stored), ("empty".to_owned(), None)].into();
    let app = world.app(&[("Procfile", "web: one\n")]);
    link(&app, "lib", "../lib.git", &head(&lib));
    link(&app, "again", "ssh://git@host/lib", &head(&lib));
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("       lib from the app lib");
    let entries = world.slug_entries();
    for entry in ["./app/lib/lib.txt", "./app/again/lib.txt"] {
        assert!(entries.iter().any(|e| e == entry), "{entry} of {entries:?}");
    }

    for (url, id, says) in [
        ("../private.git", head(&lib), "There is no app private here that matt may read."),
        ("../empty.git", head(&lib), "nothing was ever pushed to empty"),
        ("../lib.git", "1".repeat(40), "Push it there first"),
        ("../../lib.git", head(&lib), "whose apps lie beside each other"),
        ("/srv/lib.git", head(&lib), "is a path on your own machine"),
        ("ext::sh -c id", head(&lib), "is refused"),
    ] {
        let app = world.app(&[("Procfile", "web: one\n")]);
        link(&app, "other", url, &id);
        let push = world.push(&app, &["+main"]);
        push.assert_refused();
        if !url.starts_with("ext") {
            push.assert_contains(says);
        }
        assert!(!push.text.contains("app detected"), "nothing is built: {}", push.text);
    }
}

/// What hostile code in a build of the app `lib` could have put into its stored repository: this repository with
/// something changed in it.
fn stored_as(repository: &Path, change: impl FnOnce(&Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("bare");
    git(repository, &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    change(&bare);
    let tar = Command::new("tar").arg("czf").arg("-").arg("-C").arg(&bare).arg(".").output().unwrap();
    assert!(tar.status.success());
    tar.stdout
}

fn loose(bare: &Path, id: &str) -> PathBuf {
    bare.join("objects").join(&id[..2]).join(&id[2..])
}

/// Puts the bytes of one object under the name of another.
fn forge(bare: &Path, id: &str, with: &str) {
    let place = loose(bare, id);
    fs::remove_file(&place).unwrap();
    fs::copy(loose(bare, with), place).unwrap();
}

/// Makes a commit-graph in which a tree is another one.
fn forge_graph(bare: &Path, tree: &str, with: &str) {
    git(bare, &["commit-graph", "write", "--reachable"]);
    let file = bare.join("objects/info/commit-graph");
    let bytes = fs::read(&file).unwrap();
    let raw = |id: &str| -> Vec<u8> {
        (0..20).map(|i| u8::from_str_radix(&id[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let at = bytes.windows(20).position(|window| window == raw(tree)).unwrap();
    let forged = [&bytes[..at], &raw(with), &bytes[at + 20..]].concat();
    fs::remove_file(&file).unwrap();
    fs::write(&file, forged).unwrap();
}

#[test]
fn what_another_app_stores_under_the_name_of_a_commit_is_that_commit_or_refused() {
    let world = World::new();
    let lib = world.app(&[("Procfile", "web: one\n"), ("dir/lib.txt", "reviewed")]);
    let pinned = head(&lib);
    commit(&lib, &[("dir/lib.txt", "hostile")]);
    let id = |what: &str| git(&lib, &["rev-parse", what]);
    let (blob, tree, root) = (id("HEAD~:dir/lib.txt"), id("HEAD~:dir"), id("HEAD~^{tree}"));
    let (hostile_blob, hostile_tree, hostile_root) =
        (id("HEAD:dir/lib.txt"), id("HEAD:dir"), id("HEAD^{tree}"));
    let hostile_commit = id("HEAD");
    let app = world.app(&[("Procfile", "web: one\n")]);
    link(&app, "lib", "../lib.git", &pinned);

    let forged = [
        ("a blob", stored_as(&lib, |bare| forge(bare, &blob, &hostile_blob))),
        ("a tree", stored_as(&lib, |bare| forge(bare, &tree, &hostile_tree))),
        ("the commit", stored_as(&lib, |bare| forge(bare, &pinned, &hostile_commit))),
    ];
    for (what, stored) in forged {
        world.host.kept().others = [("lib".to_owned(), Some(stored))].into();
        let push = world.push(&app, &["main"]);
        assert!(!push.ok, "{what} was taken: {}", push.text);
        push.assert_contains(&format!("the commit {pinned}, the submodule lib, cannot be taken"));
        push.assert_contains("Ask the owner of lib");
        assert!(world.host.kept().slug.is_none(), "{what}: nothing is built");
    }

    let told = [
        ("a replacement", stored_as(&lib, |bare| drop(git(bare, &["replace", &blob, &hostile_blob])))),
        ("a commit-graph", stored_as(&lib, |bare| forge_graph(bare, &root, &hostile_root))),
    ];
    for (what, stored) in told {
        world.host.kept().others = [("lib".to_owned(), Some(stored))].into();
        world.push(&app, &["main"]).assert_ok();
        git(&app, &["commit", "-q", "--allow-empty", "-m", "again"]);
        assert_eq!(in_slug(&world, "app/lib/dir/lib.txt"), "reviewed", "{what}");
    }
}

/// The text of a file of the slug that was stored last.
fn in_slug(world: &World, file: &str) -> String {
    let (slug, into) = (world.path("slug.tar.gz"), tempfile::tempdir().unwrap());
    fs::write(&slug, world.host.kept().slug.as_ref().unwrap()).unwrap();
    let tar = Command::new("tar").arg("xzf").arg(&slug).arg("-C").arg(into.path()).status();
    assert!(tar.unwrap().success());
    fs::read_to_string(into.path().join(file)).unwrap()
}

#[test]
fn what_cannot_be_restored_is_refused_before_anything_is_built() {
    let world = World::new();
    let base = world.path("");
    let (_daemon, url) = git_daemon(&base);
    let app = world.app(&[("Procfile", "web: one\n")]);
    git(&app, &["update-index", "--add", "--cacheinfo", &format!("160000,{},bare", "1".repeat(40))]);
    git(&app, &["commit", "-q", "-m", "a link without a URL"]);
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains(".gitmodules has no URL for it");
    push.assert_contains("git submodule add URL bare");

    let app = world.app(&[("Procfile", "web: one\n")]);
    link(&app, "gone", &format!("{url}/no-such-repository"), &"1".repeat(40));
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("cannot fetch the submodule gone from git://127.0.0.1");

    let library = library(&world, &[("a", "a")]);
    let app = world.app(&[("Procfile", "web: one\n")]);
    link(&app, "unpushed", &format!("{url}/{}", below(&base, &library)), &"1".repeat(40));
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains(&format!("the submodule unpushed has no commit {}", "1".repeat(40)));

    // It contains itself, for ever.
    let app = world.app(&[("Procfile", "web: one\n")]);
    let snake = library_of_itself(&world, &url, &base);
    link(&app, "snake", &format!("{url}/{}", below(&base, &snake)), &head(&snake));
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("more than 10 deep");
    assert!(world.host.kept().commits.is_empty());
    assert!(fs::read_dir(world.path("")).unwrap().flatten().all(|entry| {
        let left = entry.path().join("tmp");
        !left.is_dir()
            || fs::read_dir(left)
                .unwrap()
                .flatten()
                .all(|e| e.file_name().to_string_lossy().starts_with("build_"))
    }));
}

/// Each commit has the one before as its submodule.
fn library_of_itself(world: &World, url: &str, base: &Path) -> PathBuf {
    let snake = library(world, &[("a", "a")]);
    let own = format!("{url}/{}", below(base, &snake));
    link(&snake, "tail", &own, &head(&snake));
    for _ in 0..11 {
        git(&snake, &["update-index", "--cacheinfo", &format!("160000,{},tail", head(&snake))]);
        git(&snake, &["commit", "-q", "-m", "longer"]);
    }
    snake
}

/// A key pair: the private half's text, and the public line.
fn key_pair(file: &Path) -> (String, String) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "x", "-f"])
        .arg(file)
        .status();
    assert!(made.unwrap().success());
    (fs::read_to_string(file).unwrap(), fs::read_to_string(file.with_extension("pub")).unwrap())
}

/// A code host: an sshd as this user, which gives one key git's upload-pack.
fn code_host(dir: &Path, public: &str) -> (Server, u16, String) {
    fs::create_dir(dir).unwrap();
    let (_, host_key) = key_pair(&dir.join("host"));
    let keys = dir.join("authorized_keys");
    let command = "restrict,command=\"git-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\"";
    fs::write(&keys, format!("{command} {public}")).unwrap();
    let port = free_port();
    let config = dir.join("sshd_config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n",
        dir.display()
    );
    fs::write(&config, text).unwrap();
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f"]).arg(&config).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut sshd = sshd.spawn().unwrap();
    let mut lines = BufReader::new(sshd.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("Server listening") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "sshd: {said}");
    }
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    (Server(sshd), port, host_key)
}

#[test]
fn a_private_submodule_is_fetched_with_the_deploy_key_which_never_enters_the_container() {
    let world = World::new();
    let (private, public) = key_pair(&world.path("deploy"));
    let (_sshd, port, host_key) = code_host(&world.path("host"), &public);
    let library = library(&world, &[("secret.txt", "private")]);
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let url = format!("ssh://{}@127.0.0.1:{port}{}", user.trim(), library.display());
    let app = world.app(&[("Procfile", "web: one\n")]);
    link(&app, "private", &url, &head(&library));

    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("the app has no key for that");
    push.assert_contains("openruko deploy-key:create --host 127.0.0.1");

    world.host.kept().deploy_key = Some((private.clone(), String::new()));
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("Host key verification failed");
    push.assert_contains("openruko deploy-key:trust 127.0.0.1");

    // What the app's own code finds of it.
    let look = "#!/bin/bash\necho \"SOCK ${SSH_AUTH_SOCK:-none}\"\nls -a \"$1/..\" | sed 's/^/LEFT /'\n\
                grep -rl 'OPENSSH PRIVAT[E]' \"$1/../..\" 2>/dev/null | sed 's/^/KEY /'\n";
    let buildpack = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Look\n"), ("bin/compile", look)]);
    let known = host_key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let mut kept = world.host.kept();
    kept.deploy_key = Some((private, format!("[127.0.0.1]:{port} {known}\n")));
    kept.buildpacks = vec![buildpack];
    drop(kept);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    assert!(world.slug_entries().iter().any(|entry| entry == "./app/private/secret.txt"));
    push.assert_line("SOCK none");
    assert!(
        !push
            .lines
            .iter()
            .any(|line| line.starts_with("KEY ") || line.contains("agent_") || line.contains("submodule_")),
        "{}",
        push.text
    );
}
