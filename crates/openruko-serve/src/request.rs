//! What the client asked for: a closed set of git services and one app name. Nothing else is ever run.

use std::ffi::{OsStr, OsString};
use std::fmt;

use ruko_core::AppName;

/// A git service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// A push.
    ReceivePack,
    /// A fetch or clone.
    UploadPack,
    /// `git archive --remote`.
    UploadArchive,
}

impl Service {
    /// The subcommand of git.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReceivePack => "receive-pack",
            Self::UploadPack => "upload-pack",
            Self::UploadArchive => "upload-archive",
        }
    }
}

/// How much of the service's exchange with its client is carried out (gitprotocol-http(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// All of it, over one connection: ssh.
    Whole,
    /// What the service offers. Nothing is read from stdin, and nothing can be changed.
    Advertisement,
    /// One request from stdin, and its answer.
    StatelessRpc,
}

impl Exchange {
    /// The option of `ruko-slug session`, with a space before it.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Advertisement => " --advertise",
            Self::StatelessRpc => " --stateless-rpc",
        }
    }
}

/// A request that may be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) service: Service,
    pub(crate) exchange: Exchange,
    pub(crate) app: AppName,
}

/// A request that is not one of git's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No command: a terminal was wanted.
    Interactive,
    /// Another command.
    NotGit,
    /// A repository path that cannot be an app.
    NotAnApp(String),
    /// A service that git does not have over HTTP.
    NotOverHttp,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interactive => f.write_str("There is no shell here. ")?,
            Self::NotGit => f.write_str("Only git is served here: fetch, push and archive. ")?,
            Self::NotAnApp(why) => writeln!(f, "{why}.")?,
            Self::NotOverHttp => f.write_str("Archives are served over ssh only. ")?,
        }
        f.write_str("Use it as a git remote: git remote add openruko ssh://git@HOST:PORT/APP.git")
    }
}

/// Parses `SSH_ORIGINAL_COMMAND`. git quotes the path for a shell; some clients spell `git upload-pack`
/// instead of `git-upload-pack`.
pub(crate) fn parse(original: Option<&OsStr>, exchange: Exchange) -> Result<Request, Refusal> {
    let Some(original) = original else { return Err(Refusal::Interactive) };
    let original = original.to_str().ok_or(Refusal::NotGit)?;
    if original.trim().is_empty() {
        return Err(Refusal::Interactive);
    }
    let words = shell_words::split(original).map_err(|_| Refusal::NotGit)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (service, path) = match words[..] {
        ["git-receive-pack", path] | ["git", "receive-pack", path] => (Service::ReceivePack, path),
        ["git-upload-pack", path] | ["git", "upload-pack", path] => (Service::UploadPack, path),
        ["git-upload-archive", path] | ["git", "upload-archive", path] => (Service::UploadArchive, path),
        _ => return Err(Refusal::NotGit),
    };
    if service == Service::UploadArchive && exchange != Exchange::Whole {
        return Err(Refusal::NotOverHttp);
    }
    Ok(Request { service, exchange, app: app(path)? })
}

/// `my-app`, `my-app.git`, `/my-app.git`, `~/my-app.git`, each with an optional slash at the end.
fn app(path: &str) -> Result<AppName, Refusal> {
    let name = path.strip_prefix('/').unwrap_or(path);
    let name = name.strip_prefix("~/").unwrap_or(name);
    let name = name.strip_suffix('/').unwrap_or(name);
    let name = name.strip_suffix(".git").unwrap_or(name);
    name.parse().map_err(|why: ruko_core::BadName| Refusal::NotAnApp(why.to_string()))
}

/// `GIT_PROTOCOL` comes from the client: passed on only in the form that git itself sends
/// (`git help protocol-v2`: colon-separated `key=value`).
pub(crate) fn git_protocol(value: Option<OsString>) -> Option<String> {
    let value = value?.into_string().ok()?;
    let ok = value.len() <= 256
        && !value.is_empty()
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"=:.-_".contains(&b));
    ok.then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_str(original: &str) -> Result<Request, Refusal> {
        parse(Some(OsStr::new(original)), Exchange::Whole)
    }

    #[test]
    fn every_spelling_of_gits_services_is_understood() {
        for (original, service) in [
            ("git-receive-pack 'my-app.git'", Service::ReceivePack),
            ("git receive-pack '/my-app.git'", Service::ReceivePack),
            ("git-upload-pack '/my-app'", Service::UploadPack),
            ("git upload-pack my-app/", Service::UploadPack),
            ("git-upload-pack '~/my-app.git'", Service::UploadPack),
            ("git-upload-pack '/~/my-app.git'", Service::UploadPack),
            ("git-upload-archive \"my-app.git\"", Service::UploadArchive),
        ] {
            let app = "my-app".parse().unwrap();
            let request = Request { service, exchange: Exchange::Whole, app };
            assert_eq!(parse_str(original), Ok(request), "{original}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for original in [
            "bash -i",
            "git-receive-pack",
            "git-receive-pack 'my-app.git'; id",
            "git-receive-pack 'my-app.git' extra",
            "git-receive-pack --help 'my-app.git'",
            "git-receive-pack 'my-app.git",
            "git-shell",
            "scp -t /",
            "GIT-receive-pack 'my-app.git'",
            "/usr/bin/git-receive-pack 'my-app.git'",
            "git  -c x=y receive-pack 'my-app.git'",
        ] {
            assert_eq!(parse_str(original), Err(Refusal::NotGit), "{original}");
        }
        for original in ["git-upload-pack '../../etc'", "git-upload-pack ''", "git-upload-pack '--x'"] {
            assert!(matches!(parse_str(original), Err(Refusal::NotAnApp(_))), "{original}");
        }
        assert_eq!(parse(None, Exchange::Whole), Err(Refusal::Interactive));
        assert_eq!(parse_str("  "), Err(Refusal::Interactive));
    }

    #[test]
    fn archives_are_not_served_over_http() {
        let archive = OsStr::new("git-upload-archive 'my-app.git'");
        assert_eq!(parse(Some(archive), Exchange::StatelessRpc), Err(Refusal::NotOverHttp));
    }

    #[test]
    fn a_refusal_says_what_to_use_and_repeats_nothing_that_drives_a_terminal() {
        let refusal = parse_str("git-upload-pack '\x1b[2Jx'").unwrap_err().to_string();
        assert!(refusal.contains("ssh://git@HOST:PORT/APP.git"));
        assert!(!refusal.contains('\x1b'));
    }

    #[test]
    fn git_protocol_is_passed_on_only_when_well_formed() {
        assert_eq!(git_protocol(Some("version=2".into())).as_deref(), Some("version=2"));
        for bad in ["", "version=2\nX=1", "$(id)", "a b", &"x".repeat(300)] {
            assert_eq!(git_protocol(Some(bad.into())), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_names_one_app_and_nothing_else(original in any::<String>()) {
            if let Ok(request) = parse_str(&original) {
                prop_assert!(request.app.as_str().parse::<AppName>().is_ok());
            }
        }

        #[test]
        fn any_path_as_git_quotes_it_is_the_app_or_refused(path in "[ -~]{0,40}") {
            let quoted = format!("git-receive-pack '{}'", path.replace('\'', "'\\''").replace('!', "'\\!'"));
            match parse_str(&quoted) {
                Ok(request) => prop_assert!(path.contains(request.app.as_str())),
                Err(refusal) => prop_assert!(matches!(refusal, Refusal::NotAnApp(_))),
            }
        }
    }
}
