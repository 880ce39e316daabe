//! The environment of the CLI.
//!
//! The variables are those of Heroku CLI 11, and of 7 and 8 where they differ, as those programs read them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Variables by name.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// What the user's real Heroku is reached with: it must not meet our server, nor our CLI it.
const FOREIGN: [&str; 8] = [
    "HEROKU_API_KEY",
    "HEROKU_CLOUD",
    "HEROKU_DATA_CONTROL_PLANE",
    "HEROKU_DATA_SERVICE",
    "HEROKU_HEADERS",
    "HEROKU_HOST",
    "HEROKU_PARTICLEBOARD_HEADERS",
    "HEROKU_SSL_VERIFY",
];

/// What nothing shall carry through a proxy.
const LOCAL_HOSTS: &str = "127.0.0.1,localhost";

/// Where the CLI finds what.
pub(crate) struct Surroundings<'a> {
    /// The forwarder, for requests with the key.
    pub(crate) url: &'a str,
    /// The forwarder, for requests without it.
    pub(crate) open_url: &'a str,
    /// The API key.
    pub(crate) key: &'a str,
    /// Host and port in remotes.
    pub(crate) git_host: &'a str,
    /// The certificates to trust beside those that Node.js brings.
    pub(crate) ca_file: &'a Path,
    /// What git takes for the user's settings.
    pub(crate) git_config: &'a Path,
    /// Settings of git (key and value) beside these.
    pub(crate) git_settings: &'a [(String, String)],
    /// Where the CLI keeps what it can do without.
    pub(crate) cache_dir: Option<&'a Path>,
}

impl Surroundings<'_> {
    /// The inherited environment, changed for the CLI.
    ///
    /// Its data directory stays the user's, for the plugins that are installed there; its cache does not,
    /// since it holds names of apps. Their login is not touched: a key in the environment goes before every
    /// stored one.
    pub(crate) fn environment(&self, inherited: Environment) -> Environment {
        let mut environment = inherited;
        for name in FOREIGN {
            environment.remove(OsStr::new(name));
        }
        let no_proxy = no_proxy(&environment);
        let mut set = |name: &str, value: OsString| environment.insert(name.into(), value);
        for (name, value) in self.variables() {
            set(name, value);
        }
        set("NO_PROXY", no_proxy.clone());
        set("no_proxy", no_proxy);
        if let Some(dir) = self.cache_dir {
            set("HEROKU_CACHE_DIR", dir.into());
        }
        add_git_settings(&mut environment, self.git_settings);
        environment
    }

    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let authority = self.url.trim_start_matches("http://");
        let mut variables: Vec<(_, OsString)> = vec![
            ("HEROKU_HOST", self.url.into()),
            ("HEROKU_API_KEY", self.key.into()),
            ("HEROKU_PARTICLEBOARD_URL", self.url.into()),
            ("HEROKU_GIT_HOST", self.git_host.into()),
            ("HEROKU_LOGIN_HOST", format!("{}/cli-login", self.open_url).into()),
            ("HEROKU_BUILDPACK_REGISTRY_URL", self.open_url.into()),
            ("HEROKU_STATUS_HOST", self.open_url.into()),
            ("HEROKU_NETRC_WRITE", "true".into()),
            ("DISABLE_TELEMETRY", "true".into()),
            ("HEROKU_SKIP_ANALYTICS", "1".into()),
            ("HEROKU_SKIP_NEW_VERSION_CHECK", "true".into()),
            ("HEROKU_DISABLE_AUTOUPDATE", "true".into()),
            ("NODE_EXTRA_CA_CERTS", self.ca_file.into()),
            ("GIT_CONFIG_GLOBAL", self.git_config.into()),
        ];
        // Services of Heroku that an openruko server does not have. Without these a CLI would ask Heroku's,
        // with a key that means nothing there; so it meets the forwarder, which speaks no TLS.
        for name in ["HEROKU_DATA_HOST", "HEROKU_POSTGRESQL_HOST", "HEROKU_REDIS_HOST"] {
            variables.push((name, authority.into()));
        }
        variables.push(("HEROKU_EXEC_URL", format!("https://{authority}").into()));
        variables.push(("HEROKU_CI_WEBSOCKET_URL", format!("ws://{authority}/socket").into()));
        variables.push(("HEROKU_ANALYTICS_URL", self.url.into()));
        variables
    }
}

/// The hosts that go past a proxy, and this machine.
fn no_proxy(environment: &Environment) -> OsString {
    let known = ["NO_PROXY", "no_proxy"].iter().find_map(|name| environment.get(OsStr::new(name)));
    let Some(known) = known.filter(|known| !known.is_empty()) else { return LOCAL_HOSTS.into() };
    let mut hosts = known.clone();
    hosts.push(",");
    hosts.push(LOCAL_HOSTS);
    hosts
}

/// Adds settings of git behind those that are in the environment already (`GIT_CONFIG_COUNT`, git-config(1)).
fn add_git_settings(environment: &mut Environment, settings: &[(String, String)]) {
    let count = environment.get(OsStr::new("GIT_CONFIG_COUNT")).and_then(|count| count.to_str());
    let first: usize = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    for (index, (key, value)) in settings.iter().enumerate() {
        environment.insert(format!("GIT_CONFIG_KEY_{}", first + index).into(), key.into());
        environment.insert(format!("GIT_CONFIG_VALUE_{}", first + index).into(), value.into());
    }
    environment.insert("GIT_CONFIG_COUNT".into(), (first + settings.len()).to_string().into());
}

fn path(environment: &Environment, name: &str) -> Option<PathBuf> {
    environment.get(OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The files that git takes for the user's settings, in the order in which it reads them.
pub(crate) fn git_config_files(environment: &Environment) -> Vec<PathBuf> {
    if let Some(file) = environment.get(OsStr::new("GIT_CONFIG_GLOBAL")) {
        return if file.is_empty() { Vec::new() } else { vec![file.into()] };
    }
    let home = path(environment, "HOME");
    let xdg = path(environment, "XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    xdg.map(|dir| dir.join("git/config"))
        .into_iter()
        .chain(home.map(|home| home.join(".gitconfig")))
        .collect()
}

/// Where the CLI's cache is for a server, given by its URL: apart from the one of the user's real Heroku.
pub(crate) fn cache_dir(environment: &Environment, server: &str) -> Option<PathBuf> {
    let caches = path(environment, "XDG_CACHE_HOME")
        .or_else(|| path(environment, "HOME").map(|home| home.join(".cache")))?;
    let authority = server.split("://").last().unwrap_or_default().trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let name: String = authority.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    Some(caches.join("openruko").join(format!("heroku-{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(list: &[(&str, &str)]) -> Environment {
        list.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn cli(list: &[(&str, &str)]) -> Environment {
        let surroundings = Surroundings {
            url: "http://127.0.0.1:4000",
            open_url: "http://127.0.0.1:4000/segment",
            key: "key",
            git_host: "paas.test:8443",
            ca_file: Path::new("/tmp/x/ca.pem"),
            git_config: Path::new("/tmp/x/gitconfig"),
            git_settings: &[("a.b".into(), "1".into()), ("a.c".into(), "2".into())],
            cache_dir: Some(Path::new("/home/u/.cache/openruko/x")),
        };
        surroundings.environment(inherited(list))
    }

    fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        environment.get(OsStr::new(name)).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn the_cli_meets_nothing_but_the_forwarder() {
        let environment = cli(&[]);
        for (name, expected) in [
            ("HEROKU_HOST", "http://127.0.0.1:4000"),
            ("HEROKU_PARTICLEBOARD_URL", "http://127.0.0.1:4000"),
            ("HEROKU_API_KEY", "key"),
            ("HEROKU_GIT_HOST", "paas.test:8443"),
            ("HEROKU_BUILDPACK_REGISTRY_URL", "http://127.0.0.1:4000/segment"),
            ("HEROKU_STATUS_HOST", "http://127.0.0.1:4000/segment"),
            ("HEROKU_DATA_HOST", "127.0.0.1:4000"),
            ("HEROKU_EXEC_URL", "https://127.0.0.1:4000"),
            ("DISABLE_TELEMETRY", "true"),
            ("NODE_EXTRA_CA_CERTS", "/tmp/x/ca.pem"),
            ("GIT_CONFIG_GLOBAL", "/tmp/x/gitconfig"),
            ("HEROKU_CACHE_DIR", "/home/u/.cache/openruko/x"),
            ("NO_PROXY", LOCAL_HOSTS),
        ] {
            assert_eq!(value(&environment, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn the_real_heroku_of_the_user_stays_out_and_the_rest_stays() {
        let environment = cli(&[
            ("HEROKU_API_KEY", "real"),
            ("HEROKU_HOST", "heroku.com"),
            ("HEROKU_HEADERS", "{\"Authorization\":\"Bearer real\"}"),
            ("HEROKU_CLOUD", "staging"),
            ("HEROKU_APP", "shop"),
            ("HEROKU_DATA_DIR", "/home/u/plugins"),
            ("HEROKU_DEBUG", "1"),
            ("PATH", "/bin"),
        ]);
        assert!(environment.values().all(|value| !value.to_string_lossy().contains("real")));
        assert_eq!(value(&environment, "HEROKU_CLOUD"), None);
        for (name, expected) in [
            ("HEROKU_APP", "shop"),
            ("HEROKU_DATA_DIR", "/home/u/plugins"),
            ("HEROKU_DEBUG", "1"),
            ("PATH", "/bin"),
        ] {
            assert_eq!(value(&environment, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn this_machine_goes_past_every_proxy() {
        for name in ["NO_PROXY", "no_proxy"] {
            let environment = cli(&[(name, "example.org")]);
            for name in ["NO_PROXY", "no_proxy"] {
                assert_eq!(value(&environment, name), Some("example.org,127.0.0.1,localhost"));
            }
        }
    }

    #[test]
    fn settings_of_git_join_those_that_are_there() {
        let environment =
            cli(&[("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "x.y"), ("GIT_CONFIG_VALUE_0", "z")]);
        let names = [
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0",
            "GIT_CONFIG_KEY_1",
            "GIT_CONFIG_VALUE_1",
            "GIT_CONFIG_KEY_2",
        ];
        let values = names.map(|name| value(&environment, name).unwrap());
        assert_eq!(values, ["3", "x.y", "a.b", "1", "a.c"]);
    }

    #[test]
    fn the_settings_of_the_user_are_found_where_git_finds_them() {
        let files = |list| git_config_files(&inherited(list));
        let both = ["/home/u/.config/git/config", "/home/u/.gitconfig"].map(PathBuf::from);
        assert_eq!(files(&[("HOME", "/home/u")]), both);
        assert_eq!(files(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")])[0], Path::new("/x/git/config"));
        assert_eq!(files(&[("HOME", "/h"), ("GIT_CONFIG_GLOBAL", "/g")]), [PathBuf::from("/g")]);
        assert_eq!(files(&[("HOME", "/h"), ("GIT_CONFIG_GLOBAL", "")]), [] as [PathBuf; 0]);
        assert_eq!(files(&[]), [] as [PathBuf; 0]);
    }

    #[test]
    fn each_server_has_a_cache_of_its_own() {
        let dir = |server| cache_dir(&inherited(&[("HOME", "/home/u")]), server).unwrap();
        assert_eq!(dir("https://paas.test:8443"), Path::new("/home/u/.cache/openruko/heroku-paas.test_8443"));
        assert_ne!(dir("https://a.test"), dir("https://b.test"));
        assert_eq!(cache_dir(&Environment::new(), "https://a.test"), None);
    }
}
