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
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, SHA_1_WITH_RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION,
    SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};

use crate::config::{Address, TlsMode};

/// What makes a TLS connection to this address. It is there for [`TlsMode::Disable`] too, where the driver never asks
/// for it.
///
/// # Errors
/// A file that the configuration names cannot be read, or holds no certificate or key.
pub fn connector(address: &Address) -> Result<MakeRustlsConnect> {
    config(address).map(MakeRustlsConnect::new)
}

/// What [`connector`] connects with.
///
/// # Errors
/// As [`connector`].
pub fn config(address: &Address) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::fatal("TLS cannot be set up").caused_by(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(address, provider)?);
    match (&address.parameters.certificate_path, &address.parameters.key_path) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let bad = |path: &std::path::Path, error: &dyn std::fmt::Display| {
                Error::config("the client's certificate or key cannot be used")
                    .with("file", path.display())
                    .caused_by(error.to_string())
            };
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .map_err(|error| bad(certificate, &error))?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| bad(certificate, &error))
        }
        (Some(_), None) | (None, Some(_)) => Err(Error::config("sslcert and sslkey are given together or not at all")),
    }
}

/// What a log-in over TLS is bound to: the digest of the server's certificate, by the hash of its signature, but no older
/// one than SHA-256 (RFC 5929, 4.1 `tls-server-end-point`). `None` for a signature without a hash of its own, as Ed25519.
pub fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = Certificate::from_der(certificate).ok()?.signature_algorithm.oid;
    match algorithm {
        SHA_1_WITH_RSA_ENCRYPTION | SHA_256_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_256 => {
            Some(Sha256::digest(certificate).to_vec())
        }
        SHA_384_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_384 => Some(Sha384::digest(certificate).to_vec()),
        SHA_512_WITH_RSA_ENCRYPTION => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

fn verifier(address: &Address, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let checks = match (address.tls, &address.ca_path) {
        (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, None) => Checks::Nothing,
        (TlsMode::Require, Some(_)) | (TlsMode::VerifyCa, _) => Checks::Authority,
        (TlsMode::VerifyFull, _) => Checks::AuthorityAndName,
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
                    .hint("[…] ssl_ca_path, or sslrootcert in the url, names a PEM file with certificates")
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
