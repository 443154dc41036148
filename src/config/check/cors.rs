//! `cors`: which other origins may read what is answered.

use std::sync::Arc;

use http::HeaderName;

use super::{route, url};
use crate::config::problems::Findings;
use crate::config::raw::route as raw;
use crate::config::reader::At;
use crate::gate::settings::{Cors, CorsRules, Credentials};

/// Checks it; the inner `None` says that nobody may.
pub(super) fn check(raw: raw::Cors, findings: &mut Findings) -> Option<Option<Arc<Cors>>> {
    let list = raw.origins.and_then(|list| origins(list.value, findings));
    let methods = raw.methods.and_then(|list| match list.value.as_slice() {
        [] => Some(Vec::new()),
        _ => route::methods(&list, findings),
    });
    let headers = raw.headers.and_then(|list| fields(list.value, findings));
    let expose = raw.expose_headers.and_then(|list| fields(list.value, findings));
    let rules = CorsRules {
        origins: list?,
        methods: methods?,
        headers: headers?,
        expose: expose?,
        credentials: if raw.credentials?.value { Credentials::Include } else { Credentials::Omit },
        max_age: raw.max_age?.value.0,
    };
    Some(Cors::new(&rules))
}

fn origins(list: Vec<At<String>>, findings: &mut Findings) -> Option<Vec<String>> {
    let given = list.len();
    let (any, list): (Vec<_>, Vec<_>) = list.into_iter().partition(|origin| origin.value.contains('*'));
    for text in any {
        // std:104
        findings
            .report(&text.at, "origins are compared whole; there is no `*`")
            .help("name each origin: `https://spa.example.com`");
    }
    let origins = url::origins(list, findings);
    (origins.len() == given).then_some(origins)
}

fn fields(list: Vec<At<String>>, findings: &mut Findings) -> Option<Vec<HeaderName>> {
    let given = list.len();
    let mut names = Vec::new();
    for text in list {
        match HeaderName::from_bytes(text.value.as_bytes()) {
            // Fetch §3.3.3: next to credentials a `*` is a field of that name.
            Ok(name) if name.as_str() != "*" => names.push(name),
            Ok(_) | Err(_) => {
                findings.report(&text.at, "not a header name").help("name each field; there is no `*`");
            }
        }
    }
    (names.len() == given).then_some(names)
}
