//! The server, and how it is reached.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use ruko_core::{Fault, Hint, exit};
use ruko_pin::Pinned;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::proxy::Proxies;

/// How long name look-up, connection and TLS may take together. Longer than a TCP handshake whose first
/// two packets are lost; a server that is not there says so at once.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// An openruko server as a developer's machine knows it.
#[derive(Clone)]
pub struct Upstream {
    /// The name under which it is remembered; the credential helper of git is asked with it.
    pub name: String,
    /// Where its Platform API is, without a path: `https://paas.example.com`. Plain `http` only for an
    /// address of this machine.
    pub url: String,
    /// The user's token. Sent to `url` and nowhere else.
    pub token: String,
    /// Repositories over HTTP, with `{app}`: `https://paas.example.com/{app}.git`.
    pub git_url: String,
    /// Repositories over SSH, with `{app}`: `ssh://git@paas.example.com/{app}.git` or
    /// `git@paas.example.com:{app}.git`.
    pub ssh_url: String,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Without the token.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Scheme, host and port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    secure: bool,
    /// An IPv6 address without its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Of an `http` or `https` address, whatever its path is.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host: bare_host(uri)?, port })
    }

    /// What follows the origin in an address that is of this origin, without what stands behind `#`.
    pub(crate) fn path_of<'a>(&self, url: &'a str) -> Option<&'a str> {
        let uri: Uri = url.parse().ok()?;
        if uri.authority()?.as_str().contains('@') || Self::of(&uri).as_ref() != Some(self) {
            return None;
        }
        let behind_scheme = url.find("://")? + 3;
        let authority = uri.authority()?.as_str().len();
        let path = url[behind_scheme + authority..].split('#').next()?;
        path.starts_with('/').then_some(path)
    }

    /// The value of `Host`.
    fn authority(&self) -> String {
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => bracketed(&self.host),
            (_, port) => authority(&self.host, port),
        }
    }
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host and port as they stand in a URL.
pub(crate) fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.secure { "s" } else { "" }, self.authority())
    }
}

/// The host of an address in small letters, an IPv6 address without its brackets.
pub(crate) fn bare_host(uri: &Uri) -> Option<String> {
    let host = uri.host()?.to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// The server's API, checked.
pub(crate) struct Server {
    pub(crate) origin: Origin,
    pub(crate) host: HeaderValue,
    /// `Bearer TOKEN`.
    pub(crate) authorization: HeaderValue,
    pub(crate) dialer: Dialer,
}

impl Server {
    /// # Errors
    /// The address or the token cannot be used, or `ca_file` cannot be read.
    pub(crate) fn new(upstream: &Upstream) -> Result<Self, Fault> {
        let origin = api_origin(&upstream.url)?;
        let host = HeaderValue::try_from(origin.authority()).fault("the server's address cannot be used")?;
        let authorization = HeaderValue::try_from(format!("Bearer {}", upstream.token)).map_err(|_| {
            Fault::refused(format!("the token for {origin} holds characters that no token has"))
                .hint("log in again")
        })?;
        Ok(Self { origin, host, authorization, dialer: Dialer::new(upstream.ca_file.as_deref())? })
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Connection, NoConnection> {
        self.dialer.connect(&self.origin).await
    }
}

fn api_origin(url: &str) -> Result<Origin, Fault> {
    let refused =
        |why: &str| Fault::refused(format!("`{}` is not a server's address: {why}", url.escape_debug()));
    let uri: Uri = url.parse().map_err(|_| refused("it is no URL"))?;
    let origin = Origin::of(&uri).ok_or_else(|| refused("it does not begin with https://"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(refused("it names a user"));
    }
    if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/")) {
        return Err(refused("it has a path"));
    }
    if !origin.secure && !is_loopback(&origin.host) {
        return Err(refused(
            "plain http is for this machine only, since anyone on the way could read the token",
        )
        .hint("name it with https://"));
    }
    Ok(origin)
}

/// Why there is no connection, in words: `connection refused`.
#[derive(Debug)]
pub(crate) struct NoConnection(pub(crate) String);

impl From<std::io::Error> for NoConnection {
    fn from(error: std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => {
                Self(format!("its certificate is not trusted: {why}"))
            }
            Some(why) => Self(format!("TLS failed: {why}")),
            None => {
                let text = exit::chain(&error);
                Self(text.split(" (os error ").next().unwrap_or(&text).to_owned())
            }
        }
    }
}

/// Bytes both ways, to be read in the pieces in which they came.
pub(crate) trait Duplex: AsyncBufRead + AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncBufRead + AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection with or without TLS.
pub(crate) type Connection = Box<dyn Duplex>;

/// Connects, through a proxy where the environment names one, and verifies to whom.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: TlsConnector,
    proxies: Arc<Proxies>,
}

impl Dialer {
    /// Trusts what the system trusts, and the certificates in `ca_file`.
    fn new(ca_file: Option<&Path>) -> Result<Self, Fault> {
        let mut roots = RootCertStore::empty();
        // What of the system's certificates cannot be read is not trusted: TLS then says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca_file {
            let what = || format!("the certificates in `{}` cannot be used", path.display());
            let certificates = CertificateDer::pem_file_iter(path).fault(what())?;
            for certificate in certificates {
                roots.add(certificate.fault(what())?).fault(what())?;
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .fault("TLS cannot be set up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), proxies: Arc::new(Proxies::from_env()) })
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, NoConnection> {
        if origin.secure {
            return Ok(Box::new(self.connect_tls(&origin.host, origin.port, None).await?));
        }
        let connected = within(async { Ok(tcp(&origin.host, origin.port).await?) }).await?;
        Ok(Box::new(tokio::io::BufReader::new(connected)))
    }

    /// Connects with TLS, whose certificate must be the host's; or the one that was told beforehand, whatever stands
    /// in that.
    pub(crate) async fn connect_tls(
        &self,
        host: &str,
        port: u16,
        pin: Option<Pinned>,
    ) -> Result<TlsStream<TcpStream>, NoConnection> {
        let tls = match pin {
            Some(pin) => {
                let config =
                    pin.client_config().map_err(|e| NoConnection(format!("TLS cannot be set up: {e}")))?;
                TlsConnector::from(Arc::new(config))
            }
            None => self.tls.clone(),
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NoConnection(format!("`{}` is no host name", host.escape_debug())))?;
        within(async { Ok(tls.connect(name, self.proxies.connect(host, port).await?).await?) }).await
    }
}

/// Connects without a proxy.
pub(crate) async fn tcp(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Keys that are typed and short answers should leave at once.
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn within<T>(connecting: impl Future<Output = Result<T, NoConnection>>) -> Result<T, NoConnection> {
    let late = || NoConnection(format!("no answer within {} seconds", CONNECT_TIME.as_secs()));
    tokio::time::timeout(CONNECT_TIME, connecting).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_origin() {
        for (url, shown) in [
            ("https://paas.example.com", "https://paas.example.com"),
            ("https://PaaS.example.com:443/", "https://paas.example.com"),
            ("https://paas.example.com:8443", "https://paas.example.com:8443"),
            ("http://localhost:5000", "http://localhost:5000"),
            ("http://127.8.0.1:5000/", "http://127.8.0.1:5000"),
            ("http://[::1]:5000", "http://[::1]:5000"),
        ] {
            assert_eq!(api_origin(url).unwrap().to_string(), shown, "{url}");
        }
    }

    #[test]
    fn what_would_lose_the_token_is_no_server() {
        for (url, why) in [
            ("http://paas.example.com", "plain http"),
            ("http://127.0.0.1.example.com", "plain http"),
            ("http://localhost.example.com", "plain http"),
            ("https://paas.example.com/api", "a path"),
            ("https://paas.example.com/?x", "a path"),
            ("https://user@paas.example.com", "a user"),
            ("paas.example.com", "https://"),
            ("ftp://paas.example.com", "https://"),
            ("/srv", "https://"),
            ("not a url", "no URL"),
        ] {
            let fault = api_origin(url).unwrap_err();
            assert!(fault.message.contains(why), "{url}: {fault}");
        }
    }

    #[test]
    fn only_addresses_of_the_same_origin_have_a_path_there() {
        let origin = api_origin("https://paas.example.com").unwrap();
        for (url, path) in [
            ("https://paas.example.com/streams/x?a=b", Some("/streams/x?a=b")),
            ("https://PAAS.example.com:443/x%2Fy", Some("/x%2Fy")),
            ("https://paas.example.com/x#part", Some("/x")),
            ("https://paas.example.com", None),
            ("https://paas.example.com:8443/x", None),
            ("http://paas.example.com/x", None),
            ("https://paas.example.com.evil.test/x", None),
            ("https://paas.example.com@evil.test/x", None),
            ("https://user@paas.example.com/x", None),
            ("rendezvous://paas.example.com:443/x", None),
            ("/x", None),
        ] {
            assert_eq!(origin.path_of(url), path, "{url}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let upstream = Upstream {
            name: "main".into(),
            url: "https://paas.example.com".into(),
            token: "HRKU-secret".into(),
            git_url: String::new(),
            ssh_url: String::new(),
            ca_file: None,
        };
        assert!(!format!("{upstream:?}").contains("secret"));
    }
}
