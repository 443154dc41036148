//! `session`, `refresh`: keys, the cookie, and how long things live.

use std::ops::Range;
use std::time::Duration;

use url::Url;

use super::{key, positive, template, within};
use crate::base::secret::constant_time_eq;
use crate::config::problems::Findings;
use crate::config::raw::session as raw;
use crate::config::reader::At;
use crate::config::secrets::KeyText;
use crate::config::tree::Origin;
use crate::config::values::Period;
use crate::gate::settings::{Piece, Route};
use crate::session::settings::{
    AfterUnknown, Cookie, KeepIdToken, Key, Rollback, SameSite, Secure, Settings,
};

/// Checks `session` and `refresh`.
pub(super) fn check(
    raw: At<raw::Session>,
    refresh: At<raw::Refresh>,
    public_url: Option<&Url>,
    findings: &mut Findings,
) -> Option<Settings> {
    let raw = raw.value;
    let keys = raw.keys.and_then(|list| check_keys(list, findings));
    let cookie = raw.cookie.and_then(|cookie| check_cookie(cookie.value, public_url, findings));
    let lives = check_lives(raw.lifetime, raw.idle_timeout, raw.grace, findings);
    for claim in raw.claims.iter().flat_map(|list| &list.value) {
        if !template::is_claim(&claim.value) {
            findings.report(&claim.at, "not the name of a claim");
        }
    }
    let claims = super::texts(raw.claims);
    let capacity = within(raw.capacity, 1..u32::MAX, findings);
    let refresh_wait = positive(refresh.value.wait, findings);
    let rollback = match raw.rollback?.value {
        raw::Rollback::End => Rollback::End,
        raw::Rollback::Reject => Rollback::Reject,
    };
    let after_unknown = match refresh.value.after_unknown?.value {
        raw::AfterUnknown::RetryOnce => AfterUnknown::RetryOnce,
        raw::AfterUnknown::Login => AfterUnknown::Login,
    };
    let keep_id_token = if raw.keep_id_token?.value { KeepIdToken::ForLogoutHint } else { KeepIdToken::Drop };
    let (lifetime, idle_timeout, grace) = lives?;
    Some(Settings {
        keys: keys?,
        cookie: cookie?,
        lifetime,
        idle_timeout,
        grace,
        rollback,
        after_unknown,
        refresh_wait: refresh_wait?,
        claims: claims?,
        keep_id_token,
        capacity: capacity?,
    })
}

/// Sessions keep the claims that header templates use; `sub` they keep anyway.
pub(super) fn keep_claims(session: &mut Settings, routes: &[Route]) {
    let templates = routes.iter().flat_map(|route| &route.set_headers);
    for piece in templates.flat_map(|(_, template)| &template.0) {
        if let Piece::Claim(claim) = piece {
            session.claims.push(claim.clone());
        }
    }
    let mut seen = std::collections::HashSet::from(["sub".to_owned()]);
    session.claims.retain(|claim| seen.insert(claim.clone()));
}

fn check_keys(list: At<Vec<At<KeyText>>>, findings: &mut Findings) -> Option<Vec<Key>> {
    if list.value.is_empty() {
        findings
            .report(&list.at, "sessions need a key")
            .help("`bearward keygen --out session.key` makes one");
        return None;
    }
    let wanted = list.value.len();
    let mut keys: Vec<(Key, Range<usize>)> = Vec::new();
    for At { value: KeyText { id, text }, at, .. } in list.value {
        let bytes = match key::decode(text.expose()) {
            Ok(bytes) => bytes,
            Err(why) => {
                findings.report(&at, format!("the session key is unusable: {why}")).help(KEYGEN);
                continue;
            }
        };
        let id_at = id.as_ref().map_or_else(|| at.clone(), |id| id.at.clone());
        let id = id.map_or_else(|| key::derived_id(bytes.expose()), |id| id.value);
        if !key::is_id(&id) {
            findings.report(&id_at, "not a key id").help("1 to 16 of `A-Z a-z 0-9 _ -`");
            continue;
        }
        let twin = keys.iter().find(|(other, _)| constant_time_eq(other.bytes.expose(), bytes.expose()));
        let namesake = keys.iter().find(|(other, _)| other.id == id);
        if let Some((_, first)) = twin {
            findings
                .report(&at, "the same session key twice")
                .also(first, "first here")
                .help("drop one of the two");
        } else if let Some((_, first)) = namesake {
            findings
                .report(&id_at, "the same key id twice")
                .also(first, "first here")
                .help("give each its own id");
        }
        keys.push((Key { id, bytes }, at));
    }
    (keys.len() == wanted).then(|| keys.into_iter().map(|(key, _)| key).collect())
}

fn check_cookie(raw: raw::Cookie, public_url: Option<&Url>, findings: &mut Findings) -> Option<Cookie> {
    let same_site = raw.same_site.and_then(|word| match word.value {
        raw::SameSite::Lax => Some(SameSite::Lax),
        raw::SameSite::Strict => {
            let finding = findings.not_yet(&word.at, "a strict cookie");
            finding.help("write `lax`: a login must come back from the provider");
            None
        }
    });
    // Where the origin itself is wrong, the name is judged as on https.
    let https = public_url.is_none_or(|url| url.scheme() == "https");
    let name = match raw.name {
        None => Some((if https { "__Host-bearward" } else { "bearward" }).to_owned()),
        Some(name) => cookie_name(name, https, findings),
    };
    let secure = if https { Secure::Required } else { Secure::Loopback };
    Some(Cookie { name: name?, same_site: same_site?, secure })
}

fn cookie_name(name: At<String>, https: bool, findings: &mut Findings) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.value.is_empty() || name.value.len() > 64 || !name.value.bytes().all(is_token) {
        findings
            .report(&name.at, "not a cookie name (RFC 6265 §4.1.1)")
            .help("use letters, digits, `-` and `_`, 64 at most");
        return None;
    }
    // 6265bis §5.7: browsers compare the prefixes without regard to case.
    let lower = name.value.to_ascii_lowercase();
    let host = lower.starts_with("__host-");
    if (host || lower.starts_with("__secure-")) && !https {
        findings
            .report(&name.at, "browsers refuse this prefix without https")
            .help("drop the prefix, or serve `public_url` over https");
        return None;
    }
    if host && !name.value.starts_with("__Host-") {
        findings.report(&name.at, "the prefix is spelt `__Host-`");
        return None;
    }
    if https && !host {
        findings
            .warn(&name.at, "without the prefix `__Host-` other hosts of the domain can overwrite the cookie")
            .help(format!("write `__Host-{}`", name.value));
    }
    Some(name.value)
}

/// Lifetime, idle limit and grace, in that order. The last two shrink to the lifetime where they are not written.
fn check_lives(
    lifetime: Option<At<Period>>,
    idle: Option<At<Period>>,
    grace: Option<At<Period>>,
    findings: &mut Findings,
) -> Option<(Duration, Duration, Duration)> {
    let (lifetime_at, written) = lifetime.as_ref().map(|lifetime| (lifetime.at.clone(), lifetime.origin))?;
    let lifetime = positive(lifetime, findings);
    if lifetime.is_some_and(|lifetime| lifetime > YEAR) {
        findings.report(&lifetime_at, "a session of more than a year").help("`365d` at most");
    }
    let mut shorter = |period: Option<At<Period>>, default: Duration, what: &str| {
        let Some(period) = period else { return lifetime.map(|lifetime| lifetime.min(default)) };
        let at = period.at.clone();
        let period = positive(Some(period), findings)?;
        if lifetime.is_some_and(|lifetime| period > lifetime) {
            let finding = findings.report(&at, format!("`{what}` is longer than `lifetime`"));
            match written {
                Origin::Written => finding.also(&lifetime_at, "the lifetime").help("shorten it"),
                Origin::Default => {
                    finding.help("shorten it, or add `lifetime`, which is 12h where it is not given")
                }
            };
        }
        Some(period)
    };
    let idle = shorter(idle, IDLE, "idle_timeout");
    let grace = shorter(grace, GRACE, "grace");
    Some((lifetime?, idle?, grace?))
}

const IDLE: Duration = Duration::from_secs(3600);
/// DESIGN §3: responses that arrive minutes late end nearly no sessions with it.
const GRACE: Duration = Duration::from_secs(300);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const KEYGEN: &str = "`bearward keygen --out FILE` makes a key of 256 random bits";
