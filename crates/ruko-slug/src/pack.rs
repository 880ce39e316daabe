//! The slug: what a dyno will find at `/app`, packed.

use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use ruko_archive::{Compression, PackError, Skipped, Times, TreeOptions, Writer};

/// Packs a build directory as a slug: its contents are named `app/…` and have fixed times, so that the
/// same app gives the same bytes. `.git` at the top is left out.
///
/// # Errors
/// Something cannot be read, or `out` cannot be written.
pub fn pack<W: Write>(build_dir: &Path, out: W) -> Result<(W, Skipped), PackError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut writer = Writer::new(out, Compression::Parallel { threads });
    writer.directory(Path::new("./app"), 0o755)?;
    let options = TreeOptions { times: Times::Fixed, exclude: &|path| path == Path::new(".git") };
    let skipped = writer.tree(build_dir, &PathBuf::from("./app"), &options)?;
    Ok((writer.finish()?.0, skipped))
}

/// Counts what goes through it, and passes on no more than a limit.
pub struct Limited<W> {
    inner: W,
    count: u64,
    limit: u64,
}

impl<W> Limited<W> {
    /// Passes on at most `limit` bytes.
    pub fn new(inner: W, limit: u64) -> Self {
        Self { inner, count: 0, limit }
    }

    /// Bytes that came, passed on or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether more came than was passed on.
    pub fn exceeded(&self) -> bool {
        self.count > self.limit
    }

    /// What it passes on to.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.count += bytes.len() as u64;
        if self.exceeded() {
            return Ok(bytes.len());
        }
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_limit_is_counted_and_not_passed_on() {
        let mut limited = Limited::new(vec![], 5);
        for piece in [&b"123"[..], b"45", b"678", b"9"] {
            limited.write_all(piece).unwrap();
        }
        assert!(limited.exceeded());
        assert_eq!(limited.count(), 9);
        assert_eq!(limited.into_inner(), b"12345");
    }
}
