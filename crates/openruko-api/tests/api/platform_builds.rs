//! Builds at the Platform API: of tarballs, and as a list of git pushes, too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ruko_api_client::ApiClientError;
use ruko_api_types::{Abort, Commit, Output, Push, TakeBuild};
use serde_json::{Value, json};

use super::developer::Developer;
use super::world::{NO_UPLOADS, World, app, commit, moved, stored, user};

/// The URL under which developers reach the Platform API, as it is configured.
const PUBLIC: &str = "http://paas.test";

/// The path of a URL that the server gave out.
#[track_caller]
fn path(url: &Value) -> &str {
    url.as_str().unwrap().strip_prefix(PUBLIC).unwrap()
}

/// The two URLs of a new source.
fn source(dev: &Developer) -> Value {
    dev.post("/sources", json!({})).with(201)["source_blob"].clone()
}

fn upload(dev: &Developer, bytes: &[u8]) -> Value {
    let source = source(dev);
    assert_eq!(dev.send("PUT", path(&source["put_url"]), &[("Authorization", "")], bytes).status, 200);
    source
}

/// A build of a tarball for the app `shop` that waits.
fn queued(dev: &Developer, version: &str) -> Value {
    let source = upload(dev, b"a tarball");
    let blob = json!({ "url": source["get_url"], "version": version });
    dev.post("/apps/shop/builds", json!({ "source_blob": blob })).with(201)
}

fn take(world: &World, wait_seconds: u64) -> Option<Push> {
    world.serve.take_build(&TakeBuild { wait_seconds }).unwrap()
}

fn show(dev: &Developer, build: &Value) -> Value {
    dev.get(&format!("/apps/shop/builds/{}", build["id"].as_str().unwrap())).with(200)
}

/// What a build of a tarball commits.
fn of_tarball(push: &Push) -> Commit {
    let mut commit = Commit { repo: None, refs: vec![], ..commit(push.repo.version) };
    commit.release.as_mut().unwrap().manifest.head = None;
    commit
}

fn shop(world: &World) -> Developer {
    let matt = Developer::named(world, "matt");
    matt.app("shop");
    matt
}

fn say(world: &World, push: &Push, offset: u64, text: &str) {
    world.serve.output(&push.push, &Output { offset, text: text.into() }).unwrap();
}

#[test]
fn a_tarball_is_uploaded_built_and_released() {
    let world = World::new();
    let matt = shop(&world);
    let source = upload(&matt, b"a tarball");
    assert_eq!(matt.send("GET", path(&source["get_url"]), &[], b"").text, "a tarball");
    let sum = "SHA256:2e3e9a0c2b0e0a2bcd1e0f4f3a9e0a2bcd1e0f4f3a9e0a2bcd1e0f4f3a9e0a2b";
    let blob = |more: Value| {
        let mut blob = json!({ "url": source["get_url"], "version": "v1.2" });
        blob.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "source_blob": blob, "buildpacks": [{ "url": "urn:buildpack:heroku/python" }] })
    };
    let (_, _, why) = matt.post("/apps/shop/builds", blob(json!({ "checksum": sum }))).refused();
    let right = why.split(' ').next_back().unwrap().trim_end_matches('.').to_owned();
    let build = matt.post("/apps/shop/builds", blob(json!({ "checksum": right }))).with(201);
    assert_eq!((&build["status"], &build["user"]["email"]), (&json!("pending"), &json!("matt")));
    assert_eq!((&build["release"], &build["slug"]), (&json!(null), &json!(null)));
    assert_eq!(build["buildpacks"], json!([{ "url": "heroku/python" }]));
    assert_eq!(matt.get("/apps/shop/builds").with(200), json!([build]));

    let push = take(&world, 0).unwrap();
    assert_eq!(push.tarball.as_ref().unwrap().version.as_deref(), Some("v1.2"));
    assert_eq!((push.app.name.as_str(), push.user.as_str()), ("shop", "matt"));
    assert_eq!(push.buildpacks, ["heroku/python"]);
    let mut bytes = String::new();
    world.serve.source(&push.push, Duration::from_secs(10)).unwrap().read_to_string(&mut bytes).unwrap();
    assert_eq!(bytes, "a tarball");
    assert_eq!(show(&matt, &build)["status"], "pending");
    say(&world, &push, 0, "-----> Building\n");

    let committed = world.serve.commit(&push.push, &of_tarball(&push)).unwrap();
    assert_eq!((committed.repo_version, committed.release), (0, Some(2)));
    assert_eq!(world.serve.commit(&push.push, &of_tarball(&push)).unwrap(), committed, "it may be repeated");
    let done = show(&matt, &build);
    assert_eq!((&done["status"], &done["source_blob"]["version"]), (&json!("succeeded"), &json!("v1.2")));
    assert!(done["release"]["id"].is_string());
    assert_eq!(done["slug"]["id"], done["id"]);
    assert_eq!(matt.get(path(&done["output_stream_url"])).text, "-----> Building\n");
    let release = world.admin.releases(&app("shop")).unwrap().remove(0);
    assert_eq!((release.version, release.description.as_str()), (2, "Deploy v1.2"));
    assert_eq!((release.commit, release.slug), (None, Some(stored(500))));
    assert!(take(&world, 0).is_none());
    let late = world.serve.source(&push.push, Duration::from_secs(10)).err().unwrap();
    assert_eq!(late.status(), Some(410));
}

#[test]
fn a_version_that_is_a_commit_is_the_slugs_commit_and_none_is_no_word() {
    let world = World::new();
    let matt = shop(&world);
    for (version, description, commit) in
        [("", "Deploy", None), (&"a".repeat(40)[..], &format!("Deploy {}", "a".repeat(40))[..], Some("a"))]
    {
        queued(&matt, version);
        let push = take(&world, 0).unwrap();
        world.serve.commit(&push.push, &of_tarball(&push)).unwrap();
        let release = world.admin.releases(&app("shop")).unwrap().remove(0);
        assert_eq!(release.description, description);
        assert_eq!(release.commit.map(|c| c.to_string()), commit.map(|digit| digit.repeat(40)));
    }
}

#[test]
fn a_push_and_a_tarball_commit_each_in_their_own_way() {
    let world = World::new();
    let matt = shop(&world);
    queued(&matt, "v1");
    let push = take(&world, 0).unwrap();
    let status = |error: ApiClientError| error.status();
    assert_eq!(world.serve.commit(&push.push, &commit(0)).map_err(status), Err(Some(422)));
    world.serve.abort(&push.push, &Abort { reason: Some("enough".into()) }).unwrap();
    let push = world.open();
    assert_eq!(world.serve.commit(&push.push, &of_tarball(&push)).map_err(status), Err(Some(422)));
    let source = world.serve.source(&push.push, Duration::from_secs(10));
    assert_eq!(source.err().and_then(|error| error.status()), Some(404));
}

#[test]
fn only_what_was_uploaded_here_is_built() {
    let world = World::new();
    let matt = shop(&world);
    let build =
        |url: &str| matt.post("/apps/shop/builds", json!({ "source_blob": { "url": url } })).refused();
    for foreign in
        ["https://github.com/a/b/archive/main.tar.gz", "http://169.254.169.254/", "file:///etc", ""]
    {
        let (status, _, why) = build(foreign);
        assert_eq!(status, 422);
        assert!(why.contains("get_url of POST /sources"), "{why}");
    }
    let source = source(&matt);
    let (get, put) = (source["get_url"].as_str().unwrap(), source["put_url"].as_str().unwrap());
    let (status, _, why) = build(get);
    assert!(status == 422 && why.contains("PUT it"), "{why}");
    assert_eq!(build(&put.replace("?put=", "?get=")).0, 404);
    assert_eq!(build(&get[..get.len() - 1]).0, 404);
    let put = path(&source["put_url"]);
    assert_eq!(matt.send("PUT", path(&source["get_url"]), &[], b"x").refused().0, 404);
    assert_eq!(matt.send("GET", put, &[], b"").refused().0, 404);
    assert_eq!(matt.delete(put).refused().0, 405);
    assert_eq!(matt.send("PUT", put, &[], b"").refused().0, 422);
    assert_eq!(matt.send("PUT", put, &[], b"x").status, 200);
    assert_eq!(matt.send("PUT", put, &[], b"y").refused().1, "source_taken");
    for bad in ["two\nlines", &"x".repeat(201)] {
        let blob = json!({ "source_blob": { "url": get, "version": bad } });
        assert_eq!(matt.post("/apps/shop/builds", blob).refused().0, 422);
    }
}

#[test]
fn one_tarball_at_a_time_comes_to_a_source() {
    let world = World::new();
    let matt = shop(&world);
    let source = source(&matt);
    let target = path(&source["put_url"]);
    let mut slow = TcpStream::connect(world.public_url.strip_prefix("http://").unwrap()).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na");
    slow.write_all(head.as_bytes()).unwrap();
    let uploads = world.home.dir.path().join("uploads");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::read_dir(&uploads).unwrap().count() == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let (status, id, why) = matt.send("PUT", path(&source["put_url"]), &[], b"other").refused();
    assert_eq!((status, id.as_str()), (409, "source_taken"), "{why}");
    slow.write_all(b"bc").unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(matt.send("GET", path(&source["get_url"]), &[], b"").text, "abc");
}

#[test]
fn a_tarball_that_is_too_large_is_refused_with_the_limit() {
    let world = World::with("[api.limits]\ndisk_bytes = 2048");
    let matt = shop(&world);
    let source = source(&matt);
    let refused = matt.send("PUT", path(&source["put_url"]), &[], &[0; 2049]).refused();
    assert_eq!((refused.0, refused.1.as_str()), (413, "too_large"));
    assert!(refused.2.contains("2.0 KB"), "{}", refused.2);
    assert_eq!(matt.send("PUT", path(&source["put_url"]), &[], &[0; 2048]).status, 200);
}

#[test]
fn a_server_without_a_place_for_them_takes_no_tarballs() {
    let world = World::with(NO_UPLOADS);
    let matt = Developer::named(&world, "matt");
    let (status, _, why) = matt.post("/sources", json!({})).refused();
    assert!(status == 422 && why.contains("`uploads`"), "{why}");
}

#[test]
fn the_oldest_sources_of_a_user_make_room_but_for_those_that_builds_need() {
    let world = World::new();
    let matt = shop(&world);
    let needed = upload(&matt, b"needed");
    matt.post("/apps/shop/builds", json!({ "source_blob": { "url": needed["get_url"] } })).with(201);
    let old = upload(&matt, b"old");
    for _ in 0..8 {
        upload(&matt, b"x");
    }
    assert_eq!(matt.get(path(&old["get_url"])).status, 200);
    source(&matt);
    assert_eq!(matt.get(path(&old["get_url"])).status, 404);
    assert_eq!(matt.get(path(&needed["get_url"])).text, "needed");
    let files = std::fs::read_dir(world.home.dir.path().join("uploads")).unwrap().count();
    assert_eq!(files, 9, "the file went with its place");
}

#[test]
fn builds_wait_for_the_lease_of_their_app_alone() {
    let world = World::new();
    let matt = shop(&world);
    matt.app("other");
    let push = world.open();
    let first = queued(&matt, "first");
    assert!(take(&world, 0).is_none(), "somebody pushes to the app");
    let source = upload(&matt, b"x");
    matt.post("/apps/other/builds", json!({ "source_blob": { "url": source["get_url"] } })).with(201);
    assert_eq!(take(&world, 0).unwrap().app.name.as_str(), "other");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| take(&world, 30).unwrap());
        world.serve.abort(&push.push, &Abort { reason: Some("enough".into()) }).unwrap();
        assert_eq!(waiting.join().unwrap().tarball.unwrap().version.as_deref(), Some("first"));
    });
    queued(&matt, "second");
    assert!(take(&world, 0).is_none(), "the first build has the lease");
    assert_eq!(show(&matt, &first)["status"], "pending");
}

#[test]
fn a_runner_that_waits_is_told_of_a_new_build() {
    let world = World::new();
    let matt = shop(&world);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| take(&world, 30));
        queued(&matt, "v1");
        assert!(waiting.join().unwrap().is_some());
    });
}

#[test]
fn a_build_whose_runner_died_has_failed_once_its_lease_ran_out() {
    let world = World::with("lease_seconds = 1");
    let matt = shop(&world);
    let (first, second) = (queued(&matt, "first"), queued(&matt, "second"));
    take(&world, 0).unwrap();
    let next = take(&world, 30).unwrap();
    assert_eq!(next.tarball.unwrap().version.as_deref(), Some("second"));
    assert_eq!(show(&matt, &first)["status"], "failed");
    assert_eq!(show(&matt, &second)["status"], "pending");
}

#[test]
fn a_build_that_waits_or_runs_can_be_cancelled() {
    let world = World::new();
    let matt = shop(&world);
    let (running, waiting) = (queued(&matt, "running"), queued(&matt, "waiting"));
    let push = take(&world, 0).unwrap();
    say(&world, &push, 0, "-----> Building\n");
    let cancel = |build: &Value| matt.delete(&format!("/apps/shop/builds/{}", build["id"].as_str().unwrap()));
    std::thread::scope(|scope| {
        // A follower is told and let go.
        let follower = scope.spawn(|| matt.get(path(&running["output_stream_url"])).text);
        assert_eq!(cancel(&running).with(200)["status"], "failed");
        say(&world, &push, 16, "said too late, and longer than the word about its end is\n");
        let text = follower.join().unwrap();
        assert_eq!(text, "-----> Building\n !     Build cancelled by user matt.\n");
    });
    assert!(!world.serve.renew_lease(&push.push).unwrap(), "its process learns of it");
    let late = world.serve.commit(&push.push, &of_tarball(&push)).unwrap_err();
    assert_eq!(late.status(), Some(410));
    assert_eq!(cancel(&waiting).with(200)["status"], "failed");
    assert!(take(&world, 0).is_none());
    assert_eq!(cancel(&waiting).refused().1, "build_ended");
    let records = world.admin.builds(&app("shop")).unwrap();
    assert!(records.iter().all(|one| one.reason.as_deref() == Some("cancelled by user matt")), "{records:?}");
}

#[test]
fn git_pushes_are_builds_too() {
    let world = World::new();
    let matt = shop(&world);
    let push = world.open();
    say(&world, &push, 0, "-----> Pushed\n");
    world.serve.commit(&push.push, &commit(0)).unwrap();
    let topic = world.open();
    let refs = vec![moved("refs/heads/topic", 'd')];
    world.serve.commit(&topic.push, &Commit { release: None, refs, ..commit(1) }).unwrap();
    let failed = world.open();
    world.serve.abort(&failed.push, &Abort { reason: Some("no".into()) }).unwrap();
    let list = matt.range("/apps/shop/builds", "created_at ..; max=15, order=desc").with(200);
    let statuses: Vec<&Value> = list.as_array().unwrap().iter().map(|build| &build["status"]).collect();
    assert_eq!(statuses, ["failed", "succeeded"], "what moved another branch alone built nothing");
    assert_eq!(list[1]["source_blob"]["version"], "c".repeat(40));
    assert_eq!(matt.get(path(&list[1]["output_stream_url"])).text, "-----> Pushed\n");
    assert_eq!(show(&matt, &json!({ "id": push.push.as_str() })), list[1], "by either form of its id");
}

#[test]
fn who_may_not_deploy_builds_nothing_and_who_loses_the_right_fails() {
    let world = World::new();
    let matt = shop(&world);
    let build = queued(&matt, "v1");
    let push = take(&world, 0).unwrap();
    world.serve.abort(&push.push, &Abort { reason: Some("no".into()) }).unwrap();
    let eve = Developer::named(&world, "eve");
    let id = build["id"].as_str().unwrap();
    for answer in [
        eve.post("/apps/shop/builds", json!({ "source_blob": { "url": "x" } })),
        eve.get("/apps/shop/builds"),
        eve.get(&format!("/apps/shop/builds/{id}")),
        eve.delete(&format!("/apps/shop/builds/{id}")),
        eve.delete("/apps/shop/build-cache"),
        eve.get(&format!("/builds/{id}/output?secret={}", "0".repeat(64))),
        eve.get(&format!("/builds/{id}/output")),
    ] {
        assert_eq!(answer.refused().0, 404);
    }
    world.admin.add_collaborator(&app("shop"), &user("eve")).unwrap();
    queued(&eve, "hers");
    world.admin.remove_collaborator(&app("shop"), &user("eve")).unwrap();
    assert!(take(&world, 0).is_none());
    let record = world.admin.builds(&app("shop")).unwrap().remove(0);
    assert_eq!(record.reason.as_deref(), Some("This user has no access to this app."));
}

#[test]
fn too_many_builds_of_an_app_do_not_wait() {
    let world = World::new();
    let matt = shop(&world);
    let source = upload(&matt, b"x");
    let build = || matt.post("/apps/shop/builds", json!({ "source_blob": { "url": source["get_url"] } }));
    for _ in 0..10 {
        build().with(201);
    }
    assert_eq!(build().refused().1, "too_many_builds");
}

#[test]
fn a_build_cache_that_is_thrown_away_is_never_seen_again() {
    let world = World::new();
    let matt = shop(&world);
    let before = world.open();
    matt.delete("/apps/shop/build-cache").with(200);
    world.serve.commit(&before.push, &commit(0)).unwrap();
    let after = world.open();
    assert_ne!(after.cache.get, before.cache.put);
    world.serve.commit(&after.push, &commit(1)).unwrap();
    assert_eq!(world.to_delete(), [before.cache.put]);
    world.admin.destroy_app(&app("shop")).unwrap();
    let left = world.to_delete();
    for object in [&before.repo.put, &before.slug.put, &after.repo.put, &after.slug.put, &after.cache.put] {
        assert!(left.contains(object), "{object}: {left:?}");
    }
}
