//! From settings to connections: a server, a master that sentinels know, a cluster.
//!
//! Nothing here waits on its own account: whoever asks for a connection brings the deadline. A connection lives on the
//! runtime that made it.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode, Value,
};

use crate::base::secret::random;
use crate::base::tls::{self, TlsError};
use crate::store::settings::{Address, Login, Node, Redis, Tls, Topology};

/// A connection for commands. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To the nodes of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends a command and waits for its answer.
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

impl Connection {
    /// Tells the server who we are. A name is for operators; a user who may not give it one works all the same.
    pub(super) async fn introduce(&mut self) {
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(CLIENT_NAME);
        drop(self.ask(&name).await);
    }
}

/// Makes connections.
pub(super) struct Dialer {
    target: Target,
    timeout: Duration,
}

enum Target {
    Single(Client),
    Sentinel(Box<Sentinel>),
    Cluster(Vec<Client>, Option<TlsCertificates>),
}

struct Sentinel {
    addresses: Vec<ConnectionAddr>,
    master: String,
    sentinel_login: RedisConnectionInfo,
    login: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
}

/// Why settings cannot lead to a connection, ever.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// What is trusted cannot be read.
    #[error("what the store's TLS trusts cannot be used")]
    Tls(#[source] TlsError),
    /// The client refuses them.
    #[error("the store's address cannot be used")]
    Refused,
}

impl Dialer {
    /// From settings.
    pub(super) fn new(settings: &Redis) -> Result<Self, AddressError> {
        let certificates = match &settings.tls {
            Tls::Off => None,
            Tls::On { ca_file } => {
                // Read once: the client would read the machine's roots again at every attempt to connect.
                let roots = tls::roots_as_pem(ca_file.as_deref()).map_err(AddressError::Tls)?;
                Some(TlsCertificates { client_tls: None, root_cert: Some(roots) })
            }
        };
        let login = login(&settings.login).set_db(i64::from(settings.database));
        let client = |address: ConnectionAddr| client(address, &login, certificates.as_ref());
        let target = match &settings.topology {
            Topology::Single(Address::Tcp(node)) => Target::Single(client(address(node, &settings.tls))?),
            Topology::Single(Address::Unix(path)) => {
                let info = ConnectionAddr::Unix(path.clone()).into_connection_info();
                let info = info.map_err(|_| AddressError::Refused)?.set_redis_settings(login);
                Target::Single(Client::open(info).map_err(|_| AddressError::Refused)?)
            }
            Topology::Sentinel { master, nodes, login: sentinel_login } => {
                let sentinel = Sentinel {
                    addresses: nodes.iter().map(|node| address(node, &settings.tls)).collect(),
                    master: master.clone(),
                    sentinel_login: self::login(sentinel_login),
                    login,
                    certificates,
                };
                sentinel.client().map_err(|_| AddressError::Refused)?;
                Target::Sentinel(Box::new(sentinel))
            }
            Topology::Cluster { nodes } => {
                let clients = nodes.iter().map(|node| client(address(node, &settings.tls)));
                Target::Cluster(clients.collect::<Result<_, _>>()?, certificates)
            }
        };
        Ok(Self { target, timeout: settings.timeout })
    }

    /// A connection for commands that are answered within `patience`.
    pub(super) async fn commands(&self, patience: Duration) -> RedisResult<Connection> {
        // Whoever waits for an answer has a deadline of its own.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_concurrency_limit(CONCURRENT);
        match &self.target {
            Target::Single(client) => Self::single(client, &config).await,
            Target::Sentinel(sentinel) => {
                // Sentinels are asked anew each time: another server may be the master.
                let client = Box::pin(sentinel.client()?.async_get_client()).await?;
                Self::single(&client, &config).await
            }
            Target::Cluster(clients, certificates) => {
                let client = self.cluster(clients, certificates.as_ref(), patience)?;
                Ok(Connection::Cluster(Box::pin(client.get_async_connection()).await?))
            }
        }
    }

    /// A connection for subscriptions.
    pub(super) async fn subscriber(&self) -> RedisResult<PubSub> {
        match &self.target {
            Target::Single(client) => client.get_async_pubsub().await,
            Target::Sentinel(sentinel) => {
                let client = Box::pin(sentinel.client()?.async_get_client()).await?;
                client.get_async_pubsub().await
            }
            // What is published at one node of a cluster arrives at all. Any node will do that is there.
            Target::Cluster(clients, _) => {
                let start = usize::from(u16::from_le_bytes(random()));
                let mut last = None;
                for client in clients.iter().cycle().skip(start % clients.len().max(1)).take(clients.len()) {
                    match tokio::time::timeout(self.timeout, client.get_async_pubsub()).await {
                        Ok(Ok(subscriber)) => return Ok(subscriber),
                        Ok(Err(error)) => last = Some(error),
                        Err(_) => last = Some(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
                    }
                }
                Err(last.unwrap_or_else(|| (redis::ErrorKind::InvalidClientConfig, "no node").into()))
            }
        }
    }

    async fn single(client: &Client, config: &AsyncConnectionConfig) -> RedisResult<Connection> {
        let connection = Box::pin(client.get_multiplexed_async_connection_with_config(config));
        Ok(Connection::Single(connection.await?))
    }

    fn cluster(
        &self,
        clients: &[Client],
        certificates: Option<&TlsCertificates>,
        patience: Duration,
    ) -> RedisResult<ClusterClient> {
        let nodes = clients.iter().map(|client| client.get_connection_info().clone());
        let builder = ClusterClientBuilder::new(nodes)
            .tcp_settings(tcp())
            .connection_timeout(self.timeout)
            .response_timeout(patience)
            .connection_concurrency_limit(CONCURRENT);
        match certificates {
            Some(certificates) => builder.tls(TlsMode::Secure).certs(certificates.clone()),
            None => builder,
        }
        .build()
    }
}

impl Sentinel {
    fn client(&self) -> RedisResult<SentinelClient> {
        let mut builder =
            SentinelClientBuilder::new(self.addresses.clone(), &self.master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.login.db())
                .set_client_to_redis_tcp_settings(tcp())
                .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(username) = self.login.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = self.login.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = self.sentinel_login.username() {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = self.sentinel_login.password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }
}

fn login(login: &Login) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default();
    if let Some(username) = &login.username {
        info = info.set_username(username);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password.expose());
    }
    info
}

fn address(node: &Node, tls: &Tls) -> ConnectionAddr {
    match tls {
        Tls::Off => ConnectionAddr::Tcp(node.host.clone(), node.port),
        Tls::On { .. } => ConnectionAddr::TcpTls {
            host: node.host.clone(),
            port: node.port,
            insecure: false,
            tls_params: None,
        },
    }
}

fn client(
    address: ConnectionAddr,
    login: &RedisConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<Client, AddressError> {
    let info: ConnectionInfo = address.into_connection_info().map_err(|_| AddressError::Refused)?;
    let info = info.set_redis_settings(login.clone()).set_tcp_settings(tcp());
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    };
    client.map_err(|_| AddressError::Refused)
}

/// Small questions and small answers: none waits for the next to fill a packet.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Commands under way on one connection: more would only wait longer in a longer queue.
const CONCURRENT: usize = 1024;

/// What connections are called in `CLIENT LIST`.
const CLIENT_NAME: &str = "bearward";
