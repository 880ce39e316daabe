//! Running the CLI in the foreground.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use ruko_core::{Fault, Hint};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// Runs a program to its end and gives its exit status; 128 and the signal's number where one ended it.
///
/// Ctrl-C and Ctrl-\ reach the program from the terminal and do not end this process; SIGTERM and SIGHUP are
/// passed on. So what must be cleaned up after the program is.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<i32, Fault> {
    // Before the start: from here on nothing ends this process without its program.
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]).fault("cannot listen to signals")?;
    let handle = signals.handle();
    let program = command.get_program().to_owned();
    let mut child = command.spawn().fault(format!("cannot run `{}`", program.display()))?;
    let running = Arc::new(Mutex::new(pid(&child)));
    let passing = {
        let running = running.clone();
        std::thread::spawn(move || pass_on(&mut signals, &running))
    };
    let status = wait(&mut child, &running).fault(format!("lost sight of `{}`", program.display()));
    handle.close();
    // It only passes signals on.
    let _ = passing.join();
    status.map(code)
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().map(Pid::from_raw)
}

/// Waits in two steps: while its status is not fetched the program's number is nobody else's, so a signal
/// never meets another process.
fn wait(child: &mut Child, running: &Mutex<Option<Pid>>) -> std::io::Result<ExitStatus> {
    if let Some(pid) = pid(child) {
        let ended = || waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        while ended() == Err(Errno::EINTR) {}
    }
    *running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    child.wait()
}

fn pass_on(signals: &mut Signals, running: &Mutex<Option<Pid>>) {
    for number in signals.forever() {
        let Ok(signal @ (Signal::SIGTERM | Signal::SIGHUP)) = Signal::try_from(number) else { continue };
        if let Some(pid) = *running.lock().unwrap_or_else(PoisonError::into_inner) {
            // One that has just ended needs none.
            let _ = kill(pid, signal);
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
