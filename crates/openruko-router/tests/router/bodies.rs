//! Bodies stream both ways, without being held whole.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use ruko_api_types::router::RoutedApp;

use crate::api::{app, routed};
use crate::dyno::{Dyno, Request, answer};
use crate::world::{World, eventually};

const MIB: usize = 1 << 20;

/// A large body.
const LARGE: usize = 200 * MIB;

/// What the program may need beyond what it needs anyway, in KiB.
const ROOM: u64 = 24 << 10;

/// A dyno that does as it is told with a connection on which the head of a request was read.
fn after_head(act: impl Fn(&Request, BufReader<TcpStream>, TcpStream) + Send + Sync + 'static) -> Dyno {
    Dyno::raw(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if let Some(request) = Request::read_head(&mut reader) {
            act(&request, reader, stream);
        }
    })
}

fn shop(dyno: &Dyno, extra: &str) -> World {
    let world = World::with(extra);
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    world
}

#[test]
fn events_arrive_when_they_are_sent() {
    let (sender, events) = channel::<String>();
    let events = Mutex::new(events);
    let dyno = after_head(move |_, _, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
        while let Ok(event) = events.lock().unwrap().recv() {
            stream.write_all(event.as_bytes()).unwrap();
        }
    });
    let world = shop(&dyno, "");
    let mut client = world.client();
    client.get("shop.test", "/events");
    let head = client.head().unwrap();
    assert_eq!(head.field("content-type"), "text/event-stream");
    for number in 0..10 {
        let event = format!("data: {number}\n\n");
        sender.send(event.clone()).unwrap();
        assert_eq!(client.chunk().unwrap(), event.as_bytes());
    }
    drop(sender);
    drop(dyno);
    assert_eq!(client.chunk(), None);
}

#[test]
fn an_upload_passes_through() {
    let dyno = after_head(|request, mut reader, mut stream| {
        let length: u64 = request.field("content-length").parse().unwrap();
        let copied = std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).unwrap();
        stream.write_all(&answer("200 OK", &copied.to_string())).unwrap();
    });
    let world = shop(&dyno, "");
    let before = world.router.peak_memory();
    let mut client = world.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {LARGE}\r\n\r\n"));
    let part = vec![7; MIB];
    for _ in 0..LARGE / MIB {
        client.send(&part);
    }
    assert_eq!(client.answer().text(), LARGE.to_string());
    let more = world.router.peak_memory() - before;
    assert!(more < ROOM, "{more} KiB");
}

#[test]
fn a_download_waits_for_a_slow_client() {
    let (sent, progress) = channel();
    let sent = Mutex::new(sent);
    let dyno = after_head(move |_, _, mut stream| {
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes()).unwrap();
        let part = vec![7; MIB];
        for number in 0..LARGE / MIB {
            stream.write_all(&part).unwrap();
            sent.lock().unwrap().send(number).unwrap();
        }
    });
    let world = shop(&dyno, "rolling_seconds = 60\n");
    let before = world.router.peak_memory();
    let mut client = world.client();
    client.get("shop.test", "/");
    assert_eq!(client.head().unwrap().status, 200);
    // The client reads nothing: what is under way is in buffers of the kernel, which are bounded.
    let mut last = 0;
    while let Ok(number) = progress.recv_timeout(std::time::Duration::from_secs(2)) {
        last = number;
    }
    assert!(last < LARGE / MIB / 2, "{last} MiB were sent to nobody");
    let read = std::io::copy(&mut (&mut client.reader).take(LARGE as u64), &mut std::io::sink()).unwrap();
    assert_eq!(read, LARGE as u64);
    let more = world.router.peak_memory() - before;
    assert!(more < ROOM, "{more} KiB");
}

#[test]
fn both_directions_at_once() {
    // Sends back what it gets, as it gets it: it reads nothing while it cannot write.
    let dyno = after_head(|_, mut reader, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        loop {
            let mut size = String::new();
            std::io::BufRead::read_line(&mut reader, &mut size).unwrap();
            let count = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; count + 2];
            reader.read_exact(&mut chunk).unwrap();
            stream.write_all(&[size.as_bytes(), &chunk].concat()).unwrap();
            if count == 0 {
                return;
            }
        }
    });
    let world = shop(&dyno, "");
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut writer = client.stream.try_clone().unwrap();
    let total = 64 * MIB;
    let writing = thread::spawn(move || {
        let part = vec![7; MIB];
        for _ in 0..total / MIB {
            writer.write_all(format!("{MIB:x}\r\n").as_bytes()).unwrap();
            writer.write_all(&part).unwrap();
            writer.write_all(b"\r\n").unwrap();
        }
        writer.write_all(b"0\r\n\r\n").unwrap();
    });
    assert_eq!(client.head().unwrap().status, 200);
    let mut read = 0;
    while let Some(chunk) = client.chunk() {
        read += chunk.len();
    }
    assert_eq!(read, total);
    writing.join().unwrap();
}

#[test]
fn a_client_that_waits_for_permission_gets_it() {
    let dyno = after_head(|request, mut reader, mut stream| {
        assert_eq!(request.field("expect"), "100-continue");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 5];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(&answer("201 Created", std::str::from_utf8(&body).unwrap())).unwrap();
    });
    let world = shop(&dyno, "");
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 100);
    client.send("hello");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (201, "hello"));
}

#[test]
fn hints_come_before_the_answer() {
    let dyno = Dyno::start(|_| {
        [&b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"[..], &answer("200 OK", "done")].concat()
    });
    let world = shop(&dyno, "");
    let mut client = world.client();
    for _ in 0..2 {
        client.get("shop.test", "/");
        let hint = client.head().unwrap();
        assert_eq!((hint.status, hint.field("link").as_str()), (103, "</a.css>"));
        assert_eq!(client.answer().text(), "done");
    }
}

#[test]
fn an_answer_may_come_before_the_request_is_whole() {
    let dyno = after_head(|_, _, mut stream| {
        stream.write_all(&answer("413 Content Too Large", "too much")).unwrap();
        // It reads nothing of the body.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        thread::park_timeout(std::time::Duration::from_millis(500));
    });
    let world = shop(&dyno, "");
    let mut client = world.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut writer = client.stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let part = vec![7; MIB];
        for _ in 0..32 {
            if writer.write_all(&part).is_err() {
                return;
            }
        }
    });
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    assert_eq!(answer.field("connection"), "close");
    writing.join().unwrap();
}

#[test]
fn an_upload_may_take_longer_than_the_first_byte_of_an_answer() {
    let dyno = Dyno::start(|request| answer("200 OK", &request.body.len().to_string()));
    let world = shop(&dyno, "");
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\n");
    // Twice as long as first_byte_seconds in all.
    for byte in ["h", "e", "l", "l", "o"] {
        let started = std::time::Instant::now();
        eventually("time", || started.elapsed().as_millis() > 400);
        client.send(byte);
    }
    assert_eq!(client.answer().text(), "5");
}
