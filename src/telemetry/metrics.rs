//! Metrics: what the gateway counts, and how `/metrics` is written.
//!
//! Labels are enums or `&'static str`, so nothing that comes from outside can make a new series. Rooms with
//! metrics of their own add them through [`Metrics::register`].

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::base::time::Timestamp;

pub mod certificates;
mod process;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts what happens. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: RwLock<Registry>,
    logins: Family<Login, Counter>,
    refreshes: Family<Refresh, Counter>,
    sessions_ended: Family<Ended, Counter>,
    refusals: Family<Refusal, Counter>,
    cookies_rejected: Family<Rejected, Counter>,
    store_failures: Family<Rejected, Counter>,
    reloads: Family<Reload, Counter>,
    configured_at: Gauge,
    store_unreadable: Family<Strange, Counter>,
    store_data_lost: Counter,
}

impl Metrics {
    /// An empty set, with every series of a closed label at zero so that rates have a beginning.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let inner = Inner {
            logins: Family::default(),
            refreshes: Family::default(),
            sessions_ended: Family::default(),
            refusals: Family::default(),
            cookies_rejected: Family::default(),
            store_failures: Family::default(),
            reloads: Family::default(),
            configured_at: Gauge::default(),
            store_unreadable: Family::default(),
            store_data_lost: Counter::default(),
            registry: RwLock::new(registry),
        };
        let metrics = Self(Arc::new(inner));
        metrics.register(|registry| {
            let m = &metrics.0;
            let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
            registry.register("build", "What is running", build);
            registry.register("logins", "Logins that came back from the provider", m.logins.clone());
            registry.register("refreshes", "Attempts to refresh a session", m.refreshes.clone());
            registry.register("sessions_ended", "Sessions ended before their time", m.sessions_ended.clone());
            registry.register("refusals", "Requests refused by the gateway", m.refusals.clone());
            let help = "Session cookies that could not be used";
            registry.register("cookies_rejected", help, m.cookies_rejected.clone());
            let help = "Operations of the store that failed";
            registry.register("store_failures", help, m.store_failures.clone());
            let help = "Configurations that were read while running, by what came of them";
            registry.register("config_reloads", help, m.reloads.clone());
            let help = "When the configuration in use was taken, in Unix time";
            registry.register_with_unit("config_taken", help, Unit::Seconds, m.configured_at.clone());
            let help = "What was found in the store and could not be read";
            registry.register("store_unreadable", help, m.store_unreadable.clone());
            let help = "How often the store was found without its data";
            registry.register("store_data_lost", help, m.store_data_lost.clone());
        });
        metrics.begin_at_zero();
        metrics
    }

    fn begin_at_zero(&self) {
        for &outcome in LoginOutcome::ALL {
            drop(self.0.logins.get_or_create(&Login { outcome }));
        }
        for &outcome in RefreshOutcome::ALL {
            drop(self.0.refreshes.get_or_create(&Refresh { outcome }));
        }
        for &cause in EndCause::ALL {
            drop(self.0.sessions_ended.get_or_create(&Ended { cause }));
        }
        for &result in ReloadResult::ALL {
            drop(self.0.reloads.get_or_create(&Reload { result }));
        }
    }

    /// Adds metrics of another room; their names get the prefix `bearward_`.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.0.registry.write().unwrap_or_else(PoisonError::into_inner);
        add(registry.sub_registry_with_prefix("bearward"))
    }

    /// Adds what is worked out at each scrape; the names get the same prefix.
    pub fn collect(&self, collector: impl Collector) {
        self.register(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Counts a login.
    pub fn login(&self, outcome: LoginOutcome) {
        self.0.logins.get_or_create(&Login { outcome }).inc();
    }

    /// Counts an attempt to refresh.
    pub fn refresh(&self, outcome: RefreshOutcome) {
        self.0.refreshes.get_or_create(&Refresh { outcome }).inc();
    }

    /// Counts a session that was ended.
    pub fn session_ended(&self, cause: EndCause) {
        self.0.sessions_ended.get_or_create(&Ended { cause }).inc();
    }

    /// Counts a refused request; `reason` is the label of a denial's effects.
    pub fn refusal(&self, reason: &'static str) {
        self.0.refusals.get_or_create(&Refusal { reason }).inc();
    }

    /// Counts a session cookie that was there and could not be used; `why` is one of a fixed set.
    pub fn cookie_rejected(&self, why: &'static str) {
        self.0.cookies_rejected.get_or_create(&Rejected { why }).inc();
    }

    /// Counts an operation of the store that failed; `why` is one of a fixed set.
    pub fn store_failed(&self, why: &'static str) {
        self.0.store_failures.get_or_create(&Rejected { why }).inc();
    }

    /// Counts a configuration that was read while running.
    pub fn reload(&self, result: ReloadResult) {
        self.0.reloads.get_or_create(&Reload { result }).inc();
    }

    /// A configuration is in use since `now`.
    pub fn configured(&self, now: Timestamp) {
        self.0.configured_at.set(now.as_secs());
    }

    /// Counts something in the store that could not be read: `what` it is and `why`, each one of a fixed set.
    pub fn store_unreadable(&self, what: &'static str, why: &'static str) {
        self.0.store_unreadable.get_or_create(&Strange { what, why }).inc();
    }

    /// Counts a loss of the store's data.
    pub fn store_data_lost(&self) {
        self.0.store_data_lost.inc();
    }

    /// Everything, in the OpenMetrics text format ([`CONTENT_TYPE`]).
    pub fn encode(&self) -> String {
        let registry = self.0.registry.read().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::with_capacity(8 * 1024);
        match text::encode(&mut out, &registry) {
            Ok(()) => out,
            // Half an exposition would read as counters that went away.
            Err(fmt::Error) => String::from("# EOF\n"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Login {
    outcome: LoginOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refresh {
    outcome: RefreshOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    cause: EndCause,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    result: ReloadResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Strange {
    what: &'static str,
    why: &'static str,
}

/// An enum whose variants are label values, with all of them in `ALL`.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$about:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$about])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it in metrics and events.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                EncodeLabelValue::encode(&self.label(), encoder)
            }
        }
    };
}

labels! {
    /// How a login ended.
    pub enum LoginOutcome {
        /// A session was made.
        Completed = "completed",
        /// The provider or the user said no: `error` in the callback.
        Denied = "denied",
        /// The callback did not belong to a login of this browser, or that login was too old.
        StateMismatch = "state_mismatch",
        /// The token endpoint could not be reached or was unwell.
        ProviderUnavailable = "provider_unavailable",
        /// The token endpoint refused the code or the client.
        CodeRefused = "code_refused",
        /// The answer did not pass the checks: ID token, nonce, missing refresh token.
        BadAnswer = "bad_answer",
    }
}

labels! {
    /// How one attempt to refresh ended.
    pub enum RefreshOutcome {
        /// A new refresh token came: a new generation.
        Rotated = "rotated",
        /// A new access token came, the refresh token stays.
        Kept = "kept",
        /// The request never left this process.
        NotSent = "not_sent",
        /// The request was sent and not answered: the refresh token may be spent.
        NoAnswer = "no_answer",
        /// The provider answered 429 or 5xx.
        Busy = "busy",
        /// The provider refused for a reason that is not the session's: `invalid_client` and its like.
        Refused = "refused",
        /// The answer did not pass the checks.
        BadAnswer = "bad_answer",
        /// The provider says that the refresh token is spent, revoked or expired.
        InvalidGrant = "invalid_grant",
        /// The provider wants a login: `access_denied`, `interaction_required` and their like.
        LoginRequired = "login_required",
        /// A refresh brought an ID token of someone else, or a broken one (rule 7).
        IdTokenMismatch = "id_token_mismatch",
        /// Another replica had made the next generation: nothing was sent.
        Elsewhere = "elsewhere",
        /// The store did not answer, and without its leave nothing was sent.
        StoreUnavailable = "store_unavailable",
        /// A newer release wrote what the store has of the session, or a key is not here: nothing was sent.
        Unreadable = "unreadable",
        /// Counted besides the outcome: the store was away for so long that this replica refreshed by itself.
        WithoutLease = "without_lease",
        /// Counted besides the outcome: the attempt repeated one that was never answered (rule 1).
        RepeatedAfterUnknown = "repeated_after_unknown",
    }
}

labels! {
    /// What came of a configuration that was read while running.
    pub enum ReloadResult {
        /// It is in use.
        Applied = "applied",
        /// Something is wrong with it: the one before goes on.
        Refused = "refused",
    }
}

labels! {
    /// Why a session was ended.
    pub enum EndCause {
        /// The user logged out.
        Logout = "logout",
        /// The provider answered a refresh with `invalid_grant`.
        InvalidGrant = "invalid_grant",
        /// A cookie came back long after it had been superseded.
        Rollback = "rollback",
        /// A new login of the same browser took its place.
        Replaced = "replaced",
        /// A refresh brought an ID token of someone else (rule 7).
        IdTokenMismatch = "id_token_mismatch",
        /// An operator ended it.
        Operator = "operator",
        /// It reached its lifetime.
        Lifetime = "lifetime",
        /// It was unused for too long.
        Idle = "idle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_closed_series_begins_at_zero() {
        let text = Metrics::new().encode();
        for line in [
            r#"bearward_logins_total{outcome="completed"} 0"#,
            r#"bearward_refreshes_total{outcome="repeated_after_unknown"} 0"#,
            r#"bearward_sessions_ended_total{cause="id_token_mismatch"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn clones_count_together() {
        let metrics = Metrics::new();
        let clone = metrics.clone();
        metrics.refresh(RefreshOutcome::Rotated);
        clone.refresh(RefreshOutcome::Rotated);
        clone.login(LoginOutcome::Completed);
        clone.session_ended(EndCause::Rollback);
        clone.refusal("no_session");
        let text = metrics.encode();
        for line in [
            r#"bearward_refreshes_total{outcome="rotated"} 2"#,
            r#"bearward_logins_total{outcome="completed"} 1"#,
            r#"bearward_sessions_ended_total{cause="rollback"} 1"#,
            r#"bearward_refusals_total{reason="no_session"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_build_tells_its_version() {
        let line = format!("bearward_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        assert!(Metrics::new().encode().contains(&line));
    }

    #[test]
    fn other_rooms_add_their_own() {
        let metrics = Metrics::new();
        let open: Gauge = Gauge::default();
        metrics.register(|registry| registry.register("connections", "Open connections", open.clone()));
        open.set(7);
        assert!(metrics.encode().contains("bearward_connections 7"));
        assert_eq!(metrics.encode().matches("# TYPE bearward_logins ").count(), 1);
    }

    #[test]
    fn labels_are_distinct_words() {
        let all = RefreshOutcome::ALL.iter().map(|o| o.label()).collect::<std::collections::HashSet<_>>();
        assert_eq!(all.len(), RefreshOutcome::ALL.len());
        assert!(all.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
