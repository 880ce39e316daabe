//! `openruko doctor` on a machine where all is well, and with one thing after the other amiss: in a copy of the
//! configuration, or in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use openruko_tests::World;
use ruko_core::config::Config;
use serde_json::Value;

use crate::Test;

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("doctor::all_is_well_on_a_machine_that_runs", all_is_well_on_a_machine_that_runs),
    ("doctor::what_is_amiss_is_named_with_what_mends_it", what_is_amiss_is_named_with_what_mends_it),
    ("doctor::without_root_it_says_what_it_could_not_see", without_root_it_says_what_it_could_not_see),
];

/// `openruko doctor --json` with a configuration, by a command line that ends with it.
fn doctor(world: &World, config: &Path, before: &[&str], args: &[&str]) -> Output {
    let program = world.installed("bin/openruko");
    let words =
        before.iter().copied().chain([program.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    let words: Vec<&str> = words.chain(["doctor", "--json"]).chain(args.iter().copied()).collect();
    Command::new(words[0]).args(&words[1..]).output().unwrap()
}

fn findings(out: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&out.stdout);
    let parsed: Result<Vec<Value>, _> = serde_json::from_str(&text);
    parsed.unwrap_or_else(|why| panic!("{why}: {text}{}", String::from_utf8_lossy(&out.stderr)))
}

fn with_state<'a>(findings: &'a [Value], state: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["state"] == state).collect()
}

fn all_is_well_on_a_machine_that_runs(world: &World) {
    let out = doctor(world, &world.state().join("config.toml"), &[], &[]);
    let found = findings(&out);
    let failed = with_state(&found, "failed");
    assert!(failed.is_empty() && out.status.success(), "{failed:#?}");
    let ok = |check: &str| found.iter().any(|finding| finding["check"] == check && finding["state"] == "ok");
    for check in ["sudo", "sshd", "packet filter", "API", "router", "ssh", "internet in a container"] {
        assert!(ok(check), "{check}: {found:#?}");
    }
    // For people it is a line each.
    let plain = world.program("bin/openruko").args(["doctor", "--no-container"]).output().unwrap();
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(plain.contains("\nok       ip_forward: 1\n"), "{plain}");
    // The container that it looked from is gone.
    assert!(world.containers().iter().all(|name| !name.starts_with("doctor")));
}

/// The one finding that failed, with a changed configuration.
fn amiss(world: &World, change: impl FnOnce(&mut Config), before: &[&str]) -> Value {
    let dir = world.scratch();
    let path = dir.path().join("config.toml");
    let mut config = world.config();
    change(&mut config);
    fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
    let sshd = world.state().join("sshd/sshd_config");
    let out = doctor(world, &path, before, &["--no-container", "--sshd-config", sshd.to_str().unwrap()]);
    let found = findings(&out);
    let failed = with_state(&found, "failed");
    assert_eq!((failed.len(), out.status.code()), (1, Some(1)), "{failed:#?}");
    failed[0].clone()
}

fn what_is_amiss_is_named_with_what_mends_it(world: &World) {
    let mend = |finding: &Value| finding["mend"].as_str().unwrap().to_owned();
    let dir = world.scratch();
    let secret = dir.path().join("token");
    fs::copy(&world.config().router().unwrap().token_file, &secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let open = amiss(world, |config| config.router.as_mut().unwrap().token_file = secret.clone(), &[]);
    assert_eq!(mend(&open), format!("chmod 600 {}", secret.display()));

    let bridge = amiss(
        world,
        |config| {
            let container = config.container.as_mut().unwrap();
            container.subnet.address = container.subnet.host(9).unwrap();
            container.subnet.prefix -= 1;
        },
        &[],
    );
    assert!(bridge["check"].as_str().unwrap().starts_with("bridge rkt"), "{bridge}");
    assert!(
        mend(&bridge).starts_with("ruko-container --config /") && mend(&bridge).ends_with(" setup"),
        "{bridge}"
    );

    let command =
        |config: &mut Config| config.serve.as_mut().unwrap().container_command[3] = "--nothing".to_owned();
    let sudo = amiss(world, command, &[]);
    assert_eq!(sudo["check"], "sudo");
    assert!(mend(&sudo).contains("git ALL=(root) NOPASSWD: /"), "{sudo}");

    // In mounts of its own the machine's file is another, and nowhere else.
    let empty = dir.path().join("subuid");
    fs::write(&empty, "").unwrap();
    let script = format!("mount --bind {} /etc/subuid && exec \"$@\"", empty.display());
    let ids = amiss(world, |_| {}, &["unshare", "--mount", "sh", "-c", &script, "sh"]);
    assert_eq!(ids["check"], "ids for containers");
    assert!(mend(&ids).ends_with(" setup"), "{ids}");

    let reserve =
        amiss(world, |config| config.api.as_mut().unwrap().storage = "file:///proc/nothing".to_owned(), &[]);
    assert_eq!(reserve["check"], "disk of /proc/nothing");
    let router =
        |config: &mut Config| config.router.as_mut().unwrap().listen = "127.0.0.1:1".parse().unwrap();
    assert_eq!(amiss(world, router, &[])["check"], "router");
}

fn without_root_it_says_what_it_could_not_see(world: &World) {
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let out = doctor(world, &world.state().join("config.toml"), &user, &[]);
    let found = findings(&out);
    assert!(out.status.success(), "{found:#?}");
    let unseen: Vec<&str> =
        with_state(&found, "unseen").iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    for check in ["sudo", "sshd", "packet filter", "internet in a container"] {
        assert!(unseen.contains(&check), "{check}: {found:#?}");
    }
}
