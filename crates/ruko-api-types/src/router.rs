//! What openruko-router asks of the API: where requests go.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ruko_core::dyno::DynoName;
use serde::{Deserialize, Serialize};

use crate::AppRef;

/// `GET /internal/router/apps?after=REVISION&wait_seconds=N`: the apps that changed after a revision, as in
/// [`crate::host::AppsToRun`], 410 included; the revisions are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutedApps {
    /// What to ask after the next time.
    pub revision: u64,
    /// Whether there is more already.
    pub more: bool,
    /// Where requests to each go.
    pub apps: Vec<RoutedApp>,
    /// Ids of apps that are there no more.
    pub gone: Vec<String>,
}

/// Where requests to an app go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutedApp {
    /// The app.
    pub app: AppRef,
    /// Its revision.
    pub revision: u64,
    /// The host names that it answers, lower case, without a port: its own and its domains; `*.example.com` stands
    /// for every name with one label more.
    pub hosts: Vec<String>,
    /// Everybody is told that it is being worked on.
    pub maintenance: bool,
    /// Requests over plain HTTP are sent to HTTPS.
    pub force_https: bool,
    /// What its web dynos do.
    pub web: WebState,
    /// The dynos that get its requests.
    pub dynos: Vec<RoutedDyno>,
    /// Certificates for its domains.
    pub certificates: Vec<Certificate>,
}

/// What the web dynos of an app do; where there are [`RoutedApp::dynos`] they get the requests whatever stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebState {
    /// There are some, or will be in a moment.
    Running,
    /// They sleep: they start when they are asked for (`POST /internal/router/wake`).
    Asleep,
    /// All of them crashed (H10).
    Crashed,
    /// There should be none (H14).
    None,
}

/// A dyno that gets requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutedDyno {
    /// Its id.
    pub id: String,
    /// `web.1`.
    pub name: DynoName,
    /// Where it answers.
    pub address: SocketAddr,
}

/// A certificate for some names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The names that it is for, as in [`RoutedApp::hosts`].
    pub hosts: Vec<String>,
    /// PEM: the certificate, then what it was signed with.
    pub chain: String,
    /// PEM: its private key.
    pub key: String,
}

/// Keys are never printed.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// `POST /internal/router/wake`: somebody asks for an app that sleeps. 204, also when it does not sleep; 404 when it is
/// there no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// The app's id.
    pub app: String,
}

/// `POST /internal/router/activity`: how many seconds ago the last request of each app began or ended; 0 while one is
/// open. Apps without a request since the last call need not be there. It is told when there is none at all, too: no
/// app is put to sleep for having been idle later than the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// By the apps' ids.
    pub apps: BTreeMap<String, u64>,
}
