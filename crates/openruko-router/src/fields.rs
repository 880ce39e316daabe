//! Header fields between client and dyno: what is for one hop stays there, and each side learns of the other.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

/// What this program calls itself in `Via`.
const NAME: &str = "openruko-router";

/// For one hop only, whatever `Connection` says (RFC 9110, section 7.6.1).
const ONE_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    UPGRADE,
];

/// These are for the whole way, whatever `Connection` says: without them a request would be another one.
const WHOLE_WAY: [HeaderName; 3] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

/// What a request says of itself, and what its way to the router says of it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The client's own id of the request, if it is one, else a new one.
    pub(crate) request_id: String,
    /// `Host`, as it came.
    pub(crate) host: String,
    /// Everybody that the request came through, the client first: for the log.
    pub(crate) forwarded_for: String,
    /// Whether it came over HTTPS, to this router or to a proxy in front that is trusted.
    pub(crate) https: bool,
    /// The port that it came to, likewise.
    pub(crate) port: u16,
    /// Milliseconds since 1970.
    pub(crate) start: u64,
    /// A handshake for WebSocket.
    pub(crate) websocket: bool,
    /// The host that a trusted proxy in front was asked for, if another.
    forwarded_host: Option<String>,
}

/// How a request came here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// That is a proxy which is believed.
    pub(crate) trusted: bool,
    /// The connection has TLS.
    pub(crate) tls: bool,
    /// The port of this router.
    pub(crate) port: u16,
    /// Milliseconds since 1970.
    pub(crate) start: u64,
}

impl Facts {
    /// Of a request.
    pub(crate) fn of(request: &RequestHeader, arrival: &Arrival) -> Self {
        let field = |name: &HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
        let trusted = |name: &HeaderName| field(name).filter(|_| arrival.trusted).map(str::trim);
        let proto = trusted(&FORWARDED_PROTO);
        let https = proto.map_or(arrival.tls, |proto| proto.eq_ignore_ascii_case("https"));
        let port = trusted(&FORWARDED_PORT).and_then(|port| port.parse().ok());
        let by_proto = proto.map(|_| if https { 443 } else { 80 });
        let authority = request.uri.authority().map(|authority| authority.as_str());
        Self {
            request_id: request_id(field(&REQUEST_ID)),
            host: field(&HOST).or(authority).unwrap_or_default().to_owned(),
            forwarded_for: forwarded_for(&request.headers, arrival.peer),
            https,
            port: port.or(by_proto).unwrap_or(arrival.port),
            start: arrival.start,
            websocket: is_websocket(request),
            forwarded_host: trusted(&FORWARDED_HOST).map(str::to_owned),
        }
    }

    /// `http` or `https`.
    pub(crate) fn protocol(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Heroku's rule: an id of 20 to 200 of these characters is taken over.
fn request_id(said: Option<&str>) -> String {
    let good = |id: &&str| {
        (20..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    said.filter(good).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// What the client says of its way, and the client.
fn forwarded_for(headers: &HeaderMap, peer: IpAddr) -> String {
    let mut list = String::new();
    for said in headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        list.push_str(said.trim());
        list.push_str(", ");
    }
    list + &peer.to_canonical().to_string()
}

fn is_websocket(request: &RequestHeader) -> bool {
    let is = |name: &HeaderName, word: &str| {
        request.headers.get_all(name).iter().any(|value| has_token(value.as_bytes(), word))
    };
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && is(&UPGRADE, "websocket")
        && is(&CONNECTION, "upgrade")
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(list: &[u8], word: &str) -> bool {
    tokens(list).any(|token| token.eq_ignore_ascii_case(word.as_bytes()))
}

/// What is for one hop, named by `Connection`.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(CONNECTION);
    let names = lists.iter().flat_map(|list| tokens(list.as_bytes()));
    let names = names.filter_map(|token| HeaderName::from_bytes(token).ok());
    names.filter(|name| !WHOLE_WAY.contains(name)).collect()
}

/// The request as the dyno gets it.
///
/// # Errors
/// A field cannot be written; there is none such.
pub(crate) fn to_dyno(request: &RequestHeader, facts: &Facts, has_body: bool) -> Result<RequestHeader> {
    let mut to = request.clone();
    for name in named_by_connection(&request.headers).iter().chain(&ONE_HOP) {
        to.remove_header(name);
    }
    let received = if request.version == Version::HTTP_2 { "2" } else { "1.1" };
    to.set_version(Version::HTTP_11);
    if request.version == Version::HTTP_2 {
        // The cookie may have come in pieces: RFC 9113, section 8.2.3.
        join_cookies(&mut to)?;
        to.insert_header(HOST, facts.host.as_str())?;
        if has_body && !to.headers.contains_key(CONTENT_LENGTH) {
            to.insert_header(TRANSFER_ENCODING, "chunked")?;
        }
    }
    let path = path(&to);
    to.set_raw_path(path.as_bytes())?;
    if facts.websocket {
        to.insert_header(CONNECTION, "Upgrade")?;
        to.insert_header(UPGRADE, "websocket")?;
    }
    to.insert_header(REQUEST_ID, facts.request_id.as_str())?;
    to.insert_header(FORWARDED_FOR, facts.forwarded_for.as_str())?;
    to.insert_header(FORWARDED_PROTO, facts.protocol())?;
    to.insert_header(FORWARDED_PORT, facts.port.to_string())?;
    to.insert_header(FORWARDED_HOST, facts.forwarded_host.as_deref().unwrap_or(&facts.host))?;
    to.insert_header(REQUEST_START, facts.start.to_string())?;
    to.append_header(VIA, format!("{received} {NAME}"))?;
    Ok(to)
}

/// Path and query. An absolute target is for proxies; a dyno is none.
pub(crate) fn path(request: &RequestHeader) -> String {
    let raw = request.raw_path();
    if raw.starts_with(b"/") || raw == b"*" {
        return String::from_utf8_lossy(raw).into_owned();
    }
    match request.uri.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => path.as_str().to_owned(),
        Some(query) => format!("/{}", query.as_str().trim_start_matches('*')),
        None => "/".to_owned(),
    }
}

fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let cookie = http::header::COOKIE;
    let pieces: Vec<_> = request.headers.get_all(&cookie).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() < 2 {
        return Ok(());
    }
    let whole = Bytes::from(pieces.join(&b"; "[..]));
    let Ok(value) = HeaderValue::from_maybe_shared(whole) else { return Ok(()) };
    request.insert_header(cookie, value)
}

/// The answer as the client gets it.
///
/// # Errors
/// A field cannot be written; there is none such.
pub(crate) fn to_client(
    mut answer: Box<ResponseHeader>,
    request: &RequestHeader,
) -> Result<Box<ResponseHeader>> {
    let is_switch = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    for name in named_by_connection(&answer.headers).iter().chain(&ONE_HOP) {
        answer.remove_header(name);
    }
    answer.append_header(VIA, format!("1.1 {NAME}"))?;
    if is_switch {
        answer.insert_header(CONNECTION, "Upgrade")?;
        answer.insert_header(UPGRADE, "websocket")?;
        return Ok(answer);
    }
    let no_body = answer.status.is_informational()
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || request.method == Method::HEAD;
    let knows_chunks = request.version == Version::HTTP_11;
    if !knows_chunks || answer.status.is_informational() || answer.status == StatusCode::NO_CONTENT {
        answer.remove_header(&TRANSFER_ENCODING);
    } else if !no_body && !answer.headers.contains_key(CONTENT_LENGTH) {
        answer.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    answer.set_version(Version::HTTP_11);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/a?b", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn arrival(trusted: bool) -> Arrival {
        let peer = "203.0.113.9".parse().unwrap();
        Arrival { peer, trusted, tls: false, port: 80, start: 1_700_000_000_123 }
    }

    fn sent(fields: &[(&'static str, &str)], trusted: bool) -> RequestHeader {
        let request = request(fields);
        to_dyno(&request, &Facts::of(&request, &arrival(trusted)), false).unwrap()
    }

    fn all(request: &RequestHeader, name: &str) -> String {
        let values = request.headers.get_all(name);
        values.iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(" & ")
    }

    #[test]
    fn a_dyno_learns_who_asks() {
        let to =
            sent(&[("Host", "a.example.com"), ("X-Forwarded-For", "1.2.3.4"), ("Via", "1.0 cache")], false);
        assert_eq!(all(&to, "host"), "a.example.com");
        assert_eq!(all(&to, "x-forwarded-for"), "1.2.3.4, 203.0.113.9");
        assert_eq!(all(&to, "x-forwarded-proto"), "http");
        assert_eq!(all(&to, "x-forwarded-port"), "80");
        assert_eq!(all(&to, "x-forwarded-host"), "a.example.com");
        assert_eq!(all(&to, "x-request-start"), "1700000000123");
        assert_eq!(all(&to, "via"), "1.0 cache & 1.1 openruko-router");
        assert_eq!(all(&to, "x-request-id").len(), 36);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let said = [("Host", "a"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "b")];
        assert_eq!(all(&sent(&said, false), "x-forwarded-proto"), "http");
        assert_eq!(all(&sent(&said, false), "x-forwarded-host"), "a");
        assert_eq!(all(&sent(&said, true), "x-forwarded-proto"), "https");
        assert_eq!(all(&sent(&said, true), "x-forwarded-port"), "443");
        assert_eq!(all(&sent(&said, true), "x-forwarded-host"), "b");
    }

    #[test]
    fn ids_of_requests_are_taken_over_if_they_are_ids() {
        let id = "0123456789-abcdef_XYZ";
        assert_eq!(all(&sent(&[("X-Request-Id", id)], false), "x-request-id"), id);
        for bad in ["short", "0123456789 0123456789", &"x".repeat(201)] {
            assert_ne!(all(&sent(&[("X-Request-Id", bad)], false), "x-request-id"), bad);
        }
    }

    #[test]
    fn what_is_for_one_hop_stays_there() {
        let to = sent(
            &[
                ("Host", "a"),
                ("Connection", "close, X-Secret, Host, content-length"),
                ("X-Secret", "1"),
                ("Content-Length", "0"),
                ("Keep-Alive", "timeout=1"),
                ("TE", "trailers"),
                ("Trailer", "X"),
                ("Upgrade", "h2c"),
                ("Proxy-Authorization", "x"),
                ("Proxy-Connection", "x"),
            ],
            false,
        );
        for gone in
            ["connection", "x-secret", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization"]
        {
            assert!(!to.headers.contains_key(gone), "{gone}");
        }
        assert_eq!((all(&to, "host"), all(&to, "content-length")), ("a".to_owned(), "0".to_owned()));
    }

    #[test]
    fn websockets_go_through() {
        let to =
            sent(&[("Host", "a"), ("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")], false);
        assert_eq!((all(&to, "connection").as_str(), all(&to, "upgrade").as_str()), ("Upgrade", "websocket"));
        let other = sent(&[("Host", "a"), ("Connection", "close"), ("Upgrade", "websocket")], false);
        assert!(!other.headers.contains_key("upgrade"));
    }

    #[test]
    fn an_absolute_target_becomes_a_path() {
        for (target, expected) in [("http://a/x?y", "/x?y"), ("http://a", "/"), ("/x", "/x"), ("*", "*")] {
            let request = RequestHeader::build("OPTIONS", target.as_bytes(), None).unwrap();
            assert_eq!(path(&request), expected, "{target}");
        }
    }

    #[test]
    fn answers_are_framed_for_who_asked() {
        let answer = |status: u16, fields: &[(&'static str, &str)], request: &RequestHeader| {
            let mut answer = ResponseHeader::build(status, None).unwrap();
            for (name, value) in fields {
                answer.append_header(*name, *value).unwrap();
            }
            to_client(Box::new(answer), request).unwrap()
        };
        let new = request(&[]);
        let mut old = request(&[]);
        old.set_version(Version::HTTP_10);
        let chunked = [("Transfer-Encoding", "chunked"), ("Connection", "X-Own"), ("X-Own", "1")];
        assert!(answer(200, &chunked, &new).headers.contains_key("transfer-encoding"));
        assert!(!answer(200, &chunked, &new).headers.contains_key("x-own"));
        assert!(!answer(200, &chunked, &old).headers.contains_key("transfer-encoding"));
        assert!(answer(200, &[], &new).headers.contains_key("transfer-encoding"));
        assert!(!answer(200, &[("Content-Length", "3")], &new).headers.contains_key("transfer-encoding"));
        assert!(!answer(304, &[], &new).headers.contains_key("transfer-encoding"));
        assert!(!answer(204, &chunked, &new).headers.contains_key("transfer-encoding"));
    }
}
