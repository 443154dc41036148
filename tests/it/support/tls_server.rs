//! A server that speaks TLS, and can demand certificates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bearward::edge::settings::TlsFiles;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::tls::{Authority, der};

/// A running server that answers everything with `known`.
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl TlsServer {
    /// Shows `files`, and demands certificates that `clients` signed.
    pub(crate) async fn start(
        files: &TlsFiles,
        clients: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let builder = ServerConfig::builder_with_protocol_versions(versions);
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(der(&authority.ca_file())).unwrap();
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap(),
                )
            }
            None => builder.with_no_client_auth(),
        };
        let chain = vec![der(&files.cert)];
        let config =
            builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                    let mut read = Vec::new();
                    while tls.read_buf(&mut read).await.unwrap_or(0) > 0 {
                        while let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                            read.drain(..end + 4);
                            counted.fetch_add(1, Ordering::SeqCst);
                            drop(tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nknown").await);
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// How many requests arrived.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}
