//! Words that nobody can guess, made anew for every run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ruko_core::{Fault, Hint};
use subtle::{Choice, ConstantTimeEq};

/// `bytes` random bytes as hexadecimal digits.
fn random_word<const BYTES: usize>() -> Result<String, Fault> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).fault("the system gives no random numbers")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What proves to the forwarder that a request comes from the CLI that it was started for.
pub(crate) struct Secrets {
    /// What the CLI takes for its API key.
    pub(crate) key: String,
    /// The first segment of the paths that need no key: `/SEGMENT/…`.
    pub(crate) segment: String,
    /// The two forms in which a CLI shows its key: v8 and later, and the older commands of v7 and v8.
    shown: [String; 2],
}

impl Secrets {
    pub(crate) fn new() -> Result<Self, Fault> {
        let key = random_word::<32>()?;
        let shown = [format!("Bearer {key}"), format!("Basic {}", STANDARD.encode(format!(":{key}")))];
        Ok(Self { key, segment: random_word::<16>()?, shown })
    }

    /// Whether an `Authorization` header shows the key. Takes as long for every wrong one.
    pub(crate) fn shown_by(&self, authorization: &[u8]) -> bool {
        let right = self.shown.iter().map(|form| form.as_bytes().ct_eq(authorization));
        right.fold(Choice::from(0), |sum, this| sum | this).into()
    }

    /// The path behind `/SEGMENT`, where `path` begins so.
    pub(crate) fn behind_segment<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (first, _) = path.strip_prefix('/')?.split_once('/')?;
        let right: bool = first.as_bytes().ct_eq(self.segment.as_bytes()).into();
        right.then(|| &path[1 + first.len()..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_in_both_forms_and_nothing_else() {
        let secrets = Secrets::new().unwrap();
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        assert!(secrets.shown_by(format!("Bearer {}", secrets.key).as_bytes()));
        assert!(secrets.shown_by(basic(format!(":{}", secrets.key)).as_bytes()));
        for wrong in [
            String::new(),
            "Bearer ".into(),
            "Bearer undefined".into(),
            format!("Bearer {}0", secrets.key),
            format!("Bearer {}", &secrets.key[1..]),
            basic(format!("someone:{}", secrets.key)),
            basic("dev@example.test:secret".into()),
        ] {
            assert!(!secrets.shown_by(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_open_only_behind_the_segment() {
        let secrets = Secrets::new().unwrap();
        let segment = &secrets.segment;
        assert_eq!(secrets.behind_segment(&format!("/{segment}/streams/x")), Some("/streams/x"));
        assert_eq!(secrets.behind_segment(&format!("/{segment}/")), Some("/"));
        for wrong in ["/", "/streams/x", "//streams/x", "", &format!("/{segment}"), &format!("/{segment}0/x")]
        {
            assert_eq!(secrets.behind_segment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_two_runs_share_a_secret() {
        let (one, other) = (Secrets::new().unwrap(), Secrets::new().unwrap());
        assert_ne!(one.key, other.key);
        assert_ne!(one.segment, other.segment);
        assert_eq!((one.key.len(), one.segment.len()), (64, 32));
    }
}
