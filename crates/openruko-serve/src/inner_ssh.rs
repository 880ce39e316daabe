//! The ssh from the host into the container: one key made for this run, one host key that the container's
//! keeper told us, both pinned.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use ruko_core::{ContainerName, Exit, Fault, Hint};
use ruko_sys::{AtPath, Tool};
use serde::{Deserialize, Serialize};

use crate::keys::quotable;
use crate::runtime_dir::RuntimeDir;

/// Where `ruko-slug` is in a container.
const RUKO_SLUG: &str = "/opt/openruko/ruko-slug";

/// How long a connection into a container may take: it is on this machine or on its network.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A container's sshd, as its keeper described it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) container: ContainerName,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) host_key: String,
}

/// The key pair of one run, being made while other things happen.
pub(crate) struct KeyPair {
    private: PathBuf,
    maker: Option<Child>,
}

impl KeyPair {
    /// Begins to make it.
    pub(crate) fn begin(dir: &RuntimeDir) -> Result<Self, Fault> {
        let private = dir.join("key");
        let mut maker = Tool::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "openruko", "-f"])
            .arg(&private)
            .into_command();
        // stdout is the client's.
        let maker =
            maker.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().fault("cannot run `ssh-keygen`")?;
        Ok(Self { private, maker: Some(maker) })
    }

    /// The public key, when it is made.
    pub(crate) fn public(mut self) -> Result<String, Fault> {
        let failed = "cannot make a key";
        if let Some(maker) = self.maker.take() {
            let out = maker.wait_with_output().fault(failed)?;
            if !out.status.success() {
                let why = String::from_utf8_lossy(&out.stderr).into_owned();
                return Err(Fault::refused(format!("{failed}: ssh-keygen failed ({}): {why}", out.status)));
            }
        }
        let public = std::fs::read_to_string(self.private.with_extension("pub")).fault(failed)?;
        Ok(public.trim_end().to_owned())
    }
}

impl Drop for KeyPair {
    /// A maker that still runs would write into a directory that is being removed.
    fn drop(&mut self) {
        if let Some(maker) = &mut self.maker {
            let _ = maker.kill();
            let _ = maker.wait();
        }
    }
}

/// Prepares an ssh into the container that runs `ruko-slug` with these words. With `channel`, what connects
/// to the container's end of the host channel is connected to that socket here. After `within` it is killed.
///
/// curve25519 and ed25519 only: OpenSSH's default key exchange takes twice as long, and both ends are
/// ours, on one machine or one network. The connection is made by [`connect`].
pub(crate) fn ruko_slug(
    dir: &RuntimeDir,
    endpoint: &Endpoint,
    channel: Option<&Path>,
    words: &str,
    within: Option<Duration>,
) -> Result<Command, Fault> {
    let known_hosts = dir.join("known_hosts");
    std::fs::write(&known_hosts, format!("{} {}\n", endpoint.container, endpoint.host_key))
        .at("write", &known_hosts)?;
    let me = std::env::current_exe().fault("cannot find myself")?;
    let connect = format!("{} connect {} {}", quotable(&me)?, endpoint.address, endpoint.port);
    let options = [
        format!("IdentityFile={}", dir.join("key").display()),
        format!("UserKnownHostsFile={}", known_hosts.display()),
        format!("HostKeyAlias={}", endpoint.container),
        format!("ProxyCommand={connect}"),
        "ProxyUseFdpass=yes".to_owned(),
        "GlobalKnownHostsFile=none".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "HostKeyAlgorithms=ssh-ed25519".to_owned(),
        "KexAlgorithms=curve25519-sha256".to_owned(),
        "Ciphers=aes128-gcm@openssh.com,chacha20-poly1305@openssh.com".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "BatchMode=yes".to_owned(),
        // Bounds the handshake; the connection itself has a bound of its own.
        "ConnectTimeout=10".to_owned(),
        "ServerAliveInterval=15".to_owned(),
        "ServerAliveCountMax=4".to_owned(),
        "ExitOnForwardFailure=yes".to_owned(),
        "SendEnv=GIT_PROTOCOL".to_owned(),
    ];
    let mut ssh = match within {
        Some(time) => Tool::new("timeout").args(["--kill-after=5", &time.as_secs().to_string(), "ssh"]),
        None => Tool::new("ssh"),
    };
    ssh = ssh.args(["-F", "none", "-T", "-q"]);
    for option in options {
        ssh = ssh.args(["-o", &option]);
    }
    if let Some(socket) = channel {
        ssh = ssh.arg("-R").arg(format!("{}:{}", ruko_channel::SOCKET, socket.display()));
    }
    let destination = [endpoint.address.to_string(), format!("{RUKO_SLUG} {words}")];
    let ssh = ssh.args(["-l", &endpoint.user, "-p", &endpoint.port.to_string(), "--"]).args(destination);
    Ok(ssh.into_command())
}

/// Connects, and hands the connection to the ssh at the other end of our stdout (ssh_config(5),
/// `ProxyUseFdpass`).
///
/// ssh by itself would wait with every small piece of its handshake until the piece before it is
/// acknowledged, which the other side delays by 40 ms, several times.
pub(crate) fn connect(to: SocketAddrV4) -> Result<Exit, Fault> {
    let stream = TcpStream::connect_timeout(&to.into(), CONNECT_WITHIN)
        .try_again(format!("cannot connect to {to}"))?;
    stream.set_nodelay(true).fault("cannot set up the connection")?;
    let fds = [stream.as_raw_fd()];
    let passed = [ControlMessage::ScmRights(&fds)];
    let stdout = io::stdout();
    sendmsg::<()>(stdout.as_raw_fd(), &[IoSlice::new(b"\0")], &passed, MsgFlags::empty(), None)
        .fault("cannot pass the connection to ssh")?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_connection_that_is_refused_is_a_reason_to_try_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        drop(listener);
        assert_eq!(connect(address).unwrap_err().exit, Exit::TryAgain);
    }
}
