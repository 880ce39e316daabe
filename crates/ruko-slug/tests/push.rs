//! A push as a container sees it: a real git client, `ruko-slug session`, git's receive-pack with quarantine
//! and hook, `ruko-slug build`, and a host at the other end of a real unix socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use ruko_api_types::host::{ReleaseProgress, ReleaseStatus, UpOf};
use world::{World, commit, git, progress};

#[test]
fn a_procfile_app_is_released_and_can_be_cloned_back() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: ./serve $PORT\n"), ("serve", "#!/bin/sh\n"), ("öl.txt", "x")]);
    git(&app, &["tag", "-a", "-m", "v1", "v1"]);
    let push = world.push(&app, &["main", "v1"]);
    push.assert_ok();
    for line in [
        "-----> Procfile app detected",
        "-----> Discovering process types",
        "       Procfile declares types     -> web",
        "-----> Compressing...",
        "-----> Launching...",
        "       Released v1",
        "       http://my-app.test/ deployed to openruko",
    ] {
        push.assert_line(line);
    }

    let kept = world.host.kept();
    let manifest = kept.commits[0].manifest.as_ref().unwrap();
    let head = manifest.head.as_ref().unwrap();
    assert_eq!(head.commit.as_str(), git(&app, &["rev-parse", "main"]));
    assert_eq!(head.branch, "refs/heads/main");
    assert_eq!(manifest.buildpack, "Procfile");
    assert_eq!(manifest.process_types[&"web".parse().unwrap()], "./serve $PORT");
    assert_eq!(kept.commits[0].refs.len(), 2);
    drop(kept);

    let entries = world.slug_entries();
    for entry in ["./app", "./app/Procfile", "./app/serve", "./app/öl.txt"] {
        assert!(entries.iter().any(|e| e == entry), "{entry} of {entries:?}");
    }
    assert!(!entries.iter().any(|entry| entry.contains(".git")), "{entries:?}");

    let clone = world.clone();
    assert_eq!(git(&clone, &["rev-parse", "HEAD^{tree}"]), git(&app, &["rev-parse", "main^{tree}"]));
    assert_eq!(git(&clone, &["rev-parse", "v1"]), git(&app, &["rev-parse", "v1"]));
    git(&clone, &["fsck", "--strict"]);
}

#[test]
fn a_second_push_builds_upon_the_stored_repository() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.push(&app, &["main"]).assert_ok();
    commit(&app, &[("Procfile", "web: two\nworker: three\n")]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("       Procfile declares types     -> web, worker");
    push.assert_line("       Released v2");
    assert_eq!(git(&world.clone(), &["rev-list", "--count", "HEAD"]), "2");

    // The client's way back: a force push to the first commit is taken, as Heroku takes it.
    world.push(&app, &["+main~1:main"]).assert_ok();
    assert_eq!(git(&world.clone(), &["rev-list", "--count", "HEAD"]), "1");
    let nothing_new = world.push(&app, &["main~1:main"]);
    nothing_new.assert_ok();
    assert!(nothing_new.lines.is_empty(), "{}", nothing_new.text);
}

#[test]
fn a_failing_compile_rejects_the_push_and_no_ref_moves() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.push(&app, &["main"]).assert_ok();
    let before = world.host.kept().repository.clone();
    let buildpack = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Broken\n"),
        ("bin/compile", "#!/bin/sh\necho '-----> Trying'\necho ' !     No luck' >&2\nexit 7\n"),
    ]);
    world.host.kept().buildpacks = vec![buildpack];
    world.host.kept().bounds_met = vec!["the memory limit of 2.5 GB was reached".into()];
    commit(&app, &[("new", "x")]);
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    let order =
        ["-----> Trying", " !     No luck", "the memory limit of 2.5 GB", "failed to compile Broken app."];
    assert!(order.map(|line| push.position(line)).is_sorted(), "{}", push.text);
    push.assert_line(" !     Push rejected, failed to compile Broken app.");
    push.assert_contains("pre-receive hook declined");
    let kept = world.host.kept();
    assert_eq!(kept.commits.len(), 1);
    assert_eq!(kept.repository, before);
    assert_eq!(kept.failures, ["Push rejected, failed to compile Broken app."]);
    assert!(kept.output.contains("-----> Trying\n !     No luck\n"), "{}", kept.output);
    drop(kept);
    // What was refused is not known on the far side: the same push is tried again, not "up to date".
    world.host.kept().buildpacks = vec![];
    world.push(&app, &["main"]).assert_line("       Released v2");
}

#[test]
fn a_refused_commit_rejects_the_push() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.host.kept().refuse_commit = Some("The lease was lost.\nPush again.".into());
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_line(" !     The lease was lost.");
    push.assert_line(" !     Push again.");
    assert!(world.host.kept().repository.is_none());
}

#[test]
fn a_release_is_followed_until_it_serves() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\nrelease: migrate\n")]);
    let dynos = [("web".parse().unwrap(), UpOf { up: 2, wanted: 2 })].into();
    world.host.kept().progress = vec![
        Ok(progress("migrat", ReleaseStatus::Pending)),
        Ok(progress("ing 1\nmigrating 2", ReleaseStatus::Pending)),
        Ok(ReleaseProgress { serving: Some(1), dynos, ..progress("", ReleaseStatus::Succeeded) }),
    ];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    let begin = push.lines.iter().position(|line| line == "-----> Launching...").unwrap();
    assert_eq!(
        push.lines[begin + 1..][..6],
        [
            "-----> Running the release command...",
            "       migrating 1",
            "       migrating 2",
            "       Released v1",
            "       web: 2 of 2 up",
            "       http://my-app.test/ deployed to openruko",
        ],
        "{}",
        push.text
    );
}

#[test]
fn a_release_that_does_not_boot_rejects_the_push() {
    let failed = |reason: &str, serving| {
        let world = World::new();
        let app = world.app(&[("Procfile", "web: one\n")]);
        let reason = Some(reason.to_owned());
        let progress = ReleaseProgress { reason, serving, ..progress("", ReleaseStatus::Failed) };
        world.host.kept().progress = vec![Ok(progress)];
        let push = world.push(&app, &["main"]);
        push.assert_refused();
        push
    };
    failed("web.1: R10 (Boot timeout)", Some(6))
        .assert_line(" !     v1 did not boot (web.1: R10 (Boot timeout)); v6 keeps serving.");
    failed("release command exited with status 2", None).assert_line(
        " !     v1 was not released (release command exited with status 2); nothing serves yet.",
    );
}

#[test]
fn a_release_that_takes_too_long_is_not_waited_for() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.host.kept().progress = vec![Err("it has been starting for 10 minutes".to_owned())];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line(" !     v1 is made and not up yet: it has been starting for 10 minutes.");
}

#[test]
fn branches_that_are_not_deployed_are_stored_with_a_word() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let push = world.push(&app, &["main:feature/x"]);
    push.assert_ok();
    push.assert_line(
        " !     Pushed to feature/x, which is not deployed; push to main or master to deploy it:",
    );
    push.assert_line(" !     git push openruko feature/x:main");
    assert!(world.host.kept().slug.is_none() && world.host.kept().commits[0].manifest.is_none());
    world.push(&app, &["main"]).assert_line("       Released v1");
    let refused = world.push(&app, &["main:feature/x/y"]);
    refused.assert_contains("cannot exist together");
    world.push(&app, &[":feature/x"]).assert_ok();
    assert_eq!(
        git(&world.clone(), &["for-each-ref", "--format=%(refname)", "refs/remotes"]),
        "refs/remotes/origin/HEAD\nrefs/remotes/origin/main"
    );
    world.push(&app, &[":main"]).assert_contains("cannot be deleted");
    world.push(&app, &["main:refs/notes/x"]).assert_contains("neither a branch nor a tag");
    let both = world.push(&app, &["main:master", "main~0:main"]);
    // main does not move, so one deploy ref is left.
    both.assert_ok();
    commit(&app, &[("a", "a")]);
    world.push(&app, &["main", "main:master"]).assert_contains("Push one of them");
}

#[test]
fn a_clone_of_an_app_first_pushed_to_master_has_files() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.push(&app, &["main:master"]).assert_ok();
    let clone = world.clone();
    assert_eq!(git(&clone, &["symbolic-ref", "HEAD"]), "refs/heads/master");
    assert!(clone.join("Procfile").exists());
}

#[test]
fn what_is_no_commit_is_kept_off_branches_before_anything_is_stored() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let container = world.container();
    // A client refuses to send this, so the hook is run as git would run it.
    let repository = world.path("bare.git");
    git(&app, &["clone", "-q", "--bare", app.to_str().unwrap(), repository.to_str().unwrap()]);
    let tree = git(&app, &["rev-parse", "main^{tree}"]);
    let line = format!("{} {tree} refs/heads/other\n", "0".repeat(40));
    let (ok, said) = container.hook(&repository, &line);
    assert!(!ok && said.contains("is not a commit"), "{said}");
    let line = format!("{} {} refs/heads/other\n", "0".repeat(40), "1".repeat(40));
    let (ok, said) = container.hook(&repository, &line);
    assert!(!ok && said.contains("is not a commit"), "{said}");
    let line = format!("{} {} refs/tags/missing\n", "0".repeat(40), "1".repeat(40));
    let (ok, said) = container.hook(&repository, &line);
    assert!(!ok && said.contains("objects are missing"), "{said}");
    assert!(world.host.kept().commits.is_empty() && world.host.kept().repository.is_none());
}

#[test]
fn a_buildpack_may_be_a_tarball_and_its_fetch_may_fail() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let url = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Tar\n"), ("bin/compile", "#!/bin/sh\n")]);
    let dir = std::path::Path::new(url.strip_prefix("file://").unwrap());
    let tarball = world.path("b.tar.gz");
    let prefixed = ["archive", "--prefix=buildpack-1/", "-o", tarball.to_str().unwrap(), "HEAD"];
    git(dir, &prefixed);
    world.host.kept().buildpacks = vec![format!("file://{}", tarball.display())];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Tar app detected");

    commit(&app, &[("a", "a")]);
    world.host.kept().buildpacks = vec![format!("file://{}/none.tgz", world.path("x").display())];
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("cannot fetch the buildpack file://");

    git(dir, &["rm", "-q", "bin/compile"]);
    git(dir, &["commit", "-q", "-m", "less"]);
    world.host.kept().buildpacks = vec![url];
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("is not a buildpack: it has no bin/compile");
}

#[test]
fn buildpacks_may_be_listed_in_the_app() {
    let world = World::new();
    let url = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Listed\n"), ("bin/compile", "#!/bin/sh\n")]);
    let app = world.app(&[("Procfile", "web: one\n"), (".buildpacks", &format!("# mine\n{url}\n"))]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Listed app detected");
}

#[test]
fn a_shallow_clone_is_refused_before_anything_is_built() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    commit(&app, &[("a", "a")]);
    commit(&app, &[("b", "b")]);
    let shallow = world.path("shallow");
    let from = format!("file://{}", app.display());
    git(&app, &["clone", "-q", "--depth=1", &from, shallow.to_str().unwrap()]);
    let push = world.push(&shallow, &["main"]);
    push.assert_refused();
    push.assert_contains("git fetch --unshallow");
    assert!(!push.text.contains("app detected"), "{}", push.text);
    assert!(world.host.kept().commits.is_empty());

    // The same clone may push when the far side has the history already.
    world.push(&app, &["main"]).assert_ok();
    commit(&shallow, &[("c", "c")]);
    world.push(&shallow, &["main"]).assert_line("       Released v2");
    git(&world.clone(), &["fsck", "--strict"]);
}

#[test]
fn a_shallow_clone_is_refused_even_where_the_missing_history_is_known() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.push(&app, &["main"]).assert_ok();
    commit(&app, &[("a", "a")]);
    let shallow = world.path("shallow");
    let from = format!("file://{}", app.display());
    git(&app, &["clone", "-q", "--depth=1", &from, shallow.to_str().unwrap()]);
    let push = world.push(&shallow, &["+main"]);
    // git refuses this itself once the hook is through; the commit must not have been made then.
    assert_eq!(push.ok, world.host.kept().commits.len() == 2, "{}", push.text);
    push.assert_refused();
    push.assert_contains("git fetch --unshallow");
}

#[test]
fn what_a_buildpack_leaves_running_is_killed_and_holds_nothing_up() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let pids = world.path("pids");
    let leave = format!(
        "#!/bin/bash\n(echo $BASHPID >>{0}; exec sleep 3600) &\nsetsid bash -c 'echo $$ >>{0}; exec sleep 3600' \
         &\n(setsid bash -c '(echo $BASHPID >>{0}; exec sleep 3600) & disown') \nwhile [ \"$(wc -l <{0})\" -lt 3 \
         ]; do :; done\necho compiled\n",
        pids.display()
    );
    let buildpack = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Daemons\n"), ("bin/compile", &leave)]);
    world.host.kept().buildpacks = vec![buildpack];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("compiled");
    push.assert_line("       Stopped processes that the buildpack left running: 3");
    let left = std::fs::read_to_string(&pids).unwrap();
    let pids: Vec<_> = left.lines().collect();
    assert_eq!(pids.len(), 3);
    for pid in pids {
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "{pid} lives");
    }
}

/// Prints what a buildpack is given.
const SHOW: &str = r#"#!/bin/bash
set -eu
env | sort | sed 's/^/ENV /'
for f in "$3"/*; do echo "VAR ${f##*/} $(wc -c <"$f") $(stat -c %a "$f")"; done
echo "PWD $(pwd) $1"
echo "OOM $(cat /proc/self/oom_score_adj)"
echo err >&2
echo out
printf 'no newline'
"#;

#[test]
fn config_vars_reach_env_dir_alone_and_are_never_printed() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let buildpack = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Show\n"), ("bin/compile", SHOW)]);
    let secret = "hunter2\nsecond line ";
    let mut kept = world.host.kept();
    kept.config_vars = [("SECRET_KEY", secret), ("BUILDPACK_URL", &buildpack)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    kept.env = [("PIP_INDEX_URL".to_owned(), "http://mirror.test/".to_owned())].into();
    kept.heroku_stack = Some("heroku-24".parse().unwrap());
    drop(kept);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("VAR SECRET_KEY 20 600");
    push.assert_line("ENV STACK=heroku-24");
    push.assert_line("ENV REQUEST_ID=request-1");
    push.assert_line("ENV PIP_INDEX_URL=http://mirror.test/");
    push.assert_line(&format!("ENV SOURCE_VERSION={}", git(&app, &["rev-parse", "main"])));
    push.assert_line("no newline");
    push.assert_line("OOM 1000");
    let pwd: Vec<_> = push.lines[push.position("PWD /")].split(' ').collect();
    assert_eq!(pwd[1], pwd[2], "it runs in the build directory");
    assert!(push.position("err") < push.position("out"), "{}", push.text);
    let names: Vec<_> = push.lines.iter().filter_map(|l| l.strip_prefix("ENV ")?.split('=').next()).collect();
    assert!(!names.iter().any(|name| name.starts_with("GIT_")), "{names:?}");
    assert!(!names.contains(&"SECRET_KEY") && !names.contains(&"BUILDPACK_URL"), "{names:?}");
    let kept = world.host.kept();
    for text in [&push.text, &kept.output] {
        assert!(!text.contains("hunter2") && !text.contains("second line"), "{text}");
    }
}

#[test]
fn several_buildpacks_share_cache_and_exported_environment() {
    let world = World::new();
    let app = world.app(&[("Procfile", "worker: x\n")]);
    let first = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho First\n"),
        (
            "bin/compile",
            "#!/bin/sh\necho \"export FROM_FIRST='two\nlines' SEEN=$(cat \"$2/seen\" 2>/dev/null)\" >\"$(dirname \"$0\")\"/../export\n\
             echo again >\"$2/seen\"\n",
        ),
        ("bin/release", "#!/bin/sh\necho 'default_process_types: {first: x}'\n"),
    ]);
    let second = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Second\n"),
        ("bin/compile", "#!/bin/sh\necho \"$FROM_FIRST, $SEEN\"\n"),
        ("bin/release", "#!/bin/sh\n[ -z \"$FROM_FIRST\" ] || exit 1\necho 'default_process_types: {web: w, worker: y}'\n"),
    ]);
    world.host.kept().buildpacks = vec![first, second];
    let container = world.container();
    let push = world.push_into(&container, &app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> First app detected");
    push.assert_line("lines,");
    push.assert_line("       Default types for Second    -> web");
    let manifest = world.host.kept().commits[0].manifest.clone().unwrap();
    assert_eq!(manifest.buildpack, "First, Second");
    assert_eq!(manifest.process_types[&"worker".parse().unwrap()], "x");
    assert_eq!(manifest.default_types, ["web".parse().unwrap()]);

    let cache = container.run(&["cache"]);
    assert!(cache.status.success() && !cache.stdout.is_empty());
    world.host.kept().cache = Some(cache.stdout);
    commit(&app, &[("a", "a")]);
    world.push(&app, &["main"]).assert_line("lines, again");

    world.host.kept().cache = Some(b"no archive".to_vec());
    commit(&app, &[("b", "b")]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_contains("The build cache cannot be used and is dropped");
    push.assert_line("lines,");
}

#[test]
fn a_cache_that_is_too_large_is_not_kept_and_the_developer_is_told() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let buildpack = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Keeper\n"),
        ("bin/compile", "#!/bin/sh\nmkdir -p \"$2/d\"\nhead -c 3072 /dev/zero >\"$2/d/kept\"\n"),
    ]);
    world.host.kept().buildpacks = vec![buildpack];
    for (limit, is_kept) in [(3071, false), (3072, true)] {
        world.host.kept().limits.cache_bytes = limit;
        commit(&app, &[("limit", &limit.to_string())]);
        let container = world.container();
        let push = world.push_into(&container, &app, &["main"]);
        push.assert_ok();
        let told = " !     The build cache is not kept: it is 3.0 KB unpacked, and the limit is 3.0 KB.";
        assert_eq!(push.lines.iter().any(|line| line == told), !is_kept, "{}", push.text);
        let cache = container.run(&["cache"]);
        assert!(cache.status.success(), "{cache:?}");
        assert_eq!(!cache.stdout.is_empty(), is_kept);
    }
}

#[test]
fn a_buildpack_may_remove_the_cache() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let buildpack = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Clean\n"),
        ("bin/compile", "#!/bin/sh\nrm -rf \"$2\"\n"),
    ]);
    world.host.kept().buildpacks = vec![buildpack];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    assert!(!push.text.contains("cache"), "{}", push.text);
}

#[test]
fn an_empty_cache_is_no_bytes() {
    let world = World::new();
    let out = world.container().run(&["cache"]);
    assert!(out.status.success() && out.stdout.is_empty());
}

#[test]
fn a_buildpack_is_taken_at_a_branch_a_tag_or_a_commit() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let url = world.buildpack(&[("bin/detect", "#!/bin/sh\necho Old\n"), ("bin/compile", "#!/bin/sh\n")]);
    let buildpack = std::path::Path::new(url.strip_prefix("file://").unwrap());
    let old = git(buildpack, &["rev-parse", "HEAD"]);
    git(buildpack, &["tag", "v1"]);
    git(buildpack, &["switch", "-q", "-c", "dev/x"]);
    commit(buildpack, &[("bin/detect", "#!/bin/sh\necho Dev\n")]);
    git(buildpack, &["switch", "-q", "main"]);
    commit(buildpack, &[("bin/detect", "#!/bin/sh\necho New\n")]);
    let abbreviated = &old[..8];
    for (revision, name) in [
        ("", "New"),
        ("#dev/x", "Dev"),
        ("#v1", "Old"),
        (&format!("#{old}"), "Old"),
        (&format!("#{abbreviated}"), "Old"),
    ] {
        world.host.kept().buildpacks = vec![format!("{url}{revision}")];
        commit(&app, &[("n", revision)]);
        let push = world.push(&app, &["main"]);
        push.assert_ok();
        push.assert_line(&format!("-----> {name} app detected"));
    }
    world.host.kept().buildpacks = vec![format!("{url}#no-such")];
    commit(&app, &[("n", "x")]);
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("cannot fetch the buildpack file://");
}

#[test]
fn a_buildpack_that_does_not_take_the_app_ends_the_push_with_its_own_words() {
    let world = World::new();
    let app = world.app(&[("x", "x")]);
    let none = world.push(&app, &["main"]);
    none.assert_refused();
    none.assert_contains("No buildpack recognises this app");
    none.assert_contains("python: a requirements.txt");
    world.host.kept().buildpacks = vec!["python".into()];
    let named = world.push(&app, &["main"]);
    named.assert_contains("the buildpack python does not recognise the app");
    named.assert_line("       a requirements.txt");
    world.host.kept().buildpacks = vec!["cobol".into()];
    world.push(&app, &["main"]).assert_contains("no buildpack named `cobol` ships");
    world.host.kept().buildpacks = vec!["ext::sh -c id".into()];
    world.push(&app, &["main"]).assert_contains("is refused");
}

#[test]
fn what_is_slug_ignored_is_gone_before_detect() {
    let world = World::new();
    let app = world.app(&[
        ("Procfile", "web: one\n"),
        ("package.json", "{}"),
        ("doc/a.md", "x"),
        (".slugignore", "package.json\n*.md\n!b.md\n"),
    ]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("-----> Procfile app detected");
    push.assert_contains("Line 3 of .slugignore is ignored");
    let entries = world.slug_entries();
    assert!(
        !entries.iter().any(|entry| entry.ends_with("package.json") || entry.ends_with(".md")),
        "{entries:?}"
    );
}

#[test]
fn the_tree_is_built_as_it_was_committed() {
    let world = World::new();
    let app = world.app(&[
        ("Procfile", "web: one\r\n"),
        (".gitattributes", "* text eol=crlf\n*.id ident\n*.secret export-ignore\n*.f filter=x\n"),
        ("unix", "a\nb\n"),
        ("x.id", "$Id$\n"),
        ("x.secret", "x"),
        ("x.f", "x"),
    ]);
    let buildpack = world.buildpack(&[
        ("bin/detect", "#!/bin/sh\necho Sum\n"),
        (
            "bin/compile",
            "#!/bin/sh\ncat unix x.id x.secret x.f | od -c | sed 's/^/OD /'\nls -a | sed 's/^/LS /'\n",
        ),
    ]);
    // What a client's own attributes make of its files is its business: the blobs count.
    world.host.kept().buildpacks = vec![buildpack];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line("OD 0000000   a  \\n   b  \\n   $   I   d   $  \\n   x   x");
    assert!(!push.lines.iter().any(|line| line == "LS .git"), "{}", push.text);
}

#[test]
fn bounds_are_named_with_their_values() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    commit(&app, &[("noise", &noise(200_000))]);
    world.host.kept().limits.slug_bytes = 10_000;
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("and the limit is 9.8 KB");
    assert!(world.host.kept().commits.is_empty());

    world.host.kept().limits.slug_bytes = 10_000_000;
    world.host.kept().limits.output_bytes = 2000;
    let loud = world
        .buildpack(&[("bin/detect", "#!/bin/sh\necho Loud\n"), ("bin/compile", "#!/bin/sh\nseq 1 100000\n")]);
    world.host.kept().buildpacks = vec![loud];
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_contains("The limit of 2.0 KB of output is reached");
    push.assert_line("       Released v1");
    assert!(push.lines.len() < 600, "{}", push.lines.len());
}

/// Text that does not compress well.
fn noise(bytes: usize) -> String {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn a_procfile_with_a_merge_conflict_is_refused_before_anything_is_built() {
    let world = World::new();
    let app = world.app(&[("Procfile", "<<<<<<< HEAD\nweb: a\n=======\nweb: b\n>>>>>>> x\n")]);
    let push = world.push(&app, &["main"]);
    push.assert_refused();
    push.assert_contains("line 1 of the Procfile is a merge conflict marker");
    assert!(!push.text.contains("app detected"), "{}", push.text);
}

#[test]
fn configuration_in_a_stored_repository_is_never_used() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.push(&app, &["main"]).assert_ok();
    // As a build could leave it: a configuration that runs something, and alternates.
    let evil = world.path("evil");
    std::fs::create_dir(&evil).unwrap();
    let stored = world.host.kept().repository.clone().unwrap();
    let limits = ruko_archive::Limits {
        bytes: 1 << 20,
        entries: 100,
        path_bytes: 100,
        links: ruko_archive::LinkRule::Inside,
    };
    ruko_archive::unpack(&stored[..], &evil, &limits).unwrap();
    std::fs::write(evil.join("config"), "[core]\n\thooksPath = /nonexistent\n\tbare = what\n").unwrap();
    std::fs::write(evil.join("objects/info/alternates"), "/nonexistent\n").unwrap();
    std::fs::write(evil.join("shallow"), "x\n").unwrap();
    std::fs::write(evil.join("HEAD"), "ref: refs/heads/../../x\n").unwrap();
    let mut writer = ruko_archive::Writer::new(vec![], ruko_archive::Compression::Fast);
    let all = ruko_archive::TreeOptions::all(ruko_archive::Times::Kept);
    writer.tree(&evil, std::path::Path::new(""), &all).unwrap();
    world.host.kept().repository = Some(writer.finish().unwrap().0);
    commit(&app, &[("a", "a")]);
    world.push(&app, &["main"]).assert_line("       Released v2");
    let stored = world.host.kept().repository.clone().unwrap();
    let clean = world.path("clean");
    std::fs::create_dir(&clean).unwrap();
    ruko_archive::unpack(&stored[..], &clean, &limits).unwrap();
    assert!(!clean.join("config").exists() && !clean.join("objects/info/alternates").exists());
    assert_eq!(std::fs::read_to_string(clean.join("HEAD")).unwrap(), "ref: refs/heads/main\n");
}

#[test]
fn many_packs_become_one() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    let repository = world.path("many.git");
    git(&app, &["init", "-q", "--bare", repository.to_str().unwrap()]);
    git(&repository, &["config", "receive.unpackLimit", "1"]);
    for n in 0..42 {
        commit(&app, &[("n", &n.to_string())]);
        git(&app, &["push", "-q", repository.to_str().unwrap(), "main"]);
    }
    let mut writer = ruko_archive::Writer::new(vec![], ruko_archive::Compression::Fast);
    let all = ruko_archive::TreeOptions::all(ruko_archive::Times::Kept);
    writer.tree(&repository, std::path::Path::new(""), &all).unwrap();
    world.host.kept().repository = Some(writer.finish().unwrap().0);
    commit(&app, &[("n", "last")]);
    world.push(&app, &["main"]).assert_ok();
    let stored = world.host.kept().repository.clone().unwrap();
    let after = world.path("after");
    std::fs::create_dir(&after).unwrap();
    let limits = ruko_archive::Limits {
        bytes: 1 << 24,
        entries: 1000,
        path_bytes: 200,
        links: ruko_archive::LinkRule::Inside,
    };
    ruko_archive::unpack(&stored[..], &after, &limits).unwrap();
    let packs = std::fs::read_dir(after.join("objects/pack")).unwrap().flatten();
    let packs = packs.filter(|e| e.path().extension().is_some_and(|e| e == "pack")).count();
    assert_eq!(packs, 2, "the old ones and the new one");
    assert_eq!(git(&world.clone(), &["rev-list", "--count", "HEAD"]), "44");
}

#[test]
fn git_archive_is_served() {
    let world = World::new();
    let app = world.app(&[("Procfile", "web: one\n")]);
    world.push(&app, &["main"]).assert_ok();
    let listed = world.archive("main");
    assert!(listed.contains("Procfile"), "{listed}");
}

#[test]
fn names_are_judged_as_git_judges_them() {
    let pieces = [
        "a", "/", ".", "..", "@{", "@", "~", "^", ":", " ", "\\", ".lock", "*", "[", "?", "\u{7f}", "é", "-",
    ];
    for first in pieces {
        for second in pieces {
            for name in [format!("refs/heads/{first}{second}"), format!("refs/heads/x{first}{second}y")] {
                let git =
                    std::process::Command::new("git").args(["check-ref-format", &name]).status().unwrap();
                assert_eq!(ruko_core::names::is_ref_name(name.as_bytes()), git.success(), "{name:?}");
            }
        }
    }
}

#[test]
fn git_lfs_pointers_are_noticed_and_named() {
    let world = World::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    let app = world.app(&[
        ("Procfile", "web: one\n"),
        ("assets/a.bin", pointer),
        (".gitattributes", "*.bin filter=lfs\n"),
    ]);
    let push = world.push(&app, &["main"]);
    push.assert_ok();
    push.assert_line(" !     1 file is a Git LFS pointer and not the file itself: assets/a.bin");
    push.assert_contains("git lfs migrate export");
}
