//! From a wish to a supervisor that runs, and from directories to supervisors that ran before.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ruko_api_types::host::StackToRun;
use ruko_core::container::{Purpose, RunLimits, RunSpec};
use ruko_core::{ContainerName, Fault, Hint, ImageName};
use ruko_sys::Lock;
use ruko_sys::process::CommandSys;

use crate::dyno::file::{DynoDir, DynoFile, Role};
use crate::plan::{Millis, Start};
use crate::settings::Settings;

/// Starts supervisors.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    pub(crate) settings: Settings,
    /// This program.
    pub(crate) program: PathBuf,
}

/// A supervisor that runs, and a connection to it.
pub(crate) struct Launched {
    pub(crate) dir: DynoDir,
    pub(crate) file: DynoFile,
    pub(crate) stream: UnixStream,
}

impl Launcher {
    /// Where a dyno has its directory.
    pub(crate) fn dir(&self, id: &str) -> DynoDir {
        DynoDir::new(self.settings.dynos().join(id))
    }

    /// What is known of a dyno that is to start.
    pub(crate) fn file(
        &self,
        app: &str,
        start: &Start,
        image: &ImageName,
        now: Millis,
    ) -> Result<DynoFile, Fault> {
        let settings = &self.settings;
        let name: ContainerName = format!("dyno-{}", start.id.to_ascii_lowercase()).parse()?;
        let shares = start.size.shares;
        let limits = RunLimits {
            seconds: None,
            memory_bytes: start.size.memory_bytes,
            pids: start.size.pids,
            disk_bytes: settings.disk_bytes,
        };
        // What was built on a stack runs on it.
        let (template, stack) = match &start.release.stack {
            Some(StackToRun { template, image }) => (template.clone(), Some(image.clone())),
            None => (settings.template.clone(), None),
        };
        let purpose = Purpose::Dyno { image: image.clone(), shares };
        Ok(DynoFile {
            id: start.id.clone(),
            app: app.to_owned(),
            name: start.name.clone(),
            role: start.role,
            release: start.release.version,
            generation: start.generation,
            command: start.command.clone(),
            size: start.size.name.clone(),
            since: now,
            attach: start.attach,
            stop_seconds: settings.times.stop,
            spec: RunSpec { name, template, stack, purpose, limits },
            container_command: settings.container_command.clone(),
        })
    }

    /// Starts the supervisor. It lives on when we do not.
    pub(crate) fn launch(&self, file: DynoFile) -> Result<Launched, Fault> {
        let dir = self.dir(&file.id);
        let launched = self.launch_in(&dir, file);
        if launched.is_err() {
            dir.remove();
        }
        launched
    }

    fn launch_in(&self, dir: &DynoDir, file: DynoFile) -> Result<Launched, Fault> {
        const WHAT: &str = "a dyno's supervisor cannot be started";
        DirBuilder::new().mode(0o700).create(dir.path()).try_again(WHAT)?;
        dir.write(&file)?;
        let lock = Lock::try_take(&dir.lock()).try_again(WHAT)?.ok_or_else(|| Fault::try_again(WHAT))?;
        let listener = UnixListener::bind(dir.socket()).try_again(WHAT)?;
        let stream = UnixStream::connect(dir.socket()).try_again(WHAT)?;
        stream.set_nonblocking(true).try_again(WHAT)?;
        let mut command = Command::new(&self.program);
        command.arg("dyno").arg("--handed-over").arg(dir.path()).env_clear().current_dir("/");
        // sudo looks for itself and for what it is to run.
        command.env("PATH", ruko_sys::tool::SAFE_PATH).env("LC_ALL", "C.UTF-8");
        command.stdin(OwnedFd::from(listener)).stdout(lock.share().try_again(WHAT)?).stderr(Stdio::null());
        command.own_session();
        let child = tokio::process::Command::from(command).spawn().try_again(WHAT)?;
        lock.leave_to_heir();
        // The runtime takes note of its end, if that comes before ours.
        drop(child);
        Ok(Launched { dir: dir.clone(), file, stream })
    }
}

/// What was found below the state directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Dynos whose supervisors live.
    pub(crate) alive: Vec<(DynoDir, DynoFile)>,
    /// One-off dynos that were lost with the machine or with their supervisor: app and id.
    pub(crate) lost: Vec<(String, String)>,
}

/// Finds the dynos that there are, and removes what is left of others.
pub(crate) fn find(settings: &Settings) -> Result<Found, Fault> {
    let dynos = settings.dynos();
    let entries = std::fs::read_dir(&dynos).fault(format!("cannot read `{}`", dynos.display()))?;
    let mut found = Found::default();
    for entry in entries.flatten() {
        let dir = DynoDir::new(entry.path());
        let file = dir.read();
        match (Lock::try_take(&dir.lock()), file) {
            (Ok(None), Ok(file)) => found.alive.push((dir, file)),
            (Ok(None), Err(fault)) => tracing::error!(%fault, "a dyno is left alone"),
            (_, file) => {
                if let Ok(file) = file
                    && file.role == Role::OneOff
                {
                    found.lost.push((file.app, file.id));
                }
                dir.remove();
            }
        }
    }
    Ok(found)
}
