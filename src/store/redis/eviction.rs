//! A look at whether Redis throws records away when it is full.
//!
//! A record that is evicted is a successor that is lost, or an ended session that lives again. Only a warning: the
//! operator may mean it, and many users may not ask.

use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use super::connect::Connection;

/// Warns where the server would evict.
pub(super) async fn check(connection: &mut Connection, limit: Duration) {
    let mut settings = redis::cmd("CONFIG");
    settings.arg("GET").arg("maxmemory*");
    let mut report = redis::cmd("INFO");
    report.arg("memory");
    for command in [settings, report] {
        if let Ok(Ok(answer)) = timeout(limit, connection.ask(&command)).await {
            let mut texts = Vec::new();
            flatten(answer, &mut texts);
            if let Some(policy) = evicting(&texts) {
                tracing::warn!(
                    policy,
                    "the store evicts records when it is full: set `maxmemory-policy noeviction`, or sessions get lost"
                );
            }
            if texts.iter().any(|text| text.contains("maxmemory")) {
                return;
            }
        }
    }
    tracing::info!("the store does not say whether it evicts; its `maxmemory-policy` must be `noeviction`");
}

/// The policy by which a server with a limit evicts.
fn evicting(texts: &[String]) -> Option<&'static str> {
    let value = |name: &str| {
        // As pairs of CONFIG GET, or as `name:value` lines of INFO.
        let pair = texts.iter().zip(texts.iter().skip(1)).find(|(key, _)| *key == name);
        let underlined = name.replace('-', "_");
        let line = texts.iter().flat_map(|text| text.lines());
        let line = line.filter_map(|line| line.split_once(':')).find(|(key, _)| *key == underlined);
        pair.map(|(_, value)| value.as_str()).or_else(|| line.map(|(_, value)| value.trim()))
    };
    let limited = value("maxmemory").is_some_and(|limit| limit != "0");
    let policy = value("maxmemory-policy")?;
    let known = POLICIES.iter().find(|known| **known == policy).copied();
    (limited && policy != "noeviction").then_some(known.unwrap_or("unknown"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other form of an answer holds text")]
fn flatten(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => texts.push(text),
        Value::Array(values) | Value::Set(values) => {
            values.into_iter().for_each(|value| flatten(value, texts))
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                flatten(key, texts);
                flatten(value, texts);
            }
        }
        _ => {}
    }
}

const POLICIES: &[&str] = &[
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(texts: &[&str], expected: Option<&str>) {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(evicting(&texts), expected, "{texts:?}");
    }

    #[test]
    fn a_limit_with_a_policy_that_evicts_is_found() {
        check(&["maxmemory", "0", "maxmemory-policy", "allkeys-lru"], None);
        check(&["maxmemory", "100", "maxmemory-policy", "allkeys-lru"], Some("allkeys-lru"));
        check(&["maxmemory-policy", "volatile-ttl", "maxmemory", "100"], Some("volatile-ttl"));
        check(&["maxmemory", "100", "maxmemory-policy", "noeviction"], None);
        check(&["maxmemory", "100", "maxmemory-policy", "by moon\nlight"], Some("unknown"));
        check(&["# Memory\r\nmaxmemory:5\r\nmaxmemory_policy:allkeys-lfu\r\n"], Some("allkeys-lfu"));
        check(&["# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lfu\r\n"], None);
        check(&["other:1"], None);
    }
}
