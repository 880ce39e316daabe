//! The head of an HTTP/1 request, judged before anything else reads it.
//!
//! Where two programs can read a request differently, one request can be smuggled in another
//! (RFC 9112, section 11.2). So whatever is ambiguous is refused: line ends other than CR LF, folded lines, white
//! space before a colon, more than one length, a length beside `Transfer-Encoding`, codings other than `chunked`,
//! a target for another host than `Host`.

use crate::fields::MAX_HOP_NAMES;

/// The most header fields of a request.
const MAX_FIELDS: usize = 128;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// It has more bytes or fields than one may have.
    TooLarge,
    /// It cannot be read, or could be read in two ways.
    Malformed(&'static str),
    /// `CONNECT`, which is for proxies of another kind.
    Connect,
    /// An expectation other than `100-continue`.
    Expectation,
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More has to come.
    Partial,
    /// It has so many bytes, the empty line included.
    Whole(usize),
}

/// Looks at what came of a head so far; `seen` bytes of it were looked at before.
///
/// # Errors
/// It will never be a head, or is too large.
pub(crate) fn progress(bytes: &[u8], seen: usize, max_bytes: usize) -> Result<Progress, BadHead> {
    // Three bytes back, since an end may have come in pieces.
    let from = seen.saturating_sub(3);
    let end = bytes[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4);
    let length = end.unwrap_or(bytes.len());
    if length > max_bytes {
        return Err(BadHead::TooLarge);
    }
    line_ends(&bytes[seen.saturating_sub(1)..length], end.is_some())?;
    Ok(end.map_or(Progress::Partial, Progress::Whole))
}

/// CR and LF stand together or not at all.
fn line_ends(bytes: &[u8], whole: bool) -> Result<(), BadHead> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && bytes[at - 1] != b'\r' => return Err(BadHead::Malformed("a bare line feed")),
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(BadHead::Malformed("a bare carriage return"));
            }
            b'\r' if whole && at + 1 == bytes.len() => {
                return Err(BadHead::Malformed("a bare carriage return"));
            }
            0 => return Err(BadHead::Malformed("a NUL")),
            _ => {}
        }
    }
    Ok(())
}

/// How many bytes of an empty line stand before a request: RFC 9112, section 2.2, has servers ignore one.
pub(crate) fn empty_line(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// Judges a whole head, as [`progress`] found it.
///
/// # Errors
/// It is refused.
pub(crate) fn judge(head: &[u8]) -> Result<(), BadHead> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or(BadHead::Malformed("no end"))?;
    let mut lines = Lines(Some(text));
    let line = RequestLine::parse(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for (count, line) in lines.enumerate() {
        if count == MAX_FIELDS {
            return Err(BadHead::TooLarge);
        }
        let (name, value) = field(line)?;
        fields.note(name, value)?;
    }
    fields.judge(&line)
}

/// A target with characters that may not stand in a URL, though clients send them: the head with these in their
/// percent-encoding, which is how everybody who takes them reads them. None if there is nothing to do.
pub(crate) fn with_plain_target(head: &[u8]) -> Option<Vec<u8>> {
    let is_odd = |byte: &u8| b"\"<>`".contains(byte);
    let end = head.iter().position(|byte| *byte == b'\r')?;
    let (line, rest) = head.split_at(end);
    line.iter().any(is_odd).then(|| {
        let mut plain = Vec::with_capacity(head.len() + 16);
        for byte in line {
            if is_odd(byte) {
                plain.extend(format!("%{byte:02X}").bytes());
            } else {
                plain.push(*byte);
            }
        }
        plain.extend(rest);
        plain
    })
}

/// The lines of a head, without their ends.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let end = rest.iter().position(|byte| *byte == b'\r');
        self.0 = end.and_then(|at| rest.get(at + 2..));
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    /// HTTP/1.1, else HTTP/1.0.
    is_1_1: bool,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, BadHead> {
        let malformed = BadHead::Malformed("the request line");
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        let is_1_1 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(malformed),
        };
        // A fragment is for the client alone.
        let visible = target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
        if !is_token(method) || target.is_empty() || !visible {
            return Err(malformed);
        }
        if method == b"CONNECT" {
            return Err(BadHead::Connect);
        }
        Ok(Self { method, target, is_1_1 })
    }

    /// The host that an absolute target names.
    fn authority(&self) -> Result<Option<&'a [u8]>, BadHead> {
        if self.target.starts_with(b"/") || (self.target == b"*" && self.method == b"OPTIONS") {
            return Ok(None);
        }
        let after = |scheme: &[u8]| {
            let start = self.target.get(..scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then(|| &self.target[scheme.len()..])
        };
        let rest = after(b"http://").or_else(|| after(b"https://"));
        let rest = rest.ok_or(BadHead::Malformed("the request target"))?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
        Ok(Some(&rest[..end.unwrap_or(rest.len())]))
    }
}

/// Name and value of a line.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), BadHead> {
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(BadHead::Malformed("a header field without a colon"))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    // A folded line begins with white space, and so does not begin with a name either.
    if !is_token(name) {
        return Err(BadHead::Malformed("the name of a header field"));
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(BadHead::Malformed("a control character in a header field"));
    }
    Ok((name, value))
}

/// RFC 9110, section 5.6.2.
fn is_token(word: &[u8]) -> bool {
    let mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

/// What the fields that frame and direct a request say.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    hop_names: usize,
    has_length: bool,
    is_chunked: bool,
}

impl<'a> Fields<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), BadHead> {
        if name.eq_ignore_ascii_case(b"host") {
            if self.host.replace(value).is_some() {
                return Err(BadHead::Malformed("more than one Host"));
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.hop_names += value.split(|byte| *byte == b',').count();
            if self.hop_names > MAX_HOP_NAMES {
                return Err(BadHead::Malformed("more than 32 names in Connection"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
            if !digits || std::mem::replace(&mut self.has_length, true) {
                return Err(BadHead::Malformed("Content-Length"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_plain = value.eq_ignore_ascii_case(b"chunked");
            if !is_plain || std::mem::replace(&mut self.is_chunked, true) {
                return Err(BadHead::Malformed("Transfer-Encoding"));
            }
        } else if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(BadHead::Expectation);
        }
        Ok(())
    }

    fn judge(&self, line: &RequestLine<'_>) -> Result<(), BadHead> {
        let host = self.host.ok_or(BadHead::Malformed("no Host"))?;
        if !is_host(host) {
            return Err(BadHead::Malformed("Host"));
        }
        if line.authority()?.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
            return Err(BadHead::Malformed("a target for another host"));
        }
        if self.is_chunked && (self.has_length || !line.is_1_1) {
            return Err(BadHead::Malformed("Transfer-Encoding beside Content-Length or in HTTP/1.0"));
        }
        Ok(())
    }
}

/// A name or an address, perhaps with a port.
fn is_host(value: &[u8]) -> bool {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]~".contains(byte);
    !value.is_empty() && value.len() <= 255 && value.iter().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Result<(), BadHead> {
        let head = head.as_bytes();
        match progress(head, 0, 1 << 16)? {
            Progress::Whole(length) => judge(&head[..length]),
            Progress::Partial => panic!("{head:?} is no whole head"),
        }
    }

    #[test]
    fn what_clients_send_is_taken() {
        for good in [
            "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
            "GET /?q=a|b\"{} HTTP/1.1\r\nhost: a.example.com:8080\r\nX-Empty:\r\nX-Latin: \u{e9}\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n",
            "GET http://a.example.com/x HTTP/1.1\r\nHost: A.example.com\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(judged(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let hops = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close{}\r\n\r\n", ",".repeat(32));
        for bad in [
            &hops,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "G\u{0}T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\n\r\n",
        ] {
            assert!(matches!(judged(bad), Err(BadHead::Malformed(_))), "{bad:?}: {:?}", judged(bad));
        }
        let bare = progress(b"GET / HTTP/1.1\nHost: a\n\n", 0, 1 << 16);
        assert_eq!(bare, Err(BadHead::Malformed("a bare line feed")));
        assert_eq!(judged("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), Err(BadHead::Connect));
        assert_eq!(judged("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"), Err(BadHead::Expectation));
    }

    #[test]
    fn odd_targets_are_made_plain() {
        let head = b"GET /\"a\"?<b>`{|} HTTP/1.1\r\nX: \"<>\r\n\r\n";
        let plain = b"GET /%22a%22?%3Cb%3E%60{|} HTTP/1.1\r\nX: \"<>\r\n\r\n";
        assert_eq!(with_plain_target(head).unwrap(), plain);
        assert_eq!(with_plain_target(plain), None);
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for length in 0..head.len() - 4 {
            let seen = length.saturating_sub(1);
            assert_eq!(progress(&head[..length], seen, 100), Ok(Progress::Partial), "{length}");
        }
        for seen in 0..head.len() - 4 {
            assert_eq!(progress(head, seen, 100), Ok(Progress::Whole(head.len() - 4)), "{seen}");
        }
        assert!(progress(b"GET / HTTP/1.1\rX", 15, 100).is_err());
    }

    #[test]
    fn bytes_and_fields_are_counted() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100));
        assert_eq!(progress(long.as_bytes(), 0, 100), Err(BadHead::TooLarge));
        assert_eq!(progress(&long.as_bytes()[..101], 0, 100), Err(BadHead::TooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(MAX_FIELDS));
        assert_eq!(judged(&many), Err(BadHead::TooLarge));
    }

    /// What Pingora makes of bytes: the method, the target, the fields, and the body; none if it refuses them.
    fn read_by_pingora(bytes: &[u8]) -> Option<(String, usize, Vec<u8>)> {
        use pingora_core::protocols::http::ServerSession;
        use tokio::io::AsyncWriteExt;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            theirs.write_all(bytes).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut session = ServerSession::new_http1(Box::new(ours));
            session.set_read_timeout(None);
            if !session.read_request().await.ok()? {
                return None;
            }
            let head = session.req_header();
            let what = format!("{} {}", head.method, String::from_utf8_lossy(head.raw_path()));
            let fields = head.headers.len();
            let mut body = Vec::new();
            while let Ok(Some(part)) = session.read_request_body().await {
                body.extend(part);
            }
            Some((what, fields, body))
        })
    }

    proptest::proptest! {
        /// A head that is judged good is read by Pingora, and as it is meant; the bytes around it do not matter.
        #[test]
        fn what_is_good_is_read_in_one_way(
            method in "[A-Z]{1,8}",
            target in "/[!-~]{0,20}",
            names in proptest::collection::vec("[A-Za-z][A-Za-z0-9_-]{0,10}", 0..8),
            values in proptest::collection::vec("[ -~\t\u{80}-\u{ff}]{0,20}", 8),
            framing in 0..3usize,
            at in 0..200usize,
            put in proptest::option::of(proptest::sample::select(&b"\0\t\n\r :/,\"#%\x7f\x80A1"[..])),
        ) {
            let mut head = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n");
            for (name, value) in names.iter().zip(&values) {
                head += &format!("{name}: {value}\r\n");
            }
            head += ["\r\n", "Content-Length: 5\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"][framing];
            let mut bytes = head.into_bytes();
            // A byte is put somewhere, or takes the place of another.
            if let Some(byte) = put {
                let at = at % bytes.len();
                if byte.is_ascii_alphanumeric() { bytes[at] = byte } else { bytes.insert(at, byte) }
            }
            if let Ok(Progress::Whole(length)) = progress(&bytes, 0, 1 << 16)
                && judge(&bytes[..length]).is_ok()
            {
                let head = &bytes[..length];
                let plain = with_plain_target(head).unwrap_or_else(|| head.to_vec());
                let lines = Lines(plain.strip_suffix(b"\r\n\r\n")).count() - 1;
                let lower = String::from_utf8_lossy(&plain).to_ascii_lowercase();
                let chunked = lower.contains("\r\ntransfer-encoding:");
                let sized = lower.contains("\r\ncontent-length:");
                let rest: &[u8] = if chunked { b"5\r\nhello\r\n0\r\n\r\n" } else { b"hello" };
                let all = [&plain[..], rest, b"GET /hidden HTTP/1.1\r\n\r\n"].concat();
                let (what, fields, body) = read_by_pingora(&all).expect("Pingora reads it");
                let line = String::from_utf8_lossy(&plain);
                let line = line.split(" HTTP/1.").next().unwrap().to_owned();
                proptest::prop_assert_eq!(what, line);
                proptest::prop_assert_eq!(fields, lines);
                if !sized || lower.contains("\r\ncontent-length: 5\r\n") {
                    let expected: &[u8] = if chunked || sized { b"hello" } else { b"" };
                    proptest::prop_assert_eq!(&body[..], expected);
                }
            }
        }
    }
}
