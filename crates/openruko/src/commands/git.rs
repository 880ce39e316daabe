//! Git: remotes that belong to apps, and the credential helper for pushes over HTTPS.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::process::{Command as Process, Stdio};

use clap::{Args, Subcommand};
use ruko_api_types::platform::App;
use ruko_client::{KnownServer, ServerUrl, Servers, is_loopback};
use ruko_core::{AppName, Fault, Hint};

use super::session::{AppArgs, Session};
use super::{Done, Error, TOKEN_VARIABLE};

/// The name of the remote that `create` adds.
pub(crate) const REMOTE: &str = "openruko";

/// The user's name in git's Basic authorization; the server reads the token alone.
const GIT_USER: &str = "openruko";

/// Connect git repositories with apps
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct GitArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer git's question for a user and password: a credential helper
    #[command(after_help = "Example, for one repository:
  git config credential.https://git.example.com.helper '!openruko git:credentials'")]
    Credentials {
        /// get, store or erase: what git wants
        #[arg(value_name = "OPERATION")]
        operation: String,
    },
    /// Add the git remote of an app, or change where it leads
    Remote {
        #[command(flatten)]
        target: RemoteArgs,
        /// The app
        #[arg(short, long, value_name = "APP")]
        app: Option<String>,
        /// The app, too
        #[arg(value_name = "APP", conflicts_with = "app")]
        named: Option<String>,
    },
    /// Clone the repository of an app
    Clone {
        #[command(flatten)]
        target: RemoteArgs,
        /// The app
        #[arg(short, long, value_name = "APP")]
        app: String,
        /// Where to
        directory: Option<String>,
    },
}

/// How a repository reaches its app.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// The remote's name
    #[arg(short, long, value_name = "REMOTE", default_value = REMOTE)]
    pub(crate) remote: String,
    /// Use HTTPS and the token of `openruko login` instead of ssh
    #[arg(long)]
    pub(crate) http_git: bool,
}

pub(super) fn run(args: GitArgs, session: &Session) -> Done {
    match args.command {
        Command::Credentials { operation } => credentials(&operation, session),
        Command::Remote { target, app, named } => {
            let app = AppArgs::named(app.or(named));
            let found = session.target(&app)?;
            let app: App = found.api.get(&found.path(""))?;
            let url = set_remote(&target, &found.server, &app.name)?;
            Ok(session.screen.line(format!("set git remote {} to {url}", target.remote))?)
        }
        Command::Clone { target, app, directory } => {
            let found = session.target(&AppArgs::named(Some(app)))?;
            let app: App = found.api.get(&found.path(""))?;
            clone(&target, &found.server, &app.name, directory.as_deref())
        }
    }
}

/// Answers git on stdout, if it asks for a host of ours: <https://git-scm.com/docs/git-credential>.
fn credentials(operation: &str, session: &Session) -> Done {
    if operation != "get" {
        // The token is kept by `openruko login`, and what git says about it changes nothing.
        return Ok(());
    }
    let asked = question(io::stdin().lock())?;
    // A token of the environment is for the server that is meant when none is named, and for no other.
    let is_one_meant = session.wanted.is_some() || std::env::var_os(TOKEN_VARIABLE).is_some();
    let server = match is_one_meant {
        true => Some(session.server()?.1).filter(|server| asked.is_for(server)),
        false => Servers::load(&session.home)?.servers.into_values().find(|server| asked.is_for(server)),
    };
    if let Some(server) = server {
        let token = session.token(&server.url)?;
        writeln!(io::stdout(), "username={GIT_USER}\npassword={}", token.reveal())?;
    }
    Ok(())
}

/// What git wants to know a password for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    protocol: String,
    /// `HOST` or `HOST:PORT`.
    host: String,
}

fn question(from: impl BufRead) -> io::Result<Question> {
    let mut asked = Question::default();
    for line in from.lines() {
        let line = line?;
        match line.split_once('=') {
            Some(("protocol", value)) => value.clone_into(&mut asked.protocol),
            Some(("host", value)) => value.clone_into(&mut asked.host),
            None if line.is_empty() => break,
            _ => {}
        }
    }
    Ok(asked)
}

impl Question {
    /// Exactly the server's git host, and nothing in the clear that leaves this machine.
    fn is_for(&self, server: &KnownServer) -> bool {
        let Some((protocol, host)) = origin(&server.git_url) else { return false };
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let safe = protocol == "https" || protocol == "http" && (is_loopback(host) || is_loopback(bare));
        safe && self.protocol == protocol && self.host.eq_ignore_ascii_case(host)
    }
}

/// Scheme and `HOST[:PORT]` of a repository's address.
fn origin(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    (!host.is_empty()).then_some((scheme, host))
}

/// Adds the remote or changes it; gives its address.
pub(crate) fn set_remote(args: &RemoteArgs, server: &KnownServer, app: &str) -> Result<String, Error> {
    let url = repository(args.http_git, server, &checked(app)?);
    let known = remotes()?.iter().any(|remote| remote.name == args.remote);
    let verb = if known { "set-url" } else { "add" };
    git(["remote", verb, "--", &args.remote, &url])?;
    if args.http_git {
        let (name, value) = helper(server);
        git(["config", "--local", &name, &value])?;
    }
    Ok(url)
}

/// Changes where remotes lead after an app got another name, or removes those of one that is gone.
pub(crate) fn follow(server: &KnownServer, old: &str, new: Option<&str>) -> Result<Vec<String>, Error> {
    let patterns = Patterns::of(server);
    let new = new.map(checked).transpose()?;
    let mut changed = Vec::new();
    for remote in remotes()? {
        let Some((pattern, app)) = patterns.matching(&remote.url) else { continue };
        if app.as_str() != old {
            continue;
        }
        match &new {
            Some(new) => {
                git(["remote", "set-url", "--", &remote.name, &pattern.replace("{app}", new.as_str())])?
            }
            None => git(["remote", "remove", "--", &remote.name])?,
        }
        changed.push(remote.name);
    }
    Ok(changed)
}

fn repository(http: bool, server: &KnownServer, app: &AppName) -> String {
    let pattern = if http { &server.git_url } else { &server.ssh_url };
    pattern.replace("{app}", app.as_str())
}

/// An app's name as a server gave it. It becomes part of an address, and the name of a directory: another one
/// could lead git anywhere.
fn checked(name: &str) -> Result<AppName, Error> {
    let foreign =
        || Fault::refused(format!("the server calls the app `{}`, which is no name", name.escape_debug()));
    name.parse().map_err(|_| foreign().into())
}

/// The setting by which git asks this program for the token.
fn helper(server: &KnownServer) -> (String, String) {
    let (scheme, host) = origin(&server.git_url).unwrap_or_default();
    (format!("credential.{scheme}://{host}.helper"), "!openruko git:credentials".to_owned())
}

fn clone(args: &RemoteArgs, server: &KnownServer, app: &str, directory: Option<&str>) -> Done {
    let app = checked(app)?;
    let url = repository(args.http_git, server, &app);
    let mut process = Process::new("git");
    process.args(["clone", "--origin", &args.remote]);
    if args.http_git {
        let (name, value) = helper(server);
        process.args(["--config", &format!("{name}={value}")]);
    }
    process.args(["--", &url, directory.unwrap_or(app.as_str())]);
    let status = process.status().fault("cannot run git")?;
    match status.success() {
        true => Ok(()),
        false => Err(Fault::refused(format!("git clone of {url} failed")).into()),
    }
}

/// Whether the current directory is in a git repository.
pub(crate) fn is_repository() -> bool {
    let mut asked = Process::new("git");
    asked.args(["rev-parse", "--git-dir"]).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn git<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Done {
    let out = Process::new("git").args(args).stdin(Stdio::null()).output().fault("cannot run git")?;
    match out.status.success() {
        true => Ok(()),
        false => Err(Fault::refused(String::from_utf8_lossy(&out.stderr)).into()),
    }
}

/// A remote of the repository here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) name: String,
    url: String,
}

/// The remotes of the repository here, as its configuration has them; none where there is no repository or
/// no git.
pub(crate) fn remotes() -> Result<Vec<Remote>, Error> {
    let asked = Process::new("git")
        .args(["config", "-z", "--get-regexp", r"^remote\..*\.url$"])
        .stderr(Stdio::null())
        .output();
    match asked {
        Ok(out) => Ok(listed(&String::from_utf8_lossy(&out.stdout))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Fault::refused(format!("cannot run git: {error}")).into()),
    }
}

/// Reads `remote.NAME.url LF URL NUL …`.
fn listed(text: &str) -> Vec<Remote> {
    let one = |entry: &str| {
        let (key, url) = entry.split_once('\n')?;
        let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
        Some(Remote { name: name.to_owned(), url: url.to_owned() })
    };
    text.split('\0').filter_map(one).collect()
}

/// How the repositories of a server's apps are written, `{app}` standing for the name.
pub(crate) struct Patterns(Vec<String>);

impl Patterns {
    pub(crate) fn of(server: &KnownServer) -> Self {
        let mut patterns = vec![server.git_url.clone(), server.ssh_url.clone()];
        patterns.extend(scp_like(&server.ssh_url));
        Self(patterns)
    }

    fn matching(&self, url: &str) -> Option<(&str, AppName)> {
        self.0.iter().find_map(|pattern| Some((pattern.as_str(), app_of(url, pattern)?)))
    }
}

/// `git@host:{app}.git` for `ssh://git@host/{app}.git`; there is no such form with a port.
fn scp_like(ssh_url: &str) -> Option<String> {
    let (host, path) = ssh_url.strip_prefix("ssh://")?.split_once('/')?;
    (!host.contains(':')).then(|| format!("{host}:{path}"))
}

fn app_of(url: &str, pattern: &str) -> Option<AppName> {
    let (before, after) = pattern.split_once("{app}")?;
    url.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

/// Why the remotes do not say which app is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// No remote leads to an app of this server.
    Nothing,
    /// The named remote is not there, or leads elsewhere.
    NotThere(String),
    /// Remotes and their apps.
    Several(Vec<(String, AppName)>),
}

/// The one app to which the remotes lead.
pub(crate) fn infer(
    remotes: &[Remote],
    patterns: &Patterns,
    wanted: Option<&str>,
) -> Result<AppName, Unclear> {
    let mut apps = BTreeMap::new();
    for remote in remotes.iter().filter(|remote| wanted.is_none_or(|name| remote.name == name)) {
        if let Some((_, app)) = patterns.matching(&remote.url) {
            apps.entry(app).or_insert(remote.name.clone());
        }
    }
    let mut found: Vec<(String, AppName)> = apps.into_iter().map(|(app, remote)| (remote, app)).collect();
    match (found.len(), wanted) {
        (1, _) => Ok(found.remove(0).1),
        (0, Some(name)) => Err(Unclear::NotThere(name.to_owned())),
        (0, None) => Err(Unclear::Nothing),
        _ => Err(Unclear::Several(found)),
    }
}

impl Unclear {
    pub(crate) fn fault(&self, server: &ServerUrl) -> Fault {
        let hint =
            "name it with --app APP or OPENRUKO_APP, or add its remote with `openruko git:remote -a APP`";
        match self {
            Self::Nothing => {
                Fault::usage(format!("which app? No git remote here leads to one of {server}")).hint(hint)
            }
            Self::NotThere(name) => Fault::usage(format!(
                "no git remote `{}` here leads to an app of {server}",
                name.escape_debug()
            ))
            .hint(hint),
            Self::Several(found) => {
                let named: Vec<_> =
                    found.iter().map(|(remote, app)| format!("{app} (remote {remote})")).collect();
                Fault::usage(format!("which app? The git remotes here lead to several: {}", named.join(", ")))
                    .hint("name one with --app APP or --remote REMOTE")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> KnownServer {
        KnownServer {
            url: "https://paas.example.com".parse().unwrap(),
            git_url: "https://git.example.com:8443/{app}.git".into(),
            ssh_url: "ssh://git@example.com/{app}.git".into(),
            web_url: "https://{app}.example.com".into(),
            ca_file: None,
        }
    }

    fn remote(name: &str, url: &str) -> Remote {
        Remote { name: name.into(), url: url.into() }
    }

    #[test]
    fn each_way_to_write_a_repository_is_read() {
        let patterns = Patterns::of(&server());
        for good in [
            "https://git.example.com:8443/shop.git",
            "ssh://git@example.com/shop.git",
            "git@example.com:shop.git",
        ] {
            assert_eq!(patterns.matching(good).unwrap().1.as_str(), "shop", "{good}");
        }
        for bad in [
            "https://git.example.com/shop.git",
            "https://git.example.com:8443/a/shop.git",
            "git@other.com:shop.git",
            "ssh://git@example.com/-x.git",
            "https://git.example.com:8443/.git",
            "git@example.com:shop",
        ] {
            assert!(patterns.matching(bad).is_none(), "{bad}");
        }
        assert_eq!(scp_like("ssh://git@example.com:2222/{app}.git"), None);
    }

    #[test]
    fn the_remotes_lead_to_one_app_or_it_is_said_why_not() {
        let patterns = Patterns::of(&server());
        let (shop, stage) = ("ssh://git@example.com/shop.git", "git@example.com:stage.git");
        let one = [
            remote("origin", "https://github.com/a/shop.git"),
            remote("openruko", shop),
            remote("again", shop),
        ];
        assert_eq!(infer(&one, &patterns, None).unwrap().as_str(), "shop");
        let two = [remote("openruko", shop), remote("staging", stage)];
        assert_eq!(infer(&two, &patterns, Some("staging")).unwrap().as_str(), "stage");
        let said = infer(&two, &patterns, None).unwrap_err().fault(&server().url);
        assert!(said.message.contains("shop (remote openruko), stage (remote staging)"), "{said}");
        assert_eq!(infer(&one, &patterns, Some("origin")), Err(Unclear::NotThere("origin".into())));
        assert_eq!(infer(&[], &patterns, None), Err(Unclear::Nothing));
    }

    #[test]
    fn gits_listing_is_read() {
        let text = "remote.a.b.url\nssh://x\0remote.c.url\nhttps://y\0";
        assert_eq!(listed(text), [remote("a.b", "ssh://x"), remote("c", "https://y")]);
        assert_eq!(listed(""), []);
    }

    #[test]
    fn the_token_is_for_exactly_the_git_host() {
        let asks = |protocol: &str, host: &str| Question { protocol: protocol.into(), host: host.into() };
        let server = server();
        assert!(asks("https", "git.example.com:8443").is_for(&server));
        assert!(!asks("http", "git.example.com:8443").is_for(&server));
        assert!(!asks("https", "git.example.com").is_for(&server));
        assert!(!asks("https", "evil.git.example.com:8443").is_for(&server));
        let at = |git_url: &str| KnownServer { git_url: git_url.into(), ..server.clone() };
        assert!(asks("http", "127.0.0.1:5001").is_for(&at("http://127.0.0.1:5001/{app}.git")));
        assert!(!asks("http", "git.example.com").is_for(&at("http://git.example.com/{app}.git")));
        assert!(!asks("", "").is_for(&at("nonsense")));
        let text = "protocol=https\nhost=git.example.com\npath=shop.git\n\nhost=evil";
        assert_eq!(question(text.as_bytes()).unwrap(), asks("https", "git.example.com"));
    }

    #[test]
    fn the_helper_is_for_the_git_host_alone() {
        assert_eq!(helper(&server()).0, "credential.https://git.example.com:8443.helper");
    }
}
