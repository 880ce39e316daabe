//! The table `[api]`, judged: what is constructed here can be used as it stands.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ruko_core::config::{ApiConfig, BuildLimits, PublicConfig, RetentionConfig};
use ruko_core::names::is_ref_name;
use ruko_core::{AppName, PushId};
use ruko_http::{Bounds, Listen};

use crate::auth::{Component, Tokens};
use crate::clock::Millis;
use crate::database::BadDatabase;
use crate::dyno_size::Sizes;
use crate::objects::{self, Storage};
use crate::stacks::Stacks;
use crate::store::Place;

/// The longest term of a lease: so long would an app be closed after a crash.
const MAX_LEASE_SECONDS: u64 = 3600;

/// Sizes and times are kept as BIGINT and added up in programs; a pebibyte is bound enough.
const MAX_LIMIT: u64 = 1 << 50;

/// The dynos of an app are reported and written down at once.
const MAX_DYNOS: u32 = 1000;

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the configuration's [api] {key} {rule}")]
pub struct BadSetting {
    key: &'static str,
    rule: String,
}

fn bad(key: &'static str, rule: impl Into<String>) -> BadSetting {
    BadSetting { key, rule: rule.into() }
}

/// What the API works with.
#[derive(Debug)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    pub(crate) database: Place,
    /// Where objects are.
    pub(crate) storage: Storage,
    /// Where tarballs wait to be built, where they may.
    pub(crate) uploads: Option<PathBuf>,
    /// Where the logs of apps are kept, where they are.
    pub(crate) logs: Option<PathBuf>,
    pub(crate) url: String,
    pub(crate) web_url: String,
    pub(crate) stacks: Stacks,
    pub(crate) deploy_refs: Vec<String>,
    pub(crate) lease: Duration,
    pub(crate) tokens: Tokens,
    /// A host runs dynos: releases have to prove themselves there.
    pub(crate) runs_dynos: bool,
    /// What dynos of each size get.
    pub(crate) sizes: Sizes,
    /// Dynos that an app may have.
    pub(crate) dynos_per_app: u32,
    pub(crate) limits: BuildLimits,
    /// What is kept in storage.
    pub(crate) retention: Retention,
    /// The Platform API, where there is one.
    pub public: Option<Public>,
}

/// What is kept in storage: `[api.retention]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Slugs of so many deploys of an app.
    pub(crate) releases: u32,
    /// Versions of its repository.
    pub(crate) repositories: u32,
    /// What was never committed, for so long.
    pub(crate) orphans: Millis,
    /// A build cache, for so long after the last push.
    pub(crate) caches: Millis,
}

/// What developers reach: `[api.public]`.
#[derive(Clone, Debug)]
pub struct Public {
    /// Where it listens, with TLS or without.
    pub listen: Listen,
    /// By which developers reach it, without a slash at the end.
    pub url: String,
    /// Where an app's repository is over HTTP; `{app}` stands for its name.
    git_url: String,
    /// Where it is over ssh, likewise.
    ssh_url: String,
    /// The name of the one region.
    pub region: String,
    /// Calls that one account may make in an hour.
    pub calls_per_hour: u32,
    /// Whether webhooks may be on private networks.
    pub webhook_private: bool,
}

impl Public {
    /// Where an app's repository is over HTTPS; of `{app}` itself, the pattern.
    pub(crate) fn git_url(&self, app: &str) -> String {
        self.git_url.replace("{app}", app)
    }

    /// Where it is over ssh; likewise.
    pub(crate) fn ssh_url(&self, app: &str) -> String {
        self.ssh_url.replace("{app}", app)
    }
}

impl Settings {
    /// Where the internal API listens.
    pub(crate) fn internal_listen(&self) -> Listen {
        // All of its clients are on this machine.
        let usual = Bounds::default();
        let (address, bounds) = (self.listen, Bounds { of_one: usual.places, ..usual });
        Listen { address, table: "[api]", tls: None, trusted_proxies: Vec::new(), bounds }
    }

    /// The public address of an app.
    pub(crate) fn web_url(&self, app: &AppName) -> String {
        self.web_url.replace("{app}", app.as_str())
    }

    /// Where the commit of a push goes.
    pub(crate) fn release_url(&self, push: &PushId) -> String {
        format!("{}/internal/pushes/{push}/commit", self.url)
    }
}

impl TryFrom<&ApiConfig> for Settings {
    type Error = BadSetting;

    fn try_from(config: &ApiConfig) -> Result<Self, BadSetting> {
        let tokens = Tokens::try_from(&config.components).map_err(|rule| bad("components", rule))?;
        Ok(Self {
            listen: config.listen,
            database: database(config)?,
            storage: objects::of(config).map_err(|(key, rule)| bad(key, rule))?,
            uploads: absolute("uploads", config.uploads.as_deref())?,
            logs: absolute("logs", config.logs.as_deref())?,
            url: url("url", &config.url)?,
            web_url: app_url("web_url", &config.web_url)?,
            stacks: Stacks::from(config),
            deploy_refs: deploy_refs(&config.deploy_refs)?,
            lease: lease(config.lease_seconds)?,
            runs_dynos: tokens.has(Component::Host),
            tokens,
            sizes: Sizes::try_from(&config.dyno_sizes).map_err(|rule| bad("dyno_sizes", rule))?,
            dynos_per_app: dynos_per_app(config.dynos_per_app)?,
            limits: limits(config.limits)?,
            retention: retention(config.retention)?,
            public: config.public.as_ref().map(Public::try_from).transpose()?,
        })
    }
}

impl TryFrom<&PublicConfig> for Public {
    type Error = BadSetting;

    fn try_from(config: &PublicConfig) -> Result<Self, BadSetting> {
        Ok(Self {
            listen: Listen {
                address: config.listen,
                table: "[api.public]",
                tls: config.tls.clone(),
                trusted_proxies: config.trusted_proxies.clone(),
                bounds: Bounds::default(),
            },
            url: url("public.url", &config.url)?,
            git_url: app_url("public.git_url", &config.git_url)?,
            ssh_url: app_url("public.ssh_url", &config.ssh_url)?,
            region: region(&config.region)?,
            calls_per_hour: calls_per_hour(config.calls_per_hour)?,
            webhook_private: config.webhook_private,
        })
    }
}

fn database(config: &ApiConfig) -> Result<Place, BadSetting> {
    let database = config.database.parse().map_err(|why: BadDatabase| bad("database", why.to_string()))?;
    Ok(Place { database, password_file: config.database_password_file.clone() })
}

fn absolute(key: &'static str, raw: Option<&Path>) -> Result<Option<PathBuf>, BadSetting> {
    match raw {
        Some(path) if !path.is_absolute() => {
            Err(bad(key, format!("`{}` is not an absolute path", path.display())))
        }
        path => Ok(path.map(Path::to_owned)),
    }
}

fn url(key: &'static str, raw: &str) -> Result<String, BadSetting> {
    let host = raw.strip_prefix("http://").or_else(|| raw.strip_prefix("https://")).unwrap_or_default();
    if host.is_empty() || !raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad(key, format!("`{}` is not an http:// or https:// URL", raw.escape_debug())));
    }
    Ok(raw.trim_end_matches('/').to_owned())
}

fn app_url(key: &'static str, raw: &str) -> Result<String, BadSetting> {
    if !raw.contains("://") || !raw.contains("{app}") || !raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad(key, "must be a URL that contains `{app}`, which stands for an app's name"));
    }
    Ok(raw.to_owned())
}

fn region(raw: &str) -> Result<String, BadSetting> {
    if raw.is_empty() || !raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(bad("public.region", "must be of lower-case letters, digits and `-`"));
    }
    Ok(raw.to_owned())
}

fn calls_per_hour(calls: u32) -> Result<u32, BadSetting> {
    if calls == 0 {
        return Err(bad("public.calls_per_hour", "must be 1 or more"));
    }
    Ok(calls)
}

fn deploy_refs(raw: &[String]) -> Result<Vec<String>, BadSetting> {
    if raw.is_empty()
        || !raw.iter().all(|name| name.starts_with("refs/heads/") && is_ref_name(name.as_bytes()))
    {
        return Err(bad("deploy_refs", "must name branches in full, such as refs/heads/main"));
    }
    Ok(raw.to_vec())
}

fn lease(seconds: u64) -> Result<Duration, BadSetting> {
    if !(1..=MAX_LEASE_SECONDS).contains(&seconds) {
        return Err(bad("lease_seconds", format!("must be from 1 to {MAX_LEASE_SECONDS}")));
    }
    Ok(Duration::from_secs(seconds))
}

fn dynos_per_app(dynos: u32) -> Result<u32, BadSetting> {
    if !(1..=MAX_DYNOS).contains(&dynos) {
        return Err(bad("dynos_per_app", format!("must be from 1 to {MAX_DYNOS}")));
    }
    Ok(dynos)
}

fn limits(limits: BuildLimits) -> Result<BuildLimits, BadSetting> {
    let BuildLimits {
        build_seconds,
        memory_bytes,
        pids,
        disk_bytes,
        slug_bytes,
        output_bytes,
        cache_bytes,
        ..
    } = limits;
    let BuildLimits { pack_bytes, checkout_bytes, checkout_entries, .. } = limits;
    let sent = [pack_bytes, checkout_bytes, checkout_entries];
    let built = [build_seconds, memory_bytes, pids, disk_bytes, slug_bytes, output_bytes, cache_bytes];
    for limit in built.into_iter().chain(sent) {
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(bad("limits", format!("must each be from 1 to {MAX_LIMIT}")));
        }
    }
    Ok(limits)
}

/// One version before the current one is always kept: a fetch may still read it, and a release that fails goes back to it.
const LEAST_REPOSITORIES: u32 = 2;

fn retention(config: RetentionConfig) -> Result<Retention, BadSetting> {
    const LONGEST_DAYS: u32 = 36_500;
    let days = |key, days: u32| match days {
        1..=LONGEST_DAYS => Ok(Millis::from(days) * 24 * 60 * 60 * 1000),
        _ => Err(bad(key, format!("must be from 1 to {LONGEST_DAYS}"))),
    };
    if config.keep_releases == 0 {
        return Err(bad("retention.keep_releases", "must be 1 or more"));
    }
    if config.keep_repositories < LEAST_REPOSITORIES {
        let rule =
            format!("must be {LEAST_REPOSITORIES} or more: a release that fails goes back to the one before");
        return Err(bad("retention.keep_repositories", rule));
    }
    Ok(Retention {
        releases: config.keep_releases,
        repositories: config.keep_repositories,
        orphans: days("retention.orphan_days", config.orphan_days)?,
        caches: days("retention.cache_days", config.cache_days)?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings whose database lies in a directory, with a Platform API.
    pub(crate) fn in_dir(dir: &std::path::Path) -> Settings {
        let mut config = public("");
        config.database = format!("sqlite://{}/api.db", dir.display());
        Settings::try_from(&config).unwrap()
    }

    fn config(extra: &str) -> ApiConfig {
        let digest = "0".repeat(64);
        let mut table: toml::Table = format!(
            "listen = '127.0.0.1:0'\ndatabase = 'sqlite:///var/lib/openruko/api.db'\n\
             storage = 'file:///var/lib/openruko/storage/'\nurl = 'http://127.0.0.1:5000/'\n\
             web_url = 'http://{{app}}.localhost:8080/'\nstack = 'openruko-12'\n\
             template = 'openruko-build'\ncomponents = {{ serve = '{digest}' }}\n"
        )
        .parse()
        .unwrap();
        table.extend(extra.parse::<toml::Table>().unwrap());
        table.try_into().unwrap()
    }

    #[test]
    fn a_good_table_gives_urls_without_double_slashes() {
        let settings = Settings::try_from(&config("")).unwrap();
        let push: PushId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        assert_eq!(
            settings.storage.get("slugs/a/b.tar.gz"),
            "file:///var/lib/openruko/storage/slugs/a/b.tar.gz"
        );
        assert_eq!(
            settings.release_url(&push),
            "http://127.0.0.1:5000/internal/pushes/01ARZ3NDEKTSV4RRFFQ69G5FAV/commit"
        );
        assert_eq!(settings.web_url(&"shop".parse().unwrap()), "http://shop.localhost:8080/");
    }

    #[test]
    fn every_wrong_value_is_refused_and_its_key_named() {
        for (key, wrong) in [
            ("database", "database = 'sqlite://relative.db'"),
            ("database", "database = 'sqlite:///x.db?mode=memory'"),
            ("database", "database = 'postgres://ruko:secret@localhost/x'"),
            ("storage", "storage = '/var/lib'"),
            ("storage", "storage = 's3://bucket'"),
            ("url", "url = '127.0.0.1:5000'"),
            ("uploads", "uploads = 'relative'"),
            ("logs", "logs = 'relative'"),
            ("web_url", "web_url = 'http://localhost/'"),
            ("deploy_refs", "deploy_refs = []"),
            ("deploy_refs", "deploy_refs = ['main']"),
            ("deploy_refs", "deploy_refs = ['refs/heads/a..b']"),
            ("lease_seconds", "lease_seconds = 0"),
            ("lease_seconds", "lease_seconds = 3601"),
            ("components", "components = { serve = 'abc' }"),
            (
                "components",
                "components = { surf = '0000000000000000000000000000000000000000000000000000000000000000' }",
            ),
            ("dynos_per_app", "dynos_per_app = 0"),
            ("dynos_per_app", "dynos_per_app = 1001"),
            ("limits", "limits = { pids = 0 }"),
            ("limits", "limits = { cache_bytes = 0 }"),
            ("retention.keep_releases", "retention = { keep_releases = 0 }"),
            ("retention.keep_repositories", "retention = { keep_repositories = 1 }"),
            ("retention.orphan_days", "retention = { orphan_days = 0 }"),
            ("retention.cache_days", "retention = { cache_days = 36501 }"),
        ] {
            let refused = Settings::try_from(&config(wrong)).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("the configuration's [api] {key} ")), "{wrong}: {refused}");
        }
    }

    fn public(extra: &str) -> ApiConfig {
        let mut table: toml::Table = "listen = '127.0.0.1:0'\nurl = 'http://127.0.0.1:5001/'\n\
             git_url = 'http://127.0.0.1:5002/{app}.git'\nssh_url = 'ssh://git@127.0.0.1:2222/{app}.git'"
            .parse()
            .unwrap();
        table.extend(extra.parse::<toml::Table>().unwrap());
        config(&toml::Table::from_iter([("public".to_owned(), table.into())]).to_string())
    }

    #[test]
    fn the_platform_api_is_judged_as_well() {
        let settings = Settings::try_from(&public("")).unwrap();
        let Public { url, region, .. } = settings.public.unwrap();
        assert_eq!((url.as_str(), region.as_str()), ("http://127.0.0.1:5001", "us"));
        assert!(Settings::try_from(&config("")).unwrap().public.is_none());
        for (key, wrong) in [
            ("url", "url = '127.0.0.1:5001'"),
            ("git_url", "git_url = 'http://127.0.0.1:5002/'"),
            ("ssh_url", "ssh_url = 'git@host:{app}.git'"),
            ("region", "region = ''"),
            ("calls_per_hour", "calls_per_hour = 0"),
        ] {
            let refused = Settings::try_from(&public(wrong)).unwrap_err().to_string();
            let named = format!("the configuration's [api] public.{key} ");
            assert!(refused.starts_with(&named), "{wrong}: {refused}");
        }
    }
}
