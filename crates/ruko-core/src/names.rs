//! Names that reach a path, an argument vector or a configuration line. Each has one door: what is
//! constructed cannot be an option, a path or a second line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that was refused; prints what was refused, escaped, and the rule it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {kind}: {rule}", shown(.raw))]
pub struct BadName {
    raw: String,
    kind: &'static str,
    rule: &'static str,
}

/// Escaped and shortened: a refused name may be hostile or a megabyte long.
fn shown(raw: &str) -> String {
    let escaped: String = raw.chars().take(60).collect::<String>().escape_debug().to_string();
    if raw.chars().count() > 60 { format!("{escaped}…") } else { escaped }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(raw: &str) -> Result<Self, BadName> {
                let ok: fn(&[u8]) -> bool = $ok;
                if ok(raw.as_bytes()) {
                    Ok(Self(raw.to_owned()))
                } else {
                    Err(BadName { raw: raw.to_owned(), kind: $kind, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(raw: String) -> Result<Self, BadName> {
                raw.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

name!(
    /// An app's name. Heroku's rule, since the name becomes a host name: 3 to 30 lower-case letters,
    /// digits and dashes, beginning with a letter and not ending with a dash.
    AppName, "an app name",
    "3 to 30 lower-case letters, digits and dashes, beginning with a letter, not ending with a dash",
    |b| (3..=30).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b.iter().all(|&c| lower_or_digit(c) || c == b'-')
        && b[b.len() - 1] != b'-'
);

name!(
    /// A user's name: 1 to 32 lower-case letters, digits, `-`, `_` and `.`, beginning with a letter.
    /// `keys` is taken: it is a subcommand of openruko-serve.
    UserName, "a user name",
    "1 to 32 lower-case letters, digits, `-`, `_` and `.`, beginning with a letter, and not `keys`",
    |b| (1..=32).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b.iter().all(|&c| lower_or_digit(c) || b"-_.".contains(&c))
        && b != b"keys"
);

name!(
    /// The id of one push: a ULID in its canonical upper-case form.
    PushId, "a push id", "26 characters of Crockford's base 32, upper case",
    |b| b.len() == 26
        && (b'0'..=b'7').contains(&b[0])
        && b.iter().all(|c| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c))
);

impl PushId {
    /// A new id that sorts after those made before it.
    pub fn generate() -> Self {
        Self(ulid::Ulid::generate().to_string())
    }

    /// The container in which this push is built.
    pub fn container(&self) -> ContainerName {
        ContainerName(format!("push-{}", self.0.to_ascii_lowercase()))
    }
}

name!(
    /// A container's name: 1 to 40 lower-case letters, digits and dashes, beginning with a letter.
    ContainerName, "a container name",
    "1 to 40 lower-case letters, digits and dashes, beginning with a letter",
    |b| (1..=40).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b.iter().all(|&c| lower_or_digit(c) || c == b'-')
);

impl ContainerName {
    /// A name that no other container has: `fetch-01jd…`. The prefix says what it is for.
    pub fn generate(prefix: &'static str) -> Self {
        Self(format!("{prefix}-{}", ulid::Ulid::generate().to_string().to_ascii_lowercase()))
    }
}

name!(
    /// The name of a template: an executable below the template directory.
    TemplateName, "a template name",
    "1 to 40 lower-case letters, digits and dashes, beginning with a letter",
    |b| (1..=40).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b.iter().all(|&c| lower_or_digit(c) || c == b'-')
);

name!(
    /// The name of a stack, as buildpacks read it from `STACK`.
    StackName, "a stack name",
    "1 to 40 lower-case letters, digits, dots and dashes, beginning with a letter",
    |b| (1..=40).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b.iter().all(|&c| lower_or_digit(c) || b"-.".contains(&c))
);

name!(
    /// A process type of a Procfile: letters, digits, `-` and `_`, at most 63 characters.
    ProcessType, "a process type",
    "1 to 63 letters, digits, dashes and underscores, beginning with a letter or digit",
    |b| (1..=63).contains(&b.len())
        && b[0].is_ascii_alphanumeric()
        && b.iter().all(|&c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
);

name!(
    /// The name of a config var. A shell identifier, since it becomes a file name in ENV_DIR and an
    /// environment variable of a dyno.
    ConfigVarName, "a config var name",
    "1 to 128 letters, digits and underscores, not beginning with a digit",
    |b| (1..=128).contains(&b.len())
        && !b[0].is_ascii_digit()
        && b.iter().all(|&c| c.is_ascii_alphanumeric() || c == b'_')
);

name!(
    /// A commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    CommitId, "a commit id", "40 or 64 lower-case hexadecimal digits",
    |b| (b.len() == 40 || b.len() == 64) && b.iter().all(|c| b"0123456789abcdef".contains(c))
);

impl CommitId {
    /// Whether this is git's null id, which stands for "no such ref".
    pub fn is_null(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }
}

name!(
    /// The name of a slug's image on a node: the SHA-256 digest of the slug, 64 lower-case hexadecimal digits.
    ImageName, "the name of a slug's image", "64 lower-case hexadecimal digits",
    |b| b.len() == 64 && b.iter().all(|c| b"0123456789abcdef".contains(c))
);

/// Whether git takes this as the name of a ref or of a part of one (git-check-ref-format(1)).
pub fn is_ref_name(name: &[u8]) -> bool {
    let component = |part: &[u8]| !part.is_empty() && part[0] != b'.' && !part.ends_with(b".lock");
    let byte = |&b: &u8| b > b' ' && b != 0x7f && !b"~^:?*[\\".contains(&b);
    name.split(|&b| b == b'/').all(component)
        && name.iter().all(byte)
        && !name.windows(2).any(|pair| pair == b".." || pair == b"@{")
        && !name.ends_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_follow_herokus_rule() {
        for good in ["abc", "my-app", "a1-2", &"a".repeat(30)] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "-abc",
            "1abc",
            "abc-",
            "Abc",
            "a_b",
            "a.b",
            "a/b",
            "../x",
            "a b",
            "a\nb",
            "é12",
            &"a".repeat(31),
        ] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_shows_hostile_text_escaped_and_short() {
        let text = format!("\x1b[31m{}", "x".repeat(1000)).parse::<AppName>().unwrap_err().to_string();
        assert!(!text.contains('\x1b'));
        assert!(text.len() < 250, "{text}");
    }

    #[test]
    fn no_name_can_be_an_option_or_a_path() {
        for bad in ["-x", "--help", ".", "..", "/", "a/b"] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
            assert!(bad.parse::<ContainerName>().is_err(), "{bad}");
            assert!(bad.parse::<TemplateName>().is_err(), "{bad}");
            assert!(bad.parse::<StackName>().is_err(), "{bad}");
            assert!(bad.parse::<ProcessType>().is_err(), "{bad}");
            assert!(bad.parse::<ConfigVarName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_push_id_names_its_container() {
        let id = PushId::generate();
        assert_eq!(id.as_str().parse::<PushId>().as_ref(), Ok(&id));
        assert!(id.container().as_str().parse::<ContainerName>().is_ok());
    }

    #[test]
    fn ref_names_are_those_that_git_takes() {
        for good in ["refs/heads/main", "refs/tags/v1.0", "refs/heads/a/b-c", "refs/heads/é"] {
            assert!(is_ref_name(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "refs/heads/",
            "refs/heads/../x",
            "refs//x",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/x.",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/a~1",
            "refs/heads/a@{1}",
            "refs/heads/a\\b",
            "/refs",
        ] {
            assert!(!is_ref_name(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn keys_is_not_a_user() {
        assert!("keys".parse::<UserName>().is_err());
        assert!("keyser".parse::<UserName>().is_ok());
    }
}
