//! Certificates of apps.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time};

/// A certificate and its key, for domains of an app. The key is never told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SniEndpoint {
    /// Its id.
    pub id: Id,
    /// Its name, unique in the app.
    pub name: String,
    /// What people see; the name.
    pub display_name: Option<String>,
    /// The ids of the domains that use it.
    pub domains: Vec<Id>,
    /// PEM: the certificate, then what it was signed with.
    pub certificate_chain: String,
    /// What the certificate says.
    pub ssl_cert: SslCert,
    /// The app.
    pub app: Named,
    /// When it was added.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last replaced.
    #[serde(default)]
    pub updated_at: Time,
}

/// What the certificate of a [`SniEndpoint`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SslCert {
    /// The endpoint's id.
    pub id: Id,
    /// Whether it was obtained automatically.
    pub acm: bool,
    /// Whether somebody else than itself signed it. Whether they are trusted is not looked into.
    #[serde(rename = "ca_signed?")]
    pub ca_signed: bool,
    /// Whether it is signed with its own key.
    #[serde(rename = "self_signed?")]
    pub self_signed: bool,
    /// The host names that it is for.
    pub cert_domains: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// Whom it is for.
    pub subject: String,
    /// From when it is good.
    pub starts_at: Time,
    /// Until when.
    pub expires_at: Time,
}

/// `POST /apps/{app}/sni-endpoints`, and `PATCH` to replace one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewSniEndpoint {
    /// PEM: the certificate, then what it was signed with.
    pub certificate_chain: String,
    /// PEM: its private key, without a passphrase.
    pub private_key: String,
}

impl fmt::Debug for NewSniEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSniEndpoint").finish_non_exhaustive()
    }
}

/// `PATCH /apps/{app}/acm`: look again now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AcmRefresh {
    /// Whether to.
    #[serde(default)]
    pub acm_refresh: bool,
}
