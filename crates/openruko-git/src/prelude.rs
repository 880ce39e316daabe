//! The first packets of a request: what the client understands, and what a refusal has to name.

use crate::body::{BodyError, RequestBody};
use crate::packets::{FLUSH, Head, head};
use crate::wanted::Service;

/// So much is looked at; longer lists of commands are passed on unread.
const MAX: usize = 64 << 10;

/// What a request begins with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Prelude {
    /// What was read, for the service.
    pub(crate) bytes: Vec<u8>,
    /// The whole request is a flush: git asks so whether it may send a large one (remote-curl's
    /// `probe_rpc`).
    pub(crate) is_probe: bool,
    pub(crate) client: Client,
}

/// What a client that pushes said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// It takes progress beside data, in side-band-64k.
    pub(crate) bands: bool,
    /// It expects a report.
    pub(crate) report: bool,
    /// The refs that it wants to change, as far as they were seen.
    pub(crate) refs: Vec<Vec<u8>>,
}

impl Prelude {
    /// Reads as much of a body as it takes.
    pub(crate) async fn read(service: Service, body: &mut RequestBody) -> Result<Self, BodyError> {
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await? {
            bytes.extend_from_slice(&piece);
            if is_enough(service, &bytes)? {
                let client = client(service, &bytes);
                return Ok(Self { client, bytes, is_probe: false });
            }
        }
        match bytes.as_slice() {
            [] => Err(BodyError::Malformed("it is empty")),
            bytes if bytes == FLUSH => Ok(Self { is_probe: true, ..Self::default() }),
            _ => Ok(Self { client: client(service, &bytes), bytes, is_probe: false }),
        }
    }
}

/// Whether nothing that follows matters. After a first flush something does: whether it was all.
fn is_enough(service: Service, bytes: &[u8]) -> Result<bool, BodyError> {
    match head(bytes) {
        None => Ok(false),
        Some(Head::Bad) => Err(BodyError::Malformed("it does not begin with one of git's packets")),
        Some(Head::Mark) => Ok(bytes.len() > FLUSH.len()),
        Some(Head::Data(_)) if service == Service::UploadPack => Ok(true),
        Some(Head::Data(_)) => Ok(Packets(bytes).last().is_some_and(|last| last.is_end) || bytes.len() > MAX),
    }
}

/// A command is `OLD NEW REF`; the first has the capabilities after a NUL (gitprotocol-pack(5)).
fn client(service: Service, bytes: &[u8]) -> Client {
    let mut client = Client::default();
    if service != Service::ReceivePack {
        return client;
    }
    for Packet { content, .. } in Packets(&bytes[..bytes.len().min(MAX)]) {
        let (command, capabilities) = split_at(content, 0).unwrap_or((content, &[]));
        for capability in capabilities.split(|&b| b == b' ' || b == b'\n') {
            client.bands |= capability == b"side-band-64k";
            client.report |= capability == b"report-status" || capability == b"report-status-v2";
        }
        let name = command.splitn(3, |&b| b == b' ').nth(2);
        client.refs.extend(name.map(|name| name.trim_ascii_end().to_vec()));
    }
    client
}

fn split_at(bytes: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == mark)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The whole packets up to the first mark.
struct Packets<'a>(&'a [u8]);

struct Packet<'a> {
    content: &'a [u8],
    /// Whether a mark follows, or what is no packet.
    is_end: bool,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let Some(Head::Data(length)) = head(self.0) else { return None };
        let (packet, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let is_end = matches!(head(rest), Some(Head::Mark | Head::Bad));
        Some(Packet { content: &packet[4..], is_end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::in_pieces;
    use crate::packets::packet;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    async fn read(service: Service, bytes: &[u8], size: usize) -> Result<Prelude, BodyError> {
        let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
        Prelude::read(service, &mut in_pieces(pieces, false, 1 << 30)).await
    }

    fn push(capabilities: &str) -> Vec<u8> {
        let first = format!("{ID} {ID} refs/heads/main\0 {capabilities}\n");
        let second = format!("{ID} {ID} refs/tags/v1");
        let shallow = format!("shallow {ID}");
        let packets = [shallow, first, second].map(|text| packet(text.as_bytes())).concat();
        [packets, FLUSH.to_vec(), b"PACK....".to_vec()].concat()
    }

    #[tokio::test]
    async fn what_a_client_understands_is_known_however_it_arrives() {
        let request = push("report-status-v2 side-band-64k object-format=sha1 agent=git/2.39");
        for size in [1, 7, 100, 10_000] {
            let prelude = read(Service::ReceivePack, &request, size).await.unwrap();
            let Client { bands, report, refs } = prelude.client;
            assert!(bands && report && !prelude.is_probe);
            assert_eq!(refs, [b"refs/heads/main".to_vec(), b"refs/tags/v1".to_vec()]);
            assert!(request.starts_with(&prelude.bytes));
        }
        let plain = read(Service::ReceivePack, &push("ofs-delta"), 100).await.unwrap();
        assert!(!plain.client.bands && !plain.client.report);
    }

    #[tokio::test]
    async fn a_probe_is_a_flush_and_nothing_else() {
        for service in [Service::ReceivePack, Service::UploadPack] {
            assert!(read(service, b"0000", 1).await.unwrap().is_probe);
            assert!(!read(service, b"00000009done\n", 4).await.unwrap().is_probe);
        }
    }

    #[tokio::test]
    async fn what_is_not_gits_is_refused() {
        for bad in [&b""[..], b"GET / HTTP/1.1", b"PACK"] {
            let refused = read(Service::ReceivePack, bad, 100).await;
            assert!(matches!(refused, Err(BodyError::Malformed(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_list_of_commands_is_not_held() {
        let command = packet(format!("{ID} {ID} refs/heads/x\0report-status").as_bytes());
        let prelude = read(Service::ReceivePack, &command.repeat(10_000), 5000).await.unwrap();
        assert!(prelude.bytes.len() < MAX + 10_000);
        assert!(prelude.client.report);
    }
}
