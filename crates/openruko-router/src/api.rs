//! The calls of the internal API that this program makes.

use std::path::Path;
use std::time::Duration;

use ruko_api_types::log::LogLines;
use ruko_api_types::router::{Activity, RoutedApps, Wake};
use ruko_core::{Fault, Hint};
use serde::Serialize;
use ureq::Agent;

/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 256 << 20;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no answer, or a refusal.
    #[error(transparent)]
    Call(#[from] ureq::Error),
    /// The answer cannot be read.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The API. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    agent: Agent,
    base_url: String,
    authorization: String,
}

impl Api {
    /// The API at a URL, with the token in the first line of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn new(base_url: &str, token_file: &Path) -> Result<Self, Fault> {
        let what = format!("cannot read the token file `{}`", token_file.display());
        let token = std::fs::read_to_string(token_file).fault(what)?;
        let agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(40)))
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        let authorization = format!("Bearer {}", token.lines().next().unwrap_or_default().trim());
        Ok(Self { agent, base_url: base_url.trim_end_matches('/').to_owned(), authorization })
    }

    /// The apps that changed after a revision; none where one has to start over.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub(crate) fn routed_apps(&self, after: u64, wait_seconds: u64) -> Result<Option<RoutedApps>, ApiError> {
        let url = format!("{}/internal/router/apps?after={after}&wait_seconds={wait_seconds}", self.base_url);
        match self.agent.get(url).header("authorization", &self.authorization).call() {
            Ok(mut answer) => {
                let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
                Ok(Some(serde_json::from_slice(&body)?))
            }
            Err(ureq::Error::StatusCode(410)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody asks for the app with this id, which sleeps. `false`: it is there no more.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub(crate) fn wake(&self, app: &str) -> Result<bool, ApiError> {
        match self.post("/internal/router/wake", &Wake { app: app.to_owned() }) {
            Ok(()) => Ok(true),
            Err(ApiError::Call(ureq::Error::StatusCode(404))) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which apps were asked for.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub(crate) fn activity(&self, activity: &Activity) -> Result<(), ApiError> {
        self.post("/internal/router/activity", activity)
    }

    /// Lines for the logs of apps.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub(crate) fn log(&self, lines: &LogLines) -> Result<(), ApiError> {
        self.post("/internal/logs", lines)
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<(), ApiError> {
        let json = serde_json::to_vec(body)?;
        let call = self.agent.post(format!("{}{path}", self.base_url));
        let call =
            call.header("authorization", &self.authorization).header("content-type", "application/json");
        call.send(&json[..])?;
        Ok(())
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}
