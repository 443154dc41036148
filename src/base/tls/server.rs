//! A TLS server: what it presents to whom, and what it asks of clients.
//!
//! Certificates are chosen by the name that the client asks for (SNI, RFC 6066 §3): one that names it exactly, then one
//! that names it by a wildcard, then what [`UnknownName`] says. Everything is read and built at once, so that a set of
//! files is taken whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::certificate::Leaf;
use super::{TlsError, read_certificates, read_private_key};
use crate::base::secret::sha256;

/// What holds for every certificate of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// What a client gets that asks for a name which no certificate covers, or for none.
    pub unknown_name: UnknownName,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// Whether clients show a certificate.
    pub client_auth: Option<ClientAuth>,
}

/// What a client gets that asks for a name which no certificate covers, or for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// The first certificate.
    #[default]
    First,
    /// An alert: nothing is told to who does not know a name.
    Refuse,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2
    #[default]
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities that vouch for them.
    pub ca_file: PathBuf,
    /// Whether one must be shown.
    pub mode: ClientAuthMode,
}

/// Whether a client must show a certificate. One that is shown must be good in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// It may.
    Optional,
    /// It must.
    Required,
}

/// A server's TLS, built.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    digest: [u8; 32],
}

impl Server {
    /// Reads certificates with their keys, the default first, and builds from them. Speaks HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// Where a file cannot be read, or certificate and key do not belong together.
    pub fn load(pairs: &[(&Path, &Path)], terms: &Terms) -> Result<Self, TlsError> {
        let mut certificates = Certificates::new(terms.unknown_name);
        let mut read = format!("{terms:?}").into_bytes();
        for (cert, key) in pairs {
            let pair = pair(cert, key)?;
            for part in &pair.key.cert {
                read.extend_from_slice(&sha256(part));
            }
            certificates.add(pair);
        }
        let certificates = Arc::new(certificates);
        let versions: &[&SupportedProtocolVersion] = match terms.min_version {
            MinVersion::V1_2 => &[&TLS12, &TLS13],
            MinVersion::V1_3 => &[&TLS13],
        };
        #[expect(clippy::disallowed_methods, reason = "the one place that builds TLS configurations")]
        let builder = ServerConfig::builder_with_protocol_versions(versions);
        let builder = match &terms.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => {
                let roots = client_roots(&auth.ca_file)?;
                for root in &roots.roots {
                    read.extend_from_slice(&sha256(&root.subject));
                    read.extend_from_slice(&sha256(&root.subject_public_key_info));
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
                let verifier = match auth.mode {
                    ClientAuthMode::Optional => verifier.allow_unauthenticated(),
                    ClientAuthMode::Required => verifier,
                };
                let refused = |_| TlsError::NoAuthority(auth.ca_file.clone());
                builder.with_client_cert_verifier(verifier.build().map_err(refused)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::<Certificates>::clone(&certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // An idle connection keeps what it was sent; one ticket is enough to resume (std:186).
        config.send_tls13_tickets = 1;
        if terms.client_auth.is_some() {
            // A resumed connection would not look at the client's certificate again: it may have run out meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), certificates, digest: sha256(&read) })
    }

    /// What rustls goes by.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What is presented to whom.
    pub const fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Tells one set of files and terms from another.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// The certificates of a server, by name.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<Pair>,
    /// `app.example.com` to its place.
    exact: HashMap<String, usize>,
    /// `example.com` to the place of `*.example.com`.
    wildcard: HashMap<String, usize>,
    unknown: UnknownName,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    /// What the certificate says of itself.
    pub leaf: Leaf,
    key: Arc<CertifiedKey>,
}

impl Certificates {
    fn new(unknown: UnknownName) -> Self {
        Self { all: Vec::new(), exact: HashMap::new(), wildcard: HashMap::new(), unknown }
    }

    /// Of two that name the same, the earlier one is presented.
    fn add(&mut self, pair: Pair) {
        let place = self.all.len();
        for name in &pair.leaf.names {
            match name.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_insert(place),
                None => self.exact.entry(name.clone()).or_insert(place),
            };
        }
        self.all.push(pair);
    }

    /// All of them, the default first.
    pub fn iter(&self) -> std::slice::Iter<'_, Pair> {
        self.all.iter()
    }

    /// The one that is presented for a name; `None` where the handshake is refused.
    pub fn presented(&self, name: Option<&str>) -> Option<usize> {
        match (name.and_then(|name| self.find(name)), self.unknown) {
            (Some(place), _) => Some(place),
            (None, UnknownName::First) => Some(0),
            (None, UnknownName::Refuse) => None,
        }
    }

    /// Whether a request for `host` belongs on another connection: one of the certificates covers it, and not the one
    /// that was presented here. RFC 9110 §15.5.20
    pub fn is_misdirected(&self, presented: usize, host: &str) -> bool {
        match self.find(host) {
            Some(place) if place != presented => {
                !self.all.get(presented).is_some_and(|pair| covers(&pair.leaf.names, host))
            }
            Some(_) | None => false,
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = lower(name);
        let of_parent = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name.as_ref()).or_else(of_parent).copied()
    }
}

/// RFC 6125 §6.4.3: a wildcard stands for one whole label, the first.
fn covers(names: &[String], host: &str) -> bool {
    let host = lower(host);
    let parent = host.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(suffix) => parent == Some(suffix),
        None => *name == *host,
    })
}

fn lower(name: &str) -> std::borrow::Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let place = self.presented(hello.server_name())?;
        self.all.get(place).map(|pair| Arc::clone(&pair.key))
    }
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// Where a file cannot be read, or the two do not belong together.
pub fn pair(cert: &Path, key: &Path) -> Result<Pair, TlsError> {
    let chain = read_certificates(cert)?;
    let leaf = match chain.first() {
        Some(first) => Leaf::of(cert, first)?,
        None => return Err(TlsError::Unreadable(cert.to_owned())),
    };
    let key = read_private_key(key)?;
    let provider = CryptoProvider::get_default().ok_or(TlsError::NoProvider)?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Refused)?;
    Ok(Pair { leaf, key: Arc::new(key) })
}

/// The authorities that vouch for clients.
///
/// # Errors
/// Where the file cannot be read or holds no certificate of an authority.
pub fn client_roots(ca_file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(ca_file)? {
        roots.add(certificate).map_err(TlsError::Refused)?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::base::tls::install_provider;

    fn made(names: &[&str]) -> Pair {
        install_provider();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        pair(&cert, &key).unwrap()
    }

    fn three(unknown: UnknownName) -> Certificates {
        let mut all = Certificates::new(unknown);
        all.add(made(&["app.example.com", "www.example.com"]));
        all.add(made(&["*.example.com", "example.org"]));
        all.add(made(&["API.example.com", "*.api.example.com", "www.example.com"]));
        all
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_the_earlier_certificate_before_the_later() {
        let all = three(UnknownName::First);
        for (name, place) in [
            ("app.example.com", 0),
            ("APP.Example.com", 0),
            ("www.example.com", 0),
            ("other.example.com", 1),
            ("api.example.com", 2),
            ("v1.api.example.com", 2),
            ("example.org", 1),
            // Covered by none: the first.
            ("example.com", 0),
            ("a.b.example.com", 0),
            ("com", 0),
            ("", 0),
        ] {
            assert_eq!(all.presented(Some(name)), Some(place), "{name}");
        }
        assert_eq!(all.presented(None), Some(0));
    }

    #[test]
    fn an_unknown_name_can_be_refused() {
        let all = three(UnknownName::Refuse);
        assert_eq!(all.presented(Some("other.example.com")), Some(1));
        for name in [Some("example.com"), Some("a.b.example.com"), None] {
            assert_eq!(all.presented(name), None, "{name:?}");
        }
    }

    // std:116
    #[test]
    fn a_request_is_misdirected_where_another_certificate_would_have_been_presented() {
        let all = three(UnknownName::First);
        for (presented, host, wrong) in [
            (0, "app.example.com", false),
            (1, "app.example.com", false), // `*.example.com` covers it too
            (2, "app.example.com", true),
            (0, "other.example.com", true),
            (2, "www.example.com", false),
            (1, "v1.api.example.com", true),
            // No certificate of ours is for it: whoever sent it there had other reasons.
            (0, "10.0.0.1", false),
            (0, "elsewhere.example.net", false),
        ] {
            assert_eq!(all.is_misdirected(presented, host), wrong, "{host} on {presented}");
        }
    }

    #[test]
    fn a_certificate_tells_its_names_and_its_life() {
        let pair = made(&["App.example.com", "10.0.0.1"]);
        assert_eq!(pair.leaf.names, ["app.example.com"], "an address is no name");
        assert!(pair.leaf.not_before < Timestamp::from_secs(1_700_000_000));
        assert!(pair.leaf.not_after > Timestamp::from_secs(4_000_000_000));
    }
}
