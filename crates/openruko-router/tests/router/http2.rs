//! Clients that speak HTTP/2 and mean no good: frames as they are told, to the byte (RFC 9113, RFC 7541).

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Condvar, Mutex};

use ruko_api_types::router::RoutedApp;

use crate::api::{app, routed};
use crate::client::Client;
use crate::dyno::{Dyno, answer};
use crate::world::{World, eventually};

/// The most streams of a connection at a time.
const STREAMS: u32 = 100;

/// A connection whose windows are as wide as can be, and that reads nothing.
struct Deaf(TcpStream);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Deaf {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = Client::connect(address).stream;
        let most = (1_u32 << 31) - 1;
        let window = [&[0, 4][..], &most.to_be_bytes()].concat();
        let hello = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &frame(4, 0, 0, &window)[..],
            &frame(8, 0, 0, &(most - 65_535).to_be_bytes()),
        ];
        stream.write_all(&hello.concat()).unwrap();
        Self(stream)
    }

    /// Asks for a path of `shop.test`, on the stream with this number in order.
    fn get(&mut self, number: u32, path: &str) {
        let word = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        // By their numbers in the static table: GET, http, :path, :authority.
        let fields = [&[0x82, 0x86, 0x04][..], &word(path), &[0x01], &word("shop.test")].concat();
        self.0.write_all(&frame(1, 5, 2 * number + 1, &fields)).unwrap();
    }
}

fn shop(dyno: &Dyno, extra: &str) -> World {
    let world = World::with(&format!("metrics_listen = '127.0.0.1:0'\n{extra}"));
    world.put(RoutedApp { dynos: vec![routed(1, dyno.address)], ..app("shop", &["shop.test"]) });
    world
}

#[test]
fn clients_that_read_nothing_cost_little_memory_and_are_cut_off() {
    let body = "x".repeat(400 << 10);
    let dyno = Dyno::start(move |_| answer("200 OK", &body));
    let world = shop(&dyno, "");
    let before = world.router.peak_memory();
    let mut clients: Vec<_> = (0..4).map(|_| Deaf::connect(world.router.http)).collect();
    for client in &mut clients {
        (0..STREAMS).for_each(|number| client.get(number, "/"));
    }
    // Some may have gone into the kernel's buffers.
    let count = |word| world.api.lines_with(word);
    eventually("their end", || count(" status=200 ") + count("code=H28") + count("code=H27") == 400);
    let more = world.router.peak_memory() - before;
    // Of which each request that is open needs a part anyway, most of it for what it reads at a time.
    assert!(more < 120 << 10, "{more} KiB");
    eventually("the end of the connections", || {
        world.router.metric("openruko_router_connections") == Some(0.0)
    });
}

#[test]
fn one_client_does_not_take_every_place_of_an_app() {
    let held = std::sync::Arc::new((Mutex::new(true), Condvar::new()));
    let gate = held.clone();
    let dyno = Dyno::start(move |request| {
        if request.line.contains("/wait") {
            drop(gate.1.wait_while(gate.0.lock().unwrap(), |held| *held).unwrap());
        }
        answer("200 OK", "yes")
    });
    let world = shop(&dyno, "first_byte_seconds = 60\nrolling_seconds = 60\ndyno_requests = 550\n");
    let mut clients: Vec<_> = (0..6).map(|_| Deaf::connect(world.router.http)).collect();
    for client in &mut clients {
        (0..STREAMS).for_each(|number| client.get(number, "/wait"));
    }
    let refused = || world.router.metric("openruko_router_connections_refused_total");
    eventually("as many as one may have", || dyno.accepted() == 512 && refused() == Some(88.0));
    // Whoever else comes is served.
    let other = Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--interface", "127.0.0.2"])
        .args(["--max-time", "30", "--header", "Host: shop.test"])
        .arg(format!("http://{}/", world.router.http))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&other.stdout), "yes");
    *held.0.lock().unwrap() = false;
    held.1.notify_all();
    eventually("room again", || {
        let mut client = Deaf::connect(world.router.http);
        client.get(0, "/");
        world.api.lines_with("path=\"/\"") > 1
    });
}
