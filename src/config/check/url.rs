//! URLs and origins, and what may be reached without TLS.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use crate::config::problems::Findings;
use crate::config::reader::At;

/// An absolute http or https URL without user information.
pub(super) fn absolute(text: &At<String>, findings: &mut Findings) -> Option<Url> {
    let untidy = text.value.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\');
    let parsed = Url::parse(&text.value).ok().filter(|_| !untidy);
    let Some(url) = parsed.filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https")) else {
        findings
            .report(&text.at, "not an http or https URL")
            .help("write it in full: `https://host.example`");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        findings.report(&text.at, "a URL with user information").help("drop what stands before the `@`");
        return None;
    }
    Some(url)
}

/// Whether what is sent to `url` is encrypted or never leaves this machine.
pub(super) fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

/// An absolute URL that is https, or http to this machine.
pub(super) fn protected(text: &At<String>, findings: &mut Findings) -> Option<Url> {
    let url = absolute(text, findings)?;
    if !is_protected(&url) {
        findings
            .report(&text.at, "plain http outside this machine")
            .help("use `https`; `http` is for `localhost`, `127.0.0.1` and `[::1]`");
        return None;
    }
    Some(url)
}

/// A URL that is an origin and nothing else.
pub(super) fn origin(text: &At<String>, url: Url, findings: &mut Findings) -> Option<Url> {
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        findings
            .report(&text.at, "an origin has no path, query or fragment")
            .help(format!("write `{}`", url.origin().ascii_serialization()));
        return None;
    }
    Some(url)
}

/// The origin that browsers see.
pub(super) fn public_url(text: &At<String>, findings: &mut Findings) -> Option<Url> {
    let url = protected(text, findings)?;
    origin(text, url, findings)
}

/// Origins that are trusted besides our own, in their serialized form (RFC 6454 §6.2).
pub(super) fn origins(list: Vec<At<String>>, findings: &mut Findings) -> Vec<String> {
    let mut origins = Vec::new();
    for text in list {
        let url = protected(&text, findings).and_then(|url| origin(&text, url, findings));
        if let Some(url) = url {
            origins.push(url.origin().ascii_serialization());
        }
    }
    origins
}

/// Whether the host is an IP address.
pub(super) fn has_ip_host(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback() && address != Ipv4Addr::UNSPECIFIED,
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
