//! Bounds and rules on what callers send, as pure functions.

use std::collections::{BTreeMap, BTreeSet};

use ruko_api_types::host::{DynoReports, HostHello};
use ruko_api_types::{Commit, CommitRelease, ConfigVarChange, Head, Manifest, Output, RefUpdate, Stored};
use ruko_core::names::is_ref_name;
use ruko_core::{ConfigVarName, message};

use crate::errors::{Answer, ApiFault};
use crate::settings::Settings;
use crate::store::output::Piece;

/// The most refs that one push may move.
pub(crate) const MAX_REFS: usize = 10_000;
const MAX_REF_NAME: usize = 1024;
const MAX_PROCESS_TYPES: usize = 100;
const MAX_COMMAND: usize = 32 << 10;
const MAX_LABEL: usize = 500;
const MAX_VALUE: usize = 64 << 10;
/// Names and values of all config vars of an app: Linux bounds a program's whole environment, too.
const MAX_CONFIG: usize = 1 << 20;
const MAX_BUILDPACKS: usize = 20;
const MAX_BUILDPACK: usize = 2048;
/// What a tarball is called, in characters.
const MAX_VERSION: usize = 200;
/// Names that are written out in a release's description.
const NAMED: usize = 10;

fn require(holds: bool, message: impl FnOnce() -> String) -> Answer<()> {
    if holds { Ok(()) } else { Err(ApiFault::invalid(message())) }
}

/// A commit is sound in itself: within its bounds, and a deploy ref moves only together with the release
/// that was built from it. (So it cannot be deleted, and two cannot move at once.) One without a repository is
/// that of a tarball's build: no ref moves, and there is a release.
pub(crate) fn commit(commit: &Commit, settings: &Settings) -> Answer<()> {
    match &commit.repo {
        Some(repo) => {
            stored("repository", repo)?;
            refs(commit, settings)
        }
        None => tarball(commit, settings),
    }
}

fn tarball(commit: &Commit, settings: &Settings) -> Answer<()> {
    require(commit.refs.is_empty(), || "Refs move only together with a stored repository.".to_owned())?;
    let built = commit.release.as_ref().filter(|built| built.manifest.head.is_none());
    let built = built.ok_or_else(|| {
        ApiFault::invalid("A commit without a repository has a release, and that is of no commit.")
    })?;
    release(built, settings)
}

fn refs(commit: &Commit, settings: &Settings) -> Answer<()> {
    require((1..=MAX_REFS).contains(&commit.refs.len()), || {
        format!("A push moves from 1 to {MAX_REFS} refs, not {}.", commit.refs.len())
    })?;
    for update in &commit.refs {
        require(is_branch_or_tag(&update.name), || {
            format!("`{}` is not the name of a branch or tag.", shown(&update.name))
        })?;
    }
    let built = commit.release.as_ref().and_then(|release| release.manifest.head.as_ref());
    for update in commit.refs.iter().filter(|update| settings.deploy_refs.contains(&update.name)) {
        require(
            built.is_some_and(|built| built.branch == update.name && built.commit == update.new),
            || format!("`{}` moves only together with a release of the commit it moves to.", update.name),
        )?;
    }
    match &commit.release {
        Some(built) => {
            head(built.manifest.head.as_ref(), &commit.refs, settings)?;
            release(built, settings)
        }
        None => Ok(()),
    }
}

/// What was built is what moves.
fn head(head: Option<&Head>, refs: &[RefUpdate], settings: &Settings) -> Answer<()> {
    let head = head.ok_or_else(|| ApiFault::invalid("The release of a push is of a commit."))?;
    let Head { commit, branch } = head;
    require(settings.deploy_refs.contains(branch), || format!("`{}` is not a deploy ref.", shown(branch)))?;
    require(!commit.is_null() && refs.iter().any(|update| update.name == *branch), || {
        format!("`{branch}` was built, but does not move.")
    })
}

/// A full name that git-check-ref-format(1) accepts, of a kind that a push may move.
fn is_branch_or_tag(name: &str) -> bool {
    let kind = ["refs/heads/", "refs/tags/"].iter().any(|kind| name.starts_with(kind));
    kind && name.len() <= MAX_REF_NAME && is_ref_name(name.as_bytes())
}

fn release(release: &CommitRelease, settings: &Settings) -> Answer<()> {
    stored("slug", &release.slug)?;
    let (size, max) = (release.slug.bytes, settings.limits.slug_bytes);
    require(size <= max, || {
        format!("The slug has {}, the limit is {}.", message::bytes(size), message::bytes(max))
    })?;
    let Manifest { head: _, buildpack, process_types, default_types } = &release.manifest;
    require(label(buildpack), || {
        format!("The buildpack's name must be one line of at most {MAX_LABEL} bytes.")
    })?;
    require(process_types.len() <= MAX_PROCESS_TYPES, || {
        format!("A release has at most {MAX_PROCESS_TYPES} process types, not {}.", process_types.len())
    })?;
    for (name, command) in process_types {
        require(!command.is_empty() && command.len() <= MAX_COMMAND && !command.contains('\0'), || {
            format!("The command of `{name}` must have from 1 to {MAX_COMMAND} bytes and no NUL.")
        })?;
    }
    let defaults: BTreeSet<_> = default_types.iter().collect();
    require(defaults.iter().all(|name| process_types.contains_key(*name)), || {
        "A default process type is missing from the process types.".to_owned()
    })
}

fn stored(what: &str, stored: &Stored) -> Answer<()> {
    require(is_digest(&stored.sha256), || {
        format!("The SHA-256 of the {what} must be 64 lower-case hexadecimal digits.")
    })?;
    require(stored.bytes > 0 && i64::try_from(stored.bytes).is_ok(), || {
        format!("The size of the {what} cannot be {} bytes.", stored.bytes)
    })
}

/// What is said about a release is one line.
pub(crate) fn description(text: &str) -> Answer<()> {
    require(label(text), || format!("A description is one line of from 1 to {MAX_LABEL} bytes."))
}

fn label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len()) && !text.contains(char::is_control)
}

/// The most dynos of one report.
const MAX_DYNOS: usize = 10_000;
/// The most that were told of before: a MiB and a half of ids.
const MAX_THERE: usize = 50_000;

/// What a host reports is about things that can be.
pub(crate) fn reports(reports: &DynoReports) -> Answer<()> {
    require(reports.dynos.len() <= MAX_DYNOS && reports.gone.len() <= MAX_DYNOS, || {
        format!("A report has at most {MAX_DYNOS} dynos.")
    })?;
    require(reports.there.len() <= MAX_THERE, || {
        format!("A report names at most {MAX_THERE} dynos that were told of before.")
    })?;
    for dyno in &reports.dynos {
        require(ulid::Ulid::from_string(&dyno.id).is_ok(), || {
            format!("`{}` is no id of a dyno: it must be a ULID.", shown(&dyno.id))
        })?;
        require(dyno.command.len() <= MAX_COMMAND && label(&dyno.size), || {
            format!("The command or the size of {} is too long.", dyno.name)
        })?;
        require(i64::try_from(dyno.since).is_ok(), || format!("{} is no time.", dyno.since))?;
    }
    Ok(())
}

/// Where terminals are must be such that a secret can follow it, and its certificate a digest.
pub(crate) fn hello(hello: &HostHello) -> Answer<()> {
    let Some(place) = &hello.rendezvous else { return Ok(()) };
    let rest = place.url.strip_prefix("rendezvous://").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_graphic() && !b"/?#@".contains(&b);
    require(rest.contains(':') && rest.len() <= MAX_LABEL && rest.bytes().all(plain), || {
        format!("`{}` is not of the form rendezvous://HOST:PORT.", shown(&place.url))
    })?;
    require(place.certificate.as_deref().is_none_or(is_digest), || {
        "The digest of a certificate must be 64 lower-case hexadecimal digits.".to_owned()
    })
}

fn is_digest(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Foreign text as it can stand in a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}

/// What a change of config vars comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigChange {
    /// All config vars as they will be.
    pub(crate) vars: BTreeMap<ConfigVarName, String>,
    /// Names whose value is new or another one.
    pub(crate) set: Vec<ConfigVarName>,
    /// Names that were there.
    pub(crate) removed: Vec<ConfigVarName>,
}

impl ConfigChange {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    /// `Set A, B config vars`, as Heroku words it; `Set A and remove B config vars` for both at once.
    pub(crate) fn description(&self) -> String {
        match (&self.set[..], &self.removed[..]) {
            (set, []) => format!("Set {} config vars", names(set)),
            ([], removed) => format!("Remove {} config vars", names(removed)),
            (set, removed) => format!("Set {} and remove {} config vars", names(set), names(removed)),
        }
    }
}

fn names(names: &[ConfigVarName]) -> String {
    let listed: Vec<&str> = names.iter().take(NAMED).map(ConfigVarName::as_str).collect();
    match names.len() - listed.len() {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

/// Applies a change to the config vars, within their bounds.
pub(crate) fn config_vars(
    mut vars: BTreeMap<ConfigVarName, String>,
    change: ConfigVarChange,
) -> Answer<ConfigChange> {
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    for (name, value) in change {
        match value {
            None => removed.extend(vars.remove(&name).map(|_| name)),
            Some(value) => {
                require(value.len() <= MAX_VALUE, || {
                    format!("The value of {name} has {} bytes, the limit is {MAX_VALUE}.", value.len())
                })?;
                require(!value.contains('\0'), || format!("The value of {name} contains a NUL character."))?;
                if vars.get(&name) != Some(&value) {
                    vars.insert(name.clone(), value);
                    set.push(name);
                }
            }
        }
    }
    let total: usize = vars.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    require(total <= MAX_CONFIG, || {
        format!("The config vars would have {total} bytes in all, the limit is {MAX_CONFIG}.")
    })?;
    Ok(ConfigChange { vars, set, removed })
}

/// Buildpacks are URLs or names; none may read as an option or a second word.
pub(crate) fn buildpacks(buildpacks: &[String]) -> Answer<()> {
    require(buildpacks.len() <= MAX_BUILDPACKS, || {
        format!("An app has at most {MAX_BUILDPACKS} buildpacks, not {}.", buildpacks.len())
    })?;
    for url in buildpacks {
        let first = url.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        require(first && url.len() <= MAX_BUILDPACK && url.bytes().all(|b| b.is_ascii_graphic()), || {
            format!("`{}` is neither a buildpack's URL nor its name.", shown(url))
        })?;
    }
    Ok(())
}

/// What a user calls a tarball: one line, which stands in the release's description; none if it is empty.
pub(crate) fn version(raw: Option<&str>) -> Answer<Option<String>> {
    let version = raw.unwrap_or_default().trim();
    require(version.chars().count() <= MAX_VERSION && !version.contains(char::is_control), || {
        format!("The version of a source must be one line of at most {MAX_VERSION} characters.")
    })?;
    Ok((!version.is_empty()).then(|| version.to_owned()))
}

/// The digest that a user expects of a tarball, as Heroku writes it: `SHA256:` and hexadecimal digits.
pub(crate) fn checksum(raw: &str) -> Answer<String> {
    let hex = raw.strip_prefix("SHA256:").map(str::to_ascii_lowercase);
    let good = |hex: &String| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    hex.filter(good).ok_or_else(|| {
        ApiFault::invalid("The checksum of a source must be `SHA256:` and 64 hexadecimal digits.")
    })
}

/// What of a piece of output is stored, and how far the output reaches then; none when all of it was
/// stored before, or the limit was reached. A piece that begins beyond the end leaves a hole: what got
/// lost on the way must not keep away what comes after it.
pub(crate) fn output(output: &Output, reaches: u64, limit: u64) -> Answer<Option<(Piece, u64)>> {
    let end = u64::try_from(output.text.len()).ok().and_then(|length| output.offset.checked_add(length));
    let Some(end) = end else { return Err(ApiFault::invalid("The offset is too large.")) };
    if end <= reaches || reaches >= limit {
        return Ok(None);
    }
    let start = output.offset.max(reaches);
    let fresh = usize::try_from(start - output.offset).ok().and_then(|known| output.text.get(known..));
    let Some(fresh) = fresh else {
        return Err(ApiFault::invalid("The piece overlaps in the middle of a character."));
    };
    // PostgreSQL's TEXT cannot hold NUL.
    let mut text = fresh.replace('\0', "\u{fffd}");
    if end <= limit {
        return Ok(Some((Piece { start, text }, end)));
    }
    let start = start.min(limit);
    text.truncate(text.floor_char_boundary(usize::try_from(limit - start).unwrap_or(usize::MAX)));
    text.push_str(&format!("\n[what is printed beyond {limit} bytes is not kept]\n"));
    Ok(Some((Piece { start, text }, limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_branches_and_tags_that_git_accepts_are_moved() {
        for good in ["refs/heads/main", "refs/heads/a/b.c", "refs/tags/v1.0", "refs/heads/é", "refs/heads/-a"]
        {
            assert!(is_branch_or_tag(good), "{good}");
        }
        for bad in [
            "",
            "main",
            "HEAD",
            "refs/",
            "refs/heads",
            "refs/heads/",
            "refs/notes/x",
            "refs/headsx/a",
            "refs/heads/a..b",
            "refs/heads/../../x",
            "refs/heads/.a",
            "refs/heads/a/.b",
            "refs/heads/a.lock",
            "refs/heads/a.lock/b",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/a\x7f",
            "refs/heads/a~1",
            "refs/heads/a^",
            "refs/heads/a:b",
            "refs/heads/a?",
            "refs/heads/a*",
            "refs/heads/a[b",
            "refs/heads/a\\b",
            "refs/heads/a@{b",
            "refs/heads//a",
            "refs/heads/a/",
            "refs/tags/a.",
        ] {
            assert!(!is_branch_or_tag(bad), "{bad:?}");
        }
        assert!(!is_branch_or_tag(&format!("refs/heads/{}", "x".repeat(MAX_REF_NAME))));
    }

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<ConfigVarName, String> {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
    }

    fn change(pairs: &[(&str, Option<&str>)]) -> ConfigVarChange {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn a_change_names_only_what_changes() {
        let old = vars(&[("A", "1"), ("B", "2"), ("C", "3")]);
        let asked = change(&[("A", Some("1")), ("B", Some("x")), ("C", None), ("D", None), ("E", Some(""))]);
        let change = config_vars(old, asked).unwrap();
        assert_eq!(change.vars, vars(&[("A", "1"), ("B", "x"), ("E", "")]));
        assert_eq!(change.description(), "Set B, E and remove C config vars");
    }

    #[test]
    fn descriptions_read_as_herokus_and_stay_short() {
        let set = config_vars(BTreeMap::new(), change(&[("A", Some("1")), ("B", Some("2"))])).unwrap();
        assert_eq!(set.description(), "Set A, B config vars");
        let removed = config_vars(vars(&[("A", "1")]), change(&[("A", None)])).unwrap();
        assert_eq!(removed.description(), "Remove A config vars");
        let many: Vec<String> = (10..50).map(|n| format!("V{n}")).collect();
        let many: Vec<(&str, Option<&str>)> = many.iter().map(|name| (name.as_str(), Some("1"))).collect();
        let many = config_vars(BTreeMap::new(), change(&many)).unwrap();
        assert!(many.description().ends_with("V19 and 30 more config vars"), "{}", many.description());
    }

    #[test]
    fn config_vars_are_bounded_one_by_one_and_in_all() {
        let long = "x".repeat(MAX_VALUE + 1);
        assert!(config_vars(BTreeMap::new(), change(&[("A", Some(&long))])).is_err());
        assert!(config_vars(BTreeMap::new(), change(&[("A", Some("a\0b"))])).is_err());
        let full = "x".repeat(MAX_VALUE);
        let names: Vec<String> = (0..16).map(|n| format!("V{n}")).collect();
        let all: Vec<(&str, Option<&str>)> =
            names.iter().map(|n| (n.as_str(), Some(full.as_str()))).collect();
        assert!(config_vars(BTreeMap::new(), change(&all)).is_err());
        assert!(config_vars(BTreeMap::new(), change(&all[1..])).is_ok());
    }

    #[test]
    fn buildpacks_cannot_be_options_or_several_words() {
        for good in ["https://github.com/heroku/heroku-buildpack-python#v250", "python", "heroku/nodejs"] {
            assert!(buildpacks(&[good.to_owned()]).is_ok(), "{good}");
        }
        for bad in ["", "-c", "--upload-pack=x", "a b", "a\nb", "./x", "é"] {
            assert!(buildpacks(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_one_line_and_checksums_are_sha_256() {
        assert_eq!(version(Some(" v1.2 ")).unwrap().as_deref(), Some("v1.2"));
        assert_eq!((version(Some("")).unwrap(), version(None).unwrap()), (None, None));
        assert!(version(Some("a\nb")).is_err() && version(Some(&"x".repeat(MAX_VERSION + 1))).is_err());
        assert_eq!(checksum(&format!("SHA256:{}", "AB".repeat(32))).unwrap(), "ab".repeat(32));
        assert!(checksum(&"ab".repeat(32)).is_err() && checksum("SHA256:abc").is_err());
    }

    fn kept(offset: u64, text: &str, reaches: u64) -> Option<(u64, String, u64)> {
        let piece = Output { offset, text: text.to_owned() };
        output(&piece, reaches, 10).unwrap().map(|(piece, reaches)| (piece.start, piece.text, reaches))
    }

    #[test]
    fn output_is_stored_once_and_only_what_is_new() {
        assert_eq!(kept(0, "abc", 0), Some((0, "abc".to_owned(), 3)));
        assert_eq!(kept(0, "abc", 3), None);
        assert_eq!(kept(0, "abcde", 3), Some((3, "de".to_owned(), 5)));
        assert_eq!(kept(5, "xy", 3), Some((5, "xy".to_owned(), 7)));
        assert_eq!(kept(3, "", 3), None);
        assert!(output(&Output { offset: 0, text: "éa".into() }, 1, 10).is_err());
        assert!(output(&Output { offset: u64::MAX, text: "a".into() }, 0, 10).is_err());
    }

    #[test]
    fn output_beyond_the_limit_is_cut_once_and_says_so() {
        let (start, text, reaches) = kept(8, "abéd", 8).unwrap();
        assert_eq!((start, reaches), (8, 10));
        assert_eq!(text, "ab\n[what is printed beyond 10 bytes is not kept]\n");
        assert_eq!(kept(10, "more", 10), None);
        let (start, text, reaches) = kept(u64::MAX - 9, "far away", 3).unwrap();
        assert_eq!((start, reaches), (10, 10));
        assert!(text.starts_with("\n["), "{text}");
    }
}
