//! `bearward dev`: a provider, a demo and the gateway before them, no file.
//!
//! Everything listens on loopback only. The configuration is text like anybody's, made here and loaded by the
//! same code; `dev` shows what a user would write.

pub mod demo;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use devidp::{Client, Provider, Settings as ProviderSettings};
use tokio::runtime::{Builder, Runtime};

use super::check::rendered;
use super::run::{chain, until_signal};
use super::{DevArgs, failed, print, tell};
use crate::app::{App, StartError};
use crate::base::secret::random_text;
use crate::base::tasks::Tasks;
use crate::base::time::SystemClock;
use crate::config;
use crate::edge::EdgeError;
use crate::telemetry::logs;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What stands around the gateway while it runs.
struct Surroundings {
    provider: Provider,
    upstream: String,
    client_secret: String,
    /// Serves both.
    _runtime: Runtime,
}

/// Runs the gateway with everything around it.
pub(super) fn run(args: &DevArgs) -> ExitCode {
    if !args.listen.ip().is_loopback() {
        return failed("`bearward dev` listens on loopback addresses only: its users have no passwords");
    }
    if args.listen.port() == 0 {
        return failed("`--listen` needs a port: the provider must know where to send the browser back to");
    }
    match start(args) {
        Ok((app, surroundings)) => {
            print(&greeting(args, &app, &surroundings));
            until_signal(app, None, |_, _| tracing::info!("there is no file to read again"))
        }
        Err(why) => failed(&why),
    }
}

fn start(args: &DevArgs) -> Result<(App, Surroundings), String> {
    let surroundings = surround(args).map_err(|error| chain(&error))?;
    let env = BTreeMap::from([
        ("CLIENT_SECRET".to_owned(), surroundings.client_secret.clone()),
        ("SESSION_KEY".to_owned(), random_text::<32>()),
    ]);
    let text = configuration(args, &surroundings);
    let settings =
        config::load_text("dev.yaml", &text, Path::new("."), &env).map_err(|problems| rendered(&problems))?;
    logs::init(&settings.telemetry).map_err(|error| chain(&error))?;
    tell(&rendered(&settings.warnings));
    let app = App::start(settings, Arc::new(SystemClock))
        .map_err(|error| format!("{}{}", chain(&error), remedy(&error, args)))?;
    Ok((app, surroundings))
}

/// What to type where an address is taken.
fn remedy(error: &StartError, args: &DevArgs) -> &'static str {
    let StartError::Edge(EdgeError::Listen { address, .. }) = error else { return "" };
    if *address == args.admin {
        " (another port: `bearward dev --admin 127.0.0.1:9902`)"
    } else {
        " (another port: `bearward dev --listen 127.0.0.1:8081`)"
    }
}

fn surround(args: &DevArgs) -> std::io::Result<Surroundings> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("dev").enable_all().build()?;
    let home = home(args);
    let client_secret = random_text::<32>();
    let client = Client::new("bearward-dev", &client_secret, format!("{home}/oauth2/callback"))
        .after_logout(format!("{home}/oauth2/logout/callback"));
    let provider = runtime.block_on(Provider::start(ProviderSettings {
        address: args.provider_listen.unwrap_or(LOOPBACK),
        host: Some("localhost".to_owned()),
        clients: vec![client],
        access_token_life: args.access_token_life,
        // As a provider on the network would need.
        token_delay: Duration::from_millis(100)..=Duration::from_millis(400),
        ..ProviderSettings::default()
    }))?;
    let upstream = match &args.upstream {
        Some(url) => url.origin().ascii_serialization(),
        None => {
            let listener = std::net::TcpListener::bind(LOOPBACK)?;
            listener.set_nonblocking(true)?;
            let tasks = Tasks::new(runtime.handle().clone());
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            format!("http://{}", demo::start_demo(listener, Arc::new(SystemClock), &tasks)?)
        }
    };
    Ok(Surroundings { provider, upstream, client_secret, _runtime: runtime })
}

fn home(args: &DevArgs) -> String {
    format!("http://localhost:{}", args.listen.port())
}

/// The configuration, as a user would write it.
fn configuration(args: &DevArgs, surroundings: &Surroundings) -> String {
    let (home, listen, admin) = (home(args), args.listen, args.admin);
    let (issuer, upstream) = (surroundings.provider.issuer(), &surroundings.upstream);
    let mut text = format!(
        "public_url: {home}\n\
         listeners: [ {{ address: \"{listen}\" }} ]\n\
         admin: {{ address: \"{admin}\" }}\n\
         provider:\n\
         \x20 issuer: {issuer}\n\
         \x20 client_id: bearward-dev\n\
         \x20 client_secret: {{ env: CLIENT_SECRET }}\n\
         \x20 post_logout_redirect_uri: {home}/oauth2/logout/callback\n\
         session:\n\
         \x20 keys: [ {{ env: SESSION_KEY }} ]\n\
         log: {{ format: pretty, access: false }}\n\
         routes:\n"
    );
    let identity = "headers: { set: { X-Forwarded-User: \"{sub}\", X-Forwarded-Email: \"{email}\" } }";
    match args.upstream {
        Some(_) => {
            text += &format!("  - {{ path: /*, upstream: \"{upstream}\", auth: session, {identity} }}\n")
        }
        None => {
            text += &format!("  - {{ path: /api/*, upstream: \"{upstream}\", auth: session, {identity} }}\n");
            text += &format!("  - {{ path: /*, upstream: \"{upstream}\", auth: none }}\n");
        }
    }
    text
}

fn greeting(args: &DevArgs, app: &App, surroundings: &Surroundings) -> String {
    let admin =
        app.admin_address().map_or_else(|| "off".to_owned(), |address| format!("http://{address}/metrics"));
    format!(
        "\n  Bearward is running for development.\n\n\
         \x20 open      {}\n\
         \x20 forwards  {}\n\
         \x20 provider  {}, users alice, bob and carol, access tokens live {:?}\n\
         \x20 metrics   {admin}\n\n\
         \x20 Ctrl-C ends it.\n\n",
        home(args),
        if args.upstream.is_some() { surroundings.upstream.as_str() } else { "to the demo API" },
        surroundings.provider.issuer(),
        args.access_token_life,
    )
}
