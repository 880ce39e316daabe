//! How a buildpack is named: by the name of one that ships with openruko, a git URL or a tarball's URL.

use std::fmt;
use std::str::FromStr;

/// A buildpack as an app names it.
#[derive(Clone, PartialEq, Eq)]
pub enum Reference {
    /// One that ships with openruko: `python`, `heroku/python`, `urn:buildpack:heroku/python`.
    Shipped(String),
    /// A git repository, with the branch, tag or commit after `#`.
    Git {
        /// Its URL.
        url: Url,
        /// A branch, tag or commit; the remote's HEAD if there is none.
        revision: Option<String>,
    },
    /// A `.tgz` or `.tar.gz`.
    Archive(Url),
}

/// A URL. It is printed without user, password and query: those may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

/// Why a buildpack's name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buildpack `{shown}` is refused: {why}")]
pub struct BadReference {
    shown: String,
    why: &'static str,
}

/// The longest reference, in bytes.
const MAX_BYTES: usize = 2048;

/// What git and curl may be asked to speak. Not `ext::` and its like, which run commands.
const SCHEMES: [&str; 5] = ["https", "http", "git", "ssh", "file"];

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(raw: &str) -> Result<Self, BadReference> {
        let raw = raw.trim();
        let refused = |why| BadReference { shown: redact(raw), why };
        if raw.is_empty() || raw.len() > MAX_BYTES {
            return Err(refused("a buildpack is named in 1 to 2048 bytes"));
        }
        if raw.starts_with('-') || raw.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(refused("it begins with a dash or has spaces in it"));
        }
        let Some((scheme, _)) = raw.split_once("://") else {
            return shipped(raw).ok_or_else(|| {
                refused(
                    "it is neither a name such as `python` nor a URL such as https://HOST/PATH.git#BRANCH",
                )
            });
        };
        if !SCHEMES.contains(&scheme) {
            return Err(refused("its URL must begin with https://, http://, git://, ssh:// or file://"));
        }
        let (url, revision) = raw.split_once('#').map_or((raw, None), |(url, r)| (url, Some(r)));
        let url = Url(url.to_owned());
        if !url.is_sound() {
            return Err(refused("its URL names no host, or one that begins with a dash"));
        }
        if url.is_archive() {
            return Ok(Self::Archive(url));
        }
        match revision.filter(|revision| !revision.is_empty()) {
            Some(revision) if !is_revision(revision) => {
                Err(refused("what follows `#` is no branch, tag or commit"))
            }
            revision => Ok(Self::Git { url, revision: revision.map(str::to_owned) }),
        }
    }
}

fn shipped(raw: &str) -> Option<Reference> {
    let name = raw.strip_prefix("urn:buildpack:").unwrap_or(raw);
    let name = ["heroku/", "openruko/"].iter().find_map(|org| name.strip_prefix(org)).unwrap_or(name);
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good =
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 40 && name.chars().all(inside);
    good.then(|| Reference::Shipped(name.to_owned()))
}

/// The rules of git-check-ref-format(1); a commit id keeps them too.
fn is_revision(text: &str) -> bool {
    !text.starts_with('-') && ruko_core::names::is_ref_name(text.as_bytes())
}

impl Url {
    /// The URL as it was given: for an argument vector, not for eyes.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// User and password, if it has them.
    fn userinfo(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once("://")?;
        let authority = rest.split(['/', '?']).next()?;
        authority.rsplit_once('@').map(|(userinfo, _)| userinfo)
    }

    fn is_sound(&self) -> bool {
        let Some((scheme, rest)) = self.0.split_once("://") else { return false };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        // ssh and git take a host that begins with a dash for an option.
        let named = !host.is_empty() && !host.starts_with('-') && !authority.starts_with('-');
        if scheme == "file" { authority.is_empty() } else { named }
    }

    fn is_archive(&self) -> bool {
        let path = self.0.split('?').next().unwrap_or_default();
        !self.0.starts_with("ssh") && [".tgz", ".tar.gz"].iter().any(|suffix| path.ends_with(suffix))
    }

    /// A text in which this URL may stand, made fit for printing.
    pub fn redact_in(&self, text: &str) -> String {
        let text = text.replace(&self.0, &self.to_string());
        let query = self.0.split_once('?').map(|(_, query)| query);
        let secrets =
            [self.userinfo(), self.userinfo().and_then(|u| u.split_once(':').map(|(_, p)| p)), query];
        secrets.into_iter().flatten().filter(|s| s.len() > 3).fold(text, |text, s| text.replace(s, "***"))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped(name) => f.write_str(name),
            Self::Git { url, revision: None } | Self::Archive(url) => write!(f, "{url}"),
            Self::Git { url, revision: Some(revision) } => write!(f, "{url}#{revision}"),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without what stands before `@` in the authority, without a query, escaped and short.
fn redact(raw: &str) -> String {
    let open = raw.split('?').next().unwrap_or_default();
    let open = match open.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[end..])
        }
        None => open.rsplit_once('@').map_or(open, |(_, host)| host).to_owned(),
    };
    open.chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(raw: &str) -> Reference {
        raw.parse().unwrap()
    }

    fn git(url: &str, revision: Option<&str>) -> Reference {
        Reference::Git { url: Url(url.to_owned()), revision: revision.map(str::to_owned) }
    }

    #[test]
    fn names_of_shipped_buildpacks() {
        for raw in ["python", "heroku/python", "openruko/python", "urn:buildpack:heroku/python", " python\n"]
        {
            assert_eq!(parsed(raw), Reference::Shipped("python".into()), "{raw}");
        }
    }

    #[test]
    fn urls_with_and_without_a_revision() {
        assert_eq!(parsed("https://h/p.git"), git("https://h/p.git", None));
        assert_eq!(parsed("https://h/p#v1.2/x"), git("https://h/p", Some("v1.2/x")));
        assert_eq!(parsed("https://h/p#"), git("https://h/p", None));
        assert_eq!(parsed("file:///srv/p.git"), git("file:///srv/p.git", None));
        assert_eq!(parsed("ssh://git@h/p.git"), git("ssh://git@h/p.git", None));
        assert_eq!(parsed("https://h/p.tgz"), Reference::Archive(Url("https://h/p.tgz".into())));
        assert_eq!(
            parsed("https://h/p.tar.gz?token=x"),
            Reference::Archive(Url("https://h/p.tar.gz?token=x".into()))
        );
    }

    #[test]
    fn what_would_run_something_or_become_an_option_is_refused() {
        for raw in [
            "",
            "-u",
            "--upload-pack=x",
            "ext::sh -c id",
            "ext::sh",
            "fd::3",
            "ftp://h/x",
            "https://",
            "https:///x",
            "ssh://-oProxyCommand=x/y",
            "ssh://u@-oProxyCommand=x/y",
            "file://host/x",
            "https://h/p#-x",
            "https://h/p#a..b",
            "https://h/p#a b",
            "../python",
            "heroku/../x",
            "git@h:p.git",
            "a\nb",
            "Python",
        ] {
            assert!(raw.parse::<Reference>().is_err(), "{raw:?}");
        }
    }

    #[test]
    fn secrets_in_urls_are_not_printed() {
        let reference = parsed("https://user:hunter22@h/p.git#main");
        assert_eq!(format!("{reference} {reference:?}"), "https://h/p.git#main https://h/p.git#main");
        let Reference::Git { url, .. } = reference else { panic!() };
        let said = url.redact_in("fatal: https://user:hunter22@h/p.git: no; user:hunter22; hunter22");
        assert!(!said.contains("hunter22"), "{said}");
        let refused =
            "ext::https://user:hunter22@h/?token=hunter22".parse::<Reference>().unwrap_err().to_string();
        assert!(!refused.contains("hunter22"), "{refused}");
        let refused = "git@hunter22@h:p".parse::<Reference>().unwrap_err().to_string();
        assert!(!refused.contains("hunter22"), "{refused}");
    }

    proptest! {
        #[test]
        fn no_argument_can_begin_with_a_dash(raw in "[-a-z:/@#.?]{1,30}") {
            match raw.parse::<Reference>() {
                Ok(Reference::Git { url, revision }) => {
                    prop_assert!(!url.secret().starts_with('-'));
                    prop_assert!(!revision.unwrap_or_default().starts_with('-'));
                }
                Ok(Reference::Archive(url)) => prop_assert!(!url.secret().starts_with('-')),
                Ok(Reference::Shipped(name)) => prop_assert!(!name.contains(['/', '.']) && !name.starts_with('-')),
                Err(_) => {}
            }
        }

        #[test]
        fn a_password_never_shows(password in "[a-z0-9]{8,20}", path in "[a-z]{1,5}") {
            let reference = parsed(&format!("https://u:{password}@example.test/{path}"));
            prop_assert!(!reference.to_string().contains(&password));
        }
    }
}
