//! The repository as it will be once the push is taken: quarantined objects and new refs included. It is
//! stored before git moves a ref, so that a ref never moves to what is not stored.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ruko_archive::{Compression, PackError, Times, TreeOptions, Writer};
use ruko_core::CommitId;
use ruko_sys::{AtPath, PathError};

use crate::git::Repository;
use crate::refs::Update;

/// All refs by name.
pub type Refs = BTreeMap<Vec<u8>, CommitId>;

/// Why the repository could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something cannot be read or written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// HEAD cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The refs after these updates.
pub fn after(mut refs: Refs, updates: &[Update]) -> Refs {
    for update in updates {
        if update.is_deletion() {
            refs.remove(update.name.as_bytes());
        } else {
            refs.insert(update.name.as_bytes().to_vec(), update.new.clone());
        }
    }
    refs
}

/// A `packed-refs` file that holds all refs. git finds a name by bisection, so they are sorted by bytes;
/// peeled tags are left to git.
pub fn packed_refs(refs: &Refs) -> Vec<u8> {
    let mut text = b"# pack-refs with: sorted \n".to_vec();
    for (name, id) in refs {
        text.extend_from_slice(format!("{id} ").as_bytes());
        text.extend_from_slice(name);
        text.push(b'\n');
    }
    text
}

/// The branch that a clone checks out: the one that HEAD names if it is there, else the one that was
/// deployed.
pub fn head<'a>(current: &'a str, refs: &Refs, deployed: Option<&'a str>) -> &'a str {
    let exists = |name: &str| refs.contains_key(name.as_bytes());
    match deployed {
        Some(branch) if !exists(current) => branch,
        _ => current,
    }
}

/// The ref that HEAD names, if HEAD names a branch.
///
/// # Errors
/// HEAD cannot be read.
pub fn read_head(repository: &Path) -> Result<Option<String>, PathError> {
    let path = repository.join("HEAD");
    let text = String::from_utf8_lossy(&std::fs::read(&path).at("read", &path)?).into_owned();
    let name = text.strip_prefix("ref: ").map(str::trim_end);
    let is_branch =
        |name: &&str| name.starts_with("refs/heads/") && ruko_core::names::is_ref_name(name.as_bytes());
    Ok(name.filter(is_branch).map(str::to_owned))
}

/// Packs the repository with these refs to `out`. What git left behind when it was killed stays out, and
/// so does everything that is not objects, refs and HEAD. Packs are compressed already.
///
/// # Errors
/// Something cannot be read, or `out` cannot be written.
pub fn write<W: Write>(
    repository: &Repository,
    refs: &Refs,
    deployed: Option<&str>,
    out: W,
) -> Result<W, SnapshotError> {
    let current = read_head(repository.dir())?.unwrap_or_else(|| crate::session::FIRST_BRANCH.into());
    let mut writer = Writer::new(out, Compression::Stored);
    let head = format!("ref: {}\n", head(&current, refs, deployed));
    writer.file_bytes(Path::new("HEAD"), 0o644, head.as_bytes())?;
    writer.file_bytes(Path::new("packed-refs"), 0o644, &packed_refs(refs))?;
    for dir in ["refs", "refs/heads", "refs/tags", "objects"] {
        writer.directory(Path::new(dir), 0o755)?;
    }
    let objects = repository.objects();
    let not_kept: &dyn Fn(&Path) -> bool = &|path| is_debris(path);
    let options = TreeOptions { times: Times::Kept, exclude: not_kept };
    writer.tree(&objects, Path::new("objects"), &options)?;
    if let Some(quarantined) = repository.quarantined() {
        // git keeps what it has when a pushed object or pack has the same name.
        let not_new: &dyn Fn(&Path) -> bool =
            &|path| is_debris(path) || objects.join(path).symlink_metadata().is_ok_and(|meta| !meta.is_dir());
        let options = TreeOptions { times: Times::Kept, exclude: not_new };
        writer.tree(quarantined, Path::new("objects"), &options)?;
    }
    Ok(writer.finish()?.0)
}

/// What lies below `objects` and is no object: quarantines and temporary files of this and of killed
/// pushes, locks, marks that keep a pack while it is received, and alternates, which name directories that
/// are elsewhere.
fn is_debris(path: &Path) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return false };
    let begins = |what: &[u8]| name.starts_with(what);
    let ends = |what: &[u8]| name.ends_with(what);
    begins(b"tmp_") || begins(b"incoming-") || ends(b".lock") || ends(b".keep") || ends(b"alternates")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refs::RefName;

    fn id(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn refs(names: &[(&str, char)]) -> Refs {
        names.iter().map(|(name, digit)| (name.as_bytes().to_vec(), id(*digit))).collect()
    }

    #[test]
    fn packed_refs_hold_the_state_after_the_push() {
        let updates = [("refs/heads/b", '2'), ("refs/heads/a", '0'), ("refs/heads/a-new", '3')]
            .map(|(name, new)| Update { old: id('1'), new: id(new), name: RefName::from(name.as_bytes()) });
        let after =
            after(refs(&[("refs/heads/a", '1'), ("refs/heads/b", '1'), ("refs/tags/t", '1')]), &updates);
        let text = String::from_utf8(packed_refs(&after)).unwrap();
        let names: Vec<_> = text.lines().skip(1).map(|line| &line[41..]).collect();
        assert_eq!(names, ["refs/heads/a-new", "refs/heads/b", "refs/tags/t"]);
        assert!(text.contains(&format!("{} refs/heads/b\n", id('2'))));
    }

    #[test]
    fn head_follows_the_first_deploy_and_nothing_else() {
        let master = refs(&[("refs/heads/master", '1')]);
        assert_eq!(head("refs/heads/main", &master, Some("refs/heads/master")), "refs/heads/master");
        assert_eq!(head("refs/heads/main", &master, None), "refs/heads/main");
        let both = refs(&[("refs/heads/master", '1'), ("refs/heads/main", '1')]);
        assert_eq!(head("refs/heads/main", &both, Some("refs/heads/master")), "refs/heads/main");
    }

    #[test]
    fn debris_of_killed_pushes_stays_out() {
        for debris in [
            "tmp_objdir-incoming-x",
            "incoming-x",
            "pack/pack-1.keep",
            "pack/tmp_pack_x",
            "a.lock",
            "info/alternates",
        ] {
            assert!(is_debris(Path::new(debris)), "{debris}");
        }
        for kept in ["pack/pack-1.pack", "pack/pack-1.idx", "ab/cdef", "info/packs", "info/commit-graph"] {
            assert!(!is_debris(Path::new(kept)), "{kept}");
        }
    }
}
