//! Whether a session still lives while one of its responses goes on.
//!
//! A request is judged once, when it comes. A WebSocket or a stream of events lasts for hours after that, and what
//! was true then may be so no more. Asking is no use of the session: a stream that only stays open keeps no session
//! from being idle.

use super::Sessions;
use crate::session::refresh::record::{EndCause, Lesson};
use crate::session::registry::Over;
use crate::session::ticket::Ticket;

/// What became of the session of a request that is still being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// It lives.
    Lives,
    /// It was ended, or is past its time.
    Over,
    /// Nobody knows, and by configuration nobody passes then.
    Unknown,
}

impl Sessions {
    /// Whether the session of `ticket` still lives, here and by the word of every other replica.
    pub async fn pulse(&self, ticket: &Ticket) -> Pulse {
        let shared = &self.shared;
        if shared.fleet.as_ref().is_some_and(|fleet| fleet.is_blind()) {
            return Pulse::Unknown;
        }
        match shared.registry.over(&ticket.session, shared.clock.now()) {
            None => Pulse::Lives,
            Some(Over::Ended) => Pulse::Over,
            // Another replica may have seen it in use, where there is one.
            Some(Over::PastItsTime(EndCause::Idle)) if shared.fleet.is_some() => {
                Box::pin(self.second_pulse(ticket)).await
            }
            Some(Over::PastItsTime(_)) => Pulse::Over,
        }
    }

    /// Whether the access token that a request was forwarded with is over.
    pub fn is_token_over(&self, ticket: &Ticket) -> bool {
        self.shared.clock.now() >= ticket.session.tokens.access_expires_at
    }

    async fn second_pulse(&self, ticket: &Ticket) -> Pulse {
        let shared = &self.shared;
        let Some(fleet) = &shared.fleet else { return Pulse::Over };
        let sid = ticket.session.sid;
        match fleet.look_up(sid).await {
            Ok(Some(stored)) if stored.ended().is_none() => {
                let newest = shared.open_successor(&stored).map(|(newest, _)| newest);
                shared.registry.learn(&sid, Lesson { newest, generations: stored.generations });
            }
            Ok(_) => {}
            // A fault of the store ends nothing.
            Err(_) => return Pulse::Lives,
        }
        match shared.registry.over(&ticket.session, shared.clock.now()) {
            None => Pulse::Lives,
            Some(Over::Ended | Over::PastItsTime(_)) => Pulse::Over,
        }
    }
}
