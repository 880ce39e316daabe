//! Accounts, how they prove themselves, and their SSH keys.

use serde::{Deserialize, Serialize};

use super::{Id, Named, Time, UserRef};

/// `GET /account`: whose token it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Account {
    /// The account's id.
    pub id: Id,
    /// The e-mail address, or the name where there is none.
    pub email: String,
    /// The name for people.
    pub name: Option<String>,
    /// Whether a login asks for a second factor.
    #[serde(default)]
    pub two_factor_authentication: bool,
    /// Whether the account may do anything at all; the CLI knows accounts that wait for a confirmation.
    #[serde(default)]
    pub verified: bool,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// An authorization: one token of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Authorization {
    /// The authorization's id.
    pub id: Id,
    /// What it is for, in the words of whoever asked for it.
    pub description: Option<String>,
    /// What the token may do: `global`, `read`, `write`, `identity`, …
    pub scope: Vec<String>,
    /// The token.
    pub access_token: Option<AccessToken>,
    /// The OAuth client: always `null` here.
    pub client: Option<Named>,
    /// The OAuth session: always `null` here.
    pub session: Option<super::Identified>,
    /// Whose it is.
    pub user: UserRef,
    /// When it was made.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// The token of an [`Authorization`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AccessToken {
    /// The token's id.
    pub id: Id,
    /// The token in full where it is told for the first time, later `HRKU-abcd**********wxyz`.
    pub token: String,
    /// Seconds until it expires; `null` for never.
    pub expires_in: Option<u64>,
}

/// Without the token.
impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `PATCH /account`: what is absent stays as it is. Its `Debug` leaves the passwords out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AccountChanges {
    /// The e-mail address: an admin alone changes it, and it may be said as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The name: it cannot be changed, and may be said as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The current password: needed with a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The new password. Every other token of the account ends with the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_password: Option<String>,
}

impl std::fmt::Debug for AccountChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountChanges").field("email", &self.email).finish_non_exhaustive()
    }
}

/// `DELETE /account`. Its `Debug` leaves the password out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AccountEnd {
    /// The password, of an account that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for AccountEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountEnd").finish_non_exhaustive()
    }
}

/// `POST /account/two-factor` (201): what an authenticator app needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TwoFactorSecret {
    /// The secret in base 32, to be typed.
    pub secret: String,
    /// `otpauth://totp/…`, to be shown as a QR code.
    pub url: String,
}

/// `PUT /account/two-factor` and `POST /account/recovery-codes`: a code of the authenticator app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TwoFactorCode {
    /// Six digits.
    pub code: String,
}

/// `DELETE /account/two-factor`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TwoFactorEnd {
    /// A code of the authenticator app, or a recovery code.
    pub code: String,
    /// The account's password.
    pub password: String,
}

/// Codes that stand for the authenticator app when it is lost; each works once. They are told this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RecoveryCodes {
    /// The codes; older ones no longer work.
    pub recovery_codes: Vec<String>,
}

/// `PATCH /oauth/authorizations/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuthorizationChanges {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `POST /cli-login/auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewBrowserLogin {
    /// What the token will be for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `POST /oauth/authorizations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewAuthorization {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seconds until it expires. The CLI also sends a string of digits.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seconds")]
    pub expires_in: Option<u64>,
    /// What the token may do; absent means `global`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
}

/// A number, a string of digits, or `null`.
fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Number(u64),
        Text(String),
    }
    match Option::<Raw>::deserialize(from)? {
        None => Ok(None),
        Some(Raw::Number(number)) => Ok(Some(number)),
        Some(Raw::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// `POST /cli-login/auth`: a login that is finished in a browser.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct BrowserLogin {
    /// Where the browser goes: a path below the login service's URL.
    pub browser_url: String,
    /// Where the client asks, again a path: a call is answered when the browser is done.
    pub cli_url: String,
    /// What the client shows there as its Bearer token.
    pub token: String,
}

/// The answer at [`BrowserLogin::cli_url`]: one of the two.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum BrowserToken {
    /// The login is done.
    Granted {
        /// The account's new token.
        access_token: String,
    },
    /// It was refused.
    Refused {
        /// Why, for people.
        error: String,
    },
}

/// An SSH public key of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Key {
    /// The key's id.
    pub id: Id,
    /// The account's e-mail address.
    pub email: String,
    /// The comment at the end of the key's line. `keys:remove` finds keys by it.
    #[serde(default)]
    pub comment: String,
    /// The fingerprint.
    pub fingerprint: String,
    /// The key's line: algorithm, base64 blob, comment.
    pub public_key: String,
    /// When it was added.
    #[serde(default)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(default)]
    pub updated_at: Time,
}

/// `POST /account/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewKey {
    /// The content of a `.pub` file, perhaps with its line break.
    pub public_key: String,
}
