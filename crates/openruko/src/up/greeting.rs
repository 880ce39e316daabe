//! What `openruko up` says when everything runs: where it is, and what to type next.

use std::net::SocketAddr;

use ruko_core::config::{Config, PublicConfig};
use ruko_core::{Fault, message};

use super::state::State;

/// The greeting, line by line.
pub(super) fn lines(state: &State, config: &Config, host_key: String) -> Result<Vec<String>, Fault> {
    let ssh = config.up()?.ssh_listen;
    let public = config.api()?.public.as_ref();
    let mut facts = match public {
        Some(public) => reached(public, config.git.is_some()),
        None => vec![("git over ssh", ssh_remote(ssh))],
    };
    if config.router.is_some() {
        facts.push(("Apps", of_app(&config.api()?.web_url)));
    }
    facts.extend([
        ("Host key", host_key),
        ("Internal API", config.api()?.url.clone()),
        ("State", state.dir().display().to_string()),
        ("Configuration", state.config().display().to_string()),
    ]);
    let mut lines = vec![message::step("openruko is up")];
    lines.extend(facts.iter().map(|(name, value)| message::detail(format!("{name:<14} {value}"))));
    lines.extend(first_steps(&state.config().display().to_string(), public, ssh).iter().map(message::detail));
    Ok(lines)
}

/// Where developers find things.
fn reached(public: &PublicConfig, over_http: bool) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Platform API", public.url.clone()), ("git over ssh", of_app(&public.ssh_url))];
    if over_http {
        let scheme = if public.git_url.starts_with("https:") { "git over HTTPS" } else { "git over HTTP" };
        facts.push((scheme, of_app(&public.git_url)));
    }
    facts
}

fn of_app(pattern: &str) -> String {
    pattern.replace("{app}", "APP")
}

/// Listening everywhere, only the reader knows the name by which this machine is reached.
fn ssh_remote(listen: SocketAddr) -> String {
    let host =
        if listen.ip().is_unspecified() { format!("HOST:{}", listen.port()) } else { listen.to_string() };
    format!("ssh://git@{host}/APP.git")
}

fn first_steps(config: &str, public: Option<&PublicConfig>, ssh: SocketAddr) -> Vec<String> {
    let mut steps = vec![
        "To begin, in another terminal, as root:".to_owned(),
        format!("  export OPENRUKO_CONFIG={config}"),
    ];
    match public {
        Some(public) => steps.extend(with_accounts(public)),
        None => steps.extend(without_accounts(ssh)),
    }
    steps.push("Ctrl-C stops everything.".to_owned());
    steps
}

fn with_accounts(public: &PublicConfig) -> Vec<String> {
    let mut steps = vec![
        "  openruko admin user add NAME --email ADDRESS".to_owned(),
        "  openruko admin user password NAME".to_owned(),
        "and then NAME, where the app's git repository is:".to_owned(),
        format!("  openruko login {}", public.url),
        "  openruko keys:add".to_owned(),
        "  openruko create APP".to_owned(),
        "  git push openruko main".to_owned(),
    ];
    let unusable: Vec<&str> =
        [("url", &public.url), ("git_url", &public.git_url), ("ssh_url", &public.ssh_url)]
            .into_iter()
            .filter(|(_, url)| leads_nowhere(url))
            .map(|(key, _)| key)
            .collect();
    if !unusable.is_empty() {
        steps.push(format!(
            "First give {} of [api.public] in the configuration an address that developers can reach.",
            unusable.join(", ")
        ));
    }
    steps
}

fn without_accounts(ssh: SocketAddr) -> Vec<String> {
    vec![
        "  openruko admin user add NAME".to_owned(),
        "  openruko admin key add NAME FILE.pub".to_owned(),
        "  openruko admin app create APP --owner NAME".to_owned(),
        "and where the app is:".to_owned(),
        format!("  git remote add openruko {}", ssh_remote(ssh)),
        "  git push openruko main".to_owned(),
    ]
}

/// An address to listen on everywhere, which is none to connect to.
fn leads_nowhere(url: &str) -> bool {
    url.split(['/', '@']).any(|part| part.starts_with("0.0.0.0") || part.starts_with("[::]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(host: &str) -> PublicConfig {
        toml::from_str(&format!(
            "listen = '127.0.0.1:5001'\nurl = 'http://{host}:5001'\ngit_url = 'http://{host}:5002/{{app}}.git'\n\
             ssh_url = 'ssh://git@{host}:2222/{{app}}.git'\n"
        ))
        .unwrap()
    }

    fn ssh() -> SocketAddr {
        "0.0.0.0:2222".parse().unwrap()
    }

    #[test]
    fn a_developer_is_told_where_to_log_in_and_push() {
        let public = public("127.0.0.1");
        assert_eq!(
            reached(&public, true),
            [
                ("Platform API", "http://127.0.0.1:5001".to_owned()),
                ("git over ssh", "ssh://git@127.0.0.1:2222/APP.git".to_owned()),
                ("git over HTTP", "http://127.0.0.1:5002/APP.git".to_owned()),
            ]
        );
        let steps = first_steps("/srv/config.toml", Some(&public), ssh());
        assert!(steps.iter().any(|step| step == "  openruko login http://127.0.0.1:5001"), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("First")), "{steps:?}");
    }

    #[test]
    fn addresses_that_lead_nowhere_are_named() {
        for host in ["0.0.0.0", "[::]"] {
            let steps = with_accounts(&public(host));
            assert!(
                steps.iter().any(|step| step.starts_with("First give url, git_url, ssh_url ")),
                "{steps:?}"
            );
        }
        assert!(!leads_nowhere("https://paas.example.com/10.0.0.0"));
    }

    #[test]
    fn without_a_platform_api_the_admin_adds_keys_and_apps() {
        let steps = first_steps("/srv/config.toml", None, ssh());
        assert!(
            steps.contains(&"  git remote add openruko ssh://git@HOST:2222/APP.git".to_owned()),
            "{steps:?}"
        );
    }
}
