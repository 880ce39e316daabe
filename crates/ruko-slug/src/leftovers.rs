//! Running what other people wrote, and what it leaves behind.
//!
//! A buildpack may start daemons that keep its output open; whoever reads that to its end would wait for
//! them for ever. So this process is the subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`) of all that it
//! starts: whatever a script leaves behind becomes a child or descendant of this process and is killed
//! when the script has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, PipeReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use ruko_sys::process::CommandSys;

/// How long killing goes on. A process that cannot be killed for so long is stuck in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How a script ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// How many processes it left behind, which were killed.
    pub leftovers: usize,
}

/// What a script said, apart.
#[derive(Clone, Debug)]
pub struct Captured {
    /// How it ended.
    pub ended: Ended,
    /// Its stdout, cut at the limit.
    pub stdout: Vec<u8>,
    /// Its stderr, cut at the limit.
    pub stderr: Vec<u8>,
}

/// Runs a command; stdout and stderr go through one pipe, in order, to `sink` as they come, to the last
/// byte.
///
/// # Errors
/// It cannot be started or waited for.
pub fn stream(mut command: Command, sink: &mut (dyn FnMut(&[u8]) + Send)) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = start(command)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || pass_on(reader, sink));
        let ended = wait(child);
        let _ = reading.join();
        ended
    })
}

/// Runs a command and keeps at most `limit` bytes of each of its two streams.
///
/// # Errors
/// It cannot be started or waited for.
pub fn capture(command: Command, limit: usize) -> io::Result<Captured> {
    let mut captured = capture_all([command], limit)?;
    captured.pop().ok_or_else(|| io::Error::other("there was no command to run"))
}

/// Runs commands beside each other, and gives what each of them said in their order. Leftovers are those of all.
///
/// # Errors
/// One of them cannot be started or waited for.
pub fn capture_all(commands: impl IntoIterator<Item = Command>, limit: usize) -> io::Result<Vec<Captured>> {
    let started: io::Result<Vec<_>> = commands.into_iter().map(start_captured).collect();
    let (mut children, streams): (Vec<Child>, Vec<_>) = match started {
        Ok(started) => started.into_iter().unzip(),
        Err(e) => {
            kill_descendants();
            return Err(e);
        }
    };
    std::thread::scope(|scope| {
        let reading: Vec<_> = streams
            .into_iter()
            .map(|streams: [PipeReader; 2]| streams.map(|stream| scope.spawn(move || keep(stream, limit))))
            .collect();
        let statuses: io::Result<Vec<_>> = children.iter_mut().map(Child::wait).collect();
        let leftovers = kill_descendants();
        let said = reading.into_iter().map(|streams| streams.map(|stream| stream.join().unwrap_or_default()));
        let captured = |(status, [stdout, stderr]): (ExitStatus, [Vec<u8>; 2])| Captured {
            ended: Ended { status, leftovers },
            stdout,
            stderr,
        };
        Ok(statuses?.into_iter().zip(said).map(captured).collect())
    })
}

/// Starts a command, and gives the reading ends of its two streams.
fn start_captured(mut command: Command) -> io::Result<(Child, [PipeReader; 2])> {
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(to_stdout).stderr(to_stderr);
    Ok((start(command)?, [stdout, stderr]))
}

/// Starts it in a session of its own, as the first to be killed when memory runs out: then the build fails
/// and says so, rather than the push breaking off.
fn start(mut command: Command) -> io::Result<Child> {
    prctl::set_child_subreaper(true)?;
    // The command holds the writing ends of the pipes and is dropped here, so that they end with the child.
    let child = command.own_session().spawn()?;
    // Not fatal: a kernel without this file kills somebody else first.
    let _ = fs::write(format!("/proc/{}/oom_score_adj", child.id()), "1000");
    Ok(child)
}

fn pass_on(mut from: PipeReader, sink: &mut (dyn FnMut(&[u8]) + Send)) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => sink(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Reads to the end, so that the writer never waits, and keeps the beginning.
fn keep(mut from: PipeReader, limit: usize) -> Vec<u8> {
    let mut kept = vec![];
    let _ = (&mut from).take(limit as u64).read_to_end(&mut kept);
    let _ = io::copy(&mut from, &mut io::sink());
    kept
}

fn wait(mut child: Child) -> io::Result<Ended> {
    let status = child.wait();
    let leftovers = kill_descendants();
    Ok(Ended { status: status?, leftovers })
}

/// Kills and reaps every process that descends from this one, and gives the number of those that lived.
/// Repeated until none is left, since a process can fork between being seen and being killed.
pub fn kill_descendants() -> usize {
    let deadline = Instant::now() + KILL_PATIENCE;
    let mut killed = BTreeSet::new();
    loop {
        let found = descendants();
        if found.is_empty() || Instant::now() > deadline {
            return killed.len();
        }
        for (pid, process) in found {
            if !process.zombie && kill(pid, Signal::SIGKILL).is_ok() {
                killed.insert(pid);
            }
        }
        reap();
    }
}

/// Reaps children until none has ended. Those that are still children of others become ours, and ended
/// ones, when their parents are killed.
fn reap() {
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            std::thread::yield_now();
            return;
        }
    }
}

/// All descendants of this process, by `/proc/PID/stat` (proc_pid_stat(5)).
fn descendants() -> Vec<(Pid, Process)> {
    let mut processes = processes();
    let own = nix::unistd::getpid().as_raw();
    let mut family = BTreeSet::from([own]);
    // A child may have a lower id than its parent, so one pass is not enough.
    loop {
        let children = processes.iter().filter(|(_, process)| family.contains(&process.parent));
        let children: BTreeSet<i32> = children.map(|(&pid, _)| pid).collect();
        if children.is_subset(&family) {
            break;
        }
        family.extend(children);
    }
    family.remove(&own);
    processes.retain(|pid, _| family.contains(pid));
    processes.into_iter().map(|(pid, process)| (Pid::from_raw(pid), process)).collect()
}

struct Process {
    parent: i32,
    zombie: bool,
}

fn processes() -> BTreeMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, process(&fs::read(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// Reads `PID (NAME) STATE PARENT …`; the name may hold anything, so what counts is the last parenthesis.
fn process(stat: &[u8]) -> Option<Process> {
    let stat = String::from_utf8_lossy(stat);
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some(Process { parent: fields.next()?.parse().ok()?, zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let process = process(b"7 (a) Z 1 (b) S 42 7 7").unwrap();
        assert_eq!(process.parent, 42);
        assert!(!process.zombie);
    }
}
