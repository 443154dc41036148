//! From what was typed to settings that make sense, one file per part.
//!
//! Every check reports all it finds and goes on; a part with a problem is `None`. No I/O: secrets were read before,
//! certificates are looked at by `files`.

mod cors;
mod edge;
mod endpoints;
mod key;
mod path;
mod provider;
mod route;
mod session;
mod store;
mod template;
mod upstream;
mod url;

use std::ops::Range;
use std::time::Duration;

use super::Watching;
use super::problems::Findings;
use super::raw::{File, Log, LogFormat, Reload};
use super::reader::At;
use super::values::Period;
use crate::bff;
use crate::edge as edge_room;
use crate::gate;
use crate::oidc;
use crate::session as session_room;
use crate::store as store_room;
use crate::telemetry;
use crate::telemetry::logs::check_filter;
use crate::telemetry::settings::{AccessLog, Format};

/// The settings of every room.
pub(crate) struct Checked {
    pub(crate) edge: edge_room::settings::Settings,
    pub(crate) gate: gate::settings::Settings,
    pub(crate) bff: bff::settings::Settings,
    pub(crate) session: session_room::settings::Settings,
    pub(crate) store: store_room::settings::Settings,
    pub(crate) oidc: oidc::settings::Settings,
    pub(crate) telemetry: telemetry::settings::Settings,
    pub(crate) watching: Watching,
}

/// Checks the whole file.
pub(crate) fn check(file: File, findings: &mut Findings) -> Option<Checked> {
    not_yet(&file, findings);
    let File { public_url, provider, session, routes, workers, listeners, admin, .. } = file;
    let File { trusted_origins, cors, refresh, upstreams, endpoints, limits, drain, log, store, .. } = file;
    let File { fast_path, trusted_proxies, forwarded, .. } = file;
    let public_url = public_url.and_then(|text| url::public_url(&text, findings));
    let base_path = endpoints.as_ref().and_then(|raw| endpoints::base_path(&raw.value, findings));
    let ours = public_url.as_ref().zip(base_path.as_deref());
    let endpoints = endpoints.and_then(|raw| endpoints::check(raw.value, base_path.as_deref(), findings));
    let oidc = provider.and_then(|raw| provider::check(raw, ours, findings));

    let mut pool = upstream::Upstreams::default();
    for (name, raw) in upstreams.map(|map| map.value.0).unwrap_or_default() {
        pool.add_named(&name, raw.value, findings);
    }
    let cors = cors.and_then(|raw| cors::check(raw.value, findings));
    let common = route::Common { base_path: base_path.as_deref(), cors: cors.clone().flatten() };
    let routes = routes.map(|list| route::check(list, &common, &mut pool, findings));
    let upstreams = pool.finish(findings);

    let trusted_origins = trusted_origins.map(|list| url::origins(list.value, findings));
    let mut session = session
        .zip(refresh)
        .and_then(|(raw, refresh)| session::check(raw, refresh, public_url.as_ref(), findings));
    if let Some((session, routes)) = session.as_mut().zip(routes.as_ref()) {
        session::keep_claims(session, routes);
    }
    let store = store.and_then(|raw| store::check(raw.value, findings));
    let forwarding = edge::Forwarded { trusted: trusted_proxies, fields: forwarded };
    let net = edge::Net { listeners, admin, workers, limits, drain, fast_path, forwarding };
    let edge = edge::check(net, upstreams, findings);
    let telemetry = log.and_then(|raw| check_log(raw.value, findings));
    let watching = file.reload.and_then(|raw| check_reload(raw.value, findings));
    let (default_return_to, login_params) = endpoints?;
    let bff = bff::settings::Settings {
        public_url: public_url.clone()?,
        base_path: base_path.clone()?,
        default_return_to,
        login_params,
    };
    let gate = gate::settings::Settings {
        public_url: public_url?,
        base_path: base_path?,
        routes: routes?,
        trusted_origins: trusted_origins?,
        cors: cors?,
    };
    Some(Checked {
        edge: edge?,
        gate,
        bff,
        session: session?,
        store: store?,
        oidc: oidc?,
        telemetry: telemetry?,
        watching: watching?,
    })
}

fn check_reload(raw: Reload, findings: &mut Findings) -> Option<Watching> {
    let poll = positive(raw.poll, findings)?;
    Some(if raw.watch?.value { Watching::On { poll } } else { Watching::Off })
}

/// Parts that are understood and belong to a later release.
fn not_yet(file: &File, findings: &mut Findings) {
    if let Some(map) = file.providers.as_ref().filter(|map| !map.value.0.is_empty()) {
        findings.not_yet(&map.at, "several providers").help("name one under `provider`");
    }
    if let Some(list) = file.bearer.as_ref().filter(|list| !list.value.is_empty()) {
        findings.not_yet(&list.at, "access tokens that clients bring themselves");
    }
}

fn check_log(raw: Log, findings: &mut Findings) -> Option<telemetry::settings::Settings> {
    let format = match raw.format?.value {
        LogFormat::Json => Format::Json,
        LogFormat::Pretty => Format::Pretty,
    };
    if let Some(filter) = raw.filter.as_ref().filter(|filter| filter.value.trim().is_empty()) {
        findings.report(&filter.at, "the filter is empty").help("write `info`, or drop the key");
    } else if let Some(filter) = raw.filter.as_ref().filter(|filter| check_filter(&filter.value).is_err()) {
        findings
            .report(&filter.at, "not a filter of log lines")
            .help("write a level, or levels by module: `warn,bearward::session=debug`");
    }
    let access = if raw.access?.value { AccessLog::On } else { AccessLog::Off };
    Some(telemetry::settings::Settings { format, filter: raw.filter.map(|filter| filter.value), access })
}

/// A duration that must not be zero.
fn positive(period: Option<At<Period>>, findings: &mut Findings) -> Option<Duration> {
    let period = period?;
    if period.value.0.is_zero() {
        findings.report(&period.at, "the duration is zero").help("write how long, such as `30s`");
        return None;
    }
    Some(period.value.0)
}

/// A number within bounds.
fn within(number: Option<At<u32>>, bounds: Range<u32>, findings: &mut Findings) -> Option<usize> {
    let number = number?;
    if !bounds.contains(&number.value) {
        let (least, most) = (bounds.start, bounds.end.saturating_sub(1));
        findings.report(&number.at, "out of bounds").help(format!("from {least} to {most}"));
        return None;
    }
    usize::try_from(number.value).ok()
}

/// Texts without their places.
fn texts(list: Option<At<Vec<At<String>>>>) -> Option<Vec<String>> {
    Some(list?.value.into_iter().map(|item| item.value).collect())
}
