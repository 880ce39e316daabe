//! TLS to a server whose certificate one was told beforehand: by its digest, over a connection that is trusted.
//!
//! The terminals of one-off dynos have certificates that no authority has signed, as long as nobody gave them another.
//! The API, whose own certificate was verified, tells the digest in the terminal's address:
//! `rendezvous://HOST:PORT/SECRET?certificate=…`. That certificate is believed, whatever names and dates stand in it,
//! and no other one.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

/// The parameter of a terminal's address.
const PARAMETER: &str = "certificate=";

/// The SHA-256 digest of a certificate in its DER form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pinned([u8; 32]);

/// An address gives a digest that is none. It must not be taken for one that gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the digest of its certificate is not of 64 hexadecimal digits")]
pub struct BadPin;

impl Pinned {
    /// The digest that stands in the query of an address, or of what follows its host; none if there is none.
    ///
    /// # Errors
    /// There is something in its place that is no digest.
    pub fn of_query(address: &str) -> Result<Option<Self>, BadPin> {
        let query = address.split_once('?').map_or("", |(_, query)| query);
        let mut told = query.split('&').filter_map(|pair| pair.strip_prefix(PARAMETER));
        match (told.next(), told.next()) {
            (None, _) => Ok(None),
            (Some(hex), None) => Self::parse(hex).map(Some),
            // Which of them is meant nobody can tell.
            (Some(_), Some(_)) => Err(BadPin),
        }
    }

    fn parse(hex: &str) -> Result<Self, BadPin> {
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadPin);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BadPin)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadPin)?;
        }
        Ok(Self(digest))
    }

    fn is_of(self, certificate: &CertificateDer<'_>) -> bool {
        Sha256::digest(certificate).as_slice() == self.0
    }

    /// TLS with a server that has this certificate, and its key.
    ///
    /// # Errors
    /// TLS cannot be set up at all.
    pub fn client_config(self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Verifier { pin: self, provider: provider.clone() });
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth())
    }
}

/// A digest is no secret: everybody who connects is shown the certificate.
impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Believes one certificate. That the server has its key is verified as always.
#[derive(Debug)]
struct Verifier {
    pin: Pinned,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.pin.is_of(end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    #[test]
    fn an_address_has_a_digest_or_none_and_nothing_else_in_its_place() {
        let hex = "ab".repeat(32);
        let pin = Pinned([0xab; 32]);
        for address in [
            format!("rendezvous://paas.test:5003/5ec2e7?certificate={hex}"),
            format!("5ec2e7?x=1&certificate={}", hex.to_uppercase()),
        ] {
            assert_eq!(Pinned::of_query(&address), Ok(Some(pin)), "{address}");
        }
        for address in ["5ec2e7", "5ec2e7?x=certificate=1", "certificate=ab", "5ec2e7?"] {
            assert_eq!(Pinned::of_query(address), Ok(None), "{address}");
        }
        for address in [
            "s?certificate=".to_owned(),
            format!("s?certificate={}", &hex[1..]),
            format!("s?certificate={}g", &hex[1..]),
            format!("s?certificate={hex}&certificate={hex}"),
        ] {
            assert_eq!(Pinned::of_query(&address), Err(BadPin), "{address}");
        }
    }

    /// A server with a certificate that nobody signed, of long ago and for another name: its port and the digest.
    fn server(answers: usize) -> (u16, Pinned) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["elsewhere.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let pin = Pinned(Sha256::digest(certificate.der()).into());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming().take(answers) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, socket.unwrap());
                let _ = stream.write_all(b"hello").and_then(|()| stream.flush());
            }
        });
        (port, pin)
    }

    fn said(port: u16, pin: Pinned) -> std::io::Result<String> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(pin.client_config().unwrap()), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port))?);
        let mut said = [0; 5];
        stream.read_exact(&mut said)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    #[test]
    fn the_certificate_that_was_told_is_believed_and_no_other_one() {
        let (port, pin) = server(2);
        assert_eq!(said(port, pin).unwrap(), "hello");
        let refused = said(port, Pinned([0; 32])).unwrap_err();
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
}
