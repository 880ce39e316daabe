//! The second factor: codes of an authenticator app (RFC 6238) and the recovery codes that stand for it.

use std::fmt::Write as _;

use totp_rs::{Builder, Secret, Totp};

use crate::clock::Millis;
use crate::errors::{Answer, ApiFault};
use crate::token::Token;

/// How many recovery codes there are at a time.
pub(crate) const RECOVERY_CODES: usize = 10;

/// Random bytes of a recovery code: too many to be guessed from its digest.
const RECOVERY_BYTES: usize = 10;

/// What an authenticator app and we have in common. SHA-1, six digits, thirty seconds: what every app
/// knows.
pub(crate) struct Authenticator(Totp);

impl Authenticator {
    /// A new one with a random secret of 160 bits, as RFC 4226 section 4 recommends.
    pub(crate) fn generate() -> Answer<Self> {
        let mut bytes = [0; 20];
        getrandom::fill(&mut bytes).map_err(|e| ApiFault::Internal(format!("no random bytes: {e}")))?;
        Self::of(Secret::new_stack(bytes))
    }

    /// With the secret as the database has it.
    pub(crate) fn with_secret(base32: &str) -> Answer<Self> {
        let secret = Secret::try_from_base32(base32);
        Self::of(secret.map_err(|_| ApiFault::Internal("a TOTP secret is not base 32".to_owned()))?)
    }

    fn of(secret: Secret) -> Answer<Self> {
        // One step to either side: clocks differ, and typing takes a while.
        let totp = Builder::new().with_secret(secret).with_skew(1).build();
        totp.map(Self).map_err(|e| ApiFault::Internal(format!("a TOTP secret cannot be used: {e}")))
    }

    /// In base 32.
    pub(crate) fn secret(&self) -> String {
        self.0.secret().to_base32()
    }

    /// What apps read from a QR code: <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>.
    pub(crate) fn url(&self, issuer: &str, account: &str) -> String {
        let (issuer, account) = (escaped(issuer), escaped(account));
        let secret = self.secret();
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
        )
    }

    /// The time step that a code belongs to, if it is right now. Whoever takes it remembers the step: a
    /// code works once.
    pub(crate) fn step_of(&self, code: &str, now: Millis) -> Option<u64> {
        self.0.check(code, u64::try_from(now / 1000).ok()?)
    }
}

/// RFC 3986's unreserved characters stay.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// A code as it was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Six digits, of the app.
    App(String),
    /// Anything else can only be a recovery code: its digest.
    Recovery(String),
}

impl Code {
    /// Blanks and dashes do not count: apps and we show them to make codes readable.
    pub(crate) fn typed(raw: &str) -> Self {
        let plain = plain(raw);
        if plain.len() == 6 && plain.bytes().all(|b| b.is_ascii_digit()) {
            Self::App(plain)
        } else {
            Self::Recovery(recovery_digest(raw))
        }
    }
}

fn plain(raw: &str) -> String {
    raw.chars().filter(|c| !c.is_whitespace() && *c != '-').collect()
}

/// What is kept of a recovery code.
pub(crate) fn recovery_digest(code: &str) -> String {
    Token::presented(&plain(code).to_ascii_lowercase()).digest()
}

/// New recovery codes, `abcd-efgh-ijkl-mnop`.
pub(crate) fn recovery_codes() -> Answer<Vec<String>> {
    (0..RECOVERY_CODES).map(|_| recovery_code()).collect()
}

fn recovery_code() -> Answer<String> {
    let mut bytes = [0; RECOVERY_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| ApiFault::Internal(format!("no random bytes: {e}")))?;
    let letters = Secret::from(bytes.to_vec()).to_base32().to_ascii_lowercase();
    let groups: Vec<String> =
        letters.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, its SHA-1 rows; of the eight digits the last six.
    const VECTORS: [(i64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    /// `12345678901234567890`, as in the RFC.
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn codes_are_those_of_rfc_6238_and_stay_right_for_a_step() {
        let app = Authenticator::with_secret(SECRET).unwrap();
        for (seconds, code) in VECTORS {
            let step = u64::try_from(seconds / 30).unwrap();
            for near in [-30, 0, 30] {
                assert_eq!(app.step_of(code, (seconds + near) * 1000), Some(step), "{code} at {near}");
            }
            assert_eq!(app.step_of(code, (seconds + 60) * 1000), None);
        }
        for wrong in ["", "28708", "2870820", "+87082", "28708a"] {
            assert_eq!(app.step_of(wrong, 59_000), None, "{wrong}");
        }
    }

    #[test]
    fn a_new_secret_is_new_and_its_url_is_escaped() {
        let (one, other) = (Authenticator::generate().unwrap(), Authenticator::generate().unwrap());
        assert_ne!(one.secret(), other.secret());
        assert_eq!(one.secret().len(), 32);
        let url = Authenticator::with_secret(SECRET).unwrap().url("ruko.test:5000", "a+b@x.test");
        let expected = format!(
            "otpauth://totp/ruko.test%3A5000:a%2Bb%40x.test?secret={SECRET}&issuer=ruko.test%3A5000&\
             algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(url, expected);
    }

    #[test]
    fn recovery_codes_differ_and_are_read_however_they_are_typed() {
        let codes = recovery_codes().unwrap();
        let different: std::collections::BTreeSet<_> = codes.iter().collect();
        assert_eq!((different.len(), codes[0].len()), (RECOVERY_CODES, 19));
        let typed = format!(" {} ", codes[0].to_uppercase().replace('-', " "));
        assert_eq!(Code::typed(&codes[0]), Code::typed(&typed));
        assert_eq!(Code::typed("123 456"), Code::App("123456".to_owned()));
    }
}
