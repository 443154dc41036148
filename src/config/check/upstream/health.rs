//! `health`, `eject` and `retries` of an upstream.

use std::ops::RangeInclusive;

use http::{HeaderValue, StatusCode};

use super::is_host;
use crate::config::check::{positive, within};
use crate::config::problems::Findings;
use crate::config::raw::edge as raw;
use crate::config::reader::At;
use crate::edge::settings::{Eject, Health, Retries};

/// How endpoints are probed.
pub(super) fn probes(raw: raw::Health, findings: &mut Findings) -> Option<Health> {
    let path = raw.path.and_then(|text| path(text, findings));
    let host = match raw.host {
        Some(text) => host(&text, findings).map(Some),
        None => Some(None),
    };
    let times = raw.interval.as_ref().zip(raw.timeout.as_ref());
    if let Some((interval, timeout)) = times.filter(|(interval, timeout)| timeout.value.0 > interval.value.0)
    {
        findings
            .report(&timeout.at, "`timeout` is longer than `interval`")
            .also(&interval.at, "the interval")
            .help("shorten it");
    }
    let (interval, timeout) = (positive(raw.interval, findings), positive(raw.timeout, findings));
    let (healthy, unhealthy) =
        (within(raw.healthy, 1..101, findings), within(raw.unhealthy, 1..101, findings));
    let status = raw.status.and_then(|text| statuses(&text, findings));
    Some(Health {
        path: path?,
        interval: interval?,
        timeout: timeout?,
        healthy: u32::try_from(healthy?).ok()?,
        unhealthy: u32::try_from(unhealthy?).ok()?,
        status: status?,
        host: host?,
    })
}

/// When endpoints are passed over; the inner `None` for never.
pub(super) fn eject(raw: raw::Eject, findings: &mut Findings) -> Option<Option<Eject>> {
    let times = raw.time.as_ref().zip(raw.most.as_ref());
    if let Some((time, most)) = times.filter(|(time, most)| time.value.0 > most.value.0) {
        findings
            .report(&most.at, "`most` is shorter than `time`")
            .also(&time.at, "the time")
            .help("lengthen it");
    }
    let (time, most) = (positive(raw.time, findings), positive(raw.most, findings));
    let failures = within(raw.failures, 0..10_001, findings);
    let wanted = raw.statuses?.value;
    let count = wanted.len();
    let statuses: Vec<StatusCode> = wanted.into_iter().filter_map(|code| status(&code, findings)).collect();
    let failures = u32::try_from(failures?).ok()?;
    let eject = Eject { failures, time: time?, most: most?, statuses };
    (eject.statuses.len() == count).then_some((failures > 0).then_some(eject))
}

/// How often a request is tried again.
pub(super) fn retries(raw: raw::Retries, findings: &mut Findings) -> Option<Retries> {
    let attempts = within(raw.attempts, 1..11, findings);
    let percent = within(raw.percent, 0..101, findings);
    let least = within(raw.least, 0..1_000_001, findings);
    Some(Retries { attempts: u8::try_from(attempts?).ok()?, percent: percent?, least: least? })
}

fn path(text: At<String>, findings: &mut Findings) -> Option<String> {
    let plain = text.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !text.value.starts_with('/') || !plain {
        findings.report(&text.at, "not a path").help("write `/healthz`");
        return None;
    }
    Some(text.value)
}

fn host(text: &At<String>, findings: &mut Findings) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(&text.value).ok().filter(|_| is_host(&text.value));
    if value.is_none() {
        findings.report(&text.at, "not a host").help("write a host with or without its port");
    }
    value
}

fn statuses(text: &At<String>, findings: &mut Findings) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.value.split_once('-').unwrap_or((&text.value, &text.value));
    let code = |digits: &str| digits.trim().parse().ok().filter(|code| (200..600).contains(code));
    let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
    if range.is_none() {
        findings
            .report(&text.at, "not a range of statuses")
            .help("write `200-399`, or one such as `\"204\"`");
    }
    range.map(|(first, last)| first..=last)
}

fn status(code: &At<u32>, findings: &mut Findings) -> Option<StatusCode> {
    let status = u16::try_from(code.value).ok().filter(|code| (400..600).contains(code));
    if status.is_none() {
        findings.report(&code.at, "not a status of a failure").help("from 400 to 599");
    }
    status.and_then(|code| StatusCode::from_u16(code).ok())
}
