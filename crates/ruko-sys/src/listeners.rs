//! Listening sockets that change hands: from one process to the next, over a unix socket, or from whoever starts a
//! program, as systemd does. Connections that wait in them are not lost on the way.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg, sockopt};

/// The most sockets at a time.
const MOST: usize = 8;

/// The longest list of their names, in bytes.
const NAMES: usize = 1024;

/// The first descriptor that whoever starts a program hands on: `sd_listen_fds(3)`.
const FIRST: RawFd = 3;

/// Sends listening sockets, each with a name, in one message.
///
/// # Errors
/// There are more than eight, or the message cannot be sent.
pub fn send_listeners(socket: &UnixStream, listeners: &[(&str, &TcpListener)]) -> io::Result<()> {
    let names = listeners.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("\n");
    if listeners.is_empty() || listeners.len() > MOST || names.is_empty() || names.len() > NAMES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let descriptors: Vec<_> = listeners.iter().map(|(_, listener)| listener.as_raw_fd()).collect();
    let control = [ControlMessage::ScmRights(&descriptors)];
    let bytes = [IoSlice::new(names.as_bytes())];
    sendmsg::<()>(socket.as_raw_fd(), &bytes, &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives what [`send_listeners`] sent.
///
/// # Errors
/// Nothing comes, or something else.
pub fn receive_listeners(socket: &UnixStream) -> io::Result<Vec<(String, TcpListener)>> {
    let mut bytes = [0; NAMES];
    let mut control = cmsg_space!([RawFd; MOST]);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let length = message.bytes;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nobody else knows them.
            #[expect(unsafe_code, reason = "a received descriptor is a number until it has an owner")]
            received.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let names = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let names: Vec<_> = names.lines().map(str::to_owned).collect();
    if names.is_empty() || names.len() != received.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not as many sockets as names"));
    }
    names.into_iter().zip(received).map(|(name, fd)| Ok((name, listening(fd)?))).collect()
}

/// The listening sockets that whoever started this program handed on, with their names, as `sd_listen_fds(3)` has it.
/// To be called once, before the program opens anything. `variable` gives the environment.
///
/// # Errors
/// They are said to be there and are not, or one does not listen.
pub fn inherited_listeners(
    variable: impl Fn(&str) -> Option<String>,
) -> io::Result<Vec<(String, TcpListener)>> {
    let own = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let count = variable("LISTEN_FDS").and_then(|count| count.parse().ok()).filter(|_| own).unwrap_or(0);
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut listeners = Vec::new();
    for fd in (FIRST..).take(count) {
        let name = names.next().unwrap_or_default().to_owned();
        // SAFETY: whoever started this program gave it this descriptor, by the protocol of `LISTEN_FDS`, whose
        // variable names this very process; and by the condition above nobody has taken it yet. If it is not open,
        // the first use fails.
        #[expect(unsafe_code, reason = "an inherited descriptor is a number until it has an owner")]
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        listeners.push((name, listening(owned)?));
    }
    Ok(listeners)
}

fn listening(fd: OwnedFd) -> io::Result<TcpListener> {
    if !nix::sys::socket::getsockopt(&fd, sockopt::AcceptConn)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a descriptor that does not listen"));
    }
    Ok(fd.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_change_hands_with_their_names() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        send_listeners(&ours, &[("http", &first), ("https", &second)]).unwrap();
        let received = receive_listeners(&theirs).unwrap();
        let addresses: Vec<_> =
            received.iter().map(|(name, one)| (name.as_str(), one.local_addr().unwrap())).collect();
        let expected = [("http", first.local_addr().unwrap()), ("https", second.local_addr().unwrap())];
        assert_eq!(addresses, expected);
        drop((first, second));
        assert!(std::net::TcpStream::connect(addresses[0].1).is_ok(), "it still listens");
    }

    #[test]
    fn bytes_without_sockets_are_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut &ours, b"http").unwrap();
        assert!(receive_listeners(&theirs).is_err());
        drop(ours);
        assert!(receive_listeners(&theirs).is_err());
    }

    #[test]
    fn variables_for_another_process_are_not_ours() {
        let variables = |name: &str| match name {
            "LISTEN_PID" => Some("1".to_owned()),
            "LISTEN_FDS" => Some("2".to_owned()),
            _ => None,
        };
        assert!(inherited_listeners(variables).unwrap().is_empty());
        assert!(inherited_listeners(|_| None).unwrap().is_empty());
    }
}
