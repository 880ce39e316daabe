//! The storage of objects as it is configured, and the addresses that others get of what is in it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ruko_core::config::{ApiConfig, S3Config, SwiftConfig, SwiftDigest};
use ruko_presign::{BadPlace, Deed, Digest, LONGEST, Objects, S3, Swift};

use crate::database::plain_path;
use crate::secret_file::first_line;

/// So much longer than a build may take does an address hold: a push may wait for a place before it begins, and ends
/// some time after its build. Clocks differ, too.
const MARGIN: Duration = Duration::from_secs(3600);

/// Objects, and how long addresses of them hold.
#[derive(Debug)]
pub(crate) struct Storage {
    objects: Objects,
    lasts: Duration,
}

impl Storage {
    /// By which an object is read.
    pub(crate) fn get(&self, key: &str) -> String {
        self.url(Deed::Get, key)
    }

    /// By which it is stored.
    pub(crate) fn put(&self, key: &str) -> String {
        self.url(Deed::Put, key)
    }

    /// By which it is deleted.
    pub(crate) fn delete(&self, key: &str) -> String {
        self.url(Deed::Delete, key)
    }

    /// What it is called.
    pub(crate) fn name(&self, key: &str) -> String {
        self.objects.name(key)
    }

    /// Whether objects are files, which can be listed.
    pub(crate) fn are_files(&self) -> bool {
        self.objects.are_files()
    }

    fn url(&self, deed: Deed, key: &str) -> String {
        self.objects.url(deed, key, SystemTime::now(), self.lasts)
    }
}

/// Judges what is configured: which key is wrong, and why.
pub(crate) fn of(config: &ApiConfig) -> Result<Storage, (&'static str, String)> {
    let lasts = Duration::from_secs(config.limits.build_seconds).saturating_add(MARGIN);
    let objects = match config.storage.split_once("://") {
        Some(("s3", bucket)) => match &config.s3 {
            Some(s3) => by_s3(s3, bucket)?,
            None => return Err(("storage", "is s3:, but there is no table [api.s3]".to_owned())),
        },
        Some(("swift", container)) => match &config.swift {
            Some(swift) => by_swift(swift, container)?,
            None => return Err(("storage", "is swift:, but there is no table [api.swift]".to_owned())),
        },
        _ => files(&config.storage)?,
    };
    if objects.expire() && lasts > LONGEST {
        let most = (LONGEST - MARGIN).as_secs();
        let rule =
            format!("must leave build_seconds at {most} or less: no address in storage holds for longer");
        return Err(("limits", rule));
    }
    Ok(Storage { objects, lasts })
}

fn files(raw: &str) -> Result<Objects, (&'static str, String)> {
    let path = plain_path(raw, "file://").ok_or_else(|| {
        let raw = raw.escape_debug();
        (
            "storage",
            format!("`{raw}` is not of the form file:///absolute/path, s3://bucket or swift://container"),
        )
    })?;
    Ok(Objects::files(format!("file://{}", path.trim_end_matches('/'))))
}

fn by_s3(s3: &S3Config, bucket: &str) -> Result<Objects, (&'static str, String)> {
    let secret = secret("s3.secret_file", &s3.secret_file)?;
    let place = S3 {
        endpoint: &s3.endpoint,
        region: &s3.region,
        path_style: s3.path_style,
        bucket,
        access_key_id: &s3.access_key_id,
        secret: &secret,
    };
    Objects::s3(&place).map_err(|(key, why)| {
        bad(key, why, &["s3.endpoint", "s3.region", "s3.access_key_id", "s3.secret_file"])
    })
}

fn by_swift(swift: &SwiftConfig, container: &str) -> Result<Objects, (&'static str, String)> {
    let key = secret("swift.key_file", &swift.key_file)?;
    let digest = match swift.digest {
        SwiftDigest::Sha1 => Digest::Sha1,
        SwiftDigest::Sha256 => Digest::Sha256,
        SwiftDigest::Sha512 => Digest::Sha512,
    };
    let place = Swift { url: &swift.url, container, key: &key, digest };
    Objects::swift(&place).map_err(|(key, why)| bad(key, why, &["swift.url", "swift.key_file"]))
}

/// Bucket and container stand in `storage`.
fn bad(key: &str, why: BadPlace, keys: &[&'static str]) -> (&'static str, String) {
    let named = keys.iter().find(|named| named.split_once('.').is_some_and(|(_, name)| name == key));
    (named.copied().unwrap_or("storage"), why.to_string())
}

fn secret(key: &'static str, path: &Path) -> Result<String, (&'static str, String)> {
    first_line(path).map_err(|why| (key, format!("`{}` cannot be read: {why}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use ruko_core::config::BuildLimits;

    fn config(dir: &Path, extra: &str) -> ApiConfig {
        let text = format!(
            "listen = '127.0.0.1:0'\ndatabase = 'sqlite:///x.db'\nurl = 'http://127.0.0.1:1'\n\
             web_url = 'http://{{app}}.localhost/'\nstack = 'openruko-12'\ntemplate = 'openruko-build'\n\
             components = {{}}\n{}",
            extra.replace("DIR", &dir.display().to_string())
        );
        toml::from_str(&text).unwrap()
    }

    fn secret_in(dir: &Path, name: &str, mode: u32) {
        std::fs::write(dir.join(name), "s3cret\n").unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    const S3_TABLE: &str = "[s3]\nendpoint = 'https://s3.test'\naccess_key_id = 'AK'\npath_style = true\n\
                            secret_file = 'DIR/secret'\n";
    const SWIFT_TABLE: &str = "[swift]\nurl = 'https://swift.test/v1/AUTH_a'\nkey_file = 'DIR/secret'\n";

    #[test]
    fn addresses_outlive_the_build_and_show_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        secret_in(dir.path(), "secret", 0o640);
        let s3 = of(&config(dir.path(), &format!("storage = 's3://bucket/a'\n{S3_TABLE}"))).unwrap();
        let swift = of(&config(dir.path(), &format!("storage = 'swift://box/a'\n{SWIFT_TABLE}"))).unwrap();
        for (storage, put) in
            [(s3, "https://s3.test/bucket/a/k"), (swift, "https://swift.test/v1/AUTH_a/box/a/k")]
        {
            let url: ruko_storage::StorageUrl = storage.put("k").parse().unwrap();
            assert_eq!(url.to_string(), put);
            let left = url.ends().unwrap().duration_since(SystemTime::now()).unwrap();
            let build = Duration::from_secs(BuildLimits::default().build_seconds);
            assert!(left > build + MARGIN - Duration::from_secs(60) && left <= build + MARGIN, "{left:?}");
            assert!(storage.get("k") != storage.put("k"));
            assert!(!format!("{storage:?} {}", storage.put("k")).contains("s3cret"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let dir = tempfile::tempdir().unwrap();
        secret_in(dir.path(), "secret", 0o600);
        secret_in(dir.path(), "open", 0o644);
        std::fs::write(dir.path().join("empty"), "").unwrap();
        std::fs::set_permissions(dir.path().join("empty"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let s3 = |from: &str, to: &str| format!("storage = 's3://bucket'\n{}", S3_TABLE.replace(from, to));
        let swift =
            |from: &str, to: &str| format!("storage = 'swift://box'\n{}", SWIFT_TABLE.replace(from, to));
        for (wrong, key) in [
            ("storage = 's3://bucket'\n".to_owned(), "storage"),
            ("storage = 'swift://bucket'\n".to_owned(), "storage"),
            ("storage = 'ftp://bucket'\n".to_owned(), "storage"),
            (s3("", "").replace("s3://bucket", "s3://"), "storage"),
            (s3("", "").replace("s3://bucket", "s3://a b"), "storage"),
            (s3("https://s3.test", "s3.test"), "s3.endpoint"),
            (s3("'AK'", "''"), "s3.access_key_id"),
            (s3("DIR/secret", "DIR/missing"), "s3.secret_file"),
            (s3("DIR/secret", "DIR/open"), "s3.secret_file"),
            (s3("DIR/secret", "DIR/empty"), "s3.secret_file"),
            (swift("https://swift.test", "swift.test"), "swift.url"),
            (swift("DIR/secret", "DIR/open"), "swift.key_file"),
            (format!("{}[limits]\nbuild_seconds = 604000\n", s3("", "")), "limits"),
        ] {
            let (named, why) = of(&config(dir.path(), &wrong)).unwrap_err();
            assert_eq!(named, key, "{wrong}: {why}");
            assert!(!why.contains("s3cret") && !why.is_empty(), "{why}");
        }
        assert!(of(&config(dir.path(), "storage = 'file:///x'\n[limits]\nbuild_seconds = 604000\n")).is_ok());
    }
}
