//! The terminal of a one-off dyno: TLS, a secret, then raw bytes both ways.
//!
//! <https://devcenter.heroku.com/articles/one-off-dynos> tells of it; the server closes the connection when
//! the process has ended.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use ruko_pin::Pinned;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::{ClientError, trust};

const CONNECT: Duration = Duration::from_secs(10);

/// How long a dyno may take to start.
const START: Duration = Duration::from_secs(300);

/// What the server says when the process is attached.
const ATTACHED: &[u8] = b"rendezvous\r\n";

/// An attached terminal. Its socket does not block: wait for it with poll(2).
pub struct Rendezvous {
    tls: ClientConnection,
    socket: TcpStream,
}

impl Rendezvous {
    /// Attaches to `rendezvous://HOST:PORT/SECRET`, and waits until the process is there. Where the address tells
    /// which certificate it is (`?certificate=…`), that one is believed and no other.
    ///
    /// # Errors
    /// The address is none, its server cannot be reached or is not believed, or the process did not start.
    pub fn attach(url: &str, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let place = Place::parse(url).ok_or_else(|| ClientError::BadAnswer {
            server: "the server".into(),
            call: "a new dyno".into(),
            why: "its terminal has no rendezvous:// address".into(),
        })?;
        let config = match place.pin {
            Some(pin) => trust::for_pinned(pin)?,
            None => trust::for_connection(ca_file)?,
        };
        let dial = || {
            let name = ServerName::try_from(place.host.clone()).map_err(io::Error::other)?;
            let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
            // Bounded by the caller, who gives no more before everything was sent.
            tls.set_buffer_limit(None);
            let mut socket = connect(&place)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(START))?;
            greet(&mut tls, &mut socket, place.secret)?;
            socket.set_nonblocking(true)?;
            Ok(Self { tls, socket })
        };
        dial().map_err(|source: io::Error| ClientError::BrokeOff {
            server: format!("the dyno's terminal at {}:{}", place.host, place.port),
            source,
        })
    }

    /// Whether there is something left for [`Rendezvous::flush`].
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Takes what the process printed, as far as it is there. False when there will be no more.
    ///
    /// # Errors
    /// The connection broke.
    pub fn receive(&mut self, printed: &mut Vec<u8>) -> io::Result<bool> {
        // First what came together with something earlier: poll(2) does not tell of it.
        while self.take_in(printed)? {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    /// Decrypts what was read. False when the server said that it was the last.
    fn take_in(&mut self, printed: &mut Vec<u8>) -> io::Result<bool> {
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let start = printed.len();
        printed.resize(start + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut printed[start..])?;
        Ok(!state.peer_has_closed())
    }

    /// Sends what was typed, as far as the connection takes it; the rest goes with [`Rendezvous::flush`].
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, typed: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(typed)?;
        self.flush()
    }

    /// Sends what is left.
    ///
    /// # Errors
    /// The connection broke.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl AsFd for Rendezvous {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where a terminal is.
struct Place<'a> {
    host: String,
    port: u16,
    /// Path and query without the first slash.
    secret: &'a str,
    /// Its certificate, where nobody could verify it otherwise.
    pin: Option<Pinned>,
}

impl<'a> Place<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (authority, secret) = url.strip_prefix("rendezvous://")?.split_once('/')?;
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let ok = !host.is_empty() && !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic());
        let pin = Pinned::of_query(secret).ok()?;
        ok.then_some(Self { host, port: port.parse().ok()?, secret, pin })
    }
}

fn connect(place: &Place<'_>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (place.host.as_str(), place.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Shows the secret and waits for the process.
fn greet(tls: &mut ClientConnection, socket: &mut TcpStream, secret: &str) -> io::Result<()> {
    let mut stream = rustls::Stream::new(tls, socket);
    stream.write_all(format!("{secret}\r\n").as_bytes())?;
    stream.flush()?;
    let mut said = [0; ATTACHED.len()];
    stream.read_exact(&mut said).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "the process did not start in time")
        }
        _ => error,
    })?;
    match said == ATTACHED {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak rendezvous")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminals_address_has_host_port_and_secret() {
        let place = Place::parse("rendezvous://[::1]:5001/ef29?x=1").unwrap();
        assert_eq!((place.host.as_str(), place.port, place.secret), ("::1", 5001, "ef29?x=1"));
        for bad in [
            "https://a:1/x",
            "rendezvous://a/x",
            "rendezvous://a:1/",
            "rendezvous://a:1",
            "rendezvous://a:1/x y",
            "rendezvous://a:1/x?certificate=ab",
        ] {
            assert!(Place::parse(bad).is_none(), "{bad}");
        }
    }
}
