//! Deletes in storage what the API does not keep any more: it decides, and reaches no storage itself.

use std::thread;
use std::time::Duration;

use ruko_api_types::storage::{FOUND, StorageDone, StorageWork, ToList};
use ruko_core::exit::chain;
use ruko_storage::StorageUrl;

use crate::context::Context;
use crate::terminal;

/// How long one question for work waits at the API, in seconds.
const ASK_SECONDS: u64 = 25;

/// The pause after the API could not be asked, or storage failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Asks for work and does it, for ever.
pub(crate) fn run(context: &Context) -> std::convert::Infallible {
    let mut done = StorageDone::default();
    let mut is_away = false;
    loop {
        done.wait_seconds = if done.deleted.is_empty() { ASK_SECONDS } else { 0 };
        match context.api.storage_work(&done) {
            Ok(work) => {
                is_away = false;
                done = StorageDone { deleted: delete(&work), ..StorageDone::default() };
                if let Some(list) = &work.list {
                    tell(context, list);
                }
                if done.deleted.len() < work.delete.len() {
                    thread::sleep(PAUSE);
                }
            }
            Err(why) => {
                if !is_away {
                    terminal::say_as_service(&format!(
                        "cannot ask what to delete in storage, and tries again: {}",
                        chain(&why)
                    ));
                }
                is_away = true;
                thread::sleep(PAUSE);
            }
        }
    }
}

/// The keys of what is deleted. Storage that fails once is left alone until the next time.
fn delete(work: &StorageWork) -> Vec<String> {
    let mut deleted = Vec::new();
    for object in &work.delete {
        let done = match object.url.parse::<StorageUrl>() {
            Ok(url) => ruko_storage::delete(&url).map_err(|why| chain(&why)),
            Err(why) => Err(format!("`{}` has no address: {why}", object.key)),
        };
        match done {
            Ok(()) => deleted.push(object.key.clone()),
            Err(why) => {
                terminal::say_as_service(&why);
                break;
            }
        }
    }
    deleted
}

/// Tells the API of the files that there are. What is not told of is told of the next time.
fn tell(context: &Context, list: &ToList) {
    let files = list.below.parse::<StorageUrl>().map_err(|why| why.to_string()).and_then(|below| {
        let older = Duration::from_secs(list.older_than_seconds);
        ruko_storage::list(&below, older).map_err(|why| chain(&why))
    });
    let files = match files {
        Ok(files) => files,
        Err(why) => {
            return terminal::say_as_service(&format!("the files of storage cannot be listed: {why}"));
        }
    };
    for found in files.chunks(FOUND) {
        let found = StorageDone { found: found.to_vec(), ..StorageDone::default() };
        match context.api.storage_work(&found) {
            Ok(work) => {
                let deleted = StorageDone { deleted: delete(&work), ..StorageDone::default() };
                let _ = context.api.storage_work(&deleted);
            }
            Err(why) => {
                return terminal::say_as_service(&format!(
                    "cannot tell of the files of storage: {}",
                    chain(&why)
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruko_api_types::storage::ToDelete;

    #[test]
    fn what_is_deleted_is_told_and_what_fails_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "c"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        let object = |key: &str| ToDelete {
            key: key.to_owned(),
            url: format!("file://{}/{key}", dir.path().display()),
        };
        let delete_all = ["a", "missing", "directory", "c"].map(object).to_vec();
        let work = StorageWork { delete: delete_all, list: None };
        assert_eq!(delete(&work), ["a", "missing"]);
        assert!(!dir.path().join("a").exists() && dir.path().join("c").exists());
    }
}
