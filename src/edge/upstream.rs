//! Where requests are forwarded: addresses, TLS, timeouts.
//!
//! The upstream of a request comes from configuration alone (std:125). A certificate is always verified, and
//! against a name: pingora would skip the verification where the name is empty, and cannot verify an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use pingora::listeners::ALPN;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{WrappedX509, parse_x509};
use pingora::{Error, ErrorType};
use url::Host;

use super::settings::Upstream;
use crate::base::tls;
use crate::gate::settings::UpstreamId;

/// All upstreams, by their place in the configuration.
pub struct Upstreams {
    all: Vec<Target>,
    ca_file: Option<String>,
}

/// Why upstreams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The URL has no host, or another scheme than `http` and `https`.
    #[error("upstream {0}: the URL must be http or https and name a host")]
    Url(String),
    /// A certificate cannot be verified against an address.
    #[error("upstream {0}: https needs a host name, not an address, for its certificate to be verified")]
    Name(String),
    /// The certificates that vouch for it cannot be used.
    #[error("upstream {name}: its certificate could never be verified")]
    Ca {
        /// Which one.
        name: String,
        /// What is wrong.
        #[source]
        source: tls::TlsError,
    },
}

/// One upstream.
struct Target {
    name: String,
    template: HttpPeer,
    source: Source,
    /// Where it speaks HTTP/1.1 without TLS.
    plain: Option<Plain>,
}

/// The patience with an upstream that speaks HTTP/1.1 without TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

/// Where an upstream's addresses come from.
enum Source {
    Fixed(SocketAddr),
    Name { host: String, port: u16, found: RwLock<Found>, refreshing: AtomicBool, next: AtomicUsize },
}

#[derive(Clone)]
struct Found {
    addresses: Arc<[SocketAddr]>,
    at: Option<Instant>,
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|target| &target.name)).finish()
    }
}

impl Upstreams {
    /// Prepares upstreams. Nothing is resolved or connected: an upstream that is down at start is not an error.
    ///
    /// # Errors
    /// Where one could never be reached or verified.
    pub fn new(settings: &[Upstream]) -> Result<Self, UpstreamError> {
        let trust = Trust::of(settings);
        let all = settings.iter().map(|one| Target::new(one, &trust)).collect::<Result<_, _>>()?;
        Ok(Self { all, ca_file: trust.common() })
    }

    /// The name of an upstream, for logs.
    pub fn name(&self, id: UpstreamId) -> &str {
        self.all.get(id.0).map_or("", |target| target.name.as_str())
    }

    /// The trust anchors that pingora loads for all upstreams.
    pub(super) fn ca_file(&self) -> Option<String> {
        self.ca_file.clone()
    }

    /// Whose turn it is among the addresses of an upstream.
    pub(super) fn turn(&self, id: UpstreamId) -> usize {
        match self.all.get(id.0).map(|target| &target.source) {
            Some(Source::Name { next, .. }) => next.fetch_add(1, Ordering::Relaxed),
            Some(Source::Fixed(_)) | None => 0,
        }
    }

    /// Where an attempt goes.
    pub(super) async fn peer(&self, id: UpstreamId, turn: usize) -> pingora::Result<Box<HttpPeer>> {
        let Some(target) = self.all.get(id.0) else {
            return Error::e_explain(ErrorType::InternalError, "a route names an upstream that is not there");
        };
        let mut peer = Box::new(target.template.clone());
        peer._address = target.resolve(turn).await?.into_pingora();
        Ok(peer)
    }

    /// How an upstream is spoken to, where that is HTTP/1.1 without TLS.
    pub(super) fn plain(&self, id: UpstreamId) -> Option<Plain> {
        self.all.get(id.0)?.plain
    }

    /// Whether all upstreams are of that kind.
    pub(super) fn all_plain(&self) -> bool {
        self.all.iter().all(|target| target.plain.is_some())
    }

    /// The address that an attempt goes to; `None` where there is none.
    pub(super) async fn address(&self, id: UpstreamId, turn: usize) -> Option<SocketAddr> {
        self.all.get(id.0)?.resolve(turn).await.ok()
    }

    /// Whether another attempt would go to another address.
    pub(super) fn has_more(&self, id: UpstreamId) -> bool {
        self.all.get(id.0).is_some_and(|target| match &target.source {
            Source::Fixed(_) => false,
            Source::Name { found, .. } => {
                found.read().unwrap_or_else(PoisonError::into_inner).addresses.len() > 1
            }
        })
    }
}

trait IntoPingora {
    fn into_pingora(self) -> pingora::protocols::l4::socket::SocketAddr;
}

impl IntoPingora for SocketAddr {
    fn into_pingora(self) -> pingora::protocols::l4::socket::SocketAddr {
        pingora::protocols::l4::socket::SocketAddr::Inet(self)
    }
}

/// Which certificates vouch for whom. pingora has one set for all connections, which allows TLS sessions to be
/// resumed, and a set per upstream, which does not: the one set is used where all upstreams agree.
enum Trust {
    /// No upstream speaks TLS: loading the machine's roots would cost 10 ms for nothing.
    Nobody,
    /// All trust the machine's roots, or the same file.
    Same(Option<PathBuf>),
    Mixed,
}

impl Trust {
    fn of(settings: &[Upstream]) -> Self {
        let mut files = settings.iter().filter(|one| one.url.scheme() == "https").map(|one| &one.ca_file);
        match files.next() {
            None => Self::Nobody,
            Some(first) if files.all(|other| other == first) => Self::Same(first.clone()),
            Some(_) => Self::Mixed,
        }
    }

    fn common(&self) -> Option<String> {
        match self {
            Self::Nobody => Some("/dev/null".to_owned()),
            Self::Same(file) => file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            Self::Mixed => None,
        }
    }
}

impl Target {
    fn new(settings: &Upstream, trust: &Trust) -> Result<Self, UpstreamError> {
        let bad_url = || UpstreamError::Url(settings.name.clone());
        let https = match settings.url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(bad_url()),
        };
        let port = settings.url.port_or_known_default().ok_or_else(bad_url)?;
        let (fixed, name) = match settings.url.host().ok_or_else(bad_url)? {
            Host::Ipv4(address) => (Some(IpAddr::V4(address)), ""),
            Host::Ipv6(address) => (Some(IpAddr::V6(address)), ""),
            Host::Domain(name) => (None, name),
        };
        if https && name.is_empty() {
            return Err(UpstreamError::Name(settings.name.clone()));
        }
        let address = SocketAddr::new(fixed.unwrap_or(IpAddr::from([127, 0, 0, 1])), port);
        let mut template = HttpPeer::new(address, https, name.to_owned());
        set_options(&mut template, settings, https);
        if https {
            template.options.ca = trust_of(settings, trust)?;
        }
        let source = match fixed {
            Some(_) => Source::Fixed(address),
            None => Source::Name {
                host: name.to_owned(),
                port,
                found: RwLock::new(Found { addresses: Arc::new([]), at: None }),
                refreshing: AtomicBool::new(false),
                next: AtomicUsize::new(0),
            },
        };
        let plain = (!https && !settings.http2).then_some(Plain {
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            write_timeout: settings.write_timeout,
            idle_timeout: settings.idle_timeout,
        });
        Ok(Self { name: settings.name.clone(), template, source, plain })
    }

    /// The address for the next attempt.
    async fn resolve(&self, turn: usize) -> pingora::Result<SocketAddr> {
        let (host, port, found, refreshing) = match &self.source {
            Source::Fixed(address) => return Ok(*address),
            Source::Name { host, port, found, refreshing, .. } => (host, port, found, refreshing),
        };
        let mut known = found.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stale = known.at.is_none_or(|at| at.elapsed() > FRESH);
        // One request looks the name up anew, the others go on with what is known; without anything known all do.
        if stale && (known.addresses.is_empty() || !refreshing.swap(true, Ordering::AcqRel)) {
            let _done = Refreshing(refreshing);
            let looked_up = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host.as_str(), *port)));
            if let Ok(Ok(addresses)) = looked_up.await {
                known = Found { addresses: addresses.collect(), at: Some(Instant::now()) };
                *found.write().unwrap_or_else(PoisonError::into_inner) = known.clone();
            }
        }
        let turn = turn.checked_rem(known.addresses.len()).unwrap_or_default();
        match known.addresses.get(turn) {
            Some(address) => Ok(*address),
            None => {
                let error = Error::explain(ErrorType::ConnectError, "the host name does not resolve");
                Err(error.into_up())
            }
        }
    }
}

/// Ends a look-up, also when the request that made it is dropped.
struct Refreshing<'a>(&'a AtomicBool);

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn set_options(peer: &mut HttpPeer, settings: &Upstream, https: bool) {
    let options = &mut peer.options;
    options.connection_timeout = Some(settings.connect_timeout);
    options.total_connection_timeout = Some(settings.connect_timeout);
    options.read_timeout = Some(settings.read_timeout);
    options.write_timeout = Some(settings.write_timeout);
    options.idle_timeout = Some(settings.idle_timeout);
    // As it is by default; said again because everything rests on it.
    options.verify_cert = true;
    options.verify_hostname = true;
    options.alpn = match (settings.http2, https) {
        (true, true) => ALPN::H2H1,
        (true, false) => ALPN::H2,
        (false, _) => ALPN::H1,
    };
    if settings.http2 {
        options.max_h2_streams = 100;
    }
}

/// The certificates that vouch for one upstream, where they are not those of all; checked in either case.
fn trust_of(settings: &Upstream, trust: &Trust) -> Result<Option<Arc<[WrappedX509]>>, UpstreamError> {
    let fail = |source| UpstreamError::Ca { name: settings.name.clone(), source };
    // pingora panics over a file that it cannot use; find out before.
    tls::client_config(settings.ca_file.as_deref()).map_err(fail)?;
    match (&settings.ca_file, trust) {
        (Some(file), Trust::Mixed) => {
            let certificates = tls::read_certificates(file).map_err(fail)?;
            Ok(Some(certificates.iter().map(|one| WrappedX509::new(one.to_vec(), parse_x509)).collect()))
        }
        (Some(_) | None, Trust::Nobody | Trust::Same(_) | Trust::Mixed) => Ok(None),
    }
}

// Short enough to follow a moved service, long enough to ask a resolver rarely.
const FRESH: Duration = Duration::from_secs(10);
const LOOK_UP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(url: &str) -> Upstream {
        Upstream {
            name: "orders".to_owned(),
            url: url.parse().unwrap(),
            ca_file: None,
            http2: false,
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_certificate_is_always_verified_against_a_name() {
        tls::install_provider();
        for url in ["https://10.0.0.1", "https://[::1]:8443"] {
            let error = Upstreams::new(&[upstream(url)]).unwrap_err();
            assert!(matches!(error, UpstreamError::Name(_)), "{error}");
        }
        let target = Target::new(&upstream("http://10.0.0.1:81"), &Trust::Nobody).unwrap();
        assert_eq!(target.template._address.to_string(), "10.0.0.1:81");
    }

    #[test]
    fn only_http_and_https_are_spoken() {
        assert!(matches!(Upstreams::new(&[upstream("ftp://h/")]), Err(UpstreamError::Url(_))));
    }

    #[tokio::test]
    async fn a_name_is_resolved_when_it_is_needed() {
        let upstreams =
            Upstreams::new(&[upstream("http://localhost:81"), upstream("http://no.invalid")]).unwrap();
        let peer = upstreams.peer(UpstreamId(0), 0).await.unwrap();
        assert!(peer._address.to_string().ends_with(":81"));
        assert!(upstreams.peer(UpstreamId(1), 0).await.is_err());
    }

    #[tokio::test]
    async fn attempts_go_from_address_to_address() {
        let upstreams = Upstreams::new(&[upstream("http://two.invalid:81")]).unwrap();
        let Source::Name { found, .. } = &upstreams.all[0].source else { panic!("a name") };
        let addresses = ["192.0.2.1:81", "192.0.2.2:81"].map(|address| address.parse().unwrap());
        *found.write().unwrap() = Found { addresses: Arc::new(addresses), at: Some(Instant::now()) };
        let id = UpstreamId(0);
        assert!(upstreams.has_more(id));
        assert_eq!((upstreams.turn(id), upstreams.turn(id)), (0, 1));
        for (turn, expected) in [(0, "192.0.2.1:81"), (1, "192.0.2.2:81"), (2, "192.0.2.1:81")] {
            assert_eq!(upstreams.peer(id, turn).await.unwrap()._address.to_string(), expected);
        }
    }
}
