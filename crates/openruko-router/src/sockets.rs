//! The sockets that a router listens on, and how they change hands.
//!
//! A router offers its sockets on a unix socket beside its state file, to its own user alone. A successor
//! (`--upgrade`) takes them, begins to accept, and only then says so; its predecessor stops accepting then. Both have
//! the same sockets, so a connection that comes at any moment waits in the one queue that there is, and none is refused.
//! With `SO_REUSEPORT` each would have a queue, and what waits in the predecessor's would be lost with it.
//!
//! Sockets that systemd holds (`LISTEN_FDS`, named `http`, `https` and `metrics`) are taken as well: then a restart, and
//! a crash, refuses no connection either.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;
use ruko_core::{Fault, Hint};
use ruko_sys::listeners::{inherited_listeners, receive_listeners, send_listeners};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::settings::Settings;

/// How many connections wait in the kernel for being accepted.
const BACKLOG: u32 = 4096;

/// How long a predecessor may take to hand its sockets over, and a successor to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a successor says when it accepts connections.
const BEGUN: u8 = b'+';

const HTTP: &str = "http";
const HTTPS: &str = "https";
const METRICS: &str = "metrics";

/// What a router listens on.
pub(crate) struct Sockets {
    pub(crate) http: TcpListener,
    pub(crate) https: Option<TcpListener>,
    pub(crate) metrics: Option<TcpListener>,
}

/// Sockets, and who had them before.
pub(crate) struct Taken {
    pub(crate) sockets: Sockets,
    pub(crate) predecessor: Predecessor,
}

/// Who had the sockets before, if anybody.
pub(crate) struct Predecessor(Option<UnixStream>);

impl Predecessor {
    /// Tells it that this router has begun, and that it may go.
    pub(crate) fn relieve(self) {
        if let Some(mut stream) = self.0
            && let Err(error) = stream.write_all(&[BEGUN])
        {
            tracing::warn!(%error, "the router before this one cannot be told to go");
        }
    }
}

impl Sockets {
    /// Takes the addresses: from whoever started this program, from the router that runs now if asked to, or anew.
    ///
    /// # Errors
    /// One cannot be had; the message says which and why.
    pub(crate) fn take(settings: &Settings, upgrade: bool) -> Result<Taken, Fault> {
        let given = inherited_listeners(|name| std::env::var(name).ok()).fault("LISTEN_FDS")?;
        let mut given: Vec<_> = given;
        let mut predecessor = None;
        if upgrade && let Some((stream, more)) = ask(&place(&settings.state_file))? {
            predecessor = Some(stream);
            given.extend(more);
        }
        let mut take = |name: &str, key: &str, address: SocketAddr| match find(&mut given, name, address) {
            Some(listener) => adopt(listener).fault(format!("cannot listen on {address}")),
            None => bind(address).map_err(|error| cannot_listen(address, key, &error)),
        };
        let sockets = Self {
            http: take(HTTP, "listen", settings.listen)?,
            https: settings.tls_listen.map(|address| take(HTTPS, "tls_listen", address)).transpose()?,
            metrics: settings
                .metrics_listen
                .map(|address| take(METRICS, "metrics_listen", address))
                .transpose()?,
        };
        Ok(Taken { sockets, predecessor: Predecessor(predecessor) })
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &TcpListener)> {
        let all = [(HTTP, Some(&self.http)), (HTTPS, self.https.as_ref()), (METRICS, self.metrics.as_ref())];
        all.into_iter().filter_map(|(name, listener)| Some((name, listener?)))
    }

    /// Lines that say what is listened on.
    pub(crate) fn describe(&self) -> Vec<String> {
        let shown = |(name, listener): (&str, &TcpListener)| {
            let address = listener.local_addr().ok()?;
            let (what, scheme) = if name == METRICS { ("metrics", HTTP) } else { ("listening", name) };
            Some(format!("{what} on {scheme}://{address}"))
        };
        self.named().filter_map(shown).collect()
    }

    /// Offers them to a successor, `prepared` first; what is given back ends when one has taken over.
    ///
    /// # Errors
    /// The unix socket for it cannot be had.
    pub(crate) fn offer<F>(
        &self,
        state_file: &Path,
        prepared: F,
    ) -> Result<impl Future<Output = ()> + use<F>, Fault>
    where
        F: Fn() + Clone + Send + 'static,
    {
        let place = place(state_file);
        let offered = listen(&place).fault(format!("cannot listen on `{}`", place.display()))?;
        let copies: io::Result<Vec<_>> =
            self.named().map(|(name, listener)| Ok((name, copy(listener)?))).collect();
        let copies = std::sync::Arc::new(copies.fault("cannot offer the listening sockets")?);
        Ok(async move {
            loop {
                let Ok((stream, _)) = offered.accept().await else { continue };
                let own = stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw());
                let (Ok(stream), true) = (stream.into_std(), own) else { continue };
                let (copies, prepared) = (copies.clone(), prepared.clone());
                let handed = tokio::task::spawn_blocking(move || {
                    prepared();
                    hand_over(stream, &copies)
                });
                let handed = handed.await;
                match handed {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => tracing::warn!(%error, "a router that wanted to take over did not"),
                    Err(_) => {}
                }
            }
        })
    }
}

/// Where the sockets of a router are offered.
fn place(state_file: &Path) -> PathBuf {
    let mut name = state_file.as_os_str().to_owned();
    name.push(".upgrade");
    name.into()
}

/// A unix socket for this user alone, in the place of whatever is there.
fn listen(place: &Path) -> io::Result<UnixListener> {
    let new = place.with_extension(format!("{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, place)?;
    Ok(listener)
}

/// Gives the sockets away and waits until they are used.
fn hand_over(mut stream: UnixStream, listeners: &[(&'static str, std::net::TcpListener)]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let listeners: Vec<_> = listeners.iter().map(|(name, listener)| (*name, listener)).collect();
    send_listeners(&stream, &listeners)?;
    let mut said = [0];
    stream.read_exact(&mut said)?;
    if said == [BEGUN] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

type Given = Vec<(String, std::net::TcpListener)>;

/// The sockets of the router that runs now; none, if none runs.
fn ask(place: &Path) -> Result<Option<(UnixStream, Given)>, Fault> {
    let stream = match UnixStream::connect(place) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::info!(%error, "there is no router to take over from");
            return Ok(None);
        }
    };
    let given = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| receive_listeners(&stream));
    let given = given.try_again("the router that runs now does not hand its sockets over")?;
    Ok(Some((stream, given)))
}

/// The one with that name, if it is for that address.
fn find(given: &mut Given, name: &str, address: SocketAddr) -> Option<std::net::TcpListener> {
    let fits = |has: SocketAddr| has == address || (address.port() == 0 && has.ip() == address.ip());
    let at = given.iter().position(|(has, one)| has == name && one.local_addr().is_ok_and(fits))?;
    Some(given.swap_remove(at).1)
}

fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn copy(listener: &TcpListener) -> io::Result<std::net::TcpListener> {
    use std::os::fd::AsFd;
    Ok(listener.as_fd().try_clone_to_owned()?.into())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn cannot_listen(address: SocketAddr, key: &str, error: &io::Error) -> Fault {
    let fault = Fault::refused(format!("cannot listen on {address}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => fault.hint(format!(
            "`ss -ltnp 'sport = :{}'` shows the program that has it; if that is a router, --upgrade takes over",
            address.port()
        )),
        _ => fault.hint(format!("see `{key}` in [router] of the configuration")),
    }
}
