//! Domains at the Platform API.

use serde_json::{Value, json};

use super::developer::Developer;
use super::world::World;

const DOMAINS: &str = "/apps/shop/domains";

fn add(developer: &Developer, hostname: &str) -> Value {
    developer.post(DOMAINS, json!({ "hostname": hostname, "sni_endpoint": null })).with(201)
}

#[test]
fn a_domain_is_added_shown_and_removed() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let domain = add(&matt, "WWW.Example.test");
    assert_eq!((&domain["hostname"], &domain["kind"]), (&json!("www.example.test"), &json!("custom")));
    assert_eq!((&domain["cname"], &domain["status"]), (&json!("shop.localhost"), &json!("succeeded")));
    let id = domain["id"].as_str().unwrap();
    for called in ["www.example.test", "WWW.example.test", id] {
        assert_eq!(matt.get(&format!("{DOMAINS}/{called}")).with(200), domain);
    }
    let all = matt.range(DOMAINS, "id ..; max=1000;").with(200);
    assert_eq!((&all[0]["hostname"], &all[0]["kind"]), (&json!("shop.localhost"), &json!("heroku")));
    assert_eq!((&all[1], all.as_array().unwrap().len()), (&domain, 2));
    assert_eq!(matt.get(&format!("{DOMAINS}/shop.localhost")).with(200), all[0]);
    matt.delete(&format!("{DOMAINS}/www.example.test")).with(200);
    assert_eq!(matt.get(&format!("{DOMAINS}/www.example.test")).refused().0, 404);
}

#[test]
fn the_list_comes_in_the_pages_that_the_cli_asks_for() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    add(&matt, "a.example.test");
    add(&matt, "b.example.test");
    let first = matt.range(DOMAINS, "id ..; max=2;");
    assert_eq!((first.status, first.json()[0]["kind"].clone()), (206, json!("heroku")));
    let last = matt.range(DOMAINS, first.header("next-range"));
    assert_eq!((last.status, last.json()[0]["hostname"].clone()), (200, json!("b.example.test")));
}

#[test]
fn the_apps_own_name_stays() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    let (status, _, message) = matt.delete(&format!("{DOMAINS}/shop.localhost")).refused();
    assert_eq!(status, 422);
    assert!(message.contains("cannot be changed or removed"), "{message}");
}

#[test]
fn a_name_that_is_taken_or_no_name_is_refused_in_words() {
    let world = World::new();
    let (matt, ann) = (Developer::named(&world, "matt"), Developer::named(&world, "ann"));
    matt.app("shop");
    ann.app("secret-store");
    let of_ann = |name: &str| ann.post("/apps/secret-store/domains", json!({ "hostname": name }));
    of_ann("www.ann.test").with(201);
    of_ann("*.wild.test").with(201);
    for (bad, word) in [
        ("www.ann.test", "in use by another app"),
        ("*.ann.test", "somebody else"),
        ("x.wild.test", "somebody else"),
        ("192.0.2.7", "IP address"),
        ("com", "dot"),
        ("a_b.test", "letters, digits and dashes"),
        ("http://a.test/", "letters, digits and dashes"),
        ("secret-store.localhost", "belongs to this server"),
        ("git.test", "belongs to this server"),
        ("paas.test", "belongs to this server"),
    ] {
        let answer = matt.post(DOMAINS, json!({ "hostname": bad, "sni_endpoint": null }));
        let (status, id, message) = answer.refused();
        assert_eq!((status, id.as_str()), (422, "invalid_params"), "{bad}: {message}");
        assert!(message.contains(word), "{bad}: {message}");
    }
    let (_, _, message) = of_ann("www.ann.test").refused();
    assert!(message.contains("already added to this app"), "{message}");
    // A name below one's own wildcard is one's own to give, to whichever app.
    ann.app("other-store");
    ann.post("/apps/other-store/domains", json!({ "hostname": "blog.wild.test" })).with(201);
}

#[test]
fn a_name_is_free_again_once_its_app_is_gone() {
    let world = World::new();
    let (matt, ann) = (Developer::named(&world, "matt"), Developer::named(&world, "ann"));
    matt.app("shop");
    add(&matt, "www.example.test");
    matt.delete("/apps/shop").with(200);
    ann.app("shop");
    add(&ann, "www.example.test");
}

#[test]
fn domains_need_the_permission_to_operate() {
    let world = World::new();
    let matt = Developer::named(&world, "matt");
    matt.app("shop");
    add(&matt, "www.example.test");
    let ann = Developer::named(&world, "ann");
    assert_eq!(ann.get(DOMAINS).refused().0, 404);
    world.gives("ann", "deploy view");
    assert_eq!(ann.get(DOMAINS).with(200).as_array().unwrap().len(), 2);
    assert_eq!(ann.post(DOMAINS, json!({ "hostname": "a.test.test" })).refused().0, 403);
    assert_eq!(ann.delete(&format!("{DOMAINS}/www.example.test")).refused().0, 403);
    assert_eq!(ann.patch(&format!("{DOMAINS}/www.example.test"), json!({})).refused().0, 403);
}
