//! What a command finds: its environment, its files, its user.

use std::collections::BTreeMap;

use super::*;

#[test]
fn scripts_are_sourced_in_the_order_of_their_names_then_the_apps_own() {
    let platform = Platform::with(
        "slots = 240\n",
        &[
            (
                ".profile.d/20-second.sh",
                "export ORDER=\"$ORDER second\"\nset -- clobbered\nreturn 3\nexport ORDER=no\n",
            ),
            (".profile.d/10-first.sh", "export ORDER=\"${ORDER:-config} first\"\nfalse\n: $NEVER_SET\n"),
            (".profile.d/30.sh", "declare -x DECLARED=yes\ncd /tmp\n"),
            (".profile.d/40.bash", "export ORDER=\"$ORDER bash\"\n"),
            (".profile", "export ORDER=\"$ORDER profile $0 $#\"\n"),
        ],
    );
    assert_eq!(
        platform.says("echo $ORDER; echo $DECLARED $PORT; pwd; set -o | grep -E 'errexit|nounset'"),
        "config first second profile bash 1\nyes 5000\n/tmp\nerrexit        \toff\nnounset        \toff\n"
    );
}

#[test]
fn the_environment_is_what_was_given_and_nothing_else() {
    let platform = Platform::new();
    let mut what = line("python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'");
    what.env.insert("EMPTY".into(), String::new());
    what.env.insert("ODD".into(), "a\nb=\"c\" \\ 'ü' ${x} `y`".into());
    let (ended, output) = platform.runs("env", what.clone()).end();
    assert_eq!(ended, done(0), "{output}");
    let mut seen: BTreeMap<String, String> = serde_json::from_str(&output).unwrap();
    // bash's own.
    for name in ["PWD", "OLDPWD", "SHLVL", "_"] {
        seen.remove(name);
    }
    // The interpreter's own, where the locale is the C one.
    seen.remove("LC_CTYPE");
    assert_eq!(seen, what.env);
}

#[test]
fn a_large_environment_is_taken_and_one_that_the_kernel_does_not_take_is_named() {
    let platform = Platform::new();
    let mut what = line("echo ${#V7}");
    what.env.extend((0..10).map(|i| (format!("V{i}"), "\u{1}".repeat(100_000))));
    let (ended, output) = platform.runs("large", what.clone()).end();
    assert_eq!((ended, output.as_str()), (done(0), "100000\n"));
    what.env.insert("HUGE".into(), "x".repeat(200_000));
    let (ended, output) = platform.runs("huge", what).end();
    assert_eq!(ended, done(126));
    assert_eq!(output, "ruko-dyno: cannot run bash: Argument list too long (os error 7)\n");
}

#[test]
fn a_command_takes_the_place_of_the_shell_so_that_signals_reach_it() {
    let platform = Platform::new();
    for command in ["grep PPid /proc/self/status", "true && grep PPid /proc/self/status"] {
        assert_eq!(platform.says(command), "PPid:\t1\n", "{command}");
    }
}

#[test]
fn the_command_is_an_ordinary_user_at_home_with_ordinary_signals() {
    let platform = Platform::new();
    assert_eq!(
        platform.says("id -un; id -u; id -G; pwd; umask; ulimit -c; stat -c %U:%G . hello.txt; echo ~"),
        "dyno\n1000\n1000\n/app\n0022\n0\ndyno:dyno\ndyno:dyno\n/app\n"
    );
    let signals = "python3 -c 'print(open(\"/proc/self/status\").read())' | grep -E 'Sig(Blk|Ign)'";
    let masks = platform.says(signals);
    let masks: Vec<_> = masks.lines().map(|line| u64::from_str_radix(&line[8..], 16).unwrap()).collect();
    // Python ignores SIGPIPE and SIGXFSZ; numbers 32 and 33 are the C library's own.
    let own = 3 << 31;
    assert_eq!(masks.iter().map(|mask| mask & !own).collect::<Vec<_>>(), [0, 1 << 12 | 1 << 24]);
}

#[test]
fn stdin_comes_whole_and_ends() {
    let platform = Platform::new();
    let mut dyno = platform.start("pipe", LIMITS);
    let mut all =
        serde_json::to_vec(&DynoStart { stdin: true, ..line("wc -lc; sha256sum hello.txt") }).unwrap();
    all.extend_from_slice(b"\nwith the line\n");
    dyno.write(&all);
    dyno.write(&b"0123456\n".repeat(100_000));
    dyno.input = None;
    let (ended, output) = dyno.end();
    assert_eq!(ended, done(0));
    assert!(output.trim_start().starts_with("100001  800014\n"), "{output}");
}

#[test]
fn streams_can_be_opened_by_their_names() {
    let platform = Platform::new();
    let command = "echo out >/dev/stdout; echo err >/dev/stderr; echo both | tee /dev/stderr; cat /dev/stdin";
    let mut dyno = platform.runs("names", DynoStart { stdin: true, ..line(command) });
    dyno.write(b"in\n");
    dyno.input = None;
    let (ended, output) = dyno.end();
    assert_eq!((ended, output.as_str()), (done(0), "out\nerr\nboth\nboth\nin\n"));
    let terminal = Some(ruko_core::dyno::TerminalSize { columns: 80, lines: 24 });
    let (ended, output) = platform
        .runs("terminal", DynoStart { terminal, ..line("echo a >/dev/stdout; echo b >/dev/tty") })
        .end();
    assert_eq!((ended, output.as_str()), (done(0), "a\r\nb\r\n"));
}

#[test]
fn nobody_waits_for_a_command_that_does_not_read() {
    let platform = Platform::new();
    let command = "exec <&-; echo closed; until test -e /tmp/go; do sleep 0.1; done; exit 5";
    let mut dyno = platform.runs("deaf", DynoStart { stdin: true, ..line(command) });
    dyno.output.wait_for("closed");
    dyno.write(&[b'x'; 300_000]);
    assert!(platform.site.tool(&["exec", "deaf", "--", "touch", "/tmp/go"]).status.success());
    assert_eq!(dyno.end().0, done(5));
}

#[test]
fn without_stdin_there_is_none_and_no_terminal() {
    let platform = Platform::new();
    assert_eq!(platform.says("wc -c; readlink /proc/self/fd/0; tty; true"), "0\n/dev/null\nnot a tty\n");
    let open = platform.says("ls /proc/self/fd");
    assert_eq!(open, "0\n1\n2\n3\n", "nothing else is open but what `ls` opens itself");
}

#[test]
fn a_line_that_is_none_is_refused_without_being_shown() {
    let platform = Platform::new();
    let mut dyno = platform.start("wrong", LIMITS);
    dyno.write(b"{\"command\":\"x\",\"env\":{\"KEY\":12345}}\n");
    let (ended, output) = dyno.end();
    assert_eq!((ended, output.as_str()), (done(126), "ruko-dyno: what to run is not valid\n"));
    let mut dyno = platform.start("silent", LIMITS);
    dyno.input = None;
    let (ended, output) = dyno.end();
    assert_eq!((ended, output.as_str()), (done(126), "ruko-dyno: nothing came that is to be run\n"));
}
