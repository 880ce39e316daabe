//! An object that has to be the one that was stored.

use std::io::{self, ErrorKind, Read};

use ruko_core::hex;
use sha2::{Digest, Sha256};

use crate::{StorageUrl, Stored};

/// Counts and hashes what is read. The read that finds the end says whether it was the right one.
pub(crate) struct Checked {
    object: Box<dyn Read + Send>,
    url: StorageUrl,
    known: Stored,
    hash: Sha256,
    bytes: u64,
}

impl Checked {
    pub(crate) fn new(object: Box<dyn Read + Send>, url: &StorageUrl, known: &Stored) -> Self {
        Self { object, url: url.clone(), known: known.clone(), hash: Sha256::new(), bytes: 0 }
    }

    fn damaged(&self, is: &str) -> io::Error {
        let Self { url, known, .. } = self;
        let why = format!(
            "`{url}` is damaged: it has {is}, and should have {} bytes with the SHA-256 {}",
            known.bytes, known.sha256
        );
        io::Error::new(ErrorKind::InvalidData, why)
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.object.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        if self.bytes > self.known.bytes {
            return Err(self.damaged(&format!("more than {} bytes", self.known.bytes)));
        }
        if count == 0 && !buffer.is_empty() {
            let sha256 = hex(&self.hash.clone().finalize());
            if self.bytes != self.known.bytes || sha256 != self.known.sha256 {
                return Err(self.damaged(&format!("{} bytes with the SHA-256 {sha256}", self.bytes)));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8], known: (u64, &str)) -> io::Result<Vec<u8>> {
        let url = "https://host/key?secret".parse().unwrap();
        let known = Stored { bytes: known.0, sha256: known.1.to_owned() };
        let mut out = Vec::new();
        Checked::new(Box::new(bytes), &url, &known).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn only_what_was_stored_is_read_to_its_end() {
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read(b"abc", (3, ABC)).unwrap(), b"abc");
        for (bytes, known) in
            [(&b"abd"[..], (3, ABC)), (b"ab", (3, ABC)), (b"abcd", (3, ABC)), (b"abc", (3, "0"))]
        {
            let why = read(bytes, known).unwrap_err().to_string();
            assert!(why.contains("is damaged") && !why.contains("secret"), "{why}");
        }
    }
}
