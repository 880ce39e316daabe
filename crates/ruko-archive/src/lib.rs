//! Archives of slugs, repositories and build caches: tar within gzip.
//!
//! [`unpack`] takes bytes that somebody else wrote and writes files beneath one directory and nowhere
//! else, within [`Limits`]; [`clean`] writes them as another tar stream instead, for a tool that is not to see
//! what somebody else wrote. [`Writer`] packs: the same tree gives the same bytes, in constant memory.
//!
//! The formats: gzip is RFC 1952 (a file may be several members, one after the other), tar is the ustar
//! and pax interchange format of POSIX `pax` with GNU's long names (`tar(5)`).

mod beneath;
mod block;
mod clean;
mod entry;
mod gzip;
mod name;
mod pack;
mod unpack;
mod walk;

pub use clean::{Cleaning, clean};
pub use gzip::Compression;
pub use pack::{PackError, Skipped, Times, TreeOptions, Writer};
pub use unpack::{Limits, LinkRule, UnpackError, unpack};

/// What an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries: files, directories and links.
    pub entries: u64,
    /// Bytes of the files' contents, before compression.
    pub bytes: u64,
}
