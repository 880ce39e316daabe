//! Objects behind http(s) URLs, as a rule signed ones of S3 or Swift.

mod answer;
mod object;
mod spool;
pub(crate) mod time;

use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use ureq::http::header::{CONTENT_LENGTH, DATE, ETAG, EXPECT, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderName, Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

use crate::{HttpUrl, Patience, PutError, StorageError, StorageUrl, Stored};
use answer::{Refused, Verdict};
use object::Object;
use spool::Spool;

/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The longest connect, with the name looked up.
const CONNECT: Duration = Duration::from_secs(10);

/// Who carries no more than so many bytes in a second is as good as silent.
pub(crate) const SLOWEST: u64 = 16 << 10;

/// From this size on, in bytes, storage is asked whether it wants a body before it gets it: what is refused in
/// mid-body is a connection that breaks, without a word.
const ASK_FROM: u64 = 256 << 10;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another attempt may help; not before this, if the server said so.
    Again(String, Option<Duration>),
    /// None can.
    Never(StorageError),
}

/// A client of storage. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) patience: Patience,
    agents: Arc<Agents>,
}

#[derive(Debug, Default)]
struct Agents {
    plain: OnceLock<Agent>,
    tls: OnceLock<Result<Agent, String>>,
}

/// What an attempt that went well gave, or that there is no such object.
pub(crate) enum Answer {
    Good(Response<Body>),
    Missing,
}

impl Client {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, agents: Arc::default() }
    }

    pub(crate) fn get(&self, url: &HttpUrl) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
        self.persevere("get", url, |client| match client.ask("get", url, &[])? {
            Answer::Missing => Ok(None),
            Answer::Good(response) => Ok(Some(response)),
        })
        .map(|found| {
            let object = found.map(|response| Object::new(self.clone(), url.clone(), response));
            object.map(|object| Box::new(object) as Box<dyn Read + Send>)
        })
    }

    pub(crate) fn put(&self, url: &HttpUrl, from: &mut dyn Read, max_bytes: u64) -> Result<Stored, PutError> {
        let mut spool = Spool::fill(&StorageUrl::Http(url.clone()), from, max_bytes)?;
        self.persevere("put", url, |client| client.send(url, &mut spool))?;
        Ok(spool.stored)
    }

    pub(crate) fn delete(&self, url: &HttpUrl) -> Result<(), StorageError> {
        self.persevere("delete", url, |client| {
            client
                .exchange("delete", url, client.request(Method::DELETE, url), SendBody::none(), None)
                .map(drop)
        })
    }

    /// Attempts until one succeeds or cannot, with pauses that double.
    pub(crate) fn persevere<T>(
        &self,
        verb: &'static str,
        url: &HttpUrl,
        mut attempt: impl FnMut(&Self) -> Result<T, Trouble>,
    ) -> Result<T, StorageError> {
        let mut tries = 1;
        loop {
            let (why, asked) = match attempt(self) {
                Ok(done) => return Ok(done),
                Err(Trouble::Never(error)) => return Err(error),
                Err(Trouble::Again(why, asked)) => (why, asked),
            };
            if tries >= self.patience.tries {
                let why = if tries == 1 { why } else { format!("{why}; tried {tries} times") };
                return Err(StorageError::Http { verb, url: StorageUrl::Http(url.clone()), why });
            }
            thread::sleep(asked.unwrap_or_else(|| self.patience.pause(tries)).min(LONGEST_PAUSE));
            tries += 1;
        }
    }

    /// A GET with headers of our own.
    fn ask(
        &self,
        verb: &'static str,
        url: &HttpUrl,
        headers: &[(HeaderName, &str)],
    ) -> Result<Answer, Trouble> {
        let mut request = self.request(Method::GET, url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.exchange(verb, url, request, SendBody::none(), None)
    }

    fn send(&self, url: &HttpUrl, spool: &mut Spool) -> Result<(), Trouble> {
        let bytes = spool.stored.bytes;
        let mut request = self.request(Method::PUT, url).header(CONTENT_LENGTH, bytes);
        if bytes >= ASK_FROM {
            request = request.header(EXPECT, "100-continue");
        }
        // Neither needs to be signed. S3 and those like it know RFC 1864; Swift compares an ETag that it is given.
        request = match is_swift(url) {
            true => request.header(ETAG, spool.md5_hex()),
            false => request.header("content-md5", spool.md5_base64()),
        };
        let body = spool
            .rewind()
            .map_err(|e| self.never("put", url, format!("what was kept of it is gone: {e}")))?;
        let within = self.patience.silence.saturating_mul(2) + Duration::from_secs(bytes / SLOWEST);
        match self.exchange("put", url, request, SendBody::from_reader(body), Some(within))? {
            Answer::Good(_) => Ok(()),
            Answer::Missing => Err(self.never(
                "put",
                url,
                "storage answered 404: the bucket or container is not there".into(),
            )),
        }
    }

    fn request(&self, method: Method, url: &HttpUrl) -> ureq::http::request::Builder {
        Request::builder().method(method).uri(url.reveal())
    }

    /// One request and the head of its answer.
    fn exchange(
        &self,
        verb: &'static str,
        url: &HttpUrl,
        request: ureq::http::request::Builder,
        body: SendBody<'_>,
        within: Option<Duration>,
    ) -> Result<Answer, Trouble> {
        let never = |why: String| self.never(verb, url, why);
        let agent = self.agents.of(url, &self.patience).map_err(&never)?;
        let request = request.body(body).map_err(|_| never("the address is not valid".into()))?;
        let request = agent.configure_request(request).timeout_global(within).build();
        let response = agent.run(request).map_err(|e| match why(&e, &self.patience) {
            (why, true) => Trouble::Again(why, None),
            (why, false) => never(why),
        })?;
        if response.status().is_success() {
            return Ok(Answer::Good(response));
        }
        self.refused(verb, url, response)
    }

    fn refused(
        &self,
        verb: &'static str,
        url: &HttpUrl,
        mut response: Response<Body>,
    ) -> Result<Answer, Trouble> {
        let mut text = Vec::new();
        // What of it is missing is missing from a message.
        let _ = response.body_mut().as_reader().take(answer::MAX_TEXT).read_to_end(&mut text);
        let headers = response.headers();
        let refused = Refused {
            status: response.status().as_u16(),
            date: header(headers, DATE).and_then(time::http_date),
            location: header(headers, LOCATION),
            text: &unsecret(&String::from_utf8_lossy(&text), url),
        };
        match answer::judge(&refused, time::life(url.reveal()), SystemTime::now()) {
            Verdict::Missing => Ok(Answer::Missing),
            Verdict::Full => Err(Trouble::Never(StorageError::Full { url: StorageUrl::Http(url.clone()) })),
            Verdict::Never(why) => Err(self.never(verb, url, why)),
            Verdict::Again(why) => {
                Err(Trouble::Again(why, answer::retry_after(header(headers, RETRY_AFTER), LONGEST_PAUSE)))
            }
        }
    }

    fn never(&self, verb: &'static str, url: &HttpUrl, why: String) -> Trouble {
        Trouble::Never(StorageError::Http { verb, url: StorageUrl::Http(url.clone()), why })
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A service's words, without the credential, should it have repeated that.
fn unsecret(text: &str, url: &HttpUrl) -> String {
    let query = url.reveal().split_once('?').map_or("", |(_, query)| query);
    let signatures = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_secret =
            name.eq_ignore_ascii_case("temp_url_sig") || name.to_ascii_lowercase().ends_with("signature");
        (is_secret && !value.is_empty()).then_some(value)
    });
    signatures.fold(text.to_owned(), |text, signature| text.replace(signature, "…"))
}

fn is_swift(url: &HttpUrl) -> bool {
    url.reveal().split_once('?').is_some_and(|(_, query)| query.contains("temp_url_sig="))
}

impl Agents {
    fn of(&self, url: &HttpUrl, patience: &Patience) -> Result<&Agent, String> {
        match url.is_tls() {
            false => Ok(self.plain.get_or_init(|| agent(patience, TlsConfig::default()))),
            true => {
                let made = self.tls.get_or_init(|| Ok(agent(patience, tls()?)));
                made.as_ref().map_err(Clone::clone)
            }
        }
    }
}

/// Follows no redirect: a signed address is good for one place. Uses no proxy: what moves objects is told where
/// they are, and nothing else.
fn agent(patience: &Patience, tls: TlsConfig) -> Agent {
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(patience.silence))
        .timeout_per_write(Some(patience.silence))
        .user_agent(concat!("openruko/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// The machine's certificates, and `$SSL_CERT_FILE`: a service of one's own may have one that its own authority signed.
fn tls() -> Result<TlsConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err("this machine has no certificates to check others by: install ca-certificates".into());
    }
    let roots: Vec<_> =
        found.certs.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}

/// What went wrong, and whether another attempt may help. Nothing here repeats an address: that may be a credential.
fn why(error: &ureq::Error, patience: &Patience) -> (String, bool) {
    match error {
        ureq::Error::Io(e) if e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            (format!("no secure connection: {e}"), false)
        }
        ureq::Error::Io(e) => (format!("the connection failed: {e}"), true),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            (format!("no connection within {} seconds", CONNECT.as_secs()), true)
        }
        ureq::Error::Timeout(ureq::Timeout::Global) => {
            (format!("it went slower than {} KiB in a second", SLOWEST >> 10), true)
        }
        ureq::Error::Timeout(_) => {
            (format!("storage was silent for {} seconds", patience.silence.as_secs()), true)
        }
        ureq::Error::HostNotFound => ("its host is not known".into(), true),
        ureq::Error::ConnectionFailed => ("no connection".into(), true),
        ureq::Error::Protocol(_) => ("storage broke off, or does not speak HTTP".into(), true),
        ureq::Error::Rustls(e) => (format!("no secure connection: {e}"), false),
        ureq::Error::Tls(e) => (format!("no secure connection: {e}"), false),
        ureq::Error::LargeResponseHeader(..) => ("the head of the answer is too large".into(), false),
        _ => ("the request could not be sent".into(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_repeats_a_signature_is_not_quoted() {
        for (query, said, shown) in [
            ("X-Amz-Date=1&X-Amz-Signature=abc123", "we got abc123 for abc", "we got … for abc"),
            ("temp_url_sig=abc123&temp_url_expires=9", "abc123", "…"),
            ("Signature=", "nothing", "nothing"),
        ] {
            let StorageUrl::Http(url) = format!("https://h/k?{query}").parse().unwrap() else { panic!() };
            assert_eq!(unsecret(said, &url), shown);
        }
    }
}
