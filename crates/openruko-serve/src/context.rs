//! What every run needs: the configuration, the API, and what the client said of its protocol.

use std::path::PathBuf;

use ruko_api_client::ApiClient;
use ruko_core::Fault;
use ruko_core::config::Config;

use crate::request;

/// What every run needs.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) config_path: PathBuf,
    pub(crate) api: ApiClient,
    /// `GIT_PROTOCOL` as the client sent it, when it is well-formed.
    pub(crate) git_protocol: Option<String>,
}

impl Context {
    /// Reads the configuration and the token of this component.
    pub(crate) fn load(config_path: PathBuf) -> Result<Self, Fault> {
        let config = Config::load(&config_path, std::env::vars())?;
        let serve = config.serve()?;
        let api = ApiClient::from_token_file(&serve.api_url, &serve.token_file)?;
        Ok(Self {
            config,
            config_path,
            api,
            git_protocol: request::git_protocol(std::env::var_os("GIT_PROTOCOL")),
        })
    }
}
