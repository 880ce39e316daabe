//! The host side of a push: what its container may ask for, and what is believed of what it says.

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ruko_api_client::{ApiClient, ApiClientError};
use ruko_api_types::{Commit, CommitRelease, Committed, Manifest, Output, Push, RefUpdate, Stored};
use ruko_channel::{BuildRequest, CommitRequest, Host, Refusal};
use ruko_core::exit::{chain, one_line};

use crate::container::Container;
use crate::storage;

/// More refs than this in one push are refused.
const MAX_REFS: usize = 10_000;
/// The longest ref name, command and buildpack name that is recorded, in bytes.
const MAX_TEXT: usize = 4096;
/// How often a commit is sent before its push gives up, and how long it waits between.
const COMMIT_TRIES: u32 = 10;
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
/// More process types than this are refused.
const MAX_PROCESS_TYPES: usize = 100;

/// The host side of one push.
pub(crate) struct PushHost<'a> {
    api: &'a ApiClient,
    push: &'a Push,
    container: &'a Container,
    env: std::collections::BTreeMap<String, String>,
    state: Mutex<State>,
    output: Mutex<u64>,
}

/// What happened so far.
#[derive(Default)]
struct State {
    slug: Option<Stored>,
    repo: Option<Stored>,
    committed: Option<Committed>,
    failure: Option<String>,
    heard: bool,
    /// A commit was sent and its answer never came: it may have been made.
    in_doubt: bool,
}

/// How a push went, as far as its container said anything.
pub(crate) enum Outcome {
    /// Committed.
    Committed(Committed),
    /// The build failed, and said why.
    Failed(String),
    /// git asked for a build and then nothing came.
    Broken,
    /// git had nothing to push: the hook never ran.
    Nothing,
}

impl<'a> PushHost<'a> {
    pub(crate) fn new(
        api: &'a ApiClient,
        push: &'a Push,
        container: &'a Container,
        env: std::collections::BTreeMap<String, String>,
    ) -> Self {
        Self { api, push, container, env, state: Mutex::default(), output: Mutex::default() }
    }

    /// How it went.
    pub(crate) fn outcome(&self) -> Outcome {
        let state = self.state();
        match (&state.committed, &state.failure) {
            (Some(committed), _) => Outcome::Committed(committed.clone()),
            (None, Some(reason)) => Outcome::Failed(reason.clone()),
            (None, None) if state.heard => Outcome::Broken,
            (None, None) => Outcome::Nothing,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a commit until it is answered: it is idempotent, and the API may be starting again.
    fn send_commit(&self, commit: &Commit) -> Result<Committed, ApiClientError> {
        let mut tries = 1;
        loop {
            match self.api.commit(&self.push.push, commit) {
                Err(why) if !definite(&why) && tries < COMMIT_TRIES => {
                    tries += 1;
                    thread::sleep(COMMIT_PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// Deletes what was stored for a commit that is certainly not made.
    pub(crate) fn discard_uncommitted(&self) {
        let state = self.state();
        if state.committed.is_some() || state.in_doubt {
            return;
        }
        if state.slug.is_some() {
            storage::discard(&self.push.slug.put);
        }
        if state.repo.is_some() {
            storage::discard(&self.push.repo.put);
        }
    }
}

/// Whether an error says that nothing was done, and not only that the answer is missing.
fn definite(why: &ApiClientError) -> bool {
    why.status().is_some_and(|status| (400..500).contains(&status))
}

/// Why a commit was not made, or is not known to be.
fn not_committed(why: &ApiClientError) -> Refusal {
    Refusal(match why.status() {
        Some(409) => "The repository has changed since this push began; push again.".to_owned(),
        Some(410) => "The lease of this push ran out; nothing was changed. Push again.".to_owned(),
        _ if definite(why) => format!("The release was not accepted: {}", chain(why)),
        _ => format!(
            "The server did not answer whether the release was made; look at it with `git fetch`: {}",
            chain(why)
        ),
    })
}

impl Host for PushHost<'_> {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        self.state().heard = true;
        let push = self.push;
        Ok(BuildRequest {
            push: push.push.clone(),
            request_id: push.request_id.clone(),
            app: push.app.name.clone(),
            stack: push.stack.clone(),
            config_vars: push.config_vars.clone(),
            buildpacks: push.buildpacks.clone(),
            deploy_refs: push.deploy_refs.clone(),
            limits: push.limits,
            env: self.env.clone(),
        })
    }

    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        repo(&self.push.repo.get)
    }

    fn cache(&self) -> Option<Box<dyn Read>> {
        // A cache that cannot be read is a cache that is not there: it costs time only.
        storage::get(&self.push.cache.get).ok().flatten().map(|cache| cache as Box<dyn Read>)
    }

    fn store_slug(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        self.state().slug = None;
        let slug = &self.push.slug;
        let stored = storage::put("slug", &slug.put, bytes, slug.max_bytes)?;
        self.state().slug = Some(stored.clone());
        Ok(stored)
    }

    fn store_repo(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        self.state().repo = None;
        let stored = storage::put("repository", &self.push.repo.put, bytes, self.push.limits.disk_bytes)?;
        self.state().repo = Some(stored.clone());
        Ok(stored)
    }

    fn commit(&self, request: CommitRequest) -> Result<Committed, Refusal> {
        // Held for the whole call: there is one commit in a push.
        let mut state = self.state();
        if state.committed.is_some() {
            return Err(Refusal("This push is committed already.".to_owned()));
        }
        let commit = judge(self.push, &state, request)?;
        let answer = self.send_commit(&commit);
        state.in_doubt = answer.as_ref().is_err_and(|why| !definite(why));
        let committed = answer.map_err(|why| not_committed(&why))?;
        state.committed = Some(committed.clone());
        Ok(committed)
    }

    fn output(&self, text: &str) {
        let Ok(mut offset) = self.output.lock() else { return };
        let left = self.push.limits.output_bytes.saturating_sub(*offset);
        let text = cut(text, usize::try_from(left).unwrap_or(usize::MAX));
        if text.is_empty() {
            return;
        }
        let piece = Output { offset: *offset, text: text.to_owned() };
        // The record is not worth a failed push; the next piece begins where this one should have.
        if self.api.output(&self.push.push, &piece).is_ok() {
            *offset += text.len() as u64;
        }
    }

    fn failed(&self, reason: &str) -> Vec<String> {
        self.state().failure = Some(one_line(cut(reason, MAX_TEXT)));
        self.container.limits_met().iter().map(ToString::to_string).collect()
    }
}

/// The host side of a fetch: the repository and nothing else.
pub(crate) struct FetchHost<'a> {
    pub(crate) layers: &'a [String],
}

impl Host for FetchHost<'_> {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        Err(only_a_fetch())
    }

    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        repo(self.layers)
    }

    fn cache(&self) -> Option<Box<dyn Read>> {
        None
    }

    fn store_slug(&self, _: &mut dyn Read) -> Result<Stored, Refusal> {
        Err(only_a_fetch())
    }

    fn store_repo(&self, _: &mut dyn Read) -> Result<Stored, Refusal> {
        Err(only_a_fetch())
    }

    fn commit(&self, _: CommitRequest) -> Result<Committed, Refusal> {
        Err(only_a_fetch())
    }

    fn output(&self, _: &str) {}

    fn failed(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}

fn only_a_fetch() -> Refusal {
    Refusal("This is a fetch: nothing is built or stored.".to_owned())
}

/// The stored repository. An object that the API knows of and storage has not is an error: taking it for
/// an empty repository would lose every ref with the next push.
fn repo(layers: &[String]) -> Result<Option<Box<dyn Read>>, Refusal> {
    match layers {
        [] => Ok(None),
        [layer] => match storage::get(layer)? {
            Some(object) => Ok(Some(object)),
            None => Err(Refusal(
                "The app's repository is missing in storage. Tell the server's admin.".to_owned(),
            )),
        },
        _ => Err(Refusal("The app's repository has more layers than this server can read.".to_owned())),
    }
}

/// Decides whether what a container wants to commit can be, and with which of the stored objects.
fn judge(push: &Push, state: &State, request: CommitRequest) -> Result<Commit, Refusal> {
    let refuse = |why: &str| Err(Refusal(why.to_owned()));
    let Some(repo) = state.repo.clone() else { return refuse("The repository was not stored.") };
    if request.refs.is_empty() || request.refs.len() > MAX_REFS {
        return Err(Refusal(format!(
            "A push moves 1 to {MAX_REFS} refs; this one moves {}.",
            request.refs.len()
        )));
    }
    if request.refs.iter().any(|update| !plain(&update.name)) {
        return refuse("The name of a ref is too long or holds control characters.");
    }
    let deploys = request.refs.iter().any(|update| push.deploy_refs.contains(&update.name));
    let release = match (request.manifest, state.slug.clone(), deploys) {
        (None, _, false) => None,
        (Some(manifest), Some(slug), true) => {
            judge_manifest(push, &request.refs, &manifest)?;
            Some(CommitRelease { slug, manifest })
        }
        (Some(_), None, _) => return refuse("The slug was not stored."),
        (None, _, true) => return refuse("A deployed branch moves only together with its release."),
        (Some(_), _, false) => return refuse("There is a release, but no deployed branch moves."),
    };
    Ok(Commit { base_version: push.repo.version, repo, refs: request.refs, release })
}

fn judge_manifest(push: &Push, refs: &[RefUpdate], manifest: &Manifest) -> Result<(), Refusal> {
    let built = |update: &RefUpdate| update.name == manifest.branch && update.new == manifest.commit;
    let refuse = |why: &str| Err(Refusal(why.to_owned()));
    if !push.deploy_refs.contains(&manifest.branch) || !refs.iter().any(built) {
        return refuse("The release is not of the commit that is pushed.");
    }
    if manifest.process_types.len() > MAX_PROCESS_TYPES {
        return Err(Refusal(format!(
            "{} process types are more than the limit of {MAX_PROCESS_TYPES}.",
            manifest.process_types.len()
        )));
    }
    if !plain(&manifest.buildpack) || !manifest.process_types.values().all(|command| plain(command)) {
        return refuse("A command or the buildpack's name is too long or holds control characters.");
    }
    Ok(())
}

fn plain(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// At most `max` bytes of a text, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use ruko_api_types::{AppRef, CachePlace, RepoPlace, SlugPlace};
    use ruko_core::PushId;
    use ruko_core::config::BuildLimits;

    use super::*;

    const NULL: &str = "0000000000000000000000000000000000000000";
    const ONE: &str = "1111111111111111111111111111111111111111";

    fn push() -> Push {
        Push {
            push: PushId::generate(),
            request_id: "r".into(),
            app: AppRef { id: "1".into(), name: "my-app".parse().unwrap() },
            user: "alice".parse().unwrap(),
            stack: "openruko-12".parse().unwrap(),
            template: "openruko-build".parse().unwrap(),
            repo: RepoPlace { version: 3, get: vec![], put: "file:///r".into() },
            slug: SlugPlace { put: "file:///s".into(), max_bytes: 1 },
            cache: CachePlace { get: "file:///c".into(), put: "file:///c".into() },
            config_vars: Default::default(),
            buildpacks: vec![],
            deploy_refs: vec!["refs/heads/main".into()],
            limits: BuildLimits::default(),
            release_url: String::new(),
            web_url: String::new(),
            lease_seconds: 30,
        }
    }

    fn stored() -> Option<Stored> {
        Some(Stored { bytes: 1, sha256: "x".into() })
    }

    fn update(name: &str) -> RefUpdate {
        RefUpdate { name: name.into(), old: NULL.parse().unwrap(), new: ONE.parse().unwrap() }
    }

    fn manifest() -> Manifest {
        Manifest {
            commit: ONE.parse().unwrap(),
            branch: "refs/heads/main".into(),
            buildpack: "Procfile".into(),
            process_types: Default::default(),
            default_types: vec![],
        }
    }

    fn verdict(slug: bool, repo: bool, refs: &[&str], manifest: Option<Manifest>) -> Result<Commit, Refusal> {
        let state = State {
            slug: slug.then(stored).flatten(),
            repo: repo.then(stored).flatten(),
            ..State::default()
        };
        let refs = refs.iter().map(|name| update(name)).collect();
        judge(&push(), &state, CommitRequest { refs, manifest })
    }

    #[test]
    fn a_deployed_branch_moves_only_with_its_release() {
        let main = ["refs/heads/main"];
        assert!(verdict(true, true, &main, Some(manifest())).is_ok_and(|commit| commit.release.is_some()));
        assert!(verdict(true, true, &main, None).is_err());
        assert!(verdict(true, true, &["refs/heads/topic"], Some(manifest())).is_err());
        assert!(
            verdict(false, true, &["refs/heads/topic"], None).is_ok_and(|commit| commit.release.is_none())
        );
    }

    #[test]
    fn nothing_is_committed_that_the_host_side_did_not_store() {
        let main = ["refs/heads/main"];
        assert!(verdict(false, true, &main, Some(manifest())).is_err());
        assert!(verdict(true, false, &main, Some(manifest())).is_err());
        assert!(verdict(true, false, &["refs/heads/topic"], None).is_err());
    }

    #[test]
    fn a_release_is_of_the_commit_that_is_pushed() {
        let other = Manifest { commit: "2".repeat(40).parse().unwrap(), ..manifest() };
        assert!(verdict(true, true, &["refs/heads/main"], Some(other)).is_err());
        let elsewhere = Manifest { branch: "refs/heads/topic".into(), ..manifest() };
        assert!(verdict(true, true, &["refs/heads/main", "refs/heads/topic"], Some(elsewhere)).is_err());
    }

    #[test]
    fn strings_from_a_container_are_bounded_and_plain() {
        let web = || "web".parse().unwrap();
        for command in ["a\nb".to_owned(), "x".repeat(5000)] {
            let hostile = Manifest { process_types: [(web(), command)].into(), ..manifest() };
            assert!(verdict(true, true, &["refs/heads/main"], Some(hostile)).is_err());
        }
        let hostile = Manifest { buildpack: "\x1b[2J".into(), ..manifest() };
        assert!(verdict(true, true, &["refs/heads/main"], Some(hostile)).is_err());
        assert!(verdict(false, true, &["refs/heads/a\nb"], None).is_err());
        assert!(verdict(false, true, &[], None).is_err());
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
