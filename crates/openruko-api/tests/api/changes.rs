//! What the host and the router are told: nobody misses a change, whoever makes it.

use std::collections::{BTreeMap, BTreeSet};

use openruko_api::platform;
use rcgen::{CertificateParams, KeyPair};
use ruko_api_client::ApiClient;
use ruko_api_types::host::{AppsToRun, DynoReports, FailRelease, Switch, WebSettings};
use ruko_api_types::platform::DynoState;
use ruko_api_types::router::RoutedApps;
use serde_json::{Value, json};

use super::developer::Developer;
use super::host::Host;
use super::world::{HOST, ROUTER, World, app, user};

/// All apps as both are told of them, without their revisions, and where that ends.
#[derive(PartialEq)]
struct View {
    revision: u64,
    apps: BTreeMap<String, (Value, Value)>,
}

fn to_run(host: &ApiClient, after: u64) -> AppsToRun {
    host.apps_to_run(after, 0).unwrap().unwrap()
}

fn routed(router: &ApiClient, after: u64) -> RoutedApps {
    router.routed_apps(after, 0).unwrap().unwrap()
}

fn plain(app: &impl serde::Serialize) -> Value {
    let mut app = serde_json::to_value(app).unwrap();
    app.as_object_mut().unwrap().remove("revision");
    app
}

struct Watch {
    host: ApiClient,
    router: ApiClient,
    seen: View,
}

impl Watch {
    fn of(world: &World) -> Self {
        let (host, router) = (world.client(HOST), world.client(ROUTER));
        let seen = Self::view(&host, &router);
        Self { host, router, seen }
    }

    fn view(host: &ApiClient, router: &ApiClient) -> View {
        let (all, routes) = (to_run(host, 0), routed(router, 0));
        assert_eq!(all.revision, routes.revision);
        let routes: BTreeMap<_, _> = routes.apps.iter().map(|app| (app.app.id.clone(), plain(app))).collect();
        let both = |app: &ruko_api_types::host::AppToRun| {
            (app.app.id.clone(), (plain(app), routes[&app.app.id].clone()))
        };
        View { revision: all.revision, apps: all.apps.iter().map(both).collect() }
    }

    /// Whether anything that is told changed since the last look. If so, whoever asks what changed since then is
    /// told of exactly those apps, at least.
    fn look(&mut self, what: &str) -> bool {
        let now = Self::view(&self.host, &self.router);
        let differs = |id: &&String| self.seen.apps.get(*id) != now.apps.get(*id);
        let all: BTreeSet<&String> = self.seen.apps.keys().chain(now.apps.keys()).collect();
        let changed: BTreeSet<&String> = all.into_iter().filter(differs).collect();
        let (host, router) =
            (to_run(&self.host, self.seen.revision), routed(&self.router, self.seen.revision));
        assert!(host.revision == now.revision && router.revision == now.revision, "{what}");
        for id in &changed {
            let is_gone = !now.apps.contains_key(*id);
            let told = |apps: Vec<&str>, gone: &[String]| match is_gone {
                true => gone.contains(*id),
                false => apps.contains(&id.as_str()),
            };
            let by_host = told(host.apps.iter().map(|app| app.app.id.as_str()).collect(), &host.gone);
            let by_router = told(router.apps.iter().map(|app| app.app.id.as_str()).collect(), &router.gone);
            assert!(by_host && by_router, "{what}: a change was not told");
        }
        let any = !changed.is_empty();
        drop(changed);
        self.seen = now;
        any
    }
}

fn certificate(name: &str) -> Value {
    let key = KeyPair::generate().unwrap();
    let chain = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    json!({ "certificate_chain": chain, "private_key": key.serialize_pem() })
}

/// Calls that change what is told, in an order in which each succeeds.
fn relevant() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("PATCH", "/apps/{app}/config-vars", json!({ "A": "1" })),
        ("POST", "/apps/{app}/releases", json!({ "release": "v2" })),
        ("PATCH", "/apps/{app}/formation", json!({ "updates": [{ "type": "web", "quantity": 2 }] })),
        ("PATCH", "/apps/{app}/formation/web", json!({ "quantity": 3 })),
        ("DELETE", "/apps/{app}/dynos", Value::Null),
        ("DELETE", "/apps/{app}/dynos/web.1", Value::Null),
        ("DELETE", "/apps/{app}/formations/web", Value::Null),
        ("POST", "/apps/{app}/dynos/web.2/actions/stop", json!({})),
        ("POST", "/apps/{app}/formations/web/actions/stop", json!({})),
        ("POST", "/apps/{app}/dynos", json!({ "command": "bash" })),
        ("PATCH", "/apps/{app}/web-settings", json!({ "check_path": "/up", "force_https": true })),
        ("PATCH", "/apps/{app}", json!({ "maintenance": true })),
        ("POST", "/apps/{app}/domains", json!({ "hostname": "www.shop.test", "sni_endpoint": null })),
        ("POST", "/apps/{app}/domains", json!({ "hostname": "*.shop.test", "sni_endpoint": null })),
        ("POST", "/apps/{app}/sni-endpoints", certificate("www.shop.test")),
        ("PATCH", "/apps/{app}/sni-endpoints/ENDPOINT", certificate("other.test")),
        ("PATCH", "/apps/{app}/domains/www.shop.test", json!({ "sni_endpoint": "ENDPOINT" })),
        ("DELETE", "/apps/{app}/sni-endpoints/ENDPOINT", Value::Null),
        ("DELETE", "/apps/{app}/domains/www.shop.test", Value::Null),
        (
            "POST",
            "/pipeline-promotions",
            json!({
                "pipeline": { "id": "line" },
                "source": { "app": { "id": "shop" } },
                "targets": [{ "app": { "id": "store" } }],
            }),
        ),
        ("PATCH", "/apps/{app}", json!({ "name": "renamed" })),
        ("POST", "/apps", json!({ "name": "newest" })),
        ("DELETE", "/apps/{app}", Value::Null),
    ]
}

fn send(matt: &Developer, method: &str, path: &str, body: &Value) -> super::developer::Answer {
    match body {
        Value::Null => matt.delete(path),
        body => matt.call(method, path, body.clone()),
    }
}

#[test]
fn whatever_developers_change_the_host_and_the_router_are_told() {
    let world = World::running();
    let (host, matt) = (Host::of(&world), Developer::named(&world, "matt"));
    world.push();
    host.serves(2);
    matt.app("store");
    matt.post("/pipelines", json!({ "name": "line" })).with(201);
    for (name, stage) in [("shop", "staging"), ("store", "production")] {
        let coupling = json!({ "app": name, "pipeline": "line", "stage": stage });
        matt.post("/pipeline-couplings", coupling).with(201);
    }
    let mut watch = Watch::of(&world);
    let (mut called, mut endpoint) = ("shop", String::new());
    for (method, path, mut body) in relevant() {
        if path.contains("ENDPOINT") || body["sni_endpoint"] == "ENDPOINT" {
            endpoint = matt.get(&format!("/apps/{called}/sni-endpoints")).with(200)[0]["name"]
                .as_str()
                .unwrap()
                .to_owned();
        }
        if body["sni_endpoint"] == "ENDPOINT" {
            body["sni_endpoint"] = json!(endpoint);
        }
        let at = path.replace("{app}", called).replace("ENDPOINT", &endpoint);
        let answer = send(&matt, method, &at, &body);
        assert!((200..300).contains(&answer.status), "{method} {at}: {}", answer.text);
        assert!(watch.look(&format!("{method} {at}")), "{method} {at} changes nothing that is told");
        if body["name"] == "renamed" {
            called = "renamed";
        }
    }
    // And whatever else there is: most of it is refused, or concerns nobody here.
    for (method, path, _) in platform::rights() {
        if method.is_safe() || path == "/account" {
            continue;
        }
        let part = |part: &str| match part {
            "{app}" => "store".to_owned(),
            "{type}" => "web".to_owned(),
            "{dyno}" => "web.1".to_owned(),
            part if part.starts_with('{') => "11111111-1111-1111-1111-111111111111".to_owned(),
            part => part.to_owned(),
        };
        let at = path.split('/').map(part).collect::<Vec<_>>().join("/");
        send(&matt, method.as_str(), &at, &json!({}));
        watch.look(&format!("{method} {path}"));
    }
}

#[test]
fn whatever_the_components_change_the_host_and_the_router_are_told() {
    let world = World::running();
    let host = Host::of(&world);
    let mut watch = Watch::of(&world);
    world.push();
    assert!(watch.look("a commit"));
    let shop = host.shop();
    let dyno = host.up(2, "web.1");
    watch.look("a dyno that gets no requests");
    host.switch(2, &[&dyno]);
    assert!(watch.look("a switch"));
    host.switch(2, &[&dyno]);
    assert!(!watch.look("the same once more"));

    let crashed = ruko_api_types::host::DynoReport {
        state: DynoState::Crashed,
        address: None,
        exit_status: Some(1),
        ..dyno.clone()
    };
    host.report(std::slice::from_ref(&crashed));
    assert!(watch.look("a crash of what gets requests"));
    let revision = watch.seen.revision;
    host.report(std::slice::from_ref(&crashed));
    watch.look("the same once more");
    assert_eq!(watch.seen.revision, revision, "a report that comes again changes nothing");
    let again = host.up(2, "web.1");
    assert!(watch.look("it starts again"));
    host.switch(2, &[&again]);
    assert!(watch.look("it gets requests again"));
    host.gone(&again.id);
    assert!(watch.look("it is gone"));
    let third = host.up(2, "web.1");
    host.switch(2, &[&third]);
    watch.look("a third one");
    host.api.report_dynos(&DynoReports { all: true, ..DynoReports::default() }).unwrap();
    assert!(watch.look("the host begins with nothing"));

    world.push();
    watch.look("a candidate");
    let why = FailRelease { reason: "R10".into() };
    host.api.fail_release(&shop.app.id, 3, &why).unwrap();
    assert!(watch.look("it fails"));
    let vars = [("A".parse().unwrap(), Some("1".to_owned()))].into();
    world.admin.change_config_vars(&app("shop"), &vars).unwrap();
    assert!(watch.look("an admin sets a config var"));
    let switch = Switch { release: 4, dynos: Vec::new() };
    host.api.switch(&shop.app.id, &switch).unwrap();
    assert!(watch.look("a switch to nothing"));
    world.admin.create_app(&app("second"), &user("matt")).unwrap();
    assert!(watch.look("a new app"));
    world.admin.destroy_app(&app("shop")).unwrap();
    assert!(watch.look("an app is destroyed"));
    assert_eq!(
        to_run(&watch.host, 0).gone,
        Vec::<String>::new(),
        "who begins with nothing has nothing to forget"
    );
}

#[test]
fn who_waits_is_told_at_once_and_misses_nothing_between_two_looks() {
    let world = World::running();
    let matt = Developer::named(&world, "matt");
    world.push();
    let rounds = 40;
    std::thread::scope(|scope| {
        // Each waits for what the other does; nothing wakes them but the change itself.
        let waiter = scope.spawn(|| {
            let (host, mut after, mut last) = (world.client(HOST), 0, String::new());
            while last != rounds.to_string() {
                let changed = host.apps_to_run(after, 30).unwrap().unwrap();
                after = changed.revision;
                for app in changed.apps {
                    let vars = app.candidate.map(|candidate| candidate.config_vars).unwrap_or_default();
                    last = vars.into_values().next().unwrap_or_default();
                }
            }
        });
        for round in 0..=rounds {
            matt.patch("/apps/shop/config-vars", json!({ "N": round.to_string() })).with(200);
        }
        waiter.join().unwrap();
    });
}

#[test]
fn many_apps_come_in_pieces_and_none_twice() {
    let world = World::running();
    let matt = Developer::named(&world, "matt");
    let names: Vec<String> = (0..230).map(|number| format!("many-{number}")).collect();
    for name in &names {
        world.admin.create_app(&app(name), &user("matt")).unwrap();
    }
    matt.delete("/apps/many-0").with(200);
    let (host, router) = (world.client(HOST), world.client(ROUTER));
    let (mut after, mut told, mut there, mut pieces) = (0, Vec::new(), BTreeMap::new(), 0);
    loop {
        let (piece, routes) = (to_run(&host, after), routed(&router, after));
        assert_eq!((routes.apps.len(), &routes.gone), (piece.apps.len(), &piece.gone));
        assert!(after != 0 || piece.gone.is_empty(), "{:?}", piece.gone);
        let names = piece.apps.into_iter().map(|app| (app.app.id, app.app.name.to_string()));
        let names: Vec<_> = names.collect();
        told.extend(names.iter().map(|(_, name)| name.clone()));
        there.extend(names);
        piece.gone.iter().for_each(|id| drop(there.remove(id)));
        (after, pieces) = (piece.revision, pieces + 1);
        if !piece.more {
            break;
        }
        // It was told of already.
        matt.delete("/apps/many-1");
    }
    let all: BTreeSet<&String> = told.iter().collect();
    assert_eq!((pieces, told.len(), all.len()), (2, 230, 230), "shop is there as well, many-0 is not");
    assert!(there.len() == 229 && there.values().all(|name| name != "many-1"), "it went meanwhile");
    matt.delete("/apps/many-2").with(200);
    let changed = to_run(&host, after);
    assert_eq!((changed.apps.len(), changed.gone.len()), (0, 1));
}

#[test]
fn who_knows_more_than_the_database_starts_over() {
    let world = World::running();
    let (host, router) = (world.client(HOST), world.client(ROUTER));
    let seen = to_run(&host, 0).revision;
    assert!(host.apps_to_run(seen + 1, 30).unwrap().is_none());
    assert!(router.routed_apps(seen + 1, 30).unwrap().is_none());
    assert!(host.apps_to_run(seen, 0).unwrap().is_some());
}

#[test]
fn settings_of_the_web_are_set_and_judged() {
    let world = World::running();
    let matt = Developer::named(&world, "matt");
    let at = "/apps/shop/web-settings";
    let usual = json!({ "check_path": null, "idle_after_seconds": null, "force_https": false });
    assert_eq!(matt.get(at).with(200), usual);
    let set = json!({ "check_path": "/health?x=1", "idle_after_seconds": 1800, "force_https": true });
    assert_eq!(matt.patch(at, set.clone()).with(200), set);
    assert_eq!(matt.patch(at, json!({})).with(200), set);
    for bad in [
        json!({ "check_path": "health" }),
        json!({ "check_path": "/a b" }),
        json!({ "idle_after_seconds": 19 }),
        json!({ "idle_after_seconds": 30 * 24 * 3600 + 1 }),
        json!({ "idle_after_seconds": -1 }),
        json!({ "force_https": "yes" }),
    ] {
        assert_eq!(matt.patch(at, bad.clone()).refused().0, 422, "{bad}");
    }
    let told = Host::of(&world).shop().web;
    let expected = WebSettings {
        check_path: Some("/health?x=1".into()),
        idle_after_seconds: Some(1800),
        force_https: true,
    };
    assert_eq!(told, expected);
    let taken = json!({ "check_path": null, "idle_after_seconds": null, "force_https": false });
    assert_eq!(matt.patch(at, taken).with(200), usual);
}
