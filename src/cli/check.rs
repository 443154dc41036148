//! `bearward check`: all that is wrong with a configuration, or a summary.
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
    let places = upstream.iter().flat_map(|upstream| &upstream.endpoints);
    let upstream = places.map(|endpoint| endpoint.place.to_string()).collect::<Vec<_>>().join(", ");
    format!("{methods}{host}{} -> {upstream}, auth {auth}", route.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::base::secret::random_text;

    #[test]
    fn the_summary_says_what_is_served() {
        let environment = BTreeMap::from(
            [("KEY", random_text::<32>()), ("SECRET", random_text::<16>())].map(|(k, v)| (k.to_owned(), v)),
        );
        let text = r#"
public_url: https://app.example.com
listeners: [ { address: 127.0.0.1:8081 } ]
provider: { issuer: https://id.example.com, client_id: bearward, client_secret: "${SECRET}" }
session: { keys: [ { id: first, env: KEY } ] }
routes: [ { host: api.example.com, path: /a/*, methods: [GET], upstream: http://127.0.0.1:1, auth: session } ]
upstreams: { spare: { endpoints: [http://127.0.0.1:2] } }
"#;
        let settings = config::load_text("a.yaml", text, Path::new(""), &environment).unwrap();
        assert_eq!(
            summary(&settings).unwrap(),
            "ok\n\
             public url  https://app.example.com\n\
             listener    127.0.0.1:8081\n\
             admin       127.0.0.1:9901\n\
             provider    https://id.example.com as bearward\n\
             redirect    https://app.example.com/oauth2/callback\n\
             cookie      __Host-bearward, keys first\n\
             route       GET api.example.com/a/* -> http://127.0.0.1:1, auth session\n\
             1 warning\n"
        );
    }
}
