//! The laws over the network: TLS and a user, sentinels, a cluster.

use std::time::Duration;

use super::laws::{self, all_entries, attentive};
use super::server::{Options, Server, free_port};
use super::{PATIENCE, Subject, done, key, open, redis_at, swap, until};
use crate::base::secret::Secret;
use crate::store::settings::{Address, Login, Node, Redis, Tls, Topology};
use crate::store::{Cursor, StoreError};

#[tokio::test]
async fn over_the_network() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let settings = redis_at(Topology::Single(Address::Tcp(server.node())));
    laws::all(&Subject::over(&Redis { database: 3, prefix: "other:".to_owned(), ..settings })).await;
    let keys: String = server.run(&["INFO", "keyspace"]);
    assert!(keys.contains("db3:keys=") && !keys.contains("db0:"), "{keys}");
}

#[tokio::test]
async fn over_tls_as_a_user_who_may_do_no_more_than_needed() {
    let (own, other) = (Wire::tls(), Wire::tls());
    let lines = ["user default off", "user admin on >admin ~* &* +@all"].map(str::to_owned);
    let mut options = own.options(lines.into_iter().chain([user("")]).collect());
    options.files.push(("other.crt", other.certificate()));
    let Some(server) = Server::start(options).await else { return };
    let trusting = |name: &str| Redis {
        tls: Tls::On { ca_file: Some(server.folder.path().join(name)) },
        login: login("bearward"),
        ..redis_at(Topology::Single(Address::Tcp(server.node())))
    };
    let subject = Subject::over(&trusting("own.crt"));
    laws::all(&subject).await;
    let clients: String = server.run(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains(" name=bearward ")), "{clients}");

    // Whoever presents a certificate that nobody vouches for hears no password.
    let misled = open(&trusting("other.crt"));
    let refused = until("a failed handshake", || async {
        misled.read(key()).await.err().filter(|error| *error != StoreError::TimedOut)
    });
    assert_eq!(refused.await, StoreError::Unreachable);
}

#[tokio::test]
async fn behind_sentinels_that_choose_another_master() {
    behind_sentinels(&Wire::plain()).await;
}

#[tokio::test]
async fn behind_sentinels_over_tls() {
    behind_sentinels(&Wire::tls()).await;
}

async fn behind_sentinels(wire: &Wire) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(mut master) = Server::start(wire.options(vec![user("+role")])).await else { return };
    let lines = vec![format!("replicaof 127.0.0.1 {}", master.port), user("+role")];
    let Some(replica) = Server::start(wire.options(lines)).await else { return };
    let monitor = format!("sentinel monitor ours 127.0.0.1 {} 1", master.port);
    let lines = [
        monitor.as_str(),
        "sentinel down-after-milliseconds ours 500",
        "sentinel failover-timeout ours 3000",
        "user watcher on >hunter2 -@all +sentinel|masters",
    ];
    let lines = lines.map(str::to_owned).to_vec();
    let arguments = vec!["--sentinel".to_owned()];
    let options = Options { arguments, ..wire.options(lines) };
    let Some(sentinel) = Server::start(options).await else { return };
    until("a replica that follows", || async {
        let role: String = replica.run(&["INFO", "replication"]);
        let known: String = sentinel.run(&["INFO", "sentinel"]);
        (role.contains("master_link_status:up") && known.contains("slaves=1")).then_some(())
    })
    .await;

    let away = Node { host: "127.0.0.1".to_owned(), port: free_port() };
    let nodes = vec![away, sentinel.node()];
    let topology = Topology::Sentinel { master: "ours".to_owned(), nodes, login: Login::default() };
    let settings = Redis { tls: wire.trusting(&sentinel), ..redis_at(topology) };
    let subject = Subject::over(&settings);
    laws::all(&subject).await;

    let mut listeners = [subject.one.notes(), subject.two.notes()];
    attentive(&subject, &mut listeners).await;
    let kept = key();
    let version = done(&subject.one, swap(kept, None, "kept")).await;
    subject.one.append(b"before".to_vec(), HOUR).await.unwrap();
    let (_, cursor) = all_entries(&subject.two, Cursor::default()).await;
    assert_eq!(master.run::<u32>(&["WAIT", "1", "10000"]), 1);
    master.kill();
    until("another master", || async { subject.one.append(b"after".to_vec(), HOUR).await.ok() }).await;
    let record = until("a read", || async { subject.two.read(kept).await.ok() }).await.record;
    assert_eq!(record, Some((version, b"kept".to_vec())));
    assert_eq!(subject.two.entries(cursor, PATIENCE).await.unwrap().entries.last().unwrap(), b"after");
    attentive(&subject, &mut listeners).await;
    assert_eq!((subject.one.data_lost_at(), subject.two.data_lost_at()), (None, None));
}

#[tokio::test]
async fn in_a_cluster() {
    cluster(&Wire::plain()).await;
}

#[tokio::test]
async fn in_a_cluster_over_tls() {
    cluster(&Wire::tls()).await;
}

async fn cluster(wire: &Wire) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut servers = Vec::new();
    let mut buses = Vec::new();
    for _ in 0..3 {
        let bus = free_port();
        let lines = ["cluster-enabled yes", "cluster-node-timeout 2000", "appendonly yes"].map(str::to_owned);
        let lines =
            lines.into_iter().chain([format!("cluster-port {bus}"), user("+cluster|slots")]).collect();
        let Some(server) = Server::start(wire.options(lines)).await else { return };
        servers.push(server);
        buses.push(bus.to_string());
    }
    for (server, slots) in servers.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
        server.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
    }
    for (server, bus) in servers.iter().zip(&buses).skip(1) {
        servers[0].run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &server.port.to_string(), bus]);
    }
    let whole = || async {
        let knows = |server: &Server| {
            let info: String = server.run(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        servers.iter().all(knows).then_some(())
    };
    until("a cluster", whole).await;

    // One of its nodes leads to all of them.
    let away = Node { host: "127.0.0.1".to_owned(), port: free_port() };
    let topology = Topology::Cluster { nodes: vec![away, servers[2].node()] };
    let tls = wire.trusting(&servers[2]);
    let settings = Redis { login: login("bearward"), tls, ..redis_at(topology) };
    let subject = Subject::over(&settings);
    laws::all(&subject).await;
    let spread: Vec<u64> = servers.iter().map(|server| server.run(&["DBSIZE"])).collect();
    assert!(spread.iter().all(|records| *records > 0), "{spread:?}");

    // A node dies and comes back with its data.
    let mut listeners = [subject.one.notes(), subject.two.notes()];
    attentive(&subject, &mut listeners).await;
    servers[1].kill();
    servers[1].begin().await;
    let all_slots = || async {
        for _ in 0..20 {
            subject.one.swap(swap(key(), None, "x")).await.ok()?;
        }
        Some(())
    };
    until("a cluster that works again", all_slots).await;
    attentive(&subject, &mut listeners).await;
    assert_eq!((subject.one.data_lost_at(), subject.two.data_lost_at()), (None, None));

    // Whichever node loses its data, it is noticed.
    for server in &servers {
        let before = [&subject.one, &subject.two].map(|store| store.data_lost_at());
        server.run::<()>(&["FLUSHALL"]);
        for (store, before) in [&subject.one, &subject.two].into_iter().zip(before) {
            let lost = || async { store.data_lost_at().filter(|at| Some(*at) != before) };
            until("the loss to be noticed", lost).await;
        }
    }
}

/// How servers are spoken to, and speak to each other.
struct Wire(Option<rcgen::CertifiedKey<rcgen::KeyPair>>);

impl Wire {
    fn plain() -> Self {
        Self(None)
    }

    /// A certificate that all of them share.
    fn tls() -> Self {
        crate::base::tls::install_provider();
        Self(Some(rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()))
    }

    fn certificate(&self) -> String {
        self.0.as_ref().unwrap().cert.pem()
    }

    fn options(&self, mut lines: Vec<String>) -> Options {
        let Some(own) = &self.0 else { return Options { lines, ..Options::default() } };
        let more = [
            "port 0",
            "tls-port {port}",
            "tls-cert-file {folder}/own.crt",
            "tls-key-file {folder}/own.key",
            "tls-ca-cert-file {folder}/own.crt",
            "tls-auth-clients no",
            "tls-replication yes",
        ];
        lines.extend(more.map(str::to_owned));
        if lines.iter().any(|line| line == "cluster-enabled yes") {
            lines.push("tls-cluster yes".to_owned());
        }
        let files = vec![("own.crt", own.cert.pem()), ("own.key", own.signing_key.serialize_pem())];
        Options { lines, files, ..Options::default() }
    }

    /// What whoever speaks to `server` trusts.
    fn trusting(&self, server: &Server) -> Tls {
        match &self.0 {
            None => Tls::Off,
            Some(_) => Tls::On { ca_file: Some(server.folder.path().join("own.crt")) },
        }
    }
}

/// The user of `docs/configuration.md`, who may also do `more`.
fn user(more: &str) -> String {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    let shown = page.split("`user bearward on >… ").nth(1).unwrap().split('`').next().unwrap();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("user bearward on >hunter2 {shown} {more}")
}

fn login(name: &str) -> Login {
    Login { username: Some(name.to_owned()), password: Some(Secret::new("hunter2".to_owned())) }
}

/// Several servers each: together they would leave the other tests no time.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
const HOUR: Duration = Duration::from_secs(3600);
