//! The agent with real containers, as the user `git` by way of sudo; the API is played. Needs root, LXC and sudo; the
//! user is made as `openruko up` makes it where it is missing. `cargo test -p openruko-host --features system --test system`, after
//! `cargo build -p ruko-container -p ruko-dyno`. It has a bridge, a subnet, directories and a line for sudo of its own,
//! and removes them also when it fails.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod world;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ruko_api_types::host::Attach;
use ruko_api_types::platform::DynoState;
use ruko_core::dyno::TerminalSize;
use sha2::{Digest, Sha256};
use world::client::Client;
use world::{Node, app, eventually, one_off, process, release};

const WEB: &str = "python3 -m http.server $PORT";

/// What a node needs beyond the agent, and what is removed last.
struct Site {
    dir: PathBuf,
    bridge: String,
    sudoers: PathBuf,
    git: (u32, u32),
}

impl Site {
    fn new() -> (Self, Node) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let addresses = Command::new("ip").args(["-4", "-o", "address"]).output().unwrap();
        let addresses = String::from_utf8_lossy(&addresses.stdout).into_owned();
        let free = |third: &u32| !addresses.contains(&format!(" 10.201.{third}."));
        let third = (0..250).map(|offset| (id + offset) % 250).find(free).unwrap();
        // As `openruko up` makes it, not locked: sshd of other tests lets it in.
        let account =
            ["--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh"];
        let account = [&account[..], &["--password", "*", "git"]].concat();
        static USER: Once = Once::new();
        // One that is there already is left alone.
        USER.call_once(|| drop(Command::new("useradd").args(account).output()));
        let id_of = |what: &str| -> u32 {
            let out = Command::new("id").args([what, "git"]).output().unwrap();
            String::from_utf8_lossy(&out.stdout).trim().parse().unwrap()
        };
        let site = Self {
            dir: PathBuf::from(format!("/var/lib/openruko-test-host-{id:x}")),
            bridge: format!("rh-{:04x}", id & 0xffff),
            sudoers: PathBuf::from(format!("/etc/sudoers.d/openruko-test-host-{id:x}")),
            git: (id_of("-u"), id_of("-g")),
        };
        let command = site.lay_out(third);
        let dir = tempfile::Builder::new().prefix("rh-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(dir.path(), Some(site.git.0), Some(site.git.1)).unwrap();
        let node = Node::with(dir, command, "openruko-dyno", site.dir.join("slugs"), Some(site.git));
        (site, node)
    }

    /// The directories, the network, and the one line for sudo.
    fn lay_out(&self, third: u32) -> Vec<String> {
        for name in ["hooks", "buildpacks", "tools", "templates", "slugs", "containers"] {
            fs::create_dir_all(self.dir.join(name)).unwrap();
        }
        chown(self.dir.join("slugs"), Some(self.git.0), Some(self.git.1)).unwrap();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        copy(&crates.join("../lxc-templates/."), &self.dir.join("templates"));
        let built = Path::new(env!("CARGO_BIN_EXE_openruko-host")).parent().unwrap();
        for (name, to) in [("ruko-dyno", "tools/ruko-dyno"), ("ruko-container", "ruko-container")] {
            assert!(built.join(name).exists(), "build {name} first");
            copy(&built.join(name), &self.dir.join(to));
        }
        let dir = self.dir.display();
        let config = self.dir.join("config.toml");
        let text = format!(
            "[container]\nstate_dir = '{dir}/containers'\ntemplate_dir = '{dir}/templates'\nhooks_dir = '{dir}/hooks'\n\
             buildpacks_dir = '{dir}/buildpacks'\ntools_dir = '{dir}/tools'\nslugs_dir = '{dir}/slugs'\n\
             bridge = '{}'\nsubnet = '10.201.{third}.1/24'\nreserve_bytes = 1048576\nslots = 200\n",
            self.bridge
        );
        fs::write(&config, text).unwrap();
        assert!(self.container(&["setup"]).success());
        let command = format!("{dir}/ruko-container --config {} run", config.display());
        let line = format!(
            "Defaults!{dir}/ruko-container !requiretty, !use_pty, !pam_session, !pam_setcred\n\
             git ALL=(root) NOPASSWD: {command}\n"
        );
        fs::write(&self.sudoers, line).unwrap();
        fs::set_permissions(&self.sudoers, fs::Permissions::from_mode(0o440)).unwrap();
        ["sudo", "-n"].into_iter().chain(command.split(' ')).map(str::to_owned).collect()
    }

    fn container(&self, args: &[&str]) -> std::process::ExitStatus {
        let config = self.dir.join("config.toml");
        Command::new(self.dir.join("ruko-container")).arg("--config").arg(config).args(args).status().unwrap()
    }

    fn containers(&self) -> usize {
        let config = self.dir.join("config.toml");
        let mut list = Command::new(self.dir.join("ruko-container"));
        let list = list.arg("--config").arg(config).args(["list", "--json"]).output();
        let list = list.map(|list| list.stdout).unwrap_or_default();
        serde_json::from_slice::<Vec<serde_json::Value>>(&list).map_or(0, |list| list.len())
    }
}

/// Copies files that are to be run. Not by this process: one that another test forks meanwhile would have them open to
/// be written, and then they cannot be run (ETXTBSY, execve(2)).
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success(), "{} is not there", from.display());
}

impl Drop for Site {
    fn drop(&mut self) {
        // Containers are destroyed a moment after their dynos have ended.
        let until = Instant::now() + Duration::from_secs(20);
        while self.containers() > 0 && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.container(&["reap"]);
        let _ = self.container(&["teardown"]);
        let _ = fs::remove_file(&self.sudoers);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_slug_runs_is_deployed_over_and_the_agent_is_killed() {
    // Dropped from the last on: first the agent and its dynos, then what they ran on.
    let (site, mut node) = Site::new();
    let node = &mut node;
    let slug = node.slug(&[("index.html", "one"), (".profile.d/x.sh", "export FROM=profile\n")]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, WEB)]))));
    let first = node.api.wait_dyno("web.1", 1, DynoState::Up);
    assert!(ask(first.address.unwrap()).unwrap().ends_with("one"));
    node.api.wait_routed("a", 1, 1);

    node.kill();
    assert!(ask(first.address.unwrap()).unwrap().ends_with("one"));
    node.start();
    assert_eq!(node.api.wait_dyno("web.1", 1, DynoState::Up).id, first.id);

    let next = node.slug(&[("index.html", "two")]);
    let candidate =
        release(2, &next, vec![process("web", 2, WEB), process("worker", 1, "echo $FROM; exec sleep 1000")]);
    node.api.change("a", |app| app.candidate = Some(candidate));
    node.api.wait_routed("a", 2, 2);
    let second = node.api.wait_dyno("web.2", 2, DynoState::Up);
    assert!(ask(second.address.unwrap()).unwrap().ends_with("two"));
    node.api.wait_gone(&first.id);
    node.api.wait_dyno("worker.1", 2, DynoState::Up);
    node.api.wait_line("heroku[web.1]: Process exited with status 143");

    let broken = release(3, &next, vec![process("web", 1, "echo broken; exit 9")]);
    node.api.change("a", |app| app.candidate = Some(broken));
    let failed = node.api.wait("a failure", |known| known.failed.first().cloned());
    assert_eq!(failed.2, "web.1: H10 (App crashed): exited with status 9");
    assert!(ask(second.address.unwrap()).unwrap().ends_with("two"));

    node.api.change("a", |app| app.asleep = true);
    node.api.wait_dyno("web.1", 2, DynoState::Idle);
    eventually("only the worker to be there", || (site.containers() == 1).then_some(()));
    let asked = Instant::now();
    node.api.change("a", |app| app.asleep = false);
    node.api.wait_routed("a", 2, 2);
    eprintln!("two dynos woke in {:?}", asked.elapsed());

    node.api.remove("a");
    eventually("all containers to go", || (site.containers() == 0 && node.dynos() == 0).then_some(()));
}

#[test]
fn a_terminal_is_reached_and_its_size_and_signals_are_right() {
    let (_site, mut node) = Site::new();
    let node = &mut node;
    let certificate = world::client::certificate(node.dir.path());
    chown(node.dir.path().join("key.pem"), Some(_site.git.0), Some(_site.git.1)).unwrap();
    node.configure(&world::client::configuration(node.dir.path()));
    let slug = node.slug(&[("hello.txt", "hello\n")]);
    node.start();
    let current = release(1, &slug, vec![]);
    let mut wanted = app("a", Some(current.clone()), None);
    let secret = |secret: &str| ruko_core::hex(&Sha256::digest(secret));
    let mut tty = one_off("01TTY", current.clone(), "bash --norc");
    let terminal = Some(TerminalSize { columns: 111, lines: 33 });
    tty.attach = Some(Attach { secret_sha256: secret("tty"), terminal });
    let mut plain = one_off("01PLAIN", current, "cat; echo \"\u{ffff} heroku-command-exit-status: $?\"");
    plain.attach = Some(Attach { secret_sha256: secret("plain"), terminal: None });
    wanted.one_offs = vec![tty, plain];
    node.api.want(wanted);
    let port = world::client::port(node);

    let mut client = Client::connect(port, &certificate, "tty");
    client.expect_attached();
    client.send(b"stty size; cat hello.txt\n");
    client.wait_for("33 111");
    client.wait_for("hello");
    client.send(b"bash -c 'echo re\"\"ady; exec sleep 100'\n");
    client.wait_for("ready");
    client.send(b"\x03");
    client.send(b"echo still $((40 + 2))\n");
    client.wait_for("still 42");
    client.send(b"exit 3\n");
    client.wait_for_end();

    let mut client = Client::connect(port, &certificate, "plain?x=1");
    client.send(b"typed before it was there\n");
    client.expect_attached();
    client.send(b"and after\n");
    client.send(b"\x04");
    let output = client.wait_for_end();
    assert!(output.starts_with("typed before it was there\nand after\n"), "{output:?}");
    assert!(output.ends_with("heroku-command-exit-status: 0\n"), "{output:?}");
    node.api.wait("both to be gone", |known| known.apps["a"].one_offs.is_empty().then_some(()));
}

#[test]
fn what_an_app_has_too_much_of_is_told() {
    let (_site, mut node) = Site::new();
    let node = &mut node;
    let slug = node.slug(&[]);
    node.start();
    let eats = "python3 -c 'x = [bytearray(1 << 20) for _ in range(1000)]'";
    node.api.want(app("a", Some(release(1, &slug, vec![process("worker", 1, eats)])), None));
    node.api.wait_line("heroku[worker.1]: Error R15 (Memory quota vastly exceeded)");
    node.api.wait_line("heroku[worker.1]: Process exited with status 137");
    node.api.wait_line("heroku[worker.1]: State changed from up to crashed");
}

#[test]
fn many_start_and_stop_at_once_and_nothing_is_left() {
    const MANY: u32 = 50;
    let (site, mut node) = Site::new();
    let node = &mut node;
    let slug = node.slug(&[]);
    node.start();
    let began = Instant::now();
    node.api.want(app("a", Some(release(1, &slug, vec![process("worker", MANY, "exec sleep 1000")])), None));
    node.api.wait("all of them to be up", |known| {
        let up = known.dynos.values().filter(|dyno| dyno.state == DynoState::Up).count();
        (up == MANY as usize).then_some(())
    });
    eprintln!("{MANY} dynos were up after {:?}", began.elapsed());
    eprintln!("their supervisors: {}", supervisors(&node.state_dir()));
    let began = Instant::now();
    node.api.remove("a");
    eventually("all of them to go", || (node.dynos() == 0 && site.containers() == 0).then_some(()));
    eprintln!("and gone after {:?}", began.elapsed());
    let lines = node.api.with(|known| known.lines.clone());
    let ends = lines.iter().filter(|line| line.ends_with("Process exited with status 143")).count();
    assert_eq!(ends, MANY as usize, "no last line was lost");
}

/// How much memory of their own supervisors take.
fn supervisors(state_dir: &Path) -> String {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("--handed-over") && line.contains(state_dir.to_str().unwrap()) {
            let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
            let value = |name: &str| {
                let line = rollup.lines().find(|line| line.starts_with(name))?;
                line.split_whitespace().nth(1)?.parse().ok()
            };
            all.push((value("Pss:").unwrap_or(0), value("Private_Dirty:").unwrap_or(0)));
        }
    }
    all.sort_unstable();
    let (pss, dirty) = all[all.len() / 2];
    format!("{} processes, the median has {pss} kB of PSS, {dirty} kB of them its own and written", all.len())
}

#[test]
fn a_dyno_whose_client_never_came_is_stopped_like_any_other() {
    let (site, mut node) = Site::new();
    let node = &mut node;
    let slug = node.slug(&[]);
    node.start();
    let current = release(1, &slug, vec![]);
    let mut alone = one_off("01ALONE", current.clone(), "echo printed; cat");
    alone.attach = Some(Attach { secret_sha256: "0".repeat(64), terminal: None });
    let mut wanted = app("a", Some(current), None);
    wanted.one_offs = vec![alone];
    node.api.want(wanted);
    node.api.wait_dyno("run.1234", 1, DynoState::Up);
    node.kill();
    let began = Instant::now();
    node.stop_all();
    eprintln!("stopped after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
    eventually("its container to go", || (site.containers() == 0 && node.dynos() == 0).then_some(()));
}

/// A server that boots in a few milliseconds.
const QUICK: &str = "exec perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(Listen => 5, LocalPort => $ENV{PORT}); \
                     while ($c = $l->accept) { while (<$c>) { last if /^\\s*$/ } print $c qq(HTTP/1.0 200 OK\\r\\n\\r\\nquick); close $c }'";

#[test]
fn an_app_that_sleeps_wakes_in_a_moment() {
    let (_site, mut node) = Site::new();
    let node = &mut node;
    let slug = node.slug(&[]);
    node.start();
    node.api.want(app("a", None, Some(release(1, &slug, vec![process("web", 1, QUICK)]))));
    node.api.wait_routed("a", 1, 1);
    let mut took = Vec::new();
    for _ in 0..5 {
        node.api.change("a", |app| app.asleep = true);
        node.api.wait_dyno("web.1", 1, DynoState::Idle);
        node.api.wait_routed("a", 1, 0);
        let asked = Instant::now();
        node.api.change("a", |app| app.asleep = false);
        node.api.wait_routed("a", 1, 1);
        took.push(asked.elapsed());
        let dyno = node.api.wait_dyno("web.1", 1, DynoState::Up);
        assert!(ask(dyno.address.unwrap()).unwrap().ends_with("quick"));
    }
    eprintln!("it was awake after {took:?}");
    assert!(took.iter().min().is_some_and(|least| *least < Duration::from_secs(2)), "{took:?}");
}
