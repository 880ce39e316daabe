//! Storage of objects: repositories, slugs, build caches. A [`StorageUrl`] says where one is; [`get`],
//! [`put`] and [`delete`] act on it, in constant memory.
//!
//! `file:` URLs are files. `http(s):` URLs are what S3 and Swift have, as a rule signed ones: no program that moves
//! bytes holds a key. A connection that fails is made again, after a pause; what storage refuses is refused, in one
//! line that names the reason. Whatever arrives is what was sent, or an error.

mod checked;
mod counted;
mod file;
mod http;
mod url;

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

pub use ruko_api_types::Stored;
pub use url::{BadUrl, HttpUrl, StorageUrl};

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
    /// A service did not do it, or could not be reached.
    #[error("cannot {verb} `{url}`: {why}")]
    Http {
        /// What was attempted.
        verb: &'static str,
        /// The object.
        url: StorageUrl,
        /// Why it was not done.
        why: String,
    },
    /// What is to be sent could not be kept until then.
    #[error("cannot put `{url}`: there is no place for it in `{}` before it is sent ($TMPDIR says where)", .dir.display())]
    Spool {
        /// The object.
        url: StorageUrl,
        /// Where it is kept.
        dir: PathBuf,
        /// Why not.
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

/// How long is waited for a service, and how often it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts at one thing, the first included.
    pub tries: u32,
    /// The pause after the first attempt. Each further one is twice as long.
    pub pause: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    /// Seven attempts within a quarter of a minute: a service that is started again is there by then.
    fn default() -> Self {
        Self { tries: 7, pause: Duration::from_millis(250), silence: Duration::from_secs(60) }
    }
}

impl Patience {
    /// The pause after so many attempts.
    fn pause(&self, tries: u32) -> Duration {
        self.pause.saturating_mul(1 << tries.saturating_sub(1).min(16))
    }
}

/// Storage, with so much patience. The functions of the same names have the usual one.
#[derive(Clone, Debug)]
pub struct Storage(http::Client);

static USUAL: LazyLock<Storage> = LazyLock::new(|| Storage::with(Patience::default()));

impl Storage {
    /// With so much patience.
    #[must_use]
    pub fn with(patience: Patience) -> Self {
        Self(http::Client::new(patience))
    }

    /// See [`get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, url: &StorageUrl) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
        match url {
            StorageUrl::File(path) => file::get(url, path),
            StorageUrl::Http(url) => self.0.get(url),
        }
    }

    /// See [`put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, url: &StorageUrl, from: &mut dyn Read, max_bytes: u64) -> Result<Stored, PutError> {
        match url {
            StorageUrl::File(path) => file::put(url, path, from, max_bytes),
            StorageUrl::Http(url) => self.0.put(url, from, max_bytes),
        }
    }

    /// See [`delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, url: &StorageUrl) -> Result<(), StorageError> {
        match url {
            StorageUrl::File(path) => file::delete(url, path),
            StorageUrl::Http(url) => self.0.delete(url),
        }
    }
}

/// Opens an object for reading; none when it is not there.
///
/// # Errors
/// Storage failed. Errors of later reads name the object.
pub fn get(url: &StorageUrl) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
    USUAL.get(url)
}

/// Opens an object of which size and digest are known. Its last read fails when it is another one.
///
/// # Errors
/// Storage failed. Errors of later reads name the object.
pub fn get_known(url: &StorageUrl, known: &Stored) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
    let object = get(url)?;
    Ok(object.map(|object| Box::new(checked::Checked::new(object, url, known)) as Box<dyn Read + Send>))
}

/// Stores all that `from` gives, counting and hashing it on its way. Afterwards there is the new object,
/// safe on disk, or, on any failure, what was there before.
///
/// # Errors
/// See [`PutError`]. At most one buffer beyond `max_bytes` was read then.
pub fn put(url: &StorageUrl, from: &mut dyn Read, max_bytes: u64) -> Result<Stored, PutError> {
    USUAL.put(url, from, max_bytes)
}

/// The objects below a `file:` URL, by their paths relative to it, that nobody has written to for so long; a million
/// at most. What killed writers left there is removed. A service is not listed: it gives nothing.
///
/// # Errors
/// The directory cannot be read.
pub fn list(below: &StorageUrl, older_than: Duration) -> Result<Vec<String>, StorageError> {
    match below {
        StorageUrl::File(path) => file::list(below, path, older_than),
        StorageUrl::Http(_) => Ok(Vec::new()),
    }
}

/// Deletes an object. One that is not there is as good as deleted.
///
/// # Errors
/// Storage failed.
pub fn delete(url: &StorageUrl) -> Result<(), StorageError> {
    USUAL.delete(url)
}
