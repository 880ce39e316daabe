//! `make bench`: openruko-router against nginx and haproxy from Debian, in front of the same server in the same run,
//! each on the same half of the processors: requests per second, and the 99th percentile of how long one takes. Adds to
//! `target/bench/results.json`.
//!
//! All three do what a platform needs: keep connections to the server, tell it who asks, give every request an id, and
//! write a line for each: nginx to a file, haproxy to a socket, the router to an API.
#![expect(clippy::unwrap_used, reason = "a program for developers")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use openruko_tests::results::{self, Figures, figure};
use serde_json::json;

/// Rounds, in which each has its turn. Short and many: what else the machine does then meets all of them alike.
const ROUNDS: usize = 15;

/// How long one turn is.
const SECONDS: &str = "2";

/// Connections of the clients.
const CONNECTIONS: &str = "64";

/// What the server answers with.
const BODY: usize = 1024;

/// The longest that a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

const HOST: &str = "shop.test";

fn main() {
    let out = results::file().parent().unwrap().to_owned();
    let programs = Programs { root: out.join("root"), router: out.join("../release/openruko-router") };
    let dir = tempfile::tempdir_in(&out).unwrap();
    results::add(figures(&programs, dir.path()));
}

fn figures(programs: &Programs, dir: &Path) -> Figures {
    let (proxies_on, others_on) = halves();
    let server = server(programs, dir, &others_on);
    let api = api(server.address);
    let contestants = [
        ("nginx", nginx(programs, dir, server.address, &proxies_on)),
        ("haproxy", haproxy(programs, dir, server.address, &proxies_on)),
        ("router", router(programs, dir, api, &proxies_on)),
    ];
    let mut measured = vec![(Vec::new(), Vec::new()); contestants.len()];
    for _ in 0..ROUNDS {
        for ((_, contestant), (rates, times)) in contestants.iter().zip(&mut measured) {
            let (rate, time) = load(programs, contestant.address, &others_on);
            rates.push(rate);
            times.push(time);
        }
    }
    let mut figures = Figures::new();
    for ((name, _), (rates, times)) in contestants.iter().zip(&measured) {
        figures.push(figure(&format!("{name}_rps"), median(rates.clone())));
        figures.push(figure(&format!("{name}_p99_ms"), median(times.clone())));
    }
    // Round by round: the median of the ratios, not the ratio of the medians.
    let (router_rates, router_times) = &measured[2];
    for ((name, _), (rates, times)) in contestants.iter().zip(&measured).take(2) {
        figures.push(figure(&format!("router_vs_{name}_rps"), median(ratios(router_rates, rates))));
        figures.push(figure(&format!("router_vs_{name}_p99"), median(ratios(router_times, times))));
    }
    figures
}

fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The processors for proxies, and those for everybody else, as taskset(1) has them.
fn halves() -> (String, String) {
    let count = thread::available_parallelism().unwrap().get();
    assert!(count >= 2, "with one processor there is nothing to compare");
    let half = count / 2;
    (format!("0-{}", half - 1), format!("{half}-{}", count - 1))
}

/// Where programs are.
struct Programs {
    /// Debian's, unpacked and not installed: nothing of them is started by itself.
    root: PathBuf,
    router: PathBuf,
}

impl Programs {
    /// A program of Debian's, on some processors.
    fn command(&self, name: &str, processors: &str) -> Command {
        let places = ["usr/sbin", "usr/bin"].map(|place| self.root.join(place).join(name));
        let found = places.into_iter().find(|path| path.exists());
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", processors]).arg(found.unwrap_or_else(|| name.into()));
        let libraries = fs::read_dir(self.root.join("usr/lib")).into_iter().flatten().flatten();
        let libraries = libraries.map(|entry| entry.path().display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.collect::<Vec<_>>().join(":"));
        command
    }
}

/// A program that listens; it ends when it is dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(mut command: Command, address: SocketAddr) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, address }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not SIGKILL: nginx would leave its workers behind.
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// nginx in the foreground, in one process for each processor that it has.
fn start_nginx(
    programs: &Programs,
    dir: &Path,
    name: &str,
    processors: &str,
    http: &str,
    at: SocketAddr,
) -> Running {
    let dir = dir.join(name);
    fs::create_dir(&dir).unwrap();
    let range: Vec<usize> = processors.split('-').map(|at| at.parse().unwrap()).collect();
    let config = format!(
        "worker_processes {workers};\ndaemon off;\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  \
         fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n\
         {http}\n}}\n",
        workers = range[1] - range[0] + 1,
        dir = dir.display(),
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let mut command = programs.command("nginx", processors);
    command.arg("-c").arg(dir.join("nginx.conf")).arg("-p").arg(&dir);
    command.arg("-e").arg(dir.join("error.log")).stderr(Stdio::null());
    Running::start(command, at)
}

/// The server behind the proxies: nginx, which answers without looking at a file.
fn server(programs: &Programs, dir: &Path, processors: &str) -> Running {
    let at = free();
    let body = "x".repeat(BODY);
    let http = format!(
        "  access_log off;\n  keepalive_requests 1000000;\n  server {{ listen {at}; location / {{ return 200 '{body}'; }} }}"
    );
    start_nginx(programs, dir, "server", processors, &http, at)
}

fn nginx(programs: &Programs, dir: &Path, server: SocketAddr, processors: &str) -> Running {
    let at = free();
    let http = format!(
        "  access_log {}/access.log combined;\n  keepalive_requests 1000000;\n  tcp_nodelay on;\n\
         \x20 upstream app {{ server {server}; keepalive 256; keepalive_requests 1000000; }}\n\
         \x20 server {{ listen {at}; server_name {HOST}; location / {{\n    proxy_pass http://app;\n    \
         proxy_http_version 1.1;\n    proxy_set_header Connection '';\n    proxy_set_header Host $host;\n    \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    \
         proxy_set_header X-Forwarded-Proto $scheme;\n    proxy_set_header X-Request-ID $request_id;\n  }} }}",
        dir.display()
    );
    start_nginx(programs, dir, "nginx", processors, &http, at)
}

fn haproxy(programs: &Programs, dir: &Path, server: SocketAddr, processors: &str) -> Running {
    let at = free();
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "global\n  maxconn 4096\n  log {} len 2048 daemon info\n\
         defaults\n  mode http\n  log global\n  option httplog\n  option forwardfor\n  http-reuse always\n  \
         timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend in\n  bind {at}\n  unique-id-format %[uuid()]\n  unique-id-header X-Request-ID\n  \
         http-request set-header X-Forwarded-Proto http\n  default_backend app\n\
         backend app\n  server one {server} pool-max-conn 256\n",
        log.local_addr().unwrap()
    );
    thread::spawn(move || while log.recv(&mut [0; 4096]).is_ok() {});
    let path = dir.join("haproxy.cfg");
    fs::write(&path, config).unwrap();
    let mut command = programs.command("haproxy", processors);
    command.args(["-db", "-f"]).arg(path).stderr(Stdio::null());
    Running::start(command, at)
}

fn router(programs: &Programs, dir: &Path, api: SocketAddr, processors: &str) -> Running {
    let at = free();
    let config = format!(
        "[router]\napi_url = 'http://{api}'\ntoken_file = '{0}/token'\nstate_file = '{0}/table.json'\nlisten = '{at}'\n",
        dir.display()
    );
    fs::write(dir.join("token"), "token-of-the-benchmark\n").unwrap();
    fs::write(dir.join("router.toml"), config).unwrap();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", processors]).arg(&programs.router);
    command
        .arg("--config")
        .arg(dir.join("router.toml"))
        .stderr(File::create(dir.join("router.log")).unwrap());
    let running = Running::start(command, at);
    let until = Instant::now() + PATIENCE;
    while !answers(at) {
        assert!(Instant::now() < until, "the router has no table");
        thread::sleep(Duration::from_millis(10));
    }
    running
}

fn answers(at: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

/// The API, as far as the router needs it: one app, and lines are taken.
fn api(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let app = json!({
        "app": { "id": "1", "name": "shop" }, "revision": 1, "hosts": [HOST], "maintenance": false,
        "force_https": false, "web": "running", "certificates": [],
        "dynos": [{ "id": "1", "name": "web.1", "address": server }],
    });
    let table = json!({ "revision": 1, "more": false, "apps": [app], "gone": [] }).to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let table = table.clone();
            thread::spawn(move || converse(stream, &table));
        }
    });
    at
}

fn converse(mut stream: TcpStream, table: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut line, mut first, mut length) = (String::new(), String::new(), 0);
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if first.is_empty() {
                first.clone_from(&line);
            } else if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().ok()?;
                }
            } else {
                break;
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        let (status, body) = if first.contains("after=0") {
            ("200 OK", table)
        } else if first.starts_with("GET") {
            // Nothing changes.
            thread::sleep(Duration::from_secs(20));
            ("200 OK", r#"{"revision":1,"more":false,"apps":[],"gone":[]}"#)
        } else {
            ("204 No Content", "")
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
}

/// Requests per second, and the 99th percentile of their times in milliseconds.
fn load(programs: &Programs, at: SocketAddr, processors: &str) -> (f64, f64) {
    let mut command = programs.command("wrk", processors);
    command
        .args(["-t", "1", "-c", CONNECTIONS, "-d", SECONDS, "--latency", "-H"])
        .arg(format!("Host: {HOST}"));
    let out = command.arg(format!("http://{at}/")).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let after = |word: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(word));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    (after("Requests/sec:").parse().unwrap(), milliseconds(&after("99%")))
}

/// `1.5ms`, `800.00us` or `2.1s`.
fn milliseconds(text: &str) -> f64 {
    let number = text.trim_end_matches(char::is_alphabetic);
    let factor = match &text[number.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    number.parse::<f64>().unwrap() * factor
}
