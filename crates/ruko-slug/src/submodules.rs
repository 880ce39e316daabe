//! Submodules: the commits of other repositories that belong into an app's tree (gitmodules(5)).
//!
//! git's own `git submodule` is not used: it works in a clone with a work tree, runs what `.gitmodules` says
//! (`update = !command`), and would need a key where the app's code can read it. Here each submodule is fetched
//! into a repository of its own, at the commit that the tree names, and only its files remain. An app of this
//! platform is handed over by the host's side; anything else is fetched from here, over ssh with the app's deploy
//! key, which stays on the host.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ruko_channel::Client;
use ruko_core::exit::one_line;
use ruko_core::{AppName, CommitId};
use ruko_sys::{Tool, ToolError};

use crate::checkout::checkout;
use crate::git::{self, Repository};
use crate::output::Output;
use crate::refusal::{Refusal, Refuse};
use crate::session;

/// So many submodules of one push, those of submodules included.
const MAX_SUBMODULES: usize = 200;
/// So many submodules within each other.
const MAX_DEPTH: usize = 10;
/// What one line of a URL may have, in bytes.
const MAX_URL: usize = 2048;

/// What restoring takes.
pub(crate) struct Restore<'a> {
    /// Where repositories are made for the time being.
    pub(crate) tmp: &'a Path,
    /// The app that is pushed.
    pub(crate) app: &'a AppName,
    /// Where apps of this platform are, `{app}` standing for the name.
    pub(crate) git_urls: &'a [String],
    /// The hosts that the app's deploy key is shown to; none where there is no such key.
    pub(crate) known_hosts: Option<&'a str>,
    /// How the network is reached: `[build.env]`.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Where the host listens.
    pub(crate) channel: &'a Path,
}

/// Where a repository is, and what URLs within it are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// An app of this platform.
    App(AppName),
    /// Elsewhere.
    Url(String),
}

/// A submodule as a tree and its `.gitmodules` name it.
#[derive(Debug)]
struct Submodule {
    path: PathBuf,
    commit: CommitId,
    url: String,
}

/// Why a URL is none that a submodule can be fetched from here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum BadUrl {
    #[error("is a path on your own machine")]
    Path,
    #[error("leads out of this platform, whose apps lie beside each other: ../OTHER-APP.git")]
    Outside,
    #[error("is none that git may fetch here: https://, http://, git:// and ssh are")]
    Scheme,
    #[error("names no host, or one that begins with a dash")]
    Host,
    #[error("is longer than {MAX_URL} bytes, or has spaces or control characters in it")]
    Form,
}

impl Restore<'_> {
    /// Fills the directories of all submodules of a commit whose tree lies at `into`; does nothing where there
    /// are none.
    pub(crate) fn run(
        &self,
        repository: &Repository,
        commit: &CommitId,
        into: &Path,
        client: &mut Client,
        output: &mut Output,
    ) -> Result<(), Refusal> {
        let mut run = Run { restore: self, client, output, restored: 0, agent: None };
        run.tree(repository, commit, into, &Origin::App(self.app.clone()), 0)
    }
}

/// A restoration that has begun.
struct Run<'a> {
    restore: &'a Restore<'a>,
    client: &'a mut Client,
    output: &'a mut Output,
    restored: usize,
    /// Where an ssh finds its agent and its known hosts, once one is needed.
    agent: Option<tempfile::TempDir>,
}

impl Run<'_> {
    fn tree(
        &mut self,
        repository: &Repository,
        commit: &CommitId,
        into: &Path,
        origin: &Origin,
        depth: usize,
    ) -> Result<(), Refusal> {
        let links = links(repository, commit)?;
        if links.is_empty() {
            return Ok(());
        }
        if depth >= MAX_DEPTH {
            return Err(Refusal::new(format!(
                "Push rejected: submodules lie more than {MAX_DEPTH} deep in each other, which is the limit."
            )));
        }
        if self.restored == 0 {
            self.output.step("Restoring submodules");
        }
        for submodule in matched(links, &listed(repository, commit)?)? {
            self.restored += 1;
            if self.restored > MAX_SUBMODULES {
                return Err(Refusal::new(format!(
                    "Push rejected: it has more than {MAX_SUBMODULES} submodules, which is the limit."
                )));
            }
            self.one(&submodule, into, origin, depth)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        submodule: &Submodule,
        into: &Path,
        origin: &Origin,
        depth: usize,
    ) -> Result<(), Refusal> {
        let Submodule { path, commit, url } = submodule;
        let name = shown(path.as_os_str().as_bytes());
        let found = resolve(url, origin, self.restore.git_urls).map_err(|why| {
            Refusal::new(format!(
                "Push rejected: the URL of the submodule {name}, {}, {why}.\nMend it in .gitmodules, `git submodule \
                 sync`, commit and push again.",
                redacted(url)
            ))
        })?;
        let dir = tempfile::Builder::new().prefix("submodule_").tempdir_in(self.restore.tmp);
        let dir = dir.refuse("Push rejected: cannot make a directory for a submodule")?;
        let repository = match &found {
            Origin::App(app) => {
                self.output.detail(format!("{name} from the app {app}"));
                self.of_app(app, commit, &name, dir.path())?
            }
            Origin::Url(url) => {
                self.output.detail(format!("{name} from {}", redacted(url)));
                self.of_url(url, commit, &name, dir.path())?
            }
        };
        if !has_commit(&repository, commit)? {
            return Err(no_commit(&name, commit, &found));
        }
        let target = into.join(path);
        // git made an empty directory for it; a tree that says otherwise does not get that far.
        fs::remove_dir(&target).refuse(format!("Push rejected: cannot restore the submodule {name}"))?;
        checkout(&repository, commit, &target).refuse(format!("Push rejected: the submodule {name}"))?;
        self.tree(&repository, commit, &target, &found, depth + 1)
    }

    fn of_app(
        &mut self,
        app: &AppName,
        commit: &CommitId,
        name: &str,
        dir: &Path,
    ) -> Result<Repository, Refusal> {
        let stored = dir.join("stored");
        fs::create_dir(&stored).refuse("Push rejected: cannot make a directory for a submodule")?;
        let given = self.client.submodule(app, |archive| session::unpack(archive, &stored));
        let given = given.map_err(|e| match e {
            ruko_channel::ClientError::Refused(why) => {
                Refusal::new(format!("Push rejected: the submodule {name} cannot be restored.\n{why}"))
            }
            e => Refusal::because("Push rejected: cannot fetch a submodule", &e),
        })?;
        match given {
            None => Err(Refusal::new(format!(
                "Push rejected: nothing was ever pushed to {app}, the submodule {name}."
            ))),
            Some(unpacked) => {
                unpacked.map_err(|fault| Refusal::new(format!("Push rejected: {fault}")))?;
                let stored = Repository::at(stored);
                if !has_commit(&stored, commit)? {
                    return Err(no_commit(name, commit, &Origin::App(app.clone())));
                }
                fetched_from(&stored, app, commit, name, &dir.join("fetched"))
            }
        }
    }

    /// As little as possible first: the one commit. Servers that do not give it are asked for everything.
    fn of_url(
        &mut self,
        url: &str,
        commit: &CommitId,
        name: &str,
        dir: &Path,
    ) -> Result<Repository, Refusal> {
        let ssh = if is_ssh(url) { Some(self.ssh(name, url)?) } else { None };
        let git = || self.git(ssh.as_deref()).arg("-C").arg(dir);
        init(dir)?;
        let fetch = || git().args(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]);
        let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let fetched = match fetch().args(["--depth=1", "--", url, commit.as_str()]).run() {
            Err(why) if not_alone(&why) => fetch().args(["--", url]).args(all).run(),
            outcome => outcome,
        };
        fetched.map_err(|why| not_fetched(name, url, &why))?;
        Ok(Repository::at(dir))
    }

    /// git as it fetches: it may ask nobody, and may speak nothing that runs commands.
    fn git(&self, ssh: Option<&str>) -> Tool {
        let tool = self.restore.env.iter().fold(git::plain(), |tool, (name, value)| tool.env(name, value));
        tool.env("GIT_ALLOW_PROTOCOL", "https:http:git:ssh")
            .env("GIT_SSH_COMMAND", ssh.unwrap_or("false"))
            .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
            .env("GIT_HTTP_LOW_SPEED_TIME", "60")
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "http.followRedirects=initial"])
    }

    /// The ssh that shows the app's deploy key to the hosts that were named for it, and to no other.
    fn ssh(&mut self, name: &str, url: &str) -> Result<String, Refusal> {
        let Some(known_hosts) = self.restore.known_hosts else {
            return Err(Refusal::new(format!(
                "Push rejected: the submodule {name} is fetched over ssh ({}), and the app has no key for that.\n\
                 Make one: openruko deploy-key:create --host {}\nIf the repository is public, its https:// URL \
                 needs no key.",
                redacted(url),
                host(url)
            )));
        };
        if self.agent.is_none() {
            let failed = "Push rejected: cannot prepare ssh for the submodules";
            let dir =
                tempfile::Builder::new().prefix("agent_").tempdir_in(self.restore.tmp).refuse(failed)?;
            fs::write(dir.path().join("known_hosts"), known_hosts).refuse(failed)?;
            ruko_channel::listen_for_agent(&dir.path().join("sock"), self.restore.channel).refuse(failed)?;
            self.agent = Some(dir);
        }
        let dir = self.agent.as_ref().map(|dir| dir.path().display().to_string()).unwrap_or_default();
        Ok(format!(
            "ssh -F none -o BatchMode=yes -o IdentityAgent={dir}/sock -o IdentityFile=none \
             -o UserKnownHostsFile={dir}/known_hosts -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes \
             -o UpdateHostKeys=no -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no \
             -o ConnectTimeout=20 -o ServerAliveInterval=15"
        ))
    }
}

/// The commit out of what another app has stored, in a repository of its own at `dir`.
///
/// A build of that app could have stored anything, and git trusts what lies in a repository: it checks an object out
/// by the name of its file. What git fetches it names by its own digest, and it takes nothing that lacks a part.
fn fetched_from(
    stored: &Repository,
    app: &AppName,
    commit: &CommitId,
    name: &str,
    dir: &Path,
) -> Result<Repository, Refusal> {
    fs::create_dir(dir).refuse("Push rejected: cannot make a directory for a submodule")?;
    init(dir)?;
    let fetch = git::plain()
        .env("GIT_ALLOW_PROTOCOL", "file")
        .arg("-C")
        .arg(dir)
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .args(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--depth=1"])
        .args(["--upload-pack=git -c uploadpack.allowAnySHA1InWant=true upload-pack", "--"])
        .arg(stored.dir())
        .arg(commit.as_str());
    fetch.run().map_err(|why| {
        let said = match &why {
            ToolError::Failed { stderr, .. } => one_line(stderr),
            spawn @ ToolError::Spawn { .. } => spawn.to_string(),
        };
        Refusal::new(format!(
            "Push rejected: the commit {commit}, the submodule {name}, cannot be taken from what the app {app} has \
             stored: {}\nIt may be damaged, or a build of {app} put something else under that name. Ask the owner of \
             {app}.",
            shown(said.as_bytes())
        ))
    })?;
    Ok(Repository::at(dir))
}

fn init(dir: &Path) -> Result<(), Refusal> {
    let made = git::plain().arg("-C").arg(dir).args(["init", "--quiet", "--bare"]).run();
    made.refuse("Push rejected: cannot make a repository for a submodule")
}

fn has_commit(repository: &Repository, commit: &CommitId) -> Result<bool, Refusal> {
    let kinds = repository.kinds(std::slice::from_ref(commit)).refuse("Push rejected")?;
    Ok(kinds.first().and_then(Option::as_deref) == Some("commit"))
}

fn no_commit(name: &str, commit: &CommitId, origin: &Origin) -> Refusal {
    let from = match origin {
        Origin::App(app) => format!("the app {app}"),
        Origin::Url(url) => redacted(url),
    };
    Refusal::new(format!(
        "Push rejected: the submodule {name} has no commit {commit} in {from}.\nPush it there first, then push the \
         app again."
    ))
}

/// The gitlinks of a commit, by path.
fn links(repository: &Repository, commit: &CommitId) -> Result<BTreeMap<Vec<u8>, CommitId>, Refusal> {
    let listed = repository.git().args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]).output();
    let listed = listed.refuse("Push rejected: cannot list the tree")?;
    let mut found = BTreeMap::new();
    for entry in listed.split(|&b| b == 0) {
        // MODE TYPE ID<tab>PATH
        let Some(rest) = entry.strip_prefix(b"160000 commit ") else { continue };
        let Some(tab) = rest.iter().position(|&b| b == b'\t') else { continue };
        let id = String::from_utf8_lossy(&rest[..tab]).parse().refuse("Push rejected: a submodule")?;
        found.insert(rest[tab + 1..].to_vec(), id);
    }
    Ok(found)
}

/// What `.gitmodules` says: the URL of each path. Read by git itself, out of the commit and not out of the work
/// tree, where it could be a link.
fn listed(repository: &Repository, commit: &CommitId) -> Result<BTreeMap<Vec<u8>, String>, Refusal> {
    let blob = format!("--blob={commit}:.gitmodules");
    let read = repository.git().args(["config", &blob, "-z", "--get-regexp", r"^submodule\..*\.(path|url)$"]);
    match read.output() {
        Ok(text) => Ok(parse_listed(&text)),
        // No such blob, or nothing of that name in it.
        Err(ToolError::Failed { .. }) => Ok(BTreeMap::new()),
        Err(e) => Err(e).refuse("Push rejected: cannot read .gitmodules"),
    }
}

/// `KEY\nVALUE\0`; of several values the last counts, as in git.
fn parse_listed(text: &[u8]) -> BTreeMap<Vec<u8>, String> {
    let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for entry in text.split(|&b| b == 0) {
        let Some(end) = entry.iter().position(|&b| b == b'\n') else { continue };
        let (key, value) = (&entry[..end], &entry[end + 1..]);
        if let Some(name) = key.strip_suffix(b".path") {
            paths.insert(name.to_vec(), value.strip_suffix(b"/").unwrap_or(value).to_vec());
        } else if let Some(name) = key.strip_suffix(b".url") {
            urls.insert(name.to_vec(), String::from_utf8_lossy(value).into_owned());
        }
    }
    paths.into_iter().filter_map(|(name, path)| Some((path, urls.remove(&name)?))).collect()
}

fn matched(
    links: BTreeMap<Vec<u8>, CommitId>,
    urls: &BTreeMap<Vec<u8>, String>,
) -> Result<Vec<Submodule>, Refusal> {
    let submodule = |(path, commit): (Vec<u8>, CommitId)| match urls.get(&path) {
        Some(url) => Ok(Submodule { path: OsStr::from_bytes(&path).into(), commit, url: url.clone() }),
        None => Err(Refusal::new(format!(
            "Push rejected: {0} is a submodule, and .gitmodules has no URL for it.\nAdd it with `git submodule add URL \
             {0}`, or take it out: git rm --cached {0}",
            shown(&path)
        ))),
    };
    links.into_iter().map(submodule).collect()
}

/// Where a submodule is, told by its URL and by where the repository is that names it.
fn resolve(url: &str, origin: &Origin, git_urls: &[String]) -> Result<Origin, BadUrl> {
    let is_plain = |url: &str| url.bytes().all(|b| b.is_ascii_graphic() || !b.is_ascii());
    if url.is_empty() || url.len() > MAX_URL || !is_plain(url) {
        return Err(BadUrl::Form);
    }
    let is_relative = url.starts_with("./") || url.starts_with("../");
    match origin {
        Origin::App(app) if is_relative => beside(app, url),
        Origin::Url(base) if is_relative => absolute(&joined(base, url).ok_or(BadUrl::Host)?, git_urls),
        _ => absolute(url, git_urls),
    }
}

/// Apps lie beside each other, and nothing else does.
fn beside(app: &AppName, url: &str) -> Result<Origin, BadUrl> {
    let mut path = vec![app.as_str()];
    for part in url.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop().ok_or(BadUrl::Outside)?;
            }
            part => path.push(part),
        }
    }
    match path[..] {
        [name] => named(name).ok_or(BadUrl::Outside),
        _ => Err(BadUrl::Outside),
    }
}

fn named(name: &str) -> Option<Origin> {
    let name = name.trim_end_matches('/');
    name.strip_suffix(".git").unwrap_or(name).parse().ok().map(Origin::App)
}

/// As git does it: each `../` takes a component of the base's path off.
fn joined(base: &str, url: &str) -> Option<String> {
    let (host, separator, path) = match base.split_once("://") {
        Some((scheme, rest)) => {
            let cut = scheme.len() + "://".len() + rest.find('/')?;
            (&base[..cut], "/", &base[cut + 1..])
        }
        None => match base.split_once(':')? {
            (host, path) if path.starts_with('/') => (host, ":/", &path[1..]),
            (host, path) => (host, ":", path),
        },
    };
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for part in url.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| format!("{host}{separator}{}", parts.join("/")))
}

fn absolute(url: &str, git_urls: &[String]) -> Result<Origin, BadUrl> {
    if let Some(app) = git_urls.iter().find_map(|pattern| of_platform(url, pattern)) {
        return Ok(app);
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return match url.split_once(':') {
            // As scp has it: HOST:PATH. `ext::sh` and its like run commands.
            Some((host, path)) if !host.contains('/') && !path.starts_with(':') => {
                let name = host.rsplit('@').next().unwrap_or_default();
                if name.is_empty() || host.starts_with('-') || name.starts_with('-') || path.starts_with('-')
                {
                    return Err(BadUrl::Host);
                }
                Ok(Origin::Url(url.to_owned()))
            }
            Some((_, path)) if path.starts_with(':') => Err(BadUrl::Scheme),
            _ => Err(BadUrl::Path),
        };
    };
    match scheme {
        "https" | "http" | "git" | "ssh" => {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            if host.is_empty() || host.starts_with('-') || authority.starts_with('-') {
                return Err(BadUrl::Host);
            }
            Ok(Origin::Url(url.to_owned()))
        }
        "file" => Err(BadUrl::Path),
        _ => Err(BadUrl::Scheme),
    }
}

fn of_platform(url: &str, pattern: &str) -> Option<Origin> {
    let (before, after) = pattern.split_once("{app}")?;
    let name = url.strip_prefix(before)?.trim_end_matches('/');
    named(name.strip_suffix(after).unwrap_or(name))
}

fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh://") || !url.contains("://")
}

/// The host of a URL that was let through.
fn host(url: &str) -> String {
    let authority = match url.split_once("://") {
        Some((_, rest)) => rest.split('/').next(),
        None => url.split(':').next(),
    };
    let host = authority.unwrap_or_default().rsplit('@').next().unwrap_or_default();
    shown(host.as_bytes())
}

/// Whether a server was reached that does not give a commit alone; one that is not reached need not be tried twice.
fn not_alone(why: &ToolError) -> bool {
    const SAID: [&str; 4] = ["not our ref", "unadvertised object", "find remote ref", "shallow"];
    matches!(why, ToolError::Failed { stderr, .. } if SAID.iter().any(|said| stderr.contains(said)))
}

/// What git and ssh said, and what to do about it.
fn not_fetched(name: &str, url: &str, why: &ToolError) -> Refusal {
    let said = match why {
        ToolError::Failed { stderr, .. } => stderr.replace(url, &redacted(url)),
        spawn @ ToolError::Spawn { .. } => spawn.to_string(),
    };
    let hint =
        if said.contains("Host key verification failed") || said.contains("No ED25519 host key is known") {
            format!(
                "The host is not one that the deploy key is shown to: openruko deploy-key:trust {}",
                host(url)
            )
        } else if said.contains("Permission denied") {
            "Add the app's deploy key there as one that may read: openruko deploy-key".to_owned()
        } else if said.contains("could not read Username") || said.contains("Authentication failed") {
            "It is private, or not there. Give it an ssh URL, and the app a key: openruko deploy-key:create"
                .to_owned()
        } else {
            "Does the URL in .gitmodules still lead there?".to_owned()
        };
    Refusal::new(format!(
        "Push rejected: cannot fetch the submodule {name} from {}: {}\n{hint}",
        redacted(url),
        shown(one_line(&said).as_bytes())
    ))
}

/// Without user and password, short and without control characters.
fn redacted(url: &str) -> String {
    let open = match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[end..])
        }
        None => url.to_owned(),
    };
    shown(open.split('?').next().unwrap_or_default().as_bytes())
}

/// Foreign text: lossy, short and without control characters.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(300).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns() -> Vec<String> {
        vec!["ssh://git@paas.test:2222/{app}.git".into(), "https://git.paas.test/{app}.git".into()]
    }

    fn from_app(url: &str) -> Result<Origin, BadUrl> {
        resolve(url, &Origin::App("shop".parse().unwrap()), &patterns())
    }

    fn app(name: &str) -> Result<Origin, BadUrl> {
        Ok(Origin::App(name.parse().unwrap()))
    }

    fn url(url: &str) -> Result<Origin, BadUrl> {
        Ok(Origin::Url(url.to_owned()))
    }

    #[test]
    fn an_app_of_the_platform_is_known_by_any_of_its_urls() {
        for named in [
            "../lib.git",
            "../lib",
            "./../lib.git/",
            "ssh://git@paas.test:2222/lib.git",
            "ssh://git@paas.test:2222/lib",
            "https://git.paas.test/lib.git/",
        ] {
            assert_eq!(from_app(named), app("lib"), "{named}");
        }
        assert_eq!(from_app("https://git.paas.test/org/lib.git"), url("https://git.paas.test/org/lib.git"));
    }

    #[test]
    fn urls_within_a_submodule_are_relative_to_it() {
        let within = |base: &str, relative: &str| resolve(relative, &Origin::Url(base.into()), &patterns());
        assert_eq!(within("https://h.test/o/a.git", "../b.git"), url("https://h.test/o/b.git"));
        assert_eq!(within("https://h.test/o/a/", "../../p/b"), url("https://h.test/p/b"));
        assert_eq!(within("git@h.test:o/a.git", "../b.git"), url("git@h.test:o/b.git"));
        assert_eq!(within("git@h.test:a.git", "../b.git"), url("git@h.test:b.git"));
        assert_eq!(within("https://h.test/a.git", "./b"), url("https://h.test/a.git/b"));
        assert_eq!(within("ssh://git@paas.test:2222/a.git", "../lib.git"), app("lib"));
        assert!(within("https://h.test/a.git", "../../../b").is_err());
    }

    #[test]
    fn what_leads_elsewhere_or_runs_something_is_refused_with_the_reason() {
        for (bad, why) in [
            ("../../lib.git", BadUrl::Outside),
            ("../org/lib.git", BadUrl::Outside),
            ("./lib.git", BadUrl::Outside),
            ("../Not_An_App", BadUrl::Outside),
            ("/home/me/lib", BadUrl::Path),
            ("lib", BadUrl::Path),
            ("file:///srv/lib.git", BadUrl::Path),
            ("ext::sh -c id", BadUrl::Form),
            ("ext::sh", BadUrl::Scheme),
            ("fd::7", BadUrl::Scheme),
            ("ftp://h.test/lib", BadUrl::Scheme),
            ("ssh://-oProxyCommand=id/x", BadUrl::Host),
            ("ssh://u@-oProxyCommand=id/x", BadUrl::Host),
            ("-oProxyCommand=id:x", BadUrl::Host),
            ("git@-x:lib", BadUrl::Host),
            ("git@h.test:-x", BadUrl::Host),
            ("https://", BadUrl::Host),
            ("", BadUrl::Form),
            ("https://h.test/a\nb", BadUrl::Form),
        ] {
            assert_eq!(from_app(bad), Err(why), "{bad:?}");
        }
        assert_eq!(from_app(&format!("https://h.test/{}", "x".repeat(MAX_URL))), Err(BadUrl::Form));
    }

    #[test]
    fn gitmodules_is_read_by_path_and_the_last_value_counts() {
        let text = b"submodule.a.path\nlib/a/\0submodule.a.url\nhttps://one\0submodule.a.url\nhttps://two\0\
                     submodule.x.y.path\nb\0submodule.no.url\nhttps://none\0";
        let read = parse_listed(text);
        assert_eq!(read.len(), 1);
        assert_eq!(read[&b"lib/a"[..]], "https://two");
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(redacted("https://u:secret@h.test/x.git?token=secret"), "https://h.test/x.git");
        let why = ToolError::Failed {
            command: "git fetch".into(),
            status: std::os::unix::process::ExitStatusExt::from_raw(256),
            stderr: "fatal: unable to access 'https://u:secret@h.test/x/': no".into(),
        };
        assert!(!not_fetched("x", "https://u:secret@h.test/x", &why).to_string().contains("secret"));
    }

    proptest! {
        #[test]
        fn no_argument_of_git_begins_with_a_dash_or_names_a_helper(text in "[-a-z./:@]{1,30}") {
            if let Ok(Origin::Url(url)) = from_app(&text) {
                // `HELPER::ADDRESS` runs git-remote-HELPER (gitremote-helpers(7)).
                let helper = url.split_once("::").map(|(before, _)| before);
                prop_assert!(helper.is_none_or(|before| before.contains([':', '/', '@'])), "{}", url);
                prop_assert!(!url.starts_with('-'), "{}", url);
                let host = host(&url);
                prop_assert!(!host.is_empty() && !host.starts_with('-'), "{}", url);
            }
        }
    }
}
