//! Header fields made from claims: their names, and texts with claims.

use http::HeaderName;

use crate::gate::settings::{Piece, Template};

/// Reads a header name that a route may set; the error says why it may not.
pub(super) fn header_name(text: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not a header name")?;
    if FRAMING.contains(&name.as_str()) {
        return Err("this header field frames or routes the request");
    }
    if OURS.contains(&name.as_str()) {
        return Err("the gateway itself sets or removes this header field");
    }
    Ok(name)
}

/// Reads a text with claims in braces; the error says what is wrong with it.
pub(super) fn template(text: &str) -> Result<Template, &'static str> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '{' | '}' if rest.peek() == Some(&character) => {
                rest.next();
                literal.push(character);
            }
            '{' => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                let mut claim = String::new();
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some(character) => claim.push(character),
                        None => return Err("`{` without `}`"),
                    }
                }
                if !is_claim(&claim) {
                    return Err("no claim's name between `{` and `}`");
                }
                pieces.push(Piece::Claim(claim));
            }
            '}' => return Err("`}` without `{`"),
            ' '..='~' => literal.push(character),
            _ => return Err("a character that does not belong in a header field"),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    if pieces.is_empty() {
        return Err("the text is empty");
    }
    Ok(Template(pieces))
}

/// Whether a text can be the name of a claim; URIs are usual.
pub(super) fn is_claim(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte))
}

/// Hop by hop (RFC 9110 §7.6.1), framing and routing.
const FRAMING: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "range",
];
/// What the gateway sets, consumes or removes.
const OURS: &[&str] = &[
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "client-cert",
    "client-cert-chain",
    "via",
    "origin",
    "traceparent",
    "tracestate",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let claim = |name: &str| Piece::Claim(name.to_owned());
        for (input, expected) in [
            ("{sub}", Ok(vec![claim("sub")])),
            ("user-{email}!", Ok(vec![text("user-"), claim("email"), text("!")])),
            ("{{{sub}}}", Ok(vec![text("{"), claim("sub"), text("}")])),
            ("{https://example.com/role}", Ok(vec![claim("https://example.com/role")])),
            ("fixed", Ok(vec![text("fixed")])),
            ("", Err("the text is empty")),
            ("{sub", Err("`{` without `}`")),
            ("sub}", Err("`}` without `{`")),
            ("{}", Err("no claim's name between `{` and `}`")),
            ("{a b}", Err("no claim's name between `{` and `}`")),
            ("a\r\nb", Err("a character that does not belong in a header field")),
            ("ü", Err("a character that does not belong in a header field")),
        ] {
            assert_eq!(template(input), expected.map(Template), "{input}");
        }
    }

    #[test]
    fn header_names() {
        for (input, expected) in [
            ("X-Forwarded-User", Ok("x-forwarded-user")),
            ("X User", Err("not a header name")),
            (":path", Err("not a header name")),
            ("Transfer-Encoding", Err("this header field frames or routes the request")),
            ("Host", Err("this header field frames or routes the request")),
            ("Authorization", Err("the gateway itself sets or removes this header field")),
            ("cookie", Err("the gateway itself sets or removes this header field")),
        ] {
            assert_eq!(
                header_name(input).as_ref().map(HeaderName::as_str),
                expected.as_ref().copied(),
                "{input}"
            );
        }
    }
}
