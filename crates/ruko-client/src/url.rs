//! Addresses of servers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ureq::http::Uri;

/// Where a server's Platform API is: `https://HOST[:PORT]`, or `http://` on loopback. Without a trailing
/// slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl(String);

/// An address that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a server's address: {why}", .url.escape_debug())]
pub struct BadServerUrl {
    url: String,
    why: &'static str,
}

impl ServerUrl {
    /// Reads an address as people type it: without a scheme it is `https://`, on loopback `http://`.
    ///
    /// # Errors
    /// It cannot be a server's address, or the token would travel in the clear.
    pub fn typed(text: &str) -> Result<Self, BadServerUrl> {
        if text.contains("://") {
            return text.parse();
        }
        let http = format!("http://{text}");
        http.parse().or_else(|_| format!("https://{text}").parse())
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether calls go over TLS.
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// `HOST` or `HOST:PORT`.
    pub fn host(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, host)| host)
    }
}

impl FromStr for ServerUrl {
    type Err = BadServerUrl;

    fn from_str(raw: &str) -> Result<Self, BadServerUrl> {
        let bad = |why| BadServerUrl { url: raw.to_owned(), why };
        let uri: Uri = raw.parse().map_err(|_| bad("it is not a URL"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(bad("it has no host"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(bad("the token would travel in the clear, give an https:// address")),
            _ => return Err(bad("it does not begin with https://")),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("it must have neither user nor password"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || raw.contains('#') {
            return Err(bad("it must end after the host"));
        }
        Ok(Self(raw.trim_end_matches('/').to_ascii_lowercase()))
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = BadServerUrl;

    fn try_from(raw: String) -> Result<Self, BadServerUrl> {
        raw.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a host is this machine itself: `localhost` or a loopback address. Other names are not asked for,
/// since whoever answers for a name can answer differently the next time.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for good in
            ["https://paas.example.com", "http://127.0.0.1:5000/", "http://[::1]:5000", "http://localhost"]
        {
            assert!(good.parse::<ServerUrl>().is_ok(), "{good}");
        }
        for bad in [
            "http://paas.example.com",
            "http://10.0.0.1:5000",
            "http://127.0.0.1.example.com",
            "http://foo.localhost",
        ] {
            let why = bad.parse::<ServerUrl>().unwrap_err().to_string();
            assert!(why.contains("the token would travel in the clear"), "{why}");
        }
        for bad in [
            "",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a/b",
            "https://a?b",
            "https://a/#127.0.0.1",
            "x\ny",
        ] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn people_may_leave_the_scheme_out() {
        assert_eq!(ServerUrl::typed("paas.example.com").unwrap().as_str(), "https://paas.example.com");
        assert_eq!(ServerUrl::typed("127.0.0.1:5000").unwrap().as_str(), "http://127.0.0.1:5000");
        assert_eq!(
            ServerUrl::typed("HTTPS://Paas.example.com/").unwrap().as_str(),
            "https://paas.example.com"
        );
        assert_eq!(ServerUrl::typed("paas.example.com:8443").unwrap().host(), "paas.example.com:8443");
    }
}
