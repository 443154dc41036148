//! Ends sessions on an operator's word: one, a user's, or all.

use super::Sessions;
use crate::session::denied::Denial;
use crate::store::StoreError;
use crate::telemetry::audit::{AuditEvent, SessionTag};

/// Which sessions an operator ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// One session, by the name that logs give it.
    Session(SessionTag),
    /// Every session of a user that has begun by now.
    Subject(String),
    /// Every session that has begun by now.
    Everyone,
}

impl Sessions {
    /// Ends the sessions of `selected`, here at once and at every replica within 5 s; those that a replica does not
    /// know yet are ended when their cookie appears. Returns how many were known here.
    ///
    /// # Errors
    /// Where other replicas could not be told. This one has ended them all the same; asking again does no harm.
    pub async fn end_selected(&self, selected: &Selected) -> Result<usize, StoreError> {
        let shared = &self.shared;
        let before = shared.clock.now();
        let (denial, scope) = match selected {
            Selected::Session(tag) => (Denial::Tagged { tag: tag.bits() }, "session"),
            Selected::Subject(subject) => {
                let issuer = shared.provider.settings().issuer.clone();
                (Denial::Subject { issuer, subject: subject.clone(), before }, "subject")
            }
            Selected::Everyone => (Denial::Everyone { before }, "everyone"),
        };
        let ended = shared.deny(&denial);
        AuditEvent::OperatorEnd { scope, ended }.emit();
        if let Some(fleet) = &shared.fleet {
            fleet.deny(&denial).await?;
        }
        Ok(ended)
    }
}
