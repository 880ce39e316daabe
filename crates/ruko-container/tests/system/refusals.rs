//! What is refused, and with which words.

use ruko_core::container::{Purpose, RunLimits, RunSpec};
use ruko_sys::Lock;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::world::{LIMITS, Site};

#[test]
fn hostile_specifications_are_refused_before_anything_is_made() {
    let site = Site::new();
    let good = site.spec("refused", LIMITS);
    let refused = |spec: &RunSpec| {
        let (message, try_again) = site.run(spec).refusal();
        assert!(!try_again, "{message}");
        message
    };
    let Purpose::Login { client_key } = &good.purpose else { panic!("{good:?}") };
    let purpose = Purpose::Login { client_key: format!("command=\"id\" {client_key}") };
    assert!(refused(&RunSpec { purpose, ..good.clone() }).contains("client key"));
    let limits = RunLimits { memory_bytes: 1 << 50, ..LIMITS };
    assert!(refused(&RunSpec { limits, ..good.clone() }).contains("memory"));
    let template = "no-such-template".parse().unwrap();
    assert!(refused(&RunSpec { template, ..good.clone() }).contains("no-such-template"));
    let untrusted = site.dir.join("templates/untrusted");
    fs::write(&untrusted, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&untrusted, fs::Permissions::from_mode(0o777)).unwrap();
    let template = "untrusted".parse().unwrap();
    assert!(refused(&RunSpec { template, ..good.clone() }).contains("only root"));
    let line = serde_json::to_string(&good).unwrap();
    for bad in [
        line.replace("\"refused\"", "\"../refused\""),
        line.replace("\"refused\"", "\"a\\nlxc.hook.start-host = /bin/sh\""),
        line.replace("{\"name\"", "{\"mounts\":[\"/\"],\"name\""),
        "x".repeat(20_000),
        String::new(),
    ] {
        assert!(!site.run_line(&bad).refusal().1, "{bad:.60}");
    }
    let made =
        fs::read_dir(site.containers()).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(made, 0);
}

#[test]
fn a_name_is_given_once() {
    let site = Site::new();
    let _first = site.start("twice", LIMITS);
    let (message, _) = site.run(&site.spec("twice", LIMITS)).refusal();
    assert!(message.contains("`twice`"), "{message}");
}

#[test]
fn when_all_slots_are_in_use_it_says_so_and_to_try_again() {
    let site = Site::with("slots = 1\n", "");
    // Unless it is held already, by another installation of this machine, for as long as its dynos run.
    let _held = Lock::try_take(Path::new("/run/openruko/slots/000")).unwrap();
    let (message, try_again) = site.run(&site.spec("waiting", LIMITS)).refusal();
    assert!(try_again && message.contains("all 1 container slots are in use"), "{message}");
}

#[test]
fn a_disk_that_is_nearly_full_is_foreseen_with_both_values() {
    let site = Site::with("slots = 240\n", "");
    let config = fs::read_to_string(site.config()).unwrap();
    let wanting = config.replace("reserve_bytes = 1048576", "reserve_bytes = 4611686018427387904");
    fs::write(site.config(), wanting).unwrap();
    let (message, try_again) = site.run(&site.spec("nowhere", LIMITS)).refusal();
    assert!(try_again && message.contains("free") && message.contains("4194304.0 TB"), "{message}");
}

#[test]
fn a_missing_bridge_is_named_with_its_mend() {
    let site = Site::unprepared("slots = 240\n", "");
    let (message, _) = site.run(&site.spec("lost", LIMITS)).refusal();
    assert!(message.contains(&site.bridge) && message.contains("ruko-container setup"), "{message}");
    assert!(!site.containers().join("lost").exists(), "a failed start leaves nothing");
}

#[test]
fn a_configuration_that_others_can_write_is_not_used() {
    let site = Site::unprepared("slots = 240\n", "");
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o666)).unwrap();
    let (message, _) = site.run(&site.spec("untrusted", LIMITS)).refusal();
    assert!(message.contains("only root may be able to write it"), "{message}");
    let check = site.tool(&["--check"]);
    assert_eq!(check.status.code(), Some(1));
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.tool(&["--check"]).status.success());
}

#[test]
fn a_file_that_cannot_be_shown_is_named() {
    let files = "[build.files]\n\"/usr/no/such/file\" = \"/etc/hosts\"\n";
    let site = Site::with("slots = 240\n", files);
    let (message, _) = site.run(&site.spec("files", LIMITS)).refusal();
    assert!(message.contains("/usr/no/such/file"), "{message}");
}
