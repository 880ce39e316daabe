//! The calls of the component `host`: what should run, what does, and where requests go.

use ruko_api_types::Output;
use ruko_api_types::host::{AppsToRun, DynoReports, FailRelease, HostHello, SlugToRun, Switch};

use crate::http::{MAX_APPS, escape, held};
use crate::{ApiClient, ApiClientError};

impl ApiClient {
    /// Says what this host offers. To be said whenever it starts.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn hello(&self, hello: &HostHello) -> Result<(), ApiClientError> {
        self.put("/internal/host", hello)?.done()
    }

    /// The apps that changed after a revision, waiting for at most so many seconds (30 at most) for there to be
    /// one: the call takes ten seconds longer at the very most. None: the API counts its revisions anew, or has
    /// forgotten which apps went since that one. Whoever gets that asks for everything, after 0.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call.
    pub fn apps_to_run(&self, after: u64, wait_seconds: u64) -> Result<Option<AppsToRun>, ApiClientError> {
        let path = format!("/internal/host/apps?after={after}&wait_seconds={wait_seconds}");
        self.get_within(&path, held(wait_seconds))?.changes(MAX_APPS)
    }

    /// Where the slug of a release is, anew: addresses hold for a while only.
    ///
    /// # Errors
    /// `Refused` with 404 when the app, the release or its slug is not there any more; or the API cannot be reached.
    pub fn slug_of(&self, app: &str, version: u64) -> Result<SlugToRun, ApiClientError> {
        self.get(&format!("/internal/host/apps/{}/releases/{version}/slug", escape(app)))?.json()
    }

    /// Reports what changed of dynos.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the call: then nothing of it is known there.
    pub fn report_dynos(&self, reports: &DynoReports) -> Result<(), ApiClientError> {
        self.post("/internal/host/dynos", reports)?.done()
    }

    /// From now on requests of the app with this id go to these dynos.
    ///
    /// # Errors
    /// `Refused` with 404 when the app is gone, 409 when the release is neither candidate nor current any more,
    /// 422 when one of the dynos is not reported as a web dyno of this release that is up and has an address; or
    /// the API cannot be reached, and whether it was carried out is unknown until it is repeated.
    pub fn switch(&self, app: &str, switch: &Switch) -> Result<(), ApiClientError> {
        self.post(&format!("/internal/host/apps/{}/switch", escape(app)), switch)?.done()
    }

    /// The candidate did not prove itself. Repeated it stays as it is.
    ///
    /// # Errors
    /// `Refused` with 404 when the app is gone, 409 when it is the candidate no more; or the API cannot be reached.
    pub fn fail_release(&self, app: &str, version: u64, fail: &FailRelease) -> Result<(), ApiClientError> {
        self.post(&format!("/internal/host/apps/{}/releases/{version}/fail", escape(app)), fail)?.done()
    }

    /// Appends to what is kept of what a release phase prints. A piece that is sent again is stored once.
    ///
    /// # Errors
    /// `Refused` with 404 when the release is not there, 410 when it ended a while ago; or the API cannot be
    /// reached.
    pub fn release_output(&self, app: &str, version: u64, output: &Output) -> Result<(), ApiClientError> {
        self.post(&format!("/internal/host/apps/{}/releases/{version}/output", escape(app)), output)?.done()
    }
}
