//! The table follows the API, and outlives it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ruko_api_types::router::RoutedApp;

use crate::api::{app, routed};
use crate::dyno::Dyno;
use crate::world::{Router, World, eventually};

fn with(name: &str, dyno: &Dyno) -> RoutedApp {
    let host = format!("{name}.test");
    RoutedApp { dynos: vec![routed(1, dyno.address)], ..app(name, &[&host]) }
}

#[test]
fn it_follows_page_by_page_and_forgets_what_is_gone() {
    let dyno = Dyno::named("yes");
    let world = World::new();
    let names: Vec<_> = (0..7).map(|number| format!("app-{number}")).collect();
    for name in &names {
        world.api.put(with(name, &dyno));
    }
    for name in &names {
        eventually(name, || world.get(&format!("{name}.test"), "/").status == 200);
    }
    world.api.remove("app-3");
    eventually("its end", || world.get("app-3.test", "/").status == 404);
    assert_eq!(world.get("app-4.test", "/").status, 200);
    // A new router gets all pages at once; the other one goes on asking for what comes after.
    let other = tempfile::tempdir().unwrap();
    crate::world::configure(other.path(), world.api.address, "");
    let router = Router::start(other.path(), &[]);
    eventually("all pages", || {
        let asked: Vec<_> = world.api.asked(0).into_iter().filter(|after| *after != 8).collect();
        asked.windows(3).any(|three| three == [0, 2, 5])
    });
    let mut client = crate::client::Client::connect(router.http);
    eventually("the table", || client.get("app-6.test", "/").answer().status == 200);
    assert_eq!(client.get("app-3.test", "/").answer().status, 404);
}

#[test]
fn it_goes_on_without_the_api_and_starts_without_it() {
    let (old, new) = (Dyno::named("old"), Dyno::named("new"));
    let mut world = World::new();
    world.put(with("shop", &old));
    assert_eq!(world.get("shop.test", "/").text(), "old");
    let kept = world.dir.path().join("table.json");
    eventually("the copy", || fs::read_to_string(&kept).is_ok_and(|text| text.contains("shop.test")));
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);

    world.api.down(true);
    assert_eq!(world.get("shop.test", "/").text(), "old");
    world.router = Router::start(world.dir.path(), &[]);
    assert_eq!(world.get("shop.test", "/").text(), "old", "from the copy");

    world.api.put(with("shop", &new));
    world.api.down(false);
    eventually("the new dyno", || world.get("shop.test", "/").text() == "new");
    assert_eq!(world.api.asked(0)[0], 1, "it goes on where it was");
}

#[test]
fn it_starts_with_a_copy_that_cannot_be_read() {
    let dyno = Dyno::named("yes");
    let mut world = World::new();
    fs::write(world.dir.path().join("table.json"), "{\"revision\": nonsense").unwrap();
    world.put(with("shop", &dyno));
    world.router = Router::start(world.dir.path(), &[]);
    eventually("the table", || world.get("shop.test", "/").status == 200);
}

#[test]
fn a_database_of_another_day_is_taken_anew() {
    let (one, two) = (Dyno::named("one"), Dyno::named("two"));
    let world = World::new();
    for name in ["shop", "blog", "wiki"] {
        world.put(with(name, &one));
    }
    world.api.restore(1, vec![with("shop", &two)]);
    eventually("the other table", || world.get("shop.test", "/").text() == "two");
    assert_eq!(world.get("blog.test", "/").status, 404);
    // And goes on from there.
    world.put(with("wiki", &two));
    assert_eq!(world.get("wiki.test", "/").text(), "two");
}

#[test]
fn lines_wait_for_the_api() {
    let dyno = Dyno::named("yes");
    let world = World::shop(vec![routed(1, dyno.address)]);
    world.api.refuse_logs(true);
    for number in 0..5 {
        world.get("shop.test", &format!("/{number}"));
    }
    world.api.refuse_logs(false);
    for number in 0..5 {
        world.api.line(&[&format!("path=\"/{number}\"")]);
    }
    let batches = world.api.batches();
    assert!(batches.windows(2).all(|two| two[0].sender == two[1].sender && two[0].batch < two[1].batch));
    assert_eq!(world.api.lines_with("path="), 5, "each once");
}
