//! The table `[router]`, judged.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ruko_api_client::ApiClient;
use ruko_core::Fault;
use ruko_core::config::{Config, Ipv4Net, TlsConfig};

/// What the router works with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) tls_listen: Option<SocketAddr>,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) certificates: Vec<TlsConfig>,
    pub(crate) state_file: PathBuf,
    pub(crate) trusted_proxies: Vec<Ipv4Net>,
    /// The bytes of a head.
    pub(crate) header_bytes: usize,
    /// Requests that one dyno gets at a time.
    pub(crate) dyno_requests: u32,
    /// Requests that wait for a dyno, over all apps.
    pub(crate) waiting_requests: u32,
    pub(crate) first_byte: Duration,
    pub(crate) rolling: Duration,
    pub(crate) wake: Duration,
    pub(crate) shutdown: Duration,
    api: ApiClient,
}

impl Settings {
    /// Judges the configuration.
    ///
    /// # Errors
    /// The table is missing, or something in it cannot be used; the message says which.
    pub fn read(config: &Config) -> Result<Self, Fault> {
        let router = config.router()?;
        let api = ApiClient::from_token_file(&router.api_url, &router.token_file)?;
        if router.tls_listen.is_some() && router.certificates.is_empty() {
            let fault = Fault::refused("the configuration's [router] has tls_listen and no certificates");
            return Err(
                fault.hint("the first of `certificates` is shown to who asks for no name that is known")
            );
        }
        crate::tls::read(&router.certificates)?;
        let header_bytes = usize::try_from(router.header_bytes).unwrap_or(usize::MAX);
        if !(1 << 10..=1 << 20).contains(&header_bytes) {
            return Err(Fault::refused(format!(
                "the configuration's [router] header_bytes is {header_bytes}; it has to be 1024 to 1048576"
            )));
        }
        let directory = router.state_file.parent().filter(|_| router.state_file.is_absolute());
        if !directory.is_some_and(std::path::Path::is_dir) {
            let shown = router.state_file.display();
            return Err(Fault::refused(format!(
                "the configuration's [router] state_file `{shown}` is in no directory"
            ))
            .hint("it is an absolute path; its directory has to be there"));
        }
        let seconds = [
            ("first_byte_seconds", router.first_byte_seconds),
            ("rolling_seconds", router.rolling_seconds),
            ("wake_seconds", router.wake_seconds),
        ];
        for (name, value) in seconds {
            if !(1..=86400).contains(&value) {
                return Err(Fault::refused(format!(
                    "the configuration's [router] {name} is {value}; it has to be 1 to 86400"
                )));
            }
        }
        if router.dyno_requests == 0 {
            return Err(Fault::refused("the configuration's [router] dyno_requests must be 1 or more"));
        }
        Ok(Self {
            listen: router.listen,
            tls_listen: router.tls_listen,
            metrics_listen: router.metrics_listen,
            certificates: router.certificates.clone(),
            state_file: router.state_file.clone(),
            trusted_proxies: router.trusted_proxies.clone(),
            header_bytes,
            dyno_requests: router.dyno_requests,
            waiting_requests: router.waiting_requests,
            first_byte: Duration::from_secs(router.first_byte_seconds),
            rolling: Duration::from_secs(router.rolling_seconds),
            wake: Duration::from_secs(router.wake_seconds),
            shutdown: Duration::from_secs(router.shutdown_seconds),
            api,
        })
    }

    pub(crate) fn api(&self) -> ApiClient {
        self.api.clone()
    }
}
