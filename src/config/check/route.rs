//! `routes`: what is served, to whom, and where it is forwarded.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::upstream::Upstreams;
use super::{cors, path, template};
use crate::config::problems::Findings;
use crate::config::raw::route as raw;
use crate::config::reader::At;
use crate::gate::settings::{
    Auth, Cors, PathPattern, Piece, RefreshOn, Rewrite, Route, StreamRules, Template, WhenTokenEnds,
};

/// What the rest of the file says about routes.
pub(super) struct Common<'a> {
    /// Where our endpoints are.
    pub(super) base_path: Option<&'a str>,
    /// What other origins may do on routes that say nothing of their own.
    pub(super) cors: Option<Arc<Cors>>,
}

/// Checks every route, and that no two serve the same requests.
pub(super) fn check(
    list: At<Vec<At<raw::Route>>>,
    common: &Common<'_>,
    upstreams: &mut Upstreams,
    findings: &mut Findings,
) -> Vec<Route> {
    if list.value.is_empty() {
        findings
            .report(&list.at, "a gateway without routes")
            .help("add `- { path: /*, upstream: …, auth: session }`");
    }
    let mut routes: Vec<(Route, Range<usize>)> = Vec::new();
    for raw in list.value {
        let at = raw.value.path.as_ref().map_or_else(|| raw.at.clone(), |path| path.at.clone());
        let Some(route) = one(raw.value, common, upstreams, findings) else { continue };
        if let Some((_, first)) = routes.iter().find(|(earlier, _)| conflict(earlier, &route)) {
            findings
                .report(&at, "an earlier route serves the same requests")
                .also(first, "this one")
                .help("give them different paths, hosts or methods, or drop one");
        }
        routes.push((route, at));
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

/// Whether a later route would never be asked, or would serve some methods and not others by its place alone.
fn conflict(earlier: &Route, later: &Route) -> bool {
    let overlap = match (earlier.methods.as_slice(), later.methods.as_slice()) {
        ([], _) => true,
        // Methods of their own first, all the others after: that reads as it works.
        (_, []) => false,
        (some, others) => some.iter().any(|method| others.contains(method)),
    };
    overlap && earlier.host == later.host && earlier.path == later.path
}

fn one(
    raw: raw::Route,
    common: &Common<'_>,
    upstreams: &mut Upstreams,
    findings: &mut Findings,
) -> Option<Route> {
    let name = raw.path.as_ref().map(|path| path.value.clone());
    let path = raw.path.and_then(|text| path_of(&text, common.base_path, findings));
    let host = match raw.host {
        Some(text) => host_of(&text, findings).map(Some),
        None => Some(None),
    };
    let methods = match raw.methods {
        Some(list) => methods(&list, findings),
        None => Some(Vec::new()),
    };
    let upstream = raw.upstream.and_then(|text| upstreams.resolve(&text, findings));
    let auth = raw.auth.and_then(|word| auth_of(&word, findings));
    if let Some(require) = &raw.require {
        findings.not_yet(&require.at, "requirements on scopes and claims");
    }
    let rewrite = match (raw.rewrite, &path) {
        (Some(rewrite), Some(path)) => rewrite_of(rewrite.value, path, findings).map(Some),
        (Some(_), None) => None,
        (None, _) => Some(None),
    };
    let set_headers = raw.headers.and_then(|headers| headers_of(headers.value, auth, findings));
    let refresh = if raw.refresh?.value { RefreshOn::Requests } else { RefreshOn::Never };
    let cors = match raw.cors {
        Some(own) => cors::check(own.value, findings),
        None => Some(common.cors.clone()),
    };
    let stream = raw.stream.and_then(|stream| stream_of(stream.value, auth, findings));
    Some(Route {
        name: name?,
        host: host?,
        path: path?,
        methods: methods?,
        upstream: upstream?,
        rewrite: rewrite?,
        auth: auth?,
        refresh,
        body_bytes: raw.body_bytes.and_then(|size| u64::try_from(size.value.0).ok()),
        set_headers: set_headers?,
        cors: cors?,
        stream: stream?,
    })
}

fn stream_of(raw: raw::Stream, auth: Option<Auth>, findings: &mut Findings) -> Option<StreamRules> {
    let token = raw.token?;
    let limit = raw.limit.map(|limit| (limit.value.0, limit.at));
    if let Some((_, at)) = limit.as_ref().filter(|(limit, _)| *limit < SHORTEST_STREAM) {
        findings.report(at, "a response is looked at once a second").help("write `1s` or more");
        return None;
    }
    let when_token_ends = match token.value {
        raw::WhenTokenEnds::Ignore => WhenTokenEnds::GoOn,
        raw::WhenTokenEnds::Close => WhenTokenEnds::Close,
    };
    if auth == Some(Auth::None) && when_token_ends == WhenTokenEnds::Close {
        findings
            .report(&token.at, "a route with `auth: none` forwards no token of ours")
            .help("drop it, or require a session");
        return None;
    }
    Some(StreamRules { limit: limit.map(|(limit, _)| limit), when_token_ends })
}

const SHORTEST_STREAM: Duration = Duration::from_secs(1);

fn path_of(text: &At<String>, base_path: Option<&str>, findings: &mut Findings) -> Option<PathPattern> {
    match path::pattern(&text.value) {
        Ok(pattern) if base_path.is_some_and(|base| path::is_under(&pattern, base)) => {
            findings
                .report(&text.at, "this path belongs to the gateway's own endpoints")
                .help("choose another path, or move ours with `endpoints.base_path`");
            None
        }
        Ok(pattern) => Some(pattern),
        Err(why) => {
            findings
                .report(&text.at, format!("not a route's path: {why}"))
                .help("write `/health` or `/api/*`");
            None
        }
    }
}

fn rewrite_of(raw: raw::Rewrite, path: &PathPattern, findings: &mut Findings) -> Option<Rewrite> {
    let prefix = raw.prefix.and_then(|text| Some((folder_of(&text, findings)?, text)));
    let with = raw.with.and_then(|text| folder_of(&text, findings));
    let (prefix, text) = prefix?;
    let (PathPattern::Exact(whole) | PathPattern::Below(whole)) = path;
    let covers = whole.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !covers {
        findings
            .report(&text.at, "not every path of this route begins with it")
            .help("name the beginning of the route's own `path`");
        return None;
    }
    Some(Rewrite { prefix: HeaderValue::from_str(&prefix).ok()?, with: with? })
}

/// A path to which others are joined: without a slash at its end.
fn folder_of(text: &At<String>, findings: &mut Findings) -> Option<String> {
    let folder = text.value.strip_suffix('/').unwrap_or(&text.value);
    let why = if folder.is_empty() && text.value == "/" { Ok(()) } else { path::plain(folder) };
    if let Err(why) = why {
        findings.report(&text.at, format!("not a path: {why}")).help("write `/api`, or `/` for nothing");
        return None;
    }
    Some(folder.to_owned())
}

fn host_of(text: &At<String>, findings: &mut Findings) -> Option<String> {
    let host = url::Host::parse(&text.value).ok().map(|host| host.to_string());
    let known = host.filter(|host| !host.contains('*') && host.is_ascii());
    if known.is_none() {
        findings.report(&text.at, "not a host").help("write a host's name without scheme, port and `*`");
    }
    known
}

/// Reads a list of methods that is not empty.
pub(super) fn methods(list: &At<Vec<At<String>>>, findings: &mut Findings) -> Option<Vec<Method>> {
    if list.value.is_empty() {
        findings
            .report(&list.at, "a route without methods serves nothing")
            .help("drop the key to serve all methods");
    }
    let mut methods = Vec::new();
    for text in &list.value {
        let upper = text.value.to_ascii_uppercase();
        match Method::from_bytes(text.value.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => {
                findings.report(&text.at, "this method is never forwarded").help("drop it from the list");
            }
            Ok(method) if upper == text.value => methods.push(method),
            Ok(_) => {
                findings.report(&text.at, "methods are upper-case").help(format!("write `{upper}`"));
            }
            Err(_) => {
                findings.report(&text.at, "not a method").help("write `GET`, `POST`, …");
            }
        }
    }
    (methods.len() == list.value.len() && !methods.is_empty()).then_some(methods)
}

fn auth_of(word: &At<raw::Auth>, findings: &mut Findings) -> Option<Auth> {
    match word.value {
        raw::Auth::Session => Some(Auth::Session),
        raw::Auth::None => Some(Auth::None),
        raw::Auth::Bearer | raw::Auth::Any | raw::Auth::Optional => {
            findings.not_yet(&word.at, "this kind of `auth`").help("write `session` or `none`");
            None
        }
    }
}

fn headers_of(
    raw: raw::Headers,
    auth: Option<Auth>,
    findings: &mut Findings,
) -> Option<Vec<(HeaderName, Template)>> {
    let map = raw.set?;
    let mut fields: Vec<(HeaderName, Template)> = Vec::new();
    let mut failed = false;
    for (name, text) in &map.value.0 {
        let header = template::header_name(&name.value);
        if let Err(why) = header {
            findings.report(&name.at, why).help("choose another name, such as `X-Forwarded-User`");
        }
        let template = template::template(&text.value);
        if let Err(why) = &template {
            findings
                .report(&text.at, *why)
                .help("write `\"{sub}\"` or `\"user-{sub}\"`; `{{` stands for a brace");
        }
        let (Ok(header), Ok(template)) = (header, template) else {
            failed = true;
            continue;
        };
        if auth == Some(Auth::None) && template.0.iter().any(|piece| matches!(piece, Piece::Claim(_))) {
            findings
                .report(&text.at, "a route with `auth: none` has no claims")
                .help("drop it, or require a session");
        }
        if fields.iter().any(|(earlier, _)| *earlier == header) {
            findings.report(&name.at, "the same header field twice").help("keep one of the two");
        }
        fields.push((header, template));
    }
    (!failed).then_some(fields)
}
