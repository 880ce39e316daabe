//! The calls of the component `router`: where requests go, and which apps are asked for.

use ruko_api_types::router::{Activity, RoutedApps, Wake};

use crate::http::{MAX_APPS, held};
use crate::{ApiClient, ApiClientError};

impl ApiClient {
    /// The apps that changed after a revision; as [`ApiClient::apps_to_run`] in everything.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn routed_apps(&self, after: u64, wait_seconds: u64) -> Result<Option<RoutedApps>, ApiClientError> {
        let path = format!("/internal/router/apps?after={after}&wait_seconds={wait_seconds}");
        self.get_within(&path, held(wait_seconds))?.changes(MAX_APPS)
    }

    /// Somebody asks for the app with this id, which sleeps. `false`: there is no such app any more.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn wake(&self, app: &str) -> Result<bool, ApiClientError> {
        let answer = self.post("/internal/router/wake", &Wake { app: app.to_owned() })?;
        match answer.status() {
            404 => Ok(false),
            _ => answer.done().map(|()| true),
        }
    }

    /// Tells which apps were asked for since the last call.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn activity(&self, activity: &Activity) -> Result<(), ApiClientError> {
        self.post("/internal/router/activity", activity)?.done()
    }
}
