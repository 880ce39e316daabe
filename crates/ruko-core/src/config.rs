//! The configuration file, `/etc/openruko/config.toml`: a table per program, unknown keys are errors.
//!
//! Secrets are not in it: it names files of mode 0600 or 0640 that hold them. For openruko-api,
//! openruko-serve and `openruko admin` every key of a simple value can be overridden by the environment
//! variable `OPENRUKO_TABLE_KEY`. What acts as root, ruko-container and `openruko up`, reads the file
//! alone, and `up` starts the API with an environment of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names::{StackName, TemplateName};

/// Where the configuration is read from when neither `--config` nor `$OPENRUKO_CONFIG` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/openruko/config.toml";

/// The environment variable that names another configuration file.
pub const PATH_VARIABLE: &str = "OPENRUKO_CONFIG";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("the configuration `{}` is not valid: {}", .path.display(), .why)]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// A table that this program needs is missing.
    #[error("the configuration has no table [{0}], which this program needs")]
    Missing(&'static str),
}

/// The whole file. Programs ask for their own table through the methods.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// openruko-api.
    pub api: Option<ApiConfig>,
    /// openruko-serve.
    pub serve: Option<ServeConfig>,
    /// openruko-git.
    pub git: Option<GitConfig>,
    /// ruko-container.
    pub container: Option<ContainerConfig>,
    /// openruko-host.
    pub host: Option<HostConfig>,
    /// openruko-router.
    pub router: Option<RouterConfig>,
    /// What builds get beyond the stack.
    #[serde(default)]
    pub build: BuildConfig,
    /// `openruko admin`.
    pub admin: Option<AdminConfig>,
    /// `openruko up`.
    pub up: Option<UpConfig>,
}

/// `[api]`: openruko-api.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The database: `sqlite:///absolute/path.db`, or `postgres://…` as PostgreSQL's own programs read it,
    /// without a password.
    pub database: String,
    /// The file whose first line is the password for a PostgreSQL server. Only its owner, at most its
    /// group, may be able to read it.
    pub database_password_file: Option<PathBuf>,
    /// Where objects are stored: `file:///absolute/path`; `s3://BUCKET` with `[api.s3]`, or `swift://CONTAINER` with
    /// `[api.swift]`, both with a prefix if `/PREFIX` follows.
    pub storage: String,
    /// How S3, or what speaks as it does, is reached.
    pub s3: Option<S3Config>,
    /// How OpenStack Swift is reached.
    pub swift: Option<SwiftConfig>,
    /// The directory, an absolute path, in which tarballs wait to be built. Without it there are no builds but
    /// by `git push`.
    pub uploads: Option<PathBuf>,
    /// The directory, an absolute path, in which the logs of apps are kept. Without it the last lines of each are
    /// kept in memory alone.
    pub logs: Option<PathBuf>,
    /// The base URL under which the other components reach this API.
    pub url: String,
    /// The public address of an app, `{app}` standing for its name.
    pub web_url: String,
    /// The stack of new apps.
    pub stack: StackName,
    /// The template of the build containers of stacks that share the host's `/usr`.
    pub template: TemplateName,
    /// The other stacks that an app may have. The one of new apps may be among them; otherwise it shares the host's
    /// `/usr`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stacks: BTreeMap<StackName, StackConfig>,
    /// The refs whose push makes a release.
    #[serde(default = "default_deploy_refs")]
    pub deploy_refs: Vec<String>,
    /// The term of a push's lease, in seconds.
    #[serde(default = "default_lease_seconds")]
    pub lease_seconds: u64,
    /// The SHA-256 digest, in hexadecimal, of each component's token: `serve = "…"`, `admin = "…"`.
    pub components: BTreeMap<String, String>,
    /// The bounds of a build.
    #[serde(default)]
    pub limits: BuildLimits,
    /// What dynos of a size get, by the size's name, where that is not what Heroku gives them.
    #[serde(default)]
    pub dyno_sizes: BTreeMap<String, DynoSizeConfig>,
    /// Dynos that an app may have, of all its process types together; without those for one command.
    #[serde(default = "default_dynos_per_app")]
    pub dynos_per_app: u32,
    /// What is kept in storage.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// What developers reach: the Platform API. Without it there is the internal API alone.
    pub public: Option<PublicConfig>,
}

/// `[api.stacks.NAME]`: a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// The stack image that `ruko-container stack build` or `import` made, by its name. Without one the stack shares
    /// the host's `/usr`.
    pub image: Option<StackName>,
    /// The template of its containers: without one `openruko-stack` for an image, else that of `[api]`.
    pub template: Option<TemplateName>,
    /// What buildpacks read from `STACK`: the Heroku stack that it can stand in for. Without it
    /// [`crate::stack::heroku`] tells, in the build.
    pub heroku: Option<StackName>,
}

/// `[api.s3]`: an S3-compatible service. The API signs an address for each object that a push or a dyno needs; nobody
/// else gets the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// `https://s3.eu-central-1.amazonaws.com`, without the bucket. All machines that build or run apps reach it.
    pub endpoint: String,
    /// The region that signatures are for; services of one's own often do not care.
    #[serde(default = "default_s3_region")]
    pub region: String,
    /// Whether the bucket stands in the path (`https://HOST/BUCKET/…`) and not before the host's name.
    #[serde(default)]
    pub path_style: bool,
    /// The id of the access key. It may get, put and delete objects, and list the bucket.
    pub access_key_id: String,
    /// The file whose first line is its secret. Only its owner, at most its group, may be able to read it.
    pub secret_file: PathBuf,
}

fn default_s3_region() -> String {
    "us-east-1".into()
}

/// `[api.swift]`: OpenStack Swift, or what has its TempURL. The API signs an address for each object likewise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwiftConfig {
    /// The account: `https://swift.example.com/v1/AUTH_openruko`. All machines that build or run apps reach it.
    pub url: String,
    /// The file whose first line is a TempURL key of the account or the container. Only its owner, at most its group,
    /// may be able to read it.
    pub key_file: PathBuf,
    /// What addresses are signed with.
    #[serde(default)]
    pub digest: SwiftDigest,
}

/// `digest` of `[api.swift]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwiftDigest {
    /// For services that know no other.
    Sha1,
    /// The usual one.
    #[default]
    Sha256,
    /// A longer one.
    Sha512,
}

/// `[api.dyno_sizes]`: `standard-1x = { memory_bytes = …, pids = … }`. What is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynoSizeConfig {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// `[api.public]`: the Platform API, which the Heroku CLI and `openruko` speak.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicConfig {
    /// The address to listen on. The internal API is not there.
    pub listen: SocketAddr,
    /// The URL by which developers reach it: `https://paas.example.com`.
    pub url: String,
    /// Where an app's repository is over HTTPS, `{app}` standing for its name.
    pub git_url: String,
    /// Where it is over ssh: `ssh://git@example.com:2222/{app}.git`.
    pub ssh_url: String,
    /// The name of the one region. The Heroku CLI shows any other than `us` beside every app.
    #[serde(default = "default_region")]
    pub region: String,
    /// TLS with this certificate; without it plain HTTP, for loopback and for a proxy in front.
    pub tls: Option<TlsConfig>,
    /// Whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<Ipv4Net>,
    /// Calls that one account may make in an hour.
    #[serde(default = "default_calls_per_hour")]
    pub calls_per_hour: u32,
    /// Whether webhooks may be on this machine and on private networks. Then whoever has an app can have the
    /// server send requests there.
    #[serde(default)]
    pub webhook_private: bool,
}

fn default_region() -> String {
    "us".into()
}

const fn default_calls_per_hour() -> u32 {
    // Heroku's own figure: https://devcenter.heroku.com/articles/platform-api-reference#rate-limits
    4500
}

/// `tls = { certificate = …, key = … }`: a server's certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file: the certificate, then what it was signed with, up to the root.
    pub certificate: PathBuf,
    /// A PEM file with its private key, readable by the program alone.
    pub key: PathBuf,
}

fn default_deploy_refs() -> Vec<String> {
    vec!["refs/heads/main".into(), "refs/heads/master".into()]
}

const fn default_lease_seconds() -> u64 {
    30
}

const fn default_dynos_per_app() -> u32 {
    100
}

/// `[api.limits]`: the bounds of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildLimits {
    /// Wall-clock seconds from container start to commit.
    pub build_seconds: u64,
    /// Memory of the container, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Everything the container can write, in bytes.
    pub disk_bytes: u64,
    /// The packed slug, in bytes.
    pub slug_bytes: u64,
    /// What the build may print, in bytes; beyond that it is no longer kept or shown.
    pub output_bytes: u64,
    /// What a build may keep for the next one, unpacked, in bytes; a larger cache is not kept.
    pub cache_bytes: u64,
    /// What one push may send, as packed by git, in bytes.
    pub pack_bytes: u64,
    /// The files of the app as they are checked out, or of a tarball as it is unpacked, in bytes.
    pub checkout_bytes: u64,
    /// The same, counted: files, directories and links.
    pub checkout_entries: u64,
}

impl Default for BuildLimits {
    fn default() -> Self {
        Self {
            build_seconds: 900,
            memory_bytes: 2560 << 20,
            pids: 1024,
            disk_bytes: 4 << 30,
            slug_bytes: 500 << 20,
            output_bytes: 16 << 20,
            cache_bytes: 1 << 30,
            pack_bytes: 1 << 30,
            // Heroku's own bound: https://devcenter.heroku.com/articles/limits#build
            checkout_bytes: 1 << 30,
            checkout_entries: 1 << 20,
        }
    }
}

/// `[api.retention]`: what is kept in storage. What runs, or is to run, is kept whatever stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// The slugs of an app's last so many deploys: to these it can go back.
    pub keep_releases: u32,
    /// So many versions of an app's repository, the current one among them; two at least.
    pub keep_repositories: u32,
    /// What pushes stored that were never committed, since they were killed, for so many days.
    pub orphan_days: u32,
    /// The build cache of an app to which nobody pushes, for so many days. Without it a build takes longer.
    pub cache_days: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { keep_releases: 10, keep_repositories: 2, orphan_days: 2, cache_days: 90 }
    }
}

/// `[serve]`: openruko-serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// The base URL of the API.
    pub api_url: String,
    /// The file that holds this component's token.
    pub token_file: PathBuf,
    /// The command that runs a container, with its arguments.
    pub container_command: Vec<String>,
    /// Where each push keeps its sockets and keys while it lasts.
    pub runtime_dir: PathBuf,
    /// How long a push waits for another push to the same app, in seconds, 240 at most.
    #[serde(default = "default_wait_seconds")]
    pub wait_seconds: u64,
    /// So many pushes, builds, clones and fetches have a container at a time on this node; others wait for
    /// their turn. Without it as many as processors and memory suggest: two for each processor, one for each
    /// 1.25 GB of memory, whichever is less, and not less than two.
    pub build_slots: Option<u32>,
    /// So many of these one user may have at a time. Without it half of them, rounded up.
    pub user_slots: Option<u32>,
    /// How long one waits for a build slot, in seconds, 3600 at most.
    #[serde(default = "default_slot_seconds")]
    pub slot_seconds: u64,
    /// Disk space that has to be left on every file system that a push writes to after it has written
    /// all that it may need, in bytes; otherwise it is refused before it begins.
    #[serde(default = "default_reserve")]
    pub reserve_bytes: u64,
}

const fn default_wait_seconds() -> u64 {
    60
}

const fn default_slot_seconds() -> u64 {
    600
}

/// `[git]`: openruko-git, git over HTTP. It runs as the same user as openruko-serve and with its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The program openruko-serve.
    pub serve_program: PathBuf,
    /// TLS with this certificate; without it plain HTTP, for loopback and for a proxy in front.
    pub tls: Option<TlsConfig>,
    /// Whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<Ipv4Net>,
    /// The largest request, in bytes, both as sent and as unpacked.
    #[serde(default = "default_request_bytes")]
    pub max_request_bytes: u64,
}

const fn default_request_bytes() -> u64 {
    2 << 30
}

/// `[container]`: ruko-container. Read by a program that runs as root for a hostile caller, so only a
/// file that nobody but root can write is accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerConfig {
    /// One directory per container.
    pub state_dir: PathBuf,
    /// The templates that a caller may name.
    pub template_dir: PathBuf,
    /// git's hooks for build containers; mounted read-only.
    pub hooks_dir: PathBuf,
    /// The buildpacks that ship with openruko; mounted read-only.
    pub buildpacks_dir: PathBuf,
    /// The tools that run in the container (`ruko-slug`); mounted read-only.
    pub tools_dir: PathBuf,
    /// The images of slugs, which openruko-host makes: one squashfs file each, named by the digest of its slug.
    /// Without it no dyno can be started.
    pub slugs_dir: Option<PathBuf>,
    /// The images of stacks, which `ruko-container stack build` and `import` make. Without it there are no stacks but
    /// the host's own `/usr`.
    pub stacks_dir: Option<PathBuf>,
    /// The bridge that containers are attached to. Made by `ruko-container setup`.
    pub bridge: String,
    /// The network of that bridge, as `ADDRESS/PREFIX`; its first address is the host's.
    pub subnet: Ipv4Net,
    /// Destinations in private networks that containers may reach all the same, as `ADDRESS` or
    /// `ADDRESS/PREFIX`, for example a mirror.
    #[serde(default)]
    pub allow: Vec<Ipv4Net>,
    /// At most so many containers at a time.
    #[serde(default = "default_slots")]
    pub slots: u32,
    /// Processor cores that one container may use, as a decimal number.
    #[serde(default = "default_cpus")]
    pub cpus: f64,
    /// Connections that one container may have open to elsewhere at a time; a further one gets no answer. Look-ups of
    /// names count apart, up to four times as many. All containers share the kernel's table of connections (`nf_conntrack_max`) with the host. 0: without a bound.
    #[serde(default = "default_connections")]
    pub connections: u32,
    /// The most that a caller may ask for: of seconds, memory, processes and disk. `slug_bytes` and
    /// `output_bytes` do not count here: a container knows nothing of slugs and output, the API sets those
    /// bounds.
    #[serde(default)]
    pub max: BuildLimits,
    /// The most that a caller may ask for a dyno.
    #[serde(default)]
    pub dyno_max: DynoLimits,
    /// Disk space that must be free on the file system of `state_dir` when a container starts, in bytes.
    /// It is judged only then: the disks of containers are sparse files, so those that run may grow by up
    /// to their `disk_bytes` each afterwards and use it up.
    #[serde(default = "default_reserve")]
    pub reserve_bytes: u64,
    /// Start containers even where a limit cannot be set on this kernel.
    #[serde(default)]
    pub allow_missing_limits: bool,
}

/// `[container.dyno_max]`: the bounds of dynos. For how long one runs is not bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DynoLimits {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Everything a dyno can write, in bytes.
    pub disk_bytes: u64,
}

impl Default for DynoLimits {
    fn default() -> Self {
        // The largest of Heroku's sizes has 126 GB; what this machine does not have a dyno cannot use.
        Self { memory_bytes: 126 << 30, pids: 32768, disk_bytes: 16 << 30 }
    }
}

const fn default_slots() -> u32 {
    64
}

const fn default_cpus() -> f64 {
    2.0
}

const fn default_connections() -> u32 {
    1024
}

const fn default_reserve() -> u64 {
    1 << 30
}

/// `[host]`: openruko-host, the dyno agent of this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// The base URL of the API.
    pub api_url: String,
    /// The file that holds this component's token.
    pub token_file: PathBuf,
    /// The command that runs a container, with its arguments.
    pub container_command: Vec<String>,
    /// What it keeps: a directory for each dyno.
    pub state_dir: PathBuf,
    /// The images of slugs: `slugs_dir` of `[container]`.
    pub slugs_dir: PathBuf,
    /// The template of dynos.
    pub template: TemplateName,
    /// How much the images of slugs may take together, in bytes. Those that run are kept all the same.
    #[serde(default = "default_slug_cache")]
    pub slug_cache_bytes: u64,
    /// Everything that one dyno can write, in bytes.
    #[serde(default = "default_dyno_disk")]
    pub disk_bytes: u64,
    /// The port that web dynos are told to listen on (`PORT`), each at an address of its own.
    #[serde(default = "default_dyno_port")]
    pub port: u16,
    /// How long a web dyno may take until it listens (R10), in seconds.
    #[serde(default = "default_boot_seconds")]
    pub boot_seconds: u64,
    /// How long a dyno may take to end after SIGTERM (R12), in seconds.
    #[serde(default = "default_stop_seconds")]
    pub stop_seconds: u64,
    /// How long a web dyno that gets no new requests is left to the old ones before SIGTERM, in seconds.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u64,
    /// How long a release phase may take, in seconds.
    #[serde(default = "default_release_seconds")]
    pub release_seconds: u64,
    /// How long a one-off dyno may run, in seconds.
    #[serde(default = "default_one_off_seconds")]
    pub one_off_seconds: u64,
    /// Where terminals of one-off dynos are reached; without it `run` works detached alone.
    pub rendezvous: Option<RendezvousConfig>,
}

/// `[host.rendezvous]`: where terminals of one-off dynos are reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RendezvousConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where developers reach it: `rendezvous://paas.example.com:5003`.
    pub url: String,
    /// TLS with this certificate. Without it openruko-host makes one up at every start, and `openruko` is told its
    /// digest: it is the client that needs no authority's word. The protocol knows no connection without TLS.
    pub tls: Option<TlsConfig>,
}

const fn default_slug_cache() -> u64 {
    10 << 30
}

const fn default_dyno_disk() -> u64 {
    1 << 30
}

const fn default_dyno_port() -> u16 {
    5000
}

const fn default_boot_seconds() -> u64 {
    60
}

const fn default_stop_seconds() -> u64 {
    30
}

const fn default_drain_seconds() -> u64 {
    5
}

const fn default_release_seconds() -> u64 {
    3600
}

const fn default_one_off_seconds() -> u64 {
    86400
}

/// `[router]`: openruko-router, in front of web dynos.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// The base URL of the API.
    pub api_url: String,
    /// The file that holds this component's token.
    pub token_file: PathBuf,
    /// Where it listens for plain HTTP.
    pub listen: SocketAddr,
    /// Where it listens for HTTPS.
    pub tls_listen: Option<SocketAddr>,
    /// Certificates; each is shown to who asks for a name that it is for, the first to everybody else.
    #[serde(default)]
    pub certificates: Vec<TlsConfig>,
    /// The last good copy of the table of apps, with which it starts while the API is down.
    pub state_file: PathBuf,
    /// Where Prometheus finds metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    #[serde(default)]
    pub trusted_proxies: Vec<Ipv4Net>,
    /// The head of a request or of an answer may have so many bytes.
    #[serde(default = "default_header_bytes")]
    pub header_bytes: u64,
    /// Requests that one dyno gets at a time.
    #[serde(default = "default_dyno_requests")]
    pub dyno_requests: u32,
    /// Requests that wait for a dyno, over all apps (H22); of one app at most 1000 do (H11).
    #[serde(default = "default_waiting_requests")]
    pub waiting_requests: u32,
    /// How long a dyno may take for the first byte of its answer (H12), in seconds.
    #[serde(default = "default_first_byte_seconds")]
    pub first_byte_seconds: u64,
    /// How long a dyno or a client may be silent after that (H15), in seconds.
    #[serde(default = "default_rolling_seconds")]
    pub rolling_seconds: u64,
    /// How long a request waits for an app that sleeps to be up, in seconds.
    #[serde(default = "default_wake_seconds")]
    pub wake_seconds: u64,
    /// How long open requests may take when it is told to end, in seconds.
    #[serde(default = "default_shutdown_seconds")]
    pub shutdown_seconds: u64,
}

const fn default_header_bytes() -> u64 {
    64 << 10
}

const fn default_dyno_requests() -> u32 {
    1000
}

const fn default_waiting_requests() -> u32 {
    10_000
}

const fn default_first_byte_seconds() -> u64 {
    30
}

const fn default_rolling_seconds() -> u64 {
    55
}

const fn default_wake_seconds() -> u64 {
    60
}

const fn default_shutdown_seconds() -> u64 {
    60
}

/// `[build]`: what builds get beyond the stack, for a network that is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildConfig {
    /// Environment variables of every build: proxies, mirrors, where certificates are. Not secret: any
    /// build can read them.
    pub env: BTreeMap<String, String>,
    /// Files that every build sees, read-only: path in the container = path on the host.
    pub files: BTreeMap<PathBuf, PathBuf>,
}

/// `[admin]`: `openruko admin`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// The base URL of the API.
    pub api_url: String,
    /// The file that holds the admin's token.
    pub token_file: PathBuf,
}

/// `[up]`: `openruko up`, the whole platform in the foreground.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpConfig {
    /// Where its sshd listens.
    pub ssh_listen: SocketAddr,
}

/// An IPv4 network, `10.158.0.1/20`; without a prefix a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Net {
    /// The address as written, host bits included.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
}

impl Ipv4Net {
    /// The address at `index` in the network, if there is one.
    pub fn host(self, index: u32) -> Option<Ipv4Addr> {
        let size = 1u64 << (32 - u32::from(self.prefix));
        (u64::from(index) < size).then(|| Ipv4Addr::from_bits(self.network().to_bits() + index))
    }

    /// The network's own address: the host bits are zero.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// Whether an address belongs to it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.network().to_bits()
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl std::fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl From<Ipv4Net> for String {
    fn from(net: Ipv4Net) -> Self {
        net.to_string()
    }
}

impl TryFrom<String> for Ipv4Net {
    type Error = String;

    fn try_from(raw: String) -> Result<Self, String> {
        raw.parse()
    }
}

impl std::str::FromStr for Ipv4Net {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let (address, prefix) = raw.split_once('/').unwrap_or((raw, "32"));
        let bad = || format!("`{raw}` is not an IPv4 network; write it as 10.158.0.0/20");
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > 32 {
            return Err(bad());
        }
        Ok(Self { address: address.parse().map_err(|_| bad())?, prefix })
    }
}

impl Config {
    /// Reads a file and lays the environment over it.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key or a wrong value.
    pub fn load(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, env)
            .map_err(|why| ConfigError::Invalid { path: path.to_owned(), why: crate::exit::one_line(&why) })
    }

    /// Reads the text of a configuration file and lays the environment over it.
    ///
    /// # Errors
    /// Where and why the text or a variable is wrong.
    pub fn parse(text: &str, env: impl Iterator<Item = (String, String)>) -> Result<Self, String> {
        let mut tables: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        for (name, value) in env {
            overlay(&mut tables, &name, &value);
        }
        tables.try_into().map_err(|e: toml::de::Error| e.to_string())
    }

    /// The table `[api]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn api(&self) -> Result<&ApiConfig, ConfigError> {
        self.api.as_ref().ok_or(ConfigError::Missing("api"))
    }

    /// The table `[serve]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn serve(&self) -> Result<&ServeConfig, ConfigError> {
        self.serve.as_ref().ok_or(ConfigError::Missing("serve"))
    }

    /// The table `[git]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn git(&self) -> Result<&GitConfig, ConfigError> {
        self.git.as_ref().ok_or(ConfigError::Missing("git"))
    }

    /// The table `[container]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn container(&self) -> Result<&ContainerConfig, ConfigError> {
        self.container.as_ref().ok_or(ConfigError::Missing("container"))
    }

    /// The table `[host]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn host(&self) -> Result<&HostConfig, ConfigError> {
        self.host.as_ref().ok_or(ConfigError::Missing("host"))
    }

    /// The table `[router]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn router(&self) -> Result<&RouterConfig, ConfigError> {
        self.router.as_ref().ok_or(ConfigError::Missing("router"))
    }

    /// The table `[admin]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn admin(&self) -> Result<&AdminConfig, ConfigError> {
        self.admin.as_ref().ok_or(ConfigError::Missing("admin"))
    }

    /// The table `[up]`.
    ///
    /// # Errors
    /// The table is missing.
    pub fn up(&self) -> Result<&UpConfig, ConfigError> {
        self.up.as_ref().ok_or(ConfigError::Missing("up"))
    }
}

/// `OPENRUKO_API_LISTEN=…` replaces `listen` of `[api]`. A value that reads as a TOML value is one;
/// anything else is a string.
fn overlay(tables: &mut toml::Table, name: &str, value: &str) {
    let Some((table, key)) = name.strip_prefix("OPENRUKO_").and_then(|rest| rest.split_once('_')) else {
        return;
    };
    let table = table.to_ascii_lowercase();
    if !["api", "serve", "git", "container", "host", "router", "admin", "up"].contains(&table.as_str()) {
        return;
    }
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    if let toml::Value::Table(table) =
        tables.entry(table).or_insert_with(|| toml::Value::Table(toml::Table::new()))
    {
        table.insert(key.to_ascii_lowercase(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str =
        "[admin]\napi_url = 'http://127.0.0.1:5000'\ntoken_file = '/etc/openruko/admin.token'\n";

    fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        let owned: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        owned.into_iter()
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let why = Config::parse(&format!("{ADMIN}tokn = 1\n"), env(&[])).unwrap_err();
        assert!(why.contains("tokn"), "{why}");
    }

    #[test]
    fn the_environment_replaces_a_key() {
        let config =
            Config::parse(ADMIN, env(&[("OPENRUKO_ADMIN_API_URL", "http://[::1]:1"), ("PATH", "/")]))
                .unwrap();
        assert_eq!(config.admin().unwrap().api_url, "http://[::1]:1");
    }

    #[test]
    fn a_misspelt_variable_is_an_error_too() {
        assert!(Config::parse(ADMIN, env(&[("OPENRUKO_ADMIN_APIURL", "x")])).is_err());
    }

    #[test]
    fn a_limit_that_is_not_given_has_its_default() {
        let limits: BuildLimits = toml::from_str("slug_bytes = 5").unwrap();
        assert_eq!(limits, BuildLimits { slug_bytes: 5, ..BuildLimits::default() });
        assert_eq!(limits.cache_bytes, 1 << 30);
    }

    #[test]
    fn a_missing_table_is_named() {
        assert_eq!(
            Config::default().api().unwrap_err().to_string(),
            "the configuration has no table [api], which this program needs"
        );
    }

    #[test]
    fn networks_know_their_hosts() {
        let net: Ipv4Net = "10.158.16.1/20".parse().unwrap();
        assert_eq!(net.network().to_string(), "10.158.16.0");
        assert_eq!(net.host(10).unwrap().to_string(), "10.158.16.10");
        assert_eq!(net.host(4096), None);
        let inside = |address: &str| net.contains(address.parse().unwrap());
        assert!(inside("10.158.16.0") && inside("10.158.31.255"));
        assert!(!inside("10.158.32.0") && !inside("127.0.0.1"));
        assert!("10.0.0.0/33".parse::<Ipv4Net>().is_err());
        assert_eq!("10.1.2.3".parse::<Ipv4Net>().unwrap().prefix, 32);
    }
}
