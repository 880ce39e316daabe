//! Storage of objects: repositories, slugs, build caches. A [`StorageUrl`] says where one is; [`get`],
//! [`put`] and [`delete`] act on it, in constant memory.
//!
//! Objects are files below a directory for now. `http(s)` URLs, pre-signed by S3 or Swift, are refused with
//! a sentence until they are built.

mod file;
mod url;

use std::io::{self, Read};

pub use ruko_api_types::Stored;
pub use url::{BadUrl, StorageUrl};

/// Why storage failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No space, or none left of a quota.
    #[error("no space is left where `{url}` is stored")]
    Full {
        /// The object.
        url: StorageUrl,
    },
    /// What is stored there is no object, but a directory, a device or the like.
    #[error("`{url}` is no object, but something else")]
    NoObject {
        /// What was asked for.
        url: StorageUrl,
    },
    /// Another failure.
    #[error("cannot {verb} `{url}`")]
    Io {
        /// What was attempted: `get`, `put`, `delete`.
        verb: &'static str,
        /// The object.
        url: StorageUrl,
        /// Why it failed.
        source: io::Error,
    },
}

/// Why an object was not stored. There is then the object that was there before, or none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The source has more bytes than were allowed.
    #[error("it is larger than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// The source failed.
    #[error("cannot read what is to be stored")]
    Source(#[source] io::Error),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Opens an object for reading; none when it is not there.
///
/// # Errors
/// Storage failed. Errors of later reads name the object.
pub fn get(url: &StorageUrl) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
    match url {
        StorageUrl::File(path) => file::get(url, path),
    }
}

/// Stores all that `from` gives, counting and hashing it on its way. Afterwards there is the new object,
/// safe on disk, or, on any failure, what was there before.
///
/// # Errors
/// See [`PutError`]. At most one buffer beyond `max_bytes` was read then.
pub fn put(url: &StorageUrl, from: &mut dyn Read, max_bytes: u64) -> Result<Stored, PutError> {
    match url {
        StorageUrl::File(path) => file::put(url, path, from, max_bytes),
    }
}

/// Deletes an object. One that is not there is as good as deleted.
///
/// # Errors
/// Storage failed.
pub fn delete(url: &StorageUrl) -> Result<(), StorageError> {
    match url {
        StorageUrl::File(path) => file::delete(url, path),
    }
}
