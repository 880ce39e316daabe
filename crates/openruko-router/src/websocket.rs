//! As much of WebSocket (RFC 6455, section 5.2) as it takes to say goodbye between two frames.

/// A close frame with status 1001, "going away", from a server.
pub(crate) const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];

/// Where in a stream of frames one is.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The header of a frame, as far as it came.
    header: Vec<u8>,
    /// The bytes of a payload that are still to come.
    payload: u64,
}

impl Frames {
    /// Further bytes of the stream.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let count = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(payload) = payload(&self.header) {
                self.payload = payload;
                self.header.clear();
            }
        }
    }

    /// Whether a frame of somebody else may stand here.
    pub(crate) fn is_between(&self) -> bool {
        self.header.is_empty() && self.payload == 0
    }
}

/// The length of the payload, once the header is whole.
fn payload(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (size, length) = match second & 0x7F {
        126 => (2, header.get(2..4)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        127 => (8, header.get(2..10)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        short => (0, u64::from(short)),
    };
    (header.len() == 2 + size + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let mut stream = vec![0x81, 3, b'a', b'b', b'c'];
        let mut ends = vec![stream.len()];
        stream.extend([0x82, 126, 1, 0]);
        stream.extend([7; 256]);
        ends.push(stream.len());
        stream.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend([7; 65536]);
        ends.push(stream.len());
        stream.extend([0x81, 0x81, 1, 2, 3, 4, 9]);
        ends.push(stream.len());
        stream.extend([0x89, 0]);
        ends.push(stream.len());
        let (mut frames, mut between) = (Frames::default(), Vec::new());
        for (at, byte) in stream.iter().enumerate() {
            frames.feed(&[*byte]);
            if frames.is_between() {
                between.push(at + 1);
            }
        }
        assert_eq!(between, ends);
        let mut at_once = Frames::default();
        at_once.feed(&stream);
        assert!(at_once.is_between());
    }
}
