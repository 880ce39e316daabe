//! One way to make a call: method, path, body; a typed answer.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::{Agent, Proxy};

use crate::{ClientError, Events, NoAnswer, ServerUrl, Token, is_loopback, trust};

/// <https://devcenter.heroku.com/articles/platform-api-reference#clients>
const ACCEPT: &str = "application/vnd.heroku+json; version=3";

/// What of a message is shown, in characters.
const SHOWN: usize = 500;

/// The largest answer that is read, in bytes: a listing.
const MAX_ANSWER: u64 = 64 << 20;

const CONNECT: Duration = Duration::from_secs(10);

const WHOLE_CALL: Duration = Duration::from_secs(60);

/// A log that is silent for so long has lost its server, which says something every half minute.
const SILENCE: Duration = Duration::from_secs(120);

/// How long to wait before each further try of a call that does no harm when it is made twice.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// How many pages of a listing are followed.
const MAX_PAGES: usize = 1000;

/// Everything but RFC 3986's unreserved characters and `@` and `+`, which e-mail addresses have.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b'+');

/// One segment of a path.
pub fn escape(segment: &str) -> String {
    utf8_percent_encode(segment, RESERVED).to_string()
}

/// The Platform API of one server, for one account or for nobody yet.
pub struct Api {
    agent: Agent,
    url: ServerUrl,
    ca_file: Option<PathBuf>,
    authorization: Option<String>,
    warned: Mutex<BTreeSet<String>>,
    on_warning: Box<dyn Fn(&str) + Send + Sync>,
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page<T> {
    /// Its elements.
    pub items: Vec<T>,
    /// The `Range` of the next page; absent for the last one.
    pub next: Option<String>,
}

/// What a call says beside method and path.
#[derive(Default)]
struct Call<'a> {
    json: Option<Vec<u8>>,
    range: Option<&'a str>,
    /// In place of the account's token.
    authorization: Option<String>,
    two_factor_code: Option<&'a str>,
}

impl Api {
    /// A client for one server.
    ///
    /// # Errors
    /// There are no certificates to believe a server by.
    pub fn new(url: &ServerUrl, ca_file: Option<&Path>, token: Option<&Token>) -> Result<Self, ClientError> {
        Ok(Self {
            agent: agent(url.is_tls(), ca_file)?,
            url: url.clone(),
            ca_file: ca_file.map(Path::to_owned),
            authorization: token.map(|token| format!("Bearer {}", token.reveal())),
            warned: Mutex::default(),
            on_warning: Box::new(|_| {}),
        })
    }

    /// Hears each warning that the server sends along, once.
    #[must_use]
    pub fn on_warning(self, hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { on_warning: Box::new(hear), ..self }
    }

    /// The server's address.
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Reads one resource.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that is no `T`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Call::default())?.json()
    }

    /// Reads the whole of a listing, page after page.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let mut page = self.page(path, None)?;
        let mut items = page.items;
        for _ in 0..MAX_PAGES {
            let Some(range) = page.next else { break };
            page = self.page(path, Some(&range))?;
            items.append(&mut page.items);
        }
        Ok(items)
    }

    /// Reads one page of a listing: `range` is `version ..; order=desc, max=15` or what the page before named.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn page<T: DeserializeOwned>(&self, path: &str, range: Option<&str>) -> Result<Page<T>, ClientError> {
        let answer = self.call(Method::GET, path, Call { range, ..Call::default() })?;
        let next = answer.header("next-range");
        Ok(Page { items: answer.json()?, next })
    }

    /// Makes a resource, or has something done.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.call(Method::POST, path, self.body(body)?)?.json()
    }

    /// Changes a resource.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.call(Method::PATCH, path, self.body(body)?)?.json()
    }

    /// Replaces a resource.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.call(Method::PUT, path, self.body(body)?)?.json()
    }

    /// Deletes a resource.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path, Call::default()).map(drop)
    }

    /// Makes a resource as somebody who has no token yet.
    pub(crate) fn post_as<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        (user, password): (&str, &str),
        two_factor_code: Option<&str>,
    ) -> Result<T, ClientError> {
        let authorization = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        self.call(Method::POST, path, Call { authorization, two_factor_code, ..self.body(body)? })?.json()
    }

    /// Reads a resource with another Bearer token than the account's.
    pub(crate) fn get_as<T: DeserializeOwned>(&self, path: &str, bearer: &Token) -> Result<T, ClientError> {
        let authorization = Some(format!("Bearer {}", bearer.reveal()));
        self.call(Method::GET, path, Call { authorization, ..Call::default() })?.json()
    }

    /// Reads text at an address that the server named, as it comes, without the token: such an address is its
    /// own credential. It may be silent for as long as a build is.
    ///
    /// # Errors
    /// No answer, a refusal, or the address is neither `https://` nor on this machine.
    pub fn text(&self, url: &str) -> Result<Box<dyn Read + Send>, ClientError> {
        self.open(url, "text/plain", None, None)
    }

    /// Reads events at such an address, after `last_id` where they are taken up again.
    ///
    /// # Errors
    /// As [`Api::text`].
    pub fn events(
        &self,
        url: &str,
        last_id: Option<&str>,
    ) -> Result<Events<Box<dyn Read + Send>>, ClientError> {
        self.open(url, "text/event-stream", last_id, Some(SILENCE)).map(Events::new)
    }

    fn open(
        &self,
        url: &str,
        accept: &str,
        last_id: Option<&str>,
        silence: Option<Duration>,
    ) -> Result<Box<dyn Read + Send>, ClientError> {
        let (bare, tls) = readable(url)?;
        let agent = match tls == self.url.is_tls() {
            true => self.agent.clone(),
            false => agent(tls, self.ca_file.as_deref())?,
        };
        let mut request = Request::builder().uri(url).header("accept", accept);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.body(()).map_err(ureq::Error::from).and_then(|request| {
            let endless = agent.configure_request(request).timeout_global(None);
            agent.run(endless.timeout_recv_response(Some(WHOLE_CALL)).timeout_per_read(silence).build())
        });
        let response =
            response.map_err(|e| ClientError::Unreachable { server: bare.clone(), source: e.into() })?;
        let answer = Answer { server: bare, call: "GET".into(), response }.success()?;
        Ok(Box::new(answer.response.into_body().into_reader()))
    }

    fn body(&self, body: &impl Serialize) -> Result<Call<'static>, ClientError> {
        let json = serde_json::to_vec(body).map_err(|e| ClientError::BadAnswer {
            server: self.url.to_string(),
            call: "a request".into(),
            why: format!("it cannot be written as JSON: {e}"),
        })?;
        Ok(Call { json: Some(json), ..Call::default() })
    }

    fn call(&self, method: Method, path: &str, call: Call<'_>) -> Result<Answer, ClientError> {
        let harmless = matches!(method, Method::GET | Method::PUT | Method::DELETE);
        let mut pauses = PAUSES.iter().filter(|_| harmless);
        loop {
            let source = match self.attempt(&method, path, &call) {
                Ok(response) => return self.answer(format!("{method} {path}"), response),
                Err(error) => NoAnswer::from(error),
            };
            match pauses.next() {
                Some(pause) if source.is_connection() => thread::sleep(*pause),
                _ => return Err(ClientError::Unreachable { server: self.url.to_string(), source }),
            }
        }
    }

    fn attempt(
        &self,
        method: &Method,
        path: &str,
        call: &Call<'_>,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.url)).header("accept", ACCEPT);
        let headers = [
            (
                "authorization",
                call.authorization.as_ref().or(self.authorization.as_ref()).map(String::as_str),
            ),
            ("heroku-two-factor-code", call.two_factor_code),
            ("range", call.range),
            ("content-type", call.json.as_ref().map(|_| "application/json")),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        match &call.json {
            Some(json) => self.agent.run(request.body(json.as_slice())?),
            None => self.agent.run(request.body(())?),
        }
    }

    fn answer(&self, call: String, response: Response<ureq::Body>) -> Result<Answer, ClientError> {
        for warning in warnings(response.headers()) {
            let new = self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone());
            if new {
                (self.on_warning)(&warning);
            }
        }
        Answer { server: self.url.to_string(), call, response }.success()
    }
}

fn warnings(headers: &HeaderMap) -> Vec<String> {
    let named = ["x-heroku-warning", "warning-message"].into_iter();
    let values = named.flat_map(|name| headers.get_all(name));
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn agent(tls: bool, ca_file: Option<&Path>) -> Result<Agent, ClientError> {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE_CALL))
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("openruko/", env!("CARGO_PKG_VERSION")));
    let config = match tls {
        true => config.tls_config(trust::for_http(ca_file)?).proxy(Proxy::try_from_env()),
        // What is in the clear stays on this machine.
        false => config.proxy(None),
    };
    Ok(config.build().new_agent())
}

/// The address without its secret path, and whether it is read over TLS.
fn readable(url: &str) -> Result<(String, bool), ClientError> {
    let uri: Uri = url.parse().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    let bare =
        format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
    match uri.scheme_str() {
        Some("https") => Ok((bare, true)),
        Some("http") if is_loopback(host) => Ok((bare, false)),
        _ => Err(ClientError::InTheClear { url: bare }),
    }
}

/// `{"id", "message"}` of a refusal.
#[derive(Deserialize)]
struct Refusal {
    id: String,
    message: String,
}

struct Answer {
    server: String,
    call: String,
    response: Response<ureq::Body>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        Some(self.response.headers().get(name)?.to_str().ok()?.to_owned())
    }

    /// The body read as JSON; an empty one as `null`.
    fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        let body = self.read()?;
        let json = if body.is_empty() { b"null" } else { body.as_slice() };
        serde_json::from_slice(json).map_err(|e| self.bad(e.to_string()))
    }

    fn success(self) -> Result<Self, ClientError> {
        match self.response.status().as_u16() {
            200..300 => Ok(self),
            status @ 400.. => Err(self.refusal(status)),
            status => Err(self.bad(format!("status {status}"))),
        }
    }

    /// The server's own words, cut to a length that can be shown.
    fn refusal(mut self, status: u16) -> ClientError {
        let body = match self.read() {
            Ok(body) => body,
            Err(broken) => return broken,
        };
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { id, message }) => {
                ClientError::Refused { status, id, message: message.chars().take(SHOWN).collect() }
            }
            Err(_) => ClientError::Refused {
                status,
                id: String::new(),
                message: format!("{} answered {} with status {status}", self.server, self.call),
            },
        }
    }

    fn read(&mut self) -> Result<Vec<u8>, ClientError> {
        let body = self.response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        body.map_err(|e| ClientError::Unreachable { server: self.server.clone(), source: e.into() })
    }

    fn bad(&self, why: String) -> ClientError {
        ClientError::BadAnswer { server: self.server.clone(), call: self.call.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_become_two() {
        assert_eq!(escape("dev+x@example.test"), "dev+x@example.test");
        assert_eq!(escape("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
    }

    #[test]
    fn streams_are_read_over_tls_or_on_this_machine_and_their_secret_is_not_shown() {
        assert_eq!(
            readable("https://logs.example.com/s/secret").unwrap(),
            ("https://logs.example.com".into(), true)
        );
        assert!(!readable("http://127.0.0.1:5000/s/secret").unwrap().1);
        for bad in ["http://logs.example.com/s/secret", "file:///etc/passwd", "", "x"] {
            assert!(!readable(bad).unwrap_err().to_string().contains("secret"));
        }
    }
}
