//! Passwords: which are taken, and how they are kept.

use std::fmt;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::errors::{Answer, ApiFault};
use crate::store::users::UserRow;

/// The shortest, in characters: NIST SP 800-63B section 3.1.1.2, with a second factor to be had.
const MIN_CHARACTERS: usize = 8;

/// The longest, in bytes: longer than any that people type, and short enough to be hashed at once.
const MAX_BYTES: usize = 1024;

/// The most common ones of the allowed length: whoever guesses begins with these. More would be little
/// gain, with guesses being throttled.
const COMMON: &[&str] = &[
    "00000000",
    "0123456789",
    "11111111",
    "12341234",
    "12345678",
    "123456789",
    "1234567890",
    "1q2w3e4r",
    "1qaz2wsx",
    "87654321",
    "88888888",
    "abcd1234",
    "abcdefgh",
    "adminadmin",
    "asdfasdf",
    "asdfghjkl",
    "baseball",
    "changeme",
    "computer",
    "football",
    "iloveyou",
    "internet",
    "letmein1",
    "login123",
    "michelle",
    "openruko",
    "passw0rd",
    "password",
    "password1",
    "password12",
    "password123",
    "princess",
    "qwer1234",
    "qwerty12",
    "qwerty123",
    "qwertyui",
    "qwertyuiop",
    "sunshine",
    "superman",
    "trustno1",
    "welcome1",
    "zaq12wsx",
];

/// How many are hashed at the same time: each takes 19 MiB and a core for some hundredths of a second.
const AT_A_TIME: usize = 4;

/// Characters of a made-up password: no two that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Of 32 characters each: a hundred bits.
const GENERATED: usize = 20;

/// A password that is good enough to be set.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    /// Judges one that is to be this user's.
    pub(crate) fn of(user: &UserRow, raw: String) -> Answer<Self> {
        let lower = raw.to_lowercase();
        let email = user.email.as_deref().unwrap_or_default();
        let own = [user.name.as_str(), email, email.split('@').next().unwrap_or_default()];
        if raw.chars().count() < MIN_CHARACTERS {
            Err(ApiFault::invalid(format!("The password must have {MIN_CHARACTERS} characters or more.")))
        } else if raw.len() > MAX_BYTES {
            Err(ApiFault::invalid(format!("The password must not be longer than {MAX_BYTES} bytes.")))
        } else if COMMON.contains(&lower.as_str()) || own.contains(&lower.as_str()) {
            Err(ApiFault::invalid("This password is easy to guess: choose another one."))
        } else if is_one_character(&raw) {
            Err(ApiFault::invalid("This password is one character repeated: choose another one."))
        } else {
            Ok(Self(raw))
        }
    }

    /// A random one, of letters and digits that can be read aloud.
    pub(crate) fn generate() -> Answer<Self> {
        let mut bytes = [0; GENERATED];
        getrandom::fill(&mut bytes).map_err(|e| ApiFault::Internal(format!("no random bytes: {e}")))?;
        let letters: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        Ok(Self(letters))
    }

    /// The password itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

fn is_one_character(raw: &str) -> bool {
    let mut characters = raw.chars();
    let first = characters.next();
    characters.all(|c| Some(c) == first)
}

/// Where passwords are hashed: off the threads that answer, and only so many at a time.
pub(crate) struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Hashing {
    /// What is kept of a password: argon2id with OWASP's parameters, as a PHC string.
    pub(crate) async fn hash(&self, password: Password) -> Answer<String> {
        let hashed = self.run(move || Argon2::default().hash_password(password.0.as_bytes())).await?;
        let hash = hashed.map_err(|e| ApiFault::Internal(format!("cannot hash a password: {e}")))?;
        Ok(hash.to_string())
    }

    /// Whether it is the password of which `kept` was kept. Without one it is not, and this takes as long.
    pub(crate) async fn matches(&self, kept: Option<String>, password: String) -> Answer<bool> {
        // No password is that long: the time of hashing it is not to be had.
        let is_possible = kept.is_some() && password.len() <= MAX_BYTES;
        let password = if password.len() <= MAX_BYTES { password } else { String::new() };
        let verified = self
            .run(move || {
                let argon2 = Argon2::default();
                match kept {
                    Some(kept) => argon2.verify_password(password.as_bytes(), kept.as_str()).is_ok(),
                    None => argon2.hash_password(password.as_bytes()).is_err(),
                }
            })
            .await?;
        Ok(is_possible && verified)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let broken = |e: &dyn fmt::Display| ApiFault::Internal(format!("cannot hash a password: {e}"));
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|e| broken(&e))?;
        // The permit goes with the work: who hangs up in between does not make room for another one.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|e| broken(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> UserRow {
        UserRow {
            id: String::new(),
            name: "ada.lovelace".parse().unwrap(),
            email: Some("countess@example.test".to_owned()),
            password: None,
            site_admin: false,
            totp_secret: None,
            totp_since: None,
            created_at: 0,
            updated_at: 0,
        }
    }

    #[test]
    fn a_password_is_long_enough_and_not_easy_to_guess() {
        for good in ["correct horse", "日本語の合言葉だ", "xK3!xK3!", &"ab".repeat(512)] {
            assert!(Password::of(&ada(), good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "short12",
            "日本語",
            "PassWord",
            "Ada.Lovelace",
            "COUNTESS",
            "aaaaaaaaaaaa",
            &"ab".repeat(600),
        ] {
            assert!(Password::of(&ada(), bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_kept_is_argon2id_and_matches_its_password_alone() {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let hashing = Hashing::default();
            let password = Password::generate().unwrap();
            assert!(Password::of(&ada(), password.reveal().to_owned()).is_ok());
            let kept = hashing.hash(password.clone()).await.unwrap();
            assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
            let matches = async |kept: Option<&str>, password: &str| {
                hashing.matches(kept.map(str::to_owned), password.to_owned()).await.unwrap()
            };
            assert!(matches(Some(&kept), password.reveal()).await);
            assert!(!matches(Some(&kept), "another one").await);
            assert!(!matches(Some(&kept), &"x".repeat(5000)).await);
            assert!(!matches(Some("nonsense"), password.reveal()).await);
            assert!(!matches(None, password.reveal()).await);
        });
    }
}
