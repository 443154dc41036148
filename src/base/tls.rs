//! TLS: the one crypto provider, client and server configurations.
//!
//! The only place that names rustls' builders. Verification of a peer's certificate cannot be switched off here.

pub mod certificate;
pub mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// Why a TLS configuration could not be made. Names the file, never its content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate file could not be read or holds no certificate.
    #[error("{} holds no readable PEM certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A private key file could not be read or holds no private key.
    #[error("{} holds no readable PEM private key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The machine has no trusted root certificates, so no `https` peer could ever be verified.
    #[error("no trusted root certificate was found on this machine (install `ca-certificates`)")]
    NoRoots,
    /// Certificate and key do not fit each other, or rustls refuses them.
    #[error("the certificate or key is not usable")]
    Refused(#[source] rustls::Error),
    /// A certificate is not in the form of X.509.
    #[error("{} holds a certificate that cannot be read", .0.display())]
    Unreadable(PathBuf),
    /// Nobody in the file can vouch for a client.
    #[error("{} holds no certificate of an authority", .0.display())]
    NoAuthority(PathBuf),
    /// [`install_provider`] was not called.
    #[error("no crypto provider is installed")]
    NoProvider,
}

/// Installs aws-lc-rs as the process's crypto provider. The first line of `main` and of every test.
pub fn install_provider() {
    // A second call finds the provider installed and changes nothing.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// Reads every certificate of a PEM file.
///
/// # Errors
/// Where the file cannot be read or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |source| TlsError::Certificate { path: path.to_owned(), source };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    if certificates.is_empty() {
        return Err(fail(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// Reads the first private key of a PEM file.
///
/// # Errors
/// Where the file cannot be read or holds no private key.
pub fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Key { path: path.to_owned(), source })
}

/// What a client trusts: the machine's roots, or only those of a file.
///
/// # Errors
/// Where the machine has no roots or the file holds no certificate.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in read_certificates(path)? {
                roots.add(certificate).map_err(TlsError::Refused)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that builds TLS configurations")]
    let builder = ClientConfig::builder();
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// What a client shows of itself: a certificate chain and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Each certificate in DER, the client's own first; never none.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(|certificate| &**certificate)
    }

    /// The private key in DER.
    pub fn key(&self) -> &[u8] {
        self.key.secret_der()
    }
}

/// Reads a client's certificate and key.
///
/// # Errors
/// Where a file cannot be read, or certificate and key do not belong together.
pub fn identity(cert: &Path, key: &Path) -> Result<Identity, TlsError> {
    let identity = Identity { chain: read_certificates(cert)?, key: read_private_key(key)? };
    for certificate in &identity.chain {
        RootCertStore::empty().add(certificate.clone()).map_err(TlsError::Refused)?;
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that builds TLS configurations")]
    let builder = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    builder
        .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(TlsError::Refused)?;
    Ok(identity)
}

/// Whether a certificate can be verified against `name`, and the name be sent to a server: not an address.
pub fn is_server_name(name: &str) -> bool {
    matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_)))
}

/// The same as PEM, for a client that builds its TLS itself.
///
/// # Errors
/// Where the machine has no roots or the file holds no certificate.
pub fn roots_as_pem(ca_file: Option<&Path>) -> Result<Vec<u8>, TlsError> {
    let certificates = match ca_file {
        Some(path) => read_certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut pem = String::new();
    for certificate in certificates {
        let usable = RootCertStore::empty().add(certificate.clone());
        // Machines carry roots that are no longer well-formed; a file that was named must be good.
        if let Err(error) = usable {
            if ca_file.is_some() {
                return Err(TlsError::Refused(error));
            }
            continue;
        }
        let body = base64_simd::STANDARD.encode_to_string(&certificate);
        pem.push_str(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"));
    }
    if pem.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(pem.into_bytes())
}

/// A client that trusts nobody, for a peer that is spoken to without TLS.
pub fn trusting_nobody() -> Arc<ClientConfig> {
    #[expect(clippy::disallowed_methods, reason = "the one place that builds TLS configurations")]
    let builder = ClientConfig::builder();
    Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
