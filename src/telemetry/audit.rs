//! Security events: one structured record for each (std:182).
//!
//! A record has the same fields whatever happened: `event`, `reason`, and where known `session`, `subject`,
//! `request_id`, `detail`. Sessions appear as [`SessionTag`]; names and addresses of people do not appear.

use std::fmt;

use super::metrics::{EndCause, LoginOutcome, RefreshOutcome};
use crate::base::secret::sha256;

/// The target of every audit event: filters and collectors go by it.
pub const TARGET: &str = "audit";

/// Names a session in records without giving its id away: the first 64 bits of a SHA-256 over it.
///
/// The id has 128 random bits, so the hash cannot be turned back by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionTag(u64);

impl SessionTag {
    /// The tag of the session with this id.
    pub fn of(sid: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(sid);
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The tag that was printed as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let printed = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if printed { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }

    /// Its 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Something that a security log must tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditEvent<'a> {
    /// A session was made.
    Login {
        /// The new session.
        session: SessionTag,
        /// Whose it is: `sub`.
        subject: &'a str,
    },
    /// A login came to nothing.
    LoginFailed {
        /// How.
        outcome: LoginOutcome,
        /// A finer reason: the name of the check that failed, an OAuth error code. Never a peer's free text.
        detail: &'a str,
    },
    /// A user logged out.
    Logout {
        /// The session, if there was one.
        session: Option<SessionTag>,
        /// Whose it was.
        subject: Option<&'a str>,
    },
    /// A session could not be refreshed. It goes on, unless [`Self::SessionEnded`] follows.
    RefreshFailed {
        /// The session.
        session: SessionTag,
        /// How the attempt ended.
        outcome: RefreshOutcome,
    },
    /// A cookie came back long after it had been superseded: a copy, or a restored browser.
    Rollback {
        /// The session.
        session: SessionTag,
        /// The generation that came.
        presented: u64,
    },
    /// A request that another site caused was refused.
    CsrfBlocked {
        /// The label of the denial.
        reason: &'static str,
        /// The session that would have been used, if any.
        session: Option<SessionTag>,
    },
    /// A session was ended before its time.
    SessionEnded {
        /// The session.
        session: SessionTag,
        /// Whose it was.
        subject: &'a str,
        /// Why.
        cause: EndCause,
    },
    /// An operator ended sessions.
    OperatorEnd {
        /// One, a user's, or all.
        scope: &'static str,
        /// How many of them were known here.
        ended: usize,
    },
    /// A refresh token was handed back to the provider, or could not be.
    Revocation {
        /// The session it belonged to.
        session: SessionTag,
        /// What came of it.
        result: RevocationResult,
    },
}

/// What came of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationResult {
    /// The provider took it.
    Revoked,
    /// The provider has no revocation endpoint.
    Unsupported,
    /// It could not be reached or refused.
    Failed,
}

impl AuditEvent<'_> {
    /// Writes the event.
    pub fn emit(&self) {
        self.record().write(None);
    }

    /// Writes the event with the id of the request that caused it.
    pub fn emit_for(&self, request_id: &dyn fmt::Display) {
        self.record().write(Some(request_id));
    }

    fn record(&self) -> Record<'_> {
        match *self {
            Self::Login { session, subject } => Record::new("login", "completed").of(session).by(subject),
            Self::LoginFailed { outcome, detail } => {
                Record::new("login_failed", outcome.label()).grave().with(detail.to_owned())
            }
            Self::Logout { session, subject } => Record { session, subject, ..Record::new("logout", "user") },
            Self::RefreshFailed { session, outcome } => {
                Record::new("refresh_failed", outcome.label()).of(session).grave()
            }
            Self::Rollback { session, presented } => Record::new("rollback", "superseded_cookie")
                .of(session)
                .grave()
                .with(format!("generation {presented}")),
            Self::CsrfBlocked { reason, session } => {
                Record { session, ..Record::new("csrf_blocked", reason).grave() }
            }
            Self::SessionEnded { session, subject, cause } => {
                Record::new("session_ended", cause.label()).of(session).by(subject)
            }
            Self::OperatorEnd { scope, ended } => {
                Record::new("sessions_ended_by_operator", scope).grave().with(format!("{ended} known here"))
            }
            Self::Revocation { session, result } => Record::new("revocation", result.label()).of(session),
        }
    }
}

impl RevocationResult {
    const fn label(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
        }
    }
}

/// The one form that every event takes.
struct Record<'a> {
    event: &'static str,
    reason: &'static str,
    severity: Severity,
    session: Option<SessionTag>,
    subject: Option<&'a str>,
    detail: Option<String>,
}

/// Whether someone should look.
enum Severity {
    Ordinary,
    Grave,
}

impl<'a> Record<'a> {
    const fn new(event: &'static str, reason: &'static str) -> Self {
        let severity = Severity::Ordinary;
        Self { event, reason, severity, session: None, subject: None, detail: None }
    }

    fn of(self, session: SessionTag) -> Self {
        Self { session: Some(session), ..self }
    }

    fn by(self, subject: &'a str) -> Self {
        Self { subject: Some(subject), ..self }
    }

    fn with(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }

    fn grave(self) -> Self {
        Self { severity: Severity::Grave, ..self }
    }

    fn write(self, request_id: Option<&dyn fmt::Display>) {
        macro_rules! write_at {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    event = self.event,
                    reason = self.reason,
                    session = self.session.map(tracing::field::display),
                    subject = self.subject,
                    request_id = request_id.map(tracing::field::display),
                    detail = self.detail,
                    "security event"
                )
            };
        }
        match self.severity {
            Severity::Ordinary => write_at!(info),
            Severity::Grave => write_at!(warn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logs::tests::logged;
    use crate::telemetry::settings::{Format, Settings};

    const SID: &[u8] = b"sid-canary-128bit";

    fn events() -> Vec<AuditEvent<'static>> {
        let session = SessionTag::of(SID);
        vec![
            AuditEvent::Login { session, subject: "alice" },
            AuditEvent::LoginFailed { outcome: LoginOutcome::Denied, detail: "access_denied" },
            AuditEvent::Logout { session: Some(session), subject: Some("alice") },
            AuditEvent::RefreshFailed { session, outcome: RefreshOutcome::NoAnswer },
            AuditEvent::Rollback { session, presented: 3 },
            AuditEvent::CsrfBlocked { reason: "cross_site", session: None },
            AuditEvent::SessionEnded { session, subject: "alice", cause: EndCause::InvalidGrant },
            AuditEvent::OperatorEnd { scope: "subject", ended: 2 },
            AuditEvent::Revocation { session, result: RevocationResult::Failed },
        ]
    }

    fn lines(work: impl FnOnce()) -> Vec<serde_json::Value> {
        let settings = Settings { format: Format::Json, ..Settings::default() };
        logged(&settings, work).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    // std:182
    #[test]
    fn every_event_is_one_record_with_a_reason() {
        for event in events() {
            let lines = lines(|| event.emit());
            assert_eq!(lines.len(), 1, "{event:?}");
            assert_eq!(lines[0]["target"], TARGET);
            assert!(lines[0]["event"].is_string() && lines[0]["reason"].is_string(), "{event:?}");
            assert!(lines[0].get("request_id").is_none());
        }
    }

    // std:180
    #[test]
    fn a_session_id_appears_only_as_a_hash() {
        let lines = lines(|| events().iter().for_each(AuditEvent::emit));
        let text = serde_json::to_string(&lines).unwrap();
        assert!(!text.contains("sid-canary"));
        assert_eq!(lines[0]["session"], SessionTag::of(SID).to_string());
        assert_eq!(SessionTag::of(SID).to_string().len(), 16);
        assert_ne!(SessionTag::of(SID), SessionTag::of(b"another"));
    }

    #[test]
    fn a_rollback_tells_the_generation_and_who_asked() {
        let session = SessionTag::of(SID);
        let event = AuditEvent::Rollback { session, presented: 3 };
        let lines = lines(|| event.emit_for(&"00ff"));
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["detail"], "generation 3");
        assert_eq!(lines[0]["request_id"], "00ff");
    }

    // std:181
    #[test]
    fn a_subject_with_line_breaks_stays_one_record() {
        let event =
            AuditEvent::Login { session: SessionTag::of(SID), subject: "eve\r\n{\"event\":\"login\"}" };
        let lines = lines(|| event.emit());
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["subject"], "eve\r\n{\"event\":\"login\"}");
    }
}
