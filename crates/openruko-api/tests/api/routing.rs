//! Where requests go, and apps that sleep.

use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use ruko_api_client::ApiClient;
use ruko_api_types::platform::DynoState;
use ruko_api_types::router::{Activity, RoutedApp, WebState};
use serde_json::json;

use super::developer::Developer;
use super::host::Host;
use super::world::{ROUTER, World, app};

fn world() -> (World, Host, Developer, ApiClient) {
    let world = World::running();
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    let router = world.client(ROUTER);
    (world, host, matt, router)
}

fn shop(router: &ApiClient) -> RoutedApp {
    let all = router.routed_apps(0, 0).unwrap().unwrap();
    all.apps.into_iter().find(|app| app.app.name.as_str() == "shop").unwrap()
}

/// Waits until the app is as it should be.
fn until(router: &ApiClient, what: &str, holds: impl Fn(&RoutedApp) -> bool) -> RoutedApp {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut after = 0;
    while Instant::now() < deadline {
        let changed = router.routed_apps(after, 5).unwrap().unwrap();
        after = changed.revision;
        if let Some(found) =
            changed.apps.into_iter().find(|app| app.app.name.as_str() == "shop" && holds(app))
        {
            return found;
        }
    }
    panic!("{what}: {:?}", shop(router));
}

#[test]
fn the_router_is_told_names_dynos_and_what_is_to_be_said() {
    let (world, host, matt, router) = world();
    let told = shop(&router);
    assert_eq!(
        (told.hosts.clone(), told.web, told.maintenance),
        (vec!["shop.localhost".to_owned()], WebState::None, false)
    );
    world.push();
    assert_eq!(shop(&router).web, WebState::None, "nothing served yet");
    let dyno = host.serves(2);
    let told = shop(&router);
    assert_eq!((told.web, told.dynos.len()), (WebState::Running, 1));
    assert_eq!((&told.dynos[0].id, told.dynos[0].address), (&dyno.id, dyno.address.unwrap()));

    matt.patch("/apps/shop", json!({ "maintenance": true })).with(200);
    matt.post("/apps/shop/domains", json!({ "hostname": "*.Shop.test", "sni_endpoint": null })).with(201);
    matt.patch("/apps/shop/web-settings", json!({ "force_https": true })).with(200);
    let told = shop(&router);
    assert_eq!(
        (told.hosts, told.maintenance, told.force_https),
        (vec!["shop.localhost".to_owned(), "*.shop.test".to_owned()], true, true)
    );

    matt.patch("/apps/shop/formation/web", json!({ "quantity": 0 })).with(200);
    let told = shop(&router);
    assert_eq!(
        (told.web, told.dynos.len()),
        (WebState::None, 1),
        "it gets requests until the host says otherwise"
    );
    host.switch(2, &[]);
    assert!(shop(&router).dynos.is_empty());
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 1 })).with(200);
    assert_eq!(shop(&router).web, WebState::Running);
    host.gone(&dyno.id);
    host.report(&[host.dyno(&host.shop(), 2, "web.1", DynoState::Crashed)]);
    assert_eq!(shop(&router).web, WebState::Crashed);
    host.up(2, "web.1");
    assert_eq!(shop(&router).web, WebState::Running);
    matt.send("POST", "/apps/shop/formations/web/actions/stop", &[], b"").with(202);
    assert_eq!(shop(&router).web, WebState::None);
}

#[test]
fn certificates_go_with_the_domains_that_use_them_or_that_they_cover() {
    let (_world, _host, matt, router) = world();
    let pair = |names: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let chain = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        json!({ "certificate_chain": chain, "private_key": key.serialize_pem() })
    };
    let add = |names: &[&str]| matt.post("/apps/shop/sni-endpoints", pair(names)).with(201);
    let domain = |name: &str, endpoint: serde_json::Value| {
        matt.post("/apps/shop/domains", json!({ "hostname": name, "sni_endpoint": endpoint })).with(201);
    };
    let wide = add(&["*.shop.test", "shop.localhost", "www.elsewhere.test"]);
    add(&["nobody.test"]);
    domain("www.shop.test", json!(null));
    domain("given.test", wide["name"].clone());
    domain("none.test", json!(null));
    let told = shop(&router).certificates;
    assert_eq!(told.len(), 1, "one for nobody is left out");
    assert_eq!(told[0].hosts, ["given.test", "www.shop.test"]);
    assert_eq!(told[0].chain, wide["certificate_chain"].as_str().unwrap());
    assert!(told[0].key.contains("PRIVATE KEY") && !format!("{:?}", told[0]).contains("PRIVATE"));
}

#[test]
fn an_app_that_nobody_asks_for_sleeps_until_somebody_does() {
    let (world, host, matt, router) = world();
    world.push();
    let dyno = host.serves(2);
    let set = |seconds: serde_json::Value| {
        matt.patch("/apps/shop/web-settings", json!({ "idle_after_seconds": seconds })).with(200);
    };
    let hours_ago = || {
        world.execute("UPDATE apps SET active_at = active_at - 7200000 WHERE name = $1", &["shop"]);
        router.activity(&Activity::default()).unwrap();
    };
    let id = shop(&router).app.id;
    let asked = |seconds| {
        router.activity(&Activity { apps: [(id.clone(), seconds), ("nothing".into(), 0)].into() }).unwrap()
    };
    hours_ago();
    set(json!(3600));
    assert_eq!(shop(&router).web, WebState::Running, "as if it had been asked for just now");
    hours_ago();
    let told = until(&router, "it sleeps", |app| app.web == WebState::Asleep);
    assert!(told.dynos.is_empty(), "no request goes to it from the same moment on");
    assert!(host.shop().asleep);
    let web = matt.get("/apps/shop/dynos/web.1").with(200);
    assert_eq!(web["state"], "idle");
    host.gone(&dyno.id);

    asked(0);
    assert!(host.shop().asleep, "what was asked for before does not wake it");
    assert!(router.wake(&id).unwrap() && router.wake(&id).unwrap());
    assert!(!host.shop().asleep && shop(&router).web == WebState::Running);
    assert!(!router.wake("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap());

    // Whoever sets it to never, or makes a release, wakes it.
    for wake in [0, 1] {
        hours_ago();
        until(&router, "it sleeps again", |app| app.web == WebState::Asleep);
        match wake {
            0 => set(json!(null)),
            _ => drop(matt.patch("/apps/shop/config-vars", json!({ "A": "1" })).with(200)),
        }
        assert!(!host.shop().asleep);
        set(json!(3600));
    }
    // A release that has to prove itself is not put to sleep; nor is what was asked for.
    assert!(host.shop().candidate.is_some());
    hours_ago();
    let dyno = host.up(3, "web.1");
    host.switch(3, &[&dyno]);
    hours_ago();
    asked(10);
    matt.patch("/apps/shop/formation/web", json!({ "quantity": 0 })).with(200);
    assert_eq!(shop(&router).web, WebState::None);
}

/// A host that heard of neither finds everything as it was, and says nothing.
#[test]
fn an_app_that_slept_for_a_moment_gets_requests_as_before() {
    let (world, host, matt, router) = world();
    world.push();
    host.serves(2);
    let before = shop(&router).dynos;
    assert_eq!(before.len(), 1);
    matt.patch("/apps/shop/web-settings", json!({ "idle_after_seconds": 3600 })).with(200);
    world.execute("UPDATE apps SET active_at = active_at - 7200000 WHERE name = $1", &["shop"]);
    router.activity(&Activity::default()).unwrap();
    let told = until(&router, "it sleeps", |app| app.web == WebState::Asleep);
    assert!(told.dynos.is_empty() && router.wake(&told.app.id).unwrap());
    assert_eq!(shop(&router).dynos, before);
}

#[test]
fn an_app_that_was_asked_for_while_nobody_could_tell_stays_awake() {
    let (world, host, matt, router) = world();
    world.push();
    let _ = host.serves(2);
    let long_ago =
        || world.execute("UPDATE apps SET active_at = active_at - 60000 WHERE name = $1", &["shop"]);
    matt.patch("/apps/shop/web-settings", json!({ "idle_after_seconds": 20 })).with(200);
    // As after a time in which the API was away: it has not heard of the router since it began.
    long_ago();
    let seen = router.routed_apps(0, 0).unwrap().unwrap().revision;
    let changed = router.routed_apps(seen, 5).unwrap().unwrap();
    assert_eq!((changed.revision, shop(&router).web), (seen, WebState::Running));
    router.activity(&Activity { apps: [(shop(&router).app.id, 5)].into() }).unwrap();
    let changed = router.routed_apps(seen, 5).unwrap().unwrap();
    assert_eq!((changed.revision, shop(&router).web), (seen, WebState::Running));
    // What the router tells of nobody any more is idle, as far as it has told.
    long_ago();
    router.activity(&Activity::default()).unwrap();
    until(&router, "it sleeps", |app| app.web == WebState::Asleep);
}

#[test]
fn a_late_report_of_an_app_that_is_gone_does_no_harm() {
    let (world, host, _matt, _router) = world();
    world.push();
    let told = host.shop();
    let dyno = host.serves(2);
    world.admin.destroy_app(&app("shop")).unwrap();
    host.report(&[host.dyno(&told, 2, "web.2", DynoState::Up), dyno.clone()]);
    host.gone(&dyno.id);
    assert!(host.apps().is_empty());
}
