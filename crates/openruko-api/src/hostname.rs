//! Host names by which apps are reached.

use std::fmt;
use std::net::IpAddr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// A host name as DNS and TLS know it: lower case, letters outside ASCII as punycode. `*` may stand for its
/// first label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hostname(String);

/// Why a text is no host name, as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHostname {
    #[error("is an IP address, not a host name")]
    Address,
    #[error("is no host name: it must have labels of letters, digits and dashes with dots between them")]
    Malformed,
    #[error("needs at least one dot: `www.example.com`")]
    SingleLabel,
    #[error("would cover a whole top-level domain: a wildcard needs two further labels, `*.example.com`")]
    TooWide,
}

impl std::str::FromStr for Hostname {
    type Err = BadHostname;

    fn from_str(raw: &str) -> Result<Self, BadHostname> {
        let raw = raw.trim().trim_end_matches('.');
        if raw.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
            return Err(BadHostname::Address);
        }
        let (wildcard, rest) = match raw.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, raw),
        };
        let ascii = Uts46::new()
            .to_ascii(rest.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
            .map_err(|_| BadHostname::Malformed)?;
        let last = ascii.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(if ascii.contains('.') { BadHostname::Address } else { BadHostname::Malformed });
        }
        match (ascii.contains('.'), wildcard) {
            (false, true) => Err(BadHostname::TooWide),
            (false, false) => Err(BadHostname::SingleLabel),
            (true, true) => Ok(Self(format!("*.{ascii}"))),
            (true, false) => Ok(Self(ascii.into_owned())),
        }
    }
}

impl Hostname {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What a wildcard stands above.
    fn below_wildcard(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether a visitor of the other name could be meant for this one. A wildcard stands for one label, as in
    /// certificates (RFC 6125 section 6.4.3).
    pub(crate) fn covers(&self, other: &str) -> bool {
        if self.0 == other {
            return true;
        }
        let above = other.split_once('.').map(|(_, above)| above);
        self.below_wildcard().is_some_and(|domain| above == Some(domain))
    }

    /// The wildcard that covers this name, if it is not one itself.
    pub(crate) fn wildcard_above(&self) -> Option<String> {
        let (first, above) = self.0.split_once('.')?;
        (first != "*").then(|| format!("*.{above}"))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host in a URL of ours, without port and user.
pub(crate) fn of_url(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Names that are the platform's own.
pub(crate) struct Reserved {
    /// What stands before and after an app's name in its host; none where apps differ by path.
    apps: Option<(String, String)>,
    /// Its other hosts.
    hosts: Vec<String>,
}

impl Reserved {
    /// Of the URL pattern of apps, and of further URLs.
    pub(crate) fn of<const N: usize>(web_url: &str, others: [String; N]) -> Self {
        let apps = of_url(web_url).split_once("{app}");
        let hosts = others.iter().map(String::as_str).chain([web_url]);
        Self {
            apps: apps.map(|(before, after)| (before.to_owned(), after.to_owned())),
            hosts: hosts.map(|url| of_url(url).to_owned()).collect(),
        }
    }

    /// Whether the name is one of them, or of an app, or covers one.
    pub(crate) fn has(&self, name: &Hostname) -> bool {
        let of_apps = self.apps.as_ref().is_some_and(|(before, after)| {
            let of_one = name.as_str().starts_with(before) && name.as_str().ends_with(after);
            of_one || name.as_str().trim_start_matches("*.") == after.trim_start_matches('.')
        });
        of_apps || self.hosts.iter().any(|host| name.covers(host))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(raw: &str) -> Result<String, BadHostname> {
        raw.parse::<Hostname>().map(|name| name.to_string())
    }

    #[test]
    fn names_are_kept_as_dns_knows_them() {
        for (raw, kept) in [
            ("www.example.com", "www.example.com"),
            (" WWW.Example.COM. ", "www.example.com"),
            ("*.example.com", "*.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a-1.b2.c", "a-1.b2.c"),
        ] {
            assert_eq!(parsed(raw).as_deref(), Ok(kept), "{raw}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (raw, why) in [
            ("", BadHostname::Malformed),
            ("localhost", BadHostname::SingleLabel),
            ("*.com", BadHostname::TooWide),
            ("192.0.2.1", BadHostname::Address),
            ("1.2.3", BadHostname::Address),
            ("2001:db8::1", BadHostname::Address),
            ("[::1]", BadHostname::Address),
            ("a b.com", BadHostname::Malformed),
            ("a_b.com", BadHostname::Malformed),
            ("-a.com", BadHostname::Malformed),
            ("a-.com", BadHostname::Malformed),
            ("a..com", BadHostname::Malformed),
            ("a.*.com", BadHostname::Malformed),
            ("*", BadHostname::Malformed),
            ("http://a.com", BadHostname::Malformed),
            ("a.com/x", BadHostname::Malformed),
            ("a.com:80", BadHostname::Malformed),
            ("xn--a.com", BadHostname::Malformed),
            ("a\n.com", BadHostname::Malformed),
        ] {
            assert_eq!(parsed(raw), Err(why), "{raw:?}");
        }
        assert!(parsed(&format!("{}.com", "a".repeat(64))).is_err());
        assert!(parsed(&format!("{}com", "abc.".repeat(64))).is_err());
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let wildcard: Hostname = "*.example.com".parse().unwrap();
        assert!(wildcard.covers("www.example.com") && wildcard.covers("*.example.com"));
        assert!(!wildcard.covers("example.com") && !wildcard.covers("a.b.example.com"));
        let plain: Hostname = "www.example.com".parse().unwrap();
        assert_eq!(plain.wildcard_above().as_deref(), Some("*.example.com"));
        assert_eq!(wildcard.wildcard_above(), None);
    }

    #[test]
    fn the_platforms_own_names_cannot_be_had() {
        let reserved = Reserved::of(
            "https://{app}.apps.example.com:8443/",
            ["https://paas.example.com:5001".to_owned()],
        );
        let has = |raw: &str| reserved.has(&raw.parse().unwrap());
        for own in [
            "shop.apps.example.com",
            "a.b.apps.example.com",
            "apps.example.com",
            "*.apps.example.com",
            "paas.example.com",
            "*.example.com",
        ] {
            assert!(has(own), "{own}");
        }
        for free in ["www.example.com", "example.com", "*.example.org", "apps.example.org"] {
            assert!(!has(free), "{free}");
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_is_plain(raw in "\\PC{0,40}") {
            if let Ok(name) = raw.parse::<Hostname>() {
                let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b);
                prop_assert!(name.as_str().bytes().all(plain));
                prop_assert!(name.as_str().len() <= 255 && !name.as_str().contains(".."));
                prop_assert_eq!(name.as_str().parse::<Hostname>().map(|n| n.to_string()), Ok(name.to_string()));
            }
        }
    }
}
