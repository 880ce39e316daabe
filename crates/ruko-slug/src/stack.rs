//! What buildpacks read from `STACK`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ruko_core::StackName;
use ruko_core::stack::{OS_RELEASE, OsRelease, heroku};

/// What is read of a file that says what a userland is, in bytes.
const MAX_OS_RELEASE: u64 = 64 << 10;

/// What was configured, else the Heroku stack that this userland can stand in for, else the stack's own name.
#[must_use]
pub fn value(configured: Option<&StackName>, name: &StackName) -> StackName {
    let found = configured.cloned().or_else(|| heroku(&os_release(Path::new(OS_RELEASE))));
    found.unwrap_or_else(|| name.clone())
}

/// What a userland says of itself; nothing where it says nothing that can be read.
fn os_release(path: &Path) -> OsRelease {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_OS_RELEASE).read_to_end(&mut text));
    read.map(|_| OsRelease::parse(&String::from_utf8_lossy(&text))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_comes_before_what_the_userland_is() {
        let (heroku, own): (StackName, StackName) =
            ("heroku-26".parse().unwrap(), "openruko-12".parse().unwrap());
        assert_eq!(value(Some(&heroku), &own), heroku);
        assert_eq!(os_release(Path::new("/nowhere/os-release")), OsRelease::default());
    }
}
