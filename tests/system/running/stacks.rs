//! Stacks: an app is built and run on the one that it has, and told the truth of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use openruko_tests::World;
use serde_json::{Value, json};

use super::{PATIENCE, probe};
use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("running::stacks::app_moves_to_another_stack", app_moves),
    ("running::stacks::tools_run_where_there_is_nothing", tools_run_where_there_is_nothing),
];

/// The stack of this world's configuration that is not the host's own.
pub(crate) const OTHER: &str = "debian-13";

/// A buildpack that shows what a build sees, and keeps it for the dyno.
const COMPILE: &str = "#!/bin/sh\n. /etc/os-release\necho \"-----> built on $ID $VERSION_ID, STACK $STACK\"\n\
                       mkdir \"$1/public\"\necho \"built on $ID $VERSION_ID, STACK $STACK\" >\"$1/public/built\"\n";

fn buildpack(world: &World, name: &str) {
    let bin = world.installed("share/openruko/buildpacks").join(name).join("bin");
    fs::create_dir_all(&bin).unwrap();
    for (script, text) in [("detect", "#!/bin/sh\necho Stack\n"), ("compile", COMPILE)] {
        fs::write(bin.join(script), text).unwrap();
        fs::set_permissions(bin.join(script), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The one real build of a Debian stack in the tests, as small as a stack can be.
fn build_stack(world: &World) {
    let mut build = world.program("libexec/openruko/ruko-container");
    let built = build.args(["stack", "build", OTHER, "--suite", "trixie", "--packages", "busybox"]).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = String::from_utf8_lossy(&built.stdout);
    assert!(said.contains("STACK heroku-24") && said.contains("Debian GNU/Linux 13 (trixie)"), "{said}");
}

fn app_moves(world: &World) {
    let dev = world.developer("stacy");
    let app = probe(world, &dev, "mover");
    let shown = |what: &str| app.call("GET", "", &Value::Null)[what]["name"].as_str().unwrap().to_owned();
    let first = shown("stack");

    buildpack(world, "show-stack");
    app.set_config("BUILDPACK_URL", "show-stack");
    // Debian's busybox has a web server, this machine has Python.
    let web = "web: . /etc/os-release; echo \"runs on $ID $VERSION_ID\" >public/runs; \
               if command -v busybox >/dev/null; then exec busybox httpd -f -p $PORT -h public; fi; \
               exec python3 -m http.server -d public $PORT\n";
    let repo = dev.repo(&[("Procfile", web)]);
    let pushed = repo.deploy("mover");
    let own = fs::read_to_string("/etc/os-release").unwrap();
    let own = ruko_core::stack::OsRelease::parse(&own);
    let heroku = ruko_core::stack::heroku(&own).unwrap();
    let here = format!("{} {}", own.id, own.version_id);
    assert!(pushed.contains(&format!("-----> built on {here}, STACK {heroku}")), "{pushed}");
    app.wait_for_body("/runs", &format!("runs on {here}\n"));

    let stacks = app.platform.done("GET", "/stacks", &Value::Null);
    let names: Vec<_> =
        stacks.as_array().unwrap().iter().map(|stack| stack["name"].as_str().unwrap()).collect();
    assert_eq!(names, [OTHER, &first]);
    let (status, refused) = app.platform.call("PATCH", "/apps/mover", &json!({ "build_stack": "cedar-14" }));
    assert_eq!(status, 422);
    assert!(refused["message"].as_str().unwrap().contains(&format!("`{OTHER}`, `{first}`")), "{refused}");

    // What runs stays as it is until the next build.
    let _ = app.call("PATCH", "", &json!({ "build_stack": OTHER }));
    assert_eq!((shown("stack"), shown("build_stack")), (first.clone(), OTHER.to_owned()));
    let before = repo.head();
    let next = repo.commit(&[("note", "before there is an image")]);
    let refused = repo.push("mover", &["main"]);
    assert!(!refused.ok && refused.seen.contains("cannot start a container"), "{}", refused.seen);
    let builds = world.admin_json(&["builds", "mover"]).to_string();
    assert!(builds.contains(&format!("there is no stack image `{OTHER}`")), "{builds}");
    assert_eq!(repo.remote_ref("mover", "refs/heads/main"), Some(before));

    build_stack(world);
    let pushed = repo.deploy("mover");
    assert!(pushed.contains("-----> built on debian 13, STACK heroku-24"), "{pushed}");
    app.wait_for_body("/runs", "runs on debian 13\n");
    app.wait_for_body("/built", "built on debian 13, STACK heroku-24\n");
    assert_eq!((shown("stack"), shown("build_stack")), (OTHER.to_owned(), OTHER.to_owned()));
    assert_eq!(repo.remote_ref("mover", "refs/heads/main"), Some(next));
    let mut remove = world.program("libexec/openruko/ruko-container");
    let refused = remove.args(["stack", "remove", OTHER]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("1 containers have the stack"), "{refused:?}");

    // What was built on a stack runs on it.
    let releases = app.releases();
    let slug = |version: u64| app.call("GET", &format!("/releases/{version}"), &Value::Null)["slug"].clone();
    let slug_of_first = releases.iter().rev().map(|(version, _)| slug(*version)).find(|slug| !slug.is_null());
    let earliest = releases.iter().rev().find(|(version, _)| !slug(*version).is_null()).unwrap().0;
    let id = slug_of_first.unwrap()["id"].as_str().unwrap().to_owned();
    let stack = app.call("GET", &format!("/slugs/{id}"), &Value::Null)["stack"]["name"].clone();
    assert_eq!(stack, first.as_str());
    let _ = app.call("POST", "/releases", &json!({ "release": earliest.to_string() }));
    app.wait_for_body("/runs", &format!("runs on {here}\n"));
    openruko_tests::until("the app is on its first stack again", PATIENCE, || shown("stack") == first);
    assert_eq!(shown("build_stack"), OTHER);
}

fn tools_run_where_there_is_nothing(world: &World) {
    let empty = world.scratch();
    for (tool, arg) in [("libexec/openruko/tools/ruko-slug", "--version"), ("bin/ruko-fetch", "--version")] {
        // Not by this process: see ETXTBSY of execve(2), and what other tests fork meanwhile.
        let copied = Command::new("cp").arg(world.installed(tool)).arg(empty.path().join("tool")).status();
        assert!(copied.unwrap().success());
        let out = Command::new("chroot").arg(empty.path()).args(["/tool", arg]).output().unwrap();
        assert!(out.status.success() && out.stdout.starts_with(b"ruko-"), "{tool}: {out:?}");
    }
}
