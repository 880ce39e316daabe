//! The configuration of a new state directory, and the tokens of its components.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ruko_core::config::{
    AdminConfig, ApiConfig, BuildConfig, BuildLimits, Config, ContainerConfig, DynoLimits, GitConfig,
    HostConfig, PublicConfig, RetentionConfig, RouterConfig, ServeConfig, UpConfig,
};
use ruko_core::{Fault, Hint, hex, message};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::UpArgs;
use super::host::{Account, Users};
use super::install::Install;
use super::state::State;

/// What a closed network needs, taken over from the environment of the first start.
const TAKEN_OVER: [&str; 16] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_REGISTRY",
    "PIP_CERT",
    "PIP_INDEX_URL",
    "PIP_DEFAULT_TIMEOUT",
];

const HEAD: &str = "# The configuration of openruko, written by the first `openruko up` on this state directory.\n\
    # It is yours from now on: edit it and start again. Tokens are in files of their own; what stands\n\
    # here are their digests.\n\n";

/// Makes tokens and writes the configuration.
pub(super) fn write(args: &UpArgs, install: &Install, state: &State, users: &Users) -> Result<(), Fault> {
    let mut components = BTreeMap::new();
    let readers =
        [("serve", users.git), ("admin", Account::ROOT), ("host", users.git), ("router", users.openruko)];
    for (component, reader) in readers {
        components.insert(component.to_owned(), token(state, component, reader)?);
    }
    let config = config(args, install, state, components);
    let text = toml::to_string_pretty(&config).fault("the configuration cannot be written")?;
    ruko_sys::replace(&state.config(), 0o644, format!("{HEAD}{text}").as_bytes())?;
    Ok(())
}

/// Writes a new token, readable by who uses it, and gives its digest.
fn token(state: &State, component: &str, reader: Account) -> Result<String, Fault> {
    let mut random = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).fault("no random bytes")?;
    let token = hex(&random);
    let path = state.token(component);
    ruko_sys::replace(&path, 0o600, token.as_bytes())?;
    reader.own(&path)?;
    Ok(hex(&Sha256::digest(token.as_bytes())))
}

fn config(args: &UpArgs, install: &Install, state: &State, components: BTreeMap<String, String>) -> Config {
    let api_url = format!("http://{}", args.api_listen);
    let container_command: Vec<String> = ["sudo", "-n"]
        .map(str::to_owned)
        .into_iter()
        .chain(super::host::container_run(install, state))
        .collect();
    let host = host(args, state, &container_command);
    Config {
        api: Some(ApiConfig {
            listen: args.api_listen,
            database: format!("sqlite://{}", state.api().join("openruko.db").display()),
            database_password_file: None,
            storage: format!("file://{}", state.storage().display()),
            s3: None,
            swift: None,
            uploads: Some(state.uploads()),
            logs: Some(state.logs()),
            url: api_url.clone(),
            web_url: format!("http://{{app}}.localhost:{}/", args.web_listen.port()),
            stack: known("openruko-12"),
            template: known("openruko-build"),
            stacks: BTreeMap::new(),
            deploy_refs: ["main", "master"].map(|branch| format!("refs/heads/{branch}")).to_vec(),
            lease_seconds: 30,
            components,
            limits: BuildLimits::default(),
            dyno_sizes: BTreeMap::new(),
            retention: RetentionConfig::default(),
            public: Some(public(args)),
        }),
        git: Some(GitConfig {
            listen: args.git_listen,
            serve_program: install.serve(),
            tls: None,
            trusted_proxies: Vec::new(),
            max_request_bytes: 2 << 30,
        }),
        serve: Some(ServeConfig {
            api_url: api_url.clone(),
            token_file: state.token("serve"),
            container_command,
            runtime_dir: state.run(),
            wait_seconds: 60,
            build_slots: None,
            user_slots: None,
            slot_seconds: 600,
            reserve_bytes: 1 << 30,
        }),
        container: Some(ContainerConfig {
            state_dir: state.containers(),
            template_dir: install.templates(),
            hooks_dir: install.hooks(),
            buildpacks_dir: install.buildpacks(),
            tools_dir: install.tools(),
            slugs_dir: Some(state.slugs()),
            stacks_dir: Some(state.stacks()),
            bridge: args.bridge.clone(),
            subnet: args.subnet,
            allow: Vec::new(),
            slots: 64,
            cpus: 2.0,
            connections: 1024,
            max: BuildLimits::default(),
            dyno_max: DynoLimits::default(),
            reserve_bytes: 1 << 30,
            allow_missing_limits: false,
        }),
        host: Some(host),
        router: Some(router(args, state)),
        build: BuildConfig { env: build_env(), files: BTreeMap::new() },
        admin: Some(AdminConfig { api_url, token_file: state.token("admin") }),
        up: Some(UpConfig { ssh_listen: args.ssh_listen }),
    }
}

fn host(args: &UpArgs, state: &State, container_command: &[String]) -> HostConfig {
    with_defaults(json!({
        "api_url": format!("http://{}", args.api_listen),
        "token_file": state.token("host"),
        "container_command": container_command,
        "state_dir": state.dynos(),
        "slugs_dir": state.slugs(),
        "template": "openruko-dyno",
        "rendezvous": {
            "listen": args.rendezvous_listen,
            "url": format!("rendezvous://{}", args.rendezvous_listen),
        },
    }))
}

fn router(args: &UpArgs, state: &State) -> RouterConfig {
    with_defaults(json!({
        "api_url": format!("http://{}", args.api_listen),
        "token_file": state.token("router"),
        "listen": args.web_listen,
        "state_file": state.router().join("apps.json"),
    }))
}

/// A table of which only what has no default is said.
fn with_defaults<T: DeserializeOwned>(table: serde_json::Value) -> T {
    serde_json::from_value(table).expect("what is written here follows the rule of its table")
}

/// What is reached on this machine alone; where it is reached from elsewhere, the admin says.
fn public(args: &UpArgs) -> PublicConfig {
    PublicConfig {
        listen: args.public_listen,
        url: format!("http://{}", args.public_listen),
        git_url: format!("http://{}/{{app}}.git", args.git_listen),
        ssh_url: format!("ssh://git@{}/{{app}}.git", args.ssh_listen),
        region: "us".to_owned(),
        tls: None,
        trusted_proxies: Vec::new(),
        calls_per_hour: 4500,
        webhook_private: false,
    }
}

fn known<T: std::str::FromStr>(name: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    name.parse().expect("a name that is written here follows the rule of its type")
}

/// Takes over what a closed network needs, and names what is left out.
fn build_env() -> BTreeMap<String, String> {
    let env = TAKEN_OVER.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let (secret, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
        env.filter(|(_, value)| !value.is_empty()).partition(|(_, value)| may_hold_a_password(value));
    if !secret.is_empty() {
        super::children::say(&left_out(secret.keys()));
    }
    open
}

/// Every build can read the configuration's `[build.env]`, so what may be `user:password@host` does not go
/// there. A URL may leave out its scheme where curl reads it (curl(1), ENVIRONMENT); the name of a file is
/// no URL.
fn may_hold_a_password(value: &str) -> bool {
    value.contains('@') && !value.starts_with('/')
}

fn left_out<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    message::trouble(format!(
        "not taken over from the environment, since every build could read the password in it: {}; \
         set it without `user:password@` in [build.env] of the configuration",
        names.join(", ")
    ))
}

/// An option that says otherwise than the configuration would be ignored in silence: say so instead.
pub(super) fn check(args: &UpArgs, config: &Config, path: &Path) -> Result<(), Fault> {
    let container = config.container()?;
    let api = config.api()?;
    let public = api.public.as_ref().map_or_else(nowhere, |public| public.listen.to_string());
    let git = config.git.as_ref().map_or_else(nowhere, |git| git.listen.to_string());
    let web = config.router.as_ref().map_or_else(nowhere, |router| router.listen.to_string());
    let rendezvous = config.host.as_ref().and_then(|host| host.rendezvous.as_ref());
    let rendezvous = rendezvous.map_or_else(nowhere, |rendezvous| rendezvous.listen.to_string());
    let differences = [
        ("--ssh-listen", args.ssh_listen.to_string(), config.up()?.ssh_listen.to_string()),
        ("--api-listen", args.api_listen.to_string(), api.listen.to_string()),
        ("--public-listen", args.public_listen.to_string(), public),
        ("--git-listen", args.git_listen.to_string(), git),
        ("--web-listen", args.web_listen.to_string(), web),
        ("--rendezvous-listen", args.rendezvous_listen.to_string(), rendezvous),
        ("--bridge", args.bridge.clone(), container.bridge.clone()),
        ("--subnet", args.subnet.to_string(), container.subnet.to_string()),
    ];
    let given: Vec<String> = std::env::args().collect();
    for (option, asked, configured) in differences {
        let was_given = given.iter().any(|arg| arg == option || arg.starts_with(&format!("{option}=")));
        if was_given && asked != configured {
            return Err(Fault::refused(format!(
                "{option} {asked} differs from `{configured}` in `{}`",
                path.display()
            ))
            .hint("the configuration counts after the first start: edit it, or leave the option out"));
        }
    }
    Ok(())
}

fn nowhere() -> String {
    "nowhere".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_taken_over() {
        for secret in ["http://ada:pw@proxy:3128", "https://token@mirror/simple", "ada:pw@proxy:3128"] {
            assert!(may_hold_a_password(secret), "{secret}");
        }
        for open in ["http://proxy:3128", "localhost,.example.com", "/etc/ssl/ca@2.pem", "60"] {
            assert!(!may_hold_a_password(open), "{open}");
        }
        let line = left_out(["PIP_INDEX_URL".to_owned(), "https_proxy".to_owned()].iter());
        assert!(line.contains("PIP_INDEX_URL, https_proxy") && line.lines().count() == 1, "{line}");
    }

    #[test]
    fn the_demo_hands_over_what_the_first_start_takes() {
        let makefile = include_str!("../../../../Makefile").replace("\\\n", " ");
        let line = makefile.lines().find_map(|line| line.strip_prefix("CLOSED_NETWORK =")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), TAKEN_OVER);
    }

    #[test]
    fn digests_are_of_the_text_of_a_token() {
        assert_eq!(
            hex(&Sha256::digest(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
