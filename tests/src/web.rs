//! Requests to an app, through the router.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long an answer may take; longer than the router waits for a dyno that sleeps.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Where an app is asked for.
#[derive(Clone, Debug)]
pub struct Web {
    router: SocketAddr,
    host: String,
}

impl Web {
    pub(crate) fn new(router: SocketAddr, host: String) -> Self {
        Self { router, host }
    }

    /// `GET path`, on a connection of its own.
    ///
    /// # Errors
    /// There is no connection, or no whole answer.
    pub fn try_get(&self, path: &str) -> io::Result<Answered> {
        let mut stream = TcpStream::connect(self.router)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        parse(&bytes).ok_or_else(|| {
            io::Error::other(format!("no whole answer: {:?}", String::from_utf8_lossy(&bytes)))
        })
    }

    /// The same, which must be answered.
    #[must_use]
    pub fn get(&self, path: &str) -> Answered {
        self.try_get(path).unwrap_or_else(|e| panic!("GET {path} of {}: {e}", self.host))
    }

    /// The body of an answer that must be a success.
    #[must_use]
    pub fn body(&self, path: &str) -> String {
        let answered = self.get(path);
        assert_eq!(answered.status, 200, "GET {path} of {}: {answered:?}", self.host);
        answered.body
    }

    /// Asks for a path again and again from several places, until it is stopped.
    #[must_use]
    pub fn load(&self, path: &str) -> Load {
        Load::start(self, path)
    }
}

/// The body is as long as the head says, or ends with the connection.
fn parse(bytes: &[u8]) -> Option<Answered> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != body.len()) {
        return None;
    }
    Some(Answered { status, head: head.to_owned(), body: body.to_owned() })
}

/// Requests that come all the time.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    wrong: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// As many places as ask at a time.
    const PLACES: usize = 4;
    /// Between two requests of one place: a machine of two cores has other things to do.
    const PACE: Duration = Duration::from_millis(5);

    fn start(web: &Web, path: &str) -> Self {
        let load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            wrong: Arc::default(),
            threads: Vec::new(),
        };
        let threads = (0..Self::PLACES).map(|_| {
            let (web, path) = (web.clone(), path.to_owned());
            let (stop, answered, wrong) = (load.stop.clone(), load.answered.clone(), load.wrong.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match web.try_get(&path) {
                        Ok(answer) if (200..300).contains(&answer.status) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => wrong.lock().unwrap().push(format!("{answer:?}")),
                        Err(error) => wrong.lock().unwrap().push(error.to_string()),
                    }
                    thread::sleep(Self::PACE);
                }
            })
        });
        let threads = threads.collect();
        Self { threads, ..load }
    }

    /// How many were answered well so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it; none may have failed, and there must have been some.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let wrong = self.wrong.lock().unwrap();
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(wrong.is_empty(), "{} of {} failed, first: {}", wrong.len(), answered, wrong[0]);
        assert!(answered > 0, "nothing was asked");
    }
}
