//! Commands for admins.

use ruko_core::container::RunEvent;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::world::{LIMITS, Site, stderr, stdout};

#[test]
fn exec_runs_a_command_as_the_build_user_and_passes_its_status_on() {
    let site = Site::new();
    let _container = site.start("attach", LIMITS);
    let output = site.tool(&["exec", "attach", "--", "sh", "-c", "id -u; echo $HOME; exit 7"]);
    assert_eq!(stdout(&output), "1000\n/app\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(site.tool(&["exec", "nobody", "--", "true"]).status.code(), Some(1));
}

#[test]
fn a_container_started_in_the_background_lives_until_it_is_stopped() {
    let site = Site::new();
    let key = site.key().with_extension("pub");
    let start = site.tool(&["start", "try", "--client-key", &key.to_string_lossy(), "--json"]);
    assert!(start.status.success(), "{}", stderr(&start));
    assert!(
        matches!(serde_json::from_slice(&start.stdout), Ok(RunEvent::Ready { .. })),
        "{}",
        stdout(&start)
    );
    assert_eq!(site.listed("try")["state"], "running");
    assert_eq!(stdout(&site.tool(&["exec", "try", "--", "id", "-un"])), "build\n");
    let destroy = site.tool(&["destroy", "try"]);
    assert!(destroy.status.success(), "{}", stderr(&destroy));
    assert_eq!(site.listed("try"), serde_json::Value::Null);
    let refused = site.tool(&["start", "try", "--client-key", "/etc/hostname"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("client key"), "{}", stderr(&refused));
}

#[test]
fn setup_can_be_done_again_and_teardown_too() {
    let site = Site::new();
    let container = site.start("kept", LIMITS);
    assert!(site.tool(&["setup"]).status.success());
    container.says("true");
    let refused = site.tool(&["teardown"]);
    assert!(stderr(&refused).contains("1 containers are running"), "{}", stderr(&refused));
    drop(container);
    for _ in 0..2 {
        let teardown = site.tool(&["teardown"]);
        assert!(teardown.status.success(), "{}", stderr(&teardown));
    }
    assert!(!Path::new("/sys/class/net").join(&site.bridge).exists());
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!stdout(&tables).contains(&site.bridge));
}

#[test]
fn a_subnet_can_be_changed_and_one_that_is_taken_is_refused_with_what_to_do() {
    // No more slots than half a /24 has addresses for.
    let site = Site::with("slots = 100\n", "");
    let rewrite = |from: &str, to: &str| {
        let config = fs::read_to_string(site.config()).unwrap();
        assert!(config.contains(from), "{config}");
        fs::write(site.config(), config.replace(from, to)).unwrap();
    };
    let subnet = format!("{}/24", site.gateway).replace(".1/24", ".0/24");
    rewrite(&subnet, &subnet.replace(".0/24", ".128/25"));
    let moved = site.tool(&["setup"]);
    assert!(moved.status.success(), "{}", stderr(&moved));
    let shown =
        Command::new("ip").args(["-4", "-o", "address", "show", "dev", &site.bridge]).output().unwrap();
    assert_eq!(stdout(&shown).matches(" inet ").count(), 1, "{}", stdout(&shown));
    site.start("moved", LIMITS).says("true");

    let renamed = format!("{}z", site.bridge);
    let (ours, theirs) = (format!("bridge = \"{}\"", site.bridge), format!("bridge = \"{renamed}\""));
    rewrite(&ours, &theirs);
    let refused = site.tool(&["setup"]);
    assert_eq!(refused.status.code(), Some(1));
    let mend = format!("`ip link delete {}`", site.bridge);
    assert!(stderr(&refused).contains(&mend) && stderr(&refused).lines().count() == 1, "{refused:?}");
    let delete = Command::new("ip").args(["link", "delete", &site.bridge]).status().unwrap();
    assert!(delete.success());
    assert!(site.tool(&["setup"]).status.success());
    assert!(site.tool(&["teardown"]).status.success());
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!stdout(&tables).contains(&site.bridge), "neither the old name's nor the new one's are left");
}

#[test]
fn the_template_is_one_that_lxc_create_accepts() {
    let site = Site::unprepared("", "");
    let lxc = site.dir.join("lxc");
    fs::create_dir(&lxc).unwrap();
    File::create(site.dir.join("empty.conf")).unwrap();
    let output = Command::new("lxc-create")
        .args(["--name", "by-hand", "--lxcpath"])
        .arg(&lxc)
        .arg("--config")
        .arg(site.dir.join("empty.conf"))
        .arg("--template")
        .arg(site.dir.join("templates/openruko-build"))
        .arg("--")
        .arg(format!("--authorized-key={}", site.key().with_extension("pub").display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let read = |path: &str| fs::read_to_string(lxc.join("by-hand").join(path)).unwrap();
    assert!(read("rootfs/etc/passwd").contains("build:*:1000:1000::/app:/bin/sh"));
    assert!(read("rootfs/etc/ssh/host_key").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert!(read("config").contains("lxc.mount.entry = /usr usr none bind,ro,nosuid,nodev 0 0"));
    let destroyed = Command::new("lxc-destroy").args(["--name", "by-hand", "--lxcpath"]).arg(&lxc).status();
    assert!(destroyed.unwrap().success());
}
