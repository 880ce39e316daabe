//! Bounds: each holds, and is named.

use ruko_core::container::{Limit, LimitMet, RunEvent, RunLimits, RunRequest};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::world::{LIMITS, PATIENCE, Site, eventually, only_child, stderr, stdout};

#[test]
fn a_container_whose_first_process_ran_out_of_memory_was_stopped_by_that_limit() {
    let site = Site::new();
    let mut container = site.start("hog", LIMITS);
    let mut hog = container.ssh();
    hog.arg("python3 -c 'print(flush=True); input(); x = b\"x\" * 1000000000'");
    let mut hog = hog.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(hog.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // It is now the one that the kernel chooses.
    let init = only_child(&container.lxc_start());
    fs::write(format!("/proc/{init}/oom_score_adj"), "1000").unwrap();
    container.slow_down_its_end();
    writeln!(hog.stdin.take().unwrap()).unwrap();
    let met = LimitMet { limit: Limit::Memory, value: LIMITS.memory_bytes };
    assert_eq!(container.early_event(), RunEvent::Stopped { by: met });
    hog.wait().unwrap();
    assert_eq!(container.run.child.wait().unwrap().code(), Some(1));
}

#[test]
fn running_out_of_memory_is_counted_and_named() {
    let site = Site::new();
    let mut container = site.start("hog", LIMITS);
    assert_eq!(container.run.limits(), []);
    container.fails("python3 -c 'x = b\"x\" * 1000000000'");
    let met = LimitMet { limit: Limit::Memory, value: LIMITS.memory_bytes };
    assert_eq!(container.run.limits(), [met]);
    container.says("true");
}

#[test]
fn a_build_sees_its_own_limits_and_cannot_change_them() {
    let site = Site::new();
    let container = site.start("sees", LIMITS);
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    let limit = stdout(&container.shell(&format!("cat {files} 2>/dev/null")));
    assert_eq!(limit.trim(), LIMITS.memory_bytes.to_string());
    let tries = "cd /sys/fs/cgroup; for d in . pids memory; do mkdir $d/x && echo made; done; \
        for f in pids.max pids/pids.max; do echo max >$f && echo written; done";
    assert_eq!(stdout(&container.shell(&format!("({tries}) 2>/dev/null; true"))), "");
}

#[test]
fn a_caller_that_does_not_read_cannot_keep_a_container_beyond_its_time() {
    let site = Site::new();
    let spec = serde_json::to_string(&site.spec("deaf", RunLimits { seconds: Some(3), ..LIMITS })).unwrap();
    let mut child = site
        .command(&["run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{spec}").unwrap();
    let asking = std::thread::spawn(move || {
        let request = serde_json::to_string(&RunRequest::Limits).unwrap();
        while writeln!(stdin, "{request}").is_ok() {}
    });
    assert_eq!(child.wait().unwrap().code(), Some(1), "stopped by its time limit");
    asking.join().unwrap();
}

#[test]
fn a_fork_bomb_is_stopped_and_named() {
    let site = Site::new();
    let mut container = site.start("bomb", LIMITS);
    let marker = container.marker();
    // A shell would give up at the first refusal.
    let bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass";
    let mut bomb = container.ssh().arg(format!("python3 -c '{bomb}'")).spawn().unwrap();
    let met = LimitMet { limit: Limit::Pids, value: LIMITS.pids };
    assert_eq!(container.run.event(), RunEvent::Stopped { by: met });
    assert_eq!(container.run.child.wait().unwrap().code(), Some(1));
    bomb.wait().unwrap();
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn the_time_limit_stops_the_container_and_is_named() {
    let site = Site::new();
    let mut container = site.start("late", RunLimits { seconds: Some(2), ..LIMITS });
    let marker = container.marker();
    let met = LimitMet { limit: Limit::Time, value: 2 };
    assert_eq!(container.run.event(), RunEvent::Stopped { by: met });
    eventually(PATIENCE, "nothing is left", || container.remains(&marker).is_empty());
}

#[test]
fn everything_a_container_can_write_is_bounded_and_a_full_disk_is_named() {
    let site = Site::new();
    let mut container = site.start("full", LIMITS);
    let output = container.shell("for d in /tmp /var/tmp /app/tmp/cache; do cat /dev/zero >$d/big; done");
    assert!(stderr(&output).contains("No space left on device"), "{}", stderr(&output));
    let met = LimitMet { limit: Limit::Disk, value: LIMITS.disk_bytes };
    assert_eq!(container.run.limits(), [met]);
    let writable = container.says(
        "find / -xdev -type d -writable 2>/dev/null | xargs df --output=source | sort -u | grep -v Filesystem",
    );
    assert_eq!(writable.lines().count(), 1, "one file system is written to: {writable}");
    let elsewhere = container.says(
        "awk '$6 ~ /^rw/ { print $5 }' /proc/self/mountinfo | while read -r p; do test ! -w $p || echo $p; done",
    );
    let shared_memory = elsewhere.lines().filter(|point| *point != "/dev/shm");
    for point in shared_memory {
        assert_eq!(container.says(&format!("stat -c %F {point}")), "character special file\n", "{point}");
    }
}
