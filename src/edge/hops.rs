//! Where a request comes from: the peer, or whom trusted proxies name.
//!
//! A proxy appends to a list that a client may have begun. Read from its end, each entry was written by the hop behind
//! it; the first address that is no proxy of ours is the client's, and what stands before it is the client's own
//! invention. Only the address and the scheme are believed, for what upstreams and the access log are told. `Host`
//! chooses the route whatever a proxy says, and no path or method comes from a field. std:108, std:110
//!
//! RFC 7239 §4, §5.2, §5.4, §6; `X-Forwarded-For` as it is commonly written.

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};

use super::settings::{Family, Forwarding};

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct From {
    /// The client's address.
    pub(super) address: Option<IpAddr>,
    /// The scheme that the client used, where a proxy has said so.
    pub(super) scheme: Option<&'static str>,
}

/// Where a request of `peer` comes from.
pub(super) fn find(peer: Option<IpAddr>, headers: &HeaderMap, rules: &Forwarding) -> From {
    // A listener for both families shows IPv4 peers as mapped addresses.
    let peer = peer.map(|peer| peer.to_canonical());
    let unasked = From { address: peer, scheme: None };
    match peer {
        Some(peer) if is_trusted(peer, rules) => match rules.believe {
            Family::XForwarded => x_forwarded(peer, headers, rules),
            Family::Forwarded => forwarded(peer, headers, rules),
        },
        Some(_) | None => unasked,
    }
}

/// Whether a peer is a proxy of ours.
pub(super) fn is_trusted(address: IpAddr, rules: &Forwarding) -> bool {
    rules.trusted.iter().any(|network| network.contains(&address))
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

fn x_forwarded(peer: IpAddr, headers: &HeaderMap, rules: &Forwarding) -> From {
    let mut from = From { address: Some(peer), scheme: None };
    let mut hop = 0;
    for (position, entry) in from_the_end(headers, &X_FORWARDED_FOR).enumerate() {
        let Some(address) = address(entry) else { break };
        (from.address, hop) = (Some(address), position);
        if !is_trusted(address, rules) {
            break;
        }
    }
    // One value was set by the last proxy for all of them; as many as addresses were appended hop by hop. Of any
    // other list nobody knows who wrote what.
    let schemes = from_the_end(headers, &X_FORWARDED_PROTO).count();
    let position = match schemes {
        1 => Some(0),
        _ if schemes == from_the_end(headers, &X_FORWARDED_FOR).count() => Some(hop),
        _ => None,
    };
    let scheme_of = |position| from_the_end(headers, &X_FORWARDED_PROTO).nth(position);
    from.scheme = position.and_then(scheme_of).and_then(scheme);
    from
}

/// The members of a list field, the last one first.
fn from_the_end<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().rev();
    // A line that is no text ends the list where it stands.
    lines.map_while(|line| line.to_str().ok()).flat_map(|line| line.rsplit(',')).map(str::trim)
}

fn forwarded(peer: IpAddr, headers: &HeaderMap, rules: &Forwarding) -> From {
    let mut from = From { address: Some(peer), scheme: None };
    for line in headers.get_all(FORWARDED).iter().rev() {
        let Some(elements) = line.to_str().ok().and_then(elements) else { return from };
        for element in elements.iter().rev() {
            let Some(address) = element.client.as_deref().and_then(address) else { return from };
            from = From { address: Some(address), scheme: element.scheme };
            if !is_trusted(address, rules) {
                return from;
            }
        }
    }
    from
}

/// What one proxy said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    client: Option<String>,
    scheme: Option<&'static str>,
}

/// The elements of a line; `None` where it is not well-formed: a quote that a client left open would swallow what our
/// proxy has written behind it. RFC 7239 §4, §8.1
fn elements(line: &str) -> Option<Vec<Element>> {
    let mut all = Vec::new();
    let mut element = Element::default();
    let mut rest = line.trim();
    loop {
        let (name, value, behind) = pair(rest)?;
        let again = match name.to_ascii_lowercase().as_str() {
            "for" => element.client.replace(value).is_some(),
            "proto" => {
                let again = element.scheme.is_some();
                element.scheme = scheme(&value);
                again
            }
            _ => false,
        };
        let mut behind = behind.chars();
        match behind.next() {
            _ if again => return None,
            Some(';') => {}
            Some(',') => all.push(std::mem::take(&mut element)),
            Some(_) => return None,
            None => {
                all.push(element);
                return Some(all);
            }
        }
        rest = behind.as_str().trim_start();
    }
}

/// The pair that `text` begins with, and what follows it without blanks.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find([';', ',']).unwrap_or(rest.len());
            let (value, rest) = rest.split_at_checked(end)?;
            (value.trim_end().to_owned(), rest)
        }
    };
    (is_token(name) && !value.is_empty()).then_some((name, value, rest.trim_start()))
}

/// RFC 9110 §5.6.4: the text of a quoted string, whose first quote is gone, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`. Names that hide an address, as
/// `unknown` and `_hidden`, are none. RFC 7239 §6
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => text.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))?,
    };
    Some(address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::settings::Told;

    fn rules(believe: Family) -> Forwarding {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap()).to_vec();
        Forwarding { trusted, believe, told: Told::XForwarded }
    }

    #[track_caller]
    fn check(family: Family, peer: &str, fields: &[(&'static str, &str)], expected: (&str, Option<&str>)) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let from = find(Some(peer.parse().unwrap()), &headers, &rules(family));
        assert_eq!((from.address.unwrap().to_string().as_str(), from.scheme), expected, "{peer} {fields:?}");
    }

    // std:110, CVE-2026-40575
    #[test]
    fn who_is_no_proxy_of_ours_is_not_believed() {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.1;proto=https"),
        ];
        for family in [Family::XForwarded, Family::Forwarded] {
            for peer in ["203.0.113.9", "::1", "11.0.0.1", "2001:db8:2::1"] {
                check(family, peer, &fields, (peer, None));
            }
        }
        let nobody = Forwarding::default();
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR.clone(), "192.0.2.1".parse().unwrap())]);
        for peer in ["127.0.0.1", "::1", "10.0.0.1"] {
            let peer = Some(peer.parse().unwrap());
            assert_eq!(find(peer, &headers, &nobody), From { address: peer, scheme: None });
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        let check = |fields: &[(&'static str, &str)], expected| {
            check(Family::XForwarded, "10.0.0.1", fields, expected);
            check(Family::XForwarded, "::ffff:10.0.0.1", fields, expected);
        };
        let of = |list: &'static str| [("x-forwarded-for", list)];
        check(&of("192.0.2.1"), ("192.0.2.1", None));
        check(&of("1.1.1.1, 192.0.2.1"), ("192.0.2.1", None));
        check(&of("1.1.1.1, 192.0.2.1,10.0.0.2 , 10.9.9.9"), ("192.0.2.1", None));
        check(&of("10.0.0.3, 10.0.0.2"), ("10.0.0.3", None));
        check(&of("192.0.2.1:1234"), ("192.0.2.1", None));
        check(&of("1.1.1.1, [2001:db8:2::1]:80"), ("2001:db8:2::1", None));
        check(&of("1.1.1.1, 2001:db8:1::5"), ("1.1.1.1", None));
        check(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1")], ("192.0.2.1", None));
        // From what is no address on, nobody knows.
        for hidden in ["unknown", "_x", "", "1.2.3", "192.0.2.1 192.0.2.2", "[::1", "localhost"] {
            let list = format!("1.1.1.1, {hidden}, 10.0.0.2");
            check(&[("x-forwarded-for", &list)], ("10.0.0.2", None));
        }
        check(&[], ("10.0.0.1", None));
    }

    #[test]
    fn a_scheme_is_believed_where_it_is_known_whose_it_is() {
        let check = |addresses: &'static str, schemes: &'static str, expected| {
            let fields = [("x-forwarded-for", addresses), ("x-forwarded-proto", schemes)];
            check(Family::XForwarded, "10.0.0.1", &fields, ("192.0.2.1", expected));
        };
        check("192.0.2.1", "https", Some("https"));
        check("192.0.2.1", "HTTP", Some("http"));
        check("1.1.1.1, 192.0.2.1, 10.0.0.2", "https", Some("https"));
        check("192.0.2.1, 10.0.0.2", "https, http", Some("https"));
        check("1.1.1.1, 192.0.2.1, 10.0.0.2", "ftp, https, http", Some("https"));
        check("192.0.2.1, 10.0.0.2", "https, https, http", None);
        check("192.0.2.1", "ws", None);
        check("192.0.2.1", "", None);
    }

    #[test]
    fn forwarded_is_read_the_same_way() {
        let check = |list: &str, expected| {
            let fields = [("forwarded", list), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "http")];
            check(Family::Forwarded, "10.0.0.1", &fields, expected);
        };
        check("for=192.0.2.1", ("192.0.2.1", None));
        check("For=192.0.2.1;Proto=HTTPS;host=evil;by=x", ("192.0.2.1", Some("https")));
        check("for=\"[2001:db8:2::1]:80\"; proto=\"https\"", ("2001:db8:2::1", Some("https")));
        check(
            "for=1.1.1.1, for=192.0.2.1;proto=https , for=10.0.0.2;proto=http",
            ("192.0.2.1", Some("https")),
        );
        check("for=192.0.2.1, proto=https", ("10.0.0.1", None));
        check("for=unknown;proto=https", ("10.0.0.1", None));
        // What a client began must not swallow what our proxy has added.
        for broken in [
            "for=\"1.1.1.1, for=192.0.2.1",
            "for=1.1.1.1;x=\", for=\"[2001:db8:2::1]\"",
            "for=1.1.1.1;for=192.0.2.1",
            "for=1.1.1.1 for=192.0.2.1",
            "for=\"1.1.1.1\"x",
            "for=\"192.0.2.1\"xproto=https",
            "for=",
            "for",
            "=1.1.1.1",
            "",
            ",",
            "for=192.0.2.1,",
            "for=192.0.2.1;proto=http;proto=https",
        ] {
            check(broken, ("10.0.0.1", None));
        }
        check("for=\"\\1.1.1.1\"", ("1.1.1.1", None));
    }
}
