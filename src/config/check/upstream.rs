//! `upstreams`, and the upstreams that routes name by their URL.

mod health;

use std::ops::Range;

use http::HeaderValue;
use http::uri::Authority;
use url::Url;

use super::{positive, url as urls, within};
use crate::base::tls::is_server_name;
use crate::base::tls::server::MinVersion;
use crate::config::nearest::nearest;
use crate::config::problems::Findings;
use crate::config::raw::edge as raw;
use crate::config::reader::{At, defaults};
use crate::edge::settings::{Balance, Endpoint, HostField, Place, Pool, TlsFiles, Upstream, UpstreamTls};
use crate::gate::settings::UpstreamId;

/// The upstreams found so far. Their order is their ids.
#[derive(Default)]
pub(super) struct Upstreams {
    list: Vec<Upstream>,
    named: Vec<Named>,
}

struct Named {
    name: String,
    at: Range<usize>,
    /// `None` where it has a problem of its own.
    id: Option<UpstreamId>,
    uses: usize,
}

impl Upstreams {
    /// Adds an entry of `upstreams`.
    pub(super) fn add_named(&mut self, name: &At<String>, raw: raw::Upstream, findings: &mut Findings) {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.value.is_empty() || !name.value.bytes().all(is_name) {
            findings
                .report(&name.at, "not a name for an upstream")
                .help("use letters, digits, `_`, `-` and `.`");
        }
        let id = upstream(&name.value, raw, findings).map(|upstream| self.push(upstream));
        self.named.push(Named { name: name.value.clone(), at: name.at.clone(), id, uses: 0 });
    }

    /// The upstream that a route means by a URL or a name.
    pub(super) fn resolve(&mut self, text: &At<String>, findings: &mut Findings) -> Option<UpstreamId> {
        if text.value.contains("://") || text.value.starts_with(SOCKET) {
            return self.by_url(text, findings);
        }
        if let Some(named) = self.named.iter_mut().find(|named| named.name == text.value) {
            named.uses += 1;
            return named.id;
        }
        let help = match nearest(&text.value, self.named.iter().map(|named| named.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "write a URL such as `http://127.0.0.1:8080`, or add the name under `upstreams`".to_owned()
            }
        };
        findings.report(&text.at, "no upstream has this name").help(help);
        None
    }

    /// All of them, by id.
    pub(super) fn finish(self, findings: &mut Findings) -> Vec<Upstream> {
        for named in self.named.iter().filter(|named| named.uses == 0) {
            findings.warn(&named.at, "no route uses this upstream");
        }
        self.list
    }

    fn push(&mut self, upstream: Upstream) -> UpstreamId {
        self.list.push(upstream);
        UpstreamId(self.list.len() - 1)
    }

    fn by_url(&mut self, text: &At<String>, findings: &mut Findings) -> Option<UpstreamId> {
        let place = server(text, ServerName::InPlace, findings)?;
        let name = match &place {
            Place::Url(url) => authority(url),
            Place::Unix(_) => place.to_string(),
        };
        let same = |known: &Upstream| {
            known.name == name && known.endpoints.first().is_some_and(|endpoint| endpoint.place == place)
        };
        if let Some(index) = self.list.iter().position(same) {
            return Some(UpstreamId(index));
        }
        let anonymous = new(name, vec![Endpoint { place, weight: 1 }], defaults()?, findings)?;
        Some(self.push(anonymous))
    }
}

fn upstream(name: &str, raw: raw::Upstream, findings: &mut Findings) -> Option<Upstream> {
    let health = match raw.health {
        Some(raw) => health::probes(raw.value, findings).map(Some),
        None => Some(None),
    };
    let retries = raw.retries.and_then(|raw| health::retries(raw.value, findings));
    let pool = raw.pool.and_then(|raw| pool(raw.value, findings));
    let eject = raw.eject.and_then(|raw| health::eject(raw.value, findings));
    let tls_at = raw.tls.as_ref().map(|tls| tls.at.clone());
    let tls = match raw.tls {
        Some(raw) => tls(raw.value, findings),
        None => Some(new_tls()),
    };
    // A name that is wrong is a problem of its own, and not of the endpoints.
    let named = match &tls {
        Some(UpstreamTls { server_name: None, .. }) => ServerName::InPlace,
        Some(_) | None => ServerName::InTls,
    };
    let endpoints = raw.endpoints.and_then(|list| endpoints(list, named, findings));
    if let (Some(at), Some([first, ..])) = (tls_at, endpoints.as_deref())
        && !first.place.speaks_tls()
    {
        findings
            .report(&at, "TLS of an upstream that does not speak it")
            .help("write `https` endpoints, or drop the key");
    }
    let host = raw.host.and_then(|text| host(&text, findings));
    let mut upstream = new(name.to_owned(), endpoints?, raw.timeouts?.value, findings)?;
    upstream.balance = match raw.balance?.value {
        raw::Balance::RoundRobin => Balance::RoundRobin,
        raw::Balance::LeastLoaded => Balance::LeastLoaded,
        raw::Balance::SessionHash => Balance::SessionHash,
    };
    upstream.host = host?;
    upstream.health = health?;
    upstream.eject = eject?;
    upstream.tls = tls?;
    upstream.pool = pool?;
    upstream.retries = retries?;
    upstream.ca_file = raw.ca_file.map(|path| path.value);
    upstream.http2 = raw.http2?.value;
    Some(upstream)
}

/// Where the name stands that a server's certificate must have.
#[derive(Clone, Copy, PartialEq)]
enum ServerName {
    /// In the place of the server.
    InPlace,
    /// In `tls`.
    InTls,
}

fn new_tls() -> UpstreamTls {
    UpstreamTls { server_name: None, client: None, least: MinVersion::V1_2 }
}

fn tls(raw: raw::UpstreamTls, findings: &mut Findings) -> Option<UpstreamTls> {
    let server_name = match raw.server_name {
        Some(text) if is_server_name(&text.value) => Some(Some(text.value)),
        Some(text) => {
            findings.report(&text.at, "not a name of a server").help("write a host's name, not an address");
            None
        }
        None => Some(None),
    };
    let client = match raw.client {
        Some(At { value: raw::CertificateFiles { cert: Some(cert), key: Some(key) }, .. }) => {
            Some(Some(TlsFiles { cert: cert.value, key: key.value }))
        }
        Some(_) => None,
        None => Some(None),
    };
    let least = match raw.min_version?.value {
        raw::TlsVersion::V1_2 => MinVersion::V1_2,
        raw::TlsVersion::V1_3 => MinVersion::V1_3,
    };
    Some(UpstreamTls { server_name: server_name?, client: client?, least })
}

fn endpoints(
    list: At<Vec<At<raw::Endpoint>>>,
    named: ServerName,
    findings: &mut Findings,
) -> Option<Vec<Endpoint>> {
    if list.value.is_empty() {
        findings.report(&list.at, "an upstream needs an endpoint").help("write `[http://host:port]`");
    }
    if list.value.len() > MOST_ENDPOINTS {
        findings
            .report(&list.at, format!("more than {MOST_ENDPOINTS} endpoints"))
            .help("give their addresses one name in the DNS: all of them are used");
    }
    let wanted = list.value.len();
    let mut found: Vec<(Endpoint, Range<usize>)> = Vec::new();
    for raw in list.value {
        let text = raw.value.url();
        let place = text.as_ref().and_then(|text| server(text, named, findings));
        let weight = match raw.value.weight() {
            Some(weight) => within(Some(weight), 1..1001, findings),
            None => Some(1),
        };
        let (Some(place), Some(weight), Some(text)) = (place, weight, text) else { continue };
        if let Some((_, first)) = found.iter().find(|(earlier, _)| earlier.place == place) {
            findings.report(&text.at, "the same endpoint twice").also(first, "here").help("give it a weight");
        }
        if let Some((first, at)) =
            found.first().filter(|(first, _)| first.place.speaks_tls() != place.speaks_tls())
        {
            let first = if first.place.speaks_tls() { "speaks TLS" } else { "does not" };
            findings
                .report(&text.at, "the endpoints of one upstream all speak TLS, or none does")
                .also(at, first)
                .help("make two upstreams of them");
        }
        found.push((Endpoint { place, weight: u32::try_from(weight).ok()? }, text.at));
    }
    let whole = found.len() == wanted && !found.is_empty();
    whole.then(|| found.into_iter().map(|(endpoint, _)| endpoint).collect())
}

fn new(
    name: String,
    endpoints: Vec<Endpoint>,
    timeouts: raw::UpstreamTimeouts,
    findings: &mut Findings,
) -> Option<Upstream> {
    let connect = positive(timeouts.connect, findings);
    let read = positive(timeouts.read, findings);
    let write = positive(timeouts.write, findings);
    let idle = positive(timeouts.idle, findings);
    let head = match timeouts.head {
        Some(head) => positive(Some(head), findings).map(Some),
        None => Some(None),
    };
    Some(Upstream {
        name,
        endpoints,
        balance: Balance::RoundRobin,
        health: None,
        eject: None,
        tls: new_tls(),
        pool: pool(defaults()?, findings)?,
        retries: health::retries(defaults()?, findings)?,
        host: HostField::Keep,
        ca_file: None,
        http2: false,
        connect_timeout: connect?,
        read_timeout: read?,
        write_timeout: write?,
        idle_timeout: idle?,
        head_timeout: head?,
    })
}

fn is_host(text: &str) -> bool {
    let authority = text.parse::<Authority>();
    authority.is_ok_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
}

fn host(text: &At<String>, findings: &mut Findings) -> Option<HostField> {
    match text.value.as_str() {
        "keep" => return Some(HostField::Keep),
        "upstream" => return Some(HostField::Endpoint),
        _ => {}
    }
    match HeaderValue::from_str(&text.value) {
        Ok(value) if is_host(&text.value) => Some(HostField::Text(value)),
        Ok(_) | Err(_) => {
            findings
                .report(&text.at, "not a host")
                .help("write `keep`, `upstream`, or a host with or without its port");
            None
        }
    }
}

fn pool(raw: raw::Pool, findings: &mut Findings) -> Option<Pool> {
    let connections = match raw.connections {
        Some(number) => within(Some(number), 1..1_000_001, findings).map(|number| Some(number as u64)),
        None => Some(None),
    };
    let idle = within(raw.idle, 0..100_001, findings);
    Some(Pool { idle: idle?, connections: connections? })
}

/// The path of a socket.
fn socket(text: &At<String>, path: &str, findings: &mut Findings) -> Option<Place> {
    // `unix:///run/app.sock` is another way to write the same.
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.contains('\0') || path.len() > LONGEST_SOCKET {
        findings
            .report(&text.at, "not the path of a socket")
            .help(format!("write `unix:/run/app.sock`; {LONGEST_SOCKET} bytes at most"));
        return None;
    }
    Some(Place::Unix(path.into()))
}

/// Where a server is; an https server must have a name that a certificate can vouch for.
fn server(text: &At<String>, named: ServerName, findings: &mut Findings) -> Option<Place> {
    if let Some(path) = text.value.strip_prefix(SOCKET) {
        return socket(text, path, findings);
    }
    let url = urls::absolute(text, findings)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        findings
            .report(&text.at, "an upstream has no path, query or fragment")
            .help("write scheme, host and port; `rewrite` of a route puts a path before that of the request");
        return None;
    }
    if url.scheme() == "https" && named == ServerName::InPlace && urls::has_ip_host(&url) {
        findings
            .report(&text.at, "an https upstream that is an IP address could not be verified")
            .help("write the host's name, as in its certificate; of an entry of `upstreams`, under `tls.server_name`");
        return None;
    }
    Some(Place::Url(url))
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

const SOCKET: &str = "unix:";
// What `sockaddr_un` has room for, and the zero at its end.
const LONGEST_SOCKET: usize = 107;
// A request looks at each of them.
const MOST_ENDPOINTS: usize = 64;
