//! Bounds of dynos. They hold; a dyno that meets one runs on.

use ruko_core::container::{Limit, LimitMet};

use super::*;

#[test]
fn a_dyno_sees_its_own_bounds() {
    let platform = Platform::new();
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    let seen = platform.says(&format!("ulimit -u; ulimit -Hu; cat {files} 2>/dev/null; true"));
    assert_eq!(seen, format!("{0}\n{0}\n{1}\n", LIMITS.pids, LIMITS.memory_bytes));
}

#[test]
fn when_memory_runs_out_the_command_goes_before_process_1() {
    let platform = Platform::new();
    assert_eq!(platform.says("cat /proc/self/oom_score_adj /proc/1/oom_score_adj"), "300\n0\n");
}

#[test]
fn its_share_of_the_processors_is_what_was_asked_for() {
    let platform = Platform::new();
    let share = |shares: u32| {
        let (stdin, mut input) = io::pipe().unwrap();
        let (output, stdout) = io::pipe().unwrap();
        let purpose = Purpose::Dyno { image: platform.slug.clone(), shares };
        let spec = RunSpec { purpose, ..platform.spec(&format!("share-{shares}"), LIMITS) };
        let mut run = run(&platform.site, &spec, &[stdin.as_fd(), stdout.as_fd()]);
        drop((stdin, stdout));
        let files = "/sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight";
        let what = line(&format!("cat {files} 2>/dev/null; true"));
        writeln!(input, "{}", serde_json::to_string(&what).unwrap()).unwrap();
        assert!(matches!(run.event(), RunEvent::Started { .. }));
        assert_eq!(run.event(), done(0));
        Written::follow(output.into()).all().trim().parse::<u32>().unwrap()
    };
    let (one, eight) = (share(1), share(8));
    assert!(one > 0 && (7..=8).contains(&(eight / one)), "{one} {eight}");
}

#[test]
fn a_fork_bomb_is_bounded_and_the_dyno_runs_on() {
    let platform = Platform::new();
    let bomb = "import os, signal\nprint('up', flush=True)\nfor _ in range(1000):\n try:\n  if os.fork() == 0: signal.pause()\n \
        except OSError: pass\nprint('done', flush=True)\nsignal.pause()";
    let mut dyno = platform.runs("bomb", line(&format!("exec python3 -c \"{bomb}\"")));
    dyno.output.wait_for("done");
    let met = LimitMet { limit: Limit::Pids, value: LIMITS.pids };
    let limits = dyno.run.limits();
    // Which of the two bounds of the same value is met first is the kernel's affair; one of them is not counted.
    assert!(limits.is_empty() || limits == [met], "{limits:?}");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let group = format!("openruko.payload.{:03}", dyno.slot);
    let inside = pids.filter(|entry| {
        fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|text| text.contains(&group))
    });
    let count = inside.count() as u64;
    assert!(count > LIMITS.pids / 2 && count <= LIMITS.pids, "{count}");
    dyno.stop(20);
    assert_eq!(dyno.end().0, done(143));
}

#[test]
fn everything_a_dyno_can_write_is_bounded_and_a_full_disk_does_not_end_it() {
    let platform = Platform::new();
    let fill = "for d in /app /tmp /var/tmp; do cat /dev/zero >$d/big; done 2>&1 | grep -c 'No space left'";
    let mut dyno = platform.runs("full", DynoStart { stdin: true, ..line(&format!("{fill}; du -cm /app/big /tmp/big /var/tmp/big | tail -1; read -r; rm /app/big; echo again >/app/more; cat /app/more")) });
    dyno.output.wait_for("total");
    let met = LimitMet { limit: Limit::Disk, value: LIMITS.disk_bytes };
    assert_eq!(dyno.run.limits(), [met]);
    dyno.write(b"\n");
    let (ended, output) = dyno.end();
    assert_eq!(ended, done(0), "{output}");
    let lines: Vec<_> = output.lines().collect();
    let [count, total, again] = lines[..] else { panic!("{output}") };
    let total: u64 = total.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!((count, again), ("3", "again"));
    assert!(total <= LIMITS.disk_bytes >> 20 && total > (LIMITS.disk_bytes >> 20) / 2, "{total} MiB");
}

#[test]
fn what_is_used_is_told() {
    let platform = Platform::new();
    let hold = "exec python3 -c 'x = b\"x\" * 50000000; print(\"up\", flush=True); input()'";
    let mut dyno = platform.runs("uses", DynoStart { stdin: true, ..line(hold) });
    dyno.output.wait_for("up");
    let (memory, oom_kills) = dyno.usage();
    assert!((50_000_000..100_000_000).contains(&memory), "{memory}");
    assert_eq!(oom_kills, 0);
    // Files that were read are not counted, since the kernel would forget them.
    dyno.write(b"\n");
    dyno.end();
}

#[test]
fn bounds_outside_the_configured_ones_are_refused() {
    let platform = Platform::with(
        "slots = 240\ndyno_max = { memory_bytes = 1073741824, pids = 512, disk_bytes = 1073741824 }\n",
        &[("a", "b")],
    );
    let refused = |limits: RunLimits, shares: u32| {
        let (stdin, _input) = io::pipe().unwrap();
        let (_output, stdout) = io::pipe().unwrap();
        let purpose = Purpose::Dyno { image: platform.slug.clone(), shares };
        let spec = RunSpec { purpose, ..platform.spec("refused", limits) };
        let (message, try_again) = run(&platform.site, &spec, &[stdin.as_fd(), stdout.as_fd()]).refusal();
        assert!(!try_again, "{message}");
        message
    };
    let message = refused(RunLimits { memory_bytes: 2 << 30, ..LIMITS }, 1);
    assert!(
        message.contains("memory: 2.0 GB is more than the 1.0 GB that [container.dyno_max]"),
        "{message}"
    );
    assert!(refused(RunLimits { pids: 513, ..LIMITS }, 1).contains("513"));
    assert!(refused(RunLimits { disk_bytes: 1 << 40, ..LIMITS }, 1).contains("disk"));
    assert!(refused(RunLimits { memory_bytes: 1 << 20, ..LIMITS }, 1).contains("less than"));
    assert!(refused(RunLimits { seconds: Some(0), ..LIMITS }, 1).contains("seconds"));
    assert!(refused(LIMITS, 0).contains("shares: 0"));
}
