//! Public keys as users give them: one line of an `id_*.pub` file.
//!
//! No list of key types stands here: a key is an algorithm and a blob whose first string names that
//! algorithm (RFC 4253 section 6.6), so every type that sshd verifies is taken, `sk-…` included.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// The longest line that is read, in bytes. An RSA key of 16384 bits needs about 2800.
const MAX_LINE: usize = 16 << 10;

/// The longest comment that is kept, in characters.
const MAX_COMMENT: usize = 200;

/// The shortest RSA key that sshd takes by itself, in bits (sshd_config(5), RequiredRSASize).
const MIN_RSA: usize = 1024;

/// A public key without options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// Algorithm and base64 blob.
    pub(crate) line: String,
    /// For people.
    pub(crate) comment: String,
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
}

/// Why a text is not taken as a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKey {
    #[error("The key is empty. Give the one line of the .pub file.")]
    Empty,
    #[error("The key is longer than {MAX_LINE} bytes.")]
    TooLong,
    #[error("This is a private key. Keep it to yourself and give the .pub file that lies beside it.")]
    Private,
    #[error("These are several lines. Add one key at a time.")]
    SeveralLines,
    #[error("Options before a key are not accepted. Give algorithm, key and an optional comment.")]
    Options,
    #[error("Certificates are not accepted. Give the public key itself.")]
    Certificate,
    #[error(
        "DSA keys are not accepted: OpenSSH does not take them any more. Make one with `ssh-keygen -t ed25519`."
    )]
    Dsa,
    #[error(
        "An RSA key of {0} bits is not accepted: sshd takes none below {MIN_RSA}. Make one with `ssh-keygen -t ed25519`."
    )]
    ShortRsa(usize),
    #[error("This is not a public key. It should read like `ssh-ed25519 AAAA… comment`.")]
    NotAKey,
}

impl std::str::FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(raw: &str) -> Result<Self, BadKey> {
        let line = one_line(raw)?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [algorithm, encoded, comment @ ..] = &words[..] else { return Err(BadKey::NotAKey) };
        let Some(blob) = blob(algorithm, encoded) else {
            let later = words.windows(2).skip(1).any(|pair| blob(pair[0], pair[1]).is_some());
            return Err(if later { BadKey::Options } else { BadKey::NotAKey });
        };
        if algorithm.contains("-cert-v01@") {
            return Err(BadKey::Certificate);
        }
        match *algorithm {
            "ssh-dss" => return Err(BadKey::Dsa),
            "ssh-rsa" => require_length(&blob)?,
            _ => {}
        }
        Ok(Self {
            line: format!("{algorithm} {}", STANDARD.encode(&blob)),
            comment: comment_of(comment),
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))),
        })
    }
}

fn one_line(raw: &str) -> Result<&str, BadKey> {
    if raw.contains("PRIVATE KEY") {
        return Err(BadKey::Private);
    }
    if raw.len() > MAX_LINE {
        return Err(BadKey::TooLong);
    }
    let line = raw.trim();
    if line.is_empty() {
        return Err(BadKey::Empty);
    }
    if line.contains(['\n', '\r']) {
        return Err(BadKey::SeveralLines);
    }
    Ok(line)
}

fn comment_of(words: &[&str]) -> String {
    words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_COMMENT).collect()
}

/// The decoded blob, if it is one of this algorithm.
fn blob(algorithm: &str, encoded: &str) -> Option<Vec<u8>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.@".contains(&b);
    if !(1..=64).contains(&algorithm.len()) || !algorithm.bytes().all(plain) {
        return None;
    }
    let blob = STANDARD.decode(encoded).ok()?;
    let (name, rest) = ssh_string(&blob)?;
    (name == algorithm.as_bytes() && (algorithm.contains("-cert-v01@") || is_ssh_strings(rest)))
        .then_some(blob)
}

/// Whether the rest of a blob is whole: one length-prefixed field after the other, none cut short. (The
/// fields of a certificate are others; it is refused anyway.)
fn is_ssh_strings(mut rest: &[u8]) -> bool {
    let mut fields = 0;
    while !rest.is_empty() {
        let Some((_, after)) = ssh_string(rest) else { return false };
        rest = after;
        fields += 1;
    }
    fields > 0
}

/// The modulus is the last field: name, exponent, modulus (RFC 4253, section 6.6).
fn require_length(blob: &[u8]) -> Result<(), BadKey> {
    let field = |bytes| ssh_string(bytes).ok_or(BadKey::NotAKey);
    let (_, rest) = field(blob)?;
    let (_, rest) = field(rest)?;
    let (modulus, _) = field(rest)?;
    let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
    let leading = modulus.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    match (modulus.len() - zeros) * 8 - leading {
        bits if bits < MIN_RSA => Err(BadKey::ShortRsa(bits)),
        _ => Ok(()),
    }
}

/// A string of RFC 4251 section 5: four bytes of length, then as many bytes; and what comes after it.
fn ssh_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with ssh-keygen, fingerprints as `ssh-keygen -l` prints them.
    const KEYS: &[(&str, &str)] = &[
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3Qi9gZgtxtbs3W3Tz/0DnPUBtfcl5/KdWskWTGvVXv",
            "SHA256:X9Qig7l01HOZ1YkA+cePEpAUVsAW5XNaVbJUpxKQq78",
        ),
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGtruCLn\
             5oCD9py+U+QoWJeXXCWYkzF4ArgnUcH9CpLHKrN8Z0JmCmIDplu7V7McxtzvwrUeEAz9//RXP6NsAR4=",
            "SHA256:BL2+Iga1M3IerdJQBJNt3XQpwS+MJEVEJOMQ6ieVnBo",
        ),
        (
            "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAF3+Vmk\
             r5IAh9or8fVX/EZm+eCzPAcyp56mROMQXk1zTNCbpYlu8ECkVK4/778CXbkMJqwjzgc269Q6BOlTSpxN\
             GwBzKb/PVIYEL01O0QwPQD9viQFBPWu2SB0SYJ/ScoD0hPFADTfHoaE2XaSoRCHWmsJezQPTrx4BJRgY\
             sEn5kUTSgw==",
            "SHA256:FcrEwovkj1MHwIO/7V5jNBCzBR0GwrCLAh3BtM9ZneY",
        ),
        (
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCJC1SagAE4sCzLY7wdz4otFKHZvorFcMuNaeV1FLna\
             V98sCzg1PLzieDGx9y26FBJ7LwJ4g94butceZo28+MBQ1zlPvU/qAMU+/Yl8+UnF5twog2pw3odvuFcf\
             L+RIJxeATGB5S9olxZKYafTYxGg+sEOUQA10z5Cj/1eUJMJ0j7kDKGfi9duPmTfj2kWx1SNURUY6QmQ0\
             mfeNOYk3yMQ4+cVuyDaJDZxRRMmRJlhe0ljz/YsvnNAAJKuqOhN/zXn3+PUlFw58t/Js/oDj69emACst\
             XhKk54HMLHp74KyGsDoFlCJqv8NxdJve97zwYMZNH8CCqkjTXLULEQo4W0jbiMTj4P2OqzhbSnFCeM5d\
             KKxBG3RRUc1/JNG2uutjIJlXVdsg23M+5johjbG6cTM224gnBOUTaLd9viCDktAwt/j+uw/eilcdE+3m\
             CArCtCuTqmRbjDShrVdenURaleIQx8hU2P1WSJTvZY63qXQICftvugepyI6Onw3+9eiVSV0=",
            "SHA256:izBPB30H9Aafz5FY86dCDPSXd7WU+aysJKp7F0/xLHY",
        ),
    ];

    fn refused(raw: &str) -> BadKey {
        raw.parse::<PublicKey>().unwrap_err()
    }

    #[test]
    fn every_type_of_ssh_keygen_is_taken_with_its_fingerprint() {
        for (line, fingerprint) in KEYS {
            let key: PublicKey = format!("  {line} matt@laptop \n").parse().unwrap();
            assert_eq!((key.line.as_str(), key.fingerprint.as_str()), (*line, *fingerprint));
            assert_eq!(key.comment, "matt@laptop");
        }
    }

    #[test]
    fn keys_that_sshd_takes_no_more_are_refused_with_the_reason() {
        let field = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
        let rsa = |bytes: usize, first: u8| {
            let modulus = [&[0, first][..], &vec![0xff; bytes - 1]].concat();
            format!(
                "ssh-rsa {}",
                STANDARD.encode([field(b"ssh-rsa"), field(&[1, 0, 1]), field(&modulus)].concat())
            )
        };
        assert_eq!(refused(&rsa(96, 0x80)), BadKey::ShortRsa(768));
        assert_eq!(refused(&rsa(128, 0x7f)), BadKey::ShortRsa(1023));
        assert!(refused(&rsa(96, 0x80)).to_string().contains("768 bits"));
        assert!(rsa(128, 0x80).parse::<PublicKey>().is_ok());
        let dsa = format!("ssh-dss {}", STANDARD.encode([field(b"ssh-dss"), field(&[1; 128])].concat()));
        assert_eq!(refused(&dsa), BadKey::Dsa);
        let certificate = [field(b"ssh-ed25519-cert-v01@openssh.com"), field(&[1; 32])].concat();
        let certificate = format!("ssh-ed25519-cert-v01@openssh.com {}", STANDARD.encode(certificate));
        assert_eq!(refused(&certificate), BadKey::Certificate);
    }

    #[test]
    fn keys_of_security_tokens_are_taken() {
        let field = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
        // OpenSSH's PROTOCOL.u2f: the key, and the application that it is for.
        let (ed25519, ecdsa) = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com");
        for (name, fields) in [
            (ed25519, [field(&[7; 32]), field(b"ssh:")].concat()),
            (ecdsa, [field(b"nistp256"), field(&[4; 65]), field(b"ssh:")].concat()),
        ] {
            let line = format!("{name} {}", STANDARD.encode([field(name.as_bytes()), fields].concat()));
            assert_eq!(line.parse::<PublicKey>().unwrap().line, line);
        }
    }

    #[test]
    fn a_blob_of_another_algorithm_or_cut_short_is_no_key() {
        let (line, _) = KEYS[0];
        let encoded = line.split(' ').nth(1).unwrap();
        assert_eq!(refused(&format!("ssh-rsa {encoded}")), BadKey::NotAKey);
        let cut = STANDARD.encode(&STANDARD.decode(encoded).unwrap()[..40]);
        assert_eq!(refused(&format!("ssh-ed25519 {cut}")), BadKey::NotAKey);
        let bare = STANDARD.encode(b"\0\0\0\x0bssh-ed25519");
        assert_eq!(refused(&format!("ssh-ed25519 {bare}")), BadKey::NotAKey);
    }

    #[test]
    fn options_several_lines_and_private_keys_are_refused_as_what_they_are() {
        let (line, _) = KEYS[0];
        assert_eq!(refused(&format!("restrict {line}")), BadKey::Options);
        assert_eq!(refused(&format!("command=\"sh -c 'x y'\",no-pty {line}")), BadKey::Options);
        assert_eq!(refused(&format!("{line}\n{line}")), BadKey::SeveralLines);
        assert_eq!(refused(&format!("{line} x\ry")), BadKey::SeveralLines);
        assert_eq!(refused("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"), BadKey::Private);
        assert_eq!(refused(" \n"), BadKey::Empty);
        assert_eq!(refused("hello"), BadKey::NotAKey);
        assert_eq!(refused("ssh-ed25519 not-base64"), BadKey::NotAKey);
        assert_eq!(refused(&"a".repeat(MAX_LINE + 1)), BadKey::TooLong);
    }
}
