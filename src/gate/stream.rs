//! When a response that goes on must end: with its session.
//!
//! The verdict about a request holds for its response, however long that takes. What a WebSocket or a stream of events
//! may outlive is decided here, again and again while it lasts (std:165).

use super::Gate;
use super::verdict::ForwardPlan;
use crate::session::sessions::Pulse;
use crate::session::ticket::Ticket;

/// A response that goes on, and whose.
#[derive(Debug, Clone)]
pub struct Stream {
    session: Ticket,
}

/// Why a response must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// Its session was ended, or is past its time.
    SessionOver,
    /// Nobody knows whether its session was ended, and by configuration nobody passes then.
    SessionUnknown,
}

impl StreamEnd {
    /// The reason code in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SessionOver => "stream_session_over",
            Self::SessionUnknown => "stream_session_unknown",
        }
    }
}

impl ForwardPlan {
    /// The response as one that goes on; `None` where nothing ends it but its upstream or its client.
    pub fn stream(&self) -> Option<Stream> {
        self.session.clone().map(|session| Stream { session })
    }
}

impl Gate {
    /// Why a response must end now; `None` while it may go on.
    pub async fn stream_end(&self, stream: &Stream) -> Option<StreamEnd> {
        match self.sessions.pulse(&stream.session).await {
            Pulse::Lives => None,
            Pulse::Over => Some(StreamEnd::SessionOver),
            Pulse::Unknown => Some(StreamEnd::SessionUnknown),
        }
    }
}
