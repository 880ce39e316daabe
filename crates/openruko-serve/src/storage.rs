//! Objects, with words for the app developer.

use std::io::Read;

use ruko_api_types::Stored;
use ruko_channel::Refusal;
use ruko_core::exit::chain;
use ruko_core::message::bytes;
use ruko_storage::{PutError, StorageUrl};

/// Reads an object; none when it is not there.
pub(crate) fn get(url: &str) -> Result<Option<Box<dyn Read + Send>>, Refusal> {
    let url = parse(url)?;
    ruko_storage::get(&url).map_err(|why| Refusal(chain(&why)))
}

/// Stores an object in one pass: counted, hashed, written. `what` names it in a refusal.
pub(crate) fn put(what: &str, url: &str, from: &mut dyn Read, max_bytes: u64) -> Result<Stored, Refusal> {
    let url = parse(url)?;
    ruko_storage::put(&url, from, max_bytes).map_err(|why| match why {
        PutError::TooLarge { .. } => {
            // What is left is counted, so that the message can say by how much.
            let rest = std::io::copy(from, &mut std::io::sink()).unwrap_or(0);
            Refusal(format!(
                "The {what} is too large: {}, and {} is the limit.",
                bytes(max_bytes.saturating_add(rest)),
                bytes(max_bytes)
            ))
        }
        why => Refusal(format!("The {what} could not be stored: {}", chain(&why))),
    })
}

/// Deletes an object that nothing refers to. One that stays costs space only.
pub(crate) fn discard(url: &str) {
    if let Ok(url) = url.parse::<StorageUrl>() {
        let _ = ruko_storage::delete(&url);
    }
}

fn parse(url: &str) -> Result<StorageUrl, Refusal> {
    url.parse().map_err(|why| Refusal(chain(&why)))
}
