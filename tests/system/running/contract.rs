//! Buildpacks that do what Heroku's own do: install under the path that the app will run from, move directories between
//! build and cache, export to those that follow, link absolutely, leave scripts for dynos. The app runs with all of it.

use std::path::Path;
use std::process::Command;

use openruko_tests::World;
use serde_json::Value;

use super::probe;
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] =
    &[("running::contract::what_herokus_buildpacks_do_works", what_herokus_buildpacks_do_works)];

/// Installs buildpacks of the fixtures beside those that ship.
fn ship(world: &World, names: &[&str]) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/buildpacks");
    let to = world.installed("share/openruko/buildpacks");
    for name in names {
        let copied = Command::new("cp").arg("-r").arg(fixtures.join(name)).arg(&to).status().unwrap();
        assert!(copied.success());
    }
}

fn what_herokus_buildpacks_do_works(world: &World) {
    ship(world, &["contract-relocate", "contract-follow"]);
    let dev = world.developer("hera");
    let repo = dev.fixture("contract");
    let app = probe(world, &dev, "contract-app");
    let _ = world.admin(&["config", "set", "contract-app", "MULTI_LINE=two\nlines", "OTHER=from the app"]);

    let first = repo.deploy("contract-app");
    for line in [
        "-----> Relocating app detected",
        "-----> Installing packages",
        "       built: greetings, packed",
        "-----> Following app detected",
        "       greetings, packed by ,relocate",
        "       Procfile declares types     -> release, worker",
        "       Default types for Following -> console, web",
    ] {
        assert!(first.contains(&format!("remote: {line} ")), "`{line}` in {first}");
    }
    let release = world.current_release("contract-app");
    assert_eq!(release["process_types"]["worker"], "greet");
    assert_eq!(release["process_types"]["console"], "5");
    assert_eq!(release["process_types"].get("never"), None);

    let seen: Value = serde_json::from_str(&app.body("/")).unwrap();
    for (name, value) in [
        ("greet", "greetings, packed"),
        ("link", "/app/.heroku/tool/bin/greet"),
        ("follow", "installed below /app"),
        ("GREETING", "from the buildpack"),
        ("GREETING_LAST", "from the buildpack"),
        ("OTHER", "from the app"),
        ("EMPTY", ""),
        ("WEB_CONCURRENCY", "2"),
        ("ORDER", ",w2,zzz,profile"),
        ("HOME", "/app"),
        ("PWD", "/app"),
        ("MULTI_LINE", "two\nlines"),
    ] {
        assert_eq!(seen[name], value, "{name} of {seen}");
    }
    assert_eq!(seen["runs"], 1);

    repo.commit(&[("changed.txt", "now")]);
    let second = repo.deploy("contract-app");
    for line in ["-----> Restoring packages", "-----> Moving node_modules out of the cache"] {
        assert!(second.contains(line), "`{line}` in {second}");
    }
    let seen: Value = serde_json::from_str(&app.body("/")).unwrap();
    assert_eq!(seen["runs"], 2, "the cache has what the first build put there");

    let builds = world.admin_json(&["builds", "contract-app"]);
    let output = world.admin(&["output", builds[0]["push"].as_str().unwrap()]);
    assert!(output.contains("       Relocating reports: tool_version: 1.0\n"), "{output}");
    assert!(!second.contains("reports:"), "{second}");
}
