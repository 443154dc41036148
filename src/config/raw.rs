//! The file as it is typed: every key, its meaning and its default.
//!
//! Doc comments here are what users read in the schema and in their editors. Parts that a later release builds are
//! declared in full, so that they are refused by name and never ignored.

pub(crate) mod edge;
pub(crate) mod provider;
pub(crate) mod route;
pub(crate) mod session;
pub(crate) mod store;

use super::reader::{At, section, words};
use super::values::{Map, Period};

section! {
    /// The configuration of Bearward, a reverse-proxy token gateway.
    File
    required {
        /// The origin that browsers see, without a path: `https://app.example.com`. The redirect URI and the
        /// cookie's name and attributes follow from it. `http` is for loopback hosts only.
        public_url: String,
        /// The OpenID provider and our client there.
        provider: provider::Provider,
        /// Sessions and their cookie.
        session: session::Session,
        /// What is served, to whom, and where it is forwarded. The most specific route wins.
        routes: Vec<At<route::Route>>,
    }
    optional {
        /// How many cores serve. All of them where it is not given.
        workers: u32,
    }
    defaults {
        /// Where browsers and API clients are served.
        listeners: Vec<At<edge::Listener>> = [{ "address": "127.0.0.1:8080" }],
        /// Health and metrics: `/healthz`, `/readyz`, `/metrics`. Never reachable through a listener.
        admin: edge::Admin = {},
        /// Networks in CIDR form of your own proxies before the gateway: `10.0.0.0/8`. What they say of a client's
        /// address and scheme is believed; nobody else is.
        trusted_proxies: Vec<At<String>> = [],
        /// The fields that say where a request comes from.
        forwarded: edge::Forwarded = {},
        /// Origins besides our own that may send unsafe requests and open WebSockets.
        trusted_origins: Vec<At<String>> = [],
        /// Which other origins may read what our endpoints answer, and what routes do that say nothing of their own.
        cors: route::Cors = {},
        /// Several providers by name. Not supported yet.
        providers: Map<provider::Provider> = {},
        /// How access tokens are refreshed.
        refresh: session::Refresh = {},
        /// What replicas share.
        store: store::Store = {},
        /// Access tokens that API clients bring themselves. Not supported yet.
        bearer: Vec<At<route::Bearer>> = [],
        /// Upstreams that routes call by name.
        upstreams: Map<edge::Upstream> = {},
        /// Paths of our own and how a login begins and ends.
        endpoints: Endpoints = {},
        /// Limits of what clients may send and how long they may take.
        limits: edge::Limits = {},
        /// What happens at shutdown.
        drain: edge::Drain = {},
        /// How logs are written.
        log: Log = {},
        /// When the file, and the files that it names, are read again.
        reload: Reload = {},
        /// Whether ordinary requests (`GET` and `HEAD` over HTTP/1.1, to an upstream that speaks HTTP/1.1 without TLS)
        /// take a short way through the gateway, which costs less and obeys the same rules.
        fast_path: bool = true,
    }
}

section! {
    /// Paths of our own and how a login begins and ends.
    Endpoints
    defaults {
        /// The folder of our endpoints: `login`, `callback`, `logout`, `session`, …
        base_path: String = "/oauth2",
        /// Where a login ends that names no valid return target: a path.
        default_return_to: String = "/",
        /// Query parameters of the login endpoint that are passed on to the provider.
        login_params: Vec<At<String>> = ["prompt", "login_hint", "acr_values", "max_age", "ui_locales"],
    }
}

section! {
    /// When the file, and the files that it names, are read again.
    Reload
    defaults {
        /// Whether the file, and the keys, secrets and certificates that it names, are taken when they change. SIGHUP has
        /// them read again in either case.
        watch: bool = true,
        /// How often they are compared besides, for changes that the system does not tell of, as on network file systems.
        poll: Period = "10s",
    }
}

section! {
    /// How logs are written.
    Log
    optional {
        /// What is logged: `info`, `debug`, or per module as in `info,bearward::session=debug`. `info` where it is
        /// not given.
        filter: String,
    }
    defaults {
        /// The form of a line.
        format: LogFormat = "json",
        /// Whether each request leaves an access record.
        access: bool = true,
    }
}

words! {
    /// The form of a log line.
    LogFormat {
        /// One JSON object per line.
        Json = "json",
        /// Coloured text for people.
        Pretty = "pretty",
    }
}
