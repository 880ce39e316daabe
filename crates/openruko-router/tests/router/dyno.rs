//! Web servers in the place of dynos.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server on an address of its own. It ends when it is dropped; its connections do then, too.
pub(crate) struct Dyno {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    ended: std::sync::atomic::AtomicBool,
}

/// A request as a dyno reads it.
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The values of a field, joined.
    pub(crate) fn field(&self, name: &str) -> String {
        let named = self.fields.iter().filter(|(has, _)| has.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" & ")
    }

    /// Reads one, its body whole.
    pub(crate) fn read(from: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut request = Self::read_head(from)?;
        if request.field("transfer-encoding") == "chunked" {
            loop {
                let mut size = String::new();
                from.read_line(&mut size).ok()?;
                let size = usize::from_str_radix(size.trim(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                from.read_exact(&mut chunk).ok()?;
                request.body.extend(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else if let Ok(length) = request.field("content-length").parse() {
            request.body = vec![0; length];
            from.read_exact(&mut request.body).ok()?;
        }
        Some(request)
    }

    /// Reads the head of one.
    pub(crate) fn read_head(from: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.strip_suffix("\r\n")?.to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let line = lines.remove(0);
        let fields = lines.iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Some(Self { line, fields: fields.collect(), body: Vec::new() })
    }
}

/// An answer with a length.
pub(crate) fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Dyno {
    /// Each connection is served by `serve`, in a thread of its own.
    pub(crate) fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, serve) = (Arc::new(Shared::default()), Arc::new(serve));
        let accepting = shared.clone();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                accepting.accepted.fetch_add(1, Ordering::SeqCst);
                accepting.open.lock().unwrap().push(stream.try_clone().unwrap());
                let serve = serve.clone();
                thread::spawn(move || serve(stream));
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Each request is answered by `answer`, over connections that stay.
    pub(crate) fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::raw(move |stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            while let Some(request) = Request::read(&mut reader) {
                if stream.write_all(&answer(&request)).is_err() {
                    return;
                }
            }
        })
    }

    /// Says its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_| answer("200 OK", name))
    }

    /// Says what it was asked.
    pub(crate) fn echo() -> Self {
        Self::start(|request| {
            let mut said = request.line.clone() + "\n";
            for (name, value) in &request.fields {
                said += &format!("{name}: {value}\n");
            }
            said += &String::from_utf8_lossy(&request.body);
            answer("200 OK", &said)
        })
    }

    /// How many connections it got.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes its connections, and goes on listening.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Dyno {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // So that its listener is dropped.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        self.hang_up();
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
