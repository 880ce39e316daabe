//! What a push wants to move, and whether it may. The judgement is complete: what it lets through, git's
//! own update of the refs does not refuse afterwards. That matters, since by then the push is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use ruko_core::CommitId;
use ruko_core::names::is_ref_name;

use crate::refusal::Refusal;

/// Ref updates that one push may carry: all of them travel in one message to the host.
pub const MAX_UPDATES: usize = 5000;

/// Bytes of all ref updates of one push. In the message to the host a byte becomes three at most, which
/// together fit [`ruko_channel::MAX_MESSAGE`].
pub const MAX_BYTES: usize = 1 << 20;

/// Bytes of a ref's name.
const MAX_NAME: usize = 512;

/// Bytes between two slashes: git makes a file of that name and one with `.lock` behind it, and a file
/// name has 255.
const MAX_COMPONENT: usize = 240;

/// The name of a ref as git sent it: any bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefName(Vec<u8>);

impl RefName {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Without `refs/heads/` or `refs/tags/`, for people.
    pub fn short(&self) -> String {
        let short = ["refs/heads/", "refs/tags/"].iter().find_map(|p| self.0.strip_prefix(p.as_bytes()));
        shown(short.unwrap_or(&self.0))
    }

    /// Whether it is a tag.
    pub fn is_tag(&self) -> bool {
        self.0.starts_with(b"refs/tags/")
    }
}

impl From<&[u8]> for RefName {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// Lossy, short and without control characters: a ref's name is foreign text.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// One ref update, as git tells it to its hooks (githooks(5), pre-receive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The id that the client believes the ref to have; the null id when it is new.
    pub old: CommitId,
    /// The id it gets; the null id when it is deleted.
    pub new: CommitId,
    /// The ref.
    pub name: RefName,
}

impl Update {
    /// Whether it deletes the ref.
    pub fn is_deletion(&self) -> bool {
        self.new.is_null()
    }

    /// As it is told to the host.
    pub fn to_record(&self) -> ruko_api_types::RefUpdate {
        let name = String::from_utf8_lossy(&self.name.0).into_owned();
        ruko_api_types::RefUpdate { name, old: self.old.clone(), new: self.new.clone() }
    }
}

/// Reads the lines that git gives its pre-receive hook: `OLD NEW NAME`.
///
/// # Errors
/// There are more than [`MAX_UPDATES`], or a line is none of git's.
pub fn parse(input: &[u8]) -> Result<Vec<Update>, Refusal> {
    let lines: Vec<&[u8]> = input.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.len() > MAX_UPDATES {
        return Err(Refusal::new(format!(
            "Push rejected: it updates {} refs at once, and {MAX_UPDATES} is the limit.\nPush them in parts.",
            lines.len()
        )));
    }
    lines.into_iter().map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Result<Update, Refusal> {
    let id = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let mut words = line.splitn(3, |&b| b == b' ');
    let update = (|| {
        let (old, new) = (id(words.next()?)?, id(words.next()?)?);
        Some(Update { old, new, name: RefName::from(words.next()?) })
    })();
    update.ok_or_else(|| Refusal::new(format!("git sent a ref update that is none: {}", shown(line))))
}

/// What the repository knows about the refs and objects of a push.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All refs as they are.
    pub refs: BTreeMap<Vec<u8>, CommitId>,
    /// Those of the pushed ids that are no commits.
    pub not_commits: BTreeSet<CommitId>,
}

/// What is to be done with a push that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The update that makes a release, if there is one.
    pub deploy: Option<&'a Update>,
}

/// Judges a push as a whole.
///
/// # Errors
/// Why it is refused, and what to do.
pub fn judge<'a>(
    updates: &'a [Update],
    known: &Known,
    deploy_refs: &[String],
) -> Result<Verdict<'a>, Refusal> {
    let is_deploy = |update: &&Update| deploy_refs.iter().any(|name| name.as_bytes() == update.name.0);
    for update in updates {
        judge_name(&update.name)?;
        judge_ids(update, known)?;
    }
    judge_conflicts(updates, known)?;
    if let Some(deleted) = updates.iter().filter(is_deploy).find(|update| update.is_deletion()) {
        return Err(Refusal::new(format!(
            "Push rejected: {} cannot be deleted, the app is deployed from it.",
            deleted.name.short()
        )));
    }
    let deploys: Vec<&Update> = updates.iter().filter(is_deploy).collect();
    match deploys[..] {
        [] => Ok(Verdict { deploy: None }),
        [deploy] => Ok(Verdict { deploy: Some(deploy) }),
        [first, second, ..] => Err(Refusal::new(format!(
            "Push rejected: {} and {} would both be deployed.\nPush one of them: git push openruko {}",
            first.name.short(),
            second.name.short(),
            first.name.short()
        ))),
    }
}

fn judge_name(name: &RefName) -> Result<(), Refusal> {
    if !name.0.starts_with(b"refs/heads/") && !name.0.starts_with(b"refs/tags/") {
        return Err(Refusal::new(format!(
            "Push rejected: {name} is neither a branch nor a tag.\nOnly refs/heads/ and refs/tags/ are taken."
        )));
    }
    if !is_ref_name(&name.0) {
        return Err(Refusal::new(format!("Push rejected: {name} is not a name that git accepts for a ref.")));
    }
    if name.0.len() > MAX_NAME || name.0.split(|&b| b == b'/').any(|part| part.len() > MAX_COMPONENT) {
        return Err(Refusal::new(format!(
            "Push rejected: the name {name}… is too long.\nA ref's name has at most {MAX_NAME} bytes, and \
             {MAX_COMPONENT} between two slashes."
        )));
    }
    Ok(())
}

fn judge_ids(update: &Update, known: &Known) -> Result<(), Refusal> {
    let current = known.refs.get(update.name.as_bytes());
    if current.map_or(!update.old.is_null(), |id| *id != update.old) {
        return Err(Refusal::new(format!(
            "Push rejected: {} is not where your git believed it to be.\nRun git fetch and push again.",
            update.name.short()
        )));
    }
    // git keeps anything but commits off branches when it writes the ref, which is after this hook.
    if !update.name.is_tag() && known.not_commits.contains(&update.new) {
        return Err(Refusal::new(format!(
            "Push rejected: what was pushed to the branch {0} is not a commit.\nTo push a tag to a branch: git \
             push openruko 'TAG^{{commit}}:{0}'",
            update.name.short()
        )));
    }
    Ok(())
}

/// A ref is a file to git, so `a` and `a/b` cannot both be. A name that this same push frees counts as
/// taken: git updates ref by ref, in an order that is not ours.
fn judge_conflicts(updates: &[Update], known: &Known) -> Result<(), Refusal> {
    let mut names: BTreeSet<&[u8]> = known.refs.keys().map(Vec::as_slice).collect();
    let mut pushed = BTreeSet::new();
    for update in updates {
        if !pushed.insert(update.name.as_bytes()) {
            return Err(Refusal::new(format!("Push rejected: it updates {} twice.", update.name.short())));
        }
    }
    names.extend(&pushed);
    for update in updates.iter().filter(|update| update.old.is_null()) {
        if let Some(other) = conflict(update.name.as_bytes(), &names) {
            return Err(Refusal::new(format!(
                "Push rejected: {} and {} cannot exist together.\nDelete or rename one of them, in a push of \
                 its own.",
                update.name.short(),
                RefName::from(other).short()
            )));
        }
    }
    Ok(())
}

/// Another of the names that would have to be a directory of this one, or the other way round.
fn conflict<'a>(name: &[u8], names: &BTreeSet<&'a [u8]>) -> Option<&'a [u8]> {
    let above = name.iter().enumerate().filter(|&(_, &b)| b == b'/').find_map(|(i, _)| names.get(&name[..i]));
    let directory = [name, b"/"].concat();
    let from = (Bound::Included(directory.as_slice()), Bound::Unbounded);
    let below = || names.range::<[u8], _>(from).next().filter(|other| other.starts_with(&directory));
    above.or_else(below).copied()
}

/// What a push is told whose refs are stored but not deployed.
pub fn not_deployed(updates: &[Update], deploy_refs: &[String]) -> Vec<String> {
    let branches: Vec<&str> = deploy_refs.iter().map(|r| r.trim_start_matches("refs/heads/")).collect();
    let Some(target) = branches.first() else { return vec!["No ref of this app is deployed.".into()] };
    let pushed: Vec<&Update> = updates.iter().filter(|update| !update.is_deletion()).collect();
    let Some(first) = pushed.first() else { return vec![] };
    let names: Vec<String> = pushed.iter().take(5).map(|update| update.name.short()).collect();
    let more = if pushed.len() > names.len() { ", …" } else { "" };
    let source = source(&first.name);
    vec![
        format!(
            "Pushed to {}{more}, which is not deployed; push to {} to deploy it:",
            names.join(", "),
            branches.join(" or ")
        ),
        format!("git push openruko {source}:{target}"),
    ]
}

/// What is typed for a ref: quoted where a shell, or git's options, would see something else in it.
fn source(name: &RefName) -> String {
    let short = name.short();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/+@-".contains(&b);
    let text = match short.starts_with('-') {
        true => name.to_string(),
        false => short,
    };
    match name.is_tag() {
        false if text.bytes().all(plain) => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
        true => format!("'{}^{{commit}}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn update(old: char, new: char, name: &str) -> Update {
        Update { old: id(old), new: id(new), name: RefName::from(name.as_bytes()) }
    }

    fn deploy_refs() -> Vec<String> {
        vec!["refs/heads/main".into(), "refs/heads/master".into()]
    }

    fn known(refs: &[(&str, char)]) -> Known {
        let refs = refs.iter().map(|(name, digit)| (name.as_bytes().to_vec(), id(*digit))).collect();
        Known { refs, not_commits: BTreeSet::from([id('b')]) }
    }

    fn refused(updates: &[Update], known: &Known) -> String {
        judge(updates, known, &deploy_refs()).unwrap_err().to_string()
    }

    #[test]
    fn a_push_to_main_is_a_deploy_and_may_bring_tags() {
        let updates = [update('0', '2', "refs/tags/v1"), update('1', '2', "refs/heads/main")];
        let known = known(&[("refs/heads/main", '1')]);
        assert_eq!(judge(&updates, &known, &deploy_refs()).unwrap().deploy, Some(&updates[1]));
    }

    #[test]
    fn other_branches_and_tags_are_stored_only() {
        let updates = [update('0', '1', "refs/heads/feature"), update('0', '1', "refs/tags/main")];
        assert_eq!(judge(&updates, &Known::default(), &deploy_refs()).unwrap().deploy, None);
        let lines = not_deployed(&updates, &deploy_refs());
        assert_eq!(
            lines[0],
            "Pushed to feature, main, which is not deployed; push to main or master to deploy it:"
        );
        assert_eq!(lines[1], "git push openruko feature:main");
        assert_eq!(not_deployed(&updates[1..], &deploy_refs())[1], "git push openruko 'main^{commit}':main");
    }

    #[test]
    fn what_is_to_be_typed_can_be_typed() {
        let typed = |name: &str| not_deployed(&[update('0', '1', name)], &deploy_refs())[1].clone();
        assert_eq!(typed("refs/heads/feature/x"), "git push openruko feature/x:main");
        assert_eq!(typed("refs/heads/-x"), "git push openruko refs/heads/-x:main");
        assert_eq!(typed("refs/heads/$(id);it's"), "git push openruko '$(id);it'\\''s':main");
        assert_eq!(typed("refs/tags/-x"), "git push openruko 'refs/tags/-x^{commit}':main");
    }

    #[test]
    fn what_may_not_be_is_refused() {
        let none = Known::default();
        for name in
            ["refs/notes/x", "refs/for/main", "HEAD", "refs/heads", "refs/changes/1", "refs/replace/x"]
        {
            assert!(
                refused(&[update('0', '1', name)], &none).contains("neither a branch nor a tag"),
                "{name}"
            );
        }
        let main = known(&[("refs/heads/main", '1')]);
        assert!(refused(&[update('1', '0', "refs/heads/main")], &main).contains("cannot be deleted"));
        let both = [update('0', '1', "refs/heads/main"), update('0', '1', "refs/heads/master")];
        assert!(refused(&both, &none).contains("Push one of them"));
        assert!(refused(&[update('2', '3', "refs/heads/main")], &main).contains("git fetch"));
        assert!(refused(&[update('0', '3', "refs/heads/main")], &main).contains("git fetch"));
        assert!(refused(&[update('2', '0', "refs/heads/x")], &none).contains("git fetch"));
        assert!(refused(&[update('0', 'b', "refs/heads/x")], &main).contains("not a commit"));
        assert!(judge(&[update('0', 'b', "refs/tags/x")], &main, &deploy_refs()).is_ok());
    }

    #[test]
    fn files_and_directories_of_refs_cannot_share_a_name() {
        let known = known(&[("refs/heads/a", '1'), ("refs/heads/d/e", '1'), ("refs/heads/d-e", '1')]);
        assert!(refused(&[update('0', '1', "refs/heads/a/b")], &known).contains("cannot exist together"));
        assert!(refused(&[update('0', '1', "refs/heads/d")], &known).contains("cannot exist together"));
        let freed = [update('1', '0', "refs/heads/a"), update('0', '1', "refs/heads/a/b")];
        assert!(refused(&freed, &known).contains("push of its own"));
        let both = [update('0', '1', "refs/heads/x"), update('0', '1', "refs/heads/x/y")];
        assert!(refused(&both, &known).contains("cannot exist together"));
        let twice = [update('0', '1', "refs/heads/x"), update('0', '1', "refs/heads/x")];
        assert!(refused(&twice, &known).contains("twice"));
        assert!(judge(&[update('0', '1', "refs/heads/ab")], &known, &deploy_refs()).is_ok());
    }

    #[test]
    fn a_long_name_is_refused_before_git_cannot_make_its_file() {
        let long = format!("refs/heads/{}", "x".repeat(250));
        assert!(refused(&[update('0', '1', &long)], &Known::default()).contains("too long"));
        let deep = format!("refs/heads/{}x", "x/".repeat(300));
        assert!(refused(&[update('0', '1', &deep)], &Known::default()).contains("too long"));
    }

    #[test]
    fn too_many_updates_are_refused_with_both_numbers() {
        let line = format!("{} {} refs/tags/x\n", id('0'), id('1'));
        let refusal = parse(line.repeat(MAX_UPDATES + 1).as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("5001") && refusal.contains("5000"), "{refusal}");
    }

    #[test]
    fn foreign_names_cannot_drive_a_terminal() {
        let refusal = refused(&[update('0', '1', "refs/x\x1b[31m")], &Known::default());
        assert!(!refusal.contains('\x1b'));
    }

    proptest! {
        #[test]
        fn lines_of_git_are_read_back(name in proptest::collection::vec(1u8..=255, 1..60)) {
            prop_assume!(!name.contains(&b'\n'));
            let line = [format!("{} {} ", id('0'), id('a')).as_bytes(), &name, b"\n"].concat();
            let updates = parse(&line).unwrap();
            prop_assert_eq!(updates[0].name.as_bytes(), &name[..]);
        }

        #[test]
        fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(updates) = parse(&input) {
                let _ = judge(&updates, &Known::default(), &deploy_refs());
            }
        }

        /// Whatever set of names is let through, none of them is a directory of another.
        #[test]
        fn names_let_through_never_conflict(names in proptest::collection::vec("[ab](/[ab]){0,3}", 1..6)) {
            let updates: Vec<_> =
                names.iter().map(|name| update('0', '1', &format!("refs/heads/{name}"))).collect();
            let conflicting = names.iter().enumerate().any(|(i, a)| {
                names.iter().enumerate().any(|(j, b)| i != j && (a == b || b.starts_with(&format!("{a}/"))))
            });
            prop_assert_eq!(judge(&updates, &Known::default(), &deploy_refs()).is_err(), conflicting);
        }
    }
}
