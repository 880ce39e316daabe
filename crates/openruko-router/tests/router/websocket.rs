//! WebSockets: a real handshake, frames both ways, and their ends.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::api::routed;
use crate::client::Client;
use crate::dyno::{Dyno, Request};
use crate::world::{World, eventually};

/// The example of RFC 6455, section 1.3.
const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A frame from a client, masked, or from a server.
fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..126 => frame.push(masked | u8::try_from(short).unwrap()),
        long => {
            frame.push(masked | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    frame.extend(mask.into_iter().flatten());
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    frame
}

/// Reads a frame: its opcode and its payload.
fn read_frame(from: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    from.read_exact(&mut head).ok()?;
    let length = match head[1] & 0x7F {
        127 => {
            let mut long = [0; 8];
            from.read_exact(&mut long).ok()?;
            usize::try_from(u64::from_be_bytes(long)).unwrap()
        }
        126 => {
            let mut long = [0; 2];
            from.read_exact(&mut long).ok()?;
            usize::from(u16::from_be_bytes(long))
        }
        short => usize::from(short),
    };
    let mut key = [0; 4];
    if head[1] & 0x80 != 0 {
        from.read_exact(&mut key).ok()?;
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).ok()?;
    Some((head[0] & 0x0F, payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()))
}

/// Answers the handshake, greets at once, and sends every frame back.
fn echo() -> Dyno {
    Dyno::raw(|stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let Some(request) = Request::read_head(&mut reader) else { return };
        assert_eq!(request.field("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(request.field("upgrade"), "websocket");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(&[&head[..], &frame(1, b"hello", None)].concat()).unwrap();
        while let Some((opcode, payload)) = read_frame(&mut reader) {
            if stream.write_all(&frame(opcode, &payload, None)).is_err() || opcode == 8 {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    })
}

fn open(world: &World) -> Client {
    let mut client = world.client();
    client.send(HANDSHAKE);
    let head = client.head().unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!((head.field("upgrade"), head.field("connection")), ("websocket".into(), "Upgrade".into()));
    assert_eq!(read_frame(&mut client.reader).unwrap(), (1, b"hello".to_vec()));
    client
}

#[test]
fn frames_pass_both_ways() {
    let dyno = echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = open(&world);
    for size in [0, 1, 125, 126, 70_000, 3 << 20] {
        let payload: Vec<_> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut writer = client.stream.try_clone().unwrap();
        let sent = frame(2, &payload, Some([1, 2, 3, 4]));
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        let (opcode, back) = read_frame(&mut client.reader).unwrap();
        assert!(opcode == 2 && back == payload, "{size}");
        writing.join().unwrap();
    }
    client.send(frame(8, &[0x03, 0xE8], Some([0; 4])));
    assert_eq!(read_frame(&mut client.reader).unwrap(), (8, vec![0x03, 0xE8]));
    assert_eq!(read_frame(&mut client.reader), None);
    let line = world.api.line(&["path=\"/chat\""]).text;
    assert!(line.starts_with("at=info ") && line.contains(" status=101 "), "{line}");
}

#[test]
fn a_client_that_leaves_takes_the_dyno_along() {
    let dyno = echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    drop(open(&world));
    world.api.line(&["path=\"/chat\"", " status=101 "]);
}

#[test]
fn silence_ends_it_and_a_word_from_either_side_does_not() {
    let dyno = echo();
    let world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = open(&world);
    let started = std::time::Instant::now();
    // Longer in all than rolling_seconds, and never silent for so long.
    for number in 1..=4 {
        eventually("time", || started.elapsed().as_millis() > 800 * number);
        client.send(frame(9, b"", Some([0; 4])));
        assert_eq!(read_frame(&mut client.reader).unwrap().0, 9);
    }
    assert_eq!(read_frame(&mut client.reader), None, "silence");
    world.api.line(&["code=H15", "path=\"/chat\""]);
}

#[test]
fn a_router_that_ends_says_goodbye() {
    let dyno = echo();
    let mut world = World::shop(vec![routed(1, dyno.address)]);
    let mut client = open(&world);
    client.send(frame(1, b"x", Some([0; 4])));
    assert_eq!(read_frame(&mut client.reader).unwrap().1, b"x");
    world.router.signal(Signal::SIGTERM);
    assert_eq!(read_frame(&mut client.reader).unwrap(), (8, vec![0x03, 0xE9]), "1001, going away");
    assert_eq!(read_frame(&mut client.reader), None);
    assert!(world.router.ended().success());
}
