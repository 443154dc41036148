//! The lines where each rule of sessions could be broken, and a switch.
//!
//! [`is`] is `false` and costs nothing outside of unit tests. There, the simulation breaks one rule at a time to
//! prove that it would notice.

/// A way to break a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Rule 1: several replicas hold the lease of one session.
    LeaseForEverybody,
    /// Rule 1: a lease that ran out is a free licence to spend the token.
    LostLeaseIsFree,
    /// Rule 1: an outcome that stayed unknown is repeated as often as anybody likes.
    UnknownIsForgotten,
    /// Rule 1: several flights of one replica spend one token.
    FlightForEachRequest,
    /// Rule 1: an old token is spent although a newer generation is known.
    SpendsTheOld,
    /// Rule 2: a flight ends with the patience of a client.
    #[cfg(test)]
    FlightOfTheClient,
    /// Rule 3: the successor is used first and kept later.
    #[cfg(test)]
    KeptAfterUse,
    /// Rule 3: the successor is kept by the replica that made it, and nowhere else.
    KeptHereOnly,
    /// Rule 3: what another replica made is not taken over.
    SuccessorIgnored,
    /// Rule 4: the cookie is that of the moment when the request came.
    CookieOfTheTicket,
    /// Rule 4: what was taken over from others may be older.
    LearnsBackwards,
    /// Rule 5: a flight keeps what it gets, although the session was ended.
    FlightUndoesEnd,
    /// Rule 5: a token that arrives after the end is not revoked.
    LateTokenLives,
    /// Rule 5: other replicas are not told of an end.
    EndKeptToItself,
    /// Rule 5: denials are not asked when a session is first seen.
    AdoptsTheDenied,
    /// Rule 5: the log of denials is read with gaps.
    LogWithGaps,
    /// Rule 5: after an outage the log of denials is not followed any more.
    LogLeftBehind,
    /// Rule 6: a request without an answer ends the session.
    SilenceEnds,
    /// Rule 6: `invalid_grant` ends a session of which a newer generation is known.
    RefusalIsFinal,
    /// Rule 6: a copy that is past its time ends a session that is in use elsewhere.
    StaleCopyEnds,
    /// Rule 7: a response without a refresh token forgets the old one.
    RefreshTokenForgotten,
    /// Rule 8: any request starts a refresh.
    RefreshForAnybody,
    /// Rule 9: a request asks the store on its way.
    StoreOnTheWay,
    /// Rule 10: shutdown does not wait for flights.
    DrainLeavesFlights,
    /// The fleet: a result that comes late overwrites a newer one.
    LateResultWins,
    /// The fleet: nobody is told that a generation was shown.
    AcknowledgementLost,
    /// The fleet: what was made alone overwrites what is newer.
    CatchUpOverwrites,
    /// The fleet: what was made alone is not brought to the store.
    NothingIsBrought,
    /// The fleet: each replica goes by its own clock.
    OwnClock,
}

#[cfg(not(test))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switch::{ALL, is, of_the_client, set};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use std::future::Future;
    use std::time::Duration;

    use super::Mutation;

    /// Every one, with the rule that it breaks.
    pub(crate) const ALL: &[(&str, Mutation)] = &[
        ("rule 1", Mutation::LeaseForEverybody),
        ("rule 1", Mutation::LostLeaseIsFree),
        ("rule 1", Mutation::UnknownIsForgotten),
        ("rule 1", Mutation::FlightForEachRequest),
        ("rule 1", Mutation::SpendsTheOld),
        ("rule 2", Mutation::FlightOfTheClient),
        ("rule 3", Mutation::KeptAfterUse),
        ("rule 3", Mutation::KeptHereOnly),
        ("rule 3", Mutation::SuccessorIgnored),
        ("rule 4", Mutation::CookieOfTheTicket),
        ("rule 4", Mutation::LearnsBackwards),
        ("rule 5", Mutation::FlightUndoesEnd),
        ("rule 5", Mutation::LateTokenLives),
        ("rule 5", Mutation::EndKeptToItself),
        ("rule 5", Mutation::AdoptsTheDenied),
        ("rule 5", Mutation::LogWithGaps),
        ("rule 5", Mutation::LogLeftBehind),
        ("rule 6", Mutation::SilenceEnds),
        ("rule 6", Mutation::RefusalIsFinal),
        ("rule 6", Mutation::StaleCopyEnds),
        ("rule 7", Mutation::RefreshTokenForgotten),
        ("rule 8", Mutation::RefreshForAnybody),
        ("rule 9", Mutation::StoreOnTheWay),
        ("rule 10", Mutation::DrainLeavesFlights),
        ("the fleet", Mutation::LateResultWins),
        ("the fleet", Mutation::AcknowledgementLost),
        ("the fleet", Mutation::CatchUpOverwrites),
        ("the fleet", Mutation::NothingIsBrought),
        ("the fleet", Mutation::OwnClock),
    ];

    thread_local! {
        static BROKEN: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether this line is to be wrong.
    pub(crate) fn is(mutation: Mutation) -> bool {
        BROKEN.get() == Some(mutation)
    }

    /// A flight, as long as a client waits for it.
    pub(crate) async fn of_the_client(flight: impl Future<Output = ()>) {
        if is(Mutation::FlightOfTheClient) {
            // What is cut short is the mutation.
            drop(tokio::time::timeout(Duration::from_millis(250), flight).await);
        } else {
            flight.await;
        }
    }

    /// Breaks one rule on this thread, or none.
    pub(crate) fn set(mutation: Option<Mutation>) {
        BROKEN.set(mutation);
    }
}
