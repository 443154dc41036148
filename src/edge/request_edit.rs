//! A request's head as its upstream sees it, after the plan was applied.
//!
//! Runs after pingora removed hop-by-hop fields and those that `Connection` names, so a client cannot have a field
//! of ours removed by nominating it (std:111). What names an identity or an origin comes from us alone: every
//! client's copy is dropped, whatever the route's authentication (std:108), and so is every field whose name has
//! `_` or `.`, which servers behind CGI-like interfaces cannot tell from `-` (std:109).

use std::net::IpAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, HeaderName, MAX_FORWARDS, VIA};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, OrErr as _};

use super::settings::Told;
use crate::gate::head::RequestId;
use crate::gate::settings::Auth;
use crate::gate::verdict::{CookieEdit, ForwardPlan};

/// What the edge knows of a request besides its plan.
pub(super) struct Origin<'a> {
    /// Where it comes from.
    pub(super) client: Option<IpAddr>,
    /// The scheme that the browser used.
    pub(super) scheme: &'static str,
    /// The version in which the request arrived.
    pub(super) version: Version,
    /// How this process calls itself in `Via`.
    pub(super) pseudonym: &'a str,
    /// Names the request.
    pub(super) id: RequestId,
    /// In which fields the upstream is told of it.
    pub(super) told: Told,
    /// The certificate that the client has shown, as `Client-Cert` has it.
    pub(super) client_cert: Option<&'a HeaderValue>,
    /// What the endpoint is told as `Host`; `None` for what the client sent.
    pub(super) host: Option<&'a HeaderValue>,
}

/// Applies the plan.
///
/// Field names go on in lower case: pingora would keep the case of each in a second map, and a field of ours would
/// cost twice. RFC 9110 §5.1
///
/// # Errors
/// Where a field cannot be written: a claim or host that no field can hold.
pub(super) fn apply(
    request: &mut RequestHeader,
    plan: &ForwardPlan,
    origin: &Origin<'_>,
) -> pingora::Result<()> {
    let ends = request.send_end_stream();
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    // The target stays what it was: one in origin form is read from the URI.
    let mut parts = Parts::from(std::mem::replace(request, nothing));
    let edited = edit(&mut parts, plan, origin).and_then(|()| retarget(&mut parts, plan, origin.host));
    *request = RequestHeader::from(parts);
    if let Some(ends) = ends {
        request.set_send_end_stream(ends);
    }
    edited
}

/// The same for a head that is not pingora's, without hop-by-hop fields.
///
/// # Errors
/// As above.
pub(super) fn edit(request: &mut Parts, plan: &ForwardPlan, origin: &Origin<'_>) -> pingora::Result<()> {
    let host = host(request);
    let headers = &mut request.headers;
    headers.reserve(ADDED + plan.set.len());
    drop_controlled(headers);
    match &plan.cookies {
        CookieEdit::Keep => {}
        CookieEdit::Remove => drop(headers.remove(COOKIE)),
        CookieEdit::Replace(line) => drop(headers.insert(COOKIE, line.clone())),
    }
    join_cookies(headers)?;
    match (&plan.authorization, plan.route.auth) {
        (Some(bearer), Auth::Session | Auth::None) => drop(headers.insert(AUTHORIZATION, bearer.clone())),
        (None, Auth::Session) => drop(headers.remove(AUTHORIZATION)),
        (None, Auth::None) => {}
    }
    forwarded(headers, origin, host)?;
    if request.method == Method::OPTIONS {
        count_down(headers);
    }
    if let Some(rewrite) = plan.route.rewrite.as_ref().filter(|rewrite| !rewrite.prefix.is_empty()) {
        headers.insert(&X_FORWARDED_PREFIX, rewrite.prefix.clone());
    }
    // Last, so that a route may also set what is set above.
    for (name, value) in &plan.set {
        match value {
            Some(value) => drop(headers.insert(name, value.clone())),
            None => drop(headers.remove(name)),
        }
    }
    Ok(())
}

// Authorization, X-Forwarded-Host, -For, -Proto, Forwarded, X-Request-Id, Via, Client-Cert.
pub(super) const ADDED: usize = 8;
/// Puts another beginning to the path, and another name into `Host`.
fn retarget(request: &mut Parts, plan: &ForwardPlan, host: Option<&HeaderValue>) -> pingora::Result<()> {
    let invalid = || Error::explain(ErrorType::InvalidHTTPHeader, "a target that cannot be rewritten");
    if plan.route.rewrite.is_none() && host.is_none() {
        return Ok(());
    }
    let mut target = std::mem::take(&mut request.uri).into_parts();
    if let (Some(rewrite), Some(path)) = (&plan.route.rewrite, &target.path_and_query) {
        let parts = rewrite.apply(path.as_str().as_bytes()).ok_or_else(invalid)?;
        let path = PathAndQuery::from_maybe_shared(Bytes::from(parts.concat()));
        target.path_and_query = Some(path.map_err(|_| invalid())?);
    }
    if let Some(host) = host {
        // pingora would take the name from an authority, where HTTP/2 brought one.
        target.authority = None;
        target.scheme = None;
        request.headers.insert(HOST, host.clone());
    }
    request.uri = Uri::from_parts(target).map_err(|_| invalid())?;
    Ok(())
}

static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether the request has been through this process before. std:112
pub(super) fn is_loop(headers: &HeaderMap, pseudonym: &str) -> bool {
    headers
        .get_all(VIA)
        .iter()
        .any(|line| memchr::memmem::find(line.as_bytes(), pseudonym.as_bytes()).is_some())
}

/// RFC 9110 §7.6.2: how often an `OPTIONS` may be forwarded still; `None` where the field says nothing.
pub(super) fn forwards_left(field: &HeaderValue) -> Option<u64> {
    let digits = field.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn count_down(headers: &mut HeaderMap) {
    let Some(field) = headers.remove(MAX_FORWARDS) else { return };
    if let Some(left) = forwards_left(&field) {
        headers.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

fn drop_controlled(headers: &mut HeaderMap) {
    let controlled: Vec<HeaderName> =
        headers.keys().filter(|name| is_controlled(name.as_str())).cloned().collect();
    for name in &controlled {
        headers.remove(name);
    }
}

/// Whether a field is never taken from a client. `name` is lower case.
fn is_controlled(name: &str) -> bool {
    memchr::memchr2(b'_', b'.', name.as_bytes()).is_some()
        || match name.strip_prefix("x-") {
            // gRPC-Web sends what browsers forbid it to put in `User-Agent`; it names no user.
            Some("user-agent") => false,
            Some(rest) => PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) || NAMES.contains(&rest),
            None => PLAIN.contains(&name) || STARTS.iter().any(|start| name.starts_with(start)),
        }
}

// After `x-`. Names that gateways, frameworks and servers are known to believe.
const PREFIXES: [&str; 8] =
    ["forwarded-", "original-", "auth-", "authenticated-", "authentik-", "user-", "remote-", "ssl-"];
const NAMES: [&str; 20] = [
    "real-ip",
    "client-ip",
    "client-cert",
    "client-verify",
    "forwarded",
    "user",
    "email",
    "groups",
    "roles",
    "username",
    "userid",
    "access-token",
    "id-token",
    "cluster-client-ip",
    "rewrite-url",
    "host",
    "scheme",
    // std:106: CSRF was judged by the real method.
    "http-method-override",
    "http-method",
    "method-override",
];
const PLAIN: [&str; 8] = [
    "forwarded",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "front-end-https",
    // A CGI program takes it for the proxy to use (httpoxy, CVE-2016-5385).
    "proxy",
    // RFC 9440 §2.4: only who ends the client's TLS may say what it was.
    "client-cert",
    "client-cert-chain",
];
// What a proxy is told is for us (RFC 9110 §11.7); the others are what TLS terminators write.
const STARTS: [&str; 3] = ["proxy-", "remote-", "ssl-client-"];

/// RFC 9113 §8.2.3: cookie fields that HTTP/2 split become one line, or an HTTP/1.1 server reads only the first.
fn join_cookies(headers: &mut HeaderMap) -> pingora::Result<()> {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return Ok(());
    }
    let all: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = all.join(b"; ".as_slice());
    headers.insert(COOKIE, value(joined.into())?);
    Ok(())
}

/// What the browser asked for, as it wrote it.
fn host(request: &Parts) -> Option<HeaderValue> {
    match request.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers.get(HOST).cloned(),
    }
}

fn forwarded(headers: &mut HeaderMap, origin: &Origin<'_>, host: Option<HeaderValue>) -> pingora::Result<()> {
    let texts = Texts::of(origin);
    if origin.told != Told::XForwarded {
        headers.insert(FORWARDED, value(element(origin, host.as_ref()))?);
    }
    if origin.told != Told::Forwarded {
        if let Some(host) = host {
            headers.insert(&X_FORWARDED_HOST, host);
        }
        if let Some(client) = texts.client {
            headers.insert(&X_FORWARDED_FOR, value(client)?);
        }
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(origin.scheme));
    }
    headers.insert(&X_REQUEST_ID, value(texts.id)?);
    if let Some(certificate) = origin.client_cert {
        headers.insert(&CLIENT_CERT, certificate.clone());
    }
    headers.append(VIA, value(texts.via)?);
    Ok(())
}

/// RFC 7239 §4: one element, of what we know ourselves. An address in brackets and a host with a port are quoted (§6).
fn element(origin: &Origin<'_>, host: Option<&HeaderValue>) -> Bytes {
    let mut text = match origin.client.map(|client| client.to_canonical()) {
        Some(IpAddr::V4(client)) => format!("for={client};"),
        Some(IpAddr::V6(client)) => format!("for=\"[{client}]\";"),
        // §6.2: nothing else is known of a client without an address.
        None => "for=unknown;".to_owned(),
    };
    // No host has a quote or a backslash in it; one that had could end the string.
    let host = host.and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\']));
    if let Some(host) = host {
        text.push_str("host=\"");
        text.push_str(host);
        text.push_str("\";");
    }
    text.push_str("proto=");
    text.push_str(origin.scheme);
    text.into()
}

fn value(text: Bytes) -> pingora::Result<HeaderValue> {
    HeaderValue::from_maybe_shared(text).or_err(ErrorType::InvalidHTTPHeader, "not a field value")
}

/// What is written anew for every request: in one piece of memory, without the machinery of `fmt`.
struct Texts {
    client: Option<Bytes>,
    id: Bytes,
    via: Bytes,
}

impl Texts {
    fn of(origin: &Origin<'_>) -> Self {
        let mut text = BytesMut::with_capacity(96);
        let client = origin.client.map(|client| {
            match client.to_canonical() {
                IpAddr::V4(address) => put_octets(&mut text, address.octets()),
                IpAddr::V6(address) => text.put_slice(address.to_string().as_bytes()),
            }
            text.split().freeze()
        });
        text.put_slice(&origin.id.to_hex());
        let id = text.split().freeze();
        // RFC 9110 §7.6.3
        text.put_slice(if origin.version == Version::HTTP_2 {
            b"2 "
        } else if origin.version == Version::HTTP_10 {
            b"1.0 "
        } else {
            b"1.1 "
        });
        text.put_slice(origin.pseudonym.as_bytes());
        Self { client, id, via: text.freeze() }
    }
}

fn put_octets(text: &mut BytesMut, octets: [u8; 4]) {
    for (at, octet) in octets.into_iter().enumerate() {
        if at > 0 {
            text.put_u8(b'.');
        }
        if octet >= 100 {
            text.put_u8(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.put_u8(b'0' + octet / 10 % 10);
        }
        text.put_u8(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gate::settings::{PathPattern, RefreshOn, Route, UpstreamId};

    fn plan(auth: Auth) -> ForwardPlan {
        let route = Route {
            name: "/*".to_owned(),
            host: None,
            path: PathPattern::Below(String::new()),
            methods: Vec::new(),
            upstream: UpstreamId(0),
            rewrite: None,
            auth,
            refresh: RefreshOn::Requests,
            body_bytes: None,
            set_headers: Vec::new(),
            cors: None,
            stream: crate::gate::settings::StreamRules::default(),
        };
        ForwardPlan {
            route: Arc::new(route),
            cookies: CookieEdit::Keep,
            authorization: None,
            set: Vec::new(),
            session: None,
            cors: None,
        }
    }

    fn edited(fields: &[(&str, &str)], plan: &ForwardPlan) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        request.insert_header(HOST, "app.example").unwrap();
        for (name, value) in fields {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        let origin = Origin {
            client: Some(IpAddr::from([192, 0, 2, 1])),
            scheme: "https",
            version: Version::HTTP_11,
            pseudonym: "bearward-1",
            id: RequestId(255),
            told: Told::XForwarded,
            client_cert: None,
            host: None,
        };
        apply(&mut request, plan, &origin).unwrap();
        request
    }

    fn all(request: &RequestHeader, name: &str) -> Vec<String> {
        request.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    // std:106, std:108, std:109, std:110, threat T10
    #[test]
    fn a_client_never_names_itself() {
        let spoofed = [
            "X-Forwarded-For",
            "x-forwarded-host",
            "X-FORWARDED-PROTO",
            "X-Forwarded-User",
            "X-Forwarded-Prefix",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-Original-Method",
            "X-Auth-Request-User",
            "X-Auth-Request-Email",
            "X-User-Id",
            "X-User",
            "X-Email",
            "X-Remote-User",
            "Remote-User",
            "Client-Cert",
            "Client-Cert-Chain",
            "X-Client-Cert",
            "Remote-Groups",
            "X_Forwarded_User",
            "X.Auth.User",
            "x_user",
            "X-HTTP-Method-Override",
            "X-Method-Override",
            "X-Rewrite-URL",
            "True-Client-IP",
            "X-Client-Cert",
            "X-Request-Id",
            "HTTP_X_FOO",
            "Proxy",
            "Proxy-Authorization",
            "Proxy-Connection",
        ];
        for auth in [Auth::None, Auth::Session] {
            let fields: Vec<_> = spoofed.iter().map(|name| (*name, "evil")).collect();
            let request = edited(&fields, &plan(auth));
            let evil: Vec<_> = request.headers.iter().filter(|(_, value)| *value == "evil").collect();
            assert!(evil.is_empty(), "{evil:?}");
            assert_eq!(all(&request, "x-forwarded-for"), ["192.0.2.1"]);
            assert_eq!(all(&request, "x-forwarded-host"), ["app.example"]);
            assert_eq!(all(&request, "x-forwarded-proto"), ["https"]);
            assert_eq!(all(&request, "x-request-id"), ["00000000000000ff"]);
        }
    }

    #[test]
    fn what_is_nobodys_identity_passes() {
        let request = edited(
            &[("X-Requested-With", "a"), ("X-User-Agent", "grpc-web"), ("Accept", "b"), ("X-Custom", "c")],
            &plan(Auth::None),
        );
        assert_eq!(all(&request, "x-requested-with"), ["a"]);
        assert_eq!(all(&request, "x-custom"), ["c"]);
        assert_eq!(all(&request, "x-user-agent"), ["grpc-web"]);
    }

    #[test]
    fn the_clients_authorization_passes_only_where_there_is_no_authentication() {
        let fields = [("Authorization", "Basic x")];
        assert_eq!(all(&edited(&fields, &plan(Auth::None)), "authorization"), ["Basic x"]);
        assert!(all(&edited(&fields, &plan(Auth::Session)), "authorization").is_empty());
        let mut with = plan(Auth::Session);
        with.authorization = Some(HeaderValue::from_static("Bearer y"));
        assert_eq!(all(&edited(&fields, &with), "authorization"), ["Bearer y"]);
    }

    #[test]
    fn fields_of_the_plan_replace_the_clients() {
        let mut with = plan(Auth::Session);
        with.set = vec![(HeaderName::from_static("x-team"), Some(HeaderValue::from_static("a")))];
        let request = edited(&[("X-Team", "evil"), ("x-team", "evil"), ("X_Team", "evil")], &with);
        assert_eq!(all(&request, "x-team"), ["a"]);
        assert!(all(&request, "x_team").is_empty());
    }

    #[test]
    fn cookies_are_edited_and_joined() {
        let fields = [("Cookie", "a=1"), ("Cookie", "b=2")];
        assert_eq!(all(&edited(&fields, &plan(Auth::None)), "cookie"), ["a=1; b=2"]);
        let mut with = plan(Auth::None);
        with.cookies = CookieEdit::Remove;
        assert!(all(&edited(&fields, &with), "cookie").is_empty());
        with.cookies = CookieEdit::Replace(HeaderValue::from_static("b=2"));
        assert_eq!(all(&edited(&fields, &with), "cookie"), ["b=2"]);
    }

    #[test]
    fn target_and_host_are_what_the_route_and_the_upstream_want() {
        let mut plan = plan(Auth::None);
        let mut route = Arc::into_inner(plan.route).unwrap();
        let prefix = HeaderValue::from_static("/api");
        route.rewrite = Some(crate::gate::settings::Rewrite { prefix, with: "/v1".to_owned() });
        plan.route = Arc::new(route);
        let host = HeaderValue::from_static("orders.internal:81");
        for (target, authority) in
            [("/api/a?b=/api", None), ("http://app.example/api/a?b=/api", Some("app.example"))]
        {
            for wanted in [None, Some(&host)] {
                let mut request = Parts::from(RequestHeader::build("GET", b"/", None).unwrap());
                request.uri = target.parse().unwrap();
                request.headers.insert(HOST, HeaderValue::from_static("app.example"));
                let mut request = RequestHeader::from(request);
                let origin = Origin {
                    client: None,
                    scheme: "https",
                    version: Version::HTTP_2,
                    pseudonym: "bearward-1",
                    id: RequestId(1),
                    told: Told::XForwarded,
                    client_cert: None,
                    host: wanted,
                };
                apply(&mut request, &plan, &origin).unwrap();
                assert_eq!(request.uri.path_and_query().unwrap(), "/v1/a?b=/api");
                assert_eq!(request.uri.host(), authority.filter(|_| wanted.is_none()));
                assert_eq!(request.headers[HOST], wanted.map_or("app.example", |_| "orders.internal:81"));
                assert_eq!(all(&request, "x-forwarded-host"), ["app.example"]);
                assert_eq!(all(&request, "x-forwarded-prefix"), ["/api"]);
            }
        }
    }

    // std:112
    #[test]
    fn via_is_appended_and_tells_a_loop() {
        let request = edited(&[("Via", "1.1 front")], &plan(Auth::None));
        assert_eq!(all(&request, "via"), ["1.1 front", "1.1 bearward-1"]);
        assert!(is_loop(&request.headers, "bearward-1") && !is_loop(&request.headers, "bearward-2"));
    }

    // std:110
    #[test]
    fn an_upstream_is_told_in_the_fields_that_it_reads() {
        let families = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        for (told, client, forwarded, others) in [
            (Told::XForwarded, "192.0.2.1", None, 1),
            (Told::Forwarded, "192.0.2.1", Some("for=192.0.2.1;host=\"app.example:8\";proto=https"), 0),
            (Told::Both, "::ffff:192.0.2.1", Some("for=192.0.2.1;host=\"app.example:8\";proto=https"), 1),
            (Told::Both, "2001:db8::1", Some("for=\"[2001:db8::1]\";host=\"app.example:8\";proto=https"), 1),
        ] {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            request.insert_header(HOST, "app.example:8").unwrap();
            for name in families {
                request.insert_header(name, "evil").unwrap();
            }
            let origin = Origin {
                client: Some(client.parse().unwrap()),
                scheme: "https",
                version: Version::HTTP_11,
                pseudonym: "bearward-1",
                id: RequestId(1),
                told,
                client_cert: None,
                host: None,
            };
            apply(&mut request, &plan(Auth::None), &origin).unwrap();
            let counts = families.map(|name| all(&request, name).len());
            assert_eq!(counts, [usize::from(forwarded.is_some()), others, others, others], "{told:?}");
            assert_eq!(all(&request, "forwarded").first().map(String::as_str), forwarded);
            assert!(request.headers.iter().all(|(_, value)| value != "evil"));
        }
    }

    #[test]
    fn texts_are_what_fmt_would_write() {
        let peers = ["0.0.0.0", "9.10.99.100", "255.255.255.255", "2001:db8::1", "1:2:3:4:5:6:7:8"];
        for (peer, (version, name)) in peers.into_iter().zip(
            [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")]
                .into_iter()
                .cycle(),
        ) {
            let peer: IpAddr = peer.parse().unwrap();
            let origin = Origin {
                client: Some(peer),
                scheme: "https",
                version,
                pseudonym: "bearward-1",
                id: RequestId(1),
                told: Told::XForwarded,
                client_cert: None,
                host: None,
            };
            let texts = Texts::of(&origin);
            assert_eq!(texts.client.unwrap(), peer.to_string());
            assert_eq!(
                (texts.id, texts.via),
                ("0000000000000001".into(), format!("{name} bearward-1").into())
            );
        }
    }
}
