//! Making the key of an app: ed25519, as OpenSSH writes it (its PROTOCOL.key).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};

use crate::errors::ApiFault;

const ALGORITHM: &[u8] = b"ssh-ed25519";
/// The first bytes of a private key.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Characters of a line of base64.
const WIDTH: usize = 70;
/// The private part is filled up to a multiple of this, in bytes: the block of the cipher `none`.
const BLOCK: usize = 8;

/// A new key.
pub(crate) struct DeployKey {
    /// Algorithm and base64 blob.
    pub(crate) public: String,
    /// As `ssh-add` reads it.
    pub(crate) private: String,
    /// `SHA256:…`.
    pub(crate) fingerprint: String,
}

impl DeployKey {
    /// Makes one.
    pub(crate) fn generate(comment: &str) -> Result<Self, ApiFault> {
        let (mut seed, mut check) = ([0; 32], [0; 4]);
        for bytes in [&mut seed[..], &mut check] {
            getrandom::fill(bytes).map_err(|why| ApiFault::Internal(format!("no random bytes: {why}")))?;
        }
        Self::of(&seed, check, comment)
    }

    fn of(seed: &[u8; 32], check: [u8; 4], comment: &str) -> Result<Self, ApiFault> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| ApiFault::Internal("a seed is no key".to_owned()))?;
        let public = pair.public_key().as_ref();
        let blob = [string(ALGORITHM), string(public)].concat();
        let secret = [&seed[..], public].concat();
        let mut inner = [&check[..], &check, &blob, &string(&secret), &string(comment.as_bytes())].concat();
        // 1, 2, 3, …
        let padding = (1..=u8::MAX).take(inner.len().wrapping_neg() % BLOCK);
        inner.extend(padding);
        let none = string(b"none");
        let one = 1u32.to_be_bytes();
        let whole = [MAGIC, &none, &none, &string(b""), &one, &string(&blob), &string(&inner)].concat();
        Ok(Self {
            public: format!("ssh-ed25519 {}", STANDARD.encode(&blob)),
            private: armoured(&whole),
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))),
        })
    }
}

impl fmt::Debug for DeployKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeployKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// A string of RFC 4251 section 5. Nothing here is long.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

fn armoured(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let lines = encoded.as_bytes().chunks(WIDTH).map(String::from_utf8_lossy);
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}-----END OPENSSH PRIVATE KEY-----\n")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn openssh_reads_it_and_finds_the_same_public_half() {
        for comment in ["shop", "a-rather-long-name-of-an-app", ""] {
            let key = DeployKey::generate(comment).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("key");
            std::fs::write(&file, &key.private).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let out = Command::new("ssh-keygen").arg("-yf").arg(&file).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(
                String::from_utf8(out.stdout).unwrap().trim_end(),
                format!("{} {comment}", key.public).trim_end()
            );
            let parsed: crate::public_key::PublicKey = key.public.parse().unwrap();
            assert_eq!(parsed.fingerprint, key.fingerprint);
        }
    }

    #[test]
    fn its_private_half_is_not_printed_and_no_two_are_the_same() {
        let [one, other] = [(); 2].map(|()| DeployKey::generate("x").unwrap());
        assert_ne!(one.public, other.public);
        assert!(!format!("{one:?}").contains("PRIVATE"));
    }
}
