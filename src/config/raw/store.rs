//! `store`: what replicas share, as typed.

use std::path::PathBuf;

use crate::config::reader::{At, section, words};
use crate::config::secrets::{SecretText, SecretUrl};
use crate::config::values::Period;

section! {
    /// What replicas share: successors of sessions and which of them were ended.
    Store
    optional {
        /// The file, for `kind: file`. It is made where there is none. A relative path starts from the folder of the
        /// configuration file.
        path: PathBuf,
        /// One server, for `kind: redis`: `rediss://host:port/database`, `redis://` without TLS, or
        /// `unix:///path/to/socket`. User and password may stand before the host; a password there must come from a
        /// variable: `${NAME}`.
        url: SecretUrl,
        /// A master that sentinels know, for `kind: redis`, in place of `url`.
        sentinel: Sentinel,
        /// A cluster, for `kind: redis`, in place of `url`.
        cluster: Cluster,
        /// The number of the database, for `kind: redis`. That of the URL, else 0.
        database: u32,
        /// The user of the access control list, for `kind: redis`.
        username: String,
        /// The password, for `kind: redis`.
        password: SecretText,
        /// What is trusted where the scheme is `rediss`. The machine's roots where it is not given.
        tls: StoreTls,
    }
    defaults {
        /// The kind of store.
        kind: StoreKind = "memory",
        /// What every name there begins with, for `kind: redis`: gateways that share a server and no sessions need
        /// different ones.
        prefix: String = "bearward:",
        /// The deadline of every operation, for `kind: redis`.
        timeout: Period = "1s",
        /// What follows while the store is away, for `kind: file` and `kind: redis`.
        on_outage: OnOutage = {},
    }
}

section! {
    /// A master that sentinels know.
    Sentinel
    required {
        /// What the sentinels call it.
        master: String,
        /// The sentinels: `rediss://host:port`, or `redis://` without TLS. Port 26379 where it is not given. Masters are
        /// spoken to in the same way.
        nodes: Vec<At<String>>,
    }
    optional {
        /// The user of the sentinels' own access control list.
        username: String,
        /// The password of the sentinels themselves.
        password: SecretText,
    }
}

section! {
    /// A cluster.
    Cluster
    required {
        /// Some of its nodes: `rediss://host:port`, or `redis://` without TLS. Port 6379 where it is not given. Each
        /// leads to all.
        nodes: Vec<At<String>>,
    }
}

section! {
    /// What is trusted.
    StoreTls
    optional {
        /// A PEM file of certificates that are trusted in place of the machine's roots.
        ca_file: PathBuf,
    }
}

words! {
    /// A kind of store.
    StoreKind {
        /// None: each replica for itself.
        Memory = "memory",
        /// A file of one machine: one replica that keeps what it knows over a restart.
        File = "file",
        /// Redis or Valkey.
        Redis = "redis",
    }
}

section! {
    /// What follows while the store is away.
    OnOutage
    defaults {
        /// What sessions get while the log of those that were ended cannot be followed.
        denials: OutageDenials = "open",
        /// What a replica does about access tokens that run out.
        refresh: OutageRefresh = "local",
        /// How long the store must have been away for `refresh: local`.
        after: Period = "10s",
    }
}

words! {
    /// What sessions get while the log of those that were ended cannot be followed.
    OutageDenials {
        /// They are served, though one may have been ended elsewhere.
        Open = "open",
        /// They get 503 until the log can be followed again.
        Closed = "closed",
    }
}

words! {
    /// What a replica does about access tokens that run out.
    OutageRefresh {
        /// It refreshes by itself. Two replicas that do so for one session may spend a refresh token twice.
        Local = "local",
        /// Sessions whose access token ran out get 503 until the store is back.
        Wait = "wait",
    }
}
