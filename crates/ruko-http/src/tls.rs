//! TLS with a certificate that may be replaced while the server runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ruko_core::config::TlsConfig;
use ruko_core::exit::chain;
use ruko_core::{Fault, Hint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;

/// Makes TLS of connections.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads the certificate and its key.
    pub(crate) fn new(files: &TlsConfig) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let certificate = Certificate::read(files.clone())?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The handshake.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.acceptor.accept(stream).await
    }
}

/// A certificate that follows its files: each handshake looks whether they changed, which costs two
/// stat(2). One that cannot be read leaves the last good one in place, until the files change again.
#[derive(Debug)]
pub struct Certificate {
    files: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// The state of the files when they were last read, whether that went well or not.
    seen: Option<[Seen; 2]>,
    certified: Arc<CertifiedKey>,
}

/// What changes when a file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Certificate {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// They cannot be read, or do not belong to each other; the message says which and why.
    pub fn read(files: TlsConfig) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let seen = seen(&files);
        let certified = Arc::new(certified(&files, &provider)?);
        Ok(Self { files, provider, current: Mutex::new(Current { seen, certified }) })
    }

    /// As it is in the files now.
    pub fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seen(&self.files);
        if now != current.seen {
            current.seen = now;
            match certified(&self.files, &self.provider) {
                Ok(certified) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "read a new certificate");
                    current.certified = Arc::new(certified);
                }
                Err(fault) => tracing::error!(%fault, "the last good certificate stays in use"),
            }
        }
        current.certified.clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// None while one of the files is not there.
fn seen(files: &TlsConfig) -> Option<[Seen; 2]> {
    let one = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        let changed = (meta.ctime(), meta.ctime_nsec());
        Some(Seen { inode: meta.ino(), bytes: meta.len(), changed })
    };
    Some([one(&files.certificate)?, one(&files.key)?])
}

/// The certificate with its chain and key; an error when one does not belong to the other.
fn certified(files: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, Fault> {
    let TlsConfig { certificate, key } = files;
    let unusable = |path: &Path, why: String| {
        Fault::refused(format!("the TLS file `{}` cannot be used: {why}", path.display())).hint(
            "see `tls` in the configuration: two PEM files, readable by the user that runs this program",
        )
    };
    let chain_of = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| unusable(certificate, chain(&why)))?;
    if chain_of.is_empty() {
        return Err(unusable(certificate, "there is no certificate in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| unusable(key, chain(&why)))?;
    CertifiedKey::from_der(chain_of, private, provider).fault(format!(
        "the certificate `{}` and the key `{}`",
        certificate.display(),
        key.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &TlsConfig, name: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        for (path, text) in
            [(&files.certificate, made.cert.pem()), (&files.key, made.signing_key.serialize_pem())]
        {
            // As a tool for certificates does: a new file takes the name of the old one.
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
        made.cert.der().clone()
    }

    fn files(dir: &tempfile::TempDir) -> TlsConfig {
        TlsConfig { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") }
    }

    #[test]
    fn a_certificate_that_was_replaced_is_used_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let first = write(&files, "one.test");
        let certificate = Certificate::read(files.clone()).unwrap();
        assert_eq!(certificate.current().cert, [first]);
        let second = write(&files, "two.test");
        assert_eq!(certificate.current().cert, std::slice::from_ref(&second));
        fs::write(&files.key, "nonsense").unwrap();
        assert_eq!(certificate.current().cert, std::slice::from_ref(&second));
        fs::remove_file(&files.key).unwrap();
        assert_eq!(certificate.current().cert, [second]);
        let third = write(&files, "three.test");
        assert_eq!(certificate.current().cert, [third]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let refused = |files: &TlsConfig| Tls::new(files).err().unwrap().message;
        assert!(refused(&files).contains("cert.pem"), "{}", refused(&files));
        write(&files, "one.test");
        fs::write(&files.certificate, "").unwrap();
        assert!(refused(&files).contains("no certificate"), "{}", refused(&files));
        write(&files, "one.test");
        let other = rcgen::generate_simple_self_signed(["two.test".to_owned()]).unwrap();
        fs::write(&files.key, other.signing_key.serialize_pem()).unwrap();
        assert!(refused(&files).contains("the key"), "{}", refused(&files));
    }
}
