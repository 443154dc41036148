//! Who may import whom, and which crate may be named where.

use crate::source::{Source, paths};

/// The rooms of `src`, in the order in which they stand: each imports only those before it.
pub(crate) const ROOMS: &[&str] =
    &["base", "telemetry", "store", "jwt", "oidc", "session", "gate", "bff", "edge", "config", "app", "cli"];

/// Imports that the order would allow and that must not be.
pub(crate) const NEVER: &[(&str, &[&str], &str)] = &[
    ("edge", &["store", "jwt", "oidc", "session"], "the edge decides nothing: it asks the gate and bff"),
    ("app", &["cli"], "wiring knows no command line"),
];

/// What `config` may name of other rooms besides their `settings`.
pub(crate) const CONFIG_MAY: &[&str] = &[
    // Values that are checked where they are read.
    "base::secret",
    "base::tls",
    "gate::route",
    "telemetry::logs",
];

/// Crates, or modules of crates, and the only places that may name them.
pub(crate) const PINNED: &[(&str, &[&str])] = &[
    ("pingora", &["src/edge"]),
    ("async_trait", &["src/edge"]),
    ("socket2", &["src/edge/listener.rs", "src/edge/inherited.rs"]),
    ("rustls", &["src/base/tls", "src/base/http_client.rs"]),
    ("h2", &["src/edge/http2.rs"]),
    // The configuration tells a file that is missing from one that is no PEM.
    ("rustls_pki_types", &["src/base/tls", "src/config/files.rs"]),
    ("rustls_native_certs", &["src/base/tls.rs"]),
    ("x509_parser", &["src/base/tls"]),
    ("hyper_rustls", &["src/base/http_client.rs"]),
    ("hyper::client", &["src/base/http_client.rs"]),
    ("hyper_util::client", &["src/base/http_client.rs"]),
    ("hyper::server", &["src/edge/admin.rs", "src/cli/dev"]),
    ("hyper_util::server", &["src/edge/admin.rs", "src/cli/dev"]),
    ("jsonwebtoken", &["src/jwt"]),
    ("aws_lc_rs", &["src/base/secret.rs", "src/jwt", "src/session/cookie/seal.rs"]),
    ("subtle", &["src/base/secret.rs"]),
    ("postcard", &["src/session", "src/bff/pending_login.rs"]),
    ("redis", &["src/store"]),
    ("redb", &["src/store/file"]),
    ("clap", &["src/cli", "src/main.rs"]),
    ("devidp", &["src/cli/dev"]),
    ("notify", &["src/app/watch.rs"]),
    ("listenfd", &["src/edge/inherited.rs"]),
    ("sd_notify", &["src/app/service.rs"]),
    ("mimalloc", &["src/main.rs"]),
    ("schemars", &["src/config"]),
    ("serde_saphyr", &["src/config"]),
    ("annotate_snippets", &["src/config"]),
    ("ipnet", &["src/config", "src/edge/settings.rs"]),
    ("askama", &["src/bff", "src/cli/dev"]),
    ("tracing_subscriber", &["src/telemetry"]),
    // Families with labels live in telemetry; the edge has counters without a lock of its own.
    ("prometheus_client", &["src/telemetry", "src/edge/metrics", "src/edge/doors.rs"]),
];

/// Every import that breaks the order of the rooms, and every path that the rules could not follow.
pub(crate) fn wrong_imports(source: &Source) -> Vec<String> {
    let at = |line: usize, what: &str| format!("{}:{line} {what}", source.path);
    let mut wrong = Vec::new();
    for (number, line) in source.lines() {
        if line.contains("crate::{") {
            wrong.push(at(number, "imports a group of rooms: one line for each"));
        }
        if line.contains("super::super") {
            wrong.push(at(number, "climbs twice: name it from `crate::`"));
        }
        let is_top = source.path.matches('/').count() == 1;
        for path in paths(line) {
            if is_top && path.starts_with("super::") {
                wrong.push(at(number, "reaches the crate root by `super::`"));
            }
            let target = path.strip_prefix("crate::").or_else(|| path.strip_prefix("bearward::"));
            let target = target.and_then(|inside| inside.split("::").next()).filter(|room| !room.is_empty());
            if let Some(why) = target.and_then(|target| judge(source.room(), target)) {
                wrong.push(at(number, &why));
            }
        }
    }
    wrong
}

/// Why `room` may not import `target`.
fn judge(room: &str, target: &str) -> Option<String> {
    if room == target {
        return None;
    }
    let row = |name: &str| ROOMS.iter().position(|known| *known == name);
    if room == "main" {
        return (!matches!(target, "base" | "cli")).then(|| format!("main imports crate::{target}"));
    }
    let (Some(own), Some(other)) = (row(room), row(target)) else {
        return Some(format!("{room} or {target} is not in the list of rooms"));
    };
    if other > own {
        return Some(format!("{room} imports crate::{target}, which stands below it"));
    }
    let never = NEVER.iter().find(|(from, to, _)| *from == room && to.contains(&target));
    never.map(|(_, _, why)| format!("{room} imports crate::{target}: {why}"))
}

/// What `config` names of other rooms that is neither their settings nor on the list.
pub(crate) fn wrong_in_config(source: &Source) -> Vec<String> {
    if source.room() != "config" {
        return Vec::new();
    }
    let aliases: Vec<_> = source.lines().filter_map(|(_, line)| room_alias(line)).collect();
    let mut wrong = Vec::new();
    for (number, line) in source.lines() {
        for path in paths(line) {
            let Some(named) = named_room(path, &aliases) else { continue };
            let mut parts = named.split("::");
            let (room, part) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let allowed = part == "settings" || CONFIG_MAY.contains(&format!("{room}::{part}").as_str());
            if room != "config" && !part.is_empty() && !allowed {
                wrong.push(format!("{}:{number} config names {room}::{part}", source.path));
            }
        }
    }
    wrong
}

/// `use crate::edge as edge_room;` gives `(edge_room, edge)`.
fn room_alias(line: &str) -> Option<(&str, &str)> {
    let inside = line.trim().strip_prefix("use crate::")?.strip_suffix(';')?;
    if inside.contains("::") {
        return None;
    }
    Some(inside.split_once(" as ").map_or((inside, inside), |(room, alias)| (alias, room)))
}

fn named_room(path: &str, aliases: &[(&str, &str)]) -> Option<String> {
    if let Some(inside) = path.strip_prefix("crate::") {
        return inside.contains("::").then(|| inside.to_owned());
    }
    let (first, rest) = path.split_once("::")?;
    let (_, room) = aliases.iter().find(|(alias, _)| *alias == first)?;
    Some(format!("{room}::{rest}"))
}

/// Every crate that is named where it must not be.
pub(crate) fn misplaced_crates(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in source.lines() {
        for path in paths(line) {
            let hit = PINNED.iter().find(|(name, places)| {
                let named =
                    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
                named && !is_in(&source.path, places)
            });
            if let Some((name, places)) = hit {
                wrong.push(format!(
                    "{}:{number} names {name}, which belongs to {}",
                    source.path,
                    places.join(", ")
                ));
            }
        }
    }
    wrong
}

/// Whether `path` is one of `places`: a file, or a room or folder with the file of the same name.
pub(crate) fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    })
}
