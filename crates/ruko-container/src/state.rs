//! One directory per container below `state_dir`. A lock in it is held by the container's owner; where
//! the lock is free, the owner is gone and the rest may be destroyed.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ruko_core::container::RunLimits;
use ruko_core::names::{ContainerName, ImageName, StackName, TemplateName};
use ruko_core::{Fault, Hint};
use ruko_lxc::cgroup::Layout;
use ruko_sys::{AtPath, Lock};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::slot;

/// What is known of a container, for admins and for who destroys it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) slot: u32,
    pub(crate) address: Ipv4Addr,
    /// The owner's process.
    pub(crate) owner: i32,
    /// Seconds since 1970.
    pub(crate) started: u64,
    pub(crate) limits: RunLimits,
    #[serde(default)]
    pub(crate) template: Option<TemplateName>,
    /// The stack image; none: the host's own `/usr`.
    #[serde(default)]
    pub(crate) stack: Option<StackName>,
    /// The slug of a dyno.
    #[serde(default)]
    pub(crate) image: Option<ImageName>,
}

/// The file that says that the end of a container has begun.
const ENDING: &str = "ending";

/// Lets listings say that the end of a container has begun.
pub(crate) fn mark_ending(settings: &Settings, name: &ContainerName) {
    // Where it is gone already, no listing shows it.
    let Ok(_guard) = guard(settings) else { return };
    let _ = fs::write(settings.state_dir.join(name.as_str()).join(ENDING), "");
}

/// The directory of a container that this process owns.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    _lock: Lock,
}

impl Entry {
    /// Makes the directory of a new container and locks it.
    pub(crate) fn create(settings: &Settings, name: &ContainerName) -> Result<Self, Fault> {
        let _guard = guard(settings)?;
        let path = settings.state_dir.join(name.as_str());
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Fault::refused(format!("a container named `{name}` is there already")));
            }
            made => made.at("create", &path)?,
        }
        match Lock::try_take(&path.join("lock"))? {
            Some(lock) => Ok(Self { path, _lock: lock }),
            None => Err(Fault::refused(format!("`{}` is locked by another process", path.display()))),
        }
    }

    /// Writes down what others should know.
    pub(crate) fn record(&self, record: &Record) -> Result<(), Fault> {
        let text = serde_json::to_vec(record).fault("cannot write the container's state")?;
        // Not synced: it is of no use after a crash of the machine.
        let path = self.path.join("state.json");
        Ok(fs::write(&path, text).at("write", &path)?)
    }

    /// Removes the directory; what runs must have been stopped before. Nobody may look at it meanwhile:
    /// who tries whether its lock is free would make that file anew.
    pub(crate) fn remove(self, settings: &Settings) -> Result<(), Fault> {
        let _guard = guard(settings)?;
        fs::remove_dir_all(&self.path).at("remove", &self.path)?;
        Ok(())
    }
}

/// Makes `state_dir` where it is missing, and keeps other creators and reapers out for a moment: between
/// the making of a directory and of its lock it would look as if it had no owner.
fn guard(settings: &Settings) -> Result<Lock, Fault> {
    let dir = &settings.state_dir;
    fs::create_dir_all(dir).at("create", dir)?;
    Ok(Lock::take(&dir.join(".lock"))?)
}

/// A container as a listing sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) name: ContainerName,
    /// Missing while it is being made, or if its owner died that early.
    pub(crate) record: Option<Record>,
    pub(crate) owned: bool,
    /// Its end has begun.
    pub(crate) ending: bool,
}

/// All containers, by name.
pub(crate) fn all(settings: &Settings) -> Result<Vec<Seen>, Fault> {
    let _guard = guard(settings)?;
    let mut all = Vec::new();
    for name in names(&settings.state_dir)? {
        let path = settings.state_dir.join(name.as_str());
        if let Ok(lock) = Lock::try_take(&path.join("lock")) {
            let ending = path.join(ENDING).exists();
            all.push(Seen { record: read_record(&path), owned: lock.is_none(), ending, name });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// What a reaper did.
#[derive(Debug, Default)]
pub(crate) struct Reaped {
    pub(crate) destroyed: Vec<ContainerName>,
    /// What could not be destroyed, and why.
    pub(crate) failed: Vec<(ContainerName, Fault)>,
}

/// Destroys every container whose owner is gone. One that resists does not keep the others: all of them
/// together are waited for no longer than `time`, and then each gets what needs no waiting.
pub(crate) fn reap(settings: &Settings, layout: &Layout, time: Duration) -> Result<Reaped, Fault> {
    let until = Instant::now() + time;
    let mut reaped = Reaped::default();
    for (name, entry) in abandoned(settings)? {
        let left = until.saturating_duration_since(Instant::now()).min(slot::CLEAR_TIME);
        match destroy(entry, settings, layout, left) {
            Ok(()) => reaped.destroyed.push(name),
            Err(fault) => reaped.failed.push((name, fault)),
        }
    }
    Ok(reaped)
}

fn destroy(entry: Entry, settings: &Settings, layout: &Layout, time: Duration) -> Result<(), Fault> {
    if let Some(record) = read_record(&entry.path) {
        slot::clear_if_free(record.slot, settings, layout, time)?;
    }
    entry.remove(settings)
}

/// The directories whose lock was free; it is ours now.
fn abandoned(settings: &Settings) -> Result<Vec<(ContainerName, Entry)>, Fault> {
    let _guard = guard(settings)?;
    let mut abandoned = Vec::new();
    for name in names(&settings.state_dir)? {
        let path = settings.state_dir.join(name.as_str());
        // Its owner may just be removing it, lock and all.
        if let Ok(Some(lock)) = Lock::try_take(&path.join("lock")) {
            abandoned.push((name, Entry { path, _lock: lock }));
        }
    }
    Ok(abandoned)
}

fn names(dir: &Path) -> Result<Vec<ContainerName>, Fault> {
    let entries = fs::read_dir(dir).at("read", dir)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path.join("state.json")).ok()?).ok()
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
