//! The tarball that is built when there is no git push.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use ruko_archive::{Limits, LinkRule};
use ruko_core::config::BuildLimits;
use ruko_core::exit::chain;

use crate::refusal::Refusal;

/// Unpacks it beneath `into`, a directory that is there: as it is, a directory at its top included.
///
/// # Errors
/// It is no tar.gz, is too large, or has an entry that nobody honest writes. The words are for who sent it.
pub fn unpack(archive: impl Read, into: &Path, limits: &BuildLimits) -> Result<(), Refusal> {
    let limits = Limits {
        bytes: limits.checkout_bytes.min(limits.disk_bytes),
        entries: limits.checkout_entries,
        path_bytes: Limits::PATH_BYTES,
        links: LinkRule::Inside,
    };
    ruko_archive::unpack(archive, into, &limits).map(drop).map_err(|e| {
        Refusal::new(format!(
            "Push rejected: the source cannot be unpacked: {}.\nIt must be a tar.gz of the app's files, made with \
             tar -czf for example.",
            chain(&e)
        ))
    })
}

/// The directory that is all there is in `dir`, as in the tarballs that GitHub makes.
///
/// # Errors
/// `dir` cannot be read.
pub fn lone_directory(dir: &Path) -> io::Result<Option<String>> {
    let mut entries = fs::read_dir(dir)?;
    let (Some(first), None) = (entries.next().transpose()?, entries.next()) else { return Ok(None) };
    let name = first.file_name().to_string_lossy().escape_debug().to_string();
    Ok(first.file_type()?.is_dir().then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_alone_is_noticed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lone_directory(dir.path()).unwrap(), None);
        fs::create_dir(dir.path().join("app-1")).unwrap();
        assert_eq!(lone_directory(dir.path()).unwrap().as_deref(), Some("app-1"));
        fs::write(dir.path().join("Procfile"), "").unwrap();
        assert_eq!(lone_directory(dir.path()).unwrap(), None);
    }
}
