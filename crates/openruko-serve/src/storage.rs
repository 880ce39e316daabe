//! Objects in storage.

use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use ruko_api_types::Stored;
use ruko_core::exit::chain;
use ruko_storage::{PutError, StorageError, StorageUrl};

/// Why an object is not stored or cannot be read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is larger than allowed: all of it was counted.
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
        /// The bound in bytes.
        max: u64,
    },
    /// There is no room for it. The cause is for the admin.
    Full(String),
    /// The cause, which is for the admin: it names places on the host.
    Cause(String),
}

/// Reads an object; none when it is not there.
pub(crate) fn get(url: &str) -> Result<Option<Box<dyn Read + Send>>, Failure> {
    let url = parse(url)?;
    ruko_storage::get(&url).map_err(|why| Failure::Cause(chain(&why)))
}

/// Stores an object in one pass: counted, hashed, written.
pub(crate) fn put(url: &str, from: &mut dyn Read, max_bytes: u64) -> Result<Stored, Failure> {
    let url = parse(url)?;
    let mut from = Counted { from, bytes: 0 };
    ruko_storage::put(&url, &mut from, max_bytes).map_err(|why| match why {
        PutError::TooLarge { max } => match io::copy(&mut from, &mut io::sink()) {
            Ok(_) => Failure::TooLarge { bytes: from.bytes, max },
            Err(why) => Failure::Cause(chain(&why)),
        },
        PutError::Storage(why @ StorageError::Full { .. }) => Failure::Full(chain(&why)),
        why => Failure::Cause(chain(&why)),
    })
}

/// Counts what is read.
struct Counted<'a> {
    from: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Reads an object which has to be what was stored there, where that is known.
pub(crate) fn get_known(url: &str, stored: Option<&Stored>) -> Result<Option<Box<dyn Read + Send>>, Failure> {
    let Some(stored) = stored else { return get(url) };
    ruko_storage::get_known(&parse(url)?, stored).map_err(|why| Failure::Cause(chain(&why)))
}

/// Sees that an address holds until a build that begins now has to be over. The API makes such addresses; where one
/// does not hold, its clock and that of this machine differ.
pub(crate) fn require_lasting(url: &str, build: Duration) -> Result<(), String> {
    let Some(ends) = url.parse::<StorageUrl>().ok().and_then(|url| url.ends()) else { return Ok(()) };
    if ends >= SystemTime::now() + build {
        return Ok(());
    }
    Err(format!(
        "the address at which `{}` is to be stored ends before a build of {} seconds has to: are the clocks of this \
         machine and of the one with openruko-api right?",
        shown(url),
        build.as_secs()
    ))
}

/// A URL without what is secret in it.
pub(crate) fn shown(url: &str) -> String {
    url.parse::<StorageUrl>().map_or_else(|_| "?".to_owned(), |url| url.to_string())
}

fn parse(url: &str) -> Result<StorageUrl, Failure> {
    url.parse().map_err(|why: ruko_storage::BadUrl| Failure::Cause(chain(&why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_to_outlive_the_build() {
        let at = |seconds: u64| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            format!("https://swift.test/v1/a/c/k?temp_url_sig=s3cret&temp_url_expires={}", now + seconds)
        };
        let build = Duration::from_secs(900);
        assert_eq!(require_lasting(&at(1000), build), Ok(()));
        assert_eq!(require_lasting("file:///x", build), Ok(()));
        let why = require_lasting(&at(800), build).unwrap_err();
        assert!(why.contains("900 seconds") && why.contains("clocks") && !why.contains("s3cret"), "{why}");
    }

    #[test]
    fn a_refusal_knows_the_whole_size() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/object", dir.path().display());
        let large = vec![0; 1 << 20];
        match put(&url, &mut large.as_slice(), 1000) {
            Err(Failure::TooLarge { bytes, max }) => assert_eq!((bytes, max), (1 << 20, 1000)),
            other => panic!("{other:?}"),
        }
        assert!(get(&url).unwrap().is_none());
    }
}
