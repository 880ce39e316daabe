//! One container from its first file to its last.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use ruko_core::dyno::DynoWord;
use ruko_core::exit::one_line;
use ruko_core::{Fault, Hint};
use ruko_lxc::cgroup::{Counters, Layout, Limits, Usage};
use ruko_lxc::config::read_only_targets;
use ruko_lxc::mount::{not_read_only, writable_of};
use ruko_sys::process::CommandSys;
use ruko_sys::{AtPath, Tool, open_trusted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Uid, fchown};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::layout::Kind;
use crate::settings::Settings;
use crate::slot::Slot;
use crate::spec::{ClientKey, Dyno, Order, Wanted};
use crate::state::{self, Entry, Record, now};
use crate::watchdog::Sample;
use crate::work::{self, Work};
use crate::{disk, filter, host, layout, slug, stack};

/// How long lxc-start may take to tidy up after its container's end before it is killed itself.
const END_TIME: Duration = Duration::from_secs(3);

/// How much of what a container says before it is ready is kept, in bytes, to explain a failure.
const MAX_SAID: usize = 4096;

/// The line of sshd (OpenSSH, `server_listen`) after which it accepts connections.
const LISTENING: &str = "Server listening on";

/// Process 1 of a dyno's container, in `tools_dir`.
const INIT: &str = "ruko-dyno";

/// A container that this process owns.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    settings: &'a Settings,
    layout: &'a Layout,
    order: Order,
    work: &'a Work,
    slot: Slot,
    entry: Entry,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Handle of lxc-start, readable when it has ended.
    handle: OwnedFd,
    stderr: ChildStderr,
    said: Vec<u8>,
    init: Option<Init>,
    /// The status that ruko-dyno told.
    status: Option<u8>,
}

/// Process 1 of the container.
#[derive(Debug)]
struct Init {
    handle: OwnedFd,
    counters: Counters,
}

impl<'a> Machine<'a> {
    /// Makes a container and starts it. What was begun is undone where a step fails. Only one that is logged in to
    /// needs a host key.
    pub(crate) fn start(
        settings: &'a Settings,
        layout: &'a Layout,
        order: Order,
        work: &'a Work,
        host_key: Option<&Path>,
    ) -> Result<Self, Fault> {
        disk::check_space(&settings.state_dir, settings.reserve_bytes)?;
        let slot = Slot::take(settings, layout)?;
        let entry = Entry::create(settings, &order.name)?;
        let mut machine = Self { settings, layout, order, work, slot, entry, running: None };
        let laid_out = machine.lay_out(host_key).and_then(|()| filter::ensure(settings));
        match laid_out.and_then(|()| machine.boot()) {
            Ok(()) => Ok(machine),
            Err(fault) => {
                // The first failure is the one to report; what is left now, the next reaper destroys.
                let _ = machine.destroy();
                Err(fault)
            }
        }
    }

    /// Sees to it that the packet filter is there; says whether it is.
    pub(crate) fn is_kept_apart(&self) -> Result<bool, Fault> {
        filter::look_after(self.settings)
    }

    fn limits(&self) -> Limits {
        let limits = &self.order.limits;
        // The kernel counts memory in pages and rounds down.
        let memory_bytes = limits.memory_bytes & !0xffff;
        let shares = self.dyno().map(|dyno| dyno.shares);
        Limits { memory_bytes, pids: limits.pids, cpus: self.settings.cpus, shares }
    }

    fn dyno(&self) -> Option<&Dyno> {
        match &self.order.wanted {
            Wanted::Dyno(dyno) => Some(dyno),
            Wanted::Login(_) => None,
        }
    }

    fn kind(&self) -> Kind {
        if self.dyno().is_some() { Kind::Dyno } else { Kind::Login }
    }

    fn lay_out(&self, host_key: Option<&Path>) -> Result<(), Fault> {
        let entry = &self.entry;
        entry.record(&Record {
            slot: self.slot.index,
            address: self.slot.address,
            owner: rustix::process::getpid().as_raw_nonzero().get(),
            started: now(),
            limits: self.order.limits,
            template: Some(self.order.template_name.clone()),
            stack: self.order.stack.as_ref().map(|stack| stack.name.clone()),
            image: self.dyno().map(|dyno| dyno.slug.name.clone()),
        })?;
        disk::make(&self.work.disk(), &entry.path.join("image"), self.order.limits.disk_bytes)?;
        let rootfs = self.work.disk().join("rootfs");
        fs::create_dir(&rootfs).at("create", &rootfs)?;
        if let Some(stack) = &self.order.stack {
            stack.mount(&self.work.stack(), Some(self.slot.ids))?;
            self.write_config(&self.work.root())?;
        } else {
            self.write_config(&rootfs)?;
        }
        let mut args = vec![
            format!("--name={}", self.order.name),
            option("path", &self.entry.path),
            option("rootfs", &rootfs),
            "--".to_owned(),
            option("resolv-conf", &host::resolv_conf().0),
        ];
        if self.order.stack.is_some() {
            args.push(option("stack", &self.work.stack()));
        }
        args.extend(match &self.order.wanted {
            Wanted::Login(key) => self.login_options(key, host_key)?,
            Wanted::Dyno(dyno) => self.dyno_options(dyno)?,
        });
        // As `lxc-create(1)` would call it, which would cost the start of one more program.
        Tool::new(&self.order.template).args(args).die_with_parent().run()?;
        if self.order.stack.is_some() {
            stack::lay_over(self.work, &rootfs, self.slot.ids)?;
        }
        Ok(())
    }

    fn write_config(&self, rootfs: &Path) -> Result<(), Fault> {
        let seccomp = self.settings.template_dir.join(layout::SECCOMP);
        open_trusted(&seccomp)?;
        let bridge = self.settings.bridge.as_str();
        let mtu = host::mtu(bridge).ok_or_else(|| {
            Fault::refused(format!("there is no bridge `{bridge}`")).hint("`ruko-container setup` makes it")
        })?;
        let mapped = self.order.stack.is_some();
        let places = layout::Places { rootfs, mapped, seccomp: &seccomp, mtu };
        let name = &self.order.name;
        let (container, limits) = ((name, self.kind()), self.limits());
        let config = layout::config(container, self.settings, &self.slot, &places, self.layout, &limits)?;
        let path = self.config_path();
        fs::write(&path, config.text()).at("write", &path)?;
        Ok(())
    }

    fn config_path(&self) -> PathBuf {
        self.entry.path.join("config")
    }

    fn login_options(&self, key: &ClientKey, host_key: Option<&Path>) -> Result<Vec<String>, Fault> {
        let authorized_key = self.work.key("authorized_key");
        fs::write(&authorized_key, format!("{}\n", key.as_str())).at("write", &authorized_key)?;
        let mut options = vec![
            option("authorized-key", &authorized_key),
            option("hooks", &self.work.show(&self.settings.hooks_dir)?),
            option("buildpacks", &self.work.show(&self.settings.buildpacks_dir)?),
            option("tools", &self.work.show(&self.settings.tools_dir)?),
        ];
        options.extend(host_key.map(|path| option("host-key", path)));
        for (target, source) in &self.settings.files {
            options.push(format!("--file={}={}", target.display(), self.work.show(source)?.display()));
        }
        Ok(options)
    }

    /// Of the platform a dyno sees its process 1 and nothing else.
    fn dyno_options(&self, dyno: &Dyno) -> Result<Vec<String>, Fault> {
        dyno.slug.mount(self.work, self.slot.ids)?;
        let init = self.work.show(&self.settings.tools_dir.join(INIT))?;
        Ok(vec![option("app", &self.work.app()), option("init", &init)])
    }

    fn boot(&mut self) -> Result<(), Fault> {
        let config = self.config_path();
        let mut command = Tool::new("lxc-start")
            .args(["--foreground", "--close-all-fds", "--logpriority=ERROR", "--logfile=/dev/null"])
            .arg("--lxcpath")
            .arg(work::lxc_path(&self.settings.bridge))
            .arg("--name")
            .arg(self.order.name.as_str())
            .arg("--rcfile")
            .arg(&config)
            .into_command();
        command.stdout(Stdio::null()).stderr(Stdio::piped()).own_session().die_with_parent();
        if let Wanted::Dyno(dyno) = &mut self.order.wanted
            && let Some([stdin, stdout]) = dyno.files.take()
        {
            // So that it can be opened again, as `/dev/stdout`, where many programs write their log.
            let user = self.slot.ids.first + slug::USER;
            fchown(&stdout, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))
                .map_err(io::Error::from)
                .fault("cannot give the dyno its stdout")?;
            command.stdin(stdin).stdout(stdout);
        }
        let mut child = command.spawn().fault("cannot run `lxc-start`")?;
        // With it goes our hold on the dyno's files.
        drop(command);
        let handle = Pid::from_child(&child);
        let handle = pidfd_open(handle, PidfdFlags::empty()).map_err(io::Error::from);
        let (Ok(handle), Some(stderr)) = (handle, child.stderr.take()) else {
            let _ = child.kill();
            return Err(Fault::refused("cannot watch `lxc-start`"));
        };
        self.running = Some(Running { child, handle, stderr, said: Vec::new(), init: None, status: None });
        Ok(())
    }

    /// Readable when lxc-start has ended, and with it the container.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.handle.as_fd())
    }

    /// Readable when the container's process 1 has ended; lxc-start then still tidies up.
    pub(crate) fn init_ended(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref()?.init.as_ref().map(|init| init.handle.as_fd())
    }

    /// Readable when the container says something.
    pub(crate) fn said(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.stderr.as_fd())
    }

    /// Reads what the container says, so that it never waits for a reader.
    pub(crate) fn listen(&mut self) -> io::Result<Heard> {
        let kind = self.kind();
        let Some(running) = &mut self.running else { return Ok(Heard::End) };
        let mut chunk = [0; 4096];
        let count = match running.stderr.read(&mut chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Heard::Nothing),
            read => read?,
        };
        if count == 0 {
            return Ok(Heard::End);
        }
        if running.init.is_some() && kind == Kind::Login {
            return Ok(Heard::Nothing);
        }
        running.said.extend_from_slice(&chunk[..count]);
        let excess = running.said.len().saturating_sub(MAX_SAID);
        running.said.drain(..excess);
        let heard = heard(kind, &String::from_utf8_lossy(&running.said));
        if let Heard::Ended(status) = heard {
            running.status = Some(status);
        }
        Ok(heard)
    }

    /// The status of a dyno, if it told it.
    pub(crate) fn status(&self) -> Option<u8> {
        self.running.as_ref()?.status
    }

    /// Asks process 1 of the container to end; `false` if there is none yet.
    pub(crate) fn terminate(&self) -> bool {
        let Some(init) = self.running.as_ref().and_then(|running| running.init.as_ref()) else {
            return false;
        };
        // One that has ended already is what is wanted.
        let _ = pidfd_send_signal(&init.handle, Signal::TERM);
        true
    }

    /// What is used of the memory now; `None` before it is known and once the container is gone.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.running.as_ref()?.init.as_ref()?.counters.usage()
    }

    /// What the container said before it was ready, for a message.
    pub(crate) fn last_words(&self) -> String {
        let said = self.running.as_ref().map(|running| running.said.as_slice()).unwrap_or_default();
        one_line(&String::from_utf8_lossy(said))
    }

    /// Makes sure that what was asked of the kernel is in force, and takes hold of the container's
    /// process 1.
    pub(crate) fn verify(&mut self) -> Result<(), Fault> {
        let group = self.slot.payload_group();
        let pid = self.layout.init_of(&group)?;
        let pid = pid.ok_or_else(|| Fault::refused("the container ended before it could be looked at"))?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let cgroup = fs::read_to_string(proc.join("cgroup"))?;
        self.limits_in_force(&cgroup)?;
        self.mounts_read_only(&proc)?;
        let counters = Counters::of(self.layout, &cgroup);
        if let Some(running) = &mut self.running {
            running.init = Some(Init { handle, counters });
        }
        Ok(())
    }

    fn limits_in_force(&self, cgroup: &str) -> Result<(), Fault> {
        let wrong = self.layout.not_in_force(cgroup, &self.limits());
        match wrong.first() {
            Some(wrong) if !self.settings.allow_missing_limits => {
                Err(layout::limit_fault(&wrong.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn mounts_read_only(&self, proc: &Path) -> Result<(), Fault> {
        let path = self.config_path();
        let targets = read_only_targets(&fs::read_to_string(&path).at("read", &path)?);
        let mountinfo = fs::read_to_string(proc.join("mountinfo"))?;
        let mut writable = writable_of(&mountinfo, &["cgroup", "cgroup2", "sysfs"]);
        writable.extend(not_read_only(&mountinfo, &targets).into_iter().map(str::to_owned));
        match writable.first() {
            Some(target) => Err(Fault::refused(format!("`{target}` is not read-only in the container"))),
            None => Ok(()),
        }
    }

    /// Where the container answers.
    pub(crate) fn address(&self) -> std::net::Ipv4Addr {
        self.slot.address
    }

    /// What is seen of the container now; `None` once it is gone.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let counts = self.running.as_ref()?.init.as_ref()?.counters.read()?;
        Some(Sample { counts, disk_full: disk::is_full(&self.work.disk()) })
    }

    /// Ends the container at once and leaves nothing of it behind.
    pub(crate) fn destroy(mut self) -> Result<(), Fault> {
        state::mark_ending(self.settings, &self.order.name);
        if let Some(running) = self.running.take() {
            running.kill()?;
        }
        self.slot.clear(self.settings, self.layout)?;
        self.work.drop_disk();
        self.entry.remove(self.settings)
    }
}

/// What came from a container's stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Its sshd accepts connections, or its ruko-dyno waits.
    Ready,
    /// Its ruko-dyno says how the command ended.
    Ended(u8),
    /// Nothing of interest.
    Nothing,
    /// It closed its stderr.
    End,
}

/// The last that was said, from the end of everything.
fn heard(kind: Kind, said: &str) -> Heard {
    match kind {
        Kind::Login if said.contains(LISTENING) => Heard::Ready,
        Kind::Login => Heard::Nothing,
        Kind::Dyno => {
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            match whole.lines().filter_map(|line| line.parse().ok()).next_back() {
                Some(DynoWord::Waiting) => Heard::Ready,
                Some(DynoWord::Ended(status)) => Heard::Ended(status),
                None => Heard::Nothing,
            }
        }
    }
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

impl Running {
    /// Kills process 1, and with it everything in its pid namespace; then lxc-start tidies up.
    fn kill(mut self) -> io::Result<()> {
        match &self.init {
            Some(init) => drop(pidfd_send_signal(&init.handle, Signal::KILL)),
            // lxc-start's death is that of its container (lxc.monitor.signal.pdeath).
            None => self.child.kill()?,
        }
        let until = Timespec::try_from(END_TIME).map_err(|_| io::ErrorKind::InvalidInput)?;
        if retry_on_intr(|| poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&until)))? == 0 {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dyno_is_heard_by_whole_lines_of_its_own() {
        assert_eq!(heard(Kind::Dyno, "lxc-start: a warning\nruko-dyno: waiting"), Heard::Nothing);
        assert_eq!(heard(Kind::Dyno, "lxc-start: a warning\nruko-dyno: waiting\n"), Heard::Ready);
        assert_eq!(heard(Kind::Dyno, "ruko-dyno: waiting\nruko-dyno: ended 143\n"), Heard::Ended(143));
        assert_eq!(heard(Kind::Dyno, "Server listening on 0.0.0.0\n"), Heard::Nothing);
        assert_eq!(heard(Kind::Login, "ruko-dyno: waiting\n"), Heard::Nothing);
    }
}
