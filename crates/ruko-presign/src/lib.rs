//! Where objects are, as URLs that whoever gets them can use for a while: S3's Signature Version 4 in the query, or
//! Swift's TempURL. Plain files have plain URLs.
//!
//! This holds the secrets of storage; the programs that move bytes do not link it and get a URL for one thing at a
//! time.

mod swift;

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rusty_s3::actions::{DeleteObject, GetObject, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

pub use swift::Digest;

/// The longest life of a URL that S3 accepts
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>, X-Amz-Expires).
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Why storage cannot be addressed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// The endpoint.
    #[error("is not the http:// or https:// URL of a host, without user, query and fragment")]
    Url,
    /// A bucket, container or prefix.
    #[error("must be of letters, digits, `.`, `_`, `-`, and `/` between parts of a prefix")]
    Name,
    /// An access key id or a region.
    #[error("must be one word of printable ASCII characters")]
    Word,
    /// The first line of the file with the secret.
    #[error("must hold the secret in its first line, without spaces")]
    Secret,
}

/// What a URL lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Read the object.
    Get,
    /// Write it, whole.
    Put,
    /// Delete it.
    Delete,
}

/// How an S3 service is reached.
#[derive(Clone, Copy, Debug)]
pub struct S3<'a> {
    /// `https://s3.eu-central-1.amazonaws.com`
    pub endpoint: &'a str,
    /// The region that signatures are for.
    pub region: &'a str,
    /// Whether the bucket stands in the path, as self-hosted services want it, or before the host's name.
    pub path_style: bool,
    /// The bucket and what stands before every key in it: `bucket`, `bucket/a/b`.
    pub bucket: &'a str,
    /// The id of the access key.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a str,
}

/// How a Swift service is reached.
#[derive(Clone, Copy, Debug)]
pub struct Swift<'a> {
    /// The account: `https://swift.example.com/v1/AUTH_openruko`
    pub url: &'a str,
    /// The container and what stands before every name in it: `container`, `container/a/b`.
    pub container: &'a str,
    /// A TempURL key of the account or the container.
    pub key: &'a str,
    /// What signatures are made with.
    pub digest: Digest,
}

/// A storage. Printed, it shows no secret.
pub struct Objects(Kind);

enum Kind {
    Files(String),
    S3 { bucket: Box<Bucket>, credentials: Credentials, prefix: String },
    Swift(swift::Container),
}

impl Objects {
    /// Files below this `file:` URL, which has no slash at its end.
    #[must_use]
    pub const fn files(url: String) -> Self {
        Self(Kind::Files(url))
    }

    /// A bucket of S3.
    ///
    /// # Errors
    /// Which part of it cannot be used, and why.
    pub fn s3(place: &S3<'_>) -> Result<Self, (&'static str, BadPlace)> {
        let endpoint = base(place.endpoint).map_err(|why| ("endpoint", why))?;
        let (bucket, prefix) = place_and_prefix(place.bucket).map_err(|why| ("bucket", why))?;
        for (key, word, why) in [
            ("region", place.region, BadPlace::Word),
            ("access_key_id", place.access_key_id, BadPlace::Word),
            ("secret_file", place.secret, BadPlace::Secret),
        ] {
            is_word(word).then_some(()).ok_or((key, why))?;
        }
        let style = if place.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint, style, bucket.to_owned(), place.region.to_owned())
            .map_err(|_| ("endpoint", BadPlace::Url))?;
        let credentials = Credentials::new(place.access_key_id, place.secret);
        Ok(Self(Kind::S3 { bucket: Box::new(bucket), credentials, prefix }))
    }

    /// A container of Swift.
    ///
    /// # Errors
    /// Which part of it cannot be used, and why.
    pub fn swift(place: &Swift<'_>) -> Result<Self, (&'static str, BadPlace)> {
        let account = base(place.url).map_err(|why| ("url", why))?;
        let (container, prefix) = place_and_prefix(place.container).map_err(|why| ("container", why))?;
        is_word(place.key).then_some(()).ok_or(("key_file", BadPlace::Secret))?;
        Ok(Self(Kind::Swift(swift::Container::new(&account, container, &prefix, place.key, place.digest))))
    }

    /// Whether URLs end some time: then they have to be made anew for whoever works with them for longer.
    #[must_use]
    pub const fn expire(&self) -> bool {
        !matches!(self.0, Kind::Files(_))
    }

    /// Whether objects are files, which can be listed.
    #[must_use]
    pub const fn are_files(&self) -> bool {
        matches!(self.0, Kind::Files(_))
    }

    /// The URL by which an object can be got, put or deleted from `now` on, for as long as `lasts`, seven days at
    /// most.
    #[must_use]
    pub fn url(&self, deed: Deed, key: &str, now: SystemTime, lasts: Duration) -> String {
        let lasts = lasts.clamp(Duration::from_secs(1), LONGEST);
        match &self.0 {
            Kind::Files(base) => format!("{base}/{key}"),
            Kind::S3 { bucket, credentials, prefix } => {
                let (object, by) = (format!("{prefix}{key}"), Some(credentials));
                // Of a clock that is not in any year there is nothing to sign.
                let now = Timestamp::try_from(now).unwrap_or_default();
                let url = match deed {
                    Deed::Get => GetObject::new(bucket, by, &object).sign_with_time(lasts, &now),
                    Deed::Put => PutObject::new(bucket, by, &object).sign_with_time(lasts, &now),
                    Deed::Delete => DeleteObject::new(bucket, by, &object).sign_with_time(lasts, &now),
                };
                url.into()
            }
            Kind::Swift(container) => container.url(deed, key, now, lasts),
        }
    }

    /// What an object is called in messages: its URL without a signature.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        match &self.0 {
            Kind::Files(base) => format!("{base}/{key}"),
            Kind::S3 { bucket, prefix, .. } => bucket.object_url(&format!("{prefix}{key}")).into(),
            Kind::Swift(container) => container.name(key),
        }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name(""))
    }
}

/// An http(s) URL to which a path can be added.
fn base(raw: &str) -> Result<Url, BadPlace> {
    let url = Url::parse(raw).map_err(|_| BadPlace::Url)?;
    let plain = url.username().is_empty() && url.password().is_none();
    let bare = url.query().is_none() && url.fragment().is_none() && url.has_host();
    let http = matches!(url.scheme(), "http" | "https");
    if http && plain && bare { Ok(url) } else { Err(BadPlace::Url) }
}

/// `bucket/a/b` is the bucket and `a/b/`. What is not escaped in a URL is signed by everybody in the same way.
fn place_and_prefix(raw: &str) -> Result<(&str, String), BadPlace> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
    let raw = raw.trim_end_matches('/');
    if !raw.split('/').all(part) {
        return Err(BadPlace::Name);
    }
    let (place, prefix) = raw.split_once('/').unwrap_or((raw, ""));
    Ok((place, if prefix.is_empty() { String::new() } else { format!("{prefix}/") }))
}

fn is_word(raw: &str) -> bool {
    !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    /// The example of the S3 documentation: 24 May 2013, one day.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    const S3_EXAMPLE: S3<'static> = S3 {
        endpoint: "https://s3.amazonaws.com",
        region: "us-east-1",
        path_style: false,
        bucket: "examplebucket",
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn s3_signs_as_its_documentation_does() {
        let objects = Objects::s3(&S3_EXAMPLE).unwrap();
        let url = objects.url(Deed::Get, "test.txt", at(1_369_353_600), DAY);
        assert!(url.starts_with("https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-"), "{url}");
        let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(url.ends_with(&format!("&X-Amz-Signature={signature}")), "{url}");
    }

    #[test]
    fn each_deed_has_a_signature_of_its_own_and_no_life_is_longer_than_seven_days() {
        let place = S3 { path_style: true, bucket: "examplebucket/a/b/", ..S3_EXAMPLE };
        let objects = Objects::s3(&place).unwrap();
        let all = [Deed::Get, Deed::Put, Deed::Delete]
            .map(|deed| objects.url(deed, "slugs/x", at(1_369_353_600), 30 * DAY));
        assert!(all[0] != all[1] && all[1] != all[2]);
        for url in all {
            assert!(url.starts_with("https://s3.amazonaws.com/examplebucket/a/b/slugs/x?"), "{url}");
            assert!(url.contains("X-Amz-Expires=604800&"), "{url}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let objects = Objects::s3(&S3_EXAMPLE).unwrap();
        let shown = format!("{objects:?} {}", objects.name("slugs/a"));
        assert_eq!(
            shown,
            "https://examplebucket.s3.amazonaws.com/ https://examplebucket.s3.amazonaws.com/slugs/a"
        );
    }

    #[test]
    fn what_cannot_be_addressed_is_refused_by_name() {
        let place = S3_EXAMPLE;
        for (wrong, key) in [
            (S3 { endpoint: "s3.amazonaws.com", ..place }, "endpoint"),
            (S3 { endpoint: "https://user:pw@s3.amazonaws.com", ..place }, "endpoint"),
            (S3 { endpoint: "https://s3.amazonaws.com?x", ..place }, "endpoint"),
            (S3 { endpoint: "ftp://s3.amazonaws.com", ..place }, "endpoint"),
            (S3 { bucket: "", ..place }, "bucket"),
            (S3 { bucket: "a b", ..place }, "bucket"),
            (S3 { bucket: "a/../b", ..place }, "bucket"),
            (S3 { region: "", ..place }, "region"),
            (S3 { access_key_id: "a b", ..place }, "access_key_id"),
            (S3 { secret: "", ..place }, "secret_file"),
        ] {
            assert_eq!(Objects::s3(&wrong).unwrap_err().0, key);
        }
        let place = Swift { url: "https://s/v1/AUTH_a", container: "c", key: "k", digest: Digest::Sha256 };
        for (wrong, key) in [
            (Swift { url: "s", ..place }, "url"),
            (Swift { container: "c/", ..place }, ""),
            (Swift { container: "c//d", ..place }, "container"),
            (Swift { key: "two words", ..place }, "key_file"),
        ] {
            assert_eq!(Objects::swift(&wrong).err().map_or("", |bad| bad.0), key);
        }
    }

    #[test]
    fn files_have_plain_urls() {
        let objects = Objects::files("file:///srv/objects".to_owned());
        assert_eq!(objects.url(Deed::Put, "a/b", at(0), DAY), "file:///srv/objects/a/b");
        assert!(objects.are_files() && !objects.expire());
    }
}
