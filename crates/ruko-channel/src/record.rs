//! Records: one type byte, four bytes of length, the payload.

use std::io::{self, IoSlice, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest JSON message. The config vars of an app must fit.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The largest piece of an object.
pub const MAX_PIECE: usize = 1 << 20;

const MESSAGE: u8 = b'J';
const PIECE: u8 = b'D';
const END: u8 = b'E';

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

fn write(to: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| invalid("a record is too long"))?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_be_bytes());
    // Each write is a packet of ssh: a small record is one.
    let mut rest = &mut [IoSlice::new(&head), IoSlice::new(payload)][..];
    while !rest.is_empty() {
        match to.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the head of a record; none at a clean end of the stream.
fn head(from: &mut impl Read) -> io::Result<Option<(u8, usize)>> {
    let mut kind = [0];
    if from.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| invalid("a record is too long"))?;
    Ok(Some((kind[0], length)))
}

/// Writes a message and flushes.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let payload = serde_json::to_vec(message)?;
    if payload.len() > MAX_MESSAGE {
        return Err(invalid(format!("a message of {} bytes is longer than {MAX_MESSAGE}", payload.len())));
    }
    write(to, MESSAGE, &payload)?;
    to.flush()
}

/// Reads a message; none at a clean end of the stream.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let Some((kind, length)) = head(from)? else { return Ok(None) };
    if kind != MESSAGE || length > MAX_MESSAGE {
        return Err(invalid(format!("a record of type {kind} and {length} bytes where a message belongs")));
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some(serde_json::from_slice(&payload)?))
}

/// Writes an object as records: collect pieces, then [`ObjectWriter::finish`].
pub(crate) struct ObjectWriter<W: Write> {
    to: W,
    piece: Vec<u8>,
}

impl<W: Write> ObjectWriter<W> {
    /// Pieces go out at this size: large enough to make the head's cost vanish.
    const PIECE_BYTES: usize = 128 << 10;

    pub(crate) fn new(to: W) -> Self {
        Self { to, piece: Vec::with_capacity(Self::PIECE_BYTES) }
    }

    fn send_piece(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            write(&mut self.to, PIECE, &self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Writes the rest and the end mark.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send_piece()?;
        write(&mut self.to, END, &[])?;
        self.to.flush()
    }
}

impl<W: Write> Write for ObjectWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(Self::PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == Self::PIECE_BYTES {
            self.send_piece()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_piece()?;
        self.to.flush()
    }
}

/// Reads an object out of records, up to its end mark. A stream that ends before the mark is an error, so
/// that half an object is never taken for a whole one.
pub(crate) struct ObjectReader<'a, R: Read> {
    from: &'a mut R,
    left: usize,
    ended: bool,
}

impl<'a, R: Read> ObjectReader<'a, R> {
    pub(crate) fn new(from: &'a mut R) -> Self {
        Self { from, left: 0, ended: false }
    }

    /// Reads what is left and throws it away, so that the next record can be read.
    pub(crate) fn drain(&mut self) -> io::Result<u64> {
        io::copy(self, &mut io::sink())
    }
}

impl<R: Read> Read for ObjectReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 && !self.ended {
            match head(self.from)? {
                Some((PIECE, length)) if length <= MAX_PIECE => self.left = length,
                Some((END, 0)) => self.ended = true,
                Some((kind, length)) => {
                    return Err(invalid(format!(
                        "a record of type {kind} and {length} bytes inside an object"
                    )));
                }
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let wanted = buffer.len().min(self.left);
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.from.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time, and counts the times; every other time it is interrupted.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
        times: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.times += 1;
            if self.times.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let there = slices.iter().flat_map(|slice| slice.iter().copied());
            let before = self.taken.len();
            self.taken.extend(there.take(self.width));
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_write_and_whole_if_it_takes_more() {
        for width in [1, 3, 5, 6, 64] {
            let mut to = Narrow { width, taken: Vec::new(), times: 0 };
            send(&mut to, &"word").unwrap();
            assert_eq!(receive::<String>(&mut &to.taken[..]).unwrap().unwrap(), "word");
            assert_eq!(to.times == 1, width == 64, "{} of {width} bytes", to.times);
        }
        let mut to = Narrow { width: 4, taken: Vec::new(), times: 0 };
        write(&mut to, END, b"").unwrap();
        assert_eq!(to.taken, b"E\0\0\0\0");
    }
}
