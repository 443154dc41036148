//! What a server's certificate says of itself: whom it is for, and until when.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::TlsError;
use crate::base::time::Timestamp;

/// The names and the life of a certificate. Says nothing about who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The DNS names among its subject alternative names, lower case. RFC 9110 §4.3.4: no other field names a host.
    pub names: Vec<String>,
    /// When it begins to hold.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Leaf {
    /// Reads the certificate that `path` holds.
    ///
    /// # Errors
    /// Where it is no X.509 certificate.
    pub fn of(path: &Path, certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let unreadable = || TlsError::Unreadable(path.to_owned());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
        let alternatives = parsed.subject_alternative_name().map_err(|_| unreadable())?;
        let names = alternatives.iter().flat_map(|found| &found.value.general_names);
        let dns = names.filter_map(|name| {
            if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
        });
        let validity = parsed.validity();
        Ok(Self {
            names: dns.collect(),
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
        })
    }
}
