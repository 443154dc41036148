//! `listeners`, `admin`, `limits`, `drain`: addresses, sizes and times.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::{positive, within};
use crate::base::tls::server::{ClientAuth, ClientAuthMode, MinVersion, Terms, UnknownName};
use crate::config::problems::Findings;
use crate::config::raw::edge as raw;
use crate::config::reader::At;
use crate::config::values::Size;
use crate::edge::settings::{
    Drain, Family, FastPath, Forwarding, Limits, Listener, Settings, Tls, TlsFiles, Told, Upstream,
};

/// The parts of the file that are about the network.
pub(super) struct Net {
    /// `listeners`
    pub(super) listeners: Option<At<Vec<At<raw::Listener>>>>,
    /// `admin`
    pub(super) admin: Option<At<raw::Admin>>,
    /// `workers`
    pub(super) workers: Option<At<u32>>,
    /// `limits`
    pub(super) limits: Option<At<raw::Limits>>,
    /// `drain`
    pub(super) drain: Option<At<raw::Drain>>,
    /// `fast_path`
    pub(super) fast_path: Option<At<bool>>,
    /// `trusted_proxies` and `forwarded`
    pub(super) forwarding: Forwarded,
}

/// Who is believed and what is said.
pub(super) struct Forwarded {
    /// `trusted_proxies`
    pub(super) trusted: Option<At<Vec<At<String>>>>,
    /// `forwarded`
    pub(super) fields: Option<At<raw::Forwarded>>,
}

/// Checks them.
pub(super) fn check(net: Net, upstreams: Vec<Upstream>, findings: &mut Findings) -> Option<Settings> {
    let mut taken: Vec<At<SocketAddr>> = Vec::new();
    let listeners = net.listeners.and_then(|list| check_listeners(list, &mut taken, findings));
    let admin = net.admin.and_then(|raw| check_admin(raw.value, &taken, findings));
    let workers = match net.workers {
        Some(number) => within(Some(number), 1..1025, findings),
        None => Some(std::thread::available_parallelism().map_or(1, usize::from)),
    };
    let limits = net.limits.and_then(|raw| check_limits(raw.value, findings));
    let drain = net.drain.and_then(|raw| check_drain(raw.value, findings));
    let forwarding = check_forwarding(net.forwarding, findings);
    Some(Settings {
        listeners: listeners?,
        admin: admin?,
        workers: workers?,
        upstreams,
        limits: limits?,
        drain: drain?,
        fast_path: if net.fast_path?.value { FastPath::On } else { FastPath::Off },
        forwarding: forwarding?,
    })
}

fn check_listeners(
    list: At<Vec<At<raw::Listener>>>,
    taken: &mut Vec<At<SocketAddr>>,
    findings: &mut Findings,
) -> Option<Vec<Listener>> {
    if list.value.is_empty() {
        findings.report(&list.at, "a gateway without listeners").help("add `- { address: 127.0.0.1:8080 }`");
        return None;
    }
    let wanted = list.value.len();
    let mut listeners = Vec::new();
    for listener in list.value {
        let address = listener.value.address.and_then(|text| free_address(&text, taken, findings));
        let tls = match listener.value.tls {
            Some(raw) => check_tls(raw.value).map(Some),
            None => Some(None),
        };
        if let (Some(address), Some(tls)) = (address, tls) {
            listeners.push(Listener { address: address.value, tls });
            taken.push(address);
        }
    }
    (listeners.len() == wanted).then_some(listeners)
}

/// What is wrong with the files themselves, `files` has said.
fn check_tls(raw: raw::Tls) -> Option<Tls> {
    let mut certificates = vec![TlsFiles { cert: raw.cert?.value, key: raw.key?.value }];
    for more in raw.more_certificates?.value {
        certificates.push(TlsFiles { cert: more.value.cert?.value, key: more.value.key?.value });
    }
    let client_auth = match raw.client_auth {
        None => None,
        Some(auth) => Some(ClientAuth {
            ca_file: auth.value.ca_file?.value,
            mode: match auth.value.mode?.value {
                raw::ClientAuthMode::Required => ClientAuthMode::Required,
                raw::ClientAuthMode::Optional => ClientAuthMode::Optional,
            },
        }),
    };
    let unknown_name = match raw.unknown_name?.value {
        raw::UnknownName::First => UnknownName::First,
        raw::UnknownName::Refuse => UnknownName::Refuse,
    };
    let min_version = match raw.min_version?.value {
        raw::TlsVersion::V1_2 => MinVersion::V1_2,
        raw::TlsVersion::V1_3 => MinVersion::V1_3,
    };
    Some(Tls { certificates, terms: Terms { unknown_name, min_version, client_auth } })
}

fn check_admin(
    raw: raw::Admin,
    taken: &[At<SocketAddr>],
    findings: &mut Findings,
) -> Option<Option<SocketAddr>> {
    if !raw.enabled?.value {
        return Some(None);
    }
    let address = raw.address?;
    free_address(&address, taken, findings).map(|address| Some(address.value))
}

/// An address that is not listened on yet. Port 0 is a free port each time.
fn free_address(
    text: &At<String>,
    taken: &[At<SocketAddr>],
    findings: &mut Findings,
) -> Option<At<SocketAddr>> {
    let Ok(address) = text.value.parse::<SocketAddr>() else {
        findings.report(&text.at, "not an IP address and port").help("write `127.0.0.1:8080` or `[::]:8443`");
        return None;
    };
    let meets = |other: &SocketAddr| {
        let same = address.ip() == other.ip();
        let any = address.ip().is_unspecified() || other.ip().is_unspecified();
        let family = address.is_ipv4() == other.is_ipv4();
        address.port() != 0 && address.port() == other.port() && (same || (any && family))
    };
    if let Some(other) = taken.iter().find(|other| meets(&other.value)) {
        findings.report(&text.at, "this address is listened on already").also(&other.at, "here");
        return None;
    }
    Some(At { value: address, at: text.at.clone(), origin: text.origin })
}

fn check_limits(raw: raw::Limits, findings: &mut Findings) -> Option<Limits> {
    let uri_at = raw.uri_bytes.as_ref().map(|size| size.at.clone());
    let head_bytes = size_within(raw.head_bytes, findings);
    let uri_bytes = size_within(raw.uri_bytes, findings);
    if let (Some(head), Some(uri), Some(at)) = (head_bytes, uri_bytes, uri_at)
        && uri > head
    {
        findings
            .report(&at, "`uri_bytes` is larger than `head_bytes`")
            .help("the target is a part of the head");
    }
    let header_count = within(raw.header_count, 8..4097, findings);
    let cookie_bytes = size_within(raw.cookie_bytes, findings);
    // A session alone may be three.
    let cookie_count = within(raw.cookie_count, 8..4097, findings);
    let connections = within(raw.connections, 1..u32::MAX, findings);
    let connections_per_client = match raw.connections_per_client {
        Some(number) => within(Some(number), 1..u32::MAX, findings).map(Some),
        None => Some(None),
    };
    let requests_per_connection = within(raw.requests_per_connection, 1..u32::MAX, findings);
    let http2_streams = within(raw.http2_streams, 1..65536, findings);
    let head_timeout = positive(raw.head_timeout, findings);
    let idle_timeout = positive(raw.idle_timeout, findings);
    let handshake_timeout = positive(raw.handshake_timeout, findings);
    Some(Limits {
        head_bytes: head_bytes?,
        header_count: header_count?,
        uri_bytes: uri_bytes?,
        cookie_bytes: cookie_bytes?,
        cookie_count: cookie_count?,
        head_timeout: head_timeout?,
        idle_timeout: idle_timeout?,
        handshake_timeout: handshake_timeout?,
        body_bytes: raw.body_bytes.and_then(|size| u64::try_from(size.value.0).ok()),
        body_rate: u64::try_from(raw.body_rate?.value.0).ok()?,
        connections: connections?,
        connections_per_client: connections_per_client?,
        requests_per_connection: requests_per_connection?,
        http2_streams: http2_streams.and_then(|number| u32::try_from(number).ok())?,
    })
}

fn size_within(size: Option<At<Size>>, findings: &mut Findings) -> Option<usize> {
    let size = size?;
    if !(1024..=1024 * 1024).contains(&size.value.0) {
        findings.report(&size.at, "out of bounds").help("from 1KiB to 1MiB");
        return None;
    }
    Some(size.value.0)
}

fn check_forwarding(raw: Forwarded, findings: &mut Findings) -> Option<Forwarding> {
    let (list, fields) = (raw.trusted?.value, raw.fields?.value);
    let wanted = list.len();
    let trusted: Vec<_> = list.iter().filter_map(|text| proxies(text, findings)).collect();
    let believe = match fields.believe?.value {
        raw::Believed::XForwarded => Family::XForwarded,
        raw::Believed::Forwarded => Family::Forwarded,
    };
    let told = match fields.send?.value {
        raw::Sent::XForwarded => Told::XForwarded,
        raw::Sent::Forwarded => Told::Forwarded,
        raw::Sent::Both => Told::Both,
    };
    (trusted.len() == wanted).then_some(Forwarding { trusted, believe, told })
}

fn proxies(text: &At<String>, findings: &mut Findings) -> Option<IpNet> {
    let Ok(network) = text.value.parse::<IpNet>() else {
        findings
            .report(&text.at, "not a network in CIDR form")
            .help("write `10.0.0.0/8`; one address is `10.0.0.1/32`");
        return None;
    };
    // Whoever could reach us would then choose the address that it is known by.
    if network.prefix_len() == 0 {
        findings
            .report(&text.at, "this network is everyone, and every client would be believed")
            .help("name the networks that your own proxies connect from");
        return None;
    }
    if network.trunc() != network {
        findings.report(&text.at, "the address has bits outside of its network").help(format!(
            "write `{}`, or `{}/{}`",
            network.trunc(),
            network.addr(),
            network.max_prefix_len()
        ));
        return None;
    }
    Some(network)
}

fn check_drain(raw: raw::Drain, findings: &mut Findings) -> Option<Drain> {
    let limit = positive(raw.limit, findings);
    Some(Drain { accept: raw.accept?.value.0, linger: raw.linger?.value.0, limit: limit? })
}
