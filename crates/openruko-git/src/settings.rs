//! The tables `[git]` and `[serve]`, judged.

use std::path::PathBuf;

use ruko_api_client::ApiClient;
use ruko_core::config::Config;
use ruko_core::{Fault, Hint};
use ruko_http::{Bounds, Listen};

/// What the door works with.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens, with TLS or without.
    pub listen: Listen,
    /// The internal API, with the token of the component `serve`.
    pub(crate) api: ApiClient,
    /// openruko-serve, and the configuration that it is told to use: an absolute path.
    pub(crate) serve_program: PathBuf,
    pub(crate) config_path: PathBuf,
    /// The largest request, in bytes, both as sent and as unpacked.
    pub(crate) max_request_bytes: u64,
}

impl Settings {
    /// Judges the configuration that was read from `path`.
    ///
    /// # Errors
    /// A table is missing, or something in it cannot be used; the message says which.
    pub fn read(config: &Config, path: PathBuf) -> Result<Self, Fault> {
        let (git, serve) = (config.git()?, config.serve()?);
        let listen = Listen {
            address: git.listen,
            table: "[git]",
            tls: git.tls.clone(),
            trusted_proxies: git.trusted_proxies.clone(),
            bounds: Bounds::default(),
        };
        if !git.serve_program.is_absolute() || !git.serve_program.is_file() {
            let shown = git.serve_program.display();
            return Err(Fault::refused(format!(
                "the configuration's [git] serve_program `{shown}` is not there"
            ))
            .hint("it is the absolute path of openruko-serve"));
        }
        if git.max_request_bytes == 0 {
            return Err(Fault::refused("the configuration's [git] max_request_bytes must be 1 or more"));
        }
        Ok(Self {
            listen,
            api: ApiClient::from_token_file(&serve.api_url, &serve.token_file)?,
            serve_program: git.serve_program.clone(),
            // The child runs in another directory.
            config_path: std::path::absolute(path).fault("the configuration cannot be found")?,
            max_request_bytes: git.max_request_bytes,
        })
    }
}
