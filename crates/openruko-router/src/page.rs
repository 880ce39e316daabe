//! What a client is shown instead of the app's answer.

use bytes::Bytes;

use crate::code::Code;

/// A page: what is wrong, in two sentences at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The status.
    pub(crate) status: u16,
    title: &'static str,
    text: &'static str,
    /// After how many seconds it is worth trying again.
    pub(crate) retry_after: Option<u32>,
}

impl Page {
    /// No app answers to this name. Says nothing of what there is.
    pub(crate) const NO_APP: Self = Self::plain(404, "No such app", "There is nothing at this address.");
    /// The request cannot be read.
    pub(crate) const BAD_REQUEST: Self =
        Self::plain(400, "Bad request", "This request cannot be understood. Nothing was done.");
    /// The head of the request is too large.
    pub(crate) const TOO_LARGE: Self =
        Self::plain(431, "Request too large", "The header fields of this request are too large or too many.");
    /// The head did not come in time.
    pub(crate) const SLOW: Self =
        Self::plain(408, "Request timeout", "This request took too long to arrive.");
    /// A method that a reverse proxy does not have.
    pub(crate) const NO_CONNECT: Self =
        Self::plain(405, "Method not allowed", "This server is no proxy to other places.");
    /// An expectation other than `100-continue`.
    pub(crate) const EXPECTATION: Self =
        Self::plain(417, "Expectation failed", "This server cannot meet what the request expects.");

    /// The app is elsewhere.
    pub(crate) const MOVED: Self = Self::plain(301, "Moved", "This app is reached over HTTPS.");

    /// The same with another status.
    pub(crate) const fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    const fn plain(status: u16, title: &'static str, text: &'static str) -> Self {
        Self { status, title, text, retry_after: None }
    }

    /// The page of a code.
    pub(crate) const fn of(code: Code) -> Self {
        let (title, text) = match code {
            Code::Maintenance => {
                ("Offline for maintenance", "This app is being worked on. Please come back in a while.")
            }
            Code::BadRequest => return Self::BAD_REQUEST,
            Code::ClientIdle => return Self::SLOW,
            Code::Crashed | Code::NoDynos | Code::Boot => (
                "Application error",
                "The app is not running. If it is yours, its log says why; otherwise please try again later.",
            ),
            Code::Backlog | Code::Waiting => (
                "Application busy",
                "The app has more requests than it can answer. Please try again in a moment.",
            ),
            _ => (
                "Application error",
                "The app did not answer as it should. If it is yours, its log says why; otherwise please try again.",
            ),
        };
        Self { status: code.status(), title, text, retry_after: code.retry_after() }
    }

    /// The page as HTML.
    pub(crate) fn html(self) -> Bytes {
        let Self { title, text, .. } = self;
        Bytes::from(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\nbody {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto 0; \
             padding: 0 1.5rem }}\nh1 {{ font-size: 1.6rem; font-weight: 600; margin: 0 0 .5rem }}\n\
             p {{ margin: 0; opacity: .8 }}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{text}</p>\n\
             </body>\n</html>\n"
        ))
    }

    /// The page with a head, for a connection on which there is no session and that will be closed.
    pub(crate) fn raw(self) -> Vec<u8> {
        let status = http::StatusCode::from_u16(self.status).unwrap_or_default();
        let reason = status.canonical_reason().unwrap_or("Error");
        let body = self.html();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status,
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }

    /// The page for programs.
    pub(crate) fn plain_text(self) -> Bytes {
        Bytes::from(format!("{}\n{}\n", self.title, self.text))
    }
}
