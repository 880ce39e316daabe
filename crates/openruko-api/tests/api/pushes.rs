//! Commits, releases, fetches and the output of builds.

use super::world::{World, app, by, commit, commit_id, moved, stored, user};
use ruko_api_client::{ApiClientError, Opened};
use ruko_api_types::{Abort, BuildStatus, Commit, Output, RefUpdate};
use ruko_core::PushId;

fn refused(error: &ApiClientError) -> (u16, &str) {
    match error {
        ApiClientError::Refused { status, id, .. } => (*status, id),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_push_in_which_nothing_was_pushed_leaves_no_record() {
    let world = World::with_shop("");
    let push = world.open();
    world.serve.abort(&push.push, &Abort { reason: None }).unwrap();
    assert!(world.admin.builds(&app("shop")).unwrap().is_empty());
    assert!(world.admin.app(&app("shop")).unwrap().push.is_none());
    assert!(!world.serve.renew_lease(&push.push).unwrap());
}

#[test]
fn a_push_is_told_everything_it_needs() {
    let world = World::with_shop("");
    let buildpacks =
        vec!["https://github.com/heroku/heroku-buildpack-python#v250".to_owned(), "procfile".into()];
    world.admin.set_buildpacks(&app("shop"), buildpacks.clone()).unwrap();
    let change = [("SECRET".parse().unwrap(), Some("ünïcode\nand lines".to_owned()))].into();
    world.admin.change_config_vars(&app("shop"), &change).unwrap();
    let push = world.open();
    let (id, own) = (&push.app.id, &push.push);
    assert_eq!((push.app.name.as_str(), push.user.as_str()), ("shop", "matt"));
    assert_eq!((push.stack.as_str(), push.template.as_str()), ("openruko-12", "openruko-build"));
    assert_eq!((push.repo.version, &push.repo.get), (0, &vec![]));
    assert_eq!(push.repo.put, world.storage(&format!("repos/{id}/1-{own}.tar.gz")));
    assert_eq!(push.slug.put, world.storage(&format!("slugs/{id}/{own}.tar.gz")));
    assert_eq!(push.cache.get, world.storage(&format!("caches/{id}.tar.gz")));
    assert_eq!(push.cache.put, push.cache.get);
    assert_eq!(push.config_vars.values().collect::<Vec<_>>(), ["ünïcode\nand lines"]);
    assert_eq!(push.buildpacks, buildpacks);
    assert_eq!(push.deploy_refs, ["refs/heads/main", "refs/heads/master"]);
    assert_eq!(push.slug.max_bytes, push.limits.slug_bytes);
    assert_eq!(push.release_url, format!("http://api.test:5000/internal/pushes/{own}/commit"));
    assert_eq!(push.web_url, "http://shop.localhost:8080/");
    assert_eq!(push.lease_seconds, 30);
}

#[test]
fn a_commit_is_version_slug_and_release_at_once() {
    let world = World::with_shop("");
    let push = world.open();
    let committed = world.serve.commit(&push.push, &commit(0)).unwrap();
    assert_eq!((committed.repo_version, committed.release), (1, Some(2)));
    assert_eq!(committed.web_url, "http://shop.localhost:8080/");
    assert!(world.to_delete().is_empty());

    let shown = world.admin.app(&app("shop")).unwrap();
    assert_eq!((shown.repo_version, shown.release, shown.push), (1, 2, None));
    let release = world.admin.releases(&app("shop")).unwrap().remove(0);
    assert_eq!((release.version, release.description.as_str()), (2, "Deploy cccccccc"));
    assert_eq!((release.user.as_str(), release.buildpack.as_deref()), ("matt", Some("Python")));
    assert_eq!(release.commit, Some(commit_id('c')));
    assert_eq!(release.process_types, commit(0).release.unwrap().manifest.process_types);
    assert_eq!(release.slug, Some(stored(500)));
    assert_eq!(release.slug_url, Some(push.slug.put.clone()));
    let build = world.admin.builds(&app("shop")).unwrap().remove(0);
    assert_eq!(
        (build.push, build.status, build.release),
        (push.push.clone(), BuildStatus::Succeeded, Some(2))
    );

    let fetch = world.serve.open_fetch(&app("shop"), &user("matt")).unwrap().unwrap();
    assert_eq!((fetch.app, fetch.repo), (push.app.clone(), vec![push.repo.put.clone()]));
    assert_eq!(world.open().repo.get, vec![push.repo.put.clone()]);
}

#[test]
fn a_repeated_commit_gets_the_same_answer_and_changes_nothing() {
    let world = World::with_shop("lease_seconds = 1");
    let push = world.open();
    let first = world.serve.commit(&push.push, &commit(0)).unwrap();
    assert_eq!(world.serve.commit(&push.push, &commit(0)).unwrap(), first);
    world.push();
    assert_eq!(world.serve.commit(&push.push, &commit(0)).unwrap(), first, "after the next push, too");
    world.serve.abort(&push.push, &Abort { reason: Some("must not undo it".into()) }).unwrap();
    assert_eq!(world.admin.app(&app("shop")).unwrap().repo_version, 2);
    assert_eq!(world.admin.releases(&app("shop")).unwrap().len(), 3);
    let builds = world.admin.builds(&app("shop")).unwrap();
    let build = builds.iter().find(|build| build.push == push.push).unwrap();
    assert_eq!((build.status, &build.reason), (BuildStatus::Succeeded, &None));
}

#[test]
fn a_repository_that_moved_on_is_not_overwritten() {
    let world = World::with_shop("");
    world.push();
    let push = world.open();
    for stale in [0, 2, u64::MAX] {
        let error = world.serve.commit(&push.push, &commit(stale)).unwrap_err();
        assert_eq!(refused(&error), (409, "repo_moved"));
    }
    let shown = world.admin.app(&app("shop")).unwrap();
    assert_eq!((shown.repo_version, shown.release), (1, 2), "nothing of a refused commit stays");
    let committed = world.serve.commit(&push.push, &commit(1)).unwrap();
    assert_eq!((committed.repo_version, committed.release), (2, Some(3)));
}

#[test]
fn the_current_and_the_previous_repository_are_kept_and_older_ones_named_once() {
    let world = World::with_shop("");
    let puts: Vec<String> = (0..4)
        .map(|version| {
            let push = world.open();
            let committed = world.serve.commit(&push.push, &commit(version)).unwrap();
            assert_eq!(committed.repo_version, version + 1);
            let expected: Vec<String> = match version {
                0 | 1 => vec![],
                _ => vec![discarded(&world, version - 1)],
            };
            let discard = world.to_delete();
            assert_eq!(discard.len(), expected.len(), "{discard:?}");
            for (object, prefix) in discard.iter().zip(expected) {
                assert!(object.starts_with(&prefix), "{object} {prefix}");
            }
            push.repo.put.clone()
        })
        .collect();
    assert_eq!(world.open().repo.get, [puts[3].clone()]);
}

fn discarded(world: &World, version: u64) -> String {
    let id = world.admin.app(&app("shop")).unwrap().id;
    world.storage(&format!("repos/{id}/{version}-"))
}

#[test]
fn a_push_of_other_refs_makes_no_release_and_releases_stay_numbered_without_gaps() {
    let world = World::with_shop("");
    let topic = |base_version| Commit {
        release: None,
        refs: vec![moved("refs/heads/topic", 'd')],
        ..commit(base_version)
    };
    let push = world.open();
    assert_eq!(world.serve.commit(&push.push, &topic(0)).unwrap().release, None);
    assert_eq!(world.push().release, Some(2));
    let push = world.open();
    assert_eq!(world.serve.commit(&push.push, &topic(2)).unwrap().release, None);
    let failed = world.open();
    world.serve.abort(&failed.push, &Abort { reason: Some("failed to compile\nPython app".into()) }).unwrap();
    assert_eq!(world.push().release, Some(3));
    let build =
        world.admin.builds(&app("shop")).unwrap().into_iter().find(|b| b.push == failed.push).unwrap();
    assert_eq!(build.status, BuildStatus::Failed);
    assert_eq!(build.reason.as_deref(), Some("failed to compile; Python app"));
    let error = world.serve.commit(&failed.push, &commit(4)).unwrap_err();
    assert_eq!(refused(&error), (410, "lease_lost"));
}

#[test]
fn config_vars_make_releases_of_what_runs() {
    let world = World::with_shop("");
    let change = |pairs: &[(&str, Option<&str>)]| {
        let change = pairs.iter().map(|(n, v)| (n.parse().unwrap(), v.map(str::to_owned))).collect();
        world.admin.change_config_vars(&app("shop"), &change).unwrap()
    };
    change(&[("EARLY", Some("1"))]);
    world.push();
    change(&[("B", Some("2")), ("A", Some("1"))]);
    change(&[("A", Some("1"))]);
    let left = change(&[("A", None), ("NOT_THERE", None)]);
    assert_eq!(left.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["B", "EARLY"]);
    assert_eq!(world.admin.config_vars(&app("shop")).unwrap(), left);

    let releases = world.admin.releases(&app("shop")).unwrap();
    let told: Vec<_> = releases.iter().map(|r| (r.version, r.description.as_str())).collect();
    let expected = [
        (5, "Remove A config vars"),
        (4, "Set A, B config vars"),
        (3, "Deploy cccccccc"),
        (2, "Set EARLY config vars"),
        (1, "Initial release"),
    ];
    assert_eq!(told, expected);
    assert_eq!(releases[3].slug_url, None, "nothing was built yet");
    for release in &releases[..3] {
        assert_eq!(release.slug_url, releases[2].slug_url);
        assert_eq!(release.process_types, releases[2].process_types);
        assert_eq!(release.commit, releases[2].commit);
    }
    assert_eq!(releases[0].user.as_str(), "admin");
    assert_eq!(world.push().release, Some(6));
}

#[test]
fn a_commit_that_is_not_sound_is_refused_before_anything_is_written() {
    let world = World::with_shop("");
    let push = world.open();
    let built = || commit(0).release.unwrap();
    let with = |change: fn(&mut Commit)| {
        let mut commit = commit(0);
        change(&mut commit);
        commit
    };
    let no_manifest_match = {
        let mut built = built();
        built.manifest.head.as_mut().unwrap().commit = commit_id('d');
        Commit { release: Some(built), ..commit(0) }
    };
    for (why, unsound) in [
        ("no refs", with(|c| c.refs.clear())),
        ("too many refs", with(|c| c.refs = vec![moved("refs/x", 'a'); 10_001])),
        ("no name of a ref", with(|c| c.refs[0].name = "main".into())),
        ("digest of another form", with(|c| c.repo.as_mut().unwrap().sha256 = "AB".repeat(32))),
        ("empty repository", with(|c| c.repo.as_mut().unwrap().bytes = 0)),
        ("size beyond all bounds", with(|c| c.repo.as_mut().unwrap().bytes = u64::MAX)),
        ("deploy ref without release", with(|c| c.release = None)),
        (
            "deploy ref deleted",
            with(|c| {
                c.release = None;
                c.refs = vec![moved("refs/heads/main", '0')];
            }),
        ),
        ("no repository, but refs", with(|c| c.repo = None)),
        (
            "no repository, but a commit",
            with(|c| {
                c.repo = None;
                c.refs.clear();
            }),
        ),
        (
            "as of a tarball, which this is not",
            with(|c| {
                c.repo = None;
                c.refs.clear();
                c.release.as_mut().unwrap().manifest.head = None;
            }),
        ),
        ("release of no commit", with(|c| c.release.as_mut().unwrap().manifest.head = None)),
        ("second deploy ref", with(|c| c.refs.push(moved("refs/heads/master", 'd')))),
        ("release of what does not move", with(|c| c.refs[0].name = "refs/heads/x".into())),
        ("another commit built than pushed", no_manifest_match),
        ("slug too large", with(|c| c.release.as_mut().unwrap().slug.bytes = 501 << 20)),
        (
            "branch is no deploy ref",
            with(|c| {
                let built = c.release.as_mut().unwrap();
                built.manifest.head.as_mut().unwrap().branch = "refs/heads/x".into();
            }),
        ),
        ("escape in a name", with(|c| c.release.as_mut().unwrap().manifest.buildpack = "a\x1b[2J".into())),
        (
            "default without type",
            with(|c| {
                c.release.as_mut().unwrap().manifest.default_types = vec!["none".parse().unwrap()];
            }),
        ),
        (
            "empty command",
            with(|c| {
                c.release
                    .as_mut()
                    .unwrap()
                    .manifest
                    .process_types
                    .insert("x".parse().unwrap(), String::new());
            }),
        ),
    ] {
        let error = world.serve.commit(&push.push, &unsound).unwrap_err();
        assert_eq!(refused(&error), (422, "invalid_params"), "{why}: {error:?}");
    }
    assert_eq!(world.admin.app(&app("shop")).unwrap().repo_version, 0);
    world.serve.commit(&push.push, &commit(0)).unwrap();
}

#[test]
fn as_many_refs_as_are_allowed_fit_into_one_commit() {
    let world = World::with_shop("");
    let push = world.open();
    let mut all = commit(0);
    let name = |n: usize| format!("refs/tags/a-tag-of-some-length/{n}");
    let id: ruko_core::CommitId = "d".repeat(64).parse().unwrap();
    all.refs.extend((1..10_000).map(|n| RefUpdate { name: name(n), old: id.clone(), new: id.clone() }));
    assert_eq!(world.serve.commit(&push.push, &all).unwrap().release, Some(2));
}

#[test]
fn only_the_latest_hundred_pushes_keep_their_output() {
    let world = World::with_shop("");
    let pushes: Vec<PushId> = (0..102)
        .map(|_| {
            let push = world.open().push;
            print(&world, &push, 0, "one\n");
            world.serve.abort(&push, &Abort { reason: Some("x".into()) }).unwrap();
            push
        })
        .collect();
    let kept: Vec<bool> = pushes.iter().map(|push| !printed(&world, push, false).is_empty()).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 100);
    assert!(!kept[0] && !kept[1] && kept[2]);
    assert_eq!(world.admin.builds(&app("shop")).unwrap().len(), 102);
}

#[test]
fn calls_on_a_push_that_never_was_say_so() {
    let world = World::with_shop("");
    let none = PushId::generate();
    assert!(!world.serve.renew_lease(&none).unwrap());
    assert_eq!(refused(&world.serve.commit(&none, &commit(0)).unwrap_err()), (404, "not_found"));
    let abort = Abort { reason: Some("x".into()) };
    assert_eq!(refused(&world.serve.abort(&none, &abort).unwrap_err()), (404, "not_found"));
    let error = world.admin.copy_output(&none, true, &mut Vec::new()).unwrap_err();
    assert_eq!(refused(&error), (404, "not_found"));
}

fn print(world: &World, push: &PushId, offset: u64, text: &str) {
    world.serve.output(push, &Output { offset, text: text.into() }).unwrap();
}

fn printed(world: &World, push: &PushId, follow: bool) -> String {
    let mut text = Vec::new();
    world.admin.copy_output(push, follow, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn output_is_stored_once_however_often_it_is_sent() {
    let world = World::with_shop("");
    let push = world.open();
    assert_eq!(printed(&world, &push.push, false), "");
    print(&world, &push.push, 0, "-----> Python\n");
    print(&world, &push.push, 0, "-----> Python\n");
    print(&world, &push.push, 7, "Python\n       ünïcode\n");
    world.serve.abort(&push.push, &Abort { reason: Some("x".into()) }).unwrap();
    print(&world, &push.push, 33, " !     the last line\n");
    let expected = "-----> Python\n       ünïcode\n";
    assert_eq!(expected.len(), 31);
    assert_eq!(
        printed(&world, &push.push, false),
        format!("{expected}\n[2 bytes were lost on the way]\n !     the last line\n")
    );
}

#[test]
fn output_is_bounded_and_says_so() {
    let world = World::with_shop("limits = { output_bytes = 20 }");
    let push = world.open();
    print(&world, &push.push, 0, &"x".repeat(30));
    print(&world, &push.push, 30, "more");
    let expected = format!("{}\n[what is printed beyond 20 bytes is not kept]\n", "x".repeat(20));
    assert_eq!(printed(&world, &push.push, false), expected);
}

#[test]
fn output_can_be_followed_to_the_end_of_the_build() {
    let world = World::with_shop("");
    let push = world.open();
    print(&world, &push.push, 0, "one\n");
    let (saw, seen) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut pieces = Pieces { saw, all: String::new() };
            world.admin.copy_output(&push.push, true, &mut pieces).unwrap();
            pieces.all
        });
        seen.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        print(&world, &push.push, 4, "two\n");
        seen.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        world.serve.commit(&push.push, &commit(0)).unwrap();
        print(&world, &push.push, 8, "three\n");
        assert_eq!(follower.join().unwrap(), "one\ntwo\nthree\n");
    });
}

/// Tells of each piece as it comes.
struct Pieces {
    saw: std::sync::mpsc::Sender<()>,
    all: String,
}

impl std::io::Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.all.push_str(std::str::from_utf8(piece).unwrap());
        let _ = self.saw.send(());
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn following_a_push_that_died_ends_with_its_lease() {
    let world = World::with_shop("lease_seconds = 1");
    let push = world.open();
    print(&world, &push.push, 0, "one\n");
    assert_eq!(printed(&world, &push.push, true), "one\n");
    assert_eq!(world.admin.builds(&app("shop")).unwrap()[0].status, BuildStatus::Lost);
}

#[test]
fn a_collaborator_pushes_under_their_own_name() {
    let world = World::with_shop("");
    world.admin.add_user(&user("ann")).unwrap();
    world.admin.add_collaborator(&app("shop"), &user("ann")).unwrap();
    let Opened::Push(push) = world.serve.open_push(&app("shop"), &by("ann", 0)).unwrap() else {
        panic!("not opened")
    };
    world.serve.commit(&push.push, &commit(0)).unwrap();
    world.admin.remove_user(&user("ann")).unwrap();
    assert_eq!(world.admin.releases(&app("shop")).unwrap()[0].user.as_str(), "ann", "the record stays");
}
