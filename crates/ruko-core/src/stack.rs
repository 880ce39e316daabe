//! Which Heroku stack a userland can stand in for.

use crate::names::StackName;

/// Where a userland says what it is: `os-release(5)`.
pub const OS_RELEASE: &str = "/etc/os-release";

/// The values of `os-release(5)` that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `debian`
    pub id: String,
    /// `12`
    pub version_id: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub pretty_name: String,
}

impl OsRelease {
    /// Reads the text of such a file. What it does not say stays empty.
    pub fn parse(text: &str) -> Self {
        let mut release = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
            // Values that need a shell to be read are none of ours.
            let value = value.trim_matches(['"', '\'']).to_owned();
            match key {
                "ID" => release.id = value,
                "VERSION_ID" => release.version_id = value,
                "PRETTY_NAME" => release.pretty_name = value,
                _ => {}
            }
        }
        release
    }
}

/// The Heroku stack whose programs run there, as buildpacks read it from `STACK`: they fetch what was built for it.
/// None where none is known to run.
///
/// Heroku's stacks are Ubuntu 22.04, 24.04 and 26.04 (<https://devcenter.heroku.com/articles/stack>). What was
/// built for glibc 2.35 and OpenSSL 3 of the first runs on Debian 12, which has 2.36; what was built for the 2.39 of the
/// second on Debian 13, which has 2.41.
pub fn heroku(release: &OsRelease) -> Option<StackName> {
    let name = match (release.id.as_str(), release.version_id.as_str()) {
        ("debian", "12") | ("ubuntu", "22.04") => "heroku-22",
        ("debian", "13") | ("ubuntu", "24.04") => "heroku-24",
        ("ubuntu", "26.04") => "heroku-26",
        _ => return None,
    };
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(text: &str) -> Option<String> {
        heroku(&OsRelease::parse(text)).map(String::from)
    }

    #[test]
    fn a_userland_stands_in_for_the_heroku_stack_whose_programs_it_runs() {
        let bookworm = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(OsRelease::parse(bookworm).pretty_name, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(stack(bookworm).as_deref(), Some("heroku-22"));
        assert_eq!(stack("ID=debian\nVERSION_ID='13'\n").as_deref(), Some("heroku-24"));
        assert_eq!(stack("ID=ubuntu\nVERSION_ID=\"24.04\"").as_deref(), Some("heroku-24"));
        assert_eq!(stack("ID=debian\nVERSION_ID=11\n"), None, "its C library is older");
        assert_eq!(stack("ID=alpine\nVERSION_ID=3.20\n"), None);
        assert_eq!(stack(""), None);
    }
}
