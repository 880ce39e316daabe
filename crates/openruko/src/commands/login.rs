//! `openruko login` and `openruko logout`.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;
use ruko_api_types::platform::{Account, NewAuthorization};
use ruko_client::{
    Api, Browser, ClientError, Credential, Credentials, KnownServer, Password, ServerName, ServerUrl,
    Servers, Token, authorization_of, password_login, prove, revoke,
};
use ruko_core::exit::one_line;
use ruko_core::{Fault, Hint};

use super::output::Screen;
use super::session::Session;
use super::{Done, Error, TOKEN_VARIABLE, apps, as_cause};

/// Thirty days, as the Heroku CLI asks for.
const LIFE_SECONDS: u64 = 2_592_000;

/// The id of a refusal that wants a second factor.
const TWO_FACTOR: &str = "two_factor";

/// How often a second factor may be mistyped.
const CODES: usize = 3;

/// More than any token has.
const MAX_TOKEN: u64 = 4096;

/// Log in to a server, and remember it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  openruko login https://paas.example.com
  openruko login https://paas.example.com --name work --browser
  pass show paas/token | openruko login https://paas.example.com --token-stdin

Where stdin is no terminal, the e-mail address, the password and a second factor are read from
it, a line each.")]
pub(crate) struct LoginArgs {
    /// The server's address, or its name if it is known
    #[arg(value_name = "URL")]
    server: Option<String>,
    /// What to call the server; its host name if not given
    #[arg(long)]
    name: Option<ServerName>,
    /// A PEM file with the certificates by which this server is believed, beside the machine's own
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// E-mail address or name of the account
    #[arg(long, short)]
    user: Option<String>,
    /// Log in with a browser
    #[arg(long, conflicts_with_all = ["user", "token_stdin"])]
    browser: bool,
    /// Read a token that was made before from stdin
    #[arg(long, conflicts_with = "user")]
    token_stdin: bool,
    /// Seconds until the token expires
    #[arg(long, value_name = "SECONDS", default_value_t = LIFE_SECONDS)]
    expires_in: u64,
}

/// Give the token back, and forget it
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {}

/// A token that was got, and its authorization.
type Got = (Token, Option<String>);

pub(super) fn login(args: LoginArgs, session: &Session) -> Done {
    let (name, url, known_ca) = place(&args, session)?;
    let ca_file = args.ca_file.as_ref().map(absolute).transpose()?.or(known_ca);
    let api = Api::new(&url, ca_file.as_deref(), None)?.on_warning(Screen::warn);
    let said = prove(&api)?;
    let wanted = NewAuthorization {
        description: Some(format!("openruko login from {}", host())),
        expires_in: Some(args.expires_in),
        scope: Some(vec!["global".into()]),
    };
    let (token, mut authorization) = token(&args, &api, &wanted, session)?;
    let as_user = Api::new(&url, ca_file.as_deref(), Some(&token))?;
    let account: Account = as_user.get("/account")?;
    if args.browser {
        // Without it a logout only forgets the token.
        authorization = authorization_of(&as_user, &token).unwrap_or_default();
    }

    let (git_url, ssh_url, web_url) = (said.git_url, said.ssh_url, said.web_url);
    let known = KnownServer { url: url.clone(), git_url, ssh_url, web_url, ca_file };
    let credential = Credential { account: account.email.clone(), token, authorization };
    Credentials::remember(&session.home, &url, credential)?;
    Servers::remember(&session.home, &name, known)?;
    Ok(session.screen.line(format!("Logged in to {name} ({url}) as {}", account.email))?)
}

/// What the server is called, where it is, and by what it was believed before.
fn place(args: &LoginArgs, session: &Session) -> Result<(ServerName, ServerUrl, Option<PathBuf>), Error> {
    let servers = Servers::load(&session.home)?;
    let typed = args.server.as_ref().or(session.wanted.as_ref());
    let Some(typed) = typed else {
        let (name, server) = session.server()?;
        return Ok((name.unwrap_or_else(|| ServerName::of(&server.url)), server.url, server.ca_file));
    };
    if let Some((name, server)) = servers.find(typed) {
        return Ok((
            args.name.clone().unwrap_or_else(|| name.clone()),
            server.url.clone(),
            server.ca_file.clone(),
        ));
    }
    let url = ServerUrl::typed(typed).map_err(ClientError::from)?;
    if let Some((name, server)) = servers.servers.iter().find(|(_, server)| server.url == url) {
        return Ok((args.name.clone().unwrap_or_else(|| name.clone()), url, server.ca_file.clone()));
    }
    let name = args.name.clone().unwrap_or_else(|| ServerName::of(&url));
    match servers.servers.get(&name) {
        Some(other) => Err(Fault::usage(format!("`{name}` is what {} is called", other.url))
            .hint("give this one another name with --name")
            .into()),
        None => Ok((name, url, None)),
    }
}

fn absolute(file: &PathBuf) -> Result<PathBuf, Error> {
    Ok(std::fs::canonicalize(file).fault(format!("cannot find `{}`", file.display()))?)
}

fn token(args: &LoginArgs, api: &Api, wanted: &NewAuthorization, session: &Session) -> Result<Got, Error> {
    if args.token_stdin {
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(MAX_TOKEN)
            .read_to_string(&mut text)
            .fault("cannot read the token from stdin")?;
        return Ok((Token::try_from(text.trim().to_owned()).map_err(ClientError::from)?, None));
    }
    if args.browser {
        return with_browser(api, wanted, session);
    }
    match std::env::var(TOKEN_VARIABLE) {
        Ok(token) => Ok((Token::try_from(token).map_err(ClientError::from)?, None)),
        Err(_) => with_password(args, api, wanted),
    }
}

fn with_browser(api: &Api, wanted: &NewAuthorization, session: &Session) -> Result<Got, Error> {
    let browser = Browser::begin(api, wanted)?;
    let page = browser.page(api);
    session.screen.remark(format!("Open {page}"));
    apps::show_page(&page);
    let token = session
        .screen
        .action("Waiting for the browser", || browser.token(api).map(|token| (token, String::new())))?;
    Ok((token, None))
}

fn with_password(args: &LoginArgs, api: &Api, wanted: &NewAuthorization) -> Result<Got, Error> {
    let user = match &args.user {
        Some(user) => user.clone(),
        None => ask("E-mail or name: ")?,
    };
    let who = Password { user, password: ask_secret("Password: ")? };
    let mut outcome = password_login(api, &who, None, wanted);
    for _ in 0..CODES {
        let wants_code = outcome.as_ref().is_err_and(|error| error.id() == Some(TWO_FACTOR));
        if !wants_code {
            break;
        }
        let code = ask_secret("Two-factor code: ")?;
        outcome = password_login(api, &who, Some(code.trim()), wanted);
    }
    let authorization = outcome.map_err(|error| match error.status() {
        // There is no token that could be renewed: the usual hint would lead in a circle.
        Some(401) => Error::Fault(Fault::refused(as_cause(&ruko_core::exit::chain(&error)))),
        _ => error.into(),
    })?;
    let made = authorization.access_token.map(|access| access.token).unwrap_or_default();
    Ok((Token::try_from(made).map_err(ClientError::from)?, Some(authorization.id)))
}

fn ask(question: &str) -> Result<String, Error> {
    if io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "{question}");
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).fault("cannot read the answer")?;
    match line.trim() {
        "" if read == 0 => Err(nobody_answers()),
        answer => Ok(answer.to_owned()),
    }
}

/// Without echo on a terminal; from stdin where that is none.
fn ask_secret(question: &str) -> Result<String, Error> {
    if io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(question).fault("cannot read the answer")?);
    }
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line).fault("cannot read the answer")? {
        0 => Err(nobody_answers()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

fn nobody_answers() -> Error {
    Fault::usage("a password is asked for, and nobody is there to give it")
        .hint(format!("log in on a terminal, or with --token-stdin or {TOKEN_VARIABLE}"))
        .into()
}

/// This machine's name, to tell one authorization from another.
fn host() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    one_line(&name.unwrap_or_else(|| "an unnamed machine".into()))
}

pub(super) fn logout(_: LogoutArgs, session: &Session) -> Done {
    let (name, server) = session.server()?;
    let shown = name.map_or_else(|| server.url.to_string(), |name| name.to_string());
    let Some(credential) = Credentials::load(&session.home)?.of(&server.url).cloned() else {
        return Ok(session.screen.line(format!("Not logged in to {shown}"))?);
    };
    let api = super::session::api(&server, Some(&credential.token))?;
    let revoked = match &credential.authorization {
        Some(authorization) => revoke(&api, authorization).map(|()| true),
        None => Ok(false),
    };
    Credentials::forget(&session.home, &server.url)?;
    session.screen.line(format!("Logged out of {shown}"))?;
    match revoked {
        Ok(true) => Ok(()),
        Ok(false) => {
            session.screen.remark("The token was made elsewhere and stays valid there.");
            Ok(())
        }
        // It is worth nothing any more, and that is what was wanted.
        Err(error) if matches!(error.status(), Some(401 | 404)) => Ok(()),
        Err(error) => {
            session.screen.remark("The token is forgotten here, but the server may still accept it:");
            Err(error.into())
        }
    }
}
