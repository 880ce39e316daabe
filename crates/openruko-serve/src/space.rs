//! Disk space, looked at before anything begins: a push that would not fit is refused while that costs nobody
//! anything.

use std::fs;
use std::path::{Path, PathBuf};

use ruko_api_types::Push;
use ruko_core::Fault;
use ruko_core::config::Config;
use ruko_core::message::bytes;
use ruko_sys::Space;

use crate::session::Cut;

/// So many files have to be free beside the bytes.
const FILES: u64 = 1000;

/// What a push or a fetch may write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The stored repository, if there is one: it is unpacked in the container.
    repo: &'a [String],
    /// Where a push stores what it makes.
    put: Option<&'a str>,
    /// The slug, in bytes, at most.
    slug_bytes: u64,
}

impl<'a> Wanted<'a> {
    /// By a push.
    pub(crate) fn of(push: &'a Push) -> Self {
        Self { repo: &push.repo.get, put: Some(&push.repo.put), slug_bytes: push.slug.max_bytes }
    }

    /// By a fetch of this repository.
    pub(crate) fn of_fetch(repo: &'a [String]) -> Self {
        Self { repo, put: None, slug_bytes: 0 }
    }
}

/// A place that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// For the developer, who is told no paths.
    name: &'static str,
    /// For the admin.
    path: PathBuf,
    /// Its file system: what several places have in common is counted once.
    space: Space,
    /// Bytes that may be written.
    needs: u64,
}

/// A file system on which not enough is free.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shortage {
    names: String,
    path: PathBuf,
    free: u64,
    needed: u64,
    /// Files are what is missing; they are so many.
    files: Option<u64>,
}

/// Refuses what the file systems of this node, as far as it writes to them, would have no room for.
pub(crate) fn check(config: &Config, wanted: Wanted<'_>) -> Result<(), Cut> {
    let reserve = config.serve().map_or(0, |serve| serve.reserve_bytes);
    shortage(&places(config, wanted), reserve).map_or(Ok(()), |short| Err(refusal(&short)))
}

/// A repository is unpacked in the container, and its next version is packed there before it is stored.
fn places(config: &Config, wanted: Wanted<'_>) -> Vec<Place> {
    let repo: u64 = wanted.repo.iter().filter_map(|url| size(url)).sum();
    let container = config.container.as_ref();
    let containers =
        container.map(|container| ("the build containers", container.state_dir.clone(), 2 * repo));
    let stored = wanted.put.and_then(file).and_then(|path| Some(path.parent()?.to_owned()));
    let storage = stored.map(|dir| ("its storage", dir, repo + wanted.slug_bytes));
    let api = config.api.as_ref().filter(|_| wanted.put.is_some());
    let database =
        api.and_then(|api| Some((api.database.strip_prefix("sqlite://")?, api.limits.output_bytes)));
    let database = database.map(|(file, needs)| ("its database", PathBuf::from(file), needs));
    containers
        .into_iter()
        .chain(storage)
        .chain(database)
        .filter_map(|(name, path, needs)| look(name, &path, needs))
        .collect()
}

/// The first file system that has not what its places need together, and the reserve beside.
fn shortage(places: &[Place], reserve: u64) -> Option<Shortage> {
    places.iter().find_map(|place| {
        let Space { device, free, free_files, .. } = place.space;
        let beside = || places.iter().filter(|other| other.space.device == device);
        let needed = beside().map(|other| other.needs).fold(reserve, u64::saturating_add);
        let files = free_files.filter(|&free| free < FILES);
        (free < needed || files.is_some()).then(|| Shortage {
            names: beside().map(|other| other.name).collect::<Vec<_>>().join(" and "),
            path: place.path.clone(),
            free,
            needed,
            files: if free < needed { None } else { files },
        })
    })
}

fn refusal(short: &Shortage) -> Cut {
    let Shortage { names, path, free, needed, files } = short;
    let (free, needed) = match files {
        Some(free) => (format!("room for {free} files"), format!("room for {FILES}")),
        None => (bytes(*free), bytes(*needed)),
    };
    let detail = format!(
        "`{}` has {free} free of {needed}; make room there, or lower `reserve_bytes` of [serve]",
        path.display()
    );
    Cut::Because {
        fault: Fault::try_again(format!(
            "The server's disk is nearly full: for {names} {free} is free, and {needed} may be needed; nothing was changed."
        ))
        .hint("Try again later, and tell the server's admin."),
        detail: Some(detail),
    }
}

fn look(name: &'static str, path: &Path, needs: u64) -> Option<Place> {
    Some(Place { name, path: path.to_owned(), space: Space::at(path).ok()?, needs })
}

fn size(url: &str) -> Option<u64> {
    Some(fs::metadata(file(url)?).ok()?.len())
}

/// The path behind a `file:` URL. What other storage has free is not known. One with escaped characters is looked
/// for where its last plain directory is: it is the file system that counts.
fn file(url: &str) -> Option<PathBuf> {
    Some(PathBuf::from(url.strip_prefix("file://")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &'static str, device: u64, free: u64, needs: u64) -> Place {
        let space = Space { device, free, ..Space::default() };
        Place { name, path: format!("/{name}").into(), space, needs }
    }

    #[test]
    fn places_on_one_file_system_share_what_is_free() {
        let apart = [place("a", 1, 100, 60), place("b", 2, 100, 60)];
        assert_eq!(shortage(&apart, 40), None);
        let together = [place("a", 1, 100, 60), place("b", 1, 100, 60)];
        let short = shortage(&together, 0).unwrap();
        assert_eq!((short.names.as_str(), short.free, short.needed), ("a and b", 100, 120));
        assert_eq!(shortage(&apart, 41).unwrap().needed, 101);
    }

    #[test]
    fn files_can_be_missing_too() {
        let mut crowded = place("a", 1, 100, 0);
        crowded.space.free_files = Some(3);
        let Cut::Because { fault, detail } = refusal(&shortage(&[crowded], 1).unwrap()) else { panic!() };
        assert!(fault.message.contains("room for 3 files is free, and room for 1000"), "{}", fault.message);
        assert!(detail.unwrap().contains("`/a`"));
    }

    #[test]
    fn the_developer_is_told_no_path_and_the_admin_is() {
        let short = shortage(&[place("its storage", 1, 1 << 30, 1 << 30)], 1 << 29).unwrap();
        let Cut::Because { fault, detail } = refusal(&short) else { panic!() };
        assert_eq!(
            fault.message,
            "The server's disk is nearly full: for its storage 1.0 GB is free, and 1.5 GB may be needed; nothing \
             was changed."
        );
        assert_eq!(fault.exit, ruko_core::Exit::TryAgain);
        assert!(detail.unwrap().starts_with("`/its storage` has 1.0 GB free of 1.5 GB"));
    }
}
