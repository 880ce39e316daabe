//! What is to be sent, kept until it is stored.
//!
//! S3 wants to know the length of what it gets before the first byte, and a slug is made while it is read: nobody
//! knows it. Uploads in parts would need an address for each part, signed ahead of time for a number of them that
//! nobody knows either, and Swift does them in another way. So what comes is kept in a file without a name, within
//! the limit that applies anyway. What is kept can be sent a second time, and its digests go ahead of it, so that
//! storage refuses what did not arrive as it was sent.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use ruko_api_types::Stored;
use ruko_core::hex;
use sha2::{Digest, Sha256};
use tempfile::SpooledTempFile;

use crate::counted::read_within;
use crate::{PutError, StorageError, StorageUrl};

/// What is no larger than this stays in memory, in bytes.
const IN_MEMORY: usize = 1 << 20;

/// All of what is to be sent.
pub(crate) struct Spool {
    file: SpooledTempFile,
    pub(crate) stored: Stored,
    md5: [u8; 16],
}

/// `$TMPDIR`, or /var/tmp: what /tmp takes is memory on many machines.
fn dir() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

impl Spool {
    /// Reads to the end, or to one buffer beyond the limit.
    pub(crate) fn fill(url: &StorageUrl, from: &mut dyn Read, max_bytes: u64) -> Result<Self, PutError> {
        Self::fill_in(&dir(), url, from, max_bytes)
    }

    fn fill_in(dir: &Path, url: &StorageUrl, from: &mut dyn Read, max_bytes: u64) -> Result<Self, PutError> {
        let failed = |source| StorageError::Spool { url: url.clone(), dir: dir.to_owned(), source };
        let mut file = tempfile::spooled_tempfile_in(IN_MEMORY, dir);
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let bytes = read_within(max_bytes, from, |piece| {
            sha256.update(piece);
            md5.update(piece);
            file.write_all(piece).map_err(failed)
        })?;
        Ok(Self {
            file,
            stored: Stored { bytes, sha256: hex(&sha256.finalize()) },
            md5: md5.finalize().into(),
        })
    }

    /// Makes it begin at its beginning again.
    pub(crate) fn rewind(&mut self) -> io::Result<&mut impl Read> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(&mut self.file)
    }

    /// As `Content-MD5` wants it (RFC 1864).
    pub(crate) fn md5_base64(&self) -> String {
        BASE64_STANDARD.encode(self.md5)
    }

    /// As Swift wants it, in `ETag`.
    pub(crate) fn md5_hex(&self) -> String {
        hex(&self.md5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> StorageUrl {
        "https://host/key".parse().unwrap()
    }

    #[test]
    fn what_was_filled_in_comes_out_as_often_as_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 3, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY] {
            let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut spool = Spool::fill_in(dir.path(), &url(), &mut &bytes[..], size as u64).unwrap();
            for _ in 0..2 {
                let mut out = Vec::new();
                spool.rewind().unwrap().read_to_end(&mut out).unwrap();
                assert!(out == bytes, "{size}");
            }
            assert_eq!(spool.stored.bytes, size as u64);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
        }
        let spool = Spool::fill_in(dir.path(), &url(), &mut &b"abc"[..], 3).unwrap();
        // RFC 1321, A.5.
        assert_eq!(spool.md5_hex(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(spool.md5_base64(), "kAFQmDzST7DWlj99KOF/cg==");
    }

    #[test]
    fn no_more_is_kept_than_allowed_and_a_place_that_fails_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let endless = Spool::fill_in(dir.path(), &url(), &mut io::repeat(7), 4 << 20).err().unwrap();
        assert!(matches!(endless, PutError::TooLarge { max } if max == 4 << 20));
        let missing = dir.path().join("missing");
        let lost = Spool::fill_in(&missing, &url(), &mut io::repeat(7).take(2 << 20), 4 << 20).err().unwrap();
        assert!(lost.to_string().contains(missing.to_str().unwrap()), "{lost}");
    }
}
