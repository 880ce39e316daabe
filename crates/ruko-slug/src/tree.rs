//! How large an app is when it is checked out, told by its tree before anything is written.

use std::io::{self, BufRead, BufReader};
use std::process::Stdio;

use ruko_core::CommitId;
use ruko_core::config::BuildLimits;
use ruko_core::message::bytes;

use crate::git::Repository;
use crate::refusal::{Refusal, Refuse};

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Files, directories and links.
    pub entries: u64,
    /// The bytes of all files.
    pub bytes: u64,
}

/// Refuses a commit whose tree is larger than the limits. Submodules are not counted.
///
/// # Errors
/// It is too large, or cannot be read.
pub fn check(repository: &Repository, commit: &CommitId, limits: &BuildLimits) -> Result<(), Refusal> {
    let size = measure(repository, commit, limits.checkout_entries)
        .refuse("Push rejected: cannot look at the pushed files")?;
    judge(size, limits)
}

fn judge(size: Size, limits: &BuildLimits) -> Result<(), Refusal> {
    if size.entries > limits.checkout_entries {
        return Err(Refusal::new(format!(
            "Push rejected: the app has more than {} files and directories, which is the limit.\nLeave out of git \
             what is generated.",
            limits.checkout_entries
        )));
    }
    if size.bytes > limits.checkout_bytes {
        return Err(Refusal::new(format!(
            "Push rejected: the app's files are {} checked out, and the limit is {}.\nLeave out of git what is \
             generated, and keep large data elsewhere.",
            bytes(size.bytes),
            bytes(limits.checkout_bytes)
        )));
    }
    Ok(())
}

/// The size of a commit's tree. A tree of very many entries can be made of few objects: counting ends one beyond
/// `most` entries.
///
/// # Errors
/// git cannot read it.
pub fn measure(repository: &Repository, commit: &CommitId, most: u64) -> io::Result<Size> {
    let list = repository.git().args(["ls-tree", "-r", "-t", "-l", "-z", "--full-tree"]).arg(commit.as_str());
    let mut git = list.into_command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let listed = git.stdout.take().map_or(Ok(Size::default()), |listed| count(BufReader::new(listed), most));
    let is_whole = listed.as_ref().is_ok_and(|size| size.entries <= most);
    if !is_whole {
        let _ = git.kill();
    }
    let status = git.wait()?;
    if is_whole && !status.success() {
        return Err(io::Error::other(format!("git ls-tree failed ({status})")));
    }
    listed
}

/// `MODE TYPE ID SIZE\tPATH`, each ended by NUL; the size of what is no file is `-` (git-ls-tree(1)).
fn count(mut listed: impl BufRead, most: u64) -> io::Result<Size> {
    let mut size = Size::default();
    let mut line = Vec::new();
    while size.entries <= most && listed.read_until(0, &mut line)? > 0 {
        let facts = line.split(|&b| b == b'\t').next().unwrap_or_default();
        let file = facts.rsplit(|&b| b == b' ').next().unwrap_or_default();
        let file = std::str::from_utf8(file).ok().and_then(|text| text.parse::<u64>().ok());
        size.bytes = size.bytes.saturating_add(file.unwrap_or(0));
        size.entries += 1;
        line.clear();
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &[u8] = b"040000 tree 1111       -\tlib\x00100644 blob 2222      12\tlib/a b\tc\x00\
        120000 blob 3333       7\tlink\x00160000 commit 4444       -\tsub\x00";

    #[test]
    fn files_have_bytes_and_everything_is_counted() {
        assert_eq!(count(LISTED, 100).unwrap(), Size { entries: 4, bytes: 19 });
        assert_eq!(count(LISTED, 1).unwrap().entries, 2, "one beyond is enough to know");
    }

    #[test]
    fn both_bounds_are_named_with_their_value() {
        let limits = BuildLimits { checkout_entries: 3, checkout_bytes: 2048, ..BuildLimits::default() };
        assert!(judge(Size { entries: 3, bytes: 2048 }, &limits).is_ok());
        let why = judge(Size { entries: 4, bytes: 0 }, &limits).unwrap_err().to_string();
        assert!(why.contains("more than 3 files and directories"), "{why}");
        let why = judge(Size { entries: 1, bytes: 4096 }, &limits).unwrap_err().to_string();
        assert!(why.contains("4.0 KB checked out, and the limit is 2.0 KB"), "{why}");
    }
}
