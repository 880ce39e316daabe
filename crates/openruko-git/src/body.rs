//! A request's body: bounded, unpacked where it is gzip, and never waited for longer than it makes progress.

use std::io::Write;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use flate2::write::GzDecoder;
use futures_util::StreamExt;

/// How long a client may take for its next bytes. A slow one goes on, a silent one is cut.
const SILENCE: Duration = Duration::from_secs(60);

/// So many packed bytes are unpacked at a time: deflate makes at most 1032 of one (RFC 1951), so what is
/// held stays at a MiB.
const PIECE: usize = 1024;

/// How long the rest of a body is read that nobody wants, so that its client reads the answer before it
/// meets a closed connection.
const DRAIN: Duration = Duration::from_secs(30);

/// Why a body cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// As sent or as unpacked.
    #[error("The request is larger than {max} bytes, the bound of this server ([git] max_request_bytes).")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// It is not what it is said to be.
    #[error("The request cannot be read: {0}.")]
    Malformed(&'static str),
    /// It is packed in a way that is not understood.
    #[error("The request is packed in another way than gzip.")]
    Encoding,
    /// The client stopped sending.
    #[error("Nothing came for {} seconds.", SILENCE.as_secs())]
    Silent,
    /// Nobody is there to be told.
    #[error("The connection broke.")]
    Gone,
}

/// A body, to be read piece by piece. Nothing is asked of the client before the first piece is: not even
/// `Expect: 100-continue` is answered.
pub(crate) struct RequestBody {
    stream: BodyDataStream,
    unpacker: Option<GzDecoder<Vec<u8>>>,
    /// Arrived and not yet unpacked.
    packed: Bytes,
    sent: u64,
    unpacked: u64,
    max: u64,
}

impl RequestBody {
    /// Judges what the head says of it.
    pub(crate) fn new(headers: &HeaderMap, body: Body, max: u64) -> Result<Self, BodyError> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > max) {
            return Err(BodyError::TooLarge { max });
        }
        let unpacker = match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
            None | Some(b"identity") => None,
            Some(b"gzip" | b"x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(_) => return Err(BodyError::Encoding),
        };
        let stream = body.into_data_stream();
        Ok(Self { stream, unpacker, packed: Bytes::new(), sent: 0, unpacked: 0, max })
    }

    /// The next piece, unpacked; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(piece) = self.unpack()? {
                return Ok(Some(piece));
            }
            let Some(piece) = self.receive().await? else { return self.end() };
            if self.unpacker.is_some() {
                self.packed = piece;
            } else if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, BodyError> {
        let piece = match tokio::time::timeout(SILENCE, self.stream.next()).await {
            Err(_) => return Err(BodyError::Silent),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Gone),
            Ok(Some(Ok(piece))) => piece,
        };
        self.sent = bounded(self.sent, piece.len(), self.max)?;
        Ok(Some(piece))
    }

    /// What the packed bytes give; none when there is nothing more in them.
    fn unpack(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Some(unpacker) = &mut self.unpacker else { return Ok(None) };
        while !self.packed.is_empty() {
            let piece = self.packed.split_to(self.packed.len().min(PIECE));
            unpacker.write_all(&piece).map_err(|_| NO_GZIP)?;
            let unpacked = std::mem::take(unpacker.get_mut());
            self.unpacked = bounded(self.unpacked, unpacked.len(), self.max)?;
            if !unpacked.is_empty() {
                return Ok(Some(unpacked.into()));
            }
        }
        Ok(None)
    }

    /// The last of it. What is packed has to be whole.
    fn end(&mut self) -> Result<Option<Bytes>, BodyError> {
        let Some(unpacker) = self.unpacker.take() else { return Ok(None) };
        let unpacked = unpacker.finish().map_err(|_| NO_GZIP)?;
        self.unpacked = bounded(self.unpacked, unpacked.len(), self.max)?;
        Ok((!unpacked.is_empty()).then(|| unpacked.into()))
    }

    /// Reads what is left and drops it, for some time.
    pub(crate) async fn drain(mut self) {
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = tokio::time::timeout(DRAIN, rest).await;
    }
}

const NO_GZIP: BodyError = BodyError::Malformed("its gzip is broken");

fn bounded(so_far: u64, more: usize, max: u64) -> Result<u64, BodyError> {
    let all = so_far.saturating_add(more as u64);
    if all > max { Err(BodyError::TooLarge { max }) } else { Ok(all) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A body that arrives in these pieces.
    pub(crate) fn in_pieces(pieces: Vec<Vec<u8>>, gzip: bool, max: u64) -> RequestBody {
        let mut headers = HeaderMap::new();
        if gzip {
            headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        }
        let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        RequestBody::new(&headers, body, max).unwrap()
    }

    async fn all(mut body: RequestBody) -> Result<Vec<u8>, BodyError> {
        let mut whole = Vec::new();
        while let Some(piece) = body.next().await? {
            assert!(piece.len() <= PIECE * 1100, "what is held is bounded: {}", piece.len());
            whole.extend(piece);
        }
        Ok(whole)
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    #[tokio::test]
    async fn gzip_is_unpacked_however_it_arrives() {
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for size in [1000, 7777, 1 << 20] {
            let pieces = packed(&text).chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(all(in_pieces(pieces, true, 1 << 20)).await.unwrap(), text);
        }
        assert_eq!(all(in_pieces(vec![text.clone()], false, 1 << 20)).await.unwrap(), text);
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_bound_which_is_named() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        let stopped = all(in_pieces(vec![bomb], true, 1 << 20)).await.unwrap_err();
        assert!(stopped.to_string().contains("larger than 1048576 bytes"), "{stopped}");
        assert!(matches!(stopped, BodyError::TooLarge { .. }));
        let large = all(in_pieces(vec![vec![0; 600], vec![0; 600]], false, 1000)).await.unwrap_err();
        assert!(matches!(large, BodyError::TooLarge { max: 1000 }));
    }

    #[tokio::test]
    async fn gzip_that_breaks_off_or_goes_on_is_refused() {
        let whole = packed(b"text that is packed");
        let half = whole[..whole.len() / 2].to_vec();
        let more = [whole, b"trailing".to_vec()].concat();
        for broken in [half, more, b"not gzip at all".to_vec()] {
            let refused = all(in_pieces(vec![broken], true, 1000)).await;
            assert!(matches!(refused, Err(BodyError::Malformed(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_length_that_is_too_large_is_refused_before_anything_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "1001".parse().unwrap());
        assert!(matches!(
            RequestBody::new(&headers, Body::empty(), 1000),
            Err(BodyError::TooLarge { max: 1000 })
        ));
        headers.clear();
        headers.insert(CONTENT_ENCODING, "br".parse().unwrap());
        assert!(matches!(RequestBody::new(&headers, Body::empty(), 1000), Err(BodyError::Encoding)));
    }
}
