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

/// The build cache of an app, which was thrown away so often: each gets another key, so that a build that began
/// before cannot bring the old one back.
pub(crate) fn cache(app_id: &str, thrown_away: u64) -> String {
    match thrown_away {
        0 => format!("caches/{app_id}.tar.gz"),
        times => format!("caches/{app_id}/{times}.tar.gz"),
    }
}

/// What a key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// The repository or the slug that one push stored.
    OfPush,
    /// The build cache of an app, which was thrown away so often.
    Cache { app_id: &'a str, thrown_away: u64 },
}

/// Reads a key; none if it is none of ours.
pub(crate) fn kind(key: &str) -> Option<Kind<'_>> {
    let is_id = |text: &str| ulid::Ulid::from_string(text).is_ok();
    let mut parts = key.strip_suffix(".tar.gz")?.split('/');
    match [parts.next(), parts.next(), parts.next(), parts.next()] {
        [Some("slugs"), Some(app), Some(push), None] if is_id(app) && is_id(push) => Some(Kind::OfPush),
        [Some("repos"), Some(app), Some(version), None] if is_id(app) => {
            let (number, push) = version.split_once('-')?;
            (number.parse::<u64>().is_ok() && is_id(push)).then_some(Kind::OfPush)
        }
        [Some("caches"), Some(app_id), None, None] if is_id(app_id) => {
            Some(Kind::Cache { app_id, thrown_away: 0 })
        }
        [Some("caches"), Some(app_id), Some(times), None] if is_id(app_id) => {
            Some(Kind::Cache { app_id, thrown_away: times.parse().ok().filter(|times| *times > 0)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let (app_id, push) = ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAW".parse().unwrap());
        assert_eq!(kind(&repo(app_id, 7, &push)), Some(Kind::OfPush));
        assert_eq!(kind(&slug(app_id, &push)), Some(Kind::OfPush));
        for thrown_away in [0, 3] {
            assert_eq!(kind(&cache(app_id, thrown_away)), Some(Kind::Cache { app_id, thrown_away }));
        }
        for foreign in
            ["", "x.tar.gz", "slugs/a/b.tar.gz", "slugs/../etc/passwd", &format!("slugs/{app_id}/x.tar.gz")]
        {
            assert_eq!(kind(foreign), None, "{foreign}");
        }
    }
}
