//! Names of entries. A [`Name`] is a path that stays beneath the directory it is looked up in, as far as
//! its letters go; that no link leads elsewhere is the business of `beneath`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    #[error("its name is empty")]
    Empty,
    #[error("its name is absolute")]
    Absolute,
    #[error("its name contains `..`")]
    Parent,
    #[error("its name contains a NUL byte")]
    Nul,
    #[error("its name is longer than {0} bytes")]
    Long(usize),
}

/// A relative path of ordinary components, at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(PathBuf);

impl Name {
    /// Reads a name as an archive holds it. None is the top directory itself (`./`).
    pub(crate) fn parse(raw: &[u8], max: usize) -> Result<Option<Self>, BadName> {
        if raw.is_empty() {
            return Err(BadName::Empty);
        }
        if raw.len() > max {
            return Err(BadName::Long(max));
        }
        if raw.contains(&0) {
            return Err(BadName::Nul);
        }
        if raw[0] == b'/' {
            return Err(BadName::Absolute);
        }
        let mut path = PathBuf::new();
        for part in raw.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".") {
            if part == b".." {
                return Err(BadName::Parent);
            }
            path.push(OsStr::from_bytes(part));
        }
        Ok((!path.as_os_str().is_empty()).then_some(Self(path)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }

    /// The directory it stands in: empty for the top directory.
    pub(crate) fn parent(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new(""))
    }

    /// Its last component.
    pub(crate) fn last(&self) -> &OsStr {
        self.0.file_name().unwrap_or(self.0.as_os_str())
    }
}

/// Whether a symbolic link at `name` with this target stays inside: relative, and going up only at its
/// beginning and not above the top. `a/../b` is refused because `a` may itself be a link, and then `..`
/// is not where the letters say; without that form every link of an archive stays inside whatever the
/// others are.
pub(crate) fn link_stays_inside(name: &Name, target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return false;
    }
    let depth = name.parent().components().count();
    let mut parts = target.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".").peekable();
    let mut up = 0;
    while parts.next_if(|part| *part == b"..").is_some() {
        up += 1;
    }
    up <= depth && parts.all(|part| part != b"..")
}

/// Foreign bytes as they are shown: control characters escaped, and not longer than a line.
pub(crate) fn shown(raw: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&raw[..raw.len().min(MOST)]);
    let mut shown = text.escape_debug().to_string();
    if raw.len() > MOST {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> Name {
        Name::parse(raw.as_bytes(), 4095).unwrap().unwrap()
    }

    #[test]
    fn names_are_made_plain_or_refused() {
        assert_eq!(name("./a//b/./c/").path(), Path::new("a/b/c"));
        assert_eq!(Name::parse(b"./", 10), Ok(None));
        assert_eq!(Name::parse(b"", 10), Err(BadName::Empty));
        assert_eq!(Name::parse(b"/etc", 10), Err(BadName::Absolute));
        assert_eq!(Name::parse(b"a/../b", 10), Err(BadName::Parent));
        assert_eq!(Name::parse(b"..", 10), Err(BadName::Parent));
        assert_eq!(Name::parse(b"a\0b", 10), Err(BadName::Nul));
        assert_eq!(Name::parse(b"abcdef", 5), Err(BadName::Long(5)));
        assert_eq!(name("..a/b..").path(), Path::new("..a/b.."));
    }

    #[test]
    fn a_link_that_could_leave_is_known_by_its_letters() {
        let link = name("a/b/link");
        for inside in ["c", "./c", "../x", "../../x/y", "../..", "c//d", "", "..."] {
            assert!(link_stays_inside(&link, inside.as_bytes()), "{inside}");
        }
        for outside in ["/", "/app", "../../..", "c/../d", "../../../x", "../c/../../../x"] {
            assert!(!link_stays_inside(&link, outside.as_bytes()), "{outside}");
        }
    }

    #[test]
    fn a_shown_name_is_one_short_line() {
        assert_eq!(shown(b"a\n\x1b[31m"), "a\\n\\u{1b}[31m");
        assert!(shown(&[b'x'; 5000]).len() < 250);
    }
}
