//! Denials: which sessions were ended, by name, by user or by time.
//!
//! A session that a replica knows is ended in its registry when the denial arrives. What is kept here is asked when
//! a session is first seen: a cookie that opens may belong to one that was ended before this replica knew it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::model::{Session, SessionId};
use super::refresh::record::EndCause;
use super::refresh::stored::Cause;
use crate::base::time::Timestamp;
use crate::telemetry::audit::SessionTag;

/// What replicas tell each other of sessions that were ended. A stored format.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Denial {
    /// One session.
    Session {
        /// Which one.
        sid: SessionId,
        /// Why.
        cause: Cause,
    },
    /// One session by the name that logs give it, which is all that an operator knows of it.
    Tagged {
        /// [`SessionTag::bits`].
        tag: u64,
    },
    /// Every session of a user that began at `before` or earlier (OIDC Back-Channel Logout 1.0 §2.4: `sub`).
    Subject {
        /// The provider's issuer identifier.
        issuer: String,
        /// The user's `sub` there.
        subject: String,
        /// The last login that is denied.
        before: Timestamp,
    },
    /// Every session that began at `before` or earlier.
    Everyone {
        /// The last login that is denied.
        before: Timestamp,
    },
}

impl Denial {
    /// Whether it speaks of `session`.
    pub(crate) fn covers(&self, session: &Session) -> bool {
        match self {
            Self::Session { sid, .. } => *sid == session.sid,
            Self::Tagged { tag } => *tag == SessionTag::of(session.sid.as_bytes()).bits(),
            Self::Subject { issuer, subject, before } => {
                session.login_at <= *before
                    && session.identity.issuer == *issuer
                    && session.identity.subject == *subject
            }
            Self::Everyone { before } => session.login_at <= *before,
        }
    }

    /// Why the session is ended.
    pub(crate) fn cause(&self) -> EndCause {
        match self {
            Self::Session { cause, .. } => (*cause).into(),
            Self::Tagged { .. } | Self::Subject { .. } | Self::Everyone { .. } => EndCause::Operator,
        }
    }
}

/// Every denial that may still meet a cookie.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    sessions: HashMap<SessionId, (Cause, Timestamp)>,
    tags: HashMap<u64, Timestamp>,
    /// By issuer and subject.
    subjects: HashMap<(String, String), (Timestamp, Timestamp)>,
    everyone: Option<Timestamp>,
}

impl Denied {
    /// Takes in a denial; no cookie that it covers is good after `until`.
    pub(crate) fn add(&mut self, denial: &Denial, until: Timestamp) {
        match denial {
            Denial::Session { sid, cause } => {
                self.sessions.entry(*sid).or_insert((*cause, until));
            }
            Denial::Tagged { tag } => {
                self.tags.insert(*tag, until);
            }
            Denial::Subject { issuer, subject, before } => {
                let user = (issuer.clone(), subject.clone());
                let entry = self.subjects.entry(user).or_insert((*before, until));
                *entry = (entry.0.max(*before), entry.1.max(until));
            }
            Denial::Everyone { before } => self.everyone = self.everyone.max(Some(*before)),
        }
    }

    /// Why `session` was ended, if it was.
    pub(crate) fn cause_of(&self, session: &Session) -> Option<EndCause> {
        if let Some((cause, _)) = self.sessions.get(&session.sid) {
            return Some((*cause).into());
        }
        let everyone = self.everyone.is_some_and(|before| session.login_at <= before);
        let tagged =
            !self.tags.is_empty() && self.tags.contains_key(&SessionTag::of(session.sid.as_bytes()).bits());
        let identity = &session.identity;
        let subject = !self.subjects.is_empty()
            && self
                .subjects
                .get(&(identity.issuer.clone(), identity.subject.clone()))
                .is_some_and(|(before, _)| session.login_at <= *before);
        (everyone || tagged || subject).then_some(EndCause::Operator)
    }

    /// All of them in one order, to be written again where the store lost them.
    pub(crate) fn all(&self) -> Vec<Denial> {
        let sessions =
            self.sessions.iter().map(|(sid, (cause, _))| Denial::Session { sid: *sid, cause: *cause });
        let tags = self.tags.keys().map(|tag| Denial::Tagged { tag: *tag });
        let subjects = self.subjects.iter().map(|((issuer, subject), (before, _))| Denial::Subject {
            issuer: issuer.clone(),
            subject: subject.clone(),
            before: *before,
        });
        let everyone = self.everyone.map(|before| Denial::Everyone { before });
        let mut all: Vec<_> = sessions.chain(tags).chain(subjects).chain(everyone).collect();
        all.sort_unstable();
        all
    }

    /// Forgets what can meet no cookie any more.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.sessions.retain(|_, (_, until)| now < *until);
        self.tags.retain(|_, until| now < *until);
        self.subjects.retain(|_, (_, until)| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::refresh::record::tests::{START, session};

    fn denied(denial: &Denial) -> Option<EndCause> {
        let session = session(3);
        let mut denied = Denied::default();
        denied.add(denial, START.plus(Duration::from_secs(10)));
        let cause = denied.cause_of(&session);
        assert_eq!(cause.is_some(), denial.covers(&session), "known sessions and new ones get the same");
        denied.sweep(START.plus(Duration::from_secs(10)));
        if !matches!(denial, Denial::Everyone { .. }) {
            assert_eq!(denied.cause_of(&session), None, "forgotten in time");
        }
        cause
    }

    #[test]
    fn a_denial_covers_what_it_names_and_nothing_else() {
        let sid = session(3).sid;
        let earlier = START.minus(Duration::from_millis(1));
        let subject = |issuer: &str, subject: &str, before| Denial::Subject {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            before,
        };
        let issuer = "https://id.example.com";
        for (denial, expected) in [
            (Denial::Session { sid, cause: Cause::Logout }, Some(EndCause::Logout)),
            (Denial::Session { sid: SessionId::from_bytes([1; 16]), cause: Cause::Logout }, None),
            (Denial::Tagged { tag: SessionTag::of(sid.as_bytes()).bits() }, Some(EndCause::Operator)),
            (Denial::Tagged { tag: 7 }, None),
            (subject(issuer, "alice", START), Some(EndCause::Operator)),
            (subject(issuer, "alice", earlier), None),
            (subject(issuer, "bob", START), None),
            (subject("https://other.example.com", "alice", START), None),
            (Denial::Everyone { before: START }, Some(EndCause::Operator)),
            (Denial::Everyone { before: earlier }, None),
        ] {
            assert_eq!(denied(&denial), expected, "{denial:?}");
        }
    }
}
