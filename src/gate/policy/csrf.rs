//! Whether another site caused a request.
//!
//! `Sec-Fetch-*` decides first, `Origin` and `Referer` where it is missing.
//!
//! `SameSite` alone does not stop a sibling subdomain; this does (std:99–103). A wrong yes lets another site act as
//! the user; a wrong no refuses a request that the user's own page sent.

use http::header::{HeaderName, ORIGIN, REFERER, UPGRADE};
use http::{HeaderMap, Method};
use url::Url;

use crate::gate::denial::Denial;

/// The origins whose pages may send requests with our cookie.
#[derive(Debug, Clone)]
pub struct Origins {
    own: String,
    trusted: Vec<String>,
}

impl Origins {
    /// Our own origin and those that are trusted like it.
    pub fn new(public_url: &Url, trusted: &[String]) -> Self {
        Self { own: public_url.origin().ascii_serialization(), trusted: trusted.to_vec() }
    }

    fn allow(&self, origin: &str) -> bool {
        origin == self.own || self.trusted.iter().any(|trusted| trusted == origin)
    }
}

// Statics: a name that is given as text is parsed each time.
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Judges a request that carries or may carry our cookie.
///
/// # Errors
/// [`Denial::CrossSite`] or [`Denial::OriginNotAllowed`].
pub fn judge(method: &Method, headers: &HeaderMap, origins: &Origins) -> Result<(), Denial> {
    let origin = text(headers, &ORIGIN);
    if is_websocket(headers) {
        // std:165: the handshake is a GET, which browsers send with cookies from any site.
        return if origin.is_some_and(|origin| origins.allow(origin)) {
            Ok(())
        } else {
            Err(Denial::OriginNotAllowed)
        };
    }
    if origin.is_some_and(|origin| origins.allow(origin)) {
        return Ok(());
    }
    // From here on an origin that is named is a foreign one.
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let fine = match text(headers, &SEC_FETCH_SITE) {
        Some("same-origin") => origin.is_none(),
        // Typed into the address bar, or a bookmark: no page caused it.
        Some("none") => origin.is_none(),
        Some(_) => safe && is_top_level_navigation(headers),
        None if safe => origin.is_none(),
        // std:101: without Sec-Fetch-Site an unsafe request must say where it comes from.
        None => origin.is_none() && referer_origin(headers).is_some_and(|origin| origins.allow(&origin)),
    };
    if fine { Ok(()) } else { Err(Denial::CrossSite) }
}

/// Whether the request asks for a WebSocket (RFC 6455 §4.1).
pub fn is_websocket(headers: &HeaderMap) -> bool {
    text(headers, &UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// std:102: a link from another site may be followed; being loaded as image, script or frame may not.
fn is_top_level_navigation(headers: &HeaderMap) -> bool {
    text(headers, &SEC_FETCH_MODE) == Some("navigate")
        && text(headers, &SEC_FETCH_DEST).is_none_or(|dest| dest == "document")
}

fn referer_origin(headers: &HeaderMap) -> Option<String> {
    let referer = Url::parse(text(headers, &REFERER)?).ok()?;
    Some(referer.origin().ascii_serialization())
}

/// The one value of a header field; a repeated field counts as unreadable text that matches nothing.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some("");
    }
    Some(first.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn check(method: Method, fields: &[(&str, &str)]) -> Result<(), Denial> {
        let public_url = Url::parse("https://app.example.com").unwrap();
        let origins = Origins::new(&public_url, &["https://spa.example.com".to_owned()]);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        judge(&method, &headers, &origins)
    }

    const OWN: (&str, &str) = ("origin", "https://app.example.com");
    const SPA: (&str, &str) = ("origin", "https://spa.example.com");
    const EVIL: (&str, &str) = ("origin", "https://evil.example");

    #[test]
    fn unsafe_requests_come_from_our_own_pages() {
        // std:99–101
        let site = |value| ("sec-fetch-site", value);
        for fine in [
            vec![site("same-origin")],
            vec![site("same-origin"), OWN],
            vec![site("none")],
            vec![site("same-site"), SPA],
            vec![site("cross-site"), SPA],
            vec![OWN],
            vec![("referer", "https://app.example.com/page?x")],
        ] {
            assert_eq!(check(Method::POST, &fine), Ok(()), "{fine:?}");
        }
        for wrong in [
            vec![],
            vec![site("cross-site")],
            vec![site("same-site")],
            vec![site("cross-site"), EVIL],
            vec![site("same-origin"), EVIL],
            vec![site("none"), EVIL],
            vec![site("SAME-ORIGIN")],
            vec![site("same-origin"), site("cross-site")],
            vec![EVIL],
            vec![("origin", "null")],
            vec![("origin", "https://app.example.com.evil.example")],
            vec![("origin", "http://app.example.com")],
            vec![("referer", "https://evil.example/https://app.example.com")],
            vec![("origin", "null"), ("referer", "https://app.example.com/")],
            vec![site("cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                assert_eq!(check(method, &wrong), Err(Denial::CrossSite), "{wrong:?}");
            }
        }
    }

    #[test]
    fn links_are_followed_but_nothing_is_embedded() {
        // std:102
        let cross = ("sec-fetch-site", "cross-site");
        let get = |fields: &[(&str, &str)]| check(Method::GET, fields);
        assert_eq!(get(&[]), Ok(()));
        assert_eq!(get(&[("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(get(&[cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]), Ok(()));
        assert_eq!(get(&[cross, ("sec-fetch-mode", "cors"), SPA]), Ok(()));
        for (mode, dest) in [
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("navigate", "iframe"),
            ("navigate", "embed"),
            ("cors", "empty"),
        ] {
            let fields = [cross, ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            assert_eq!(get(&fields), Err(Denial::CrossSite), "{mode} {dest}");
        }
        assert_eq!(get(&[EVIL]), Err(Denial::CrossSite), "a browser without Sec-Fetch");
    }

    #[test]
    fn a_websocket_needs_an_allowed_origin() {
        // std:165
        let upgrade = ("upgrade", "WebSocket");
        assert_eq!(check(Method::GET, &[upgrade, OWN]), Ok(()));
        assert_eq!(check(Method::GET, &[upgrade, SPA]), Ok(()));
        for wrong in
            [vec![upgrade], vec![upgrade, EVIL], vec![upgrade, ("origin", "null")], vec![upgrade, OWN, EVIL]]
        {
            assert_eq!(check(Method::GET, &wrong), Err(Denial::OriginNotAllowed), "{wrong:?}");
        }
        let without = [upgrade, ("sec-fetch-site", "same-origin")];
        assert_eq!(check(Method::GET, &without), Err(Denial::OriginNotAllowed));
    }
}
