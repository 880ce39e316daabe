//! A server of the Platform API as small as a test needs it: one answer a connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    /// `GET /account`
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// An address on the server that was asked.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.header("host"))
    }
}

/// An answer.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

pub(crate) fn ok(body: Value) -> Reply {
    Reply { status: 200, headers: vec![("content-type", "application/json".into())], body: body.to_string() }
}

pub(crate) fn refused(status: u16, id: &str, message: &str) -> Reply {
    Reply { status, ..ok(json!({"id": id, "message": message})) }
}

pub(crate) fn text(kind: &str, body: &str) -> Reply {
    Reply { status: 200, headers: vec![("content-type", kind.into())], body: body.into() }
}

/// A listening server; its threads end with the test.
pub(crate) struct Mock {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Mock {
    /// Answers with what `answer` says, and otherwise as an openruko does that knows the account.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (seen.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, answer) = (noted.clone(), answer.clone());
                thread::spawn(move || serve(stream.unwrap(), &noted, &*answer));
            }
        });
        Self { url, seen }
    }

    /// What came, without the proof that this is an openruko.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path != "/openruko").cloned().collect()
    }

    /// Forgets what came.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen().iter().map(Seen::call).collect()
    }

    /// The one request of this kind.
    pub(crate) fn only(&self, call: &str) -> Seen {
        let found: Vec<Seen> = self.seen().into_iter().filter(|seen| seen.call() == call).collect();
        assert_eq!(found.len(), 1, "{call} in {:?}", self.calls());
        found[0].clone()
    }
}

fn serve(stream: TcpStream, noted: &Mutex<Vec<Seen>>, answer: &dyn Fn(&Seen) -> Option<Reply>) {
    let Some(seen) = read(&stream) else { return };
    noted.lock().unwrap().push(seen.clone());
    let reply = answer(&seen).unwrap_or_else(|| usual(&seen));
    let mut head = format!(
        "HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {}\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = (&stream).write_all(format!("{head}\r\n{}", reply.body).as_bytes());
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = String::new();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    reader.take(length).read_to_string(&mut body).ok()?;
    Some(Seen { method, path, headers, body })
}

pub(crate) const TOKEN: &str = "HRKU-0123456789";

fn usual(seen: &Seen) -> Reply {
    let known = seen.header("authorization") == format!("Bearer {TOKEN}");
    match seen.call().as_str() {
        "GET /openruko" => ok(json!({"name": "openruko", "version": "0.1.0",
            "git_url": "https://git.example.test/{app}.git", "ssh_url": "ssh://git@example.test/{app}.git",
            "web_url": "http://{app}.example.test"})),
        _ if !known => refused(401, "unauthorized", "Invalid credentials provided."),
        "GET /account" => ok(json!({"id": "u1", "email": "dev@example.test", "name": null})),
        "GET /apps/shop" => ok(app("shop")),
        "DELETE /apps/shop" => ok(app("shop")),
        _ => refused(404, "not_found", "Couldn't find that."),
    }
}

pub(crate) fn named(name: &str) -> Value {
    json!({"id": "n1", "name": name})
}

pub(crate) fn user() -> Value {
    json!({"id": "u1", "email": "dev@example.test"})
}

pub(crate) fn app(name: &str) -> Value {
    json!({"id": "a1", "name": name, "web_url": format!("http://{name}.example.test/"),
        "git_url": format!("https://git.example.test/{name}.git"), "owner": user(), "region": named("us"),
        "stack": named("openruko-12"), "build_stack": named("openruko-12"), "generation": named("cedar"),
        "maintenance": false, "acm": false, "repo_size": 0, "slug_size": 2048, "extra": "kept",
        "created_at": "2026-11-22T11:06:39Z"})
}

pub(crate) fn release(version: u64) -> Value {
    json!({"id": format!("r{version}"), "version": version, "current": false, "status": "succeeded",
        "description": format!("Deploy {version}"), "user": user(), "app": named("shop"), "slug": {"id": "s1"},
        "eligible_for_rollback": true, "output_stream_url": null, "created_at": "2026-11-22T11:06:39Z"})
}

pub(crate) fn dyno(name: &str, attach_url: Option<&str>) -> Value {
    let kind = name.split('.').next().unwrap();
    json!({"id": "d1", "name": name, "type": kind, "command": "bin/web", "size": "Standard-1X", "state": "up",
        "attach_url": attach_url, "release": {"id": "r1", "version": 7}, "app": named("shop"),
        "updated_at": "2026-11-22T11:06:39Z"})
}
