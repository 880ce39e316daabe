//! What a caller asks for, judged: the caller is not trusted.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use ruko_core::config::{BuildLimits, DynoLimits};
use ruko_core::container::{Purpose, RunLimits, RunSpec};
use ruko_core::message::bytes;
use ruko_core::names::{ContainerName, TemplateName};
use ruko_core::{Fault, Hint};
use ruko_sys::open_trusted;
use rustix::fs::{FileType, FsWord, fstat, fstatfs};

use crate::events::MAX_FILES;
use crate::settings::Settings;
use crate::slug::Slug;
use crate::stack::Stack;

/// What a container cannot do without: a few processes, and a file system.
const LEAST: RunLimits =
    RunLimits { seconds: Some(1), memory_bytes: 32 << 20, pids: 16, disk_bytes: 16 << 20 };

/// The longest public key line: an RSA key of 16384 bits has less than 3 KiB.
const MAX_KEY: usize = 4096;

/// A container that may be started.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: ContainerName,
    pub(crate) template_name: TemplateName,
    /// An executable that only root can have written.
    pub(crate) template: PathBuf,
    /// The stack image; none: the template shares the host's `/usr`.
    pub(crate) stack: Option<Stack>,
    pub(crate) wanted: Wanted,
    pub(crate) limits: RunLimits,
}

/// What it is for, with what it needs.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Who has this key logs in.
    Login(ClientKey),
    /// A dyno.
    Dyno(Dyno),
}

/// A dyno that may be started.
#[derive(Debug)]
pub(crate) struct Dyno {
    pub(crate) slug: Slug,
    pub(crate) shares: u32,
    /// Its stdin and its stdout, until it has them.
    pub(crate) files: Option<[OwnedFd; MAX_FILES]>,
}

/// What templates source, beside them.
const SOURCED: [&str; 3] = ["common.sh", "build.sh", "dyno.sh"];

impl Order {
    /// Judges a line of the caller's, and the files that came with it.
    pub(crate) fn judge(line: &[u8], files: Vec<OwnedFd>, settings: &Settings) -> Result<Self, Fault> {
        let spec: RunSpec =
            serde_json::from_slice(line).fault("the container's specification is not valid")?;
        ceiling(&spec.purpose, settings).judge(&spec.limits).map_err(Fault::refused)?;
        let template = settings.template_dir.join(spec.template.as_str());
        open_trusted(&template).fault(format!("template `{}` cannot be used", spec.template))?;
        for name in SOURCED {
            let sourced = settings.template_dir.join(name);
            if sourced.exists() {
                open_trusted(&sourced)?;
            }
        }
        let stack = spec.stack.as_ref().map(|name| Stack::open(settings, name)).transpose()?;
        let wanted = match &spec.purpose {
            Purpose::Login { client_key } => {
                if !files.is_empty() {
                    return Err(Fault::refused("only a dyno is given files"));
                }
                Wanted::Login(ClientKey::parse(client_key).map_err(Fault::refused)?)
            }
            Purpose::Dyno { image, shares } => {
                let files = <[OwnedFd; MAX_FILES]>::try_from(files).map_err(|files| {
                    let count = files.len();
                    Fault::refused(format!(
                        "a dyno needs {MAX_FILES} files, its stdin and its stdout; {count} came"
                    ))
                })?;
                for file in &files {
                    judge_file(file)?;
                }
                judge_shares(*shares).map_err(Fault::refused)?;
                Wanted::Dyno(Dyno { slug: Slug::open(settings, image)?, shares: *shares, files: Some(files) })
            }
        };
        Ok(Self {
            name: spec.name,
            template_name: spec.template,
            template,
            stack,
            wanted,
            limits: spec.limits,
        })
    }
}

/// Between what the bounds of a container must be.
fn ceiling(purpose: &Purpose, settings: &Settings) -> Ceiling {
    match purpose {
        Purpose::Login { .. } => Ceiling::of_build(&settings.max),
        Purpose::Dyno { .. } => Ceiling::of_dyno(&settings.dyno_max),
    }
}

struct Ceiling {
    /// Without seconds where there may be no bound on them.
    most: RunLimits,
    /// The table of the configuration that has them.
    table: &'static str,
}

impl Ceiling {
    const fn of_build(max: &BuildLimits) -> Self {
        let BuildLimits { build_seconds, memory_bytes, pids, disk_bytes, .. } = *max;
        let most = RunLimits { seconds: Some(build_seconds), memory_bytes, pids, disk_bytes };
        Self { most, table: "[container.max]" }
    }

    const fn of_dyno(max: &DynoLimits) -> Self {
        let DynoLimits { memory_bytes, pids, disk_bytes } = *max;
        Self {
            most: RunLimits { seconds: None, memory_bytes, pids, disk_bytes },
            table: "[container.dyno_max]",
        }
    }

    fn judge(&self, limits: &RunLimits) -> Result<(), String> {
        let number = |value: u64| value.to_string();
        let RunLimits { seconds, memory_bytes, pids, disk_bytes } = self.most;
        match limits.seconds {
            Some(wanted) => self.between("seconds", wanted, 1, seconds.unwrap_or(u64::MAX), number)?,
            None if seconds.is_some() => {
                return Err("seconds: only a dyno may run without a bound".to_owned());
            }
            None => {}
        }
        self.between("memory", limits.memory_bytes, LEAST.memory_bytes, memory_bytes, bytes)?;
        self.between("processes", limits.pids, LEAST.pids, pids, number)?;
        self.between("disk", limits.disk_bytes, LEAST.disk_bytes, disk_bytes, bytes)
    }

    fn between(
        &self,
        what: &str,
        wanted: u64,
        least: u64,
        most: u64,
        show: fn(u64) -> String,
    ) -> Result<(), String> {
        let (wanted_text, table) = (show(wanted), self.table);
        if wanted > most {
            let most = show(most);
            return Err(format!(
                "{what}: {wanted_text} is more than the {most} that {table} of the configuration allows"
            ));
        }
        if wanted < least {
            let least = show(least);
            return Err(format!("{what}: {wanted_text} is less than the {least} that a container needs"));
        }
        Ok(())
    }
}

/// Through a directory, a disk or a terminal a dyno would reach what is outside of it; a pipe that has a name may be
/// somebody else's, and the dyno's user is made its owner.
fn judge_file(file: &OwnedFd) -> Result<(), Fault> {
    let seen =
        fstat(file).and_then(|stat| Ok((FileType::from_raw_mode(stat.st_mode), fstatfs(file)?.f_type)));
    match seen.map_err(std::io::Error::from).fault("cannot look at a file of the dyno")? {
        (FileType::Fifo, PIPEFS) | (FileType::Socket, _) => Ok(()),
        _ => Err(Fault::refused("the files of a dyno must be sockets or pipes without a name")),
    }
}

/// The type of the file system of pipes that have no name (`PIPEFS_MAGIC`, `statfs(2)`).
const PIPEFS: FsWord = 0x5049_5045;

fn judge_shares(shares: u32) -> Result<(), String> {
    if shares >= 1 { Ok(()) } else { Err("shares: 0 is less than the 1 that a dyno needs".to_owned()) }
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
        let build = Ceiling::of_build(&BuildLimits::default());
        let good = RunLimits { seconds: Some(900), memory_bytes: 512 << 20, pids: 100, disk_bytes: 1 << 30 };
        assert_eq!(build.judge(&good), Ok(()));
        let why = build.judge(&RunLimits { disk_bytes: 5 << 30, ..good }).unwrap_err();
        assert!(why.contains("5.0 GB") && why.contains("4.0 GB") && why.contains("[container.max]"), "{why}");
        let why = build.judge(&RunLimits { pids: 0, ..good }).unwrap_err();
        assert!(why.contains("processes: 0") && why.contains("16"), "{why}");
        assert!(build.judge(&RunLimits { seconds: Some(u64::MAX), ..good }).is_err());
        assert!(build.judge(&RunLimits { memory_bytes: u64::MAX, ..good }).is_err());
    }

    #[test]
    fn a_dyno_alone_may_run_without_end_and_has_bounds_of_its_own() {
        let build = Ceiling::of_build(&BuildLimits::default());
        let max = DynoLimits { memory_bytes: 1 << 30, ..DynoLimits::default() };
        let dyno = Ceiling::of_dyno(&max);
        let endless = RunLimits { seconds: None, memory_bytes: 512 << 20, pids: 256, disk_bytes: 1 << 30 };
        assert!(build.judge(&endless).unwrap_err().contains("only a dyno"));
        assert_eq!(dyno.judge(&endless), Ok(()));
        assert_eq!(dyno.judge(&RunLimits { seconds: Some(u64::MAX), ..endless }), Ok(()));
        assert!(dyno.judge(&RunLimits { seconds: Some(0), ..endless }).is_err());
        let why = dyno.judge(&RunLimits { memory_bytes: 2 << 30, ..endless }).unwrap_err();
        assert!(why.contains("1.0 GB") && why.contains("[container.dyno_max]"), "{why}");
        assert!(judge_shares(0).is_err() && judge_shares(1).is_ok() && judge_shares(252).is_ok());
    }
}
