//! Beginning and end of containers that somebody logs in to, whatever they end of.

use ruko_core::container::{Limit, LimitMet, RunEvent, RunLimits};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::world::{
    Busy, ENDED, LIMITS, ORPHAN_TIME, PATIENCE, Site, eventually, is_running, kill, loop_devices, only_child,
    stderr, stdout,
};

#[test]
fn a_container_answers_with_the_pinned_key_and_leaves_nothing_behind() {
    let site = Site::new();
    let begun = Instant::now();
    let mut container = site.start("first", LIMITS);
    let ready = begun.elapsed();
    assert_eq!(
        container.says("id -u; id -g; pwd").split_whitespace().collect::<Vec<_>>(),
        ["1000", "1000", "/app"]
    );
    let marker = container.marker();
    let listed = site.listed("first");
    assert_eq!(listed["state"], "running");
    assert_eq!(listed["address"], container.address.to_string());

    let begun = Instant::now();
    assert_eq!(container.run.end(), 0);
    let gone = begun.elapsed();
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
    assert_eq!(site.listed("first"), serde_json::Value::Null);
    // Far above what was measured (under 100 ms each), for a machine that does other things too.
    assert!(ready < Duration::from_secs(10), "ready after {ready:?}");
    assert!(gone < Duration::from_secs(2), "gone after {gone:?}");
}

#[test]
fn a_wrong_key_is_refused() {
    let site = Site::new();
    let container = site.start("locked", LIMITS);
    let other = site.dir.join("other");
    Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status().unwrap();
    fs::rename(&other, site.key()).unwrap();
    container.fails("true");
}

#[test]
fn kill_9_of_the_owner_ends_the_container_and_the_next_run_tidies_up() {
    let site = Site::new();
    let mut container = site.start("orphan", LIMITS);
    let marker = container.marker();
    container.run.child.kill().unwrap();
    container.run.child.wait().unwrap();
    eventually(ORPHAN_TIME, "the container ends with its owner", || {
        !is_running(&marker) && loop_devices(&site.dir).is_empty()
    });
    assert_eq!(site.listed("orphan")["state"], "abandoned");

    let mut next = site.start("next", LIMITS);
    next.says("true");
    assert_eq!(site.listed("orphan"), serde_json::Value::Null, "the next run reaps");
    assert_eq!(next.run.end(), 0);
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn kill_9_of_lxc_start_ends_the_container_and_is_told() {
    let site = Site::new();
    let mut container = site.start("cut", LIMITS);
    let marker = container.marker();
    kill("KILL", &container.lxc_start());
    assert_eq!(container.run.event(), ENDED);
    container.run.child.wait().unwrap();
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn the_end_of_a_container_is_told_before_it_is_destroyed() {
    let site = Site::new();
    let mut late = site.start("late", RunLimits { seconds: Some(3), ..LIMITS });
    late.slow_down_its_end();
    let met = LimitMet { limit: Limit::Time, value: 3 };
    assert_eq!(late.early_event(), RunEvent::Stopped { by: met });
    assert_eq!(late.run.child.wait().unwrap().code(), Some(1));

    let mut cut = site.start("cut", LIMITS);
    let init = only_child(&cut.lxc_start());
    cut.slow_down_its_end();
    kill("KILL", &init);
    assert_eq!(cut.early_event(), ENDED);
    assert_eq!(cut.run.child.wait().unwrap().code(), Some(1));
}

#[test]
fn what_cannot_be_destroyed_is_an_error_that_names_all_of_it() {
    let site = Site::new();
    let busy = ["one", "two"].map(|name| Busy::new(site.containers().join(name).join("busy")));
    let reap = site.tool(&["reap"]);
    assert_eq!(reap.status.code(), Some(1));
    let said = stderr(&reap);
    assert!(
        said.lines().next().is_some_and(|line| line.contains("/one`") && line.contains("/two`")),
        "{said}"
    );
    let destroy = site.tool(&["destroy", "one"]);
    assert_eq!(destroy.status.code(), Some(1));
    assert!(stderr(&destroy).contains("cannot remove") && !stderr(&destroy).contains("two"), "{destroy:?}");
    drop(busy);
    assert!(site.tool(&["destroy", "one"]).status.success());
}

#[test]
fn what_an_earlier_container_left_delays_no_other() {
    let site = Site::new();
    let hierarchy = ruko_lxc::cgroup::Layout::detect().unwrap().hierarchies.remove(0).point;
    // Beyond the slots of any configuration, so that nobody else meets them.
    let stuck = [900, 901, 902].map(|slot| {
        let dir = site.containers().join(format!("left-{slot}"));
        fs::create_dir_all(&dir).unwrap();
        let record = serde_json::json!({
            "slot": slot, "address": "10.200.0.9", "owner": 1, "started": 0, "limits": LIMITS,
        });
        fs::write(dir.join("state.json"), record.to_string()).unwrap();
        Busy::new(hierarchy.join(format!("openruko.payload.{slot}")))
    });
    let begun = Instant::now();
    let container = site.start("next", LIMITS);
    let ready = begun.elapsed();
    container.says("true");
    // With patience it would be five seconds for each.
    assert!(ready < Duration::from_secs(10), "ready after {ready:?}");
    assert_eq!(site.listed("left-900")["state"], "abandoned", "it is left to `reap`");
    drop(stuck);
    assert!(site.tool(&["reap"]).status.success());
    assert_eq!(site.listed("left-900"), serde_json::Value::Null);
}

#[test]
fn a_signal_ends_the_container_as_the_end_of_stdin_does() {
    let site = Site::new();
    let mut container = site.start("told", LIMITS);
    let marker = container.marker();
    let stop = site.tool(&["stop", "told"]);
    assert!(stop.status.success(), "{}", stderr(&stop));
    assert_ne!(site.listed("told")["state"], "running");
    assert_eq!(container.run.event(), ENDED);
    assert_eq!(container.run.child.wait().unwrap().code(), Some(0));
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn destroy_and_reap_leave_nothing_of_a_running_and_of_an_abandoned_container() {
    let site = Site::new();
    let running = site.start("running", LIMITS);
    let mut abandoned = site.start("abandoned", LIMITS);
    let markers = [running.marker(), abandoned.marker()];
    abandoned.run.child.kill().unwrap();
    abandoned.run.child.wait().unwrap();
    let reap = site.tool(&["reap", "--json"]);
    assert_eq!(stdout(&reap).trim(), r#"{"destroyed":["abandoned"]}"#, "{}", stderr(&reap));
    assert_eq!(site.listed("running")["state"], "running");
    let destroy = site.tool(&["destroy", "running"]);
    assert!(destroy.status.success(), "{}", stderr(&destroy));
    eventually(PATIENCE, "nothing is left", || {
        running.remains(&markers[0]).is_empty() && abandoned.remains(&markers[1]).is_empty()
    });
}

#[test]
fn kill_9_of_the_owner_at_any_moment_leaves_nothing_that_lasts() {
    let site = Site::new();
    for milliseconds in (0..120).step_by(8) {
        let mut run = site.run(&site.spec("anytime", LIMITS));
        // Nothing but an event ends the wait early, and then the container is up.
        let _ = run.events.recv_timeout(Duration::from_millis(milliseconds));
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        eventually(ORPHAN_TIME, "reaped", || {
            site.tool(&["reap"]).status.success()
                && site.listed("anytime") == serde_json::Value::Null
                && loop_devices(&site.dir).is_empty()
                && !processes_below(&site.dir)
        });
    }
    let container = site.start("anytime", LIMITS);
    container.says("true");
}

/// Whether any process has the directory in its command line.
fn processes_below(dir: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let dir = dir.to_string_lossy().into_owned();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(&dir))
}

#[test]
fn a_second_connection_brings_a_unix_socket_of_the_host_into_the_container() {
    let site = Site::new();
    let container = site.start("forward", LIMITS);
    let path = site.dir.join("host.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from the host").unwrap();
    });
    let script = "import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/app/tmp/host.sock\"); \
        print(s.recv(99).decode(), end=\"\")";
    let forward = format!("/app/tmp/host.sock:{}", path.display());
    let mut ssh = container.ssh();
    ssh.args(["-o", "ExitOnForwardFailure=yes"]);
    // Options behind the destination are options too, as long as no command came.
    let output = ssh.args(["-R", &forward]).arg(format!("python3 -c '{script}'")).output().unwrap();
    assert_eq!(stdout(&output), "from the host", "{}", stderr(&output));
    answer.join().unwrap();
    let mut tcp = container.ssh();
    tcp.args(["-W", "127.0.0.1:22"]);
    assert!(!tcp.output().unwrap().status.success(), "nothing is forwarded out of the container");
}

#[test]
fn a_request_that_makes_no_sense_ends_the_container_with_an_event_and_a_reason() {
    let site = Site::new();
    let mut container = site.start("confused", LIMITS);
    writeln!(container.run.stdin.as_ref().unwrap(), "nonsense").unwrap();
    assert_eq!(container.run.event(), ENDED);
    assert_eq!(container.run.child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    container.run.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the request is not valid"), "{said}");
}

#[test]
fn a_signal_before_there_is_a_container_is_told_too() {
    let site = Site::new();
    let mut run = site.run(&site.spec("early", LIMITS));
    let process = run.child.id().to_string();
    eventually(PATIENCE, "it listens to signals", || catches_sigterm(&process));
    kill("TERM", &process);
    let event = run.event();
    let status = run.child.wait().unwrap();
    match event {
        RunEvent::Failed { try_again: true, .. } => assert_eq!(status.code(), Some(75)),
        // It was quicker than the signal, which then is the end of a container that is ready.
        RunEvent::Ready { .. } => assert_eq!(run.event(), ENDED),
        other => panic!("{other:?}"),
    }
}

/// From the mask of caught signals (proc(5)): SIGTERM is number 15, the lowest bit number 1.
fn catches_sigterm(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 14) != 0
}

#[test]
fn reapers_at_any_moment_disturb_neither_beginning_nor_end() {
    let site = Site::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reaper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let reap = site.tool(&["reap", "--json"]);
                assert_eq!(stdout(&reap).trim(), r#"{"destroyed":[]}"#, "{}", stderr(&reap));
            }
        });
        let codes = [0; 8].map(|_| {
            let mut run = site.run(&site.spec("reaped", LIMITS));
            matches!(run.event(), RunEvent::Ready { .. }).then(|| run.end())
        });
        done.store(true, Ordering::Relaxed);
        reaper.join().unwrap();
        assert_eq!(codes, [Some(0); 8]);
    });
}
