//! The servers that a user knows, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ClientError, Home, ServerUrl};

const FILE: &str = "servers.toml";

/// What a user calls a server: letters, digits, `.`, `-` and `_`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

/// A name that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a server's name: 1 to 64 letters, digits, `.`, `-` and `_`, beginning with a letter or digit", .0.escape_debug())]
pub struct BadServerName(String);

impl ServerName {
    /// The name that a server gets when its user gives none: its host, with the port if there is one.
    pub fn of(url: &ServerUrl) -> Self {
        let host: String =
            url.host().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let host: String = host.trim_start_matches(['-', '.']).chars().take(64).collect();
        Self(if host.is_empty() { "server".into() } else { host })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = BadServerName;

    fn from_str(raw: &str) -> Result<Self, BadServerName> {
        let ok = (1..=64).contains(&raw.len())
            && raw.as_bytes()[0].is_ascii_alphanumeric()
            && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        if ok { Ok(Self(raw.to_owned())) } else { Err(BadServerName(raw.to_owned())) }
    }
}

impl TryFrom<String> for ServerName {
    type Error = BadServerName;

    fn try_from(raw: String) -> Result<Self, BadServerName> {
        raw.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownServer {
    /// Where its Platform API is.
    pub url: ServerUrl,
    /// Where repositories are over HTTPS, `{app}` standing for the app's name.
    pub git_url: String,
    /// Where they are over ssh.
    pub ssh_url: String,
    /// Where apps are reached.
    pub web_url: String,
    /// A PEM file with the certificates that it is believed by, beside the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// `servers.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// The one that is meant when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ServerName>,
    /// Each by its name.
    #[serde(default)]
    pub servers: BTreeMap<ServerName, KnownServer>,
}

impl Servers {
    /// Reads what is remembered; nothing yet is no error.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn load(home: &Home) -> Result<Self, ClientError> {
        home.read(FILE)
    }

    /// Remembers a server, in place of one with the same name. The first one becomes the default.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remember(home: &Home, name: &ServerName, server: KnownServer) -> Result<(), ClientError> {
        home.change(FILE, |servers: &mut Self| {
            servers.servers.insert(name.clone(), server);
            servers.default.get_or_insert_with(|| name.clone());
        })
    }

    /// Makes a server the default.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prefer(home: &Home, name: &ServerName) -> Result<(), ClientError> {
        home.change(FILE, |servers: &mut Self| servers.default = Some(name.clone()))
    }

    /// Forgets a server.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(home: &Home, name: &ServerName) -> Result<(), ClientError> {
        home.change(FILE, |servers: &mut Self| {
            servers.servers.remove(name);
            if servers.default.as_ref() == Some(name) {
                servers.default = None;
            }
        })
    }

    /// The server of this name or with this address.
    pub fn find(&self, name_or_url: &str) -> Option<(&ServerName, &KnownServer)> {
        let by_name = |name: &ServerName| name.as_str() == name_or_url;
        let url = name_or_url.contains("://").then(|| ServerUrl::typed(name_or_url).ok()).flatten();
        self.servers.iter().find(|(name, server)| by_name(name) || Some(&server.url) == url.as_ref())
    }

    /// The server that is meant when none is named: the default, or the only one.
    pub fn preferred(&self) -> Option<(&ServerName, &KnownServer)> {
        let default = self.default.as_ref().and_then(|name| self.servers.get_key_value(name));
        default.or_else(|| self.servers.iter().next().filter(|_| self.servers.len() == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> KnownServer {
        let text = |s: &str| s.to_owned();
        let url = url.parse().unwrap();
        let (git_url, ssh_url) = (text("https://git.x/{app}.git"), text("ssh://git@x/{app}.git"));
        KnownServer { url, git_url, ssh_url, web_url: text("https://{app}.x"), ca_file: None }
    }

    fn home(dir: &tempfile::TempDir) -> Home {
        let root = dir.path().as_os_str().to_owned();
        Home::find(|name| (name == "HOME").then(|| root.clone())).unwrap()
    }

    #[test]
    fn a_server_gets_its_hosts_name() {
        let name = |url: &str| ServerName::of(&url.parse().unwrap()).to_string();
        assert_eq!(name("https://paas.example.com"), "paas.example.com");
        assert_eq!(name("http://127.0.0.1:5000"), "127.0.0.1-5000");
        assert_eq!(name("http://[::1]:5000"), "1--5000");
        assert!("-x".parse::<ServerName>().is_err() && "a/b".parse::<ServerName>().is_err());
    }

    #[test]
    fn what_is_remembered_is_found_by_name_and_address() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        let name: ServerName = "paas".parse().unwrap();
        assert_eq!(Servers::load(&home).unwrap(), Servers::default());
        Servers::remember(&home, &name, server("https://paas.example.com")).unwrap();
        Servers::remember(&home, &"other".parse().unwrap(), server("https://other.example.com")).unwrap();
        let servers = Servers::load(&home).unwrap();
        assert_eq!(servers.preferred().unwrap().0, &name, "the first one is the default");
        assert_eq!(servers.find("https://Paas.example.com/").unwrap().0, &name);
        assert_eq!(servers.find("other").unwrap().1.url.as_str(), "https://other.example.com");
        assert!(servers.find("third").is_none());

        Servers::forget(&home, &name).unwrap();
        let servers = Servers::load(&home).unwrap();
        assert_eq!(servers.default, None);
        assert_eq!(servers.preferred().unwrap().0.as_str(), "other", "the only one left");
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(&dir);
        std::fs::create_dir_all(dir.path().join(".config/openruko")).unwrap();
        std::fs::write(home.path(FILE), "servers = 3").unwrap();
        assert!(Servers::load(&home).unwrap_err().to_string().contains("servers.toml"));
    }
}
