//! Which server a command is for, as whom, and for which app.

use clap::Args;
use ruko_client::{
    Api, ClientError, Credentials, Home, KnownServer, ServerName, ServerUrl, Servers, Token, escape, prove,
};
use ruko_core::Fault;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::git;
use super::output::Screen;
use super::{Error, TOKEN_VARIABLE};

/// What a command starts with.
pub(crate) struct Session {
    /// Where servers and credentials are remembered.
    pub(crate) home: Home,
    /// The name or address that the user gave.
    pub(crate) wanted: Option<String>,
    /// Where output goes.
    pub(crate) screen: Screen,
}

/// A server, and the API as the user.
pub(crate) struct Connection {
    pub(crate) server: KnownServer,
    pub(crate) api: Api,
}

/// An app on a server.
pub(crate) struct Target {
    pub(crate) server: KnownServer,
    pub(crate) api: Api,
    pub(crate) app: String,
}

/// Which app a command is about.
#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    /// The app; otherwise OPENRUKO_APP, HEROKU_APP or the git remotes say it
    #[arg(short, long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// The git remote whose app is meant
    #[arg(short, long, value_name = "REMOTE")]
    remote: Option<String>,
}

impl AppArgs {
    /// An app that was named, or not.
    pub(crate) fn named(app: Option<String>) -> Self {
        Self { app, remote: None }
    }
}

impl Session {
    /// The server that was named, or the one that is meant when none is.
    pub(crate) fn server(&self) -> Result<(Option<ServerName>, KnownServer), Error> {
        let servers = Servers::load(&self.home)?;
        let own = |(name, server): (&ServerName, &KnownServer)| (Some(name.clone()), server.clone());
        let Some(wanted) = &self.wanted else {
            return servers.preferred().map(own).ok_or_else(|| none_known(&servers).into());
        };
        match servers.find(wanted) {
            Some(found) => Ok(own(found)),
            None if wanted.contains("://") => {
                Ok((None, stranger(&ServerUrl::typed(wanted).map_err(ClientError::from)?)?))
            }
            None => Err(Fault::usage(format!("there is no server `{}`", wanted.escape_debug()))
                .hint("`openruko servers` lists those that are known, `openruko login URL` adds one")
                .into()),
        }
    }

    /// The API of that server, as the user.
    pub(crate) fn connect(&self) -> Result<Connection, Error> {
        let (_, server) = self.server()?;
        let token = self.token(&server.url)?;
        let api = api(&server, Some(&token))?;
        Ok(Connection { server, api })
    }

    /// The API, and the app that is meant.
    pub(crate) fn target(&self, args: &AppArgs) -> Result<Target, Error> {
        let (_, server) = self.server()?;
        let app = self.app(args, &server)?;
        let token = self.token(&server.url)?;
        let api = api(&server, Some(&token))?;
        Ok(Target { server, api, app })
    }

    /// The token for a server: `OPENRUKO_TOKEN`, or what a login left.
    pub(crate) fn token(&self, url: &ServerUrl) -> Result<Token, Error> {
        if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
            return Ok(Token::try_from(token).map_err(ClientError::from)?);
        }
        let credentials = Credentials::load(&self.home)?;
        let known = credentials.of(url).map(|credential| credential.token.clone());
        let nobody =
            || Fault::refused(format!("not logged in to {url}")).hint(format!("`openruko login {url}`"));
        known.ok_or_else(|| nobody().into())
    }

    fn app(&self, args: &AppArgs, server: &KnownServer) -> Result<String, Error> {
        if let (Some(app), None) = (&args.app, &args.remote) {
            return Ok(app.clone());
        }
        if args.remote.is_none()
            && let Some(app) = ["OPENRUKO_APP", "HEROKU_APP"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|app| !app.is_empty()))
        {
            return Ok(app);
        }
        let remotes = git::remotes()?;
        match git::infer(&remotes, &git::Patterns::of(server), args.remote.as_deref()) {
            Ok(app) => Ok(app.to_string()),
            Err(why) => Err(why.fault(&server.url).into()),
        }
    }
}

impl Target {
    /// A path below the app's.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/apps/{}{rest}", escape(&self.app))
    }
}

/// A client of a server that prints the server's warnings.
pub(crate) fn api(server: &KnownServer, token: Option<&Token>) -> Result<Api, ClientError> {
    Ok(Api::new(&server.url, server.ca_file.as_deref(), token)?.on_warning(Screen::warn))
}

/// A server that was never logged in to.
fn stranger(url: &ServerUrl) -> Result<KnownServer, ClientError> {
    let said = prove(&Api::new(url, None, None)?)?;
    let (git_url, ssh_url, web_url) = (said.git_url, said.ssh_url, said.web_url);
    Ok(KnownServer { url: url.clone(), git_url, ssh_url, web_url, ca_file: None })
}

fn none_known(servers: &Servers) -> Fault {
    if servers.servers.is_empty() {
        return Fault::refused("not logged in to any server")
            .hint("`openruko login https://paas.example.com`");
    }
    let names: Vec<&str> = servers.servers.keys().map(ServerName::as_str).collect();
    Fault::usage(format!("which server? There are {}", names.join(", ")))
        .hint("name it with --server or OPENRUKO_SERVER, or choose one with `openruko servers default NAME`")
}

/// What the API gave, read as what it should be.
pub(crate) fn read<T: DeserializeOwned>(value: Value, server: &ServerUrl) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| {
        let (server, call, why) = (server.to_string(), "a call".to_owned(), error.to_string());
        ClientError::BadAnswer { server, call, why }.into()
    })
}
