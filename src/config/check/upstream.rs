//! `upstreams`, and the upstreams that routes name by their URL.

use std::ops::Range;

use url::Url;

use super::{positive, url as urls};
use crate::config::nearest::nearest;
use crate::config::problems::Findings;
use crate::config::raw::edge as raw;
use crate::config::reader::{At, defaults};
use crate::edge::settings::Upstream;
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
        if text.value.contains("://") {
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
        let url = server(text, findings)?;
        let name = authority(&url);
        let same = |known: &Upstream| known.url == url && known.name == name;
        if let Some(index) = self.list.iter().position(same) {
            return Some(UpstreamId(index));
        }
        let anonymous = new(name, url, defaults()?, findings)?;
        Some(self.push(anonymous))
    }
}

fn upstream(name: &str, raw: raw::Upstream, findings: &mut Findings) -> Option<Upstream> {
    if let Some(health) = &raw.health {
        findings.not_yet(&health.at, "health probes of upstreams");
    }
    let endpoints = raw.endpoints?;
    let urls: Vec<Option<Url>> = endpoints.value.iter().map(|text| server(text, findings)).collect();
    match urls.len() {
        0 => {
            findings
                .report(&endpoints.at, "an upstream needs an endpoint")
                .help("write `[http://host:port]`");
        }
        1 => {}
        _ => {
            findings.not_yet(&endpoints.at, "several endpoints of one upstream");
        }
    }
    let url = urls.into_iter().next()??;
    let mut upstream = new(name.to_owned(), url, raw.timeouts?.value, findings)?;
    upstream.ca_file = raw.ca_file.map(|path| path.value);
    upstream.http2 = raw.http2?.value;
    Some(upstream)
}

fn new(name: String, url: Url, timeouts: raw::UpstreamTimeouts, findings: &mut Findings) -> Option<Upstream> {
    let connect = positive(timeouts.connect, findings);
    let read = positive(timeouts.read, findings);
    let write = positive(timeouts.write, findings);
    let idle = positive(timeouts.idle, findings);
    Some(Upstream {
        name,
        url,
        ca_file: None,
        http2: false,
        connect_timeout: connect?,
        read_timeout: read?,
        write_timeout: write?,
        idle_timeout: idle?,
    })
}

/// Scheme, host and port of a server; an https server must have a name that a certificate can vouch for.
fn server(text: &At<String>, findings: &mut Findings) -> Option<Url> {
    let url = urls::absolute(text, findings)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        findings
            .report(&text.at, "an upstream has no path, query or fragment")
            .help("write scheme, host and port; the request's own path is passed on");
        return None;
    }
    if url.scheme() == "https" && urls::has_ip_host(&url) {
        findings
            .report(&text.at, "an https upstream that is an IP address could not be verified")
            .help("write the host's name, as in its certificate");
        return None;
    }
    Some(url)
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
