//! `session` and `refresh`: sessions and their cookie, as typed.

use crate::config::reader::{At, section, words};
use crate::config::secrets::KeyText;
use crate::config::values::Period;

section! {
    /// Sessions and their cookie.
    Session
    required {
        /// Keys that seal the cookie, of 256 bits each: the first seals, all open. `bearward keygen` makes one. To
        /// rotate, put the new key first and drop the old one after `lifetime`.
        keys: Vec<At<KeyText>>,
    }
    optional {
        /// How long a session may be unused. 1 hour, or `lifetime` if that is shorter.
        idle_timeout: Period,
        /// How long a cookie still works that a newer one has superseded. 5 minutes, or `lifetime` if that is
        /// shorter.
        grace: Period,
    }
    defaults {
        /// The cookie.
        cookie: Cookie = {},
        /// How long a session lasts whatever happens; at most a year.
        lifetime: Period = "12h",
        /// What a cookie does that was superseded longer than `grace` ago: it may have been stolen.
        rollback: Rollback = "end",
        /// Claims kept in the session besides `sub`. Claims that header templates use are kept anyway.
        claims: Vec<At<String>> = ["name", "email", "preferred_username", "groups"],
        /// Whether the ID token is kept in the cookie, for `id_token_hint` at logout. It makes the cookie larger.
        keep_id_token: bool = false,
        /// How many sessions one replica remembers.
        capacity: u32 = 100000,
    }
}

section! {
    /// The session cookie.
    Cookie
    optional {
        /// Its name. `__Host-bearward` where `public_url` is https, else `bearward`.
        name: String,
    }
    defaults {
        /// Its `SameSite` attribute.
        same_site: SameSite = "lax",
    }
}

words! {
    /// A cookie's `SameSite` attribute.
    SameSite {
        /// Sent with navigations from other sites.
        Lax = "lax",
        /// Never sent with requests from other sites. Not supported yet.
        Strict = "strict",
    }
}

words! {
    /// What a cookie does that was superseded longer than the grace ago.
    Rollback {
        /// It ends the session for everyone who holds it.
        End = "end",
        /// Its request is refused, the session lives on.
        Reject = "reject",
    }
}

section! {
    /// How access tokens are refreshed.
    Refresh
    defaults {
        /// What follows a refresh that was sent and never answered.
        after_unknown: AfterUnknown = "retry_once",
        /// How long a request waits for a refresh before it is answered 503.
        wait: Period = "10s",
    }
}

words! {
    /// What follows a refresh that was sent and never answered.
    AfterUnknown {
        /// One more attempt with the same refresh token; without it the session is lost for certain.
        RetryOnce = "retry_once",
        /// A login when the access token has run out, for providers that raise an alarm at a second attempt.
        Login = "login",
    }
}
