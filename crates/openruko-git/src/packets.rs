//! git's packets (gitprotocol-common(5), "pkt-line"): four hexadecimal digits that count themselves and what
//! follows. `0000` to `0002` are marks without content.

/// The longest packet, its length included (gitprotocol-common(5)).
const MAX: usize = 65520;

/// The mark that ends a list or an answer.
pub(crate) const FLUSH: &[u8] = b"0000";

/// A packet without content in band 1: what git itself sends while it has nothing to say.
pub(crate) const KEEP_ALIVE: &[u8] = b"0005\x01";

/// What stands before a packet's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// So many bytes, the four of the head included.
    Data(usize),
    /// `0000`, `0001` or `0002`.
    Mark,
    /// Not a packet.
    Bad,
}

/// Reads the head of a packet; none while it is not all there.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let digits = bytes.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Some(Head::Bad);
    }
    let length = digits.iter().fold(0, |sum, &digit| sum * 16 + usize::from(value(digit)));
    Some(match length {
        0..=2 => Head::Mark,
        4..=MAX => Head::Data(length),
        _ => Head::Bad,
    })
}

fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        digit => (digit | 0x20) - b'a' + 10,
    }
}

/// A packet with this content, which is cut to what fits.
pub(crate) fn packet(content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min(MAX - 4)];
    let mut packet = format!("{:04x}", content.len() + 4).into_bytes();
    packet.extend(content);
    packet
}

/// A packet on a band of git's side-band-64k (gitprotocol-pack(5)): 1 carries data, 2 progress.
pub(crate) fn banded(band: u8, content: &[u8]) -> Vec<u8> {
    packet(&[&[band], content].concat())
}

/// Cuts a stream into whole packets. What does not read as packets is passed on as it is, all of the
/// rest: a pack that is sent without bands.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    held: Vec<u8>,
    raw: bool,
    last: Last,
}

/// What the last whole packet was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Last {
    /// There was none.
    #[default]
    Nothing,
    /// A mark: an answer may end so.
    Mark,
    /// git's own refusal: an answer may end so as well.
    Error,
    /// Something that is followed by more.
    Data,
}

impl Splitter {
    /// Takes bytes and gives those that are whole packets now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut whole = 0;
        while !self.raw {
            let rest = &self.held[whole..];
            match head(rest) {
                None => break,
                Some(Head::Mark) => (whole, self.last) = (whole + 4, Last::Mark),
                Some(Head::Data(length)) if length <= rest.len() => {
                    self.last = if is_error(rest) { Last::Error } else { Last::Data };
                    whole += length;
                }
                Some(Head::Data(_)) => break,
                Some(Head::Bad) => self.raw = true,
            }
        }
        if self.raw {
            self.last = Last::Data;
            return std::mem::take(&mut self.held);
        }
        let rest = self.held.split_off(whole);
        std::mem::replace(&mut self.held, rest)
    }

    /// What the last whole packet was.
    pub(crate) fn last(&self) -> Last {
        self.last
    }

    /// Whether another packet may be put in here.
    pub(crate) fn may_be_joined(&self) -> bool {
        !self.raw
    }
}

/// Whether this begins with git's error packet (gitprotocol-pack(5), "error-line").
pub(crate) fn is_error(bytes: &[u8]) -> bool {
    matches!(head(bytes), Some(Head::Data(8..))) && bytes.get(4..8) == Some(b"ERR ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_are_read_as_git_reads_them() {
        for (bytes, expected) in [
            (&b"000"[..], None),
            (b"0000", Some(Head::Mark)),
            (b"0002x", Some(Head::Mark)),
            (b"0003", Some(Head::Bad)),
            (b"0004", Some(Head::Data(4))),
            (b"fFf0", Some(Head::Data(65520))),
            (b"fff1", Some(Head::Bad)),
            (b"+004", Some(Head::Bad)),
            (b"PACK", Some(Head::Bad)),
        ] {
            assert_eq!(head(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn packets_count_themselves() {
        assert_eq!(packet(b"hi\n"), b"0007hi\n");
        assert_eq!(banded(2, b"x"), b"0006\x02x");
        assert_eq!(packet(&vec![b'x'; 1 << 20]).len(), MAX);
        assert!(is_error(b"000dERR no") && !is_error(b"0008ERRO") && !is_error(b"0000ERR "));
    }

    #[test]
    fn what_is_no_packet_passes_as_it_is() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"0008NAK\nPA"), b"0008NAK\n");
        assert_eq!(splitter.push(b"CK..."), b"PACK...");
        assert!(!splitter.may_be_joined());
        assert_eq!(splitter.push(b"0000"), b"0000");
        assert_eq!(splitter.last(), Last::Data);
    }

    proptest! {
        #[test]
        fn only_whole_packets_leave_and_nothing_is_lost(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..60),
        ) {
            let mut stream: Vec<u8> = contents.iter().flat_map(|content| packet(content)).collect();
            stream.extend(FLUSH);
            let mut splitter = Splitter::default();
            let (mut seen, mut rest, mut cuts) = (Vec::new(), stream.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                seen.extend(splitter.push(piece));
                let boundary = Splitter::default().push(&seen).len() == seen.len();
                prop_assert!(boundary && splitter.may_be_joined());
                rest = after;
            }
            prop_assert_eq!(seen, stream);
            prop_assert_eq!(splitter.last(), Last::Mark);
        }
    }
}
