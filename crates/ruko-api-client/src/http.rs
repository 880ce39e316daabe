//! One way to make a call: method, path, body; status and bytes.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruko_api_types::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body};

use crate::{ApiClient, ApiClientError};

/// What of a message is shown, in characters.
const SHOWN: usize = 300;

/// The largest answer that is read, in bytes. The largest that the API gives is a long listing.
const MAX_ANSWER: u64 = 64 << 20;

/// The largest of those that tell of apps: each has its config vars, once for each release and one-off dyno that
/// runs.
pub(crate) const MAX_APPS: u64 = 256 << 20;

const CONNECT: Duration = Duration::from_secs(5);

/// What a call that is held may take beyond that, in seconds.
const BEYOND: u64 = 10;

/// The longest that the API holds a call, in seconds.
const HELD: u64 = 30;

/// Above the thirty seconds that the API may hold a call.
const WHOLE_CALL: Duration = Duration::from_secs(40);

/// How long a call may take that the API holds for so many seconds.
pub(crate) fn held(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(HELD) + BEYOND)
}

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) fn agent() -> Agent {
    Agent::config_builder()
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE_CALL))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("openruko/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Checks the address and takes the trailing slash off.
pub(crate) fn base_url(raw: &str) -> Result<String, ApiClientError> {
    let bad = |why| ApiClientError::BadUrl { url: raw.to_owned(), why };
    if raw.starts_with("https://") {
        return Err(bad("https is not supported, give an http:// address on a network you trust"));
    }
    let rest = raw.strip_prefix("http://").ok_or_else(|| bad("it does not begin with http://"))?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.contains('@') {
        return Err(bad("it needs a host, and neither user nor password"));
    }
    if raw.contains(['?', '#']) || !raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("it must be plain ASCII without query and fragment"));
    }
    Ok(raw.trim_end_matches('/').to_owned())
}

pub(crate) fn authorization(token: &str) -> Result<String, ApiClientError> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ApiClientError::BadToken);
    }
    Ok(format!("Bearer {token}"))
}

/// One segment of a path, or one value of a query.
pub(crate) fn escape(segment: &str) -> String {
    utf8_percent_encode(segment, RESERVED).to_string()
}

/// Method and path of a call, for messages, and its answer.
pub(crate) struct Answer<'a> {
    client: &'a ApiClient,
    call: String,
    response: Response<Body>,
}

impl ApiClient {
    pub(crate) fn get(&self, path: &str) -> Result<Answer<'_>, ApiClientError> {
        self.run(Method::GET, path, None, WHOLE_CALL.into())
    }

    /// A GET whose answer lasts as long as it lasts.
    pub(crate) fn get_endless(&self, path: &str) -> Result<Answer<'_>, ApiClientError> {
        self.run(Method::GET, path, None, None)
    }

    /// A GET whose answer has to come to its end within `time`.
    pub(crate) fn get_within(&self, path: &str, time: Duration) -> Result<Answer<'_>, ApiClientError> {
        self.run(Method::GET, path, None, Some(time))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Answer<'_>, ApiClientError> {
        self.run(Method::DELETE, path, None, WHOLE_CALL.into())
    }

    pub(crate) fn put(&self, path: &str, body: &impl Serialize) -> Result<Answer<'_>, ApiClientError> {
        self.send(Method::PUT, path, body)
    }

    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer<'_>, ApiClientError> {
        self.send(Method::POST, path, body)
    }

    pub(crate) fn patch(&self, path: &str, body: &impl Serialize) -> Result<Answer<'_>, ApiClientError> {
        self.send(Method::PATCH, path, body)
    }

    fn send(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Answer<'_>, ApiClientError> {
        let json = serde_json::to_vec(body).map_err(|e| ApiClientError::BadAnswer {
            url: self.base_url.clone(),
            call: format!("{method} {path}"),
            why: format!("the request cannot be written as JSON: {e}"),
        })?;
        self.run(method, path, Some(json), WHOLE_CALL.into())
    }

    fn run(
        &self,
        method: Method,
        path: &str,
        json: Option<Vec<u8>>,
        limit: Option<Duration>,
    ) -> Result<Answer<'_>, ApiClientError> {
        let call = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base_url))
            .header("authorization", &self.authorization)
            .header("accept", "application/json, text/plain");
        let response = match json {
            Some(json) => request
                .header("content-type", "application/json")
                .body(json)
                .map_err(ureq::Error::from)
                .and_then(|r| self.perform(r, limit)),
            None => request.body(()).map_err(ureq::Error::from).and_then(|r| self.perform(r, limit)),
        };
        match response {
            Ok(response) => Ok(Answer { client: self, call, response }),
            Err(source) => Err(self.unreachable(source)),
        }
    }

    fn perform<B: ureq::AsSendBody + 'static>(
        &self,
        request: Request<B>,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, ureq::Error> {
        self.agent.run(self.agent.configure_request(request).timeout_global(limit).build())
    }

    fn unreachable(&self, source: ureq::Error) -> ApiClientError {
        ApiClientError::Unreachable { url: self.base_url.clone(), source: source.into() }
    }
}

impl Answer<'_> {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The body of a success, read as JSON.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, ApiClientError> {
        self.success()?.parse()
    }

    /// What changed, at most so many bytes; none where the API says that one has to start over.
    pub(crate) fn changes<T: DeserializeOwned>(self, max_bytes: u64) -> Result<Option<T>, ApiClientError> {
        if self.status() == 410 {
            return Ok(None);
        }
        let mut answer = self.success()?;
        let body = answer.read_up_to(max_bytes)?;
        serde_json::from_slice(&body).map(Some).map_err(|e| answer.bad(e.to_string()))
    }

    /// A success without a body that matters.
    pub(crate) fn done(self) -> Result<(), ApiClientError> {
        self.success().map(drop)
    }

    /// The body of a success, to be read as it comes.
    pub(crate) fn reader(self) -> Result<impl std::io::Read + use<>, ApiClientError> {
        Ok(self.success()?.response.into_body().into_reader())
    }

    /// The body, whatever the status, read as JSON.
    pub(crate) fn parse<T: DeserializeOwned>(mut self) -> Result<T, ApiClientError> {
        let body = self.read()?;
        serde_json::from_slice(&body).map_err(|e| self.bad(e.to_string()))
    }

    fn success(self) -> Result<Self, ApiClientError> {
        match self.status() {
            200..300 => Ok(self),
            400.. => Err(self.refusal()),
            status => Err(self.bad(format!("status {status}"))),
        }
    }

    /// The API's own words, cut to a length that can be shown.
    fn refusal(mut self) -> ApiClientError {
        let status = self.status();
        let body = match self.read() {
            Ok(body) => body,
            Err(broken) => return broken,
        };
        match serde_json::from_slice::<ApiError>(&body) {
            Ok(ApiError { id, message, .. }) => {
                ApiClientError::Refused { status, id, message: message.chars().take(SHOWN).collect() }
            }
            Err(_) => self.bad(format!("status {status} without an error of this API")),
        }
    }

    fn read(&mut self) -> Result<Vec<u8>, ApiClientError> {
        self.read_up_to(MAX_ANSWER)
    }

    fn read_up_to(&mut self, max_bytes: u64) -> Result<Vec<u8>, ApiClientError> {
        let body = self.response.body_mut().with_config().limit(max_bytes).read_to_vec();
        body.map_err(|source| self.client.unreachable(source))
    }

    pub(crate) fn bad(&self, why: String) -> ApiClientError {
        ApiClientError::BadAnswer { url: self.client.base_url.clone(), call: self.call.clone(), why }
    }
}
