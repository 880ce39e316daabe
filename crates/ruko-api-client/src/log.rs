//! The call of the components that have lines for the logs of apps.

use ruko_api_types::log::LogLines;

use crate::{ApiClient, ApiClientError};

impl ApiClient {
    /// Hands over lines for the logs of apps. A batch that is sent again is kept once.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn log_lines(&self, lines: &LogLines) -> Result<(), ApiClientError> {
        self.post("/internal/logs", lines)?.done()
    }
}
