//! `bearward explain`: what would become of a request, and why.
//!
//! The request is judged by the code that serves, with the configuration at hand and no session; nothing is connected to.

use std::fmt::Write as _;
use std::process::ExitCode;

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use url::Url;

use super::check::rendered;
use super::run::chain;
use super::{EX_USAGE, ExplainArgs, failed, print, tell};
use crate::app::Imaginary;
use crate::config;
use crate::edge::preview::{Edited, Imagined, Outcome, Preview, Scheme};
use crate::edge::settings::Balance;
use crate::gate::denial::Denial;
use crate::gate::route::table::Reason;
use crate::gate::settings::{Auth, RefreshOn, Route};

/// Explains one request.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let settings = match config::load(&args.config) {
        Ok(settings) => settings,
        Err(problems) => {
            tell(&rendered(&problems));
            return ExitCode::from(EX_USAGE);
        }
    };
    let asked = match imagined(args, &settings.gate.public_url) {
        Ok(asked) => asked,
        Err(why) => {
            tell(&format!("error: {why}\n"));
            return ExitCode::from(EX_USAGE);
        }
    };
    let gateway = match Imaginary::new(settings) {
        Ok(gateway) => gateway,
        Err(error) => return failed(&chain(&error)),
    };
    let preview = gateway.ask(&asked);
    let printed = print(&told(&gateway, &asked, &preview).unwrap_or_default());
    match preview.outcome {
        Outcome::Forward(_) | Outcome::Endpoint(_) => printed,
        Outcome::Answer(response, _) if response.status().is_success() => printed,
        Outcome::Answer(..) => ExitCode::FAILURE,
    }
}

/// The request as its bytes would be. The URL is cut, not parsed: a parser would tidy up what is to be judged.
fn imagined(args: &ExplainArgs, public_url: &Url) -> Result<Imagined, String> {
    let (scheme, authority, target) = match args.url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, target) = rest.split_at(end);
            (scheme, authority.to_owned(), if target.is_empty() { "/" } else { target })
        }
        None if args.url.starts_with('/') || args.url == "*" => {
            (public_url.scheme(), public_url.authority().to_owned(), args.url.as_str())
        }
        None => return Err("write the URL as `https://host/path`, or a path as `/path`".to_owned()),
    };
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err("the URL must begin with https:// or http://".to_owned()),
    };
    let mut fields = Vec::new();
    for header in &args.header {
        let (name, value) = header.split_once(':').ok_or("write header fields as `Name: value`")?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        fields.insert(0, ("Host".to_owned(), authority));
    }
    Ok(Imagined { method: args.method.clone(), target: target.to_owned(), fields, peer: args.from, scheme })
}

/// Lines of a word and what it is about.
struct Lines(String);

impl Lines {
    fn add(&mut self, word: &str, text: impl std::fmt::Display) -> std::fmt::Result {
        writeln!(self.0, "{word:<11} {text}")
    }
}

fn told(gateway: &Imaginary, asked: &Imagined, preview: &Preview<'_>) -> Result<String, std::fmt::Error> {
    let mut lines = Lines(String::new());
    lines.add("request", format_args!("{} {}", asked.method, asked.target))?;
    if let Some(host) = &preview.host {
        lines.add("host", host)?;
    }
    if let Some(client) = preview.client {
        lines.add("client", client)?;
    }
    let serving = preview.explanation.as_ref().and_then(|explanation| explanation.serving());
    if let Some(explanation) = &preview.explanation {
        match &explanation.routes {
            Err(denial) => lines.add("path", format_args!("refused: {}", cause(denial)))?,
            Ok(routes) => {
                lines.add("path", "has one reading")?;
                for (route, reason) in routes {
                    lines.add("route", format_args!("{}: {}", named(route), worded(*reason)))?;
                }
            }
        }
        if let Some(route) = serving {
            lines.add("auth", auth(route))?;
        }
        match &explanation.site {
            _ if serving.is_some_and(|route| route.auth == Auth::None) => {}
            Ok(()) => lines.add("site", "no other site caused it, as far as its header fields tell")?,
            Err(denial) => lines.add("site", format_args!("refused: {}", denial.effects().label))?,
        }
    }
    answer(&mut lines, "answer", &preview.outcome)?;
    if let Some(route) = serving {
        without_session(&mut lines, gateway, asked, route)?;
        upstream(&mut lines, gateway, route)?;
    }
    match (&preview.outcome, &preview.with_session) {
        (Outcome::Forward(edited), _) => edits(&mut lines, edited, "")?,
        (_, Some(edited)) => edits(&mut lines, edited, "with a session, ")?,
        _ => {}
    }
    Ok(lines.0)
}

fn answer(lines: &mut Lines, word: &str, outcome: &Outcome) -> std::fmt::Result {
    let (response, label) = match outcome {
        Outcome::Forward(_) => return lines.add(word, "forwarded"),
        Outcome::Endpoint(endpoint) => return lines.add(word, format_args!("endpoint {endpoint:?}")),
        Outcome::Answer(response, label) => (response, label),
    };
    let mut text = format!("{} {label}", response.status().as_u16());
    for name in [LOCATION, WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&name) {
            write!(text, ", {name}: {}", shown(value))?;
        }
    }
    lines.add(word, text)
}

/// What somebody gets who is not logged in, by the kind of request.
fn without_session(
    lines: &mut Lines,
    gateway: &Imaginary,
    asked: &Imagined,
    route: &Route,
) -> std::fmt::Result {
    if route.auth == Auth::None {
        return Ok(());
    }
    let kinds: [(&str, &[(&str, &str)]); 3] = [
        ("navigation", &[("none", "navigate"), ("document", "text/html")]),
        ("script", &[("same-origin", "cors"), ("empty", "*/*")]),
        ("program", &[]),
    ];
    for (kind, fetch) in kinds {
        let mut as_kind = asked.clone();
        let browser = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.starts_with("sec-fetch-")
                || ["cookie", "accept", "origin", "referer"].contains(&name.as_str())
        };
        as_kind.fields.retain(|(name, _)| !browser(name));
        if let [(site, mode), (dest, accept)] = fetch {
            for (name, value) in [
                ("Sec-Fetch-Site", site),
                ("Sec-Fetch-Mode", mode),
                ("Sec-Fetch-Dest", dest),
                ("Accept", accept),
            ] {
                as_kind.fields.push((name.to_owned(), (*value).to_owned()));
            }
        }
        answer(lines, kind, &gateway.ask(&as_kind).outcome)?;
    }
    Ok(())
}

fn upstream(lines: &mut Lines, gateway: &Imaginary, route: &Route) -> std::fmt::Result {
    let Some(upstream) = gateway.upstream(route.upstream) else { return Ok(()) };
    let places = upstream.endpoints.iter().map(|endpoint| endpoint.place.to_string());
    let balance = match upstream.balance {
        _ if upstream.endpoints.len() < 2 => "",
        Balance::RoundRobin => ", in turn",
        Balance::LeastLoaded => ", the least loaded",
        Balance::SessionHash => ", by session",
    };
    let places = places.collect::<Vec<_>>().join(", ");
    lines.add("upstream", format_args!("{}: {places}{balance}", upstream.name))?;
    lines.add(
        "timeouts",
        format_args!(
            "connect {:?}, read {:?}, write {:?}, idle {:?}",
            upstream.connect_timeout, upstream.read_timeout, upstream.write_timeout, upstream.idle_timeout
        ),
    )
}

fn edits(lines: &mut Lines, edited: &Edited, who: &str) -> std::fmt::Result {
    if let Some(target) = &edited.target {
        lines.add("rewrites", format_args!("{who}{target}"))?;
    }
    for (name, value) in &edited.set {
        lines.add("sets", format_args!("{who}{name}: {}", shown(value)))?;
    }
    for name in &edited.dropped {
        lines.add("drops", format_args!("{who}{name}",))?;
    }
    Ok(())
}

fn named(route: &Route) -> String {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let methods = if methods.is_empty() { String::new() } else { format!("{} ", methods.join(",")) };
    format!("{methods}{}{}", route.host.as_deref().unwrap_or_default(), route.name)
}

const fn worded(reason: Reason) -> &'static str {
    match reason {
        Reason::Serves => "serves it: the longest pattern of the most specific host",
        Reason::OtherMethod => "its pattern decides, and it has other methods",
        Reason::Twin => {
            "would serve it, but some servers take the path for one that another route guards: write a route for it \
             where it is meant to be open"
        }
        Reason::LessSpecific => "matches, and a more specific one decides",
        Reason::OtherPath => "another path",
        Reason::OtherHost => "another host",
    }
}

fn auth(route: &Route) -> &'static str {
    match (route.auth, route.refresh) {
        (Auth::None, _) => "none: everyone may pass",
        (Auth::Session, RefreshOn::Requests) => "session",
        (Auth::Session, RefreshOn::Never) => "session, which this route never refreshes",
    }
}

fn cause(denial: &Denial) -> &'static str {
    if let Denial::AmbiguousPath(what) | Denial::BadRequest(what) = denial {
        what
    } else {
        denial.effects().label
    }
}

/// A value that cannot move a terminal's cursor.
fn shown(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
