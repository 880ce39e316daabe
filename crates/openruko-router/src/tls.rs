//! Certificates: those of apps come with the table, others from files, which are read again when they change.

use std::io;
use std::sync::Arc;

use ruko_core::Fault;
use ruko_core::config::TlsConfig;
use ruko_core::exit::chain;
use ruko_http::Certificate;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::server::TlsStream;

use crate::table::Table;

/// RFC 9113, section 3.2.
const H2: &[u8] = b"h2";

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// Makes TLS of connections.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    files: Arc<Vec<Certificate>>,
}

impl Tls {
    /// Reads the certificates in files, of which there has to be one.
    ///
    /// # Errors
    /// One cannot be used; the message says which and why.
    pub(crate) fn new(files: &[TlsConfig], table: watch::Receiver<Arc<Table>>) -> Result<Self, Fault> {
        let files = Arc::new(read(files)?);
        let resolver = Arc::new(Resolver { table, files: files.clone() });
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), files })
    }

    /// The handshake.
    ///
    /// # Errors
    /// There is none, or no certificate to show.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Looks for new certificates now, and not with the next handshake.
    pub(crate) fn look(&self) {
        for certificate in self.files.iter() {
            certificate.current();
        }
    }
}

/// Reads certificates in files.
///
/// # Errors
/// One cannot be used; the message says which and why.
pub(crate) fn read(files: &[TlsConfig]) -> Result<Vec<Certificate>, Fault> {
    files.iter().map(|files| Certificate::read(files.clone())).collect()
}

/// Whether HTTP/2 was agreed on.
pub(crate) fn is_h2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

/// Chooses by the name that a client asks for: the app's own certificate, else the first in a file that is for that
/// name, else the first.
#[derive(Debug)]
struct Resolver {
    table: watch::Receiver<Arc<Table>>,
    files: Arc<Vec<Certificate>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let of_app = name.as_deref().and_then(|name| self.table.borrow().certificate(name).cloned());
        of_app.or_else(|| {
            let mut current = self.files.iter().map(Certificate::current);
            let first = current.next()?;
            match name {
                Some(name) if !is_for(&first, &name) => {
                    current.find(|key| is_for(key, &name)).or(Some(first))
                }
                _ => Some(first),
            }
        })
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let (Some(end), Ok(name)) = (key.cert.first(), ServerName::try_from(name)) else { return false };
    ParsedCertificate::try_from(end).is_ok_and(|end| verify_server_name(&end, &name).is_ok())
}

/// A certificate out of the table.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn parse(certificate: &ruko_api_types::router::Certificate) -> Result<Arc<CertifiedKey>, String> {
    let chain_of =
        CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain_of = chain_of.map_err(|error| chain(&error))?;
    if chain_of.is_empty() {
        return Err("there is no certificate in it".into());
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).map_err(|error| chain(&error))?;
    let key = CertifiedKey::from_der(chain_of, key, &ring::default_provider());
    key.map(Arc::new).map_err(|error| chain(&error))
}
