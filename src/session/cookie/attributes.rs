//! Writes `Set-Cookie`: setting and deleting share one builder.
//!
//! A deletion that lacks an attribute of the cookie is ignored by browsers for `__Host-` names (std:93,
//! CVE-2025-55162).

use std::time::Duration;

use http::HeaderValue;

use crate::session::settings::{Cookie, SameSite, Secure};

/// How long the browser keeps a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// For this long.
    For(Duration),
    /// Not at all: the cookie is deleted.
    Delete,
}

/// `Set-Cookie` of a cookie called `name` with the attributes of `cookie`.
///
/// `None` where the name or value cannot stand in a header field; ours always can.
pub fn set_cookie(name: &str, value: &str, life: Life, cookie: &Cookie) -> Option<HeaderValue> {
    let same_site = match cookie.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
    };
    let secure = match cookie.secure {
        Secure::Required => "; Secure",
        Secure::Loopback => "",
    };
    let (value, seconds) = match life {
        Life::For(life) => (value, life.as_secs()),
        Life::Delete => ("", 0),
    };
    // std:83, std:84: Secure, HttpOnly, Path=/, no Domain, explicit SameSite.
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly{secure}; SameSite={same_site}");
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(secure: Secure) -> Cookie {
        Cookie { name: "__Host-bearward".to_owned(), same_site: SameSite::Lax, secure }
    }

    #[test]
    fn setting_and_deleting_carry_the_same_attributes() {
        // std:93
        let cookie = cookie(Secure::Required);
        let set = set_cookie(&cookie.name, "v", Life::For(Duration::from_secs(60)), &cookie).unwrap();
        let delete = set_cookie(&cookie.name, "v", Life::Delete, &cookie).unwrap();
        assert_eq!(set, "__Host-bearward=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax");
        assert_eq!(delete, "__Host-bearward=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
        assert!(set.is_sensitive());
    }

    #[test]
    fn only_a_loopback_origin_goes_without_secure() {
        let cookie = cookie(Secure::Loopback);
        let set = set_cookie("bearward", "v", Life::Delete, &cookie).unwrap();
        assert_eq!(set, "bearward=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
