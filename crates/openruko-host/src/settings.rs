//! The table `[host]`, judged.

use std::path::{Path, PathBuf};

use ruko_api_client::ApiClient;
use ruko_core::config::{Config, RendezvousConfig};
use ruko_core::{Fault, Hint, TemplateName};

use crate::plan::Times;
use crate::rendezvous::Door;

/// What a unix socket's path may have, with the NUL (`unix(7)`).
const SOCKET_PATH: usize = 108;

/// What the agent works with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) container_command: Vec<String>,
    pub(crate) state_dir: PathBuf,
    pub(crate) slugs_dir: PathBuf,
    pub(crate) slug_cache_bytes: u64,
    pub(crate) template: TemplateName,
    pub(crate) disk_bytes: u64,
    pub(crate) port: u16,
    pub(crate) times: Times,
    pub(crate) rendezvous: Option<RendezvousConfig>,
}

impl Settings {
    /// Judges the configuration.
    ///
    /// # Errors
    /// The table is missing, or something in it cannot be used; the message says which.
    pub(crate) fn read(config: &Config) -> Result<Self, Fault> {
        let host = config.host()?;
        let wrong =
            |what: &str, why: &str| Err(Fault::refused(format!("the configuration's [host] {what} {why}")));
        if host.container_command.is_empty() {
            return wrong("container_command", "is empty; it is the command that runs a container");
        }
        if host.port == 0 {
            return wrong("port", "is 0; web dynos are told to listen on it");
        }
        if host.boot_seconds == 0 {
            return wrong("boot_seconds", "is 0; a web dyno needs some time to listen");
        }
        for (name, dir) in [("state_dir", &host.state_dir), ("slugs_dir", &host.slugs_dir)] {
            if !dir.is_absolute() {
                return wrong(name, "is no absolute path");
            }
        }
        let longest = host.state_dir.join("dynos").join("0".repeat(26)).join("socket");
        if longest.as_os_str().len() >= SOCKET_PATH {
            return wrong("state_dir", "is too long: the path of a socket below it has at most 107 bytes");
        }
        if let Some(slugs) = config.container.as_ref().and_then(|container| container.slugs_dir.as_ref())
            && *slugs != host.slugs_dir
        {
            return wrong("slugs_dir", "is not that of [container]");
        }
        if let Some(rendezvous) = &host.rendezvous {
            Door::new(rendezvous.tls.as_ref())?;
            judge_url(&rendezvous.url)?;
        }
        Ok(Self {
            container_command: host.container_command.clone(),
            state_dir: host.state_dir.clone(),
            slugs_dir: host.slugs_dir.clone(),
            slug_cache_bytes: host.slug_cache_bytes,
            template: host.template.clone(),
            disk_bytes: host.disk_bytes,
            port: host.port,
            times: Times {
                boot: host.boot_seconds,
                stop: host.stop_seconds,
                drain: host.drain_seconds,
                release: host.release_seconds,
                one_off: host.one_off_seconds,
            },
            rendezvous: host.rendezvous.clone(),
        })
    }

    /// Where dynos have their directories.
    pub(crate) fn dynos(&self) -> PathBuf {
        dynos(&self.state_dir)
    }
}

/// Where dynos have their directories.
pub(crate) fn dynos(state_dir: &Path) -> PathBuf {
    state_dir.join("dynos")
}

/// A client of the API with the token of the component `host`.
pub(crate) fn api(config: &Config) -> Result<ApiClient, Fault> {
    let host = config.host()?;
    ApiClient::from_token_file(&host.api_url, &host.token_file).map_err(Into::into)
}

fn judge_url(url: &str) -> Result<(), Fault> {
    let rest = url.strip_prefix("rendezvous://").filter(|rest| !rest.contains('/'));
    let port = rest
        .and_then(|rest| rest.rsplit_once(':'))
        .and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
    port.map(drop).ok_or_else(|| {
        let shown = url.escape_debug();
        Fault::refused(format!(
            "the configuration's [host.rendezvous] url `{shown}` is not like rendezvous://HOST:PORT"
        ))
    })
}

/// The directories that the agent needs.
pub(crate) fn make_dirs(settings: &Settings) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    let dynos = settings.dynos();
    for (dir, mode) in [(&dynos, 0o700), (&settings.slugs_dir, 0o755)] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(dir);
        made.fault(format!("cannot make `{}`", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "[host]\napi_url = 'http://127.0.0.1:1'\ntoken_file = '/t'\nstate_dir = '/srv/host'\n\
                        slugs_dir = '/srv/slugs'\ntemplate = 'openruko-dyno'\ncontainer_command = ['run']\n";

    fn refused(more: &str) -> String {
        let text = format!("{HOST}{more}");
        Settings::read(&Config::parse(&text, std::iter::empty()).unwrap()).unwrap_err().message
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert!(Settings::read(&Config::parse(HOST, std::iter::empty()).unwrap()).is_ok());
        assert!(refused("port = 0").contains("port"));
        assert!(refused("boot_seconds = 0").contains("boot_seconds"));
        let long = HOST.replace("/srv/host", &format!("/{}", "x".repeat(80)));
        let long = Settings::read(&Config::parse(&long, std::iter::empty()).unwrap()).unwrap_err();
        assert!(long.message.contains("107"), "{}", long.message);
        for bad in ["rendezvous://x", "https://x:1", "rendezvous://:1", "rendezvous://x:1/y"] {
            assert!(judge_url(bad).is_err(), "{bad}");
        }
        assert!(judge_url("rendezvous://[::1]:5003").is_ok());
    }
}
