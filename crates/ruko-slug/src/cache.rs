//! The build cache on its way back to the host.

use std::fs;
use std::io::Write;
use std::path::Path;

use ruko_archive::{Compression, Times, TreeOptions, Writer};
use ruko_core::message::bytes;
use ruko_core::{Fault, Hint};
use ruko_sys::AtPath;

use crate::pack::Limited;

/// The largest cache that is kept, in bytes, packed. Caches grow with every dependency that ever was;
/// beyond this, fetching one costs more than it saves.
pub const MAX_BYTES: u64 = 512 << 20;

/// Packs the cache to `out`, with times, which package managers look at. An empty cache is no bytes at all.
///
/// # Errors
/// It cannot be read, is larger than [`MAX_BYTES`], or `out` cannot be written. What was written is then no
/// whole archive.
pub fn write(dir: &Path, out: impl Write) -> Result<(), Fault> {
    if !dir.is_dir() || fs::read_dir(dir).at("read", dir)?.next().is_none() {
        return Ok(());
    }
    let mut writer = Writer::new(Limited::new(out, MAX_BYTES), Compression::Fast);
    writer.tree(dir, Path::new(""), &TreeOptions::all(Times::Kept)).fault("cannot pack the build cache")?;
    let (mut limited, _) = writer.finish().fault("cannot pack the build cache")?;
    limited.flush().fault("cannot write the build cache")?;
    if limited.exceeded() {
        let (count, limit) = (bytes(limited.count()), bytes(MAX_BYTES));
        return Err(Fault::refused(format!(
            "the build cache is {count}, and the limit is {limit}: it is not kept"
        )));
    }
    Ok(())
}
