//! How a dyno ends.

use std::time::Instant;

use ruko_core::container::{Limit, LimitMet};

use super::*;
use crate::world::{ORPHAN_TIME, eventually, kill, stderr};

#[test]
fn output_and_status_of_a_command_are_passed_on_and_nothing_is_left_behind() {
    let platform = Platform::new();
    let mut dyno = platform.runs("first", line("cat hello.txt; echo to stderr >&2; exit 7"));
    assert_eq!(dyno.run.event(), done(7));
    assert_eq!(dyno.output.all(), "hello\nto stderr\n");
    assert_eq!(dyno.run.end(), 0);
    eventually(PATIENCE, "nothing is left", || dyno.remains().is_empty());
    assert_eq!(platform.site.listed("first"), serde_json::Value::Null);
}

#[test]
fn what_a_shell_says_of_a_command_is_its_status() {
    let platform = Platform::new();
    for (command, status) in [
        ("true", 0),
        ("no-such-command", 127),
        ("./hello.txt", 126),
        ("kill -SEGV $$", 139),
        ("kill -KILL $$", 137),
        ("kill -64 $$", 192),
    ] {
        let (ended, output) = platform.runs("status", line(command)).end();
        assert_eq!(ended, done(status), "{command}: {output}");
    }
}

#[test]
fn sigterm_comes_to_every_process_and_there_is_time_to_end_well() {
    let platform = Platform::new();
    let child = "bash -c 'trap \"echo child; exit\" TERM; echo up; while :; do sleep 0.1; done' &";
    let command = format!("trap 'wait; echo parent; exit 3' TERM; {child} while :; do sleep 0.1; done");
    let dyno = platform.runs("graceful", line(&command));
    dyno.output.wait_for("up");
    let begun = Instant::now();
    dyno.stop(20);
    let (ended, output) = dyno.end();
    assert_eq!(ended, done(3), "{output}");
    // bash says `Terminated` of what it waited for, at either moment.
    let said: Vec<_> = output.lines().filter(|line| ["child", "parent"].contains(line)).collect();
    assert_eq!(said, ["child", "parent"], "{output}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn sigterm_ends_a_simple_command_with_143() {
    let platform = Platform::new();
    let dyno = platform.runs("simple", line("echo up; exec sleep 1000"));
    dyno.output.wait_for("up");
    dyno.stop(20);
    assert_eq!(dyno.end().0, done(143));
}

#[test]
fn who_does_not_end_in_time_is_killed() {
    let platform = Platform::new();
    let mut dyno = platform.runs("deaf", line("trap '' TERM; echo up; while :; do sleep 0.1; done"));
    dyno.output.wait_for("up");
    let begun = Instant::now();
    dyno.stop(600);
    // The earlier of the two counts.
    dyno.stop(1);
    let ended = RunEvent::Ended { status: Some(137), killed: true, out_of_memory: false };
    assert_eq!(dyno.run.event(), ended);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(dyno.run.end(), 0);
    eventually(PATIENCE, "nothing is left", || dyno.remains().is_empty());
}

#[test]
fn a_dyno_that_was_not_told_what_to_run_can_be_stopped() {
    let platform = Platform::new();
    let dyno = platform.start("idle", LIMITS);
    dyno.stop(20);
    assert_eq!(dyno.end().0, done(143));
}

#[test]
fn running_out_of_memory_ends_the_command_and_is_named() {
    let platform = Platform::new();
    let dyno = platform.runs("hog", line("exec python3 -c 'x = b\"x\" * 1000000000'"));
    let ended = RunEvent::Ended { status: Some(137), killed: false, out_of_memory: true };
    assert_eq!(dyno.end().0, ended);
}

#[test]
fn a_command_that_survives_the_loss_of_a_worker_runs_on() {
    let platform = Platform::new();
    let command = "python3 -c 'x = b\"x\" * 1000000000'; echo $?; read -r; exit 4";
    let mut dyno = platform.runs("survivor", DynoStart { stdin: true, ..line(command) });
    dyno.output.wait_for("137\n");
    let (memory, oom_kills) = dyno.usage();
    assert!(memory < LIMITS.memory_bytes && oom_kills == 1, "{memory} {oom_kills}");
    let met = LimitMet { limit: Limit::Memory, value: LIMITS.memory_bytes };
    assert_eq!(dyno.run.limits(), [met]);
    dyno.write(b"\n");
    let ended = RunEvent::Ended { status: Some(4), killed: false, out_of_memory: true };
    assert_eq!(dyno.end().0, ended);
}

#[test]
fn the_end_of_its_first_process_from_outside_is_an_end_without_status() {
    let platform = Platform::new();
    let mut dyno = platform.runs("cut", line("echo up; exec sleep 1000"));
    dyno.output.wait_for("up");
    kill("KILL", &dyno.init());
    assert_eq!(dyno.run.event(), ENDED);
    assert_eq!(dyno.run.end(), 0);
    eventually(PATIENCE, "nothing is left", || dyno.remains().is_empty());
}

#[test]
fn kill_9_of_lxc_start_ends_the_dyno_and_is_told() {
    let platform = Platform::new();
    let mut dyno = platform.runs("cut", line("echo up; exec sleep 1000"));
    dyno.output.wait_for("up");
    kill("KILL", &dyno.lxc_start());
    assert_eq!(dyno.run.event(), ENDED);
    dyno.output.all();
    assert_eq!(dyno.run.end(), 0);
    eventually(PATIENCE, "nothing is left", || dyno.remains().is_empty());
}

#[test]
fn kill_9_of_the_keeper_ends_the_dyno_at_once_with_its_mounts_and_devices() {
    let platform = Platform::new();
    let mut dyno = platform.runs("orphan", line("trap '' TERM HUP; echo up; while :; do sleep 0.1; done"));
    dyno.output.wait_for("up");
    dyno.run.child.kill().unwrap();
    dyno.run.child.wait().unwrap();
    // Nobody can write to it any more: nothing of the dyno runs.
    dyno.output.all();
    eventually(ORPHAN_TIME, "the devices are gone", || {
        crate::world::loop_devices(&platform.site.dir).is_empty()
    });
    assert_eq!(platform.site.listed("orphan")["state"], "abandoned");
    let reap = platform.site.tool(&["reap"]);
    assert!(reap.status.success(), "{}", stderr(&reap));
    assert_eq!(dyno.remains(), [""; 0]);
}

#[test]
fn a_caller_that_goes_away_takes_the_dyno_with_it_at_once() {
    let platform = Platform::new();
    let mut dyno = platform.runs("left", line("trap '' TERM HUP; echo up; while :; do sleep 0.1; done"));
    dyno.output.wait_for("up");
    let begun = Instant::now();
    assert_eq!(dyno.run.end(), 0);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    eventually(PATIENCE, "nothing is left", || dyno.remains().is_empty());
}

#[test]
fn a_time_limit_ends_a_dyno_and_is_named() {
    let platform = Platform::new();
    let mut dyno = platform.start("late", RunLimits { seconds: Some(2), ..LIMITS });
    dyno.tell(&line("exec sleep 1000"));
    let met = LimitMet { limit: Limit::Time, value: 2 };
    assert_eq!(dyno.run.event(), RunEvent::Stopped { by: met });
    assert_eq!(dyno.run.end(), 1);
}

#[test]
fn what_a_command_leaves_behind_is_ended_and_its_status_stays() {
    let platform = Platform::new();
    let stubborn = "(trap '' TERM; echo stubborn; : >/tmp/up; while :; do sleep 0.1; done) & disown";
    let command = format!(
        "setsid sleep 1000 & {stubborn}; until test -e /tmp/up; do sleep 0.1; done; echo main; exit 4"
    );
    let begun = Instant::now();
    let (ended, output) = platform.runs("leaves", line(&command)).end();
    assert_eq!((ended, output.as_str()), (done(4), "stubborn\nmain\n"));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn orphans_are_reaped() {
    let platform = Platform::new();
    // Whatever they end of: 64 is a real-time signal.
    let orphan = "(bash -c 'kill -64 $$' & true &)";
    let wait = "while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do sleep 0.05; done";
    assert_eq!(platform.says(&format!("for i in 1 2 3 4 5; do {orphan}; done; {wait}; echo none")), "none\n");
}

#[test]
fn everything_that_was_written_arrives() {
    let platform = Platform::new();
    let output = platform.says("seq 1 200000");
    assert_eq!(output.lines().count(), 200_000);
    assert!(output.ends_with("\n200000\n"));
}

#[test]
fn admins_see_enter_stop_and_destroy_dynos() {
    let platform = Platform::new();
    let mut dyno = platform.runs("seen", line("echo up; exec sleep 1000"));
    dyno.output.wait_for("up");
    let listed = platform.site.listed("seen");
    assert_eq!((&listed["purpose"], &listed["state"]), (&"dyno".into(), &"running".into()));
    assert_eq!(listed["image"], platform.slug.as_str());
    assert_eq!(listed["address"], dyno.address.to_string());
    let entered = platform.site.tool(&["exec", "seen", "--", "sh", "-c", "id -un; pwd; cat /app/hello.txt"]);
    assert_eq!(crate::world::stdout(&entered), "dyno\n/\nhello\n", "{}", stderr(&entered));
    assert!(platform.site.tool(&["stop", "seen"]).status.success());
    assert_eq!(dyno.run.event(), ENDED);
    assert_eq!(dyno.run.end(), 0);

    let dyno = platform.runs("gone", line("exec sleep 1000"));
    let destroy = platform.site.tool(&["destroy", "gone"]);
    assert!(destroy.status.success(), "{}", stderr(&destroy));
    eventually(PATIENCE, "nothing is left", || dyno.remains().is_empty());
}

#[test]
fn kill_9_of_the_keeper_at_any_moment_leaves_nothing_that_lasts() {
    let platform = Platform::new();
    for milliseconds in (0..90).step_by(6) {
        let (stdin, _input) = io::pipe().unwrap();
        let (_output, stdout) = io::pipe().unwrap();
        let mut run =
            run(&platform.site, &platform.spec("anytime", LIMITS), &[stdin.as_fd(), stdout.as_fd()]);
        // Nothing but an event ends the wait early, and then the dyno is up.
        let _ = run.events.recv_timeout(Duration::from_millis(milliseconds));
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        eventually(ORPHAN_TIME, "reaped", || {
            platform.site.tool(&["reap"]).status.success()
                && platform.site.listed("anytime") == serde_json::Value::Null
                && crate::world::loop_devices(&platform.site.dir).is_empty()
        });
    }
    assert_eq!(platform.says("cat hello.txt"), "hello\n");
}
