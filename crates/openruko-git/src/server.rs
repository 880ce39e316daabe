//! From settings to a listening door, and to its end.

use std::net::SocketAddr;

use ruko_core::{Exit, Fault, Hint};
use ruko_http::Listener;
use tokio::runtime::Runtime;

use crate::front;
use crate::settings::Settings;

/// A door that listens and does not yet answer.
pub struct Server {
    settings: Settings,
    listener: Listener,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be had, or the certificate not be used.
    pub async fn bind(settings: Settings) -> Result<Self, Fault> {
        let listener = Listener::bind(&settings.listen).await?;
        Ok(Self { settings, listener })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Answers until `stop` is done. Services that still run then have ten seconds; after that their
    /// connections are cut, which ends them.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        ruko_http::serve(vec![(self.listener, front::router(self.settings))], stop).await;
    }
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> Result<Exit, Fault> {
    ruko_http::log_to_stderr();
    let runtime = Runtime::new().try_again("cannot start threads")?;
    runtime.block_on(async {
        let stop = ruko_http::told_to_stop().fault("cannot listen to signals")?;
        let server = Server::bind(settings).await?;
        eprintln!("openruko-git: listening on {}://{}", server.listener.scheme(), server.address());
        server.serve(stop).await;
        Ok(Exit::Ok)
    })
}
