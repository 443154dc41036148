//! What the TLS of a connection tells about its requests.
//!
//! pingora hands an extension of ours from the handshake to every request of the connection: which certificate was
//! presented, and which one the client showed. Where neither can matter there is none.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::protocols::tls::{SslDigest, TlsRef};

use crate::base::tls::server::{Certificates, Server};

/// Of one connection.
#[derive(Debug)]
pub(super) struct Secured {
    certificates: Arc<Certificates>,
    presented: usize,
    /// The client's verified certificate, as RFC 9440 §2.1 writes it.
    client_cert: Option<HeaderValue>,
}

impl Secured {
    /// What the handshake of a connection told.
    pub(super) fn of(digest: &SslDigest) -> Option<&Self> {
        digest.extension.get()
    }

    /// Whether a request for `host` belongs on a connection of its own.
    pub(super) fn is_misdirected(&self, host: &str) -> bool {
        self.certificates.is_misdirected(self.presented, host)
    }

    /// The value of `Client-Cert`.
    pub(super) const fn client_cert(&self) -> Option<&HeaderValue> {
        self.client_cert.as_ref()
    }
}

/// Accepts TLS as `server` says.
///
/// # Errors
/// Where pingora refuses it.
pub(super) fn acceptor(server: &Server, clients: Clients) -> pingora::Result<Acceptor> {
    let plain = Acceptor::from_server_config(server.config());
    if clients == Clients::Unnamed && server.certificates().iter().len() == 1 {
        return Ok(plain);
    }
    let teller = Teller { certificates: Arc::clone(server.certificates()) };
    let mut settings = TlsSettings::with_callbacks(Box::new(teller))?;
    settings.set_cert_resolver(Arc::<Certificates>::clone(server.certificates()));
    let mut acceptor = settings.build();
    // Only these settings take a callback, and only the other way takes the rest of what was configured.
    acceptor.acceptor = plain.acceptor;
    Ok(acceptor)
}

/// Whether clients may show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    Unnamed,
    MayShowCertificates,
}

struct Teller {
    certificates: Arc<Certificates>,
}

#[async_trait]
impl TlsAccept for Teller {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let client_cert = tls.peer_certificate_der().and_then(|der| {
            let text = base64_simd::STANDARD.encode_to_string(der);
            HeaderValue::try_from(format!(":{text}:")).ok()
        });
        let presented = self.certificates.presented(tls.server_name())?;
        Some(Arc::new(Secured { certificates: Arc::clone(&self.certificates), presented, client_cert }))
    }
}
