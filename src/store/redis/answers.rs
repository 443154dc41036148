//! What Redis answers, in our terms.
//!
//! An error is sorted by what the caller and the connection do next. Of its text nothing is kept: it may quote what was
//! sent.

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::base::time::Timestamp;
use crate::store::{Found, StoreError, Version};

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    /// To the caller.
    pub(super) error: StoreError,
    /// To the connection.
    pub(super) connection: Fate,
    /// The word for it in logs.
    pub(super) reason: &'static str,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is good.
    Kept,
    /// Another one is made: this one is broken, or leads to a server that is no master any more.
    Lost,
}

/// What nothing came of within the deadline.
pub(super) const LATE: Judged =
    Judged { error: StoreError::TimedOut, connection: Fate::Lost, reason: "deadline" };

/// What an answer means that none of ours has the form of.
const STRANGE: Judged =
    Judged { error: StoreError::Refused, connection: Fate::Kept, reason: "strange answer" };

/// Sorts an error.
pub(super) fn judge(error: &RedisError) -> Judged {
    let kind = error.kind();
    if error.is_timeout() {
        LATE
    } else if matches!(kind, ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed) {
        // Before Redis 7 an error inside a script has the script's code, and its own in the text.
        let inside = error.detail().is_some_and(|detail| detail.contains("-READONLY "));
        let read_only = inside || matches!(kind, ErrorKind::Server(ServerErrorKind::ReadOnly));
        let code = if read_only { "READONLY" } else { error.code().unwrap_or_default() };
        let login = matches!(kind, ErrorKind::AuthenticationFailed);
        let reason = if login { "login refused" } else { known(code) };
        // After a failover, and after a change of passwords, another connection may do better.
        let stale = login || matches!(code, "READONLY" | "NOAUTH" | "WRONGPASS" | "UNBLOCKED");
        let connection = if stale { Fate::Lost } else { Fate::Kept };
        Judged { error: StoreError::Refused, connection, reason }
    } else if matches!(kind, ErrorKind::UnexpectedReturnType) {
        STRANGE
    } else {
        let reason = if error.is_connection_refusal() { "connection refused" } else { "connection broken" };
        Judged { error: StoreError::Unreachable, connection: Fate::Lost, reason }
    }
}

/// The codes of Redis that operators know by name; never what a peer made up.
fn known(code: &str) -> &'static str {
    const CODES: &[&str] = &[
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "NOSCRIPT",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
        "WRONGPASS",
        "WRONGTYPE",
    ];
    CODES.iter().find(|known| **known == code).copied().unwrap_or("refused")
}

/// The parts of a script's answer: the server's time, and what follows it.
pub(super) fn timed(answer: Value) -> Result<(Timestamp, std::vec::IntoIter<Value>), StoreError> {
    let Value::Array(parts) = answer else { return Err(STRANGE.error) };
    let mut parts = parts.into_iter();
    let seconds = number(parts.next())?;
    let micros = number(parts.next())?;
    let millis = seconds.saturating_mul(1000).saturating_add(micros.div_euclid(1000));
    Ok((Timestamp::from_millis(millis), parts))
}

/// The record of an answer.
pub(super) fn found(
    now: Timestamp,
    version: Option<Value>,
    value: Option<Value>,
) -> Result<Found, StoreError> {
    let record = match (bytes(version)?, bytes(value)?) {
        (Some(version), Some(value)) => {
            let version = <[u8; 16]>::try_from(version).map_err(|_| STRANGE.error)?;
            Some((Version::from_bytes(version), value))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(STRANGE.error),
    };
    Ok(Found { record, now })
}

/// Bytes, or nothing.
pub(super) fn bytes(value: Option<Value>) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
        Some(Value::SimpleString(text)) => Ok(Some(text.into_bytes())),
        Some(Value::Nil) => Ok(None),
        Some(_) | None => Err(STRANGE.error),
    }
}

/// Text.
pub(super) fn text(value: Option<Value>) -> Result<String, StoreError> {
    bytes(value)?.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(STRANGE.error)
}

/// A number, written as one or as text.
pub(super) fn number(value: Option<Value>) -> Result<i64, StoreError> {
    match value {
        Some(Value::Int(number)) => Ok(number),
        other => text(other)?.parse().map_err(|_| STRANGE.error),
    }
}
