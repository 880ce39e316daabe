//! The tree of a commit, written to a directory as it was committed.

use std::fs;
use std::path::Path;

use ruko_core::CommitId;
use ruko_sys::{AtPath, PathError, ToolError};

use crate::git::Repository;

/// Whatever a repository's `.gitattributes` say: line ends, `$Id$`, encodings and filters are left alone.
/// `info/attributes` has the last word (gitattributes(5)).
const ATTRIBUTES: &str = "* -text -ident !eol !filter !working-tree-encoding\n";

/// Why a tree could not be checked out.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// A directory or file could not be made.
    #[error(transparent)]
    Path(#[from] PathError),
    /// git failed.
    #[error("cannot check out {commit}")]
    Git {
        /// The commit.
        commit: CommitId,
        /// What git said.
        source: ToolError,
    },
}

/// Writes the tree of `commit` to `into`, a directory that is made. No HEAD moves and no index of the
/// repository is touched: git works in a git directory of its own beside `into`, which is removed again,
/// so that neither hooks nor configuration of the repository play a part. Submodules become empty
/// directories.
///
/// # Errors
/// See [`CheckoutError`].
pub fn checkout(repository: &Repository, commit: &CommitId, into: &Path) -> Result<(), CheckoutError> {
    fs::create_dir(into).at("create", into)?;
    let beside = into.parent().unwrap_or(Path::new("/"));
    let scratch =
        tempfile::Builder::new().prefix("checkout_").tempdir_in(beside).at("make a directory in", beside)?;
    lay_out(scratch.path())?;
    repository
        .git_in(scratch.path())
        .env("GIT_WORK_TREE", into)
        .env("GIT_INDEX_FILE", scratch.path().join("index"))
        .args(["-c", "core.symlinks=true", "read-tree", "--reset", "-u", "--no-recurse-submodules"])
        .arg(commit.as_str())
        .run()
        .map_err(|source| CheckoutError::Git { commit: commit.clone(), source })
}

/// What git takes for a repository (gitrepository-layout(5)).
fn lay_out(git_dir: &Path) -> Result<(), PathError> {
    for dir in ["refs", "objects", "info"] {
        let path = git_dir.join(dir);
        fs::create_dir(&path).at("create", &path)?;
    }
    for (name, text) in [("HEAD", "ref: refs/heads/none\n"), ("info/attributes", ATTRIBUTES)] {
        let path = git_dir.join(name);
        fs::write(&path, text).at("write", &path)?;
    }
    Ok(())
}
