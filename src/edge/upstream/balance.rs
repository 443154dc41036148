//! Which endpoint of an upstream serves a request.
//!
//! Plain arithmetic over a set of at most 64 endpoints: nothing is locked, allocated or remembered.

use std::sync::Arc;

use super::endpoint::Endpoint;
use crate::edge::settings::Balance;

/// A set of endpoints, by their places.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set(u64);

/// The most endpoints of one upstream.
pub(in crate::edge) const MOST: usize = 64;

impl Set {
    pub(super) const EMPTY: Self = Self(0);

    /// Those of `all` that are as wanted.
    pub(super) fn of(all: &[Arc<Endpoint>], wanted: impl Fn(&Endpoint) -> bool) -> Self {
        let mut set = Self::EMPTY;
        for (place, _) in (0..MOST).zip(all).filter(|(_, endpoint)| wanted(endpoint)) {
            set.add(place);
        }
        set
    }

    pub(super) fn add(&mut self, place: usize) {
        self.0 |= 1_u64.checked_shl(u32::try_from(place).unwrap_or(u32::MAX)).unwrap_or_default();
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    fn places(self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(move |place| self.0 >> place & 1 == 1)
    }
}

/// What a choice goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct By {
    pub(super) balance: Balance,
    /// Counts the requests of the upstream.
    pub(super) turn: usize,
    /// Whose request it is.
    pub(super) key: u64,
}

/// The place of one of `set`; `None` where it is empty.
pub(super) fn choose(all: &[Arc<Endpoint>], set: Set, by: By) -> Option<usize> {
    match by.balance {
        Balance::RoundRobin => round_robin(all, set, by.turn),
        Balance::LeastLoaded => least_loaded(all, set, by.turn),
        Balance::SessionHash => rendezvous(all, set, by.key),
    }
}

fn round_robin(all: &[Arc<Endpoint>], set: Set, turn: usize) -> Option<usize> {
    let weight = |place: usize| all.get(place).map_or(0, |endpoint| u64::from(endpoint.weight));
    let total: u64 = set.places().map(weight).sum();
    let mut weights = set.places().map(weight);
    let equal = weights.next().is_some_and(|first| weights.all(|other| other == first));
    if equal {
        return set.places().nth(turn.checked_rem(set.count())?);
    }
    // Steps of the golden ratio around a circle: however many were made, they lie about evenly, so that each arc gets
    // its share without bursts.
    let step = (turn as u64).wrapping_mul(GOLDEN);
    // The cast keeps the upper half, which is below `total`.
    let mut at = ((u128::from(step) * u128::from(total)) >> 64) as u64;
    for place in set.places() {
        if at < weight(place) {
            return Some(place);
        }
        at -= weight(place);
    }
    None
}

fn least_loaded(all: &[Arc<Endpoint>], set: Set, turn: usize) -> Option<usize> {
    // Among equals each has its turn.
    let from = turn.checked_rem(set.count())?;
    let places = set.places().skip(from).chain(set.places().take(from));
    let load = |place: usize| {
        let endpoint = all.get(place)?;
        Some((endpoint.standing.in_flight().saturating_add(1), u64::from(endpoint.weight)))
    };
    let mut best: Option<(usize, u64, u64)> = None;
    for place in places {
        let Some((load, weight)) = load(place) else { continue };
        // load / weight < least / its weight
        let less = best.is_none_or(|(_, least, of)| {
            u128::from(load) * u128::from(of) < u128::from(least) * u128::from(weight)
        });
        if less {
            best = Some((place, load, weight));
        }
    }
    best.map(|(place, _, _)| place)
}

/// Highest random weight: where an endpoint comes or goes, only its own share of the keys moves.
fn rendezvous(all: &[Arc<Endpoint>], set: Set, key: u64) -> Option<usize> {
    let distance = |place: usize| {
        let endpoint = all.get(place)?;
        // 53 bits, the precision of the type; never 0.
        let random = ((mix(key ^ endpoint.seed) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Some((place, -random.ln() / f64::from(endpoint.weight)))
    };
    let nearest = set.places().filter_map(distance).min_by(|(_, one), (_, other)| one.total_cmp(other));
    nearest.map(|(place, _)| place)
}

/// The same number for the same text, in every process and version.
pub(super) fn seed(text: &str) -> u64 {
    fold(0, text.as_bytes())
}

/// One number for `so_far` and what follows it.
pub(super) fn fold(so_far: u64, bytes: &[u8]) -> u64 {
    // FNV-1a
    let folded = bytes.iter().fold(so_far ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded)
}

/// The last steps of SplitMix64: numbers that are near become numbers that are not.
pub(super) const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint>> {
        let ports = 81_u16..;
        let one = |(port, weight): (u16, &u32)| Endpoint::told(&format!("http://192.0.2.1:{port}"), *weight);
        ports.zip(weights).map(one).collect()
    }

    fn by(balance: Balance, number: usize) -> By {
        By { balance, turn: number, key: mix(number as u64) }
    }

    fn shares(all: &[Arc<Endpoint>], set: Set, balance: Balance, requests: usize) -> Vec<usize> {
        let mut shares = vec![0; all.len()];
        for number in 0..requests {
            shares[choose(all, set, by(balance, number)).unwrap()] += 1;
        }
        shares
    }

    #[test]
    fn equal_endpoints_take_turns() {
        let all = endpoints(&[1, 1, 1]);
        let everybody = Set::of(&all, |_| true);
        let order: Vec<_> = (0..6).map(|turn| round_robin(&all, everybody, turn).unwrap()).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
        // Where one is out, its share goes to all the others.
        let mut second = Set::EMPTY;
        second.add(1);
        assert_eq!(shares(&all, everybody.without(second), Balance::RoundRobin, 100), [50, 0, 50]);
        assert_eq!(choose(&all, Set::EMPTY, by(Balance::RoundRobin, 1)), None);
    }

    #[test]
    fn weights_are_shares_without_bursts() {
        let all = endpoints(&[3, 1, 6]);
        let set = Set::of(&all, |_| true);
        let shares = shares(&all, set, Balance::RoundRobin, 1_000);
        for (share, expected) in shares.iter().zip([300_usize, 100, 600]) {
            assert!(share.abs_diff(expected) <= 5, "{shares:?}");
        }
        // The lightest is never long away.
        let mut away = 0;
        for turn in 0..1_000 {
            away = if round_robin(&all, set, turn) == Some(1) { 0 } else { away + 1 };
            assert!(away <= 20, "{turn}");
        }
    }

    #[test]
    fn the_least_loaded_is_chosen_by_its_weight() {
        let all = endpoints(&[1, 2]);
        let set = Set::of(&all, |_| true);
        let mut seats = Vec::new();
        for number in 0..30 {
            let place = choose(&all, set, by(Balance::LeastLoaded, number)).unwrap();
            assert!(all[place].standing.enter(None));
            seats.push(place);
        }
        assert_eq!((all[0].standing.in_flight(), all[1].standing.in_flight()), (10, 20));
        for _ in 0..10 {
            all[1].standing.leave();
        }
        assert_eq!(choose(&all, set, by(Balance::LeastLoaded, 0)), Some(1));
        // Idle equals take turns.
        let idle = endpoints(&[1, 1]);
        assert_eq!(shares(&idle, Set::of(&idle, |_| true), Balance::LeastLoaded, 10), [5, 5]);
    }

    #[test]
    fn a_key_stays_where_it_is_when_another_endpoint_goes() {
        let all = endpoints(&[1, 1, 2, 1]);
        let everybody = Set::of(&all, |_| true);
        let shares = shares(&all, everybody, Balance::SessionHash, 10_000);
        for (share, expected) in shares.iter().zip([2_000_usize, 2_000, 4_000, 2_000]) {
            assert!(share.abs_diff(expected) <= 200, "{shares:?}");
        }
        let mut gone = Set::EMPTY;
        gone.add(2);
        for key in (0..1_000).map(mix) {
            let before = rendezvous(&all, everybody, key).unwrap();
            let after = rendezvous(&all, everybody.without(gone), key).unwrap();
            assert!(before == after || before == 2);
            assert_ne!(after, 2);
        }
        // Replicas agree, in whatever order they name the endpoints.
        let turned: Vec<_> = all.iter().rev().cloned().collect();
        for key in (0..100).map(mix) {
            let (one, other) = (rendezvous(&all, everybody, key), rendezvous(&turned, everybody, key));
            assert_eq!(all[one.unwrap()].seed, turned[other.unwrap()].seed);
        }
        assert_eq!(seed("http://192.0.2.1:81"), 0x8b0f_95e4_e5bb_c427);
    }
}
