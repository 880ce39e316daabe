//! Runs the unmodified Heroku CLI (11, 8 and 7) against an openruko server.
//!
//! The newest CLI talks only to Heroku's own domains and to loopback, so a [`Forwarder`] stands on a
//! loopback port for as long as it runs and carries the API, log streams and `run` to the real server over
//! verified TLS. [`run`] does all of it: the forwarder, the CLI's environment, and what becomes of the git
//! remotes that the CLI writes.
//!
//! What a CLI of Heroku must never do here: meet Heroku with our token (it only has a key that means
//! something to its own forwarder), meet our server with the user's Heroku token (its environment is
//! cleared of it, and the key goes before stored logins), or change the user's git settings (it gets a file
//! of its own that includes theirs).

mod arguments;
mod child;
mod environment;
mod forward;
mod git;
mod proxy;
mod remotes;
mod rendezvous;
mod rewrite;
mod secret;
mod upstream;

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ruko_core::{Fault, Hint};

use arguments::Plan;
use environment::{Environment, Surroundings};
use git::{HttpAccess, Repository};
use remotes::GitUrls;

pub use forward::Forwarder;
pub use upstream::Upstream;

/// How git reaches the repositories of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GitTransport {
    /// With the user's ssh key.
    #[default]
    Ssh,
    /// With the user's token.
    Https,
}

/// The Heroku CLI, and how it is run.
#[derive(Clone, Debug)]
pub struct Heroku {
    /// The CLI; see [`find_heroku`].
    pub program: PathBuf,
    /// The program that answers `git:credentials --server NAME get` as a credential helper of git
    /// (gitcredentials(7)): this one.
    pub openruko: PathBuf,
    /// What new git remotes are; the flag `--http-git` goes before it.
    pub transport: GitTransport,
}

/// The Heroku CLI on a search path (the value of `PATH`), and never `own`, under whatever name or link.
pub fn find_heroku(path: &OsStr, own: Option<&Path>) -> Option<PathBuf> {
    let own = own.and_then(|own| own.canonicalize().ok());
    let candidates =
        std::env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("heroku"));
    candidates
        .into_iter()
        .find(|candidate| is_program(candidate) && (own.is_none() || candidate.canonicalize().ok() != own))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Runs the CLI with these arguments (without the program's name), in the foreground, and gives its exit
/// status; 128 and the number of the signal that ended it.
///
/// `--http-git` after `create`, `git:remote` and `git:clone` is ours: the remote becomes an https one.
///
/// # Errors
/// The server's addresses cannot be used, the CLI cannot be started, or git refuses what is to become of a
/// remote. That the server cannot be reached is the CLI's to say.
pub fn run(upstream: &Upstream, heroku: &Heroku, args: &[OsString]) -> Result<i32, Fault> {
    let urls = GitUrls::new(upstream)?;
    let access = HttpAccess::new(&urls.http_origin, upstream.ca_file.as_deref());
    let plan = Plan::new(args, heroku.transport);
    let (place, told) = match &plan.command {
        arguments::Command::Remote(name) => (Some(Path::new(".")), Some(name.as_str())),
        arguments::Command::Create | arguments::Command::Other => (Some(Path::new(".")), None),
        arguments::Command::Clone(directory) => (directory.as_ref().map(Path::new), None),
    };
    let repository = place.map(Repository);
    let remotes = || repository.as_ref().map(Repository::remotes).unwrap_or_default();
    let before = remotes();
    let status = run_cli(upstream, heroku, &urls, &access, &plan)?;
    let settled = urls.settle(&before, &remotes(), plan.transport, told);
    if let Some(repository) = &repository {
        let lasting = shell_words::join(["openruko", "git:credentials", "--server", &upstream.name]);
        repository.settle(&settled, &access, &lasting)?;
    }
    Ok(status)
}

/// Everything that must end with the CLI.
fn run_cli(
    upstream: &Upstream,
    heroku: &Heroku,
    urls: &GitUrls,
    access: &HttpAccess,
    plan: &Plan,
) -> Result<i32, Fault> {
    let forwarder = Forwarder::start(upstream)?;
    let inherited: Environment = std::env::vars_os().collect();
    let scratch = Scratch::new(&inherited, forwarder.certificate())?;
    let cache_dir =
        environment::cache_dir(&inherited, &upstream.url).filter(|dir| prepare_cache(dir).is_ok());
    let surroundings = Surroundings {
        url: forwarder.url(),
        open_url: forwarder.open_url(),
        key: forwarder.key(),
        git_host: &urls.git_host,
        ca_file: &scratch.path(Scratch::CA_FILE),
        git_config: &scratch.path(Scratch::GIT_CONFIG),
        git_settings: &git_settings(upstream, heroku, urls, access, plan),
        cache_dir: cache_dir.as_deref(),
    };
    let mut command = Command::new(&heroku.program);
    command.args(&plan.args).env_clear().envs(surroundings.environment(inherited));
    child::run(&mut command)
}

/// The settings of git while the CLI runs: see [`remotes`] and [`HttpAccess`].
fn git_settings(
    upstream: &Upstream,
    heroku: &Heroku,
    urls: &GitUrls,
    access: &HttpAccess,
    plan: &Plan,
) -> Vec<(String, String)> {
    let program = heroku.openruko.to_string_lossy();
    let helper = shell_words::join([program.as_ref(), "git:credentials", "--server", &upstream.name]);
    let http = access.settings(&helper).into_iter();
    let http = http.flat_map(|(key, values)| values.into_iter().map(move |value| (key.clone(), value)));
    let forms = match plan.command {
        arguments::Command::Remote(_) | arguments::Command::Clone(_) => urls.leading_to(plan.transport),
        arguments::Command::Create | arguments::Command::Other => urls.shown_to_cli(),
    };
    http.chain(forms).chain(no_foreign_default(urls)).collect()
}

/// A default remote that leads to the user's real Heroku would hide ours: then there is none.
fn no_foreign_default(urls: &GitUrls) -> Option<(String, String)> {
    let here = Repository(Path::new("."));
    let name = here.default_remote()?;
    let ours = here.remotes().get(&name).is_some_and(|url| urls.is_ours(url));
    (!ours).then(|| ("heroku.remote".to_owned(), String::new()))
}

/// The CLI announces Heroku's terms of service once for each cache; it is not Heroku's service that is
/// used here. Version 8 keeps a log of errors in the directory of the real Heroku, and crashes over an error
/// where that is missing.
fn prepare_cache(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    if let Some(caches) = dir.ancestors().nth(2) {
        std::fs::create_dir_all(caches.join("heroku"))?;
    }
    std::fs::File::options().append(true).create(true).open(dir.join("terms-of-service")).map(drop)
}

/// Files for one run, in a directory that only the user can enter; gone when this is dropped.
struct Scratch(tempfile::TempDir);

impl Scratch {
    const CA_FILE: &str = "ca.pem";
    const GIT_CONFIG: &str = "gitconfig";

    fn new(inherited: &Environment, certificate: &str) -> Result<Self, Fault> {
        let private = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("openruko-").permissions(private).tempdir();
        let dir = dir.fault("no temporary directory")?;
        let scratch = Self(dir);
        scratch.write(Self::CA_FILE, &certificates(inherited, certificate))?;
        scratch.write(Self::GIT_CONFIG, &including(&environment::git_config_files(inherited)))?;
        Ok(scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(name);
        std::fs::write(&path, bytes).fault(format!("cannot write `{}`", path.display()))
    }
}

/// The certificates that the user has Node.js trust, and ours.
fn certificates(inherited: &Environment, ours: &str) -> Vec<u8> {
    let theirs = inherited.get(OsStr::new("NODE_EXTRA_CA_CERTS")).filter(|path| !path.is_empty());
    // Node.js goes on without a file that it cannot read, and so do we.
    let mut pem = theirs.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    pem.extend_from_slice(b"\n");
    pem.extend_from_slice(ours.as_bytes());
    pem
}

/// Settings of git that are those of other files, where they exist. What is written to them stays here.
fn including(files: &[PathBuf]) -> Vec<u8> {
    let mut text = Vec::new();
    for file in files {
        let quoted = file.to_string_lossy().replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        text.extend_from_slice(format!("[include]\n\tpath = \"{quoted}\"\n").as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::symlink;

    fn program(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_cli_is_found_on_the_path_and_never_itself() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        program(&at("own/openruko"), 0o755);
        program(&at("plain/heroku"), 0o644);
        program(&at("real/heroku"), 0o755);
        fs::create_dir_all(at("link")).unwrap();
        symlink(at("own/openruko"), at("link/heroku")).unwrap();
        fs::create_dir_all(at("dir/heroku")).unwrap();
        let path = |names: &[&str]| std::env::join_paths(names.iter().map(|name| at(name))).unwrap();
        let own = at("own/openruko");
        let all = path(&["nothing", "dir", "plain", "link", "real"]);
        assert_eq!(find_heroku(&all, Some(&own)), Some(at("real/heroku")));
        assert_eq!(find_heroku(&all, None), Some(at("link/heroku")));
        assert_eq!(find_heroku(&path(&["plain", "link"]), Some(&own)), None);
        assert_eq!(find_heroku(OsStr::new(""), None), None);
    }

    #[test]
    fn a_files_name_cannot_end_its_line_in_gits_settings() {
        let text = including(&[PathBuf::from("/home/a \"b\"\\c\nd/.gitconfig")]);
        assert_eq!(text, b"[include]\n\tpath = \"/home/a \\\"b\\\"\\\\c\\nd/.gitconfig\"\n");
    }
}
