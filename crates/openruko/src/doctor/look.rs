//! The facts about this machine, read and not judged.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use ruko_core::config::Ipv4Net;
use ruko_core::exit::{chain, one_line};
use ruko_lxc::cgroup::{Layout, Version};
use ruko_sys::tool::SAFE_PATH;
use ruko_sys::{Space, Tool};
use serde::Deserialize;

use super::finding::Seen;
use super::judge::Owned;

/// How long a service may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What is said of what only root can look at.
pub(super) const NEEDS_ROOT: &str = "only root can look; run it as root";

/// What openruko starts, and the Debian packages that have it.
pub(super) const TOOLS: [(&str, &str); 18] = [
    ("lxc-start", "lxc"),
    ("lxc-stop", "lxc"),
    ("lxc-attach", "lxc"),
    ("lxc-create", "lxc"),
    ("newuidmap", "uidmap"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mksquashfs", "squashfs-tools"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("git", "git"),
    ("sudo", "sudo"),
    ("visudo", "sudo"),
    ("timeout", "coreutils"),
    ("logger", "bsdutils"),
];

pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Where a program is.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    SAFE_PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.exists())
}

pub(super) fn text(path: &str) -> Seen<String> {
    fs::read_to_string(path).map_err(|why| format!("cannot read {path}: {why}"))
}

pub(super) fn number(path: &str) -> Seen<u64> {
    text(path)?.trim().parse().map_err(|why| format!("{path}: {why}"))
}

/// Whether the kernel has a file system, built in or as a module that it can load.
pub(super) fn has_file_system(name: &str, release: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let modules =
        |list: &str| fs::read_to_string(format!("/lib/modules/{release}/{list}")).unwrap_or_default();
    let module = format!("/{name}.ko");
    known.lines().any(|line| line.split_whitespace().last() == Some(name))
        || ["modules.dep", "modules.builtin"].into_iter().any(|list| modules(list).contains(&module))
}

/// Which versions of control groups there are, and which of the controllers that are needed are in none.
pub(super) fn control_groups() -> Seen<((bool, bool), Vec<&'static str>)> {
    let layout = Layout::detect().map_err(|why| why.to_string())?;
    let has = |version| layout.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
    let missing = ["memory", "pids", "cpu"].into_iter().filter(|name| layout.of(name).is_none()).collect();
    Ok(((has(Version::V1), has(Version::V2)), missing))
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: std::net::Ipv4Addr,
    prefixlen: u8,
}

/// The addresses of an interface; none when it is not there.
pub(super) fn addresses(interface: &str) -> Seen<Option<Vec<Ipv4Net>>> {
    if !Path::new("/sys/class/net").join(interface).exists() {
        return Ok(None);
    }
    let json = output(Tool::new("ip").args(["-4", "-json", "address", "show", "dev", interface]))?;
    let found: Vec<Interface> = serde_json::from_str(&json).map_err(|why| why.to_string())?;
    let nets = found.into_iter().flat_map(|one| one.addr_info);
    Ok(Some(nets.map(|one| Ipv4Net { address: one.local, prefix: one.prefixlen.min(32) }).collect()))
}

pub(super) fn output(tool: Tool) -> Seen<String> {
    let out = tool.output().map_err(|why| one_line(&chain(&why)))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// What only root can ask of a tool.
pub(super) fn as_root(tool: Tool) -> Seen<String> {
    if is_root() { output(tool) } else { Err(NEEDS_ROOT.to_owned()) }
}

/// Whether sudo lets a user run a command as root without a password (sudo(8), `-l COMMAND`).
pub(super) fn may_sudo(user: &str, command: &[String]) -> Seen<bool> {
    if !is_root() {
        return Err(NEEDS_ROOT.to_owned());
    }
    // Asked as the user, as openruko-serve does it: a rule that wants a password is none.
    let words = ["-u", user, "--", "sudo", "-n", "-l"].into_iter().chain(command.iter().map(String::as_str));
    match Tool::new("runuser").args(words).into_command().output() {
        Ok(out) => Ok(out.status.success()),
        Err(why) => Err(format!("cannot run `runuser`: {why}")),
    }
}

pub(super) fn owned(path: &Path) -> Seen<Owned> {
    let meta = fs::metadata(path).map_err(|why| format!("`{}`: {why}", path.display()))?;
    Ok(Owned { path: path.to_owned(), uid: meta.uid(), mode: meta.mode() })
}

/// A file and every directory above it.
pub(super) fn with_parents(path: &Path) -> Seen<Vec<Owned>> {
    path.ancestors().filter(|part| !part.as_os_str().is_empty()).map(owned).collect()
}

/// What is free where a path is, or will be.
pub(super) fn free(path: &Path) -> Seen<Space> {
    Space::at(path).map_err(|why| format!("`{}`: {why}", path.display()))
}

/// Whether the clock follows others, by who knows it here.
pub(super) fn clock() -> Seen<bool> {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Ok(true);
    }
    if let Ok(said) = output(Tool::new("timedatectl").args(["show", "-p", "NTPSynchronized", "--value"])) {
        return Ok(said.trim() == "yes");
    }
    let tracking = output(Tool::new("chronyc").args(["-n", "tracking"]));
    let said = tracking.map_err(|_| "neither timedatectl nor chronyc is there to be asked".to_owned())?;
    Ok(said.lines().any(|line| line.starts_with("Leap status") && line.contains("Normal")))
}

/// Whether anybody accepts connections there.
pub(super) fn accepts(place: SocketAddr) -> Result<String, String> {
    connect(place).map(|_| "it accepts connections".to_owned())
}

fn connect(place: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&place, ANSWER_WITHIN).map_err(|why| why.to_string())?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(|why| why.to_string())?;
    Ok(stream)
}

/// The first line of what answers there: at once (ssh), or to a request.
pub(super) fn first_line(place: SocketAddr, request: &str) -> Result<String, String> {
    let mut stream = connect(place)?;
    stream.write_all(request.as_bytes()).map_err(|why| why.to_string())?;
    let mut line = String::new();
    let mut reader = BufReader::new(std::io::Read::take(stream, 1024));
    reader.read_line(&mut line).map_err(|why| why.to_string())?;
    match line.trim() {
        "" => Err("it closed the connection".to_owned()),
        line => Ok(one_line(line)),
    }
}
