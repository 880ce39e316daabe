//! Swift's TempURL (<https://docs.openstack.org/swift/latest/api/temporary_url_middleware.html>).

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use ruko_core::hex;
use url::Url;

use crate::Deed;

/// What a signature is made with. Services say in their `/info` which they accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digest {
    /// HMAC-SHA1: for old services, which know no other.
    Sha1,
    /// HMAC-SHA256.
    #[default]
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

/// A container, or what is below a prefix in it.
pub(crate) struct Container {
    /// Scheme and host.
    origin: String,
    /// The path of the prefix, with a slash at its end. Nothing in it is escaped: it is signed as it is sent.
    path: String,
    key: String,
    digest: Digest,
}

impl Container {
    pub(crate) fn new(account: &Url, container: &str, prefix: &str, key: &str, digest: Digest) -> Self {
        Self {
            origin: account.origin().ascii_serialization(),
            path: format!("{}/{container}/{prefix}", account.path().trim_end_matches('/')),
            key: key.to_owned(),
            digest,
        }
    }

    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{}{key}", self.origin, self.path)
    }

    pub(crate) fn url(&self, deed: Deed, key: &str, now: SystemTime, lasts: Duration) -> String {
        let ends = (now + lasts).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let method = match deed {
            Deed::Get => "GET",
            Deed::Put => "PUT",
            Deed::Delete => "DELETE",
        };
        let signature = self.signature(&format!("{method}\n{ends}\n{}{key}", self.path));
        format!("{}?temp_url_sig={signature}&temp_url_expires={ends}", self.name(key))
    }

    fn signature(&self, text: &str) -> String {
        match self.digest {
            Digest::Sha1 => mac::<Hmac<sha1::Sha1>>(&self.key, text),
            Digest::Sha256 => mac::<Hmac<sha2::Sha256>>(&self.key, text),
            Digest::Sha512 => mac::<Hmac<sha2::Sha512>>(&self.key, text),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &str, text: &str) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of swift-form-signature's and TempURL's documentation: key `mykey`, expiry 1323479485. The
    /// signatures are those that Python's `hmac` gives for it.
    #[test]
    fn signatures_are_those_of_the_documentation() {
        let account = Url::parse("https://swift.example.com/v1/AUTH_account/").unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_323_479_485 - 60);
        for (digest, signature) in [(Digest::Sha1, SHA1), (Digest::Sha256, SHA256), (Digest::Sha512, SHA512)]
        {
            let container = Container::new(&account, "container", "", "mykey", digest);
            let url = container.url(Deed::Get, "object", now, Duration::from_secs(60));
            let expected = format!(
                "https://swift.example.com/v1/AUTH_account/container/object?temp_url_sig={signature}\
                 &temp_url_expires=1323479485"
            );
            assert_eq!(url, expected);
        }
    }

    const SHA1: &str = "d9fc2067e52b06598421664cf6610bfc8fc431f6";
    const SHA256: &str = "05cb4ea08a08f2fdaef35d0f344975370077835c23bdc9342099ecbf03bc0378";
    const SHA512: &str = "cd90f5bb657464b0f1861ad13c5ad8cc67f51f4c881dce90bfc90086931ccb89a0b8d23c6cff7d4afe02d873b0035385d3025497bbd7f0ca35d61bf9936db77d";
}
