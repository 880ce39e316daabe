//! Where a drain sends lines, parsed from its URL. It is often a credential: it is never shown.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use url::{Host, Url};

use crate::webhooks::is_public;

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// A destination.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(super) protocol: Protocol,
    pub(super) tls: bool,
    /// A name or an address.
    pub(super) host: String,
    pub(super) port: u16,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Protocol {
    /// RFC 6587 with octet counting.
    Syslog,
    Http {
        /// The value of `Host`.
        authority: String,
        /// Path and query.
        target: String,
        /// The value of `Authorization`.
        authorization: Option<String>,
    },
}

/// Why a URL is none of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadDrain {
    /// It is not like one.
    NoUrl,
    /// It is plain HTTP, which has to be allowed.
    PlainHttp,
    /// It names an address of a private network, which has to be allowed. What a name stands for is looked at with every
    /// connection.
    PrivateNetwork,
}

impl Destination {
    /// `private`: whether an admin allows plain HTTP and private networks.
    pub(crate) fn parse(raw: &str, private: bool) -> Result<Self, BadDrain> {
        if raw.len() > MAX_URL || !raw.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadDrain::NoUrl);
        }
        let url = Url::parse(raw).map_err(|_| BadDrain::NoUrl)?;
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(BadDrain::NoUrl),
        };
        if url.fragment().is_some() || url.port() == Some(0) {
            return Err(BadDrain::NoUrl);
        }
        if !private && host.parse().is_ok_and(|address| !is_public(address)) {
            return Err(BadDrain::PrivateNetwork);
        }
        let (protocol, tls, usual) = match url.scheme() {
            "syslog" => (Protocol::Syslog, false, 514),
            "syslog+tls" => (Protocol::Syslog, true, 6514),
            "https" => (http(&url), true, 443),
            "http" if private => (http(&url), false, 80),
            "http" => return Err(BadDrain::PlainHttp),
            _ => return Err(BadDrain::NoUrl),
        };
        Ok(Self { protocol, tls, host, port: url.port().unwrap_or(usual) })
    }
}

fn http(url: &Url) -> Protocol {
    let host = url.host_str().unwrap_or_default();
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let target = format!("{}{query}", url.path());
    let named = !url.username().is_empty() || url.password().is_some();
    let authorization = named.then(|| {
        let mut plain = decoded(url.username());
        plain.push(b':');
        plain.extend(decoded(url.password().unwrap_or_default()));
        format!("Basic {}", BASE64_STANDARD.encode(plain))
    });
    Protocol::Http { authority, target, authorization }
}

/// Percent-decodes a part of a URL.
fn decoded(encoded: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &str) -> Option<(bool, String, u16)> {
        Destination::parse(raw, true).ok().map(|to| (to.tls, to.host, to.port))
    }

    #[test]
    fn urls_say_where_lines_go() {
        for (raw, tls, host, port) in [
            ("syslog://logs.test", false, "logs.test", 514),
            ("syslog://logs.test:5140/", false, "logs.test", 5140),
            ("syslog+tls://logs.test", true, "logs.test", 6514),
            ("syslog+tls://[2001:db8::1]:99", true, "2001:db8::1", 99),
            ("https://u:p@logs.test/in", true, "logs.test", 443),
            ("http://127.0.0.1:8000", false, "127.0.0.1", 8000),
        ] {
            assert_eq!(parsed(raw), Some((tls, host.to_owned(), port)), "{raw}");
        }
        for bad in
            ["", "x", "syslog://", "syslog:logs", "ftp://h", "https://h/#x", "https://a b", "syslog://h:0"]
        {
            assert!(Destination::parse(bad, true) == Err(BadDrain::NoUrl), "{bad}");
        }
        assert!(Destination::parse("http://h", false) == Err(BadDrain::PlainHttp));
        for inside in ["syslog://127.0.0.1:1", "https://[::1]/", "syslog+tls://10.0.0.1"] {
            assert!(Destination::parse(inside, false) == Err(BadDrain::PrivateNetwork), "{inside}");
        }
    }

    #[test]
    fn a_request_carries_the_credentials_and_not_the_url() {
        let to = Destination::parse("https://us%40er:p%2Fw@logs.test:8443/in/x?key=1", false).ok().unwrap();
        let Protocol::Http { authority, target, authorization } = to.protocol else { panic!("no HTTP") };
        assert_eq!((authority.as_str(), target.as_str()), ("logs.test:8443", "/in/x?key=1"));
        let expected = format!("Basic {}", BASE64_STANDARD.encode("us@er:p/w"));
        assert_eq!(authorization, Some(expected));
        assert_eq!(decoded("100%"), b"100%");
        assert_eq!(decoded("%zz%C3%A9"), "%zzé".as_bytes());
    }
}
