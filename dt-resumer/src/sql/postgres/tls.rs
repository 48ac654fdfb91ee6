//! TLS: the modes of `sslmode`, with rustls and ring.
//!
//! As libpq (PostgreSQL documentation, 34.19 SSL Support): `prefer` and `require` look at no certificate, but
//! `require` with an authority named is `verify-ca`. Where a certificate is to be verified and no authority is named,
//! the public ones are trusted.

use std::sync::Arc;

use dt_common::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::sql::address::{Address, Tls};

/// What makes a TLS connection to this address. It is there for [`Tls::Disable`] too, where the driver never asks
/// for it.
///
/// # Errors
/// A file that the configuration names cannot be read, or holds no certificate.
pub(super) fn connector(address: &Address) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::fatal("TLS cannot be set up").caused_by(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(address, provider)?)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(address: &Address, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let checks = match (address.tls, &address.ca_path) {
        (Tls::Disable | Tls::Prefer, _) | (Tls::Require, None) => Checks::Nothing,
        (Tls::Require, Some(_)) | (Tls::VerifyCa, _) => Checks::Authority,
        (Tls::VerifyFull, _) => Checks::AuthorityAndName,
    };
    if checks == Checks::Nothing {
        return Ok(Arc::new(Verifier { checks, inner: None, provider }));
    }
    let mut roots = RootCertStore::empty();
    match &address.ca_path {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let bad = |error: String| {
                Error::config("the file of trusted authorities cannot be used")
                    .with("file", path.display())
                    .caused_by(error)
                    .hint("ssl_ca_path, or sslrootcert in the url, names a PEM file with certificates")
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it holds no certificate".to_owned()));
            }
        }
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::config("the trusted authorities cannot be used").caused_by(error))?;
    Ok(Arc::new(Verifier { checks, inner: Some(inner), provider }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    Nothing,
    Authority,
    AuthorityAndName,
}

/// Verifies what the mode asks for; that the server holds the certificate's key is always verified.
#[derive(Debug)]
struct Verifier {
    checks: Checks,
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is verified before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.checks == Checks::Authority => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
