//! Control groups: which version each controller is on, the keys that set a limit there, and whether the
//! limit is in force.
//!
//! LXC ignores a key of the wrong version without a word (`lxc.cgroup2.memory.max` where memory is on
//! version 1 limits nothing), and a machine may have each controller elsewhere. So the layout is looked
//! up per controller, and every limit is read back from the running container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::mount;

/// The version of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller or set of controllers.
    V1,
    /// The one unified hierarchy.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its version.
    pub version: Version,
    /// Its controllers (for version 1 also other mount options, which do no harm).
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The group that the mount shows; `/` unless this machine is itself a container.
    pub root: String,
}

/// Where the controllers of this machine are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Every hierarchy that is mounted.
    pub hierarchies: Vec<Hierarchy>,
    /// Whether memory and swap together can be limited.
    pub swap_accounting: bool,
    /// Whether any swap space is in use; without it there is nothing to limit.
    pub swap_active: bool,
}

/// The bounds that control groups set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Memory in bytes; no swap beyond it.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Processor cores.
    pub cpus: f64,
    /// The share of the processors where they are wanted by more than there are, from 1 on. 1 is what
    /// the kernel gives whatever has none of its own: other containers and, each by itself, the host's processes.
    pub shares: Option<u32>,
}

/// The kernel's largest weight, as a share: what has more weighs as much.
const MAX_SHARES: u32 = 100;

/// A limit that cannot be set or is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit on {what} {why}")]
pub struct NotInForce {
    /// Which limit.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// The period that processor quotas are counted in, in microseconds (the kernel's own default).
const CPU_PERIOD: u32 = 100_000;

/// The devices that every container may use: null, zero, full, random, urandom, tty, ptmx and pseudo
/// terminals. The first entry of the list denies all others.
const DEVICES: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

impl Layout {
    /// Looks the layout up on this machine.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read.
    pub fn detect() -> io::Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let unified = |point: &Path| fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
        let mut layout = Self { hierarchies: hierarchies(&mountinfo, unified), ..Self::default() };
        layout.swap_accounting = layout.of("memory").is_some_and(Hierarchy::counts_swap);
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        layout.swap_active = swaps.lines().count() > 1;
        Ok(layout)
    }

    /// The hierarchy of a controller.
    pub fn of(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.iter().any(|c| c == controller))
    }

    /// The configuration lines that set the limits, and the limits for which this machine has no means.
    pub fn keys(&self, limits: &Limits) -> (Vec<(String, String)>, Vec<NotInForce>) {
        let mut keys = Vec::new();
        let mut missing = Vec::new();
        for (controller, what) in [("memory", "memory"), ("pids", "processes"), ("cpu", "processor time")] {
            match self.of(controller) {
                Some(hierarchy) => keys.extend(self.keys_of(controller, hierarchy.version, limits)),
                None => missing.push(NotInForce {
                    what,
                    why: format!("cannot be set: this machine has no `{controller}` control group"),
                }),
            }
        }
        keys.extend(self.device_keys());
        (keys, missing)
    }

    fn keys_of(&self, controller: &str, version: Version, limits: &Limits) -> Vec<(String, String)> {
        let memory = limits.memory_bytes.to_string();
        let quota = quota(limits.cpus);
        let pairs = match (controller, version) {
            // The order matters: the sum of memory and swap cannot be below memory.
            ("memory", Version::V1) => {
                vec![("memory.limit_in_bytes", memory.clone()), ("memory.memsw.limit_in_bytes", memory)]
            }
            ("memory", Version::V2) => vec![("memory.max", memory), ("memory.swap.max", "0".to_owned())],
            ("pids", _) => vec![("pids.max", limits.pids.to_string())],
            (_, Version::V1) => {
                let mut pairs = vec![
                    ("cpu.cfs_period_us", CPU_PERIOD.to_string()),
                    ("cpu.cfs_quota_us", quota.to_string()),
                ];
                pairs.extend(limits.shares.map(|shares| ("cpu.shares", weight(shares, 1024).to_string())));
                pairs
            }
            (_, Version::V2) => {
                let mut pairs = vec![("cpu.max", format!("{quota} {CPU_PERIOD}"))];
                pairs.extend(limits.shares.map(|shares| ("cpu.weight", weight(shares, 100).to_string())));
                pairs
            }
        };
        let prefix = prefix(version);
        let set = |name: &str| self.swap_accounting || !name.contains("sw");
        pairs
            .into_iter()
            .filter(|(name, _)| set(name))
            .map(|(name, value)| (format!("{prefix}.{name}"), value))
            .collect()
    }

    fn device_keys(&self) -> Vec<(String, String)> {
        // Version 2 has no device controller: there LXC attaches a program instead.
        let version = self.of("devices").map_or(Version::V2, |hierarchy| hierarchy.version);
        let prefix = prefix(version);
        let deny = (format!("{prefix}.devices.deny"), "a".to_owned());
        let allow = DEVICES.iter().map(|device| (format!("{prefix}.devices.allow"), (*device).to_owned()));
        std::iter::once(deny).chain(allow).collect()
    }

    /// The directory of a process's group in the hierarchy of a controller, from the text of
    /// `/proc/PID/cgroup`.
    pub fn directory(&self, controller: &str, proc_cgroup: &str) -> Option<PathBuf> {
        let hierarchy = self.of(controller)?;
        let group = proc_cgroup.lines().find_map(|line| group(line, controller, hierarchy.version))?;
        let below = group.strip_prefix(hierarchy.root.trim_end_matches('/')).unwrap_or(group);
        Some(hierarchy.point.join(below.trim_start_matches('/')))
    }

    /// The limits that are not in force for a process, from the text of its `/proc/PID/cgroup`.
    pub fn not_in_force(&self, proc_cgroup: &str, limits: &Limits) -> Vec<NotInForce> {
        let read = |controller: &str, file: &str| -> Option<String> {
            fs::read_to_string(self.directory(controller, proc_cgroup)?.join(file)).ok()
        };
        self.judge(&read, limits)
    }

    fn judge(&self, read: &dyn Fn(&str, &str) -> Option<String>, limits: &Limits) -> Vec<NotInForce> {
        let v1 = |controller: &str| self.of(controller).is_some_and(|h| h.version == Version::V1);
        let memory = if v1("memory") { "memory.limit_in_bytes" } else { "memory.max" };
        let swap = if v1("memory") { "memory.memsw.limit_in_bytes" } else { "memory.swap.max" };
        let swap_most = if v1("memory") { limits.memory_bytes } else { 0 };
        let cpu = if v1("cpu") {
            read("cpu", "cpu.cfs_quota_us").zip(read("cpu", "cpu.cfs_period_us")).map(|(q, p)| q + " " + &p)
        } else {
            read("cpu", "cpu.max")
        };
        let mut wrong = vec![
            at_most("memory", read("memory", memory), limits.memory_bytes),
            at_most("processes", read("pids", "pids.max"), limits.pids),
            quota_at_most(cpu, limits.cpus),
        ];
        if self.swap_accounting || self.swap_active {
            wrong.push(at_most("swap space", read("memory", swap), swap_most));
        }
        if v1("devices") {
            wrong.push(few_devices(read("devices", "devices.list")));
        }
        wrong.into_iter().flatten().collect()
    }

    /// The groups of this name at the root of every hierarchy.
    fn groups<'a>(&'a self, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.hierarchies.iter().map(move |hierarchy| hierarchy.point.join(name)).filter(|path| path.is_dir())
    }

    /// The process that is process 1 of the container in the group of this name.
    ///
    /// # Errors
    /// The group or `/proc` cannot be read.
    pub fn init_of(&self, name: &str) -> io::Result<Option<Pid>> {
        let Some(group) = self.groups(name).next() else { return Ok(None) };
        Ok(members(&group)?.into_iter().find(|pid| is_init(*pid)))
    }

    /// Kills whatever runs in the groups of this name and removes them, in every hierarchy.
    ///
    /// # Errors
    /// Something is still there when the time is over.
    pub fn clear(&self, name: &str, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        for group in self.groups(name) {
            clear_tree(&group, until)?;
        }
        Ok(())
    }
}

impl Hierarchy {
    fn counts_swap(&self) -> bool {
        match self.version {
            Version::V1 => self.point.join("memory.memsw.limit_in_bytes").exists(),
            // The root group has no such file; every other group has it or none has.
            Version::V2 => fs::read_dir(&self.point)
                .is_ok_and(|dir| dir.flatten().any(|entry| entry.path().join("memory.swap.max").exists())),
        }
    }
}

/// The hierarchies in a mountinfo text; `unified` gives the controllers of a mounted version 2.
fn hierarchies(mountinfo: &str, unified: impl Fn(&Path) -> String) -> Vec<Hierarchy> {
    let hierarchy = |mount: mount::Mount| {
        let point = PathBuf::from(&mount.point);
        let (version, controllers) = match mount.kind.as_str() {
            "cgroup" => (Version::V1, mount.super_options),
            "cgroup2" => (Version::V2, unified(&point).split_whitespace().map(str::to_owned).collect()),
            _ => return None,
        };
        Some(Hierarchy { version, controllers, point, root: mount.root })
    };
    mount::parse(mountinfo).into_iter().filter_map(hierarchy).collect()
}

const fn prefix(version: Version) -> &'static str {
    match version {
        Version::V1 => "lxc.cgroup",
        Version::V2 => "lxc.cgroup2",
    }
}

/// Cores as microseconds of processor time per period; the kernel accepts no less than 1000.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn quota(cpus: f64) -> u64 {
    (cpus * f64::from(CPU_PERIOD)).clamp(1000.0, 1e12) as u64
}

/// A share in the unit of a version, where what has none of its own has `default`.
fn weight(shares: u32, default: u32) -> u32 {
    shares.clamp(1, MAX_SHARES) * default
}

/// The group in one line of `/proc/PID/cgroup`, if the line is that of the controller.
fn group<'a>(line: &'a str, controller: &str, version: Version) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    let found = match version {
        Version::V1 => controllers.split(',').any(|c| c == controller),
        Version::V2 => id == "0" && controllers.is_empty(),
    };
    found.then_some(group)
}

fn at_most(what: &'static str, found: Option<String>, wanted: u64) -> Option<NotInForce> {
    let Some(found) = found else {
        return Some(NotInForce { what, why: "cannot be read back".to_owned() });
    };
    let found = found.trim();
    let in_force = found.parse::<u64>().is_ok_and(|value| value <= wanted);
    (!in_force).then(|| NotInForce { what, why: format!("is not in force: {found} instead of {wanted}") })
}

/// The list of version 1 begins with `a *:*` where nothing is denied. Version 2 has no file to look at:
/// there LXC does not start a container to which it could not attach its program.
fn few_devices(list: Option<String>) -> Option<NotInForce> {
    let what = "devices";
    let Some(list) = list else {
        return Some(NotInForce { what, why: "cannot be read back".to_owned() });
    };
    let open = list.lines().any(|line| line.starts_with("a "));
    open.then(|| NotInForce { what, why: "is not in force: all are allowed".to_owned() })
}

/// `QUOTA PERIOD`; a quota of `max` (version 2) or -1 (version 1) is none.
fn quota_at_most(found: Option<String>, cpus: f64) -> Option<NotInForce> {
    let what = "processor time";
    let Some(found) = found else {
        return Some(NotInForce { what, why: "cannot be read back".to_owned() });
    };
    let numbers: Vec<f64> = found.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let wanted = quota(cpus);
    #[expect(clippy::cast_precision_loss, reason = "a quota is far below 2^52")]
    let in_force = matches!(numbers[..], [quota, period]
        if quota > 0.0 && quota / period <= wanted as f64 / f64::from(CPU_PERIOD) + 1e-6);
    let found = found.split_whitespace().collect::<Vec<_>>().join("/");
    (!in_force).then(|| NotInForce {
        what,
        why: format!("is not in force: {found} instead of {wanted}/{CPU_PERIOD}"),
    })
}

/// The files in which the kernel counts how often a container met its bounds, and what it uses.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pids: Option<PathBuf>,
    memory: Option<PathBuf>,
    /// The group of memory, and its version.
    usage: Option<(PathBuf, Version)>,
}

/// What a container uses of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in use, without files: those the kernel forgets before it wants for memory.
    pub memory_bytes: u64,
}

/// How often a container met its bounds so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forks that were refused.
    pub forks_refused: u64,
    /// Processes that were killed for want of memory.
    pub oom_kills: u64,
}

impl Counters {
    /// The counters of a process's groups, from the text of its `/proc/PID/cgroup`.
    pub fn of(layout: &Layout, proc_cgroup: &str) -> Self {
        let version = layout.of("memory").map_or(Version::V2, |hierarchy| hierarchy.version);
        let events = if version == Version::V1 { "memory.oom_control" } else { "memory.events" };
        let memory = layout.directory("memory", proc_cgroup);
        Self {
            pids: layout.directory("pids", proc_cgroup).map(|dir| dir.join("pids.events")),
            memory: memory.as_ref().map(|dir| dir.join(events)),
            usage: memory.map(|dir| (dir, version)),
        }
    }

    /// What is used now. `None` when the group is gone.
    pub fn usage(&self) -> Option<Usage> {
        let Some((dir, version)) = &self.usage else { return Some(Usage::default()) };
        usage(*version, |file| fs::read_to_string(dir.join(file)).ok())
    }

    /// Reads them. `None` when the groups are gone.
    pub fn read(&self) -> Option<Counts> {
        let count = |path: &Option<PathBuf>, key| match path {
            Some(path) => fs::read_to_string(path).ok().map(|text| field(&text, key)),
            None => Some(0),
        };
        Some(Counts { forks_refused: count(&self.pids, "max")?, oom_kills: count(&self.memory, "oom_kill")? })
    }
}

fn usage(version: Version, read: impl Fn(&str) -> Option<String>) -> Option<Usage> {
    // Version 1 counts for the group alone unless a key says `total_`, and a container may have groups of its own.
    let (current, files) = match version {
        Version::V1 => ("memory.usage_in_bytes", ["total_inactive_file", "total_active_file"]),
        Version::V2 => ("memory.current", ["inactive_file", "active_file"]),
    };
    let stat = read("memory.stat")?;
    let forgettable = files.iter().map(|key| field(&stat, key)).sum();
    Some(Usage { memory_bytes: number(&read(current)?).saturating_sub(forgettable) })
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// The number after `key` in lines of `KEY NUMBER`; 0 where the kernel does not count it.
fn field(text: &str, key: &str) -> u64 {
    let value = |line: &str| line.split_once(' ').filter(|(k, _)| *k == key)?.1.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

fn members(group: &Path) -> io::Result<Vec<Pid>> {
    let text = match fs::read_to_string(group.join("cgroup.procs")) {
        Ok(text) => text,
        Err(e) if gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    Ok(text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect())
}

/// Removed before it was opened, or between open and read.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// Process 1 of a pid namespace below ours has at least two ids, the innermost being 1.
fn is_init(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let ids: Vec<_> = ids.split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

fn clear_tree(group: &Path, until: Instant) -> io::Result<()> {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type()?.is_dir() {
            clear_tree(&entry.path(), until)?;
        }
    }
    loop {
        for pid in members(group)? {
            kill_member(group, pid, until)?;
        }
        match fs::remove_dir(group) {
            Err(e) if gone(&e) => return Ok(()),
            Ok(()) => return Ok(()),
            // The last process has exited but the kernel has not yet let go of the group: there is no
            // event for that, and it takes microseconds.
            Err(e) if Instant::now() > until => {
                return Err(io::Error::new(e.kind(), format!("cannot remove `{}`: {e}", group.display())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Kills one process of a group and waits for its end. The handle is taken first and the membership
/// looked at again, so that a number that was given to another process meanwhile does no harm.
fn kill_member(group: &Path, pid: Pid, until: Instant) -> io::Result<()> {
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    if !members(group)?.contains(&pid) {
        return Ok(());
    }
    let _ = pidfd_send_signal(&handle, Signal::KILL);
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    retry_on_intr(|| poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
";
    const V2: &str =
        "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const LIMITS: Limits = Limits { memory_bytes: 64 << 20, pids: 100, cpus: 1.5, shares: None };

    fn layout(mountinfo: &str, unified: &str) -> Layout {
        let hierarchies = hierarchies(mountinfo, |_| unified.to_owned());
        Layout { hierarchies, swap_accounting: true, swap_active: false }
    }

    fn value<'a>(keys: &'a [(String, String)], key: &str) -> Option<&'a str> {
        keys.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    #[test]
    fn version_1_gets_keys_of_version_1() {
        let (keys, missing) = layout(V1, "").keys(&LIMITS);
        assert_eq!(missing, []);
        assert_eq!(value(&keys, "lxc.cgroup.memory.limit_in_bytes"), Some("67108864"));
        assert_eq!(value(&keys, "lxc.cgroup.memory.memsw.limit_in_bytes"), Some("67108864"));
        assert_eq!(value(&keys, "lxc.cgroup.cpu.cfs_quota_us"), Some("150000"));
        assert_eq!(value(&keys, "lxc.cgroup.devices.deny"), Some("a"));
        assert!(keys.iter().all(|(key, _)| key.starts_with("lxc.cgroup.")));
    }

    #[test]
    fn version_2_gets_keys_of_version_2() {
        let (keys, missing) = layout(V2, "cpuset cpu io memory pids").keys(&LIMITS);
        assert_eq!(missing, []);
        assert_eq!(value(&keys, "lxc.cgroup2.memory.max"), Some("67108864"));
        assert_eq!(value(&keys, "lxc.cgroup2.memory.swap.max"), Some("0"));
        assert_eq!(value(&keys, "lxc.cgroup2.cpu.max"), Some("150000 100000"));
        assert_eq!(value(&keys, "lxc.cgroup2.devices.deny"), Some("a"));
        assert!(keys.iter().all(|(key, _)| key.starts_with("lxc.cgroup2.")));
    }

    #[test]
    fn a_hybrid_machine_gets_each_key_where_its_controller_is() {
        let (keys, missing) = layout(HYBRID, "memory pids").keys(&LIMITS);
        assert_eq!(missing, []);
        assert!(value(&keys, "lxc.cgroup2.memory.max").is_some());
        assert!(value(&keys, "lxc.cgroup2.pids.max").is_some());
        assert!(value(&keys, "lxc.cgroup.cpu.cfs_quota_us").is_some());
        assert!(value(&keys, "lxc.cgroup.devices.deny").is_some());
    }

    #[test]
    fn a_controller_that_is_nowhere_is_named() {
        let (_, missing) = layout(HYBRID, "memory").keys(&LIMITS);
        let [missing] = &missing[..] else { panic!("{missing:?}") };
        assert!(missing.to_string().contains("`pids`"), "{missing}");
    }

    #[test]
    fn without_swap_accounting_no_swap_key_is_set() {
        let layout = Layout { swap_accounting: false, ..layout(V1, "") };
        let (keys, _) = layout.keys(&LIMITS);
        assert_eq!(value(&keys, "lxc.cgroup.memory.memsw.limit_in_bytes"), None);
        assert!(value(&keys, "lxc.cgroup.memory.limit_in_bytes").is_some());
    }

    #[test]
    fn the_directory_of_a_group_is_found_in_either_version() {
        let v1 = "8:pids:/openruko.payload.1\n4:memory:/other\n0::/\n";
        let pids = layout(V1, "").directory("pids", v1).unwrap();
        assert_eq!(pids, Path::new("/sys/fs/cgroup/pids/openruko.payload.1"));
        let v2 = layout(V2, "pids memory cpu").directory("pids", "0::/a/b\n").unwrap();
        assert_eq!(v2, Path::new("/sys/fs/cgroup/a/b"));
        let nested = V2.replace("0:28 / ", "0:28 /outer ");
        let below = layout(&nested, "pids").directory("pids", "0::/outer/inner\n").unwrap();
        assert_eq!(below, Path::new("/sys/fs/cgroup/inner"));
    }

    #[test]
    fn a_limit_that_was_silently_ignored_is_named() {
        let layout = layout(V1, "");
        let wrong = |memory: &str, swap: &str, pids: &str, quota: &str| -> Vec<&str> {
            let read = |_: &str, file: &str| {
                let text = match file {
                    "memory.limit_in_bytes" => memory,
                    "memory.memsw.limit_in_bytes" => swap,
                    "pids.max" => pids,
                    "cpu.cfs_quota_us" => quota,
                    "devices.list" => "c 1:3 rwm\nc 136:* rwm\n",
                    _ => "100000\n",
                };
                Some(text.to_owned())
            };
            layout.judge(&read, &LIMITS).into_iter().map(|wrong| wrong.what).collect()
        };
        assert_eq!(wrong("67108864\n", "67108864", "100\n", "150000\n"), [""; 0]);
        assert_eq!(wrong("9223372036854771712", "67108864", "100", "150000"), ["memory"]);
        assert_eq!(
            wrong("67108864", "9223372036854771712", "max", "-1\n"),
            ["processes", "processor time", "swap space"]
        );
        let unreadable: Vec<_> = layout.judge(&|_, _| None, &LIMITS);
        assert_eq!(unreadable.len(), 5);
    }

    #[test]
    fn a_device_list_that_allows_everything_is_named() {
        assert!(few_devices(Some("a *:* rwm\n".into())).is_some());
        assert_eq!(few_devices(Some("c 1:3 rwm\nc 5:0 rwm\n".into())), None);
    }

    #[test]
    fn a_quota_of_version_2_is_read_as_two_numbers() {
        assert_eq!(quota_at_most(Some("150000 100000\n".into()), 1.5), None);
        assert!(quota_at_most(Some("max 100000\n".into()), 1.5).is_some());
        assert!(quota_at_most(Some("150000 50000\n".into()), 1.5).is_some());
    }

    #[test]
    fn a_share_is_told_in_the_unit_of_the_version() {
        let limits = Limits { shares: Some(4), ..LIMITS };
        let (keys, _) = layout(V1, "").keys(&limits);
        assert_eq!(value(&keys, "lxc.cgroup.cpu.shares"), Some("4096"));
        let (keys, _) = layout(V2, "cpu memory pids").keys(&limits);
        assert_eq!(value(&keys, "lxc.cgroup2.cpu.weight"), Some("400"));
        assert!(layout(V1, "").keys(&LIMITS).0.iter().all(|(key, _)| !key.contains("shares")));
        // The kernel's bounds: 2 to 262144, and 1 to 10000.
        assert_eq!((weight(0, 1024), weight(1, 100)), (1024, 100), "the defaults");
        assert_eq!((weight(u32::MAX, 1024), weight(u32::MAX, 100)), (102_400, 10_000));
    }

    #[test]
    fn what_would_be_forgotten_is_not_used() {
        let read = |file: &str| {
            let text = match file {
                "memory.usage_in_bytes" | "memory.current" => "1000\n",
                "memory.stat" => {
                    "inactive_file 200\nactive_file 100\ntotal_inactive_file 250\ntotal_active_file 150\n"
                }
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!(usage(Version::V1, read), Some(Usage { memory_bytes: 600 }));
        assert_eq!(usage(Version::V2, read), Some(Usage { memory_bytes: 700 }));
        assert_eq!(usage(Version::V1, |_| None), None, "it is gone");
    }

    #[test]
    fn counters_are_read_by_name() {
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3);
        assert_eq!(field("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n", "max"), 12);
        assert_eq!(field("", "max"), 0);
    }
}
