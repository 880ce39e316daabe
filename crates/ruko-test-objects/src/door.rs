//! What stands between a client and a server, and has faults.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It breaks after so many bytes from the server.
    CutDown(u64),
    /// It breaks after so many bytes to the server.
    CutUp(u64),
    /// One bit of this byte to the server is another one.
    Flip(u64),
    /// The server gets nothing, and the client no answer.
    Silence,
}

/// A door to a server. It is open as long as the process runs.
pub struct Door {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
}

impl Door {
    /// A door whose connections have these faults, in order; further ones have none.
    pub fn to(server: SocketAddr, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let opened = Arc::new(AtomicUsize::new(0));
        let (faults, count) = (faults.to_vec(), opened.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let fault = faults.get(count.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(Fault::None);
                let Ok(client) = client else { return };
                thread::spawn(move || connect(client, server, fault));
            }
        });
        Self { address, opened }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections went through it.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

fn connect(client: TcpStream, server: SocketAddr, fault: Fault) {
    if fault == Fault::Silence {
        // Until the client has had enough.
        let _ = std::io::copy(&mut &client, &mut std::io::sink());
        return;
    }
    let Ok(server) = TcpStream::connect(server) else { return };
    let (up, down) = match fault {
        Fault::CutUp(at) => (Some(at), None),
        Fault::CutDown(at) => (None, Some(at)),
        _ => (None, None),
    };
    let flip = if let Fault::Flip(at) = fault { Some(at) } else { None };
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let upwards = thread::spawn(move || pass(from, to, up, flip));
    pass(server, client, down, None);
    let _ = upwards.join();
}

/// Hands on what comes until it ends, or until it is cut: then both directions are.
fn pass(mut from: TcpStream, mut to: TcpStream, cut: Option<u64>, flip: Option<u64>) {
    let (mut buffer, mut passed) = ([0; 16 << 10], 0_u64);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let left = cut.map_or(count, |cut| count.min(usize::try_from(cut - passed).unwrap()));
        if let Some(at) =
            flip.and_then(|at| usize::try_from(at.checked_sub(passed)?).ok()).filter(|at| *at < count)
        {
            buffer[at] ^= 1;
        }
        if to.write_all(&buffer[..left]).is_err() {
            break;
        }
        passed += left as u64;
        if cut.is_some_and(|cut| passed >= cut) {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
