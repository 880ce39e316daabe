//! Releases that have to prove themselves, as the host, the developer and a push that waits see them.

use std::time::Duration;

use nix::sys::signal::Signal;
use ruko_api_client::ApiClient;
use ruko_api_types::host::{FailRelease, HostHello, ReleaseProgress, ReleaseStatus, RendezvousPlace, UpOf};
use ruko_api_types::platform::DynoState;
use ruko_api_types::{Abort, Commit, Output};
use serde_json::{Value, json};

use super::developer::Developer;
use super::host::Host;
use super::program::Program;
use super::world::{ADMIN, HOST, Home, RUNNING, SERVE, World, app, commit, moved, opened, user};

const RELEASES: &str = "/apps/shop/releases";

fn world() -> (World, Host, Developer) {
    let world = World::running();
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    (world, host, matt)
}

/// Version, status and whether it is the current one, of each release.
fn told(matt: &Developer) -> Vec<(u64, String, bool)> {
    let all = matt.get(RELEASES).with(200);
    let one = |release: &Value| {
        let status = release["status"].as_str().unwrap().to_owned();
        (release["version"].as_u64().unwrap(), status, release["current"].as_bool().unwrap())
    };
    all.as_array().unwrap().iter().map(one).collect()
}

fn entry(version: u64, status: &str, current: bool) -> (u64, String, bool) {
    (version, status.to_owned(), current)
}

fn fail(host: &Host, version: u64) -> Result<(), ruko_api_client::ApiClientError> {
    let why = FailRelease { reason: "web.1: R10 (Boot timeout)".into() };
    host.api.fail_release(&host.shop().app.id, version, &why)
}

#[test]
fn a_release_serves_once_the_host_turned_requests_to_it() {
    let (world, host, matt) = world();
    assert_eq!(told(&matt), [entry(1, "succeeded", true)]);
    let shop = host.shop();
    assert_eq!((&shop.current, &shop.candidate), (&None, &None));

    assert_eq!(world.push().release, Some(2));
    assert_eq!(told(&matt), [entry(1, "succeeded", true), entry(2, "pending", false)]);
    let shop = host.shop();
    assert_eq!(shop.current, None);
    let candidate = shop.candidate.as_ref().unwrap();
    let slug = candidate.slug.as_ref().unwrap();
    assert_eq!((candidate.version, slug.stored.bytes), (2, 500));
    assert!(slug.url.starts_with("file://") && slug.url.ends_with(".tar.gz"), "{}", slug.url);
    assert_eq!(slug.commit.as_deref(), Some("c".repeat(40).as_str()));
    let (console, web) = (&candidate.processes[0], &candidate.processes[1]);
    assert_eq!((console.process_type.as_str(), console.dynos.len()), ("console", 0));
    assert_eq!((web.command.as_str(), web.dynos[0].name.to_string().as_str()), ("python app.py", "web.1"));
    assert_eq!((web.size.memory_bytes, web.size.shares, web.size.pids), (512 << 20, 1, 256));

    let dyno = host.serves(2);
    assert_eq!(told(&matt), [entry(1, "succeeded", false), entry(2, "succeeded", true)]);
    let shop = host.shop();
    assert_eq!((shop.current.unwrap().version, shop.candidate), (2, None));
    host.switch(2, &[&dyno]);
    assert_eq!(told(&matt).len(), 2, "said again it changes nothing");
    assert_eq!(world.admin.app(&app("shop")).unwrap().release, 2);
}

#[test]
fn what_fails_leaves_the_old_release_and_the_next_change_builds_on_that() {
    let (world, host, matt) = world();
    world.push();
    host.serves(2);
    world.push();
    fail(&host, 3).unwrap();
    fail(&host, 3).unwrap();
    assert_eq!(told(&matt)[1..], [entry(2, "succeeded", true), entry(3, "failed", false)]);
    let served = matt.get(&format!("{RELEASES}/2")).with(200)["slug"].clone();

    matt.patch("/apps/shop/config-vars", json!({ "A": "1" })).with(200);
    assert_eq!(told(&matt)[3], entry(4, "pending", false));
    assert_eq!(matt.get(&format!("{RELEASES}/4")).with(200)["slug"], served, "v3's code is not in it");
    let candidate = host.shop().candidate.unwrap();
    assert_eq!(candidate.config_vars.values().collect::<Vec<_>>(), ["1"]);
    host.serves(4);
    assert_eq!(fail(&host, 4).unwrap_err().status(), Some(409), "it serves already");
    assert_eq!(fail(&host, 2).unwrap_err().status(), Some(409));

    // Whoever goes back goes to what served before.
    let (status, _, message) = matt.post(RELEASES, json!({ "release": "3" })).refused();
    assert_eq!((status, message.as_str()), (422, "`shop` cannot go back to v3: it is failed."));
    let newest_first = matt.range(RELEASES, "version ..; order=desc").json();
    let all = newest_first.as_array().unwrap().iter();
    let eligible: Vec<_> = all.filter(|release| release["eligible_for_rollback"] == true).collect();
    assert_eq!((&eligible[0]["version"], &eligible[1]["version"]), (&json!(4), &json!(2)));
    let back = matt.post(RELEASES, json!({ "release": eligible[1]["id"] })).with(201);
    assert_eq!(
        (&back["version"], &back["status"], &back["current"]),
        (&json!(5), &json!("pending"), &json!(false))
    );
}

#[test]
fn a_config_change_keeps_the_code_that_was_pushed_right_before_it() {
    let (world, host, matt) = world();
    world.push();
    host.serves(2);
    world.push();
    let pushed = matt.get(&format!("{RELEASES}/3")).with(200)["slug"].clone();
    matt.patch("/apps/shop/config-vars", json!({ "A": "1" })).with(200);
    assert_eq!(told(&matt)[2..], [entry(3, "expired", false), entry(4, "pending", false)]);
    assert_eq!(matt.get(&format!("{RELEASES}/4")).with(200)["slug"], pushed);
    assert_eq!(host.try_switch(3, &[]).unwrap_err().status(), Some(409));
    assert_eq!(fail(&host, 3).unwrap_err().status(), Some(409));
    assert_eq!(host.shop().candidate.unwrap().version, 4);
}

#[test]
fn a_first_release_that_failed_for_the_want_of_a_config_var_is_tried_again_with_it() {
    let (world, host, matt) = world();
    world.push();
    fail(&host, 2).unwrap();
    assert_eq!(told(&matt), [entry(1, "succeeded", true), entry(2, "failed", false)]);
    assert_eq!(matt.get("/apps/shop/formation").with(200)[1]["type"], "web", "it can be scaled meanwhile");
    matt.patch("/apps/shop/config-vars", json!({ "NEEDED": "1" })).with(200);
    let candidate = host.shop().candidate.unwrap();
    assert_eq!((candidate.version, candidate.slug.is_some()), (3, true));
}

/// What a push would begin with: the objects of the repository, and where they may be deleted.
fn repository(world: &World) -> Vec<String> {
    let push = world.open();
    world.serve.abort(&push.push, &Abort { reason: None }).unwrap();
    push.repo.get
}

#[test]
fn a_push_whose_release_fails_is_taken_back() {
    let (world, host, matt) = world();
    assert!(repository(&world).is_empty());
    let first = world.open();
    world.serve.commit(&first.push, &commit(first.repo.version)).unwrap();
    assert_eq!(repository(&world), [first.repo.put.as_str()], "while it is pending it is there");
    fail(&host, 2).unwrap();
    assert!(repository(&world).is_empty(), "nothing was there before");

    // Its slug gets another chance with a config var, and with it the push.
    matt.patch("/apps/shop/config-vars", json!({ "NEEDED": "1" })).with(200);
    let _ = host.serves(3);
    assert_eq!(repository(&world), [first.repo.put.as_str()]);

    let second = world.open();
    world.serve.commit(&second.push, &commit(second.repo.version)).unwrap();
    assert!(!world.to_delete().contains(&first.repo.put), "it may be needed again");
    fail(&host, 4).unwrap();
    assert_eq!(repository(&world), [first.repo.put.as_str()]);

    // What fails of the slug that serves takes nothing back.
    matt.patch("/apps/shop/config-vars", json!({ "BROKEN": "1" })).with(200);
    fail(&host, 5).unwrap();
    assert_eq!(repository(&world), [first.repo.put.as_str()]);

    let third = world.open();
    world.serve.commit(&third.push, &commit(third.repo.version)).unwrap();
    let discard = world.to_delete();
    assert!(discard.contains(&second.repo.put), "{discard:?}");
    assert!(!discard.contains(&first.repo.put), "the version before is kept: {discard:?}");
    let _ = host.serves(6);
    assert_eq!(repository(&world), [third.repo.put.as_str()]);
}

#[test]
fn a_push_is_not_taken_back_under_another_one() {
    let (world, host, _matt) = world();
    world.push();
    let _ = host.serves(2);
    let failing = world.open();
    world.serve.commit(&failing.push, &commit(failing.repo.version)).unwrap();
    let next = world.open();
    fail(&host, 3).unwrap();
    let refused = world.serve.commit(&next.push, &commit(next.repo.version)).unwrap_err();
    assert_eq!(refused.status(), Some(409), "it began with what was taken back");
    world.serve.abort(&next.push, &Abort { reason: None }).unwrap();

    let overtaken = world.open();
    world.serve.commit(&overtaken.push, &commit(overtaken.repo.version)).unwrap();
    let next = world.open();
    world.serve.commit(&next.push, &commit(next.repo.version)).unwrap();
    assert_eq!(fail(&host, 4).unwrap_err().status(), Some(409));
    assert_eq!(repository(&world), [next.repo.put.as_str()]);
}

#[test]
fn of_two_quick_pushes_of_which_the_second_fails_none_stays() {
    let (world, host, _matt) = world();
    let push = || {
        let push = world.open();
        world.serve.commit(&push.push, &commit(push.repo.version)).unwrap();
        push.repo.put
    };
    push();
    push();
    fail(&host, 3).unwrap();
    assert!(repository(&world).is_empty(), "nothing was there before them");
    let served = push();
    let _ = host.serves(4);
    push();
    push();
    world.admin.collect_garbage(false).unwrap();
    assert!(!world.to_delete().contains(&served), "it is needed again");
    fail(&host, 6).unwrap();
    assert_eq!(repository(&world), [served.as_str()], "the first of them never served either");
    let last = push();
    let _ = host.serves(7);
    assert_eq!(repository(&world), [last.as_str()]);
    push();
    let deleted = world.to_delete();
    assert!(deleted.contains(&served) && !deleted.contains(&last), "{deleted:?}");
}

#[test]
fn what_is_pushed_beside_a_release_stays_when_that_serves() {
    let (world, host, _matt) = world();
    world.push();
    let _ = host.serves(2);
    world.push();
    let beside = world.open();
    let refs = vec![moved("refs/heads/feature", 'd')];
    let bare = Commit { refs, release: None, ..commit(beside.repo.version) };
    world.serve.commit(&beside.push, &bare).unwrap();
    let _ = host.serves(3);
    assert_eq!(repository(&world), [beside.repo.put.as_str()], "its refs are nowhere else");
}

#[test]
fn requests_go_only_to_dynos_of_the_release_that_are_up() {
    let (world, host, _matt) = world();
    world.admin.create_app(&app("other"), &user("matt")).unwrap();
    world.push();
    let shop = host.shop();
    let up = host.up(2, "web.1");
    let starting = host.dyno(&shop, 2, "web.2", DynoState::Starting);
    let nowhere =
        ruko_api_types::host::DynoReport { address: None, ..host.dyno(&shop, 2, "web.3", DynoState::Up) };
    let worker = host.dyno(&shop, 2, "worker.1", DynoState::Up);
    let older = host.dyno(&shop, 1, "web.4", DynoState::Up);
    let elsewhere = host.dyno(&host.app("other"), 2, "web.1", DynoState::Up);
    let never = host.dyno(&shop, 2, "web.1", DynoState::Up);
    let all = [&starting, &nowhere, &worker, &older, &elsewhere];
    host.report(&all.map(Clone::clone));
    for other in all.into_iter().chain([&never]) {
        let refused = host.try_switch(2, &[&up, other]).unwrap_err();
        assert_eq!(refused.status(), Some(422), "{} {:?}: {refused}", other.name, other.state);
    }
    assert_eq!(host.shop().current, None, "none of these calls did anything");
    host.switch(2, &[&up]);
    let gone = host.api.switch(
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        &ruko_api_types::host::Switch { release: 2, dynos: Vec::new() },
    );
    assert_eq!(gone.unwrap_err().status(), Some(404));
}

#[test]
fn a_switch_and_a_newer_candidate_never_both_win() {
    let (world, host, matt) = world();
    world.push();
    host.serves(2);
    for round in 0..10 {
        world.push();
        let version = host.shop().candidate.unwrap().version;
        let dyno = host.up(version, "web.1");
        let switched = std::thread::scope(|scope| {
            let newer = scope.spawn(|| {
                matt.again().patch("/apps/shop/config-vars", json!({ "N": round.to_string() })).with(200)
            });
            let switched = host.try_switch(version, &[&dyno]);
            newer.join().unwrap();
            switched
        });
        let all = told(&matt);
        let status = &all.iter().find(|(known, _, _)| *known == version).unwrap().1;
        match switched {
            Ok(()) => assert_eq!(status, "succeeded"),
            Err(refused) => assert_eq!((refused.status(), status.as_str()), (Some(409), "expired")),
        }
        let serving: Vec<_> = all.iter().filter(|(_, _, current)| *current).collect();
        assert_eq!((serving.len(), serving[0].1.as_str()), (1, "succeeded"));
        assert_eq!(all.iter().filter(|(_, status, _)| status == "pending").count(), 1);
        assert_eq!(host.shop().candidate.unwrap().version, version + 1);
        host.serves(version + 1);
    }
}

/// Pushes what has a release phase and a worker.
fn push_with_phase(world: &World) {
    let opened = world.open();
    let mut pushed = commit(opened.repo.version);
    let types = &mut pushed.release.as_mut().unwrap().manifest.process_types;
    types.insert("release".parse().unwrap(), "rake db:migrate".into());
    types.insert("worker".parse().unwrap(), "work".into());
    world.serve.commit(&opened.push, &pushed).unwrap();
}

fn progress(world: &World, version: u64, from: u64, wait: u64) -> ReleaseProgress {
    world.serve.release_progress(&app("shop"), version, from, wait).unwrap()
}

#[test]
fn a_release_phase_is_no_dyno_and_what_it_prints_is_followed() {
    let (world, host, matt) = world();
    push_with_phase(&world);
    let shop = host.shop();
    let candidate = shop.candidate.unwrap();
    assert_eq!(candidate.release_phase.as_deref(), Some("rake db:migrate"));
    let types: Vec<_> = candidate.processes.iter().map(|one| one.process_type.as_str()).collect();
    assert_eq!(types, ["console", "web", "worker"]);
    let (status, _, message) = matt.patch("/apps/shop/formation/release", json!({ "quantity": 1 })).refused();
    assert_eq!((status, message.contains("runs once")), (422, true), "{message}");

    let say = |offset, text: &str| {
        let output = Output { offset, text: text.to_owned() };
        host.api.release_output(&shop.app.id, 2, &output).unwrap();
    };
    assert_eq!(progress(&world, 2, 0, 0).output, "");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| progress(&world, 2, 0, 30));
        say(0, "Migrating\n");
        waiting.join().unwrap()
    });
    assert_eq!(
        (waiting.output.as_str(), waiting.output_to, waiting.status),
        ("Migrating\n", 10, ReleaseStatus::Pending)
    );
    say(0, "Migrating\nDone\n");
    let rest = progress(&world, 2, waiting.output_to, 30);
    assert_eq!((rest.output.as_str(), rest.output_to), ("Done\n", 15));
    assert_eq!(rest.dynos[&"web".parse().unwrap()], UpOf { up: 0, wanted: 1 });
    assert_eq!((rest.serving, rest.dynos.len()), (None, 3));

    let release = matt.get(&format!("{RELEASES}/2")).with(200);
    let url =
        release["output_stream_url"].as_str().unwrap().strip_prefix("http://paas.test").unwrap().to_owned();
    let other = matt.again();
    let followed = std::thread::scope(|scope| {
        let (url, other) = (url.as_str(), &other);
        let follower = scope.spawn(move || other.send("GET", url, &[("Authorization", "none")], b"").text);
        host.serves(2);
        follower.join().unwrap()
    });
    assert_eq!(followed, "Migrating\nDone\n");
    let other = if url.ends_with('0') { '1' } else { '0' };
    assert_eq!(matt.get(&format!("{}{other}", &url[..url.len() - 1])).status, 404, "the secret is asked for");
    let done = progress(&world, 2, rest.output_to, 30);
    assert_eq!((done.status, done.serving, done.reason), (ReleaseStatus::Succeeded, Some(2), None));
    assert_eq!(done.dynos[&"web".parse().unwrap()], UpOf { up: 1, wanted: 1 });
    assert_eq!(host.shop().current.unwrap().release_phase, None);

    // A release that changed config vars alone has a phase as well.
    matt.patch("/apps/shop/config-vars", json!({ "A": "1" })).with(200);
    assert_eq!(host.shop().candidate.unwrap().release_phase.as_deref(), Some("rake db:migrate"));
    fail(&host, 3).unwrap();
    let failed = progress(&world, 3, 0, 30);
    assert_eq!((failed.status, failed.serving), (ReleaseStatus::Failed, Some(2)));
    assert_eq!(failed.reason.as_deref(), Some("web.1: R10 (Boot timeout)"));
    assert_eq!(world.serve.release_progress(&app("shop"), 9, 0, 0).unwrap_err().status(), Some(404));
}

#[test]
fn what_a_release_phase_prints_is_bounded_and_nothing_else_prints() {
    let (world, host, _matt) = world();
    world.push();
    let shop = host.shop().app.id;
    let output = |offset, text: String| host.api.release_output(&shop, 2, &Output { offset, text });
    assert_eq!(output(0, "x".into()).unwrap_err().status(), Some(410), "it has no phase");
    push_with_phase(&world);
    let piece = "x".repeat(500_000);
    for number in 0..4 {
        let output = Output { offset: number * 500_000, text: piece.clone() };
        host.api.release_output(&shop, 3, &output).unwrap();
    }
    let (mut from, mut all) = (0, String::new());
    loop {
        let next = progress(&world, 3, from, 0);
        if next.output.is_empty() {
            break;
        }
        from = next.output_to;
        all.push_str(&next.output);
    }
    assert!(all.len() < (1 << 20) + 100 && all.contains("beyond 1048576 bytes is not kept"), "{}", all.len());
}

#[test]
fn everything_is_there_again_after_the_worst_end() {
    let home = Home::new();
    let config = home.config("127.0.0.1:0", RUNNING);
    let mut program = Program::start_with(home.dir.path(), &config);
    let client = |program: &Program, token: &str| ApiClient::new(&program.url, token.into()).unwrap();
    let admin = client(&program, ADMIN);
    admin.add_user(&user("matt")).unwrap();
    admin.create_app(&app("shop"), &user("matt")).unwrap();
    let place = RendezvousPlace { url: "rendezvous://paas.test:5003".into(), certificate: None };
    client(&program, HOST).hello(&HostHello { rendezvous: Some(place) }).unwrap();
    let serve = client(&program, SERVE);
    let push = opened(&serve);
    serve.commit(&push.push, &commit(0)).unwrap();
    let seen = client(&program, HOST).apps_to_run(0, 0).unwrap().unwrap();
    program.signal(Signal::SIGKILL);
    program.child.wait().unwrap();

    let mut program = Program::start_with(home.dir.path(), &config);
    let host = Host { api: client(&program, HOST) };
    let later = host.api.apps_to_run(seen.revision, 0).unwrap().unwrap();
    assert_eq!((later.revision, later.apps.len()), (seen.revision, 0), "nothing changed meanwhile");
    assert_eq!(host.shop(), seen.apps[0]);
    let dyno = host.serves(2);
    program.signal(Signal::SIGKILL);
    program.child.wait().unwrap();

    let mut program = Program::start_with(home.dir.path(), &config);
    let host = Host { api: client(&program, HOST) };
    assert_eq!(host.shop().current.unwrap().version, 2);
    host.switch(2, &[&dyno]);
    let serve = client(&program, SERVE);
    let push = opened(&serve);
    serve.commit(&push.push, &commit(1)).unwrap();
    assert_eq!(host.shop().candidate.unwrap().version, 3);
    program.signal(Signal::SIGTERM);
    program.child.wait().unwrap();

    // Without a host nobody would judge it any more.
    let program = Program::start_with(home.dir.path(), &home.config("127.0.0.1:0", ""));
    assert_eq!(client(&program, ADMIN).app(&app("shop")).unwrap().release, 3);
}

#[test]
fn a_call_that_waits_ends_in_time() {
    let (world, host, _matt) = world();
    world.push();
    let begun = std::time::Instant::now();
    let seen = host.api.apps_to_run(0, 30).unwrap().unwrap();
    let same = host.api.apps_to_run(seen.revision, 1).unwrap().unwrap();
    assert_eq!((same.revision, same.more, same.apps.len()), (seen.revision, false, 0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
