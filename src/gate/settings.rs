//! What the configuration says about routes and who may pass.

use std::sync::Arc;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

pub use super::policy::cors::{Cors, Credentials, Rules as CorsRules};

/// Routes and the rules before them.
#[derive(Debug)]
pub struct Settings {
    /// The origin that browsers see.
    pub public_url: Url,
    /// Where our endpoints live: `/oauth2`.
    pub base_path: String,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Origins besides our own that may send unsafe requests and open WebSockets.
    pub trusted_origins: Vec<String>,
    /// Which other origins may read what our endpoints answer.
    pub cors: Option<Arc<Cors>>,
}

/// A match rule with its authentication and policy.
#[derive(Debug)]
pub struct Route {
    /// How the route is called in logs and metrics: its path as configured.
    pub name: String,
    /// The host it serves, lower case, without port; `None` for every host.
    pub host: Option<String>,
    /// The path it serves.
    pub path: PathPattern,
    /// The methods it serves; empty for all.
    pub methods: Vec<Method>,
    /// Where its requests go.
    pub upstream: UpstreamId,
    /// What the upstream sees of the path; `None` for all of it.
    pub rewrite: Option<Rewrite>,
    /// Who may pass.
    pub auth: Auth,
    /// Whether its requests may cause a refresh: a response that cannot carry the cookie must not (rule 8).
    pub refresh: RefreshOn,
    /// The most bytes that a request's body may have; `None` for what the edge allows.
    pub body_bytes: Option<u64>,
    /// Header fields made from claims.
    pub set_headers: Vec<(HeaderName, Template)>,
    /// Which other origins may read its responses.
    pub cors: Option<Arc<Cors>>,
    /// How long its responses may go on.
    pub stream: StreamRules,
}

/// Names an upstream by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// `/api/*` matches everything below `/api/` and `/api` itself; `/health` matches that path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path and nothing else.
    Exact(String),
    /// This path and everything below it; kept without the trailing `/*`, so `/*` is the empty string.
    Below(String),
}

/// What stands at the front of a path in place of what the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// What goes: the beginning of every path that the route serves. `/api`, or empty.
    pub prefix: HeaderValue,
    /// What comes: `/v1`, or empty.
    pub with: String,
}

impl Rewrite {
    /// The target that the upstream sees, in three parts; `None` where it does not begin with the prefix. Every other
    /// byte stays, in the query too.
    pub fn apply<'a>(&'a self, target: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let rest = target.strip_prefix(self.prefix.as_bytes())?;
        // `/api` without `/api` is `/`, and `/apix` never came here.
        let slash: &[u8] = match rest.first() {
            None | Some(b'?') if self.with.is_empty() => b"/",
            None | Some(b'?' | b'/') => b"",
            Some(_) => return None,
        };
        Some([self.with.as_bytes(), slash, rest])
    }
}

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Whoever has a session.
    Session,
    /// Everyone; cookies of ours are removed, the client's `Authorization` is passed on.
    None,
}

/// Whether a route's requests may cause a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOn {
    /// They may.
    Requests,
    /// They never do; they wait for a refresh that is under way.
    Never,
}

/// How long a route's responses may go on, besides ending with their session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamRules {
    /// The longest, from the request on.
    pub limit: Option<Duration>,
    /// What becomes of one whose access token runs out.
    pub when_token_ends: WhenTokenEnds,
}

/// What becomes of a response when its request's access token runs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenTokenEnds {
    /// It goes on.
    #[default]
    GoOn,
    /// It is closed.
    Close,
}

/// Text with claims in braces: `{sub}`, `user-{email}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands as it is.
    Text(String),
    /// The value of a claim.
    Claim(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_front_of_a_path_is_rewritten() {
        for (prefix, with, target, expected) in [
            ("/api", "", "/api/a%20b/", "/a%20b/"),
            ("/api", "", "/api", "/"),
            ("/api", "", "/api?a=/api/b", "/?a=/api/b"),
            ("/api", "", "/api/", "/"),
            ("/api", "/v1", "/api", "/v1"),
            ("/api", "/v1", "/api/", "/v1/"),
            ("/api", "/v1", "/api?b", "/v1?b"),
            ("/api", "/v1", "/api/api/c?", "/v1/api/c?"),
            ("", "/v1", "/a", "/v1/a"),
            ("", "/v1", "/", "/v1/"),
        ] {
            let rewrite = Rewrite { prefix: HeaderValue::from_static(prefix), with: with.to_owned() };
            let parts = rewrite.apply(target.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(parts.concat()).unwrap(), expected, "{target}");
        }
        let rewrite = Rewrite { prefix: HeaderValue::from_static("/api"), with: String::new() };
        for target in ["/apix", "/ap", "/Api/a", "http://h/api"] {
            assert_eq!(rewrite.apply(target.as_bytes()), None, "{target}");
        }
    }
}
