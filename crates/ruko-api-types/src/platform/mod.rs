//! The Platform API, version 3: what the Heroku CLI and `openruko` speak.
//!
//! One module a noun, each with its resource and the bodies that make or change it. The JSON is Heroku's:
//! <https://devcenter.heroku.com/articles/platform-api-reference>. A field that may have no value is there
//! as `null`, unless its comment says that it is left out; unknown fields are ignored when reading.

mod account;
mod app;
mod build;
mod buildpack;
mod collaborator;
mod config_vars;
mod deploy_key;
mod domain;
mod dyno;
mod dyno_size;
mod feature;
mod formation;
mod log_drain;
mod log_session;
mod pipeline;
mod release;
mod server;
mod slug;
mod sni_endpoint;
mod stack;
mod transfer;
mod web_settings;
mod webhook;

use serde::{Deserialize, Serialize};

pub use account::{
    AccessToken, Account, AccountChanges, AccountEnd, Authorization, AuthorizationChanges, BrowserLogin,
    BrowserToken, Key, NewAuthorization, NewBrowserLogin, NewKey, RecoveryCodes, TwoFactorCode, TwoFactorEnd,
    TwoFactorSecret,
};
pub use app::{App, AppChanges, NewApp};
pub use build::{Build, BuildStatus, Buildpack, NewBuild, NewSourceBlob, Source, SourceBlob, SourceUrls};
pub use buildpack::{
    BuildpackInstallation, BuildpackUpdate, BuildpackUpdates, InstalledBuildpack, RegistryBuildpack,
};
pub use collaborator::{
    BadPermission, Collaborator, CollaboratorChanges, NewCollaborator, Permission, PermissionRef,
};
pub use config_vars::{ConfigChanges, ConfigVars};
pub use deploy_key::{DeployKey, DeployKeyHosts};
pub use domain::{Domain, DomainChanges, NewDomain};
pub use dyno::{Accepted, Dyno, DynoState, EnvValue, NewDyno};
pub use dyno_size::{DynoCost, DynoSize};
pub use feature::{AppFeature, FeatureChange};
pub use formation::{BadQuantity, Formation, FormationChange, FormationUpdate, FormationUpdates, Quantity};
pub use log_drain::{LogDrain, NewLogDrain};
pub use log_session::{LogSession, NewLogSession};
pub use pipeline::{
    AppFilter, AppsWithin, BadStage, NewPipeline, NewPipelineCoupling, NewPipelinePromotion, Pipeline,
    PipelineChanges, PipelineCoupling, PipelineCouplingChanges, PipelineOwner, PipelinePromotion,
    PromotionSource, PromotionTarget, Stage,
};
pub use release::{NewRelease, Release, ReleaseStatus};
pub use server::Server;
pub use slug::Slug;
pub use sni_endpoint::{AcmRefresh, NewSniEndpoint, SniEndpoint, SslCert};
pub use stack::{Provider, Region, Stack};
pub use transfer::{AppTransfer, NewAppTransfer, TeamAppChanges};
pub use web_settings::WebSettingsChanges;
pub use webhook::{
    BadWebhookLevel, NewWebhook, Webhook, WebhookAttempt, WebhookChanges, WebhookDelivery, WebhookEvent,
    WebhookEventRef, WebhookLevel,
};

/// A resource's id: a UUID in lower case with dashes.
pub type Id = String;

/// A moment: RFC 3339 in UTC with seconds, `2026-11-22T11:06:39Z`.
pub type Time = String;

/// A resource named inside another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Named {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
}

/// A resource of which only the id is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Identified {
    /// Its id.
    pub id: Id,
}

/// A user named inside a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct UserRef {
    /// The account's id.
    pub id: Id,
    /// The account's e-mail address, or its name where it has none.
    pub email: String,
}

/// A release named inside a dyno.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ReleaseRef {
    /// The release's id.
    pub id: Id,
    /// Its number: 7 for `v7`.
    pub version: u64,
}

#[cfg(test)]
mod tests;
