//! What the configuration says about the store.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::secret::Secret;

/// Where replicas share, and what follows while they cannot.
#[derive(Debug)]
pub struct Settings {
    /// The kind of store.
    pub kind: Kind,
    /// What follows while it is away.
    pub outage: Outage,
}

/// A kind of store.
#[derive(Debug)]
pub enum Kind {
    /// None: each replica for itself.
    Memory,
    /// A file that one process holds open.
    File(PathBuf),
    /// Redis or Valkey.
    Redis(Box<Redis>),
}

impl Kind {
    /// The word for it in the configuration and in logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(_) => "file",
            Self::Redis(_) => "redis",
        }
    }

    /// The deadline of every operation.
    pub const fn timeout(&self) -> Duration {
        match self {
            Self::Memory => Duration::ZERO,
            Self::File(_) => FILE_TIMEOUT,
            Self::Redis(redis) => redis.timeout,
        }
    }
}

/// What follows while the store is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// What sessions get while the log of denials cannot be followed.
    pub denials: Denials,
    /// What a replica does about tokens that run out.
    pub refresh: RefreshAlone,
    /// How long the store must have been away for that.
    pub after: Duration,
}

/// What sessions get while nobody can tell which of them were ended elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denials {
    /// They are served.
    Open,
    /// They are refused for the time.
    Closed,
}

impl Denials {
    /// The word for it in the configuration and in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// What a replica does about tokens that run out while it cannot ask the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshAlone {
    /// It refreshes by itself. Two replicas that do so may spend one refresh token twice.
    Local,
    /// It refuses until the store is back.
    Wait,
}

impl RefreshAlone {
    /// The word for it in the configuration and in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Wait => "wait",
        }
    }
}

/// A Redis or Valkey, and how to log in there.
#[derive(Debug)]
pub struct Redis {
    /// Where it is.
    pub topology: Topology,
    /// Whether it is spoken to over TLS.
    pub tls: Tls,
    /// How to log in to what keeps the data.
    pub login: Login,
    /// The number of the database.
    pub database: u32,
    /// What every name of ours there begins with.
    pub prefix: String,
    /// The deadline of every operation.
    pub timeout: Duration,
}

/// How servers of a Redis belong together.
#[derive(Debug)]
pub enum Topology {
    /// One server.
    Single(Address),
    /// A master that sentinels know.
    Sentinel {
        /// What the sentinels call it.
        master: String,
        /// The sentinels. Never empty.
        nodes: Vec<Node>,
        /// How to log in to the sentinels.
        login: Login,
    },
    /// A cluster.
    Cluster {
        /// Some of its nodes. Never empty.
        nodes: Vec<Node>,
    },
}

/// Where one server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// On the network.
    Tcp(Node),
    /// A socket of this machine.
    Unix(PathBuf),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Whether there is TLS, and what is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// None.
    Off,
    /// TLS by the machine's roots, or only by those of a file.
    On {
        /// The file.
        ca_file: Option<PathBuf>,
    },
}

/// A user and a password.
#[derive(Debug, Default)]
pub struct Login {
    /// The user of the access control list; `default` where it is not given.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret<String>>,
}

/// A disk that needs longer is as good as away.
pub const FILE_TIMEOUT: Duration = Duration::from_secs(5);
