//! Whose certificates are believed: the machine's, and those of a server's own `ca_file`.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::ClientError;

/// TLS for [`ureq`].
pub(crate) fn for_http(ca_file: Option<&Path>) -> Result<TlsConfig, ClientError> {
    let roots: Vec<_> =
        roots(ca_file)?.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(provider())
        .build())
}

/// TLS for a connection of our own.
pub(crate) fn for_connection(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots(ca_file)?);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("this machine", &e))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// TLS for a connection of our own to what has this certificate.
pub(crate) fn for_pinned(pin: ruko_pin::Pinned) -> Result<Arc<ClientConfig>, ClientError> {
    pin.client_config().map(Arc::new).map_err(|e| bad("this machine", &e))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let machine = rustls_native_certs::load_native_certs();
    let mut roots = machine.certs;
    if let Some(file) = ca_file {
        roots.extend(of_file(file)?);
    }
    match (roots.is_empty(), machine.errors.first()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(bad("this machine", error)),
        (true, None) => {
            let why = "there are none: install them (ca-certificates on Debian), or log in with --ca-file";
            Err(ClientError::Certificates { place: "this machine".into(), why: why.into() })
        }
    }
}

/// The certificates of a PEM file: at least one.
pub(crate) fn of_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let shown = format!("`{}`", file.display());
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).and_then(|certificates| certificates.collect());
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(ClientError::Certificates { place: shown, why: "it holds no PEM certificate".into() })
        }
        read => read.map_err(|e| bad(&shown, &e)),
    }
}

fn bad(place: &str, why: &dyn std::error::Error) -> ClientError {
    ClientError::Certificates { place: place.to_owned(), why: why.to_string() }
}
