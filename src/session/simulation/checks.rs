//! What is looked at inside replicas and store, beyond what passes between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ledger::{Came, Case};
use super::provider::numbers;
use super::world::{Replica, World};
use crate::session::model::{Generation, SessionId};
use crate::session::refresh::record::{EndCause, Refused};
use crate::session::settings::AfterUnknown;

/// The newest generation of each session that a process was seen to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<[u8; 16], Generation>>>);

impl World {
    /// Rule 4: what a process knows of a session only ever grows.
    pub(super) fn grows(&self, replica: &Replica, sid: &SessionId) {
        let Some(newest) = newest(replica, sid) else { return };
        let mut known = replica.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.entry(*sid.as_bytes()).or_default();
        if newest < *before {
            let how = format!("replica {} knew generation {before} and knows {newest}", replica.number);
            self.ledger.broken("R4", &how);
        }
        *before = newest;
    }

    /// Rule 6: a grant that lives has no session that was ended for it, where a newer generation was known.
    pub(super) fn ended_rightly(&self, came: &Came, refused: &Refused) {
        let Some(case) = self.ledger.case(&came.sid) else { return };
        if *refused != Refused::Ended(EndCause::InvalidGrant) || self.provider.dead(case.grant).is_some() {
            return;
        }
        // A provider that refuses a spent token and lets the grant live: whoever went alone has learnt nothing.
        let newer =
            |process: &Replica| newest(process, &came.sid).is_some_and(|newest| newest > came.generation);
        // With a lease it is different: who has one need not know of somebody who went alone.
        let alone = self.store.is_cut(came.replica % 10)
            && self.provider.refused_last(case.grant) == Some(came.replica)
            && self.processes().iter().any(newer);
        if alone || !self.provider.refuses() {
            self.ledger.broken("R6", &format!("{came:?} was ended for a grant that lives"));
        }
    }

    /// Nobody knows which flights of a killed process had a lease; without a second attempt each is lost with one.
    pub(super) fn may_hold_leases(&self, replica: &Replica, why: &'static str) {
        if self.ledger.setup.after_unknown == AfterUnknown::Login {
            for sid in replica.sessions.shared().registry.flying() {
                if let Some(case) = self.ledger.case(&sid) {
                    self.ledger.excuse(case.grant, why);
                }
            }
        }
    }

    /// A process cannot tell what becomes of the leases that it has.
    pub(super) fn lapse(&self, replica: &Replica, why: &'static str) {
        let holder = replica.sessions.shared().fleet.as_ref().unwrap().holder();
        for sid in self.store.leases(holder) {
            let newest = replica.sessions.shared().registry.newest(&sid);
            let token = newest.as_ref().and_then(|session| session.tokens.refresh.as_ref());
            if let Some(token) = token.and_then(|token| numbers(token.expose())) {
                self.provider.lapse(token, replica.number, why);
            }
        }
    }

    /// Rule 3: in the end the store knows every generation that a process has.
    pub(super) async fn store_knows(&self, replica: &Replica, sid: &SessionId, case: &Case) {
        let Some(has) = newest(replica, sid).filter(|newest| *newest > 1) else { return };
        let shared = replica.sessions.shared();
        let Some(fleet) = &shared.fleet else { return };
        let Ok(stored) = fleet.look_up(*sid).await else { return };
        let stored = stored.map_or(0, |stored| if stored.ended().is_some() { has } else { stored.newest });
        if stored < has {
            let how = format!("replica {} has generation {has}, the store {stored}", replica.number);
            self.ledger.broken("R3", &format!("grant {}: {how}", case.grant));
        }
    }
}

fn newest(replica: &Replica, sid: &SessionId) -> Option<Generation> {
    replica.sessions.shared().registry.newest(sid).map(|session| session.generation)
}
