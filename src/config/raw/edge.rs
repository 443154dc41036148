//! `listeners`, `admin`, `upstreams`, `limits`, `drain`, as typed.

use std::path::PathBuf;

use crate::config::reader::{At, section, words};
use crate::config::values::{Period, Size};

section! {
    /// An address that is listened on.
    Listener
    required {
        /// IP address and port: `0.0.0.0:8443`, `[::]:8443`.
        address: String,
    }
    optional {
        /// Certificate and key, where the listener speaks TLS.
        tls: Tls,
    }
}

section! {
    /// PEM files of a TLS listener.
    Tls
    required {
        /// The certificate chain, the server's own certificate first.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    }
}

section! {
    /// Health and metrics.
    Admin
    defaults {
        /// Whether they are served.
        enabled: bool = true,
        /// IP address and port. Whoever reaches it can read the metrics.
        address: String = "127.0.0.1:9901",
    }
}

section! {
    /// Where requests are forwarded.
    Upstream
    required {
        /// Scheme, host and port of each server: `http://10.0.0.1:8080`. Only one for now.
        endpoints: Vec<At<String>>,
    }
    optional {
        /// How its servers are probed. Not supported yet.
        health: Health,
        /// A PEM file of the certificates that vouch for it, instead of the machine's roots.
        ca_file: PathBuf,
    }
    defaults {
        /// Whether it is spoken to in HTTP/2.
        http2: bool = false,
        /// How long it may take.
        timeouts: UpstreamTimeouts = {},
    }
}

section! {
    /// How an upstream's servers are probed.
    #[expect(dead_code, reason = "declared so that it is refused by name")]
    Health
    required {
        /// The path that is asked for.
        path: String,
    }
    defaults {
        /// The time between two probes.
        interval: Period = "10s",
        /// How long a probe may take.
        timeout: Period = "2s",
    }
}

section! {
    /// How long an upstream may take.
    UpstreamTimeouts
    defaults {
        /// To accept a connection, TLS included.
        connect: Period = "5s",
        /// Between two pieces of a response.
        read: Period = "60s",
        /// To take a piece of a request.
        write: Period = "60s",
        /// How long an idle connection is kept for reuse.
        idle: Period = "60s",
    }
}

section! {
    /// The fields that say where a request comes from.
    Forwarded
    defaults {
        /// The fields that `trusted_proxies` write. The others are dropped: a proxy passes on what its clients say in
        /// fields that it does not know.
        believe: Believed = "x_forwarded",
        /// The fields that upstreams are told in.
        send: Sent = "x_forwarded",
    }
}

words! {
    /// Fields that are believed.
    Believed {
        /// `X-Forwarded-For` and `X-Forwarded-Proto`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

words! {
    /// Fields that are sent.
    Sent {
        /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
        /// Both.
        Both = "both",
    }
}

section! {
    /// Limits of what clients may send and how long they may take.
    Limits
    defaults {
        /// Request line and header fields together.
        head_bytes: Size = "64KiB",
        /// Header fields.
        header_count: u32 = 100,
        /// The request target.
        uri_bytes: Size = "16KiB",
        /// How long a request head may take to arrive.
        head_timeout: Period = "10s",
        /// How long a connection may be idle between requests.
        idle_timeout: Period = "75s",
        /// How long a TLS handshake may take.
        handshake_timeout: Period = "10s",
        /// Connections open at once.
        connections: u32 = 10000,
    }
}

section! {
    /// What happens at shutdown.
    Drain
    defaults {
        /// How long new connections are still accepted while readiness already fails.
        accept: Period = "0s",
        /// How long an idle connection may still send one more request.
        linger: Period = "1s",
        /// When what is still in flight is cut.
        limit: Period = "25s",
    }
}
