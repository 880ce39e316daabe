//! What a caller asks for, judged: the caller is not trusted.

use std::path::PathBuf;

use ruko_core::config::BuildLimits;
use ruko_core::container::{Purpose, RunLimits, RunSpec};
use ruko_core::message::bytes;
use ruko_core::names::ContainerName;
use ruko_core::{Fault, Hint};
use ruko_sys::open_trusted;

use crate::settings::Settings;

/// What a container cannot do without: an sshd with a few sessions, and a file system.
const LEAST: RunLimits =
    RunLimits { seconds: Some(1), memory_bytes: 32 << 20, pids: 16, disk_bytes: 16 << 20 };

/// The longest public key line: an RSA key of 16384 bits has less than 3 KiB.
const MAX_KEY: usize = 4096;

/// A container that may be started.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) name: ContainerName,
    /// An executable that only root can have written.
    pub(crate) template: PathBuf,
    pub(crate) key: ClientKey,
    pub(crate) limits: RunLimits,
}

impl Order {
    /// Judges a line of the caller's.
    pub(crate) fn judge(line: &[u8], settings: &Settings) -> Result<Self, Fault> {
        let spec: RunSpec =
            serde_json::from_slice(line).fault("the container's specification is not valid")?;
        within(&spec.limits, &settings.max).map_err(Fault::refused)?;
        let template = settings.template_dir.join(spec.template.as_str());
        open_trusted(&template).fault(format!("template `{}` cannot be used", spec.template))?;
        let Purpose::Login { client_key } = &spec.purpose else {
            return Err(Fault::refused("this ruko-container starts no dynos"));
        };
        let key = ClientKey::parse(client_key).map_err(Fault::refused)?;
        Ok(Self { name: spec.name, template, key, limits: spec.limits })
    }
}

fn within(limits: &RunLimits, max: &BuildLimits) -> Result<(), String> {
    let number = |value: u64| value.to_string();
    let seconds = limits.seconds.ok_or("seconds: only a dyno may run without a bound")?;
    between("seconds", seconds, 1, max.build_seconds, number)?;
    between("memory", limits.memory_bytes, LEAST.memory_bytes, max.memory_bytes, bytes)?;
    between("processes", limits.pids, LEAST.pids, max.pids, number)?;
    between("disk", limits.disk_bytes, LEAST.disk_bytes, max.disk_bytes, bytes)
}

fn between(what: &str, wanted: u64, least: u64, most: u64, show: fn(u64) -> String) -> Result<(), String> {
    if wanted > most {
        let (wanted, most) = (show(wanted), show(most));
        return Err(format!(
            "{what}: {wanted} is more than the {most} that [container.max] of the configuration allows"
        ));
    }
    if wanted < least {
        return Err(format!(
            "{what}: {} is less than the {} that a container needs",
            show(wanted),
            show(least)
        ));
    }
    Ok(())
}

/// One public key without options and without a comment: a whole line of an `authorized_keys` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientKey(String);

/// What a client may log in with (names of RFC 4253, 5656, 8709 and OpenSSH's PROTOCOL.u2f).
const ALGORITHMS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl ClientKey {
    /// `algorithm base64`, or with a comment, which is dropped.
    pub(crate) fn parse(raw: &str) -> Result<Self, String> {
        if raw.len() > MAX_KEY || raw.chars().any(char::is_control) {
            return Err("the client key is not one line of a public key file".to_owned());
        }
        let mut words = raw.split(' ').filter(|word| !word.is_empty());
        let (Some(algorithm), Some(blob)) = (words.next(), words.next()) else {
            return Err("the client key is not `ALGORITHM BASE64`".to_owned());
        };
        // Anything before the algorithm would be options: `command="…"`, `permitopen`, …
        if !ALGORITHMS.contains(&algorithm) {
            return Err(format!(
                "the client key begins with `{}`, which is no algorithm that is known",
                algorithm.escape_debug()
            ));
        }
        let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        let digits = blob.trim_end_matches('=');
        if !blob.starts_with("AAAA")
            || !blob.len().is_multiple_of(4)
            || blob.len() - digits.len() > 2
            || !digits.bytes().all(digit)
        {
            return Err("the client key is not base 64".to_owned());
        }
        Ok(Self(format!("{algorithm} {blob}")))
    }

    /// The line, without a line break.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2hBWGPDHkwLZ8DcWyfkVVhA9CjGlBHnMHAGbCb5jXo";

    #[test]
    fn a_key_loses_its_comment_and_nothing_else() {
        assert_eq!(ClientKey::parse(&format!("{KEY} matt@laptop, the old one")).unwrap().as_str(), KEY);
        assert_eq!(ClientKey::parse(KEY).unwrap().as_str(), KEY);
    }

    #[test]
    fn what_is_not_exactly_one_key_is_refused() {
        let hostile = [
            String::new(),
            "ssh-ed25519".to_owned(),
            format!("command=\"id\" {KEY}"),
            format!("restrict {KEY}"),
            format!("{KEY}\n{KEY}"),
            format!("{KEY}\r"),
            format!("\t{KEY}"),
            "ssh-ed25519 AAAA\"C3Nz".to_owned(),
            "ssh-ed25519 AAAA====".to_owned(),
            "ssh-ed25519 AAAAC".to_owned(),
            "ssh-dss AAAAB3NzaC1kc3MA".to_owned(),
            format!("ssh-ed25519 AAAA{}", "A".repeat(MAX_KEY)),
        ];
        for key in hostile {
            assert!(ClientKey::parse(&key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_limit_above_the_configured_or_below_the_possible_is_named_with_both_values() {
        let max = BuildLimits::default();
        let good = RunLimits { seconds: Some(900), memory_bytes: 512 << 20, pids: 100, disk_bytes: 1 << 30 };
        assert_eq!(within(&good, &max), Ok(()));
        let why = within(&RunLimits { disk_bytes: 5 << 30, ..good }, &max).unwrap_err();
        assert!(why.contains("5.0 GB") && why.contains("4.0 GB"), "{why}");
        let why = within(&RunLimits { pids: 0, ..good }, &max).unwrap_err();
        assert!(why.contains("processes: 0") && why.contains("16"), "{why}");
        assert!(within(&RunLimits { seconds: Some(u64::MAX), ..good }, &max).is_err());
        assert!(within(&RunLimits { memory_bytes: u64::MAX, ..good }, &max).is_err());
    }
}
