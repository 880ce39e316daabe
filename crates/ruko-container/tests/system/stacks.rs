//! Stack images: made, shown, used, removed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ruko_core::container::RunSpec;
use serde_json::Value;

use crate::dynos::{Platform, done, line};
use crate::world::{LIMITS, PATIENCE, Site, eventually, loop_devices, stderr, stdout};

/// A small userland out of this machine's programs, as a tar archive. It calls itself Debian 13.
const USERLAND: &str = r#"
set -eu
root=$1/userland-$2
mkdir -p "$root"/usr/bin "$root"/usr/sbin "$root"/usr/lib64 "$root"/usr/lib "$root"/etc/ssh "$root"/var/lib
ln -s usr/bin usr/sbin usr/lib64 usr/lib "$root"
cd "$root"
programs='/usr/bin/bash /usr/bin/cat /usr/bin/dd /usr/bin/git /usr/bin/id /usr/bin/ls /usr/bin/mv /usr/bin/rm
/usr/bin/sleep /usr/bin/stat /usr/bin/touch /usr/sbin/sshd'
ln -s bash usr/bin/sh
for program in $programs; do
	cp "$program" ".$program"
	ldd "$program" | while read -r first second third rest; do
		for library in "$first" "$third"; do
			case $library in /*) cp -Ln --parents "$library" . ;; esac
		done
	done
done
printf 'ID=debian\nVERSION_ID=13\nPRETTY_NAME="Userland %s"\n' "$2" >etc/os-release
printf 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\nubuntu:x:1000:1000::/home/ubuntu:/bin/sh\n' >etc/passwd
ln -s /etc/shadow etc/hosts
ln -s /etc/shadow etc/group
tar --create --owner 0 --group 0 --file "$1/$2.tar" .
rm -rf "$root"
"#;

fn userland(site: &Site, version: &str) -> PathBuf {
    let made = Command::new("sh").args(["-c", USERLAND, "sh"]).arg(&site.dir).arg(version).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    site.dir.join(format!("{version}.tar"))
}

#[track_caller]
fn import(site: &Site, name: &str, tar: &Path) {
    let made = site.tool(&["stack", "import", name, tar.to_str().unwrap()]);
    assert!(made.status.success(), "{}", stderr(&made));
    assert_eq!(stderr(&made), "", "nothing is missing");
}

fn stacks(site: &Site) -> Value {
    let list = site.tool(&["stack", "list", "--json"]);
    serde_json::from_slice(&list.stdout).unwrap()
}

fn on(stack: &str, spec: RunSpec) -> RunSpec {
    let stack = Some(stack.parse().unwrap());
    RunSpec { template: "openruko-stack".parse().unwrap(), stack, ..spec }
}

fn images(site: &Site) -> Vec<String> {
    let files = fs::read_dir(site.dir.join("stacks")).unwrap().flatten();
    files
        .map(|file| file.file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".squashfs"))
        .collect()
}

#[test]
fn a_container_has_the_stack_and_not_the_hosts_userland_and_what_it_writes_is_bounded() {
    let site = Site::new();
    import(&site, "test-13", &userland(&site, "one"));
    let container = site.start_as(&on("test-13", site.spec("on-stack", LIMITS)));
    assert!(container.says("cat /etc/os-release").contains("Userland one"));
    assert_eq!(container.says("id -un; id -u"), "build\n1000\n");
    let groups = container.says("cat /etc/group");
    assert!(groups.contains("build:*:1000:") && !groups.contains("daemon:"), "the host's shadow: {groups}");
    assert_eq!(
        container.says("stat -c %u:%g / /usr/bin/bash /etc/passwd /app"),
        "0:0\n0:0\n0:0\n1000:1000\n"
    );
    container.fails("test -e /usr/bin/perl || test -e /usr/bin/lxc-start");
    container.fails("touch /usr/bin/x 2>/dev/null || rm -f /usr/bin/cat 2>/dev/null");
    let passwd = container.says("cat /etc/passwd");
    assert!(passwd.contains("\ndaemon:x:1:") && !passwd.contains("ubuntu"), "{passwd}");
    // What the image has as a link is the container's own file.
    assert!(container.says("cat /etc/hosts").contains("localhost"));
    container.says("touch /app/x /tmp/x /var/tmp/x");
    let full = container.shell("dd if=/dev/zero of=/var/tmp/full bs=1M count=100");
    assert!(stderr(&full).contains("No space left on device"), "{}", stderr(&full));
    let listed = site.listed("on-stack");
    assert_eq!((&listed["stack"], &listed["template"]), (&"test-13".into(), &"openruko-stack".into()));
    let exec = site.tool(&["exec", "on-stack", "--", "cat", "/etc/os-release"]);
    assert!(stdout(&exec).contains("Userland one"), "{}", stderr(&exec));
    drop(container);
    eventually(std::time::Duration::from_secs(10), "no loop device is left", || {
        loop_devices(&site.dir).is_empty()
    });
}

#[test]
fn a_stack_that_is_made_anew_is_for_new_containers_and_one_in_use_is_not_removed() {
    let site = Site::new();
    import(&site, "test-13", &userland(&site, "one"));
    let old = site.start_as(&on("test-13", site.spec("old", LIMITS)));
    let shown = stacks(&site);
    assert_eq!((&shown[0]["name"], &shown[0]["containers"]), (&"test-13".into(), &1.into()));
    assert_eq!((&shown[0]["os"], &shown[0]["heroku"]), (&"Userland one".into(), &"heroku-24".into()));
    let digest = shown[0]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(images(&site), [format!("test-13-{digest}.squashfs")]);

    let second = userland(&site, "two");
    let packed = Command::new("gzip").arg(&second).status().unwrap();
    assert!(packed.success());
    import(&site, "test-13", &second.with_extension("tar.gz"));
    assert_eq!(images(&site).len(), 1, "the old image is gone from the directory");
    assert_ne!(stacks(&site)[0]["sha256"].as_str().unwrap(), digest);
    assert!(old.says("cat /etc/os-release").contains("Userland one"), "a container keeps what it has");
    let new = site.start_as(&on("test-13", site.spec("new", LIMITS)));
    assert!(new.says("cat /etc/os-release").contains("Userland two"));

    drop(old);
    let refused = site.tool(&["stack", "remove", "test-13"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("1 containers have the stack `test-13`, `new` for one"), "{refused:?}");
    drop(new);
    let removed = site.tool(&["stack", "remove", "test-13"]);
    assert!(removed.status.success(), "{}", stderr(&removed));
    assert_eq!((stacks(&site), images(&site)), (Value::Array(vec![]), vec![]));
}

#[test]
fn a_dyno_runs_on_the_stack() {
    let platform = Platform::new();
    import(&platform.site, "test-13", &userland(&platform.site, "one"));
    let spec = on("test-13", platform.spec("on-stack", crate::dynos::LIMITS));
    let mut dyno = platform.start_as(&spec);
    let look = ". /etc/os-release; echo $PRETTY_NAME; cat hello.txt; id -un; stat -c %u /usr/bin/bash; \
                mv hello.txt moved; touch /usr/x 2>/dev/null || echo closed; test -e /usr/bin/perl || echo small";
    dyno.tell(&line(look));
    let (ended, said) = dyno.end();
    assert_eq!((ended, said.as_str()), (done(0), "Userland one\nhello\ndyno\n0\nclosed\nsmall\n"));
}

#[test]
fn what_is_no_stack_is_refused_in_words_and_leaves_nothing() {
    let site = Site::new();
    let unknown = site.run(&on("nowhere", site.spec("refused", LIMITS))).refusal().0;
    assert!(
        unknown.contains("there is no stack image `nowhere`") && unknown.contains("stack build"),
        "{unknown}"
    );
    let dir = site.dir.to_str().unwrap();
    for (file, content) in [("text.tar", "this is no archive\n"), ("short.tar.gz", "\x1f\u{8b}")] {
        fs::write(site.dir.join(file), content).unwrap();
        let refused = site.tool(&["stack", "import", "bad", &format!("{dir}/{file}")]);
        assert_eq!(refused.status.code(), Some(1), "{file}: {refused:?}");
    }
    let made = Command::new("tar").args(["-C", dir, "-cf", &format!("{dir}/plain.tar"), "text.tar"]).status();
    assert!(made.unwrap().success());
    let refused = site.tool(&["stack", "import", "bad", &format!("{dir}/plain.tar")]);
    assert!(stderr(&refused).contains("no directory `usr`"), "{}", stderr(&refused));
    let files: Vec<_> =
        fs::read_dir(site.dir.join("stacks")).unwrap().flatten().map(|f| f.file_name()).collect();
    assert_eq!(files, [".lock"]);
    assert_eq!(stacks(&site), Value::Array(vec![]));
    let refused = site.tool(&["stack", "remove", "bad"]);
    assert!(stderr(&refused).contains("there is no stack image `bad`"), "{}", stderr(&refused));

    import(&site, "open", &userland(&site, "one"));
    let record = site.dir.join("stacks/open.json");
    fs::set_permissions(&record, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = site.run(&on("open", site.spec("refused", LIMITS))).refusal().0;
    assert!(refused.contains("only root"), "{refused}");
}

#[test]
fn the_template_unpacks_an_image_for_lxc_create() {
    let site = Site::unprepared("", "");
    import(&site, "test-13", &userland(&site, "one"));
    let image = site.dir.join("stacks").join(&images(&site)[0]);
    let lxc = site.dir.join("lxc");
    fs::create_dir(&lxc).unwrap();
    fs::write(site.dir.join("empty.conf"), "").unwrap();
    let template = site.dir.join("templates/openruko-stack");
    let by_hand = |name: &str, option: String| {
        let output = Command::new("lxc-create")
            .args(["--name", name, "--lxcpath"])
            .arg(&lxc)
            .arg("--config")
            .arg(site.dir.join("empty.conf"))
            .arg("--template")
            .arg(&template)
            .args(["--", &format!("--image={}", image.display()), &option])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    };
    let read = |path: &str| fs::read_to_string(lxc.join(path)).unwrap();
    by_hand("builds", format!("--authorized-key={}", site.key().with_extension("pub").display()));
    assert!(read("builds/rootfs/etc/passwd").contains("build:*:1000:1000::/app:/bin/sh"));
    assert!(
        read("builds/rootfs/etc/hosts").contains("127.0.1.1 builds"),
        "the link in the image is replaced"
    );
    assert!(read("builds/config").contains("lxc.init.cmd = /usr/sbin/sshd"));
    by_hand("runs", "--init=/usr/bin/true".to_owned());
    assert!(read("runs/rootfs/etc/passwd").contains("dyno:*:1000:1000::/app:/bin/sh"));
    assert!(
        read("runs/config").contains("lxc.mount.entry = /usr/bin/true opt/openruko/ruko-dyno none bind,ro")
    );
    assert!(!read("runs/config").contains(" usr none bind"), "nothing of the host's /usr");

    for template in ["openruko-stack", "openruko-build", "openruko-dyno"] {
        let help = Command::new(site.dir.join("templates").join(template)).arg("--help").output().unwrap();
        assert!(help.status.success() && stdout(&help).contains("Example"), "{template}");
    }
}

/// Whether a process has this in its command line.
fn mentioned(text: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(text))
}

#[test]
fn a_build_of_a_stack_that_is_killed_leaves_nobody_at_work() {
    let site = Site::new();
    // It takes connections and never answers.
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/debian", mirror.local_addr().unwrap());
    let args = ["stack", "build", "test-13", "--suite", "trixie", "--mirror", &url];
    let mut build = site.command(&args).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    mirror.set_nonblocking(true).unwrap();
    eventually(PATIENCE, "the mirror is asked", || mirror.accept().is_ok());
    build.kill().unwrap();
    build.wait().unwrap();
    eventually(PATIENCE, "nobody asks it any more", || !mentioned(&url));
    let next = site.tool(&["stack", "list"]);
    assert!(next.status.success(), "{}", stderr(&next));
}
