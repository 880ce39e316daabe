//! The calls of the component `admin`: users, keys, apps and what belongs to them.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use ruko_api_types::push_log::PushRecord;
use ruko_api_types::storage::{CollectGarbage, Garbage, StorageUsage};
use ruko_api_types::{
    App, AuditEntry, Build, Buildpacks, ConfigVarChange, Destroyed, Key, NewApp, NewKey, NewPassword,
    NewToken, NewUser, PasswordSet, Release, User, UserChanges, UserToken,
};
use ruko_core::{AppName, ConfigVarName, PushId, UserName};

use crate::http::{Answer, escape};
use crate::{ApiClient, ApiClientError};

/// A thing that was wanted, and whether the call made it or found it as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made<T> {
    /// The thing.
    pub thing: T,
    /// `false`: it was there already.
    pub new: bool,
}

fn made<T: serde::de::DeserializeOwned>(answer: Answer<'_>) -> Result<Made<T>, ApiClientError> {
    let new = answer.status() == 201;
    Ok(Made { thing: answer.json()?, new })
}

impl ApiClient {
    /// What there is in storage.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn storage(&self) -> Result<StorageUsage, ApiClientError> {
        self.get("/internal/storage")?.json()
    }

    /// Applies the rules of what is kept in storage now, or only says what would be let go.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn collect_garbage(&self, dry_run: bool) -> Result<Garbage, ApiClientError> {
        self.post("/internal/storage/gc", &CollectGarbage { dry_run })?.json()
    }

    /// Makes a user, or finds the one of this name.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn add_user(&self, name: &UserName) -> Result<Made<User>, ApiClientError> {
        self.make_user(&NewUser { name: name.clone(), email: None, site_admin: false })
    }

    /// Makes a user, or finds the one of this name as they are.
    ///
    /// # Errors
    /// `Refused` with 409 when the e-mail address is another user's; or the API cannot be reached.
    pub fn make_user(&self, new: &NewUser) -> Result<Made<User>, ApiClientError> {
        made(self.post("/internal/users", new)?)
    }

    /// Changes a user, and gives them as they are then.
    ///
    /// # Errors
    /// `Refused` with 404, or with 409 when the e-mail address is another user's; or the API cannot be
    /// reached.
    pub fn change_user(&self, name: &UserName, changes: &UserChanges) -> Result<User, ApiClientError> {
        self.patch(&format!("/internal/users/{name}"), changes)?.json()
    }

    /// Sets a user's password: this one, or one that the API makes up. With an old one every token ends.
    ///
    /// # Errors
    /// `Refused` with 404, or with 422 when it is no good password; or the API cannot be reached.
    pub fn set_password(
        &self,
        name: &UserName,
        password: Option<String>,
    ) -> Result<PasswordSet, ApiClientError> {
        self.put(&format!("/internal/users/{name}/password"), &NewPassword { password })?.json()
    }

    /// Turns a user's second factor off, for one who lost it.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn reset_two_factor(&self, name: &UserName) -> Result<(), ApiClientError> {
        self.delete(&format!("/internal/users/{name}/two-factor"))?.done()
    }

    /// The last lines of an app's log, oldest first; of a dyno or process type, or of a source, alone.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn log(
        &self,
        app: &AppName,
        lines: u32,
        dyno: Option<&str>,
        source: Option<&str>,
    ) -> Result<Vec<String>, ApiClientError> {
        let only = |key: &str, name: Option<&str>| {
            name.map_or_else(String::new, |name| format!("&{key}={}", escape(name)))
        };
        let (dyno, source) = (only("dyno", dyno), only("source", source));
        self.get(&format!("/internal/apps/{app}/log?lines={lines}{dyno}{source}"))?.json()
    }

    /// Who did what, newest first; of one app, or of everything.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn audit(&self, app: Option<&AppName>, limit: u32) -> Result<Vec<AuditEntry>, ApiClientError> {
        let app = app.map_or_else(String::new, |app| format!("&app={app}"));
        self.get(&format!("/internal/audit?limit={limit}{app}"))?.json()
    }

    /// The log of pushes, newest first: of one app, of one user, those alone that came to nothing.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn pushes(
        &self,
        app: Option<&AppName>,
        user: Option<&UserName>,
        failed: bool,
        limit: u32,
    ) -> Result<Vec<PushRecord>, ApiClientError> {
        let app = app.map_or_else(String::new, |app| format!("&app={app}"));
        let user = user.map_or_else(String::new, |user| format!("&user={user}"));
        self.get(&format!("/internal/pushes?limit={limit}&failed={failed}{app}{user}"))?.json()
    }

    /// All users, by name.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn users(&self) -> Result<Vec<User>, ApiClientError> {
        self.get("/internal/users")?.json()
    }

    /// Removes a user with their keys and their access to other people's apps.
    ///
    /// # Errors
    /// `Refused` with 404, or with 409 while the user owns apps; or the API cannot be reached.
    pub fn remove_user(&self, name: &UserName) -> Result<(), ApiClientError> {
        self.delete(&format!("/internal/users/{name}"))?.done()
    }

    /// Gives a user a new token of the Platform API.
    ///
    /// # Errors
    /// `Refused` with 404 when there is no such user; or the API cannot be reached.
    pub fn add_token(&self, user: &UserName, new: &NewToken) -> Result<UserToken, ApiClientError> {
        self.post(&format!("/internal/users/{user}/tokens"), new)?.json()
    }

    /// Gives a user a key, or finds it with that user.
    ///
    /// # Errors
    /// `Refused` with 422 when it is no public key, 409 when it is another user's, 404 when there is no
    /// such user; or the API cannot be reached.
    pub fn add_key(&self, user: &UserName, public_key: String) -> Result<Made<Key>, ApiClientError> {
        made(self.post(&format!("/internal/users/{user}/keys"), &NewKey { public_key })?)
    }

    /// The keys of a user, oldest first.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn keys(&self, user: &UserName) -> Result<Vec<Key>, ApiClientError> {
        self.get(&format!("/internal/users/{user}/keys"))?.json()
    }

    /// Takes a key from a user.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn remove_key(&self, user: &UserName, fingerprint: &str) -> Result<(), ApiClientError> {
        self.delete(&format!("/internal/users/{user}/keys/{}", escape(fingerprint)))?.done()
    }

    /// Makes an app, or finds the one of this name if it has the same owner.
    ///
    /// # Errors
    /// `Refused` with 409 when the name is taken by another owner, 404 when there is no such user; or the
    /// API cannot be reached.
    pub fn create_app(&self, name: &AppName, owner: &UserName) -> Result<Made<App>, ApiClientError> {
        made(self.post("/internal/apps", &NewApp { name: name.clone(), owner: owner.clone() })?)
    }

    /// All apps, by name.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn apps(&self) -> Result<Vec<App>, ApiClientError> {
        self.get("/internal/apps")?.json()
    }

    /// One app.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn app(&self, app: &AppName) -> Result<App, ApiClientError> {
        self.get(&format!("/internal/apps/{app}"))?.json()
    }

    /// Destroys an app with its releases, config vars and builds.
    ///
    /// # Errors
    /// `Refused` with 404, or with 409 while a push is open; or the API cannot be reached.
    pub fn destroy_app(&self, app: &AppName) -> Result<Destroyed, ApiClientError> {
        self.delete(&format!("/internal/apps/{app}"))?.json()
    }

    /// Lets a user push to and fetch an app.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn add_collaborator(&self, app: &AppName, user: &UserName) -> Result<(), ApiClientError> {
        self.put(&format!("/internal/apps/{app}/collaborators/{user}"), &())?.done()
    }

    /// Takes a collaborator's access away.
    ///
    /// # Errors
    /// `Refused` with 404 when there is no such app or the user is no collaborator, 409 for the owner; or
    /// the API cannot be reached.
    pub fn remove_collaborator(&self, app: &AppName, user: &UserName) -> Result<(), ApiClientError> {
        self.delete(&format!("/internal/apps/{app}/collaborators/{user}"))?.done()
    }

    /// The config vars of an app. Values are secrets.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn config_vars(&self, app: &AppName) -> Result<BTreeMap<ConfigVarName, String>, ApiClientError> {
        self.get(&format!("/internal/apps/{app}/config-vars"))?.json()
    }

    /// Sets and removes config vars, and gives all of them as they are then.
    ///
    /// # Errors
    /// `Refused` with 404, or with 422 where a bound is exceeded; or the API cannot be reached.
    pub fn change_config_vars(
        &self,
        app: &AppName,
        change: &ConfigVarChange,
    ) -> Result<BTreeMap<ConfigVarName, String>, ApiClientError> {
        self.patch(&format!("/internal/apps/{app}/config-vars"), change)?.json()
    }

    /// Replaces an app's list of buildpacks; an empty one means detect.
    ///
    /// # Errors
    /// `Refused` with 404, or with 422 when a name cannot be used; or the API cannot be reached.
    pub fn set_buildpacks(
        &self,
        app: &AppName,
        buildpacks: Vec<String>,
    ) -> Result<Buildpacks, ApiClientError> {
        self.put(&format!("/internal/apps/{app}/buildpacks"), &Buildpacks { buildpacks })?.json()
    }

    /// The latest releases of an app, newest first.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn releases(&self, app: &AppName) -> Result<Vec<Release>, ApiClientError> {
        self.get(&format!("/internal/apps/{app}/releases"))?.json()
    }

    /// The latest builds of an app, newest first.
    ///
    /// # Errors
    /// `Refused` with 404; or the API cannot be reached.
    pub fn builds(&self, app: &AppName) -> Result<Vec<Build>, ApiClientError> {
        self.get(&format!("/internal/apps/{app}/builds"))?.json()
    }

    /// Copies what was kept of a push's output to `to`; with `follow` until the build has ended, each
    /// piece as it comes.
    ///
    /// # Errors
    /// `Refused` with 404; the API cannot be reached or goes away in between; `to` cannot be written.
    pub fn copy_output(&self, push: &PushId, follow: bool, to: &mut dyn Write) -> Result<(), ApiClientError> {
        let path = format!("/internal/pushes/{push}/output?follow={follow}");
        let answer = if follow { self.get_endless(&path) } else { self.get(&path) }?;
        pour(answer.reader()?, to).map_err(|source| ApiClientError::Output { push: push.clone(), source })
    }
}

/// Like [`std::io::copy`], but what has come is shown before more is waited for.
fn pour(mut from: impl Read, to: &mut dyn Write) -> std::io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            count => to.write_all(&piece[..count]).and_then(|()| to.flush())?,
        }
    }
}
