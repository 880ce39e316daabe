//! The addresses of an app's repository, and what becomes of the remotes that the CLI writes.
//!
//! The CLI knows one form only, `https://GIT_HOST/APP.git`, and finds the app of a directory by it. The
//! repositories here have an ssh address with a user and a port of their own, and an https address. So for
//! as long as the CLI runs, git shows it every address in the CLI's form (`url.*.insteadOf`), and what it
//! has written is put into the form that git can use afterwards.

use std::collections::BTreeMap;

use hyper::Uri;
use ruko_core::Fault;

use crate::GitTransport;
use crate::upstream::Upstream;

/// Remotes by name, with their addresses.
pub(crate) type Remotes = BTreeMap<String, String>;

const APP: &str = "{app}.git";

/// What stands before an app's name; behind it is `.git`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form(String);

impl Form {
    fn app<'a>(&self, url: &'a str) -> Option<&'a str> {
        let app = url.strip_prefix(&self.0)?.strip_suffix(".git")?;
        (!app.is_empty() && !app.contains('/')).then_some(app)
    }

    fn url(&self, app: &str) -> String {
        format!("{}{app}.git", self.0)
    }
}

/// The addresses of a server's repositories.
#[derive(Debug)]
pub(crate) struct GitUrls {
    /// `HEROKU_GIT_HOST`.
    pub(crate) git_host: String,
    /// Scheme, host and port of the https form: what credentials are for.
    pub(crate) http_origin: String,
    cli: Form,
    http: Form,
    ssh: Form,
    /// Other ways to write the ssh form.
    ssh_aliases: Vec<Form>,
}

/// What is to be done for a remote that the CLI has written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) remote: String,
    pub(crate) url: String,
    pub(crate) transport: GitTransport,
}

impl GitUrls {
    /// # Errors
    /// An address is none, or does not end in `{app}.git`.
    pub(crate) fn new(upstream: &Upstream) -> Result<Self, Fault> {
        let http = form(&upstream.git_url)?;
        let ssh = form(&upstream.ssh_url)?;
        let uri: Uri = http.0.parse().map_err(|_| no_address(&upstream.git_url, "it is no URL"))?;
        let (Some(scheme @ ("https" | "http")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(no_address(&upstream.git_url, "it does not begin with https://"));
        };
        let host = authority.as_str().rsplit('@').next().unwrap_or_default().to_owned();
        let ssh_aliases = ssh_aliases(&ssh);
        Ok(Self {
            http_origin: format!("{scheme}://{host}"),
            cli: Form(format!("https://{host}/")),
            git_host: host,
            http,
            ssh,
            ssh_aliases,
        })
    }

    /// Settings of git (key and value) under which the CLI sees all remotes in its own form.
    pub(crate) fn shown_to_cli(&self) -> Vec<(String, String)> {
        let others = self.ssh_aliases.iter().chain([&self.ssh, &self.http]).filter(|form| **form != self.cli);
        others.map(|form| instead_of(&self.cli, form)).collect()
    }

    /// Settings of git (key and value) under which the CLI's form leads to the repositories.
    pub(crate) fn leading_to(&self, transport: GitTransport) -> Vec<(String, String)> {
        let form = self.form(transport);
        if *form == self.cli { Vec::new() } else { vec![instead_of(form, &self.cli)] }
    }

    /// What is to be done for the remotes that the CLI has written: those that are new or another, and the
    /// one that it was told to set. A remote keeps the transport that it had, where it was not told to set
    /// it.
    pub(crate) fn settle(
        &self,
        before: &Remotes,
        after: &Remotes,
        chosen: GitTransport,
        told: Option<&str>,
    ) -> Vec<Settled> {
        let settled = after.iter().filter_map(|(remote, url)| {
            let app = self.cli.app(url)?;
            let told = told == Some(remote);
            let had = before.get(remote);
            if had == Some(url) && !told {
                return None;
            }
            let kept = had.and_then(|url| self.transport(url)).filter(|_| !told);
            let transport = kept.unwrap_or(chosen);
            Some(Settled { remote: remote.clone(), url: self.form(transport).url(app), transport })
        });
        settled.collect()
    }

    /// Whether an address is that of a repository on this server.
    pub(crate) fn is_ours(&self, url: &str) -> bool {
        self.cli.app(url).is_some() || self.transport(url).is_some()
    }

    fn form(&self, transport: GitTransport) -> &Form {
        match transport {
            GitTransport::Ssh => &self.ssh,
            GitTransport::Https => &self.http,
        }
    }

    fn transport(&self, url: &str) -> Option<GitTransport> {
        if self.http.app(url).is_some() {
            return Some(GitTransport::Https);
        }
        let ssh = self.ssh_aliases.iter().chain([&self.ssh]).any(|form| form.app(url).is_some());
        ssh.then_some(GitTransport::Ssh)
    }
}

fn instead_of(shown: &Form, stored: &Form) -> (String, String) {
    (format!("url.{}.insteadOf", shown.0), stored.0.clone())
}

fn form(url: &str) -> Result<Form, Fault> {
    let form = url.strip_suffix(APP).ok_or_else(|| no_address(url, "it does not end in {app}.git"))?;
    if form.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(no_address(url, "it holds blanks or control characters"));
    }
    if !form.ends_with(['/', ':']) || form.starts_with('-') {
        return Err(no_address(url, "it has no host"));
    }
    Ok(Form(form.to_owned()))
}

fn no_address(url: &str, why: &str) -> Fault {
    Fault::refused(format!("`{}` is not where a server has its repositories: {why}", url.escape_debug()))
        .hint("the server says so at /openruko; see its configuration")
}

/// `git@host:` and `ssh://git@host/` lead to the same where the port is 22 and the repositories lie at the
/// top.
fn ssh_aliases(ssh: &Form) -> Vec<Form> {
    let account = match ssh.0.strip_prefix("ssh://") {
        Some(rest) => rest.strip_suffix('/').map(|rest| rest.strip_suffix(":22").unwrap_or(rest)),
        None => ssh.0.strip_suffix(':'),
    };
    let Some(account) = account.filter(|account| !account.contains(['/', ':'])) else { return Vec::new() };
    [format!("{account}:"), format!("ssh://{account}/"), format!("ssh://{account}:22/")]
        .map(Form)
        .into_iter()
        .filter(|form| form != ssh)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use GitTransport::{Https, Ssh};

    fn urls(git_url: &str, ssh_url: &str) -> Result<GitUrls, Fault> {
        GitUrls::new(&Upstream {
            name: "main".into(),
            url: "https://paas.test".into(),
            token: String::new(),
            git_url: git_url.into(),
            ssh_url: ssh_url.into(),
            ca_file: None,
        })
    }

    fn usual() -> GitUrls {
        urls("https://paas.test/{app}.git", "ssh://git@paas.test:2222/{app}.git").unwrap()
    }

    fn remotes(list: &[(&str, &str)]) -> Remotes {
        list.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect()
    }

    fn settled(
        urls: &GitUrls,
        before: &[(&str, &str)],
        after: &[(&str, &str)],
        chosen: GitTransport,
        told: Option<&str>,
    ) -> Vec<(String, String)> {
        let settled = urls.settle(&remotes(before), &remotes(after), chosen, told);
        settled.into_iter().map(|settled| (settled.remote, settled.url)).collect()
    }

    const SSH: &str = "ssh://git@paas.test:2222/shop.git";
    const HTTPS: &str = "https://paas.test/shop.git";

    fn one(url: &str) -> Vec<(String, String)> {
        vec![("openruko".to_owned(), url.to_owned())]
    }

    #[test]
    fn a_new_remote_gets_the_chosen_transport() {
        let urls = usual();
        let after = [("openruko", HTTPS), ("origin", "https://example.org/shop.git")];
        assert_eq!(settled(&urls, &[], &after, Ssh, None), one(SSH));
        assert_eq!(settled(&urls, &[], &after, Https, None), one(HTTPS));
    }

    #[test]
    fn a_remote_that_was_not_written_is_left_alone() {
        let urls = usual();
        assert!(urls.is_ours(HTTPS) && urls.is_ours(SSH));
        assert!(!urls.is_ours("https://git.heroku.com/shop.git"));
        for before in [[("openruko", HTTPS)], [("openruko", SSH)]] {
            assert_eq!(settled(&urls, &before, &before, Ssh, None), []);
        }
    }

    #[test]
    fn a_remote_that_is_set_gets_the_chosen_transport() {
        let urls = usual();
        let https = [("openruko", HTTPS)];
        for before in [SSH, HTTPS] {
            let before = [("openruko", before)];
            assert_eq!(settled(&urls, &before, &https, Ssh, Some("openruko")), one(SSH));
            assert_eq!(settled(&urls, &before, &https, Https, Some("openruko")), one(HTTPS));
        }
    }

    #[test]
    fn a_renamed_app_keeps_its_remotes_transport() {
        let urls = usual();
        let after = [("openruko", "https://paas.test/new.git")];
        let ssh = settled(&urls, &[("openruko", SSH)], &after, Https, None);
        assert_eq!(ssh, one("ssh://git@paas.test:2222/new.git"));
        assert_eq!(
            settled(&urls, &[("openruko", HTTPS)], &after, Ssh, None),
            one("https://paas.test/new.git")
        );
    }

    #[test]
    fn repositories_elsewhere_are_shown_in_the_clis_form() {
        let urls = urls("http://127.0.0.1:5001/git/{app}.git", "git@paas.test:{app}.git").unwrap();
        assert_eq!(
            (urls.git_host.as_str(), urls.http_origin.as_str()),
            ("127.0.0.1:5001", "http://127.0.0.1:5001")
        );
        let shown: Vec<_> = urls.shown_to_cli().into_iter().map(|(_, form)| form).collect();
        assert_eq!(
            shown,
            [
                "ssh://git@paas.test/",
                "ssh://git@paas.test:22/",
                "git@paas.test:",
                "http://127.0.0.1:5001/git/"
            ]
        );
        assert!(urls.shown_to_cli().iter().all(|(key, _)| key == "url.https://127.0.0.1:5001/.insteadOf"));
        let leading = |transport| urls.leading_to(transport).remove(0).0;
        assert_eq!(leading(Ssh), "url.git@paas.test:.insteadOf");
        assert_eq!(leading(Https), "url.http://127.0.0.1:5001/git/.insteadOf");
        let after = [("openruko", "https://127.0.0.1:5001/shop.git")];
        assert_eq!(settled(&urls, &[], &after, Https, None), one("http://127.0.0.1:5001/git/shop.git"));
        assert_eq!(usual().leading_to(Https), []);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let ssh = "git@paas.test:{app}.git";
        for (git_url, ssh_url) in [
            ("https://paas.test/", ssh),
            ("https://paas.test/{app}", ssh),
            ("ftp://paas.test/{app}.git", ssh),
            ("{app}.git", ssh),
            ("https://paas.test/{app}.git", "-oProxyCommand=x:{app}.git"),
            ("https://paas.test/{app}.git", "git@paas.test:\n{app}.git"),
            ("https://paas.test/{app}.git", ""),
        ] {
            assert!(urls(git_url, ssh_url).is_err(), "{git_url} {ssh_url}");
        }
    }
}
