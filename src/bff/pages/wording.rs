//! What a denial is called in plain words.
//!
//! The texts are for people who did nothing wrong and want to go on; reason codes are for everyone else.

use crate::gate::denial::Denial;

/// The words for a denial.
pub(super) struct Wording {
    /// A few words.
    pub(super) title: &'static str,
    /// A sentence or two: what happened, and what it means for the user.
    pub(super) text: &'static str,
}

/// The words for `denial`. Exhaustive on purpose: a new reason needs its own.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) const fn of(denial: &Denial) -> Wording {
    let (title, text) = match denial {
        Denial::NoRoute => ("There is nothing here", "No page or service lives at this address."),
        Denial::HostNotServed => {
            ("This site is not served here", "The request came to a server that does not know its host name.")
        }
        Denial::MethodNotAllowed(_) => {
            ("This cannot be done here", "The address exists, but it does not take this kind of request.")
        }
        Denial::AmbiguousPath(_) => {
            ("This address is not clear", "It can be read in more than one way, so it was not passed on.")
        }
        Denial::BadRequest(_) => {
            ("The request was not understood", "Something on the way from the browser made it unreadable.")
        }
        Denial::HeadTooLarge => (
            "The request was too large",
            "The browser sent more header data than is allowed; old cookies of this site are the usual cause.",
        ),
        Denial::CookiesTooLarge => (
            "Too many cookies",
            "The browser keeps more cookies for this site than it takes. Deleting this site's cookies helps.",
        ),
        Denial::UriTooLong => ("The address is too long", "It is longer than this site takes."),
        Denial::BodyTooLarge => ("Too much was sent", "The form or file is larger than this page takes."),
        Denial::BodyTimeout => (
            "It took too long to arrive",
            "What was sent came too slowly, or not at all. A better connection helps.",
        ),
        Denial::ExpectationFailed => {
            ("The request expects too much", "It asks for a behaviour that this site does not know.")
        }
        Denial::NoSession => ("Please log in", "This page is for people who are logged in."),
        Denial::SessionEnded => ("Your session has ended", "You were logged out, here or in another tab."),
        Denial::SessionExpired => {
            ("Your session has expired", "It was open for its full time, or nobody used it for a while.")
        }
        Denial::SessionReplaced => (
            "You logged in again",
            "This request still carried the session of before. Opening the page again helps.",
        ),
        Denial::RolledBack => (
            "Please log in again",
            "The browser sent an outdated copy of its session. That happens after it was restored from a backup.",
        ),
        Denial::NoRefreshToken => {
            ("Your session has run out", "It could not be prolonged; a login makes a new one.")
        }
        Denial::LoginRequired(_) => {
            ("Please log in again", "The identity provider wants to see you before your session can go on.")
        }
        Denial::RefreshUnknown => (
            "Please log in again",
            "The identity provider did not answer while your session was being renewed.",
        ),
        Denial::RefreshNotAllowed => (
            "Your session needs renewing",
            "This request could not renew it. Opening the page again usually does.",
        ),
        Denial::ProviderUnavailable { .. } => (
            "Please try again in a moment",
            "The identity provider cannot be reached right now. If you were logged in, you still are.",
        ),
        Denial::StoreUnavailable { .. } => (
            "Please try again in a moment",
            "A part of this service cannot be reached right now. If you were logged in, you still are.",
        ),
        Denial::CrossSite => {
            ("This request was stopped", "Another website caused it, so it was not carried out for you.")
        }
        Denial::OriginNotAllowed => {
            ("This connection was stopped", "It was opened by a website that may not use this service.")
        }
        Denial::PreflightRefused => {
            ("This request was stopped", "Pages of that website may not read what this address answers.")
        }
        Denial::UpstreamUnreachable | Denial::UpstreamDown { .. } => (
            "The service is not reachable",
            "The part behind this page does not answer. Your login is not affected.",
        ),
        Denial::UpstreamBusy => (
            "Please try again in a moment",
            "The part behind this page has all it can do. Your login is not affected.",
        ),
        Denial::UpstreamTimeout => (
            "The service took too long",
            "The part behind this page did not answer in time. Your login is not affected.",
        ),
        Denial::Loop => {
            ("This address leads in a circle", "The request came back to the gateway that had sent it on.")
        }
        Denial::Misdirected => (
            "The request took a wrong connection",
            "It was sent on a connection that was made for another name. Opening the page again helps.",
        ),
    };
    Wording { title, text }
}

/// The text for programs: the same, and what exactly was wrong where that is known.
pub(super) fn detail(denial: &Denial) -> String {
    let text = of(denial).text;
    if let Denial::AmbiguousPath(what) | Denial::BadRequest(what) = denial {
        return format!("{text} Cause: {what}.");
    }
    text.to_owned()
}
