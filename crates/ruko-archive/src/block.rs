//! A tar stream, block by block, strictly: it ends with its end mark, and nothing but zeros follows.

use std::io::{self, Read};

use tar::Header;

/// The unit of a tar stream.
pub(crate) const BLOCK: usize = 512;

/// Writers fill their last record with zeros; the largest record size in use is far below this.
const MOST_PADDING: u64 = 4 << 20;

/// Why a tar stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("{0}")]
    Damaged(String),
}

fn damaged<T>(why: impl Into<String>) -> Result<T, StreamError> {
    Err(StreamError::Damaged(why.into()))
}

impl From<io::Error> for StreamError {
    /// Decoders say what is wrong with their bytes by these kinds; everything else is the source's.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".into()),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Read(error),
        }
    }
}

/// Reads a tar stream.
pub(crate) struct Blocks<R> {
    from: R,
    buffer: Box<[u8]>,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: vec![0; 128 << 10].into_boxed_slice() }
    }

    /// The next header; none at the end mark, after which nothing but zeros was found.
    pub(crate) fn header(&mut self) -> Result<Option<Header>, StreamError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        self.from.read_exact(block)?;
        if block.iter().all(|&b| b == 0) {
            return self.only_zeros_follow().map(|()| None);
        }
        let mut counted = header.clone();
        counted.set_cksum();
        match (header.cksum(), counted.cksum()) {
            (Ok(says), Ok(is)) if says == is => Ok(Some(header)),
            _ => damaged("the checksum of a header is wrong"),
        }
    }

    /// Passes the contents of an entry on, piece by piece.
    pub(crate) fn contents<E: From<StreamError>>(
        &mut self,
        size: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = match self.from.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(StreamError::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into()),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(StreamError::from(e).into()),
            };
            take(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.padding(size).map_err(E::from)
    }

    fn padding(&mut self, size: u64) -> Result<(), StreamError> {
        let over = size % BLOCK as u64;
        if over > 0 {
            let mut rest = [0; BLOCK];
            let count = BLOCK - usize::try_from(over).unwrap_or(0);
            self.from.read_exact(&mut rest[..count])?;
        }
        Ok(())
    }

    /// Reading to the end also lets the decoder check what it keeps there.
    fn only_zeros_follow(&mut self) -> Result<(), StreamError> {
        let mut seen = 0;
        loop {
            let count = match self.from.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            seen += count as u64;
            if seen > MOST_PADDING || self.buffer[..count].iter().any(|&b| b != 0) {
                return damaged("something follows its end mark");
            }
        }
    }
}
