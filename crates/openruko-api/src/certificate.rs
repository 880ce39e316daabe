//! Certificates that users bring: judged when they come in, described when they are shown.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::clock::{self, Millis};

/// The most certificates of a chain.
const MAX_CHAIN: usize = 10;

/// A certificate with its chain and its key, fit for use.
pub(crate) struct Certificate {
    /// PEM.
    pub(crate) chain: String,
    /// PEM.
    pub(crate) private_key: String,
}

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The host names that it is for.
    pub(crate) domains: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) self_signed: bool,
    pub(crate) starts_at: Millis,
    pub(crate) expires_at: Millis,
}

/// Why a certificate or key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCertificate {
    #[error(
        "There is no certificate in the certificate chain: it must be PEM, `-----BEGIN CERTIFICATE-----`."
    )]
    NoCertificate,
    #[error("The certificate chain has more than {MAX_CHAIN} certificates.")]
    TooLong,
    #[error("Certificate {0} of the chain cannot be read: {1}.")]
    Unreadable(usize, String),
    #[error(
        "Certificate {0} of the chain did not sign the one before it: the order is the app's own certificate \
         first, then each with which the one before it was signed."
    )]
    OutOfOrder(usize),
    #[error("The certificate is for no host name.")]
    NoNames,
    #[error("The certificate expired on {0}.")]
    Expired(String),
    #[error("The private key has a passphrase: give it without one, as `openssl pkey` writes it.")]
    Encrypted,
    #[error("There is no private key: it must be PEM, `-----BEGIN PRIVATE KEY-----`.")]
    NoKey,
    #[error("The private key cannot be used: it must be RSA of 2048 bits or more, ECDSA or Ed25519.")]
    UnusableKey,
    #[error("The private key does not belong to the certificate.")]
    OtherKey,
}

/// Reads what a user sent.
pub(crate) fn judge(chain: &str, private_key: &str, now: Millis) -> Result<Certificate, BadCertificate> {
    let certificates = certificates(chain)?;
    let facts: Vec<Facts> = facts_of_all(&certificates)?;
    let [first, others @ ..] = &facts[..] else { return Err(BadCertificate::NoCertificate) };
    let pairs = facts.iter().zip(others).zip(2..);
    if let Some((_, at)) = { pairs }.find(|((signed, signer), _)| signed.issuer != signer.subject) {
        return Err(BadCertificate::OutOfOrder(at));
    }
    if first.domains.is_empty() {
        return Err(BadCertificate::NoNames);
    }
    if first.expires_at <= now {
        return Err(BadCertificate::Expired(clock::rfc3339(first.expires_at)));
    }
    let key = key(private_key)?;
    let (chain, private_key) = (pem_of_chain(&certificates), pem_of_key(&key));
    match CertifiedKey::from_der(certificates, key, &ring::default_provider()) {
        Ok(_) => Ok(Certificate { chain, private_key }),
        Err(rustls::Error::InconsistentKeys(_)) => Err(BadCertificate::OtherKey),
        Err(_) => Err(BadCertificate::UnusableKey),
    }
}

/// What the first certificate of a stored chain says; nothing if it cannot be read.
pub(crate) fn described(chain: &str) -> Facts {
    let facts = certificates(chain).and_then(|certificates| facts_of_all(&certificates));
    facts.ok().and_then(|facts| facts.into_iter().next()).unwrap_or_default()
}

fn certificates(chain: &str) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let read = CertificateDer::pem_slice_iter(chain.as_bytes());
    let certificates = read
        .zip(1..)
        .map(|(one, at)| one.map_err(|e| BadCertificate::Unreadable(at, e.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    match certificates.len() {
        0 => Err(BadCertificate::NoCertificate),
        1..=MAX_CHAIN => Ok(certificates),
        _ => Err(BadCertificate::TooLong),
    }
}

fn facts_of_all(certificates: &[CertificateDer<'_>]) -> Result<Vec<Facts>, BadCertificate> {
    let read = |(der, at): (&CertificateDer<'_>, usize)| {
        facts(der).ok_or_else(|| BadCertificate::Unreadable(at, "it is no X.509 certificate".to_owned()))
    };
    certificates.iter().zip(1..).map(read).collect()
}

fn facts(der: &CertificateDer<'_>) -> Option<Facts> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let validity = certificate.validity();
    let (issuer, subject) = (certificate.issuer().to_string(), certificate.subject().to_string());
    Some(Facts {
        domains: names(&certificate)?,
        self_signed: issuer == subject,
        issuer,
        subject,
        starts_at: validity.not_before.timestamp().saturating_mul(1000),
        expires_at: validity.not_after.timestamp().saturating_mul(1000),
    })
}

/// Its alternative names; the common name counts only where there are none (RFC 6125 section 6.4.4).
fn names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let alternative = certificate.subject_alternative_name().ok()?;
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let names: Vec<String> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_lowercase()),
            _ => None,
        })
        .collect();
    if !names.is_empty() {
        return Some(names);
    }
    let common = certificate.subject().iter_common_name();
    Some(common.filter_map(|name| name.as_str().ok()).map(str::to_lowercase).collect())
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, BadCertificate> {
    // PKCS #8 says it in the label, the older forms in a header (RFC 1421).
    if pem.contains("ENCRYPTED") {
        return Err(BadCertificate::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadCertificate::NoKey)
}

fn pem_of_chain(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

fn pem_of_key(key: &PrivateKeyDer<'_>) -> String {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    pem(label, key.secret_der())
}

/// RFC 7468: lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
