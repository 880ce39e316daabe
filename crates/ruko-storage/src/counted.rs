//! What is stored, read to its end within its limit.

use std::io::{ErrorKind, Read};

use crate::{PutError, StorageError};

/// Hands on what comes, piece by piece, until its end or one piece beyond the limit. Gives the number of bytes.
pub(crate) fn read_within(
    max_bytes: u64,
    from: &mut dyn Read,
    mut take: impl FnMut(&[u8]) -> Result<(), StorageError>,
) -> Result<u64, PutError> {
    let mut buffer = vec![0; 128 << 10];
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(PutError::Source(e)),
        };
        bytes += count as u64;
        if bytes > max_bytes {
            return Err(PutError::TooLarge { max: max_bytes });
        }
        take(&buffer[..count])?;
    }
}
