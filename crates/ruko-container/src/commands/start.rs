//! `start`: a container for an admin to look around in. Its owner is a `run` in the background, so that
//! it is bounded, listed and reaped like any other; there is no container without an owner.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ruko_core::container::{MAX_LINE, Purpose, RunEvent, RunLimits, RunSpec};
use ruko_core::names::{ContainerName, StackName, TemplateName};
use ruko_core::{Exit, Fault, Hint};
use ruko_sys::process::CommandSys;
use ruko_sys::{AtPath, Tool};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::settings::Settings;

/// What is wanted; what is not said is the most that is allowed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    name: ContainerName,
    /// The file of the public key that may log in
    #[arg(long, value_name = "FILE", value_parser = crate::absolute)]
    client_key: PathBuf,
    /// What lays it out [default: openruko-build; with --stack openruko-stack]
    #[arg(long)]
    template: Option<TemplateName>,
    /// The stack image that it has, as `stack list` shows it [default: this machine's own /usr]
    #[arg(long)]
    stack: Option<StackName>,
    /// How long it may last in seconds [default: `max.build_seconds` of [container]]
    #[arg(long)]
    seconds: Option<u64>,
    /// As the JSON document that `run` prints
    #[arg(long)]
    json: bool,
}

/// Starts it and prints how to log in.
pub(crate) fn start(settings: &Settings, config: &Path, args: &Args) -> Result<Exit, Fault> {
    let mut line = serde_json::to_vec(&spec(settings, args)?)?;
    line.push(b'\n');
    let mut requests = endless(&args.name)?;
    requests.write_all(&line).fault("cannot hand the specification on")?;
    let program = std::env::current_exe().fault("cannot find this program")?;
    let mut run = Tool::new(program).arg("--config").arg(config).arg("run").into_command();
    run.stdin(OwnedFd::from(requests)).stdout(Stdio::piped()).stderr(Stdio::null()).own_session();
    let mut run = run.spawn().fault("cannot start a run in the background")?;
    let stdout = run.stdout.take().ok_or_else(|| Fault::refused("cannot listen to the run"))?;
    let mut event = String::new();
    BufReader::new(stdout.take(MAX_LINE as u64)).read_line(&mut event)?;
    match serde_json::from_str(&event) {
        Ok(RunEvent::Ready { address, user, host_key, .. }) => {
            let mut out = std::io::stdout().lock();
            let _ = if args.json {
                out.write_all(event.as_bytes())
            } else {
                writeln!(out, "ssh {user}@{address}\nhost key: {host_key}")
            };
            Ok(Exit::Ok)
        }
        Ok(RunEvent::Failed { message, try_again: true }) => Err(Fault::try_again(message)),
        Ok(RunEvent::Failed { message, .. }) => Err(Fault::refused(message)),
        _ => Err(Fault::refused(format!("the run in the background said `{}`", event.trim_end()))),
    }
}

fn spec(settings: &Settings, args: &Args) -> Result<RunSpec, Fault> {
    let mut key = String::new();
    let file = File::open(&args.client_key).at("open", &args.client_key)?;
    file.take(MAX_LINE as u64).read_to_string(&mut key).at("read", &args.client_key)?;
    let max = settings.max;
    let usual = if args.stack.is_some() { "openruko-stack" } else { "openruko-build" };
    Ok(RunSpec {
        name: args.name.clone(),
        template: args.template.clone().map_or_else(|| usual.parse(), Ok)?,
        stack: args.stack.clone(),
        purpose: Purpose::Login { client_key: key.trim_end().to_owned() },
        limits: RunLimits {
            seconds: Some(args.seconds.unwrap_or(max.build_seconds)),
            memory_bytes: max.memory_bytes,
            pids: max.pids,
            disk_bytes: max.disk_bytes,
        },
    })
}

/// A pipe that never ends for who reads it: its reader is its writer too (`fifo(7)`: opened for both).
fn endless(name: &ContainerName) -> Result<File, Fault> {
    let path = PathBuf::from(format!("/run/openruko/{name}.{}.fifo", std::process::id()));
    fs::create_dir_all("/run/openruko").at("create", Path::new("/run/openruko"))?;
    let made = mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
    made.map_err(std::io::Error::from).at("create", &path)?;
    let file = File::options().read(true).write(true).open(&path).at("open", &path);
    fs::remove_file(&path).at("remove", &path)?;
    Ok(file?)
}
