//! Where objects are kept: keys relative to the storage URL. The database records keys alone.

use ruko_core::PushId;

/// The repository as a push will leave it. A key of this push alone: a push that lost its lease cannot
/// overwrite what a later one stored for the same version.
pub(crate) fn repo(app_id: &str, version: u64, push: &PushId) -> String {
    format!("repos/{app_id}/{version}-{push}.tar.gz")
}

/// The slug that a push makes.
pub(crate) fn slug(app_id: &str, push: &PushId) -> String {
    format!("slugs/{app_id}/{push}.tar.gz")
}

/// All slugs that were built for an app, and what pushes left there that were never committed.
pub(crate) fn slugs(app_id: &str) -> String {
    format!("slugs/{app_id}/")
}

/// The build cache of an app, which was thrown away so often: each gets another key, so that a build that began
/// before cannot bring the old one back.
pub(crate) fn cache(app_id: &str, thrown_away: u64) -> String {
    match thrown_away {
        0 => format!("caches/{app_id}.tar.gz"),
        times => format!("caches/{app_id}/{times}.tar.gz"),
    }
}

/// Everything that an app may have in storage but its slugs: prefixes and an object.
pub(crate) fn beside_slugs(app_id: &str) -> [String; 3] {
    [format!("repos/{app_id}/"), cache(app_id, 0), format!("caches/{app_id}/")]
}
