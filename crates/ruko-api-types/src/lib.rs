//! The serde types of openruko's APIs, and nothing else: the internal API here and in [`host`], [`router`] and [`log`],
//! the Platform API in [`platform`].
//!
//! The internal API is what the components speak among themselves, each with a Bearer token of its own:
//! `openruko-serve` asks about keys and pushes, `openruko admin` manages users and apps, `openruko-host` runs what
//! should run, `openruko-router` asks where requests go.

pub mod host;
pub mod log;
pub mod platform;
pub mod push_log;
pub mod router;
pub mod storage;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ruko_core::config::BuildLimits;
use ruko_core::{
    AppName, CommitId, ConfigVarName, EmailAddress, ProcessType, PushId, StackName, TemplateName, UserName,
};
use serde::{Deserialize, Serialize};

/// `GET /internal/keys?fingerprint=SHA256:…`: the key that sshd was offered, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    /// Who the key belongs to.
    pub user: UserName,
    /// The key's id.
    pub key: String,
    /// Algorithm and base64 blob, without options and comment: `ssh-ed25519 AAAA…`.
    pub public_key: String,
}

/// `GET /internal/keys/all?after=ID&limit=N`: a piece of all keys, oldest first, for an authorized_keys file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// At most [`MAX_KEY_PAGE`].
    pub keys: Vec<KeyOwner>,
    /// The id to ask after for the next piece; none when this was the last.
    pub next: Option<String>,
}

/// The most keys of one [`KeyPage`].
pub const MAX_KEY_PAGE: u32 = 5000;

/// `GET /internal/users/{user}/greeting?key=ID`: what `ssh git@host` tells its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The e-mail address, if there is one.
    pub email: Option<String>,
    /// The key that was used; none where it is not told or not the user's any more.
    pub key: Option<Key>,
    /// The first of the apps that the user may see, by name.
    pub apps: Vec<AppName>,
    /// How many there are.
    pub app_count: u64,
    /// Where an app is over ssh, `{app}` standing for its name; none where developers have no such door.
    pub ssh_url: Option<String>,
    /// Where the Platform API is.
    pub api_url: Option<String>,
}

/// `POST /internal/authenticate`: whose token is it? Asked for each request of git over HTTP. Its `Debug`
/// leaves the token out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticate {
    /// What the client sent as its password or Bearer token.
    pub token: String,
    /// What it is shown for: a token of a narrower scope may be good for the one and not for the other.
    pub access: Access,
    /// The client's address, for throttling and for the audit.
    pub address: IpAddr,
}

impl std::fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticate").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The answer (200): the token is good for this access. One that is nobody's is refused with 401 and the id
/// [`INVALID_TOKEN`], too many of them from one address with 429; one whose scope does not reach so far with
/// 403 and the id [`INSUFFICIENT_SCOPE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticated {
    /// Whose token it is.
    pub user: UserName,
}

/// The id of the refusal of a user's token, unlike that of the calling component's own.
pub const INVALID_TOKEN: &str = "invalid_token";

/// The id of the refusal of a user's token whose scope is too narrow.
pub const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// What a user wants to do with an app's repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Fetch and clone.
    Read,
    /// Push.
    Write,
}

/// `POST /internal/apps/{app}/pushes`: opens a push and takes the app's lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenPush {
    /// Who pushes. Authorized again here, in the transaction that takes the lease.
    pub user: UserName,
    /// How long the API may hold the call while another push has the lease, in seconds (at most 30).
    #[serde(default)]
    pub wait_seconds: u64,
}

/// An app as the components name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRef {
    /// Never reused, not even when an app is made again under the same name.
    pub id: String,
    /// The name at this moment.
    pub name: AppName,
}

/// Metadata of an open push (201).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    /// The push's id.
    pub push: PushId,
    /// For `REQUEST_ID` and for logs.
    pub request_id: String,
    /// The app.
    pub app: AppRef,
    /// Who pushes.
    pub user: UserName,
    /// The app's stack.
    pub stack: StackName,
    /// The template of that stack's build container.
    pub template: TemplateName,
    /// The stack image that the template lies over; none: the stack shares the host's `/usr`.
    #[serde(default)]
    pub stack_image: Option<StackName>,
    /// For `STACK`; none: what the userland of the container can stand in for.
    #[serde(default)]
    pub heroku_stack: Option<StackName>,
    /// Where the repository is and where its next version goes.
    pub repo: RepoPlace,
    /// Where the slug goes.
    pub slug: SlugPlace,
    /// Where the build cache is kept.
    pub cache: CachePlace,
    /// The app's config vars.
    pub config_vars: BTreeMap<ConfigVarName, String>,
    /// The app's buildpacks in order; empty means detect.
    pub buildpacks: Vec<String>,
    /// The refs whose push makes a release.
    pub deploy_refs: Vec<String>,
    /// The bounds of this build.
    pub limits: BuildLimits,
    /// Where the commit goes.
    pub release_url: String,
    /// The app's public address.
    pub web_url: String,
    /// The lease ends so many seconds after it was last renewed.
    pub lease_seconds: u64,
    /// The tarball that is built, when this is no git push: then the repository stays as it is.
    #[serde(default)]
    pub tarball: Option<Tarball>,
    /// Where apps of this platform are, `{app}` standing for the name: a submodule with such a URL is one of them.
    #[serde(default)]
    pub git_urls: Vec<String>,
    /// With which private submodules are fetched, if the app has one. For the host's side alone.
    #[serde(default)]
    pub deploy_key: Option<DeployKey>,
}

/// An app's deploy key. Its `Debug` leaves the private half out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployKey {
    /// As `ssh-add` reads it.
    pub private_key: String,
    /// The hosts that it is shown to: the text of a known_hosts file.
    pub known_hosts: String,
}

impl std::fmt::Debug for DeployKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeployKey").field("known_hosts", &self.known_hosts).finish_non_exhaustive()
    }
}

/// What a build without git push is made of. Its bytes are at `GET /internal/builds/{id}/source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tarball {
    /// What its user calls it, on one line; often the id of a commit.
    pub version: Option<String>,
}

/// `POST /internal/builds/take`: the next build of a tarball whose app nobody pushes to. The answer is its
/// [`Push`], open and with the app's lease (201), or nothing (204).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakeBuild {
    /// How long the API may hold the call while there is none, in seconds (at most 30).
    #[serde(default)]
    pub wait_seconds: u64,
}

/// `POST /internal/apps/{app}/fetches`: opens a fetch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenFetch {
    /// Who fetches. Authorized again here.
    pub user: UserName,
}

/// Metadata of a fetch (`POST /internal/apps/{app}/fetches`, 200): no lease, nothing to write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// For logs.
    pub request_id: String,
    /// The app.
    pub app: AppRef,
    /// The template of the container that git runs in.
    pub template: TemplateName,
    /// The stack image that the template lies over; none: it shares the host's `/usr`.
    #[serde(default)]
    pub stack_image: Option<StackName>,
    /// Where the repository is; empty when nothing was ever pushed. Layers, unpacked in order.
    pub repo: Vec<String>,
    /// What each of them has to be.
    #[serde(default)]
    pub stored: Vec<Stored>,
    /// The bounds of the container.
    pub limits: BuildLimits,
}

/// Where a repository is and where its next version goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepoPlace {
    /// The committed version; 0 when nothing was ever pushed.
    pub version: u64,
    /// Layers, unpacked in order; empty for version 0.
    pub get: Vec<String>,
    /// What each of them has to be.
    #[serde(default)]
    pub stored: Vec<Stored>,
    /// A key of this push alone, so that a push that lost its lease can overwrite nothing.
    pub put: String,
}

/// Where a slug goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlugPlace {
    /// A key of this push alone.
    pub put: String,
    /// The largest slug that is accepted, in bytes, packed.
    pub max_bytes: u64,
}

/// Where the build cache is kept. It has no version: its loss costs time only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CachePlace {
    /// May name an object that is not there.
    pub get: String,
    /// Replaced after a successful build.
    pub put: String,
}

/// Who holds an app's lease (409 to [`OpenPush`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The other push.
    pub push: PushId,
    /// Its user.
    pub user: UserName,
    /// When it was opened, RFC 3339, UTC.
    pub since: String,
    /// How long ago that was, in seconds, by the API's clock.
    pub seconds: u64,
}

/// An object as the host side stored it: what was counted and hashed, never what a build claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// One ref update, as git tells it to its hooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefUpdate {
    /// The full name, `refs/heads/main`. Lossy where it is not UTF-8: for the record only.
    pub name: String,
    /// The old commit; the null id when the ref is new.
    pub old: CommitId,
    /// The new commit; the null id when the ref is deleted.
    pub new: CommitId,
}

/// What a build made, as told by the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was pushed and built; none when it was a tarball.
    pub head: Option<Head>,
    /// What the buildpacks called themselves, in order, joined by `, `.
    pub buildpack: String,
    /// The Procfile, and the types of the last buildpack's release document that the Procfile does not
    /// define.
    pub process_types: BTreeMap<ProcessType, String>,
    /// Which of them came from the buildpack.
    pub default_types: Vec<ProcessType>,
}

/// The commit that a build is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The commit that was built.
    pub commit: CommitId,
    /// The deploy ref that was pushed.
    pub branch: String,
}

/// `POST /internal/pushes/{id}/commit`: repository version, slug and release in one transaction.
/// Repeated with the same id it gives the same answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// The repository version that this push began with: compare and swap.
    pub base_version: u64,
    /// The repository as stored under the push's `repo.put`; none for the build of a tarball.
    pub repo: Option<Stored>,
    /// What moves; nothing for the build of a tarball.
    pub refs: Vec<RefUpdate>,
    /// The release, when a deploy ref moves.
    pub release: Option<CommitRelease>,
}

/// The release part of a [`Commit`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitRelease {
    /// The slug as stored under the push's `slug.put`.
    pub slug: Stored,
    /// What the build made.
    pub manifest: Manifest,
    /// The stack that it was built on: [`Push::stack`], which may be another one for the next push by now.
    pub stack: StackName,
}

/// The answer to a [`Commit`] (200).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The new repository version.
    pub repo_version: u64,
    /// The new release's version, `7` for `v7`; none when no deploy ref moved.
    pub release: Option<u64>,
    /// The app's public address.
    pub web_url: String,
}

/// `POST /internal/pushes/{id}/abort`: gives the lease back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Abort {
    /// One line for the build's record. Without one nothing was pushed, and no record is kept.
    pub reason: Option<String>,
}

/// `POST /internal/pushes/{id}/output`: appended to the build's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// Where this piece begins, in bytes from the start: a repeated piece is stored once.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// What goes with every status of 400 and above.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ApiError {
    /// A word for programs: `not_found`, `conflict`, `lease_lost`, `invalid_params`, `unauthorized`, …
    pub id: String,
    /// A sentence for people.
    pub message: String,
    /// What kind of thing was not found: `app`, `key`, `session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// `POST /internal/users`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// The e-mail address, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// Whether the user looks after the whole installation.
    #[serde(default)]
    pub site_admin: bool,
}

/// `PATCH /internal/users/{user}`: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChanges {
    /// The new e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// Whether the user looks after the whole installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_admin: Option<bool>,
}

/// `PUT /internal/users/{user}/password`. Its `Debug` leaves the password out.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewPassword {
    /// The password; without one the API makes one up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewPassword").finish_non_exhaustive()
    }
}

/// The answer (200).
#[derive(Clone, Serialize, Deserialize)]
pub struct PasswordSet {
    /// The password that was made up: told this once.
    pub generated: Option<String>,
    /// How many tokens of the user ended with the old password.
    pub ended_tokens: u64,
}

/// `GET /internal/audit?app=NAME&limit=N`: who did what, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// RFC 3339, UTC.
    pub at: String,
    /// The user; empty where somebody failed to log in as nobody that there is.
    pub user: String,
    /// Where it came from.
    pub address: String,
    /// `POST /apps/{app}/collaborators`, `login`, `login failed`.
    pub action: String,
    /// The app's name at that moment.
    pub app: Option<String>,
    /// What exactly: the path as it was called, or how somebody logged in.
    pub detail: String,
}

/// `POST /internal/users/{user}/tokens`: a token of the Platform API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// What it is for.
    pub description: String,
    /// Seconds until it expires; none for never.
    pub expires_in: Option<u64>,
}

/// A new token of a user (201). It is told this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserToken {
    /// The token.
    pub token: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// The e-mail address, by which the user logs in, too.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether the user looks after the whole installation.
    #[serde(default)]
    pub site_admin: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// `POST /internal/users/{user}/keys`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewKey {
    /// One line as in an `id_*.pub` file: algorithm, blob and an optional comment, no options.
    pub public_key: String,
}

/// A key of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// Algorithm, blob.
    pub public_key: String,
    /// The comment, for people.
    pub comment: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// `POST /internal/apps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewApp {
    /// The name.
    pub name: AppName,
    /// Who owns it.
    pub owner: UserName,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Never reused.
    pub id: String,
    /// The name.
    pub name: AppName,
    /// The owner.
    pub owner: UserName,
    /// The stack.
    pub stack: StackName,
    /// Users beside the owner who may push and fetch.
    pub collaborators: Vec<UserName>,
    /// The buildpacks, in order; empty means detect.
    pub buildpacks: Vec<String>,
    /// The committed repository version.
    pub repo_version: u64,
    /// The current release's version. The first, `v1`, comes with the app and runs nothing.
    pub release: u64,
    /// Who is pushing at this moment.
    pub push: Option<Holder>,
    /// The app's public address.
    pub web_url: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// The answer to `DELETE /internal/apps/{app}` (200). What it has in storage is deleted soon afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// The app that is gone.
    pub app: AppRef,
}

/// `PUT /internal/apps/{app}/buildpacks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Buildpacks {
    /// URLs with an optional `#ref`, or names of buildpacks that ship with openruko.
    pub buildpacks: Vec<String>,
}

/// `PATCH /internal/apps/{app}/config-vars`: a null removes. Makes a release when the app has one.
pub type ConfigVarChange = BTreeMap<ConfigVarName, Option<String>>;

/// A release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `7` for `v7`.
    pub version: u64,
    /// `Deploy 1a2b3c4`, `Set FOO, BAR config vars`.
    pub description: String,
    /// Who made it.
    pub user: UserName,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// The commit, when it came from a push.
    pub commit: Option<CommitId>,
    /// The buildpack's name.
    pub buildpack: Option<String>,
    /// The process types.
    pub process_types: BTreeMap<ProcessType, String>,
    /// The slug's URL, without anything secret.
    pub slug_url: Option<String>,
    /// The slug as stored.
    pub slug: Option<Stored>,
}

/// How a push ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildStatus {
    /// It waits to be taken up: the build of a tarball.
    Queued,
    /// The lease is held.
    Pending,
    /// Committed.
    Succeeded,
    /// Aborted.
    Failed,
    /// The lease ran out: the push's process or machine died.
    Lost,
}

/// A push, seen as a build: what the record keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The push.
    pub push: PushId,
    /// Who pushed.
    pub user: UserName,
    /// How it ended.
    pub status: BuildStatus,
    /// Why it failed.
    pub reason: Option<String>,
    /// The release that it made.
    pub release: Option<u64>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub ended_at: Option<String>,
}
