//! What follows the end of a session: it is counted, told, its token revoked.
//!
//! The end itself is decided in the record; nothing here can undo it. Revocation is tried for a while in the
//! background: 503 means that the token still exists (RFC 7009 §2.2.1, std:155).

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::oidc::{RevokeError, TokenKind};
use crate::session::model::Session;
use crate::session::mutation::{self, Mutation};
use crate::session::refresh::record::{Aftermath, EndCause};
use crate::telemetry::audit::{AuditEvent, RevocationResult, SessionTag};

impl Shared {
    /// Notes an end and revokes in the background.
    pub(super) fn follow_up(self: &Arc<Self>, aftermath: Aftermath) {
        if let Some(acknowledged) =
            aftermath.acknowledged.filter(|_| !mutation::is(Mutation::AcknowledgementLost))
        {
            self.acknowledge(acknowledged);
        }
        if let (Some(cause), Some(session)) = (aftermath.ended, &aftermath.session) {
            self.metrics.session_ended(cause);
            let tag = SessionTag::of(session.sid.as_bytes());
            AuditEvent::SessionEnded { session: tag, subject: &session.identity.subject, cause }.emit();
        }
        let for_all = aftermath
            .ended
            .filter(|cause| is_news(*cause) && !mutation::is(Mutation::EndKeptToItself))
            .zip(aftermath.session);
        let for_all = for_all.filter(|_| self.fleet.is_some());
        let revoke = aftermath.revoke.filter(|session| session.tokens.refresh.is_some());
        if for_all.is_none() && revoke.is_none() {
            return;
        }
        let (shared, later) = (Arc::clone(self), self.tasks.clone());
        // Shutdown waits for the first attempt; it does not wait for a provider that is down.
        self.tasks.spawn(async move {
            let mut revoke = revoke;
            if let Some((cause, session)) = for_all {
                let stored = shared.end_for_all(&session, cause).await;
                // What another replica made last is what is to be revoked.
                let newer = stored.and_then(|stored| shared.open_successor(&stored));
                if let Some((newer, _)) = newer
                    && cause.is_revocable()
                    && revoke.as_ref().is_none_or(|known| newer.generation > known.generation)
                {
                    revoke = Some(newer);
                }
            }
            let Some(revoke) = revoke else { return };
            if !shared.revoke(&revoke).await {
                later.spawn_endless(async move { shared.revoke_later(&revoke).await });
            }
        });
    }

    /// Tries to revoke once; whether that is the end of it. std:155: 503 means that the token still exists.
    async fn revoke(&self, session: &Session) -> bool {
        let Some(token) = &session.tokens.refresh else { return true };
        let result = match self.provider.revoke(token, TokenKind::Refresh).await {
            Ok(()) => RevocationResult::Revoked,
            Err(RevokeError::NotOffered) => RevocationResult::Unsupported,
            Err(RevokeError::Refused(_)) => RevocationResult::Failed,
            Err(RevokeError::Retry) => return false,
        };
        AuditEvent::Revocation { session: SessionTag::of(session.sid.as_bytes()), result }.emit();
        true
    }

    async fn revoke_later(&self, session: &Session) {
        for pause in REVOKE_PAUSES {
            tokio::time::sleep(pause).await;
            if self.revoke(session).await {
                return;
            }
        }
        let session = SessionTag::of(session.sid.as_bytes());
        AuditEvent::Revocation { session, result: RevocationResult::Failed }.emit();
    }
}

/// Whether other replicas must be told of an end. Past its time a session is for everyone, by its cookie.
const fn is_news(cause: EndCause) -> bool {
    match cause {
        EndCause::Logout
        | EndCause::InvalidGrant
        | EndCause::Rollback
        | EndCause::Replaced
        | EndCause::IdTokenMismatch => true,
        // The operator's own word is in the log.
        EndCause::Operator | EndCause::Lifetime | EndCause::Idle => false,
    }
}

/// How often and with what pauses a revocation is tried again.
const REVOKE_PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];
