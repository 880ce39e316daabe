//! TLS with a certificate that may be replaced meanwhile, or with one that is made up.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ruko_core::config::TlsConfig;
use ruko_core::exit::chain;
use ruko_core::{Fault, Hint, hex};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::server::TlsStream;

/// Makes TLS of connections, by the certificate in two files or by one of its own.
pub(crate) struct Door {
    acceptor: TlsAcceptor,
    certificate: Source,
}

/// Where the certificate is from.
enum Source {
    Files(Arc<Certificate>),
    MadeUp(Arc<CertifiedKey>),
}

impl Door {
    /// Reads the certificate and its key; without files it makes them up, and the key stays in memory.
    ///
    /// # Errors
    /// They cannot be used; the message says which and why.
    pub(crate) fn new(files: Option<&TlsConfig>) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let certificate = match files {
            Some(files) => Source::Files(Arc::new(Certificate::read(files.clone(), provider.clone())?)),
            None => Source::MadeUp(Arc::new(made_up(&provider)?)),
        };
        let resolver: Arc<dyn ResolvesServerCert> = match &certificate {
            Source::Files(certificate) => certificate.clone(),
            Source::MadeUp(certified) => Arc::new(SingleCertAndKey::from(certified.clone())),
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// The handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// The SHA-256 digest of the certificate's DER form, lower-case hexadecimal.
    pub(crate) fn digest(&self) -> String {
        let certified = match &self.certificate {
            Source::Files(certificate) => certificate.current(),
            Source::MadeUp(certified) => certified.clone(),
        };
        hex(&Sha256::digest(certified.cert.first().map(|cert| cert.as_ref()).unwrap_or_default()))
    }
}

/// Follows its files: each handshake looks whether they changed. One that cannot be read leaves the last good one in
/// place.
#[derive(Debug)]
struct Certificate {
    files: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Seen, Arc<CertifiedKey>)>,
}

/// What changes when one of the two files is replaced.
type Seen = [Option<(u64, u64, i64, i64)>; 2];

impl Certificate {
    fn read(files: TlsConfig, provider: Arc<CryptoProvider>) -> Result<Self, Fault> {
        let current = Mutex::new((seen(&files), Arc::new(certified(&files, &provider)?)));
        Ok(Self { files, provider, current })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seen(&self.files);
        if now != current.0 {
            current.0 = now;
            match certified(&self.files, &self.provider) {
                Ok(certified) => current.1 = Arc::new(certified),
                Err(fault) => tracing::error!(%fault, "the last good certificate stays in use"),
            }
        }
        current.1.clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// Whoever is told its digest believes it; its name is nobody's.
fn made_up(provider: &CryptoProvider) -> Result<CertifiedKey, Fault> {
    const WHAT: &str = "no certificate for terminals can be made";
    let made = rcgen::generate_simple_self_signed(["openruko".to_owned()]).fault(WHAT)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    CertifiedKey::from_der(vec![made.cert.der().clone()], key, provider).fault(WHAT)
}

fn seen(files: &TlsConfig) -> Seen {
    let one = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
    };
    [one(&files.certificate), one(&files.key)]
}

fn certified(files: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, Fault> {
    let TlsConfig { certificate, key } = files;
    let unusable = |path: &Path, why: String| {
        Fault::refused(format!("the TLS file `{}` cannot be used: {why}", path.display())).hint(
            "see [host.rendezvous] of the configuration: two PEM files, readable by the user that runs this",
        )
    };
    let certificates = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| unusable(certificate, chain(&why)))?;
    if certificates.is_empty() {
        return Err(unusable(certificate, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| unusable(key, chain(&why)))?;
    let both = format!("the certificate `{}` and the key `{}`", certificate.display(), key.display());
    CertifiedKey::from_der(certificates, private, provider).fault(both)
}
