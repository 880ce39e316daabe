//! How a user gets a token, and gives it back.

use ruko_api_types::platform::{Authorization, BrowserLogin, BrowserToken, Id, NewAuthorization, Server};

use crate::{Api, ClientError, Token, escape};

/// Where a login in the browser begins, below the server's address.
const BROWSER: &str = "/cli-login";

/// How often the server is asked whether the browser is done; it holds each question for up to a minute.
const QUESTIONS: usize = 15;

/// Asks an address whether it is openruko, and where its other doors are.
///
/// # Errors
/// Nothing answers, or something else than openruko.
pub fn prove(api: &Api) -> Result<Server, ClientError> {
    let stranger = |why: String| ClientError::NotOpenruko { server: api.url().to_string(), why };
    match api.get::<Server>("/openruko") {
        Ok(server) if server.name == Server::NAME => match flaw(&server) {
            None => Ok(server),
            Some(why) => Err(stranger(why.to_owned())),
        },
        Ok(server) => Err(stranger(format!("it calls itself `{}`", server.name))),
        Err(ClientError::BadAnswer { why, .. }) => Err(stranger(why)),
        Err(ClientError::Refused { status, .. }) if status < 500 => Err(stranger(format!("status {status}"))),
        Err(error) => Err(error),
    }
}

/// What of a server's addresses must not reach git: other transports than these run programs, and a host with
/// other characters could be read as an option or as the end of a setting's name.
fn flaw(server: &Server) -> Option<&'static str> {
    let is = |url: &str, schemes: &[&str]| {
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let parts = rest.and_then(|rest| rest.split_once('/'));
        parts.is_some_and(|(authority, path)| is_plain(authority) && path.contains("{app}"))
            && url.bytes().all(|b| b.is_ascii_graphic())
    };
    if !is(&server.git_url, &["https://", "http://"]) {
        return Some("its git_url is not like https://HOST/{app}.git");
    }
    (!is(&server.ssh_url, &["ssh://"])).then_some("its ssh_url is not like ssh://git@HOST/{app}.git")
}

/// `[USER@]HOST[:PORT]` with nothing in it that means something to anybody else.
fn is_plain(authority: &str) -> bool {
    let (user, host) = authority.split_once('@').unwrap_or(("git", authority));
    let plain = |text: &str, more: &[u8]| {
        text.as_bytes().first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'[')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b) || more.contains(&b))
    };
    plain(user, b"") && plain(host, b":[]")
}

/// A user and what proves it.
pub struct Password {
    /// E-mail address or name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Has a token made. The error's id is `two_factor` when a code is wanted, too.
///
/// # Errors
/// No answer, or a refusal.
pub fn password_login(
    api: &Api,
    who: &Password,
    code: Option<&str>,
    wanted: &NewAuthorization,
) -> Result<Authorization, ClientError> {
    api.post_as("/oauth/authorizations", wanted, (&who.user, &who.password), code)
}

/// A login that is finished in a browser.
pub struct Browser {
    login: BrowserLogin,
    secret: Token,
}

impl Browser {
    /// Begins one.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn begin(api: &Api, wanted: &NewAuthorization) -> Result<Self, ClientError> {
        let login: BrowserLogin = api.post(&format!("{BROWSER}/auth"), wanted)?;
        let secret = Token::try_from(login.token.clone())?;
        Ok(Self { login, secret })
    }

    /// The page that the user opens.
    pub fn page(&self, api: &Api) -> String {
        format!("{}{BROWSER}{}", api.url(), self.login.browser_url)
    }

    /// Waits until the user is done there.
    ///
    /// # Errors
    /// The login was refused, or nobody came.
    pub fn token(&self, api: &Api) -> Result<Token, ClientError> {
        let path = format!("{BROWSER}{}", self.login.cli_url);
        let mut questions = QUESTIONS;
        loop {
            questions -= 1;
            return match api.get_as(&path, &self.secret) {
                Ok(BrowserToken::Granted { access_token }) => Ok(Token::try_from(access_token)?),
                Ok(BrowserToken::Refused { error }) => Err(ClientError::LoginRefused { why: error }),
                Err(error) if error.status() == Some(503) && questions > 0 => continue,
                Err(error) => Err(error),
            };
        }
    }
}

/// Finds the authorization of the token that `api` shows.
///
/// # Errors
/// No answer, or a refusal.
pub fn authorization_of(api: &Api, token: &Token) -> Result<Option<Id>, ClientError> {
    let all: Vec<Authorization> = api.list("/oauth/authorizations")?;
    let of_token = |authorization: &Authorization| {
        authorization.access_token.as_ref().is_some_and(|shown| is_shown_as(token.reveal(), &shown.token))
    };
    Ok(all.into_iter().find(of_token).map(|authorization| authorization.id))
}

/// Whether a listing shows this token: in full, or as `BEGIN**********END`.
fn is_shown_as(token: &str, shown: &str) -> bool {
    match (shown.split_once('*'), shown.rsplit_once('*')) {
        (Some((begin, _)), Some((_, end))) => {
            !begin.is_empty()
                && token.len() > begin.len() + end.len()
                && token.starts_with(begin)
                && token.ends_with(end)
        }
        _ => token == shown,
    }
}

/// Deletes an authorization: its token is worth nothing afterwards.
///
/// # Errors
/// No answer, or a refusal.
pub fn revoke(api: &Api, authorization: &str) -> Result<(), ClientError> {
    api.delete(&format!("/oauth/authorizations/{}", escape(authorization)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_would_run_is_no_address() {
        let server = |git_url: &str, ssh_url: &str| Server {
            name: Server::NAME.into(),
            version: "1".into(),
            git_url: git_url.into(),
            ssh_url: ssh_url.into(),
            web_url: "https://{app}.x".into(),
        };
        let (https, ssh) = ("https://git.x/{app}.git", "ssh://git@x/{app}.git");
        assert_eq!(flaw(&server(https, ssh)), None);
        assert!(flaw(&server("ext::sh -c x {app}", ssh)).is_some());
        assert!(flaw(&server(https, "ext::sh {app}")).is_some());
        assert!(flaw(&server("https://git.x/app.git", ssh)).is_some());
        assert!(flaw(&server(https, "ssh://git@x/{app}\n")).is_some());
        for good in ["https://[::1]:8443/{app}.git", "http://127.0.0.1:5001/git/{app}.git"] {
            assert_eq!(flaw(&server(good, "ssh://git@x:2222/{app}.git")), None, "{good}");
        }
        for bad in [
            "https://x.helper=!touch${IFS}y;#/{app}.git",
            "https://x?.helper=!id/{app}.git",
            "https://x#/{app}.git",
            "https://-x/{app}.git",
            "https:///{app}.git",
            "https://{app}.x",
        ] {
            assert!(flaw(&server(bad, ssh)).is_some(), "{bad}");
        }
        assert!(flaw(&server(https, "ssh://-oProxyCommand=id/{app}.git")).is_some());
        assert!(flaw(&server(https, "ssh://git@-oProxyCommand=id/{app}.git")).is_some());
    }

    #[test]
    fn a_token_is_recognised_in_a_listing() {
        assert!(is_shown_as("HRKU-abcdef-wxyz", "HRKU-abcdef-wxyz"));
        assert!(is_shown_as("HRKU-abcdef-wxyz", "HRKU-ab**********wxyz"));
        assert!(!is_shown_as("HRKU-abcdef-wxyz", "HRKU-xb**********wxyz"));
        assert!(!is_shown_as("HRKU-abcdef-wxyz", "**********"));
        assert!(!is_shown_as("HRKU-abcdef-wxyz", ""));
    }
}
