//! A TLS client that says what it was shown, and certificates for both sides.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bearward::base::tls;
use bearward::edge::settings::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

/// An authority, and what it signed, in a folder of its own.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Signs a certificate for `names`, in the files `file.crt` and `file.key`.
    pub(crate) fn sign(&self, file: &str, names: &[&str]) -> TlsFiles {
        self.sign_changed(file, names, |_| ())
    }

    /// The same, for a month that is long over.
    pub(crate) fn sign_expired(&self, file: &str, names: &[&str]) -> TlsFiles {
        self.sign_changed(file, names, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        })
    }

    fn sign_changed(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> TlsFiles {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = TlsFiles {
            cert: self.folder.path().join(format!("{file}.crt")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> Dialer {
        Dialer { ca_file: self.ca_file(), own: None, only_1_2: false }
    }
}

/// The first certificate of a file.
pub(crate) fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// How a client dials.
#[derive(Clone)]
pub(crate) struct Dialer {
    ca_file: PathBuf,
    own: Option<TlsFiles>,
    only_1_2: bool,
}

impl Dialer {
    /// It shows a certificate.
    pub(crate) fn showing(mut self, files: &TlsFiles) -> Self {
        self.own = Some(files.clone());
        self
    }

    /// It speaks nothing newer.
    pub(crate) fn only_1_2(mut self) -> Self {
        self.only_1_2 = true;
        self
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.ca_file)).unwrap();
        let versions = if self.only_1_2 { vec![&TLS12] } else { vec![&TLS12, &TLS13] };
        let builder = ClientConfig::builder_with_protocol_versions(&versions).with_root_certificates(roots);
        match &self.own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                builder.with_client_auth_cert(vec![der(&files.cert)], key).unwrap()
            }
        }
    }

    /// Shakes hands with who listens on `address` under the name `name`; an IP address asks for no name.
    pub(crate) async fn dial(&self, address: SocketAddr, name: &str) -> io::Result<Dialed> {
        Self::dial_with(Arc::new(self.config()), address, name).await
    }

    /// Whether a client that comes back resumes the TLS session of its first connection.
    pub(crate) async fn resumes(&self, address: SocketAddr, name: &str, request: &str) -> bool {
        let config = Arc::new(self.config());
        let first = Self::dial_with(Arc::clone(&config), address, name).await.unwrap();
        assert_eq!(first.call(request).await.unwrap().1, 200);
        let second = Self::dial_with(config, address, name).await.unwrap();
        matches!(second.0.conn.handshake_kind(), Some(HandshakeKind::Resumed))
    }

    async fn dial_with(config: Arc<ClientConfig>, address: SocketAddr, name: &str) -> io::Result<Dialed> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        blocking(move || {
            let tcp = TcpStream::connect(address)?;
            tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
            let client = ClientConnection::new(config, name).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(client, tcp);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock)?;
            }
            Ok(Dialed(stream))
        })
        .await
    }
}

/// An open connection.
pub(crate) struct Dialed(StreamOwned<ClientConnection, TcpStream>);

impl Dialed {
    /// The certificate that the server has shown.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Sends a request and reads its response: status and body.
    pub(crate) async fn call(mut self, request: &str) -> io::Result<(Self, u16, String)> {
        let request = request.to_owned();
        blocking(move || {
            self.0.write_all(request.as_bytes())?;
            let mut read = Vec::new();
            let mut piece = [0; 4096];
            loop {
                if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    let length: usize = length.unwrap_or("0").parse().unwrap();
                    if read.len() >= end + 4 + length {
                        let body = String::from_utf8(read[end + 4..].to_vec()).unwrap();
                        return Ok((self, head[9..12].parse().unwrap(), body));
                    }
                }
                match self.0.read(&mut piece)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    amount => read.extend_from_slice(&piece[..amount]),
                }
            }
        })
        .await
    }
}

/// The gateway has threads of its own, but the upstream lives in the test's.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap()
}
