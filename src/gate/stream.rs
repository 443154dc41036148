//! When a response that goes on must end: with its session, its token, at a limit.
//!
//! The verdict about a request holds for its response, however long that takes. What a WebSocket or a stream of events
//! may outlive is decided here, again and again while it lasts (std:165).

use std::sync::Arc;
use std::time::Duration;

use super::Gate;
use super::settings::{Route, WhenTokenEnds};
use super::verdict::ForwardPlan;
use crate::session::sessions::Pulse;
use crate::session::ticket::Ticket;

/// A response that goes on: by which rules, and whose it is.
#[derive(Debug, Clone)]
pub struct Stream {
    route: Arc<Route>,
    session: Option<Ticket>,
}

/// Why a response must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// Its session was ended, or is past its time.
    SessionOver,
    /// Nobody knows whether its session was ended, and by configuration nobody passes then.
    SessionUnknown,
    /// The access token that its request was forwarded with ran out.
    TokenOver,
    /// It lasted as long as its route allows.
    LimitReached,
}

impl StreamEnd {
    /// The reason code in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SessionOver => "stream_session_over",
            Self::SessionUnknown => "stream_session_unknown",
            Self::TokenOver => "stream_token_over",
            Self::LimitReached => "stream_limit",
        }
    }
}

impl ForwardPlan {
    /// The response as one that goes on; `None` where nothing ends it but its upstream or its client.
    pub fn stream(&self) -> Option<Stream> {
        let ends = self.session.is_some() || self.route.stream.limit.is_some();
        ends.then(|| Stream { route: Arc::clone(&self.route), session: self.session.clone() })
    }
}

impl Gate {
    /// Why a response that has `lasted` so long must end now; `None` while it may go on.
    pub async fn stream_end(&self, stream: &Stream, lasted: Duration) -> Option<StreamEnd> {
        let rules = stream.route.stream;
        if rules.limit.is_some_and(|limit| lasted >= limit) {
            return Some(StreamEnd::LimitReached);
        }
        let session = stream.session.as_ref()?;
        match self.sessions.pulse(session).await {
            Pulse::Over => return Some(StreamEnd::SessionOver),
            Pulse::Unknown => return Some(StreamEnd::SessionUnknown),
            Pulse::Lives => {}
        }
        match rules.when_token_ends {
            WhenTokenEnds::GoOn => None,
            WhenTokenEnds::Close => self.sessions.is_token_over(session).then_some(StreamEnd::TokenOver),
        }
    }
}
