//! Clients that send what they are told, to the byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::world::DEADLINE;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> String {
        let named = self.fields.iter().filter(|(has, _)| has.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" & ")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Asks for a path.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> &mut Self {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// The head of an answer: its body is still to be read.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let mut first = String::new();
        if self.reader.read_line(&mut first).unwrap() == 0 {
            return None;
        }
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            let line = line.trim_end();
            if line.is_empty() {
                return Some(Answer { status, fields, body: Vec::new() });
            }
            let (name, value) = line.split_once(": ").unwrap();
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    /// A part of a body in chunks; none at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        assert_eq!(&chunk[size..], b"\r\n");
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// A whole answer to a request that was no HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head().expect("an answer");
        let length = answer.field("content-length");
        if answer.field("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        } else if !length.is_empty() {
            answer.body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut answer.body).unwrap();
        } else if !matches!(answer.status, 100..200 | 204 | 304) {
            self.reader.read_to_end(&mut answer.body).unwrap();
        }
        answer
    }

    /// What comes until the end of the connection, and whether that was a reset.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let reset = match self.reader.read_to_end(&mut rest) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
                true
            }
        };
        (rest, reset)
    }
}
