//! `store`: where it is, how it is spoken to, what follows while it is away.

use std::ops::Range;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::positive;
use crate::base::secret::Secret;
use crate::config::environment::Source;
use crate::config::problems::Findings;
use crate::config::raw::store as raw;
use crate::config::reader::At;
use crate::config::secrets::{SecretText, SecretUrl};
use crate::config::tree::Origin;
use crate::config::values::Period;
use crate::store::settings::{
    Address, Denials, Kind, Login, Node, Outage, Redis, RefreshAlone, Settings, Tls, Topology,
};

/// Checks it.
pub(super) fn check(mut raw: raw::Store, findings: &mut Findings) -> Option<Settings> {
    let kind = raw.kind.as_ref()?.value;
    let foreign = foreign_keys(&raw, kind);
    for (at, what) in &foreign {
        findings.report(at, format!("not a key of this kind of store: {what}")).help("drop the key");
    }
    let outage = raw.on_outage.take().and_then(|raw| check_outage(raw.value, findings));
    let kind = match kind {
        raw::StoreKind::Memory => Some(Kind::Memory),
        raw::StoreKind::File => match raw.path {
            Some(path) => Some(Kind::File(path.value)),
            None => {
                let at = &raw.kind.as_ref()?.at;
                findings.report(at, "a store in a file without `path`").help("add `path: …`");
                None
            }
        },
        raw::StoreKind::Redis => {
            check_redis(RawRedis::from(raw)?, findings).map(|redis| Kind::Redis(Box::new(redis)))
        }
    };
    Some(Settings { kind: kind?, outage: outage? }).filter(|_| foreign.is_empty())
}

/// Keys that were written and belong to another kind of store, and what they are for.
fn foreign_keys(raw: &raw::Store, kind: raw::StoreKind) -> Vec<(Range<usize>, &'static str)> {
    fn place<T>(key: Option<&At<T>>) -> Option<Range<usize>> {
        key.filter(|key| key.origin == Origin::Written).map(|key| key.at.clone())
    }
    let file = [place(raw.path.as_ref())];
    let redis = [
        place(raw.url.as_ref()),
        place(raw.sentinel.as_ref()),
        place(raw.cluster.as_ref()),
        place(raw.database.as_ref()),
        place(raw.username.as_ref()),
        place(raw.password.as_ref()),
        place(raw.tls.as_ref()),
        place(raw.prefix.as_ref()),
        place(raw.timeout.as_ref()),
    ];
    let outage = [place(raw.on_outage.as_ref())];
    let file = file.into_iter().flatten().map(|at| (at, "it is for `kind: file`"));
    let redis = redis.into_iter().flatten().map(|at| (at, "it is for `kind: redis`"));
    let outage = outage.into_iter().flatten().map(|at| (at, "memory has no outage"));
    match kind {
        raw::StoreKind::Memory => file.chain(redis).chain(outage).collect(),
        raw::StoreKind::File => redis.collect(),
        raw::StoreKind::Redis => file.collect(),
    }
}

fn check_outage(raw: raw::OnOutage, findings: &mut Findings) -> Option<Outage> {
    let after = positive(raw.after, findings);
    let denials = match raw.denials?.value {
        raw::OutageDenials::Open => Denials::Open,
        raw::OutageDenials::Closed => Denials::Closed,
    };
    let refresh = match raw.refresh?.value {
        raw::OutageRefresh::Local => RefreshAlone::Local,
        raw::OutageRefresh::Wait => RefreshAlone::Wait,
    };
    Some(Outage { denials, refresh, after: after? })
}

/// The keys for `kind: redis`.
struct RawRedis {
    kind: Range<usize>,
    url: Option<At<SecretUrl>>,
    sentinel: Option<At<raw::Sentinel>>,
    cluster: Option<At<raw::Cluster>>,
    database: Option<At<u32>>,
    username: Option<At<String>>,
    password: Option<At<SecretText>>,
    tls: Option<At<raw::StoreTls>>,
    prefix: Option<At<String>>,
    timeout: Option<At<Period>>,
}

impl RawRedis {
    fn from(raw: raw::Store) -> Option<Self> {
        let raw::Store { url, sentinel, cluster, database, username, password, tls, prefix, timeout, .. } =
            raw;
        let kind = raw.kind?.at;
        Some(Self { kind, url, sentinel, cluster, database, username, password, tls, prefix, timeout })
    }
}

/// What one URL says.
struct Place {
    address: Address,
    encryption: Encryption,
    database: Option<u32>,
    login: Login,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    None,
    Tls,
}

fn check_redis(raw: RawRedis, findings: &mut Findings) -> Option<Redis> {
    let RawRedis { kind, url, sentinel, cluster, database, username, password, tls, prefix, timeout } = raw;
    let timeout = positive(timeout, findings);
    let prefix = prefix.and_then(|prefix| check_prefix(prefix, findings));
    let addresses = [
        url.as_ref().map(|key| key.at.clone()),
        sentinel.as_ref().map(|key| key.at.clone()),
        cluster.as_ref().map(|key| key.at.clone()),
    ];
    one_address(&kind, addresses, findings)?;
    let (topology, encryption, in_url) = if let Some(url) = url {
        let place = check_url(&url, findings)?;
        let clashes = [
            (place.login.username.is_some(), username.as_ref().map(|key| &key.at), "user"),
            (place.login.password.is_some(), password.as_ref().map(|key| &key.at), "password"),
            (place.database.is_some(), database.as_ref().map(|key| &key.at), "database"),
        ];
        for (in_url, key, what) in clashes {
            if let (true, Some(at)) = (in_url, key) {
                findings.report(at, format!("the {what} stands in the URL too")).also(&url.at, "here");
            }
        }
        (Topology::Single(place.address), place.encryption, (place.login, place.database))
    } else if let Some(sentinel) = sentinel {
        let (topology, encryption) = check_sentinel(sentinel.value, findings)?;
        (topology, encryption, (Login::default(), None))
    } else {
        let (nodes, encryption) = check_nodes(cluster?.value.nodes?, 6379, findings)?;
        if let Some(number) = database.as_ref().filter(|number| number.value != 0) {
            findings.report(&number.at, "a cluster has one database").help("drop the key");
        }
        (Topology::Cluster { nodes }, encryption, (Login::default(), None))
    };
    let (login, in_url) = in_url;
    let password_written = password.is_some() || login.password.is_some();
    if let Some(at) = username.as_ref().map(|key| &key.at).filter(|_| !password_written) {
        findings.report(at, "a user without a password").help("add `password: { file: … }`");
    }
    let login = Login {
        username: login.username.or_else(|| username.map(|name| name.value)),
        password: login.password.or_else(|| password.and_then(|password| password.value.0)),
    };
    let tls = check_tls(tls, encryption, findings);
    let database = in_url.or_else(|| database.map(|key| key.value)).unwrap_or(0);
    Some(Redis { topology, tls: tls?, login, database, prefix: prefix?, timeout: timeout? })
}

/// Whether there is an address, and only one.
fn one_address(
    kind: &Range<usize>,
    addresses: [Option<Range<usize>>; 3],
    findings: &mut Findings,
) -> Option<()> {
    let help = "write one of `url`, `sentinel` and `cluster`";
    let mut addresses = addresses.into_iter().flatten();
    let Some(first) = addresses.next() else {
        findings.report(kind, "a store without an address").help(help);
        return None;
    };
    match addresses.next() {
        Some(second) => {
            findings.report(&second, "a second address").also(&first, "the first").help(help);
            None
        }
        None => Some(()),
    }
}

fn check_prefix(prefix: At<String>, findings: &mut Findings) -> Option<String> {
    // Braces would put every name of a cluster on one node.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":._-/".contains(&byte);
    if prefix.value.is_empty() || prefix.value.len() > 64 || !prefix.value.bytes().all(plain) {
        findings
            .report(&prefix.at, "not a prefix of names")
            .help("1 to 64 letters, digits and `:` `.` `_` `-` `/`");
        return None;
    }
    Some(prefix.value)
}

fn check_tls(raw: Option<At<raw::StoreTls>>, encryption: Encryption, findings: &mut Findings) -> Option<Tls> {
    match (encryption, raw) {
        (Encryption::Tls, raw) => {
            let ca_file = raw.and_then(|raw| raw.value.ca_file).map(|path| path.value);
            Some(Tls::On { ca_file })
        }
        (Encryption::None, None) => Some(Tls::Off),
        (Encryption::None, Some(raw)) => {
            findings.report(&raw.at, "there is no TLS here").help("write `rediss://`, or drop the key");
            None
        }
    }
}

fn check_sentinel(raw: raw::Sentinel, findings: &mut Findings) -> Option<(Topology, Encryption)> {
    let nodes = raw.nodes.and_then(|nodes| check_nodes(nodes, 26379, findings));
    let master = raw.master?;
    if master.value.trim().is_empty() {
        findings.report(&master.at, "the name is empty");
        return None;
    }
    if let (Some(username), None) = (&raw.username, &raw.password) {
        findings.report(&username.at, "a user without a password").help("add `password: { file: … }`");
    }
    let login = Login {
        username: raw.username.map(|name| name.value),
        password: raw.password.and_then(|password| password.value.0),
    };
    let (nodes, encryption) = nodes?;
    Some((Topology::Sentinel { master: master.value, nodes, login }, encryption))
}

fn check_nodes(
    list: At<Vec<At<String>>>,
    default_port: u16,
    findings: &mut Findings,
) -> Option<(Vec<Node>, Encryption)> {
    if list.value.is_empty() {
        findings.report(&list.at, "no node is named").help("write `[rediss://host:port]`");
        return None;
    }
    let wanted = list.value.len();
    let mut nodes = Vec::new();
    let mut first: Option<(Encryption, Range<usize>)> = None;
    for text in list.value {
        let Some(place) = parse(&text.value, default_port) else {
            findings.report(&text.at, "not a node").help("write `rediss://host:port` or `redis://host:port`");
            continue;
        };
        let Place { address, encryption, database, login } = place;
        if login.username.is_some() || login.password.is_some() {
            findings.report(&text.at, "a node with user information").help("use `username` and `password`");
        } else if database.is_some() {
            findings.report(&text.at, "a node has no database").help("use `database`");
        } else if let Some((_, at)) = first.as_ref().filter(|(others, _)| *others != encryption) {
            findings.report(&text.at, "some nodes with TLS and some without").also(at, "the first");
        } else if let Address::Tcp(node) = address {
            warn_if_plain(&text.at, &node, encryption, findings);
            nodes.push(node);
            first = first.or(Some((encryption, text.at)));
        } else {
            findings.report(&text.at, "a node that is a socket").help("write `redis://127.0.0.1:port`");
        }
    }
    let (encryption, _) = first?;
    (nodes.len() == wanted).then_some((nodes, encryption))
}

fn check_url(url: &At<SecretUrl>, findings: &mut Findings) -> Option<Place> {
    let Some(place) = parse(&url.value.text, 6379) else {
        findings
            .report(&url.at, "not the URL of a Redis")
            .help("write `rediss://host:port`, `redis://host:port` or `unix:///path`");
        return None;
    };
    if let Address::Tcp(node) = &place.address {
        warn_if_plain(&url.at, node, place.encryption, findings);
    }
    // `redis://:${PASSWORD}@host` is good; a password that is nowhere but in the file is not.
    if place.login.password.is_some() && url.value.source == Source::File {
        findings
            .report(&url.at, "a secret must not stand in the configuration file")
            .help("write `${NAME}` for the password or the URL, or add `password: { file: … }`");
        return None;
    }
    Some(place)
}

fn warn_if_plain(at: &Range<usize>, node: &Node, encryption: Encryption, findings: &mut Findings) {
    let here = node.host == "localhost"
        || node.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if encryption == Encryption::None && !here {
        findings.warn(at, "the store is spoken to without TLS outside this machine").help(
            "use `rediss://`: values are sealed, but whoever is on the way could delete and replay them",
        );
    }
}

fn parse(text: &str, default_port: u16) -> Option<Place> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let encryption = match url.scheme() {
        "redis" | "valkey" => Encryption::None,
        "rediss" | "valkeys" => Encryption::Tls,
        "unix" | "redis+unix" | "valkey+unix" => return socket(&url),
        _ => return None,
    };
    if url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let database = match url.path().trim_start_matches('/') {
        "" => None,
        number => Some(number.parse().ok()?),
    };
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    let port = url.port().unwrap_or(default_port);
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let login = Login {
        username: match url.username() {
            "" => None,
            name => Some(decoded(name)?),
        },
        password: match url.password() {
            None => None,
            Some(password) => Some(Secret::new(decoded(password)?)),
        },
    };
    Some(Place { address: Address::Tcp(Node { host, port }), encryption, database, login })
}

fn socket(url: &Url) -> Option<Place> {
    let path = percent_decode_str(url.path()).decode_utf8().ok().filter(|path| path.len() > 1)?;
    let bare = url.query().is_none() && url.fragment().is_none() && url.host_str().is_none_or(str::is_empty);
    let address = Address::Unix(PathBuf::from(path.as_ref()));
    bare.then(|| Place { address, encryption: Encryption::None, database: None, login: Login::default() })
}
