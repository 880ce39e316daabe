//! E-mail addresses of accounts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest address, in bytes: what SMTP can carry (RFC 5321 section 4.5.3.1.3, without the brackets).
const MAX_ADDRESS: usize = 254;

/// The longest part before the `@`, in bytes (section 4.5.3.1.1).
const MAX_LOCAL: usize = 64;

/// The longest label of a host name, in bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// An e-mail address in lower case, of the plain form that people have: no quotes, no comments, no
/// address literals. It has one `@`, so it is never the same as a user's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

/// What was given is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an e-mail address of the form name@host, of at most {MAX_ADDRESS} characters")]
pub struct BadEmailAddress;

impl EmailAddress {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailAddress {
    type Err = BadEmailAddress;

    /// Blanks around it are not part of it; capitals are taken as the lower case, which is the same mailbox
    /// everywhere that matters.
    fn from_str(raw: &str) -> Result<Self, BadEmailAddress> {
        let address = raw.trim().to_ascii_lowercase();
        let (local, host) = address.split_once('@').ok_or(BadEmailAddress)?;
        let fits = address.len() <= MAX_ADDRESS && is_local(local) && host.split('.').all(is_label);
        if fits { Ok(Self(address)) } else { Err(BadEmailAddress) }
    }
}

/// A dot-atom of RFC 5322 section 3.2.3.
fn is_local(local: &str) -> bool {
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    local.len() <= MAX_LOCAL && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom))
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl TryFrom<String> for EmailAddress {
    type Error = BadEmailAddress;

    fn try_from(raw: String) -> Result<Self, BadEmailAddress> {
        raw.parse()
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_and_in_lower_case() {
        for (raw, address) in [
            ("dev@example.test", "dev@example.test"),
            (" Ada.Lovelace+ruko@Example.Test\n", "ada.lovelace+ruko@example.test"),
            ("root@localhost", "root@localhost"),
        ] {
            assert_eq!(raw.parse::<EmailAddress>().unwrap().as_str(), address);
        }
        let long = format!("a@{}", "abcdefghi.".repeat(26));
        for bad in [
            "",
            "matt",
            "@host",
            "a@",
            "a@b@c",
            "a b@host",
            "a..b@host",
            ".a@host",
            "a@-host",
            "a@host-",
            "a@ho_st",
            "a@host.",
            "a\n@host",
            "ä@host",
            &long,
        ] {
            assert_eq!(bad.parse::<EmailAddress>(), Err(BadEmailAddress), "{bad:?}");
        }
    }
}
