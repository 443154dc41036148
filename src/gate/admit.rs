//! Temporary gate for the edge's own tests; the real one replaces this file.

use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};

use super::denial::Denial;
use super::head::RequestHead;
use super::route::host::host_of;
use super::route::path::judge;
use super::route::table::{Match, Table, TableError};
use super::settings::{Auth, Piece, Settings};
use super::verdict::{AnswerKind, CookieEdit, EndpointCall, ForwardPlan, Refusal, Verdict};
use crate::session::ticket::Ticket;

/// Decides.
#[derive(Debug)]
pub struct Gate {
    table: Table,
}

impl Gate {
    /// A gate that knows routes and no sessions.
    ///
    /// # Errors
    /// Where the table cannot be built.
    pub fn new(settings: Settings) -> Result<Self, TableError> {
        let routes = settings.routes.into_iter().map(Arc::new).collect();
        Ok(Self { table: Table::new(&settings.base_path, routes)? })
    }

    /// Decides about a request.
    #[expect(clippy::unused_async, reason = "the real gate may wait for a refresh")]
    pub async fn admit(&self, head: &RequestHead<'_>) -> Verdict {
        let target = match judge(head.target) {
            Ok(target) => target,
            Err(denial) => return deny(head, denial),
        };
        let host = host_of(head.parts);
        match self.table.find(host.as_deref(), target.path, &head.parts.method) {
            Match::Route(route) => {
                let session = (route.auth == Auth::Session).then(Ticket::temporary);
                let text = |pieces: &[Piece]| {
                    pieces
                        .iter()
                        .map(|piece| match piece {
                            Piece::Text(text) | Piece::Claim(text) => text.as_str(),
                        })
                        .collect::<String>()
                };
                Verdict::Forward(ForwardPlan {
                    cookies: edit(&head.parts.headers),
                    authorization: session
                        .as_ref()
                        .map(|_| HeaderValue::from_static("Bearer of-the-session")),
                    set: route
                        .set_headers
                        .iter()
                        .filter_map(|(name, template)| {
                            Some((name.clone(), HeaderValue::from_str(&text(&template.0)).ok()?))
                        })
                        .collect(),
                    route: Arc::clone(route),
                    session,
                })
            }
            Match::Endpoint(endpoint) => Verdict::Endpoint(EndpointCall { endpoint, session: None }),
            Match::MethodNotAllowed(methods) => deny(head, Denial::MethodNotAllowed(methods)),
            Match::Nothing => deny(head, Denial::NoRoute),
        }
    }

    /// What the response of a request with this session sets.
    pub fn response_cookies(&self, _: &Ticket) -> Vec<HeaderValue> {
        vec![HeaderValue::from_static("__Host-bearward=next; Path=/; Secure; HttpOnly")]
    }

    /// Whether a cookie of this name is ours.
    pub fn is_own_cookie(&self, name: &str) -> bool {
        name.starts_with("__Host-bearward")
    }
}

fn deny(head: &RequestHead<'_>, denial: Denial) -> Verdict {
    let page = head.parts.method == Method::GET
        && head.parts.headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    let answer = if page { AnswerKind::Page } else { AnswerKind::Problem };
    Verdict::Deny(Refusal { denial, answer, cookies: Vec::new() })
}

fn edit(headers: &HeaderMap) -> CookieEdit {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).collect();
    let kept: Vec<_> = lines
        .iter()
        .flat_map(|line| line.split("; "))
        .filter(|pair| !pair.starts_with("__Host-bearward"))
        .collect();
    if kept.is_empty() {
        return CookieEdit::Remove;
    }
    HeaderValue::from_str(&kept.join("; ")).map_or(CookieEdit::Remove, CookieEdit::Replace)
}
