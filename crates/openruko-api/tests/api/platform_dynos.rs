//! Dynos at the Platform API where a host runs them.

use ruko_api_types::host::{AppToRun, DynoReport, DynoReports, HostHello, RendezvousPlace};
use ruko_api_types::platform::DynoState;
use ruko_core::dyno::TerminalSize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::developer::Developer;
use super::host::Host;
use super::world::{World, app};

const DYNOS: &str = "/apps/shop/dynos";

fn world() -> (World, Host, Developer) {
    let world = World::running();
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    (world, host, matt)
}

/// With a release that serves.
fn deployed() -> (World, Host, Developer) {
    let (world, host, matt) = world();
    world.push();
    host.serves(2);
    (world, host, matt)
}

/// `web.1 up v2` of each.
fn told(matt: &Developer) -> Vec<String> {
    let all = matt.get(DYNOS).with(200);
    let one = |dyno: &Value| {
        let text = |key: &str| dyno[key].as_str().unwrap();
        format!("{} {} v{}", text("name"), text("state"), dyno["release"]["version"])
    };
    all.as_array().unwrap().iter().map(one).collect()
}

/// Name and generation of the web dynos that should run of what serves.
fn wanted(app: &AppToRun) -> Vec<(String, u64)> {
    let current = app.current.as_ref().unwrap();
    let web = current.processes.iter().find(|one| one.process_type.as_str() == "web").unwrap();
    web.dynos.iter().map(|dyno| (dyno.name.to_string(), dyno.generation)).collect()
}

fn names(app: &AppToRun) -> Vec<String> {
    wanted(app).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn dynos_are_told_by_name_and_those_of_what_serves_before_a_candidates() {
    let (world, host, matt) = world();
    world.push();
    assert_eq!(told(&matt), ["web.1 starting v2"]);
    let first = host.serves(2);
    assert_eq!(told(&matt), ["web.1 up v2"]);
    let shown = matt.get(&format!("{DYNOS}/web.1")).with(200);
    assert_eq!(shown["updated_at"], "2026-11-22T21:03:22Z");
    for called in [shown["id"].as_str().unwrap(), "web.1"] {
        assert_eq!(matt.get(&format!("{DYNOS}/{called}")).with(200), shown);
    }
    let again = host.dyno(&host.shop(), 2, "web.1", DynoState::Starting);
    host.report(std::slice::from_ref(&again));
    assert_eq!(told(&matt), ["web.1 starting v2"], "one entry a name: the newest");
    host.report(&[DynoReport { state: DynoState::Up, ..again.clone() }]);
    host.gone(&first.id);

    world.push();
    host.up(3, "web.1");
    assert_eq!(told(&matt), ["web.1 up v2"]);
    host.serves(3);
    assert_eq!(told(&matt), ["web.1 up v3"]);
    host.report(&[host.dyno(&host.shop(), 3, "release.1", DynoState::Up)]);
    assert_eq!(told(&matt), ["web.1 up v3", "release.1 up v3"]);
    assert_eq!(matt.delete(&format!("{DYNOS}/release.1")).refused().0, 409);
    host.api.report_dynos(&DynoReports { all: true, ..DynoReports::default() }).unwrap();
    assert_eq!(told(&matt), ["web.1 starting v3"]);
}

#[test]
fn all_that_there_is_may_be_told_in_several_calls() {
    let (_world, host, matt) = deployed();
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 3 })).with(200);
    let up = |name| host.dyno(&host.shop(), 2, name, DynoState::Up);
    let [first, second, third] = ["web.1", "web.2", "web.3"].map(up);
    host.report(&[first.clone(), second, third.clone()]);
    let (dynos, there) = (vec![third], vec![first.id]);
    host.api.report_dynos(&DynoReports { dynos, there, all: true, ..DynoReports::default() }).unwrap();
    assert_eq!(told(&matt), ["web.1 up v2", "web.2 starting v2", "web.3 up v2"]);
}

#[test]
fn restarts_raise_the_generation_of_what_they_name() {
    let (_world, host, matt) = deployed();
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 2 })).with(200);
    let start = wanted(&host.shop());
    assert_eq!(start, [("web.1".to_owned(), 0), ("web.2".to_owned(), 0)]);
    matt.delete(&format!("{DYNOS}/web.2")).with(202);
    let one = wanted(&host.shop());
    assert!(one[0].1 == 0 && one[1].1 > 0, "{one:?}");
    matt.delete("/apps/shop/formations/web").with(202);
    let kind = wanted(&host.shop());
    assert!(kind[0].1 > one[1].1 && kind[0].1 == kind[1].1, "{kind:?}");
    matt.delete(DYNOS).with(202);
    let all = wanted(&host.shop());
    assert!(all[0].1 > kind[0].1, "{all:?}");
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 3 })).with(200);
    assert_eq!(wanted(&host.shop())[0], all[0], "scaling restarts nothing");
}

#[test]
fn what_was_stopped_stays_so_until_somebody_wants_it_again() {
    let (world, host, matt) = deployed();
    let stop = |path: &str| matt.send("POST", path, &[], b"").with(202);
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 3 })).with(200);
    stop(&format!("{DYNOS}/web.2/actions/stop"));
    assert_eq!(names(&host.shop()), ["web.1", "web.3"]);
    assert_eq!(told(&matt), ["web.1 up v2", "web.2 down v2", "web.3 starting v2"]);
    matt.delete(&format!("{DYNOS}/web.2")).with(202);
    assert_eq!(names(&host.shop()), ["web.1", "web.2", "web.3"]);

    stop("/apps/shop/formations/web/actions/stop");
    assert!(names(&host.shop()).is_empty());
    matt.delete(&format!("{DYNOS}/web.3")).with(202);
    assert_eq!(names(&host.shop()), ["web.3"]);
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 2 })).with(200);
    assert_eq!(names(&host.shop()), ["web.1", "web.2"], "scaling starts what was stopped");
    stop("/apps/shop/formations/web/actions/stop");
    matt.patch("/apps/shop/formation/web", json!({ "size": "eco" })).with(200);
    assert!(names(&host.shop()).is_empty(), "another size does not");
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 2 })).with(200);
    assert_eq!(names(&host.shop()).len(), 2, "be it to as many as before");

    stop("/apps/shop/formations/web/actions/stop");
    world.push();
    let shop = host.shop();
    assert!(names(&shop).is_empty(), "what serves stays stopped");
    let web = &shop.candidate.unwrap().processes[1];
    assert_eq!(web.dynos.len(), 2, "a new release runs");
}

fn with_terminals(host: &Host, certificate: Option<String>) {
    let place = RendezvousPlace { url: "rendezvous://paas.test:5003".into(), certificate };
    host.api.hello(&HostHello { rendezvous: Some(place) }).unwrap();
}

#[test]
fn a_command_gets_a_dyno_and_a_terminal_that_a_secret_opens() {
    let (_world, host, matt) = deployed();
    let run = json!({
        "command": "bash", "attach": true, "size": "standard-2x",
        "env": { "TERM": "xterm", "COLUMNS": 120, "LINES": "40" },
    });
    let (status, id, message) = matt.post(DYNOS, run.clone()).refused();
    assert_eq!((status, id.as_str()), (422, "no_terminals"), "{message}");
    let digest = "ab".repeat(32);
    with_terminals(&host, Some(digest.clone()));
    let made = matt.post(DYNOS, run).with(201);
    let (name, url) = (made["name"].as_str().unwrap(), made["attach_url"].as_str().unwrap());
    assert!(name.starts_with("run.") && name.len() == 8, "{name}");
    let secret = url.strip_prefix("rendezvous://paas.test:5003/").unwrap();
    let secret = secret.strip_suffix(&format!("?certificate={digest}")).unwrap();
    assert_eq!(
        (&made["type"], &made["state"], &made["size"]),
        (&json!("run"), &json!("starting"), &json!("Standard-2X"))
    );

    let one_offs = host.shop().one_offs;
    let one_off = &one_offs[0];
    assert_eq!(
        (one_offs.len(), one_off.name.to_string().as_str(), one_off.command.as_str()),
        (1, name, "bash")
    );
    assert_eq!((one_off.size.memory_bytes, one_off.size.pids), (1 << 30, 512));
    assert_eq!((one_off.release.version, one_off.release.processes.len()), (2, 0));
    assert!(one_off.release.slug.is_some());
    let attach = one_off.attach.as_ref().unwrap();
    assert_eq!(
        attach.secret_sha256,
        Sha256::digest(secret).iter().map(|b| format!("{b:02x}")).collect::<String>()
    );
    assert_eq!(attach.terminal, Some(TerminalSize { columns: 120, lines: 40 }));
    assert_eq!(one_off.env["LINES"], "40");
    let shown = matt.get(&format!("{DYNOS}/{name}")).with(200);
    assert_eq!(shown["attach_url"], json!(null), "the secret is told once");
    assert!(!matt.get(DYNOS).with(200).to_string().contains(secret));

    // It runs, and it ends: then it is over.
    let report = DynoReport { id: one_off.id.clone(), ..host.dyno(&host.shop(), 2, name, DynoState::Up) };
    host.report(std::slice::from_ref(&report));
    assert_eq!(matt.get(&format!("{DYNOS}/{name}")).with(200)["state"], "up");
    let ended = DynoReport { state: DynoState::Down, exit_status: Some(7), ..report };
    host.report(std::slice::from_ref(&ended));
    assert_eq!(matt.get(&format!("{DYNOS}/{name}")).refused().0, 404);
    assert!(host.shop().one_offs.is_empty());
    host.report(&[ended]);
    assert_eq!(told(&matt), ["web.1 up v2"], "said again it changes nothing");
}

#[test]
fn commands_run_detached_are_stopped_and_are_bounded() {
    let (_world, host, matt) = deployed();
    let made = matt.post(DYNOS, json!({ "command": "rake", "type": "web" })).with(201);
    assert_eq!((&made["attach_url"], &made["size"]), (&json!(null), &json!("Basic")));
    assert!(host.shop().one_offs[0].attach.is_none());
    let name = made["name"].as_str().unwrap();
    matt.send("POST", &format!("{DYNOS}/{name}/actions/stop"), &[], b"").with(202);
    assert!(host.shop().one_offs[0].stopped);
    host.gone(&host.shop().one_offs[0].id);
    assert!(host.shop().one_offs.is_empty());

    with_terminals(&host, None);
    let no_tty =
        matt.post(DYNOS, json!({ "command": "cat", "attach": true, "force_no_tty": true })).with(201);
    assert!(!no_tty["attach_url"].as_str().unwrap().contains('?'));
    let shop = host.shop();
    assert_eq!(shop.one_offs[0].attach.as_ref().unwrap().terminal, None);
    // A host that begins anew knows nothing of those that it has not seen yet.
    let seen =
        DynoReport { id: shop.one_offs[0].id.clone(), ..host.dyno(&shop, 2, "run.1000", DynoState::Up) };
    matt.post(DYNOS, json!({ "command": "rake" })).with(201);
    host.report(&[seen]);
    host.api.report_dynos(&DynoReports { all: true, ..DynoReports::default() }).unwrap();
    let left: Vec<_> = host.shop().one_offs.into_iter().map(|one_off| one_off.command).collect();
    assert_eq!(left, ["rake"]);

    for _ in 0..19 {
        matt.post(DYNOS, json!({ "command": "rake" })).with(201);
    }
    let numbers: std::collections::BTreeSet<_> =
        host.shop().one_offs.into_iter().map(|one_off| one_off.name.number).collect();
    assert_eq!(numbers.len(), 20);
    assert_eq!(matt.post(DYNOS, json!({ "command": "rake" })).refused().1, "too_many_dynos");
    matt.delete(&format!("{DYNOS}/run.{}", numbers.first().unwrap())).with(202);
    assert_eq!(host.shop().one_offs.iter().filter(|one_off| one_off.stopped).count(), 1);
}

#[test]
fn a_command_that_cannot_run_is_refused_in_words() {
    let (world, host, matt) = world();
    with_terminals(&host, None);
    let (status, _, message) = matt.post(DYNOS, json!({ "command": "bash" })).refused();
    assert_eq!((status, message.as_str()), (422, "`shop` has nothing to run yet: push to it first."));
    world.push();
    matt.post(DYNOS, json!({ "command": "bash" })).with(201);
    for (body, status) in [
        (json!({ "command": "  " }), 422),
        (json!({ "command": "x".repeat(40_000) }), 422),
        (json!({ "command": "a", "size": "huge" }), 422),
        (json!({ "command": "a", "type": "clock" }), 404),
        (json!({ "command": "a", "env": { "A B": "1" } }), 422),
        (json!({ "command": "a", "env": { "A": -1 } }), 422),
        (json!({ "attach": true }), 422),
    ] {
        assert_eq!(matt.post(DYNOS, body.clone()).refused().0, status, "{body}");
    }
}

#[test]
fn sizes_may_be_configured() {
    let extra =
        format!("dyno_sizes = {{ basic = {{ memory_bytes = 67108864 }} }}\n{}", super::world::RUNNING);
    let world = World::with_shop(&extra);
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    world.push();
    assert_eq!(host.shop().candidate.unwrap().processes[1].size.memory_bytes, 64 << 20);
    assert_eq!(matt.get("/dyno-sizes/basic").with(200)["memory"], 0.0625);
    assert_eq!(matt.get("/dyno-sizes/eco").with(200)["memory"], 0.5);
}

#[test]
fn many_hosts_words_and_many_readers_do_not_harm_each_other() {
    let (world, host, matt) = deployed();
    let shop = host.shop();
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 50 })).with(200);
    std::thread::scope(|scope| {
        for number in 1..=50 {
            let (host, shop) = (&host, &shop);
            scope.spawn(move || {
                let name = format!("web.{number}");
                let dyno = host.dyno(shop, 2, &name, DynoState::Starting);
                host.report(std::slice::from_ref(&dyno));
                host.report(&[DynoReport {
                    state: DynoState::Up,
                    address: "10.9.0.2:5000".parse().ok(),
                    ..dyno
                }]);
            });
        }
        for _ in 0..50 {
            let reader = matt.again();
            let client = world.client(super::world::ROUTER);
            scope.spawn(move || {
                reader.get(DYNOS).with(200);
                client.routed_apps(0, 0).unwrap().unwrap();
            });
        }
    });
    let up = told(&matt).iter().filter(|dyno| dyno.contains(" up ")).count();
    assert_eq!(up, 50);
    world.admin.destroy_app(&app("shop")).unwrap();
    assert!(host.apps().is_empty());
}
