//! Terminals of dynos.

use ruko_core::dyno::TerminalSize;

use super::*;

fn on_terminal(command: &str) -> DynoStart {
    let terminal = Some(TerminalSize { columns: 101, lines: 33 });
    DynoStart { terminal, stdin: true, ..line(command) }
}

#[test]
fn a_command_has_a_terminal_of_its_own_with_the_size_that_was_asked_for() {
    let platform = Platform::new();
    let command = "tty; stty size; test -w $(tty) && stat -c %U $(tty); ps -o tty= -p $$; exit 9";
    let (ended, output) = platform.runs("tty", on_terminal(command)).end();
    assert_eq!((ended, output.as_str()), (done(9), "/dev/pts/0\r\n33 101\r\ndyno\r\npts/0\r\n"));
}

#[test]
fn control_c_interrupts_and_control_d_ends() {
    let platform = Platform::new();
    let mut dyno =
        platform.runs("keys", on_terminal("trap : INT; echo up; sleep 1000; echo then $?; cat; exit 6"));
    dyno.output.wait_for("up");
    // `sleep` may not have begun yet; then it is the shell's trap that is interrupted.
    let interrupted = || dyno.output.text().contains("then 130");
    let until = Instant::now() + PATIENCE;
    let mut keys = dyno.input.take().unwrap();
    while !interrupted() {
        assert!(Instant::now() < until, "{}", dyno.output.text());
        keys.write_all(b"\x03").unwrap();
        std::thread::park_timeout(Duration::from_millis(200));
    }
    keys.write_all(b"typed\n\x04").unwrap();
    let (ended, output) = dyno.end();
    assert_eq!(ended, done(6), "{output}");
    assert!(output.contains("typed\r\ntyped\r\n"), "echoed, and written by cat: {output}");
}

#[test]
fn a_shell_has_job_control() {
    let platform = Platform::new();
    let mut dyno = platform.runs("shell", on_terminal("exec bash --norc --noprofile"));
    dyno.write(b"sleep 100 &\nkill %1; echo $((6*7)); exit 11\n");
    let (ended, output) = dyno.end();
    assert_eq!(ended, done(11), "{output}");
    assert!(output.contains("\r\n42\r\n") && !output.contains("job control"), "{output}");
}

#[test]
fn everything_that_was_written_to_a_terminal_arrives() {
    let platform = Platform::new();
    let (ended, output) = platform.runs("much", on_terminal("seq 1 50000")).end();
    assert_eq!((ended, output.lines().count()), (done(0), 50_000));
    assert!(output.ends_with("\r\n50000\r\n"));
}

#[test]
fn a_caller_that_goes_hangs_the_terminal_up() {
    let platform = Platform::new();
    let mut dyno = platform.runs("hangup", on_terminal("echo up; exec cat"));
    dyno.output.wait_for("up");
    dyno.input = None;
    assert_eq!(dyno.end().0, done(129));
    // One that is deaf to it finds nothing more to read.
    let mut deaf = platform.runs("deaf", on_terminal("trap '' HUP; echo up; cat; exit 8"));
    deaf.output.wait_for("up");
    deaf.input = None;
    assert_eq!(deaf.end().0, done(8));
}

#[test]
fn signals_reach_what_runs_on_a_terminal() {
    let platform = Platform::new();
    let dyno = platform
        .runs("stopped", on_terminal("trap 'echo bye; exit 2' TERM; echo up; while :; do sleep 0.1; done"));
    dyno.output.wait_for("up");
    dyno.stop(20);
    let (ended, output) = dyno.end();
    assert_eq!(ended, done(2));
    assert!(output.ends_with("bye\r\n"), "{output}");
}

#[test]
fn a_terminal_to_look_at_only() {
    let platform = Platform::new();
    let what = DynoStart { stdin: false, ..on_terminal("wc -c; test -t 1 && echo terminal") };
    let mut dyno = platform.runs("watch", what);
    dyno.input = None;
    let (ended, output) = dyno.end();
    assert_eq!((ended, output.as_str()), (done(0), "0\r\nterminal\r\n"));
}
