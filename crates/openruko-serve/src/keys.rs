//! `openruko-serve keys`: whose is this key? For sshd's `AuthorizedKeysCommand`.

use std::io::Write;
use std::path::Path;

use ruko_api_types::KeyOwner;
use ruko_core::config::DEFAULT_PATH;
use ruko_core::{Exit, Fault, Hint};

use crate::context::Context;

/// Prints the line of the key with this fingerprint, or nothing when nobody has it. Fails closed: when
/// the API does not answer, sshd gets no key.
pub(crate) fn print(context: &Context, fingerprint: &str) -> Result<Exit, Fault> {
    if !well_formed(fingerprint) {
        return Err(Fault::usage("a fingerprint looks like SHA256:… with 43 base64 characters"));
    }
    let owner = context.api.key(fingerprint).try_again("cannot ask the API about a key")?;
    if let Some(owner) = owner {
        let serve = std::env::current_exe().fault("cannot find myself")?;
        let line = line(&serve, &context.config_path, &owner)?;
        std::io::stdout().lock().write_all(line.as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn well_formed(fingerprint: &str) -> bool {
    fingerprint.strip_prefix("SHA256:").is_some_and(|digest| {
        digest.len() == 43 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
    })
}

/// One authorized_keys line. `restrict` first (sshd(8)): whatever OpenSSH adds later is off as well.
pub(crate) fn line(serve: &Path, config: &Path, owner: &KeyOwner) -> Result<String, Fault> {
    let mut command = quotable(serve)?.to_owned();
    if config != Path::new(DEFAULT_PATH) {
        command.push_str(" --config ");
        command.push_str(quotable(config)?);
    }
    let KeyOwner { user, key, public_key } = owner;
    if !is_key_id(key) {
        return Err(Fault::refused("the API gave a key's id that is none"));
    }
    let one_key =
        public_key.split(' ').count() == 2 && !public_key.chars().any(|c| c.is_control() || c == '"');
    if !one_key {
        return Err(Fault::refused("the API gave a key that is not `algorithm base64`"));
    }
    Ok(format!("restrict,command=\"{command} --key {key} {user}\" {public_key}\n"))
}

/// What may stand for a key in a command: letters and digits.
pub(crate) fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// sshd and ssh give their commands to a shell, so only paths that need no quoting are taken.
pub(crate) fn quotable(path: &Path) -> Result<&str, Fault> {
    let plain = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    path.to_str().filter(plain).ok_or_else(|| {
        Fault::refused(format!("the path `{}` cannot stand in a command of ssh", path.display()))
            .hint("install openruko where the path has letters, digits, `.`, `_`, `+` and `-` only")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(public_key: &str) -> KeyOwner {
        KeyOwner { user: "alice".parse().unwrap(), key: "1".into(), public_key: public_key.into() }
    }

    #[test]
    fn the_line_restricts_first_and_names_only_the_user() {
        let serve = Path::new("/usr/libexec/openruko/openruko-serve");
        let line = line(serve, Path::new(DEFAULT_PATH), &owner("ssh-ed25519 AAAA")).unwrap();
        assert_eq!(
            line,
            "restrict,command=\"/usr/libexec/openruko/openruko-serve --key 1 alice\" ssh-ed25519 AAAA\n"
        );
    }

    #[test]
    fn nothing_can_break_out_of_the_line() {
        let serve = Path::new("/s");
        let config = Path::new(DEFAULT_PATH);
        for key in ["ssh-ed25519 AAAA\nssh-ed25519 BBBB", "no-pty ssh-ed25519 AAAA", "a \"b", "AAAA"] {
            assert!(line(serve, config, &owner(key)).is_err(), "{key}");
        }
        let hostile = KeyOwner { key: "1 bob\"".into(), ..owner("ssh-ed25519 AAAA") };
        assert!(line(serve, config, &hostile).is_err());
        assert!(line(Path::new("/a b"), config, &owner("ssh-ed25519 AAAA")).is_err());
        assert!(line(serve, Path::new("/x\"y"), &owner("ssh-ed25519 AAAA")).is_err());
    }

    #[test]
    fn only_a_sha256_fingerprint_is_asked_about() {
        assert!(well_formed("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"));
        assert!(!well_formed("MD5:00"));
        assert!(!well_formed("SHA256:x&user=root"));
    }
}
