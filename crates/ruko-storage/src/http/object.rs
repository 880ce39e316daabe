//! An object on its way from storage. A connection that breaks is made again, from where it broke.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, RANGE};
use ureq::{Body, BodyReader};

use super::{Answer, Client, SLOWEST, Trouble, header};
use crate::HttpUrl;

/// How an object is being read.
pub(crate) struct Object {
    client: Client,
    url: HttpUrl,
    body: BodyReader<'static>,
    /// What names these bytes and no others; without it there is no going on after a break.
    etag: Option<String>,
    /// Its size, where storage said it.
    whole: Option<u64>,
    /// So much was given.
    at: u64,
    /// How often it broke since anything came.
    breaks: u32,
    /// How long was waited for it in all.
    waited: Duration,
}

impl Object {
    pub(crate) fn new(client: Client, url: HttpUrl, response: Response<Body>) -> Self {
        let headers = response.headers();
        let etag = header(headers, ETAG).filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        let whole = header(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let body = response.into_body().into_reader();
        Self { client, url, body, etag, whole, at: 0, breaks: 0, waited: Duration::ZERO }
    }

    /// One read of the connection that there is. An end before the end is a break as well.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let read = self.body.read(buffer);
        self.waited += begun.elapsed();
        match read? {
            0 if !buffer.is_empty() && self.whole.is_some_and(|whole| self.at < whole) => {
                Err(io::Error::new(ErrorKind::UnexpectedEof, "storage broke off"))
            }
            count => Ok(count),
        }
    }

    /// What was waited may be twice the longest silence, and what its bytes take when they come slowly.
    fn is_too_slow(&self) -> bool {
        self.waited > self.client.patience.silence.saturating_mul(2) + Duration::from_secs(self.at / SLOWEST)
    }

    /// Asks for the rest of the same bytes.
    fn resume(&mut self, why: &io::Error) -> io::Result<()> {
        let Some(etag) = self.etag.clone() else { return Err(self.failed(why)) };
        let range = format!("bytes={}-", self.at);
        let (url, at) = (self.url.clone(), self.at);
        let headers = [(RANGE, range.as_str()), (IF_MATCH, etag.as_str())];
        let response =
            self.client.persevere("get", &url, |client| match client.ask("get", &url, &headers)? {
                Answer::Good(response) if begins_at(&response, at) => Ok(response),
                Answer::Good(_) => {
                    Err(Trouble::Again("storage does not go on where it broke off".into(), None))
                }
                Answer::Missing => {
                    Err(client.never("get", &url, "it was deleted while it was being read".into()))
                }
            });
        self.body = response.map_err(io::Error::other)?.into_body().into_reader();
        Ok(())
    }

    fn failed(&self, why: &io::Error) -> io::Error {
        io::Error::new(why.kind(), format!("cannot get `{}`: {why}", self.url))
    }
}

/// `Content-Range: bytes 5-9/10` begins at 5.
fn begins_at(response: &Response<Body>, at: u64) -> bool {
    let range = header(response.headers(), CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
    response.status() == 206 && range.and_then(|range| range.split('-').next()?.parse().ok()) == Some(at)
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.step(buffer) {
                Ok(count) => {
                    self.at += count as u64;
                    self.breaks = 0;
                    if count > 0 && self.is_too_slow() {
                        let why = format!("it came slower than {} KiB in a second", SLOWEST >> 10);
                        return Err(self.failed(&io::Error::new(ErrorKind::TimedOut, why)));
                    }
                    return Ok(count);
                }
                Err(why) if self.breaks >= self.client.patience.tries => return Err(self.failed(&why)),
                Err(why) => {
                    self.breaks += 1;
                    self.resume(&why)?;
                }
            }
        }
    }
}
