//! `make bench`: how long dynos take to listen and to wake up, and what an idle one costs. Adds to
//! `target/bench/results.json`. The same programs started on this machine without openruko are the baseline, since
//! machines differ.
#![expect(clippy::unwrap_used, reason = "a program for developers")]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openruko_tests::results::{self, Figures, figure};
use openruko_tests::{Developer, Platform, World, eventually, until};
use serde_json::{Value, json};

/// Starts of each kind.
const STARTS: usize = 7;
/// Dynos over which the memory of one is averaged.
const IDLE_DYNOS: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    // How long dynos that get no more requests may take to finish what they have is not what is measured.
    let world = World::start(|config| config.host.as_mut().unwrap().drain_seconds = 1);
    let dev = world.developer("bench-dynos");
    let platform = world.platform(&dev);
    let bench = Bench { world: &world, platform };
    let mut figures = Figures::new();
    for (others, kind) in ["python", "nodejs", "static"].into_iter().enumerate() {
        figures.extend(bench.listening(&dev, kind, others));
    }
    figures.extend(bench.pushes(&dev));
    figures.extend(bench.memory(&dev));
    figures.extend(bench.waking());
    results::add(figures);
}

struct Bench<'w> {
    world: &'w World,
    platform: Platform,
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

impl Bench<'_> {
    /// From the wish for a dyno until it listens, by an app's own first answer through the router, against the same
    /// program on the bare machine.
    ///
    /// So many dynos are others'.
    fn listening(&self, dev: &Developer, kind: &str, others: usize) -> Figures {
        let app = format!("bench-{kind}");
        self.world.app(&app, dev);
        dev.fixture(kind).deploy(&app);
        let bare = Bare::unpack(self.world, &app);
        let mut ours = Vec::new();
        let mut plain = Vec::new();
        for _ in 0..STARTS {
            self.scale(&app, "web", 0);
            until("it is gone", PATIENCE, || self.world.containers().len() == others);
            let begun = Instant::now();
            self.scale(&app, "web", 1);
            until("it answers", PATIENCE, || {
                self.world.web(&app).try_get("/").is_ok_and(|answered| answered.status == 200)
            });
            ours.push(begun.elapsed());
            plain.push(bare.start());
        }
        let (ours, plain) = (median(ours), median(plain));
        vec![
            figure(&format!("dyno_listening_ms_{kind}"), ours),
            figure(&format!("plain_listening_ms_{kind}"), plain),
            figure(&format!("dyno_listening_overhead_ms_{kind}"), ours - plain),
        ]
    }

    /// A one-line change of an app with only a Procfile, until the new version serves.
    fn pushes(&self, dev: &Developer) -> Figures {
        let app = "bench-pushes";
        self.world.app(app, dev);
        let repo = dev.fixture("procfile");
        let mut times = Vec::new();
        for turn in 0..=STARTS {
            repo.commit(&[("change.txt", &turn.to_string())]);
            let begun = Instant::now();
            repo.deploy(app);
            times.push(begun.elapsed());
        }
        self.scale(app, "web", 0);
        // The first pushes everything and is not counted.
        vec![figure("push_until_serving_ms", median(times.split_off(1)))]
    }

    /// What a dyno costs beyond its own processes: their proportional share of memory (`proc_pid_smaps(5)`, Pss).
    fn memory(&self, dev: &Developer) -> Figures {
        let app = "bench-idle";
        self.world.app(app, dev);
        dev.fixture("procfile").deploy(app);
        self.scale(app, "worker", IDLE_DYNOS);
        until("they are up", PATIENCE, || {
            self.dynos(app)
                .iter()
                .filter(|(name, state)| name.starts_with("worker.") && state == "up")
                .count()
                == IDLE_DYNOS as usize
        });
        let around = self.around_dynos();
        let kib: u64 = around.iter().map(|pid| pss_kib(*pid)).sum();
        let dynos = u32::try_from(self.world.containers().len()).unwrap();
        self.scale(app, "worker", 0);
        vec![figure("idle_dyno_overhead_kib", kib as f64 / f64::from(dynos))]
    }

    /// Supervisors, keepers, lxc-start, and process 1 of each container: everything but the apps' own processes.
    fn around_dynos(&self) -> Vec<u32> {
        let mut pids = self.world.processes(&["openruko-host", " dyno "]);
        pids.extend(self.world.processes(&["ruko-container", " run"]));
        let containers = self.world.containers();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let of_ours = containers.iter().any(|name| line.contains(name.as_str()));
            if line.contains("lxc-start") && of_ours || line.starts_with("/opt/openruko/ruko-dyno") {
                pids.push(pid);
            }
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// A request that wakes an app, against the app's own start on the bare machine.
    fn waking(&self) -> Figures {
        let app = "bench-static";
        let bare = Bare::unpack(self.world, app);
        let path = format!("/apps/{app}/web-settings");
        let _ = self.platform.done("PATCH", &path, &json!({ "idle_after_seconds": 20 }));
        let mut ours = Vec::new();
        let mut plain = Vec::new();
        for _ in 0..3 {
            until("it sleeps", PATIENCE * 2, || self.dynos(app).iter().all(|(_, state)| state == "idle"));
            until("its dyno is gone", PATIENCE, || self.world.containers().len() <= 3);
            let begun = Instant::now();
            let _ = self.world.web(app).body("/");
            ours.push(begun.elapsed());
            plain.push(bare.start());
        }
        let (ours, plain) = (median(ours), median(plain));
        vec![figure("wake_ms", ours), figure("wake_overhead_ms", ours - plain)]
    }

    fn scale(&self, app: &str, process_type: &str, quantity: u32) {
        let path = format!("/apps/{app}/formation/{process_type}");
        let _ = self.platform.done("PATCH", &path, &json!({ "quantity": quantity }));
    }

    fn dynos(&self, app: &str) -> Vec<(String, String)> {
        let dynos = self.platform.done("GET", &format!("/apps/{app}/dynos"), &Value::Null);
        let text = |dyno: &Value, key: &str| dyno[key].as_str().unwrap().to_owned();
        dynos.as_array().unwrap().iter().map(|dyno| (text(dyno, "name"), text(dyno, "state"))).collect()
    }
}

/// An app's slug on the bare machine.
struct Bare {
    dir: tempfile::TempDir,
    command: String,
}

impl Bare {
    fn unpack(world: &World, app: &str) -> Self {
        let dir = world.scratch();
        world.unpack_slug(app, dir.path());
        let release = world.current_release(app);
        let command = release["process_types"]["web"].as_str().unwrap().to_owned();
        Self { dir, command }
    }

    /// Starts it as a dyno would, in a mount namespace that has it at /app, until it listens.
    fn start(&self) -> Duration {
        let address = free_address();
        let app = self.dir.path().join("app");
        let mount = format!("mkdir -p /app && mount --bind {} /app && cd /app", app.display());
        let profile = "for f in .profile.d/*.sh; do [ -e \"$f\" ] && . \"$f\"; done";
        let script = format!("{mount}; {profile}; exec {}", self.command);
        let begun = Instant::now();
        let mut process = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-c", &script])
            .env("PORT", address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the plain program listens", PATIENCE, || TcpStream::connect(address).ok());
        let took = begun.elapsed();
        process.kill().unwrap();
        process.wait().unwrap();
        took
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// 0 of a process that has just ended.
fn pss_kib(pid: u32) -> u64 {
    let proc = Path::new("/proc").join(pid.to_string());
    let text = fs::read_to_string(proc.join("smaps_rollup")).unwrap_or_default();
    let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    pss.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
