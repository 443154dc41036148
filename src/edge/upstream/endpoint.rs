//! One server of an upstream, and a request's seat there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use pingora::protocols::Digest;
use pingora::protocols::l4::socket::SocketAddr as SocketAddress;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::sync::Notify;
use url::{Host, Url};

use super::address::Address;
use super::balance;
use super::name::Name;
use super::standing::{Others, Standing};
use super::trust::Trust;
use super::{Known, UpstreamError, peer};
use crate::base::tls;
use crate::base::tls::server::MinVersion;
use crate::edge::settings::{self, Eject, HostField, Place, Upstream};

/// One server.
pub(super) struct Endpoint {
    /// As it is called in logs and metrics.
    pub(super) name: String,
    pub(super) weight: u32,
    /// Its place in the hash of sessions.
    pub(super) seed: u64,
    pub(super) standing: Arc<Standing>,
    /// What it is told as `Host`; `None` for what the client sent.
    pub(super) host: Option<HeaderValue>,
    /// Host and port of it.
    pub(super) authority: HeaderValue,
    eject: Option<Eject>,
    /// The most requests under way, and whom to tell when one ends.
    limit: Option<(u64, Arc<Notify>)>,
    watched: Watched,
    least: MinVersion,
    source: Source,
    /// What pingora is told of it, but for an address that is looked up.
    template: HttpPeer,
}

/// Whether it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Yes,
    No,
}

/// Where a connection to an endpoint goes.
#[derive(Debug)]
pub(super) struct Aim {
    /// Whose turn it was among the addresses, and how often that went on.
    turn: usize,
    address: Option<Address>,
}

/// Where its addresses come from.
enum Source {
    Fixed(Address),
    Name(Arc<Name>),
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(
        settings: &settings::Endpoint,
        upstream: &Upstream,
        Known { trust, standings }: Known<'_>,
        freed: &Arc<Notify>,
    ) -> Result<Self, UpstreamError> {
        let name = settings.place.to_string();
        let (source, template) = match &settings.place {
            Place::Url(url) => at_url(url, upstream, trust)?,
            Place::Unix(path) => at_socket(path, upstream)?,
        };
        let authority = HeaderValue::from_str(&authority(&settings.place))
            .map_err(|_| UpstreamError::Url(upstream.name.clone()))?;
        let host = match &upstream.host {
            HostField::Keep => None,
            HostField::Endpoint => Some(authority.clone()),
            HostField::Text(text) => Some(text.clone()),
        };
        Ok(Self {
            weight: settings.weight.max(1),
            seed: balance::seed(&name),
            standing: standings.of(&upstream.name, &name),
            name,
            host,
            authority,
            eject: upstream.eject.clone(),
            least: upstream.tls.least,
            limit: upstream.pool.connections.map(|most| (most, Arc::clone(freed))),
            watched: if upstream.health.is_some() { Watched::Yes } else { Watched::No },
            source,
            template,
        })
    }

    /// Whether a connection is as safe as it must be. pingora agrees to TLS 1.2 with whoever offers no more.
    pub(super) fn takes(&self, digest: Option<&Digest>) -> bool {
        let version = digest.and_then(|digest| digest.ssl_digest.as_ref()).map(|tls| tls.version.as_ref());
        self.least == MinVersion::V1_2 || version.is_none_or(|version| version == TLS_1_3)
    }

    /// Whether there is room for one more request.
    pub(super) fn has_room(&self) -> bool {
        self.limit.as_ref().is_none_or(|(most, _)| self.standing.in_flight() < *most)
    }

    /// Whether requests should come.
    pub(super) fn is_good(&self) -> bool {
        self.out_for(Duration::ZERO).is_none()
    }

    /// How much longer none should come; where only a probe can tell, `until_probed`.
    pub(super) fn out_for(&self, until_probed: Duration) -> Option<Duration> {
        if self.watched == Watched::Yes && self.standing.is_down() {
            return Some(until_probed);
        }
        self.eject.as_ref().and_then(|_| self.standing.ejected_for())
    }

    /// A request was answered.
    pub(super) fn answered(&self, status: StatusCode, others: impl FnOnce() -> Others) {
        let Some(eject) = &self.eject else { return };
        if eject.statuses.contains(&status) {
            self.standing.failed(eject, others);
        } else {
            self.standing.succeeded(eject);
        }
    }

    /// A request failed: no connection, none that lasted, or no answer in time.
    pub(super) fn failed(&self, others: impl FnOnce() -> Others) {
        if let Some(eject) = &self.eject {
            self.standing.failed(eject, others);
        }
    }

    /// Aims at the address whose turn it is.
    pub(super) fn aim(&self) -> Aim {
        let turn = match &self.source {
            Source::Fixed(_) => 0,
            Source::Name(name) => name.turn(),
        };
        Aim { turn, address: None }
    }

    /// Where to connect to; `None` where the name has no address.
    pub(super) async fn address<'a>(&self, aim: &'a mut Aim) -> Option<&'a Address> {
        aim.address = match &self.source {
            Source::Fixed(address) => Some(address.clone()),
            Source::Name(name) => name.address(aim.turn).await.map(Address::Inet),
        };
        aim.address.as_ref()
    }

    /// The same in pingora's words.
    pub(super) async fn peer(&self, aim: &mut Aim) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = Box::new(self.template.clone());
        let fixed = matches!(self.source, Source::Fixed(_));
        match self.address(aim).await {
            Some(_) if fixed => {}
            Some(Address::Inet(address)) => peer._address = SocketAddress::Inet(*address),
            // No name resolves to a socket.
            Some(Address::Unix(_)) | None => {
                let error = Error::explain(ErrorType::ConnectError, "the host name does not resolve");
                return Err(error.into_up());
            }
        }
        Ok(peer)
    }

    /// A connection could not be made: the next one goes to another address, where there is one.
    pub(super) fn move_on(&self, aim: &mut Aim) {
        aim.turn = aim.turn.wrapping_add(1);
        if let (Source::Name(name), Some(Address::Inet(address))) = (&self.source, &aim.address) {
            name.avoid(*address);
        }
    }

    /// How many addresses it is known to have.
    pub(super) fn known_addresses(&self) -> usize {
        match &self.source {
            Source::Fixed(_) => 1,
            Source::Name(name) => name.known(),
        }
    }

    /// One for tests of whatever needs one.
    #[cfg(test)]
    pub(super) fn told(url: &str, weight: u32) -> Arc<Self> {
        let settings = super::tests::upstream(&[url]);
        let endpoint = settings::Endpoint { weight, ..settings.endpoints[0].clone() };
        Arc::new(
            Self::new(
                &endpoint,
                &settings,
                Known { trust: &Trust::of(&[]), standings: &super::Standings::default() },
                &Arc::default(),
            )
            .unwrap(),
        )
    }

    #[cfg(test)]
    pub(super) fn host_name(&self) -> Option<&Name> {
        match &self.source {
            Source::Fixed(_) => None,
            Source::Name(name) => Some(name),
        }
    }
}

fn at_url(url: &Url, upstream: &Upstream, trust: &Trust) -> Result<(Source, HttpPeer), UpstreamError> {
    let bad_url = || UpstreamError::Url(upstream.name.clone());
    let https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(bad_url()),
    };
    let port = url.port_or_known_default().ok_or_else(bad_url)?;
    let (fixed, name) = match url.host().ok_or_else(bad_url)? {
        Host::Ipv4(address) => (Some(IpAddr::V4(address)), ""),
        Host::Ipv6(address) => (Some(IpAddr::V6(address)), ""),
        Host::Domain(name) => (None, name),
    };
    let server_name = upstream.tls.server_name.as_deref().unwrap_or(name);
    // pingora verifies nothing where the name is empty.
    if https && !tls::is_server_name(server_name) {
        return Err(UpstreamError::Name(upstream.name.clone()));
    }
    let address = SocketAddr::new(fixed.unwrap_or(IpAddr::from([127, 0, 0, 1])), port);
    let mut template = HttpPeer::new(address, https, server_name.to_owned());
    peer::set_options(&mut template, upstream, https);
    if https {
        peer::secure(&mut template, upstream, trust)?;
    }
    let source = match fixed {
        Some(_) => Source::Fixed(Address::Inet(address)),
        None => Source::Name(Name::new(name, port)),
    };
    Ok((source, template))
}

fn at_socket(path: &Path, upstream: &Upstream) -> Result<(Source, HttpPeer), UpstreamError> {
    let address = Address::Unix(path.into());
    let at = address.to_pingora().ok_or_else(|| UpstreamError::Socket(upstream.name.clone()))?;
    let mut template = HttpPeer::new(SocketAddr::from(([127, 0, 0, 1], 0)), false, String::new());
    template._address = at;
    peer::set_options(&mut template, upstream, false);
    Ok((Source::Fixed(address), template))
}

/// RFC 9110 §7.2: host and port, the port where it is not the scheme's own.
fn authority(place: &Place) -> String {
    match place {
        Place::Url(url) => {
            let host = url.host_str().unwrap_or_default();
            url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        }
        // A socket has no name, and HTTP/1.1 wants one.
        Place::Unix(_) => "localhost".to_owned(),
    }
}

// What rustls calls it.
const TLS_1_3: &str = "TLSv1_3";

/// A request's seat at an endpoint: it counts there for as long as this exists.
pub(in crate::edge) struct Seat {
    endpoint: Arc<Endpoint>,
    aim: Aim,
}

impl Seat {
    /// Sits down; `None` where no seat is free.
    pub(super) fn at(endpoint: &Arc<Endpoint>) -> Option<Self> {
        let seated = endpoint.standing.enter(endpoint.limit.as_ref().map(|(most, _)| *most));
        seated.then(|| Self { endpoint: Arc::clone(endpoint), aim: endpoint.aim() })
    }

    /// Where to connect to; `None` where the name has no address.
    pub(in crate::edge) async fn address(&mut self) -> Option<&Address> {
        self.endpoint.address(&mut self.aim).await
    }

    /// The same in pingora's words.
    pub(in crate::edge) async fn peer(&mut self) -> pingora::Result<Box<HttpPeer>> {
        self.endpoint.peer(&mut self.aim).await
    }

    /// The connection could not be made.
    pub(super) fn move_on(&mut self) {
        self.endpoint.move_on(&mut self.aim);
    }

    /// What the endpoint is told as `Host`; `None` for what the client sent.
    pub(in crate::edge) fn host(&self) -> Option<&HeaderValue> {
        self.endpoint.host.as_ref()
    }

    /// Whether a connection is as safe as it must be.
    pub(in crate::edge) fn takes(&self, digest: Option<&Digest>) -> bool {
        self.endpoint.takes(digest)
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.endpoint.standing.leave();
        if let Some((_, freed)) = &self.endpoint.limit {
            freed.notify_one();
        }
    }
}
