//! What is kept in storage, and what is not: openruko-serve, which reaches storage, deletes what the API says.

use ruko_core::AppName;
use serde::{Deserialize, Serialize};

/// `POST /internal/storage/work`: says what was done, and asks what there is to do. Where there is nothing, the API
/// holds the call for at most so many seconds (30 at most).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageDone {
    /// How long to wait.
    pub wait_seconds: u64,
    /// Keys of objects that were deleted.
    pub deleted: Vec<String>,
    /// Keys of files that were found, at most [`FOUND`] at a time.
    pub found: Vec<String>,
}

/// So many keys can be told of as found in one call.
pub const FOUND: usize = 500;

/// The answer to [`StorageDone`] (200).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageWork {
    /// Objects to delete. One that was not deleted is told of again some minutes later.
    pub delete: Vec<ToDelete>,
    /// Files to list.
    pub list: Option<ToList>,
}

/// An object that is not kept any more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToDelete {
    /// What it is called.
    pub key: String,
    /// By which it is deleted.
    pub url: String,
}

/// The URL is a credential.
impl std::fmt::Debug for ToDelete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)
    }
}

/// Files to list: those below a directory that are no longer new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToList {
    /// A `file:` URL. Keys are relative to it.
    pub below: String,
    /// How old a file has to be, in seconds.
    pub older_than_seconds: u64,
}

/// The answer to `GET /internal/storage` (200): what there is by the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageUsage {
    /// Where objects are.
    pub place: String,
    /// Objects that are not kept any more, and not deleted yet.
    pub to_delete: u64,
    /// Each app, by name.
    pub apps: Vec<AppUsage>,
}

/// What an app has in storage. Build caches are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppUsage {
    /// The app.
    pub app: AppName,
    /// Slugs that were built for it.
    pub slugs: u64,
    /// Their bytes.
    pub slug_bytes: u64,
    /// Versions of its repository.
    pub repositories: u64,
    /// Their bytes.
    pub repository_bytes: u64,
}

/// `POST /internal/storage/gc`: applies the rules now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectGarbage {
    /// Only say what would be let go.
    pub dry_run: bool,
}

/// The answer to [`CollectGarbage`] (200).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// What is not kept any more, or would not be.
    pub objects: Vec<GarbageObject>,
}

/// An object that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageObject {
    /// Where it is.
    pub name: String,
    /// Its size; none where that is not known, nor whether it is there.
    pub bytes: Option<u64>,
}
