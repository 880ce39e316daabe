//! Domains.

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time};

/// A host name by which an app is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Domain {
    /// The domain's id.
    pub id: Id,
    /// The host name.
    pub hostname: String,
    /// `heroku` for the app's own name below the server's domain, `custom` for the user's.
    pub kind: String,
    /// Where a DNS record should point; `null` for the app's own.
    pub cname: Option<String>,
    /// `none`, `pending`, `succeeded` or `failed`.
    pub status: String,
    /// How far a certificate of its own is; `null` without.
    pub acm_status: Option<String>,
    /// Why not further.
    pub acm_status_reason: Option<String>,
    /// The certificate in use.
    pub sni_endpoint: Option<Named>,
    /// The app.
    pub app: Named,
    /// When it was added.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /apps/{app}/domains`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewDomain {
    /// The host name.
    pub hostname: String,
    /// The certificate to use, by name or id; the CLI sends `null` for none.
    pub sni_endpoint: Option<String>,
}

/// `PATCH /apps/{app}/domains/{domain}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DomainChanges {
    /// The certificate to use, by name or id; `null` for none.
    pub sni_endpoint: Option<String>,
}
