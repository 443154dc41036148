//! `provider`: the OpenID provider and our client there.

use std::ops::Range;
use std::time::Duration;

use url::Url;

use super::endpoints::FIXED;
use super::{key, positive, texts, url as urls};
use crate::base::secret::Secret;
use crate::config::nearest::nearest;
use crate::config::problems::Findings;
use crate::config::raw::provider as raw;
use crate::config::reader::At;
use crate::config::secrets::{MaskedText, SecretText};
use crate::config::tree::Origin;
use crate::config::values::{Map, Period};
use crate::oidc::settings::{ClientAuth, Settings};

/// Checks the section. `ours` is the origin that browsers see and the folder of our endpoints there.
pub(super) fn check(
    raw: At<raw::Provider>,
    ours: Option<(&Url, &str)>,
    findings: &mut Findings,
) -> Option<Settings> {
    let At { value: raw, at, .. } = raw;
    let issuer = raw.issuer.and_then(|text| check_issuer(text, findings));
    let client_id = raw.client_id.and_then(|text| check_client_id(text, findings));
    let client_auth =
        raw.client_auth.and_then(|auth| check_auth(auth.value, raw.client_secret, &at, findings));
    let scopes = raw.scopes.and_then(|list| check_scopes(list, findings));
    let authorization_params = raw.authorization_params.and_then(|map| check_params(map, FIXED, findings));
    let token_params = raw.token_params.and_then(|map| check_params(map, FIXED_IN_TOKEN_REQUESTS, findings));
    let resources = raw.resources.and_then(|list| check_resources(list, findings));
    let id_token_algorithms = raw.id_token_algorithms.and_then(|list| check_algorithms(list, findings));
    let clock_leeway = raw.clock_leeway.and_then(|leeway| check_leeway(leeway, findings));
    let timeout = positive(raw.timeout, findings);
    let default_token_life = positive(raw.default_token_life, findings);
    let post_logout_redirect_uri = match raw.post_logout_redirect_uri {
        Some(text) => urls::protected(&text, findings).map(Some),
        None => Some(None),
    };
    let redirect_uri = ours.and_then(|(url, base_path)| url.join(&format!("{base_path}/callback")).ok());
    let reuse = raw.reuse_interval?;
    if !reuse.value.0.is_zero() {
        findings
            .not_yet(&reuse.at, "repeating a refresh within the provider's overlap")
            .help("write `0s`, or drop the key");
    }
    Some(Settings {
        issuer: issuer?,
        client_id: client_id?,
        client_auth: client_auth?,
        scopes: scopes?,
        authorization_params: authorization_params?,
        token_params: token_params?,
        resources: resources?,
        require_refresh_token: raw.require_refresh_token?.value,
        id_token_algorithms: id_token_algorithms?,
        trusted_audiences: texts(raw.trusted_audiences)?,
        clock_leeway: clock_leeway?,
        ca_file: raw.ca_file.map(|path| path.value),
        timeout: timeout?,
        default_token_life: default_token_life?,
        post_logout_redirect_uri: post_logout_redirect_uri?,
        redirect_uri: redirect_uri?,
    })
}

/// OpenID Connect Discovery §3: https, no query, no fragment. Kept as it is written: it is compared as text.
fn check_issuer(text: At<String>, findings: &mut Findings) -> Option<String> {
    let url = urls::protected(&text, findings)?;
    if url.query().is_some() || url.fragment().is_some() {
        findings
            .report(&text.at, "an issuer has no query and no fragment")
            .help("copy `issuer` from the provider");
        return None;
    }
    if text.value.contains("/.well-known/") {
        findings
            .report(&text.at, "this is the discovery document, not the issuer")
            .help("write what stands before `/.well-known/`");
        return None;
    }
    Some(text.value)
}

fn check_client_id(text: At<String>, findings: &mut Findings) -> Option<String> {
    // RFC 6749 appendix A.1: VSCHAR.
    if text.value.is_empty() || !text.value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        findings.report(&text.at, "not a client identifier").help("copy it from the provider");
        return None;
    }
    Some(text.value)
}

fn check_auth(
    auth: raw::ClientAuth,
    secret: Option<At<SecretText>>,
    provider: &Range<usize>,
    findings: &mut Findings,
) -> Option<ClientAuth> {
    let method = auth.method?;
    if method.value == raw::ClientAuthMethod::PrivateKeyJwt {
        findings.not_yet(&method.at, "`private_key_jwt`").help("use a client secret");
        if let Some(secret) = secret {
            findings
                .report(&secret.at, "`private_key_jwt` takes no client secret")
                .help("drop `client_secret`");
        }
        return None;
    }
    if let Some(key) = auth.key {
        let finding = findings.report(&key.at, "a key is for `private_key_jwt` only");
        finding.help("drop the key; the method is `client_secret_basic` where it is not given");
        if method.origin == Origin::Written {
            finding.also(&method.at, "the method").help("drop the key, or change the method");
        }
    }
    let Some(secret) = secret else {
        if !findings.suggested("client_secret") {
            findings.report(provider, "`client_secret` is missing").help("add `client_secret: { file: … }`");
        }
        return None;
    };
    let At { value: SecretText(secret), at, .. } = secret;
    let secret = secret?;
    if key::is_placeholder(secret.expose()) {
        findings.report(&at, "the client secret is a placeholder").help("copy it from the provider");
        return None;
    }
    // Only two methods are left here.
    let build: fn(Secret<String>) -> ClientAuth =
        if method.value == raw::ClientAuthMethod::Post { ClientAuth::Post } else { ClientAuth::Basic };
    Some(build(secret))
}

fn check_scopes(list: At<Vec<At<String>>>, findings: &mut Findings) -> Option<Vec<String>> {
    for scope in &list.value {
        // RFC 6749 §3.3: scope-token.
        let is_token = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        if scope.value.is_empty() || !scope.value.bytes().all(is_token) {
            findings.report(&scope.at, "not a scope").help("write one scope per item");
        }
    }
    if !list.value.iter().any(|scope| scope.value == "openid") {
        findings.report(&list.at, "the scopes lack `openid`").help("add it: without it there is no ID token");
        return None;
    }
    texts(Some(list))
}

fn check_params(
    map: At<Map<MaskedText>>,
    fixed: &[&str],
    findings: &mut Findings,
) -> Option<Vec<(String, String)>> {
    let mut params = Vec::new();
    for (name, value) in map.value.0 {
        if name.value.is_empty() || fixed.contains(&name.value.as_str()) {
            findings.report(&name.at, "the gateway itself sets this parameter").help("drop it");
        }
        params.push((name.value, value.value.0));
    }
    Some(params)
}

fn check_resources(list: At<Vec<At<String>>>, findings: &mut Findings) -> Option<Vec<String>> {
    for resource in &list.value {
        // RFC 8707 §2: an absolute URI without fragment.
        if !Url::parse(&resource.value).is_ok_and(|url| url.fragment().is_none()) {
            findings.report(&resource.at, "not an absolute URI without fragment (RFC 8707 §2)");
        }
    }
    texts(Some(list))
}

fn check_algorithms(list: At<Vec<At<String>>>, findings: &mut Findings) -> Option<Vec<String>> {
    if list.value.is_empty() {
        findings.report(&list.at, "no ID token could be verified").help("drop the key to use the default");
    }
    for name in &list.value {
        if name.value.eq_ignore_ascii_case("none") {
            findings.report(&name.at, "an unsigned ID token proves nothing").help("drop `none`");
        } else if !ALGORITHMS.contains(&name.value.as_str()) {
            let help = match nearest(&name.value, ALGORITHMS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", ALGORITHMS.join(", ")),
            };
            findings.report(&name.at, "unknown signature algorithm").help(help);
        }
    }
    texts(Some(list))
}

fn check_leeway(leeway: At<Period>, findings: &mut Findings) -> Option<Duration> {
    if leeway.value.0 > MAX_LEEWAY {
        findings.report(&leeway.at, "more than 5 minutes").help("set the clocks instead");
        return None;
    }
    Some(leeway.value.0)
}

const MAX_LEEWAY: Duration = Duration::from_secs(300);
const ALGORITHMS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
];
/// Parameters of token requests that are the gateway's to choose.
const FIXED_IN_TOKEN_REQUESTS: &[&str] = &[
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "scope",
    "resource",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];
