//! What the facts about a machine mean: pure functions, a finding each.

use std::path::{Path, PathBuf};

use ruko_core::config::Ipv4Net;
use ruko_core::message::bytes;
use ruko_lxc::idrange;
use ruko_sys::Space;

use super::finding::{Finding, Seen};

/// squashfs with mapped ids, which dynos need: https://kernelnewbies.org/Linux_6.2
const DYNO_KERNEL: (u32, u32) = (6, 2);
/// Mapped mounts as such, for builds: `mount_setattr(2)`, `MOUNT_ATTR_IDMAP`.
const BUILD_KERNEL: (u32, u32) = (5, 12);
/// The oldest LXC that it was tried with.
const LXC: (u32, u32) = (5, 0);

/// `6.1.0-18-amd64` → (6, 1).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn kernel(release: &str, runs_dynos: bool) -> Finding {
    let found = format!("Linux {release}");
    let newer = "boot a newer kernel; on Debian 12: apt install -t bookworm-backports linux-image-amd64";
    match version(release) {
        Some(have) if have >= DYNO_KERNEL => Finding::ok("kernel", found),
        Some(have) if have >= BUILD_KERNEL && !runs_dynos => {
            Finding::warning("kernel", format!("{found}: builds work, dynos need 6.2 or newer"), newer)
        }
        Some(_) => Finding::failed("kernel", format!("{found}, and 6.2 or newer is needed for dynos"), newer),
        None => Finding::unseen("kernel", format!("`{release}` is no version")),
    }
}

pub(super) fn user_namespaces(most: &Seen<u64>) -> Finding {
    match most {
        Ok(most) => Finding::must(
            *most > 0,
            "user namespaces",
            format!("{most} at most"),
            "sysctl -w user.max_user_namespaces=15000, and the same line in /etc/sysctl.d/openruko.conf",
        ),
        Err(_) => {
            Finding::failed("user namespaces", "this kernel has none", "boot a kernel with CONFIG_USER_NS")
        }
    }
}

pub(super) fn file_system(name: &str, is_known: bool, runs_dynos: bool) -> Finding {
    let check = format!("file system {name}");
    match is_known {
        true => Finding::ok(check, "the kernel has it"),
        false if name == "ext4" || runs_dynos => Finding::failed(
            check,
            "the kernel has it not",
            format!("modprobe {name}, or boot a kernel that has it"),
        ),
        false => Finding::warning(check, "the kernel has it not; dynos need it", format!("modprobe {name}")),
    }
}

pub(super) fn loop_devices(is_there: bool) -> Finding {
    let found = if is_there { "/dev/loop-control is there" } else { "/dev/loop-control is not there" };
    Finding::must(is_there, "loop devices", found, "modprobe loop")
}

pub(super) fn seccomp(actions: &Seen<String>) -> Finding {
    let check = "seccomp";
    match actions {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Finding::ok(check, "the kernel filters system calls")
        }
        _ => Finding::failed(
            check,
            "the kernel filters no system calls",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// Version 1, version 2 or both; and which controllers are nowhere.
pub(super) fn control_groups(versions: (bool, bool), missing: &[&str], missing_is_allowed: bool) -> Finding {
    let layout = match versions {
        (true, true) => "hybrid (versions 1 and 2)",
        (true, false) => "version 1",
        (false, true) => "version 2",
        (false, false) => "none",
    };
    let check = "control groups";
    if missing.is_empty() && versions != (false, false) {
        return Finding::ok(check, format!("{layout}, with memory, pids and cpu"));
    }
    let found = format!("{layout}, without {}", missing.join(", "));
    let mend =
        "boot with `cgroup_enable=memory systemd.unified_cgroup_hierarchy=1` on the kernel's command line";
    if missing_is_allowed {
        Finding::warning(check, found, mend)
    } else {
        Finding::failed(check, found, mend)
    }
}

/// `setup` is the command that prepares the machine.
pub(super) fn ids(users: &str, groups: &str, slots: u32, setup: &str) -> Finding {
    let range = idrange::shared(&idrange::of_root(users), &idrange::of_root(groups), slots);
    let wanted = u64::from(slots) * u64::from(idrange::PER_CONTAINER);
    match range {
        Some(range) => Finding::ok("ids for containers", format!("{} from {} on", range.count, range.first)),
        None => Finding::failed(
            "ids for containers",
            format!("root has no {wanted} ids in both /etc/subuid and /etc/subgid, for {slots} containers"),
            setup,
        ),
    }
}

pub(super) fn bridge(
    name: &str,
    wanted: Ipv4Net,
    addresses: &Seen<Option<Vec<Ipv4Net>>>,
    setup: &str,
) -> Finding {
    let check = format!("bridge {name}");
    match addresses {
        Err(why) => Finding::unseen(check, why),
        Ok(None) => Finding::failed(check, "it is not there", setup),
        Ok(Some(held)) if held.contains(&wanted) => Finding::ok(check, format!("it has {wanted}")),
        Ok(Some(held)) => {
            let held: Vec<String> = held.iter().map(ToString::to_string).collect();
            let held = if held.is_empty() { "no address".to_owned() } else { held.join(", ") };
            Finding::failed(check, format!("it has {held}, and not {wanted}"), setup)
        }
    }
}

/// The tables `inet NAME` and `bridge NAME` of a bridge, in what `nft list tables` prints.
pub(super) fn packet_filter(bridge: &str, tables: &Seen<String>, setup: &str) -> Finding {
    let check = "packet filter";
    let tables = match tables {
        Err(why) => return Finding::unseen(check, why),
        Ok(tables) => tables,
    };
    let is_there =
        |family: &str| tables.lines().any(|line| line.trim() == format!("table {family} {bridge}"));
    let missing: Vec<_> = ["inet", "bridge"].into_iter().filter(|family| !is_there(family)).collect();
    match missing[..] {
        [] => Finding::ok(check, format!("its tables for {bridge} are there")),
        _ => Finding::failed(
            check,
            format!(
                "its table {} {bridge} is not there: containers reach what they must not",
                missing.join(" and ")
            ),
            setup,
        ),
    }
}

pub(super) fn forwarding(value: &Seen<String>) -> Finding {
    match value {
        Err(why) => Finding::unseen("ip_forward", why),
        Ok(value) => Finding::must(
            value.trim() == "1",
            "ip_forward",
            value.trim(),
            "sysctl -w net.ipv4.ip_forward=1, and the same line in /etc/sysctl.d/openruko.conf",
        ),
    }
}

pub(super) fn lxc(version_text: &Seen<String>) -> Finding {
    let mend = "apt install lxc";
    match version_text {
        Err(why) => Finding::failed("LXC", why, mend),
        Ok(text) => match version(text) {
            Some(have) if have >= LXC => Finding::ok("LXC", text.trim()),
            _ => Finding::warning("LXC", format!("{}; 5.0 and newer were tried", text.trim()), mend),
        },
    }
}

/// Programs and the Debian packages that they are in; which of them are not found.
pub(super) fn tools(wanted: usize, missing: &[(&str, &str)]) -> Finding {
    if missing.is_empty() {
        return Finding::ok("tools", format!("all {wanted} are found"));
    }
    let names: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Finding::failed(
        "tools",
        format!("not found: {}", names.join(", ")),
        format!("apt install {}", packages.join(" ")),
    )
}

/// Whether the user of the forced command may start containers.
pub(super) fn sudo(user: &str, command: &[String], allowed: &Seen<bool>) -> Finding {
    let check = "sudo";
    let [program, password, rest @ ..] = command else {
        return Finding::failed(
            check,
            "`container_command` of [serve] is empty",
            "set it as `openruko up` does",
        );
    };
    if (program.as_str(), password.as_str()) != ("sudo", "-n") {
        return Finding::warning(
            check,
            format!("`container_command` begins with `{program}` and is not judged"),
            "-",
        );
    }
    let line = rest.join(" ");
    match allowed {
        Err(why) => Finding::unseen(check, why),
        Ok(true) => Finding::ok(check, format!("{user} may run `{line}`")),
        Ok(false) => Finding::failed(
            check,
            format!("{user} may not run `{line}` as root without a password"),
            format!(
                "echo '{user} ALL=(root) NOPASSWD: {line}' >/etc/sudoers.d/openruko && chmod 440 /etc/sudoers.d/openruko"
            ),
        ),
    }
}

/// What sshd says of itself, `sshd -T`: a keyword and its value a line, keywords in lower case.
pub(super) fn sshd(settings: &Seen<String>, user: &str) -> Finding {
    let check = "sshd";
    let settings = match settings {
        Err(why) => return Finding::unseen(check, why),
        Ok(settings) => settings,
    };
    let value = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(|value| value.trim().to_owned());
        settings.lines().find_map(of).filter(|value| value != "none")
    };
    let command = value("authorizedkeyscommand");
    match (command, value("authorizedkeyscommanduser"), value("authorizedkeysfile")) {
        (Some(command), Some(runs_as), _) if command.contains("openruko-serve") && runs_as == user => {
            Finding::ok(check, "it asks openruko-serve whose a key is")
        }
        (Some(command), runs_as, _) if command.contains("openruko-serve") => Finding::failed(
            check,
            format!("AuthorizedKeysCommandUser is {}, and not {user}", runs_as.as_deref().unwrap_or("none")),
            format!("AuthorizedKeysCommandUser {user}"),
        ),
        (_, _, Some(file)) => Finding::warning(
            check,
            format!("it looks keys up in {file}, and not at the API"),
            "keep a section of that file with `openruko-serve keys --all`, or set AuthorizedKeysCommand as \
             `openruko-serve --help` shows",
        ),
        _ => Finding::failed(
            check,
            "it knows no keys of openruko's users",
            "set AuthorizedKeysCommand and AuthorizedKeysCommandUser as `openruko-serve --help` shows",
        ),
    }
}

/// Owner and mode of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) path: PathBuf,
    pub(super) uid: u32,
    pub(super) mode: u32,
}

/// What root, sudo and sshd act upon: it and every directory above it must be root's alone.
pub(super) fn trusted(check: &str, parts: &Seen<Vec<Owned>>) -> Finding {
    let parts = match parts {
        Err(why) => return Finding::failed(check, why, "name the right file, or run `make install` again"),
        Ok(parts) => parts,
    };
    let foreign = parts.iter().find(|part| part.uid != 0 || part.mode & 0o022 != 0);
    match (foreign, parts.first()) {
        (Some(Owned { path, uid, mode }), _) => Finding::failed(
            check,
            format!(
                "`{}` belongs to uid {uid} and has mode {:o}: others than root can write it",
                path.display(),
                mode & 0o7777
            ),
            format!("chown root {0} && chmod go-w {0}", path.display()),
        ),
        (None, Some(first)) => Finding::ok(check, format!("`{}` is root's alone", first.path.display())),
        (None, None) => Finding::unseen(check, "it has no path"),
    }
}

/// A file that holds a secret: its owner reads it, its group at most.
pub(super) fn secret(path: &Path, owned: &Seen<Owned>) -> Finding {
    let check = format!("secret {}", path.file_name().unwrap_or_default().to_string_lossy());
    match owned {
        Err(why) => Finding::failed(check, why, "write it, or name the right file in the configuration"),
        Ok(Owned { mode, .. }) if mode & 0o037 != 0 => Finding::failed(
            check,
            format!(
                "`{}` has mode {:o}: more can read or write it than should",
                path.display(),
                mode & 0o7777
            ),
            format!("chmod 600 {}", path.display()),
        ),
        Ok(Owned { mode, .. }) => {
            Finding::ok(check, format!("`{}` has mode {:o}", path.display(), mode & 0o7777))
        }
    }
}

/// Below the reserve nothing is accepted; a little above it is soon.
pub(super) fn space(path: &Path, space: &Seen<Space>, reserve: u64) -> Finding {
    let check = format!("disk of {}", path.display());
    let Space { free, free_files, .. } = match space {
        Err(why) => return Finding::unseen(check, why),
        Ok(space) => *space,
    };
    let room = match free_files {
        Some(files) => format!("{} and {files} files are free", bytes(free)),
        None => format!("{} are free", bytes(free)),
    };
    let few = |least: u64| free_files.is_some_and(|files| files < least);
    let mend = "make room there, or lower `reserve_bytes`";
    if free < reserve || few(1000) {
        let found = format!("{room}, and {} and 1000 files are kept in reserve", bytes(reserve));
        return Finding::failed(check, found, mend);
    }
    if free < reserve.saturating_mul(2) || few(10_000) {
        return Finding::warning(
            check,
            format!("{room}, which is little beyond the reserve of {}", bytes(reserve)),
            mend,
        );
    }
    Finding::ok(check, room)
}

pub(super) fn clock(synchronised: &Seen<bool>) -> Finding {
    match synchronised {
        Err(why) => Finding::unseen("clock", why),
        Ok(true) => Finding::ok("clock", "it is synchronised"),
        Ok(false) => Finding::warning(
            "clock",
            "it is not synchronised; signatures of storage and one-time passwords depend on it",
            "timedatectl set-ntp true",
        ),
    }
}

/// A service: whether it answers.
pub(super) fn answers(check: &str, place: &str, answer: &Result<String, String>) -> Finding {
    match answer {
        Ok(said) => Finding::ok(check, format!("{place} answers: {said}")),
        Err(why) => Finding::failed(
            check,
            format!("{place} does not: {why}"),
            "start it; with `openruko up` it is one of its children: look at what that printed",
        ),
    }
}

/// What a container could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    pub(super) resolves: bool,
    pub(super) reaches: bool,
    /// Whether builds are given a proxy: it resolves names for them.
    pub(super) has_proxy: bool,
}

pub(super) fn inside(url: &str, seen: &Seen<Inside>) -> Vec<Finding> {
    let (names, internet) = ("names in a container", "internet in a container");
    let inside = match seen {
        Err(why) => return vec![Finding::unseen(names, why), Finding::unseen(internet, why)],
        Ok(inside) => *inside,
    };
    let resolved = match inside {
        Inside { resolves: true, .. } => Finding::ok(names, "they are resolved"),
        Inside { reaches: true, has_proxy: true, .. } => {
            Finding::ok(names, "they are not resolved there, but by the proxy of [build.env]")
        }
        _ => Finding::failed(
            names,
            format!("the name in {url} is not resolved"),
            "name a server in /etc/resolv.conf that is not on this machine's loopback, then: ruko-container setup",
        ),
    };
    let reached = Finding::must(
        inside.reaches,
        internet,
        format!("{url} is {}", if inside.reaches { "reached" } else { "not reached" }),
        "look at the default route and at foreign rules of the packet filter (nft list ruleset); on a closed network \
         set proxies and mirrors in [build.env], and name one with --reach",
    );
    vec![resolved, reached]
}

#[cfg(test)]
mod tests {
    use super::super::finding::State::{self, Failed, Ok as Fine, Unseen, Warning};
    use super::*;

    fn states(findings: &[Finding]) -> Vec<State> {
        findings.iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn old_kernels_are_too_old_for_dynos_and_older_ones_for_anything() {
        assert_eq!(kernel("6.18.5", true).state, Fine);
        assert_eq!(kernel("6.1.0-18-amd64", false).state, Warning);
        assert_eq!(kernel("6.1.0-18-amd64", true).state, Failed);
        assert_eq!(kernel("5.10.0", false).state, Failed);
        assert_eq!(kernel("six", false).state, Unseen);
    }

    #[test]
    fn a_machine_without_namespaces_or_controllers_is_told_which() {
        assert_eq!(user_namespaces(&Ok(0)).state, Failed);
        assert_eq!(user_namespaces(&Ok(9)).state, Fine);
        let found = control_groups((true, false), &["memory"], false);
        assert_eq!((found.state, found.found.as_str()), (Failed, "version 1, without memory"));
        assert_eq!(control_groups((true, true), &["memory"], true).state, Warning);
        assert_eq!(control_groups((false, true), &[], false).state, Fine);
        assert_eq!(file_system("squashfs", false, false).state, Warning);
        assert_eq!(file_system("squashfs", false, true).state, Failed);
        assert_eq!(seccomp(&Ok("kill_process trap errno log".into())).state, Fine);
        assert_eq!(seccomp(&Err("not there".into())).state, Failed);
    }

    #[test]
    fn ids_must_be_in_both_files() {
        let line = "root:1000000:6553600\n";
        assert_eq!(ids(line, line, 64, "setup").state, Fine);
        let short = ids(line, "", 64, "ruko-container setup");
        assert_eq!((short.state, short.mend.as_deref()), (Failed, Some("ruko-container setup")));
        assert!(short.found.contains("4194304 ids"), "{}", short.found);
    }

    #[test]
    fn a_bridge_with_another_address_is_named_with_it() {
        let wanted: Ipv4Net = "10.1.2.1/24".parse().unwrap();
        let seen = |held: &[&str]| Ok(Some(held.iter().map(|net| net.parse().unwrap()).collect()));
        assert_eq!(bridge("rk", wanted, &seen(&["10.9.0.1/16", "10.1.2.1/24"]), "s").state, Fine);
        let other = bridge("rk", wanted, &seen(&["10.9.0.1/16"]), "s");
        assert_eq!((other.state, other.found.as_str()), (Failed, "it has 10.9.0.1/16, and not 10.1.2.1/24"));
        assert_eq!(bridge("rk", wanted, &Ok(None), "s").state, Failed);
    }

    #[test]
    fn both_tables_of_the_packet_filter_count() {
        let all = "table inet rk\ntable bridge rk\ntable inet rk2\n";
        assert_eq!(packet_filter("rk", &Ok(all.into()), "s").state, Fine);
        let half = packet_filter("rk2", &Ok(all.into()), "s");
        assert!(half.state == Failed && half.found.contains("table bridge rk2"), "{half:?}");
        assert_eq!(packet_filter("rk", &Err("needs root".into()), "s").state, Unseen);
    }

    #[test]
    fn the_sudo_line_that_is_missing_is_told_word_for_word() {
        let command = ["sudo", "-n", "/opt/ruko-container", "--config", "/c", "run"].map(str::to_owned);
        assert_eq!(sudo("git", &command, &Ok(true)).state, Fine);
        let missing = sudo("git", &command, &Ok(false));
        assert!(
            missing.mend.unwrap().contains("'git ALL=(root) NOPASSWD: /opt/ruko-container --config /c run'")
        );
        assert_eq!(sudo("git", &command[2..], &Ok(false)).state, Warning);
        assert_eq!(sudo("git", &[], &Ok(true)).state, Failed);
    }

    #[test]
    fn sshd_asks_openruko_serve_as_the_right_user() {
        let with = |lines: &str| sshd(&Ok(lines.to_owned()), "git");
        let command = "authorizedkeyscommand /opt/openruko-serve keys %f\n";
        assert_eq!(with(&format!("{command}authorizedkeyscommanduser git\n")).state, Fine);
        assert_eq!(with(&format!("{command}authorizedkeyscommanduser root\n")).state, Failed);
        let file = "authorizedkeyscommand none\nauthorizedkeysfile .ssh/authorized_keys\n";
        assert_eq!(with(file).state, Warning);
        assert_eq!(with("authorizedkeysfile none\n").state, Failed);
    }

    #[test]
    fn files_that_others_can_change_or_read_are_named_with_the_command_that_mends_it() {
        let owned = |path: &str, uid, mode| Owned { path: path.into(), uid, mode };
        let parts = vec![owned("/a/b", 0, 0o100_755), owned("/a", 0, 0o40_775)];
        let found = trusted("program", &Ok(parts));
        assert_eq!(found.mend.as_deref(), Some("chown root /a && chmod go-w /a"));
        assert_eq!(trusted("program", &Ok(vec![owned("/a", 0, 0o40_755)])).state, Fine);
        let open = secret(Path::new("/t/serve"), &Ok(owned("/t/serve", 5, 0o100_644)));
        assert_eq!((open.state, open.mend.as_deref()), (Failed, Some("chmod 600 /t/serve")));
        assert_eq!(secret(Path::new("/t/serve"), &Ok(owned("/t/serve", 5, 0o100_640))).state, Fine);
    }

    #[test]
    fn little_room_is_a_warning_and_less_than_the_reserve_a_failure() {
        let free = |free, free_files| Ok(Space { free, free_files, ..Space::default() });
        let path = Path::new("/srv");
        assert_eq!(space(path, &free(3 << 30, None), 1 << 30).state, Fine);
        assert_eq!(space(path, &free(3 << 29, None), 1 << 30).state, Warning);
        assert_eq!(space(path, &free(1 << 29, None), 1 << 30).state, Failed);
        assert_eq!(space(path, &free(1 << 40, Some(10)), 1 << 30).state, Failed);
    }

    #[test]
    fn a_proxy_resolves_names_for_a_container() {
        let inside = |resolves, reaches, has_proxy| {
            states(&super::inside("https://example.com", &Ok(Inside { resolves, reaches, has_proxy })))
        };
        assert_eq!(inside(true, true, false), [Fine, Fine]);
        assert_eq!(inside(false, true, true), [Fine, Fine]);
        assert_eq!(inside(false, false, false), [Failed, Failed]);
        assert_eq!(states(&super::inside("x", &Err("needs root".into()))), [Unseen, Unseen]);
    }

    #[test]
    fn tools_come_with_their_packages() {
        let found = tools(3, &[("mksquashfs", "squashfs-tools"), ("ip", "iproute2")]);
        assert_eq!(found.mend.as_deref(), Some("apt install squashfs-tools iproute2"));
        assert_eq!(tools(3, &[]).state, Fine);
        assert_eq!(lxc(&Ok("4.0.6".into())).state, Warning);
        assert_eq!(lxc(&Ok("5.0.2".into())).state, Fine);
        assert_eq!(clock(&Ok(false)).state, Warning);
        assert_eq!(forwarding(&Ok("0\n".into())).state, Failed);
    }
}
