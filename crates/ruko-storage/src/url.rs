//! Storage URLs.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use crate::http::time;

/// What is written as `%XX` in the path of a URL (RFC 3986, section 3.3: what is neither unreserved nor a
/// delimiter that may stand in a path).
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Where an object is stored. Printed, it never shows a query or user information: in a pre-signed URL
/// these are the credential.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageUrl {
    /// A file (RFC 8089): `file:///absolute/path`, percent-encoded, without a host.
    File(PathBuf),
    /// `https://…` or `http://…`, as a rule signed for one deed and for a while.
    Http(HttpUrl),
}

impl StorageUrl {
    /// When it stops being good for anything, where it says so.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        match self {
            Self::File(_) => None,
            Self::Http(url) => time::life(url.reveal()).map(|life| life.ends),
        }
    }
}

/// An http(s) URL. Its query is a credential, and never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// All of it. Not for messages.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no storage URL. It repeats nothing of the text: that may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// No host, user information, a fragment, no path, or bytes that cannot stand in a URL.
    #[error("it is not of the form `https://HOST/PATH?QUERY`, without user and fragment")]
    Http,
    /// Another scheme, or none.
    #[error("it does not begin with `file:///`, `https://` or `http://`")]
    Scheme,
    /// A host or user information between the second and the third slash.
    #[error("a file URL has no host: it begins with `file:///`")]
    Host,
    /// `?` or `#`.
    #[error("a file URL has no query and no fragment")]
    Query,
    /// `.`, `..`, nothing between two slashes or after the last, or a NUL.
    #[error("its path contains `..`, `.`, an empty part or a NUL, or does not name a file")]
    Path,
}

impl FromStr for StorageUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "file" => file_path(rest).map(Self::File),
            scheme @ ("http" | "https") => http(scheme, rest).map(Self::Http),
            _ => Err(BadUrl::Scheme),
        }
    }
}

/// What any HTTP client sends as it stands.
fn http(scheme: &str, rest: &str) -> Result<HttpUrl, BadUrl> {
    let (host, path) = rest.split_once('/').ok_or(BadUrl::Http)?;
    let named = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    let bare = !path.is_empty() && !path.starts_with('?') && !path.contains('#');
    let plain = host.bytes().all(named) && path.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || !bare || !plain {
        return Err(BadUrl::Http);
    }
    Ok(HttpUrl(format!("{scheme}://{rest}")))
}

/// The path of a file URL. It is judged after decoding: `%2e%2e` is `..`, and `%2f` is a slash.
fn file_path(rest: &str) -> Result<PathBuf, BadUrl> {
    if rest.contains(['?', '#']) {
        return Err(BadUrl::Query);
    }
    if !rest.starts_with('/') {
        return Err(BadUrl::Host);
    }
    let path: Vec<u8> = percent_decode_str(rest).collect();
    let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    if path[1..].split(|&b| b == b'/').all(plain) {
        Ok(OsString::from_vec(path).into())
    } else {
        Err(BadUrl::Path)
    }
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", percent_encode(path.as_os_str().as_bytes(), ESCAPED)),
            Self::Http(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StorageUrl, BadUrl> {
        text.parse()
    }

    #[test]
    fn a_file_url_is_a_path_and_back() {
        for (text, path) in [
            ("file:///srv/slugs/a.tar.gz", "/srv/slugs/a.tar.gz"),
            ("FILE:///srv/a%20b%25%3F", "/srv/a b%?"),
            ("file:///srv/gr%C3%BCn", "/srv/grün"),
            ("file:///..a/b..", "/..a/b.."),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url, StorageUrl::File(path.into()));
            assert_eq!(parse(&url.to_string()), Ok(url));
        }
        assert_eq!(parse("file:///a%0Ab").unwrap().to_string(), "file:///a%0Ab");
    }

    #[test]
    fn a_signature_is_not_shown() {
        for text in
            ["HTTPS://bucket.s3.example/a/b?X-Amz-Signature=s3cret", "https://[::1]:99/a?temp_url_sig=s3cret"]
        {
            let url = parse(text).unwrap();
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("s3cret") && shown.contains("/a"), "{shown}");
            let StorageUrl::Http(http) = url else { panic!() };
            assert!(http.is_tls() && http.reveal().ends_with("s3cret"));
        }
    }

    #[test]
    fn a_signed_url_knows_its_end() {
        let ends = |text: &str| parse(text).unwrap().ends();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!(
            ends("https://s/v1/a/c/k?temp_url_sig=s&temp_url_expires=1323479485"),
            Some(at(1_323_479_485))
        );
        assert_eq!(ends("https://bucket/key"), None);
        assert_eq!(ends("file:///a"), None);
    }

    #[test]
    fn what_is_no_storage_url_is_refused() {
        for (text, why) in [
            ("/srv/a", BadUrl::Scheme),
            ("", BadUrl::Scheme),
            ("ftp://host/a", BadUrl::Scheme),
            ("https://s3cret", BadUrl::Http),
            ("https:///a?s3cret", BadUrl::Http),
            ("https://host/", BadUrl::Http),
            ("https://host/?s3cret", BadUrl::Http),
            ("https://host/a#s3cret", BadUrl::Http),
            ("https://host/a\r\ns3cret: x", BadUrl::Http),
            ("https://host name/a", BadUrl::Http),
            ("HTTP://user:s3cret@host/a", BadUrl::Http),
            ("file://user:s3cret@host/a", BadUrl::Host),
            ("file://localhost/a", BadUrl::Host),
            ("file://a", BadUrl::Host),
            ("file://", BadUrl::Host),
            ("file:///a?s3cret", BadUrl::Query),
            ("file:///a#s3cret", BadUrl::Query),
            ("file:///", BadUrl::Path),
            ("file:///a/", BadUrl::Path),
            ("file:///a//b", BadUrl::Path),
            ("file:///a/../b", BadUrl::Path),
            ("file:///a/%2e%2E/b", BadUrl::Path),
            ("file:///a%2f..%2Fb", BadUrl::Path),
            ("file:///a/./b", BadUrl::Path),
            ("file:///a%00b", BadUrl::Path),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal, why, "{text}");
            assert!(!format!("{refusal} {refusal:?}").contains("s3cret"), "{text}");
        }
    }
}
