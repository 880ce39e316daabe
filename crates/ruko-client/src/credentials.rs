//! Who a user is on each server.

use std::collections::BTreeMap;

use ruko_api_types::platform::Id;
use serde::{Deserialize, Serialize};

use crate::home::only_owner_reads;
use crate::{ClientError, Home, ServerUrl, Token};

const FILE: &str = "credentials.toml";

/// What a login gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The account, by its e-mail address.
    pub account: String,
    /// The token.
    pub token: Token,
    /// The token's authorization, to be deleted by a logout; absent where the server was never asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Id>,
}

/// `credentials.toml`. By address and not by name, so that a server that takes over another one's name does
/// not get its token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(default)]
    servers: BTreeMap<ServerUrl, Credential>,
}

impl Credentials {
    /// Reads them; none yet is no error.
    ///
    /// # Errors
    /// The file can be read by others than its owner, or cannot be read or understood.
    pub fn load(home: &Home) -> Result<Self, ClientError> {
        only_owner_reads(&home.path(FILE))?;
        home.read(FILE)
    }

    /// Who the user is on this server.
    pub fn of(&self, url: &ServerUrl) -> Option<&Credential> {
        self.servers.get(url)
    }

    /// Remembers a login.
    ///
    /// # Errors
    /// As [`Credentials::load`], or the file cannot be written.
    pub fn remember(home: &Home, url: &ServerUrl, credential: Credential) -> Result<(), ClientError> {
        only_owner_reads(&home.path(FILE))?;
        home.change(FILE, |all: &mut Self| {
            all.servers.insert(url.clone(), credential);
        })
    }

    /// Forgets a login.
    ///
    /// # Errors
    /// As [`Credentials::remember`].
    pub fn forget(home: &Home, url: &ServerUrl) -> Result<(), ClientError> {
        only_owner_reads(&home.path(FILE))?;
        home.change(FILE, |all: &mut Self| {
            all.servers.remove(url);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn they_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().as_os_str().to_owned();
        let home = Home::find(|name| (name == "XDG_CONFIG_HOME").then(|| root.clone())).unwrap();
        let url: ServerUrl = "https://paas.example.com".parse().unwrap();
        let token = Token::try_from("HRKU-secret".to_owned()).unwrap();
        let credential = Credential { account: "dev@example.test".into(), token, authorization: None };
        assert!(!format!("{credential:?}").contains("secret"));
        Credentials::remember(&home, &url, credential.clone()).unwrap();

        let path = home.path(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Credentials::load(&home).unwrap().of(&url), Some(&credential));
        assert_eq!(Credentials::load(&home).unwrap().of(&"https://x.example.com".parse().unwrap()), None);

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let why = Credentials::load(&home).unwrap_err().to_string();
        assert!(why.contains("chmod 600") && why.contains("credentials.toml"), "{why}");
        assert!(Credentials::forget(&home, &url).is_err());

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        Credentials::forget(&home, &url).unwrap();
        assert_eq!(Credentials::load(&home).unwrap(), Credentials::default());
    }
}
