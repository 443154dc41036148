//! `bearward check`: everything that is wrong with a configuration, or a summary of what it says.
//!
//! Reads what the gateway would read at its start, secrets and certificates too, and connects to nothing.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use super::{CheckArgs, EX_USAGE, print, tell};
use crate::config::{self, Problems, Settings};
use crate::gate::settings::{Auth, Route};

/// Checks the file.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    match config::load(&args.file) {
        Ok(settings) => {
            tell(&rendered(&settings.warnings));
            print(&summary(&settings).unwrap_or_default())
        }
        Err(problems) => {
            tell(&rendered(&problems));
            ExitCode::from(EX_USAGE)
        }
    }
}

/// In colours where somebody looks at a terminal.
pub(super) fn rendered(problems: &Problems) -> String {
    if std::io::stderr().is_terminal() { problems.to_terminal() } else { problems.to_string() }
}

fn summary(settings: &Settings) -> Result<String, std::fmt::Error> {
    let mut out = String::from("ok\n");
    let Settings { edge, gate, session, oidc, warnings, .. } = settings;
    writeln!(out, "public url  {}", gate.public_url.origin().ascii_serialization())?;
    for listener in &edge.listeners {
        let tls = if listener.tls.is_some() { " (TLS)" } else { "" };
        writeln!(out, "listener    {}{tls}", listener.address)?;
    }
    match edge.admin {
        Some(address) => writeln!(out, "admin       {address}")?,
        None => writeln!(out, "admin       off")?,
    }
    writeln!(out, "provider    {} as {}", oidc.issuer, oidc.client_id)?;
    writeln!(out, "redirect    {}", oidc.redirect_uri)?;
    let ids: Vec<&str> = session.keys.iter().map(|key| key.id.as_str()).collect();
    writeln!(out, "cookie      {}, keys {}", session.cookie.name, ids.join(", "))?;
    for route in &gate.routes {
        writeln!(out, "route       {}", line(route, settings))?;
    }
    match warnings.iter().count() {
        0 => Ok(out),
        1 => writeln!(out, "1 warning").map(|()| out),
        several => writeln!(out, "{several} warnings").map(|()| out),
    }
}

fn line(route: &Route, settings: &Settings) -> String {
    let auth = match route.auth {
        Auth::Session => "session",
        Auth::None => "none",
    };
    let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
    let methods = if methods.is_empty() { String::new() } else { format!("{} ", methods.join(",")) };
    let host = route.host.as_deref().unwrap_or_default();
    let upstream = settings.edge.upstreams.get(route.upstream.0);
    let upstream = upstream.map_or_else(String::new, |upstream| upstream.url.origin().ascii_serialization());
    format!("{methods}{host}{} -> {upstream}, auth {auth}", route.name)
}
