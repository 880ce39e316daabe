//! Git LFS pointers in a tree: small text files that stand for large ones, which no push brings
//! (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How a pointer begins.
const BEGIN: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// A pointer is smaller than this, in bytes.
const LARGEST: u64 = 1024;
/// What of a `.gitattributes` is read, in bytes.
const MAX_ATTRIBUTES: u64 = 256 << 10;
/// So many are named.
const NAMED: usize = 5;

/// The pointers below a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pointers {
    /// How many there are.
    pub count: usize,
    /// The first of them by path, relative to the directory.
    pub first: Vec<PathBuf>,
}

impl Pointers {
    /// Looks for them where a `.gitattributes` says that there may be any. Links are not followed.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn below(dir: &Path) -> io::Result<Self> {
        let mut files = vec![];
        list(dir, &mut files)?;
        let is_attributes = |path: &&PathBuf| path.file_name().is_some_and(|name| name == ".gitattributes");
        let mut attributes = files.iter().filter(is_attributes);
        if !attributes.any(|path| names_lfs(path)) {
            return Ok(Self::default());
        }
        files.sort();
        let mut found = Self::default();
        for path in files.iter().filter(|path| is_pointer(path)) {
            found.count += 1;
            if found.first.len() < NAMED {
                found.first.push(path.strip_prefix(dir).unwrap_or(path).to_owned());
            }
        }
        Ok(found)
    }

    /// What the developer is told; none where there are no pointers.
    pub fn words(&self) -> Option<String> {
        let names: Vec<String> = self.first.iter().map(|path| path.display().to_string()).collect();
        let names: String = names.join(", ").chars().filter(|c| !c.is_control()).take(500).collect();
        let more = if self.count > self.first.len() { ", …" } else { "" };
        let what = match self.count {
            0 => return None,
            1 => "1 file is a Git LFS pointer and not the file".to_owned(),
            count => format!("{count} files are Git LFS pointers and not the files"),
        };
        Some(format!(
            "{what} itself: {names}{more}\nA push does not bring what Git LFS keeps elsewhere. Take them out of it \
             (git lfs migrate export --include='…'), or fetch them when the app is built."
        ))
    }
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn names_lfs(path: &Path) -> bool {
    let mut text = vec![];
    let read = File::open(path).and_then(|file| file.take(MAX_ATTRIBUTES).read_to_end(&mut text));
    read.is_ok() && text.windows(b"filter=lfs".len()).any(|part| part == b"filter=lfs")
}

fn is_pointer(path: &Path) -> bool {
    let begins = || -> io::Result<bool> {
        let mut begin = [0; BEGIN.len()];
        File::open(path)?.read_exact(&mut begin)?;
        Ok(begin == BEGIN)
    };
    fs::symlink_metadata(path).is_ok_and(|meta| meta.len() < LARGEST) && begins().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn pointers_are_counted_and_the_first_named() {
        let attributes = ("assets/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
        let large = format!("{POINTER}{}", "x".repeat(1024));
        let one = tree(&[attributes, ("assets/a.bin", POINTER), ("b.txt", "version"), ("c", &large)]);
        let found = Pointers::below(one.path()).unwrap();
        assert_eq!(found, Pointers { count: 1, first: vec!["assets/a.bin".into()] });
        assert!(
            found
                .words()
                .unwrap()
                .starts_with("1 file is a Git LFS pointer and not the file itself: assets/a.bin\n")
        );

        let names: Vec<String> = (0..7).map(|n| format!("{n}.bin")).collect();
        let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), POINTER)).collect();
        files.push(attributes);
        let words = Pointers::below(tree(&files).path()).unwrap().words().unwrap();
        assert!(
            words.starts_with("7 files are") && words.contains("4.bin, …") && !words.contains("5.bin"),
            "{words}"
        );
    }

    #[test]
    fn without_lfs_nothing_is_said() {
        let tree = tree(&[("a.bin", POINTER), (".gitattributes", "*.txt text\n")]);
        let found = Pointers::below(tree.path()).unwrap();
        assert_eq!((found.count, found.words()), (0, None));
    }
}
