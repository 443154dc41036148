//! What a good file comes to, default by default.

use std::path::PathBuf;
use std::time::Duration;

use super::{CLIENT_SECRET, World, least, messages};
use crate::config::{Settings, Sources, load_watched};
use crate::gate::settings::{Auth, PathPattern, Piece, RefreshOn, StreamRules, UpstreamId, WhenTokenEnds};
use crate::oidc::settings::ClientAuth;
use crate::session::settings::{AfterUnknown, KeepIdToken, Rollback, SameSite, Secure};
use crate::store::settings::{Address, Denials, Kind, Node, Outage, RefreshAlone, Tls, Topology};
use crate::telemetry::settings::{AccessLog, Format};

#[track_caller]
fn load(text: &str) -> Settings {
    World::new().load(text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn defaults() {
    let settings = load(super::LEAST);
    let seconds = Duration::from_secs;
    let Settings { edge, gate, bff, session, store, oidc, telemetry, .. } = &settings;
    assert_eq!(edge.listeners.len(), 1);
    assert_eq!(edge.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(edge.admin.unwrap().to_string(), "127.0.0.1:9901");
    assert!(edge.workers >= 1);
    assert_eq!(
        (edge.limits.head_bytes, edge.limits.uri_bytes, edge.limits.connections),
        (65536, 16384, 10000)
    );
    assert_eq!((edge.limits.header_count, edge.limits.head_timeout), (100, seconds(10)));
    assert_eq!((edge.limits.connections_per_client, edge.limits.requests_per_connection), (None, 10_000));
    assert_eq!((edge.limits.http2_streams, edge.limits.body_bytes, edge.limits.body_rate), (100, None, 256));
    assert_eq!((edge.limits.cookie_bytes, edge.limits.cookie_count), (32768, 180));
    assert_eq!((edge.limits.idle_timeout, edge.limits.handshake_timeout), (seconds(75), seconds(10)));
    assert_eq!(
        (edge.drain.accept, edge.drain.linger, edge.drain.limit),
        (Duration::ZERO, seconds(1), seconds(25))
    );
    assert_eq!(edge.upstreams[0].name, "127.0.0.1:8080");
    assert_eq!(
        (edge.upstreams[0].connect_timeout, edge.upstreams[0].read_timeout),
        (seconds(5), seconds(60))
    );

    assert_eq!(gate.public_url.as_str(), "https://app.example.com/");
    assert_eq!(gate.routes[0].path, PathPattern::Below("/api".to_owned()));
    assert_eq!((gate.routes[0].auth, gate.routes[1].auth), (Auth::Session, Auth::None));
    assert_eq!((gate.routes[0].upstream, gate.routes[1].upstream), (UpstreamId(0), UpstreamId(1)));
    assert_eq!((gate.routes[0].refresh, gate.routes[0].name.as_str()), (RefreshOn::Requests, "/api/*"));
    assert_eq!((bff.base_path.as_str(), bff.default_return_to.as_str()), ("/oauth2", "/"));
    assert_eq!(bff.login_params, ["prompt", "login_hint", "acr_values", "max_age", "ui_locales"]);

    assert_eq!(session.keys.len(), 1);
    assert_eq!((session.cookie.name.as_str(), session.cookie.secure), ("__Host-bearward", Secure::Required));
    assert_eq!(session.cookie.same_site, SameSite::Lax);
    assert_eq!((session.lifetime, session.idle_timeout), (seconds(12 * 3600), seconds(3600)));
    assert_eq!((session.grace, session.refresh_wait), (seconds(300), seconds(10)));
    assert_eq!((session.rollback, session.after_unknown), (Rollback::End, AfterUnknown::RetryOnce));
    assert_eq!((session.keep_id_token, session.capacity), (KeepIdToken::Drop, 100_000));

    assert!(matches!(store.kind, Kind::Memory));
    let outage = Outage { denials: Denials::Open, refresh: RefreshAlone::Local, after: seconds(10) };
    assert_eq!(store.outage, outage);

    assert_eq!(oidc.scopes, ["openid", "profile", "email", "offline_access"]);
    assert_eq!(oidc.id_token_algorithms, ["RS256", "PS256", "ES256", "EdDSA"]);
    assert_eq!((oidc.clock_leeway, oidc.timeout), (seconds(60), seconds(15)));
    assert_eq!(oidc.default_token_life, seconds(300));
    assert_eq!(oidc.redirect_uri.as_str(), "https://app.example.com/oauth2/callback");
    assert!(matches!(&oidc.client_auth, ClientAuth::Basic(secret) if secret.expose() == CLIENT_SECRET));
    assert_eq!((telemetry.format, telemetry.access), (Format::Json, AccessLog::On));
}

#[test]
fn the_cookie_follows_from_the_public_url() {
    for (url, name, secure) in [
        ("https://app.example.com", "__Host-bearward", Secure::Required),
        ("http://localhost:8080", "bearward", Secure::Loopback),
        ("http://127.0.0.1", "bearward", Secure::Loopback),
        ("http://127.8.9.10:1", "bearward", Secure::Loopback),
        ("http://[::1]:8080", "bearward", Secure::Loopback),
    ] {
        let settings = load(&super::LEAST.replace("https://app.example.com", url));
        assert_eq!(
            (settings.session.cookie.name.as_str(), settings.session.cookie.secure),
            (name, secure),
            "{url}"
        );
    }
    for url in ["http://app.example.com", "http://localhost.example.com", "http://10.0.0.1", "http://0.0.0.0"]
    {
        let problems = World::new().load(&super::LEAST.replace("https://app.example.com", url)).unwrap_err();
        assert_eq!(messages(&problems), ["1:13 plain http outside this machine"], "{url}");
    }
}

#[test]
fn claims_of_templates_are_kept() {
    let text = super::LEAST
        .replace("auth: session", "auth: session, headers: { set: { X-User: \"{sub}/{email}\" } }");
    let settings = load(&text.replace("session:\n", "session:\n  claims: [groups, email, groups]\n"));
    assert_eq!(settings.session.claims, ["groups", "email"]);
    let (name, template) = &settings.gate.routes[0].set_headers[0];
    let claim = |name: &str| Piece::Claim(name.to_owned());
    assert_eq!(name.as_str(), "x-user");
    assert_eq!(template.0, [claim("sub"), Piece::Text("/".to_owned()), claim("email")]);
}

#[test]
fn a_route_says_how_long_its_responses_may_go_on() {
    let text = super::LEAST.replace("auth: session", "auth: session, stream: { limit: 8h, token: close }");
    let [ruled, unruled] = &load(&text).gate.routes[..] else { panic!("two routes") };
    let limit = Some(Duration::from_secs(8 * 3600));
    assert_eq!(ruled.stream, StreamRules { limit, when_token_ends: WhenTokenEnds::Close });
    assert_eq!(unruled.stream, StreamRules { limit: None, when_token_ends: WhenTokenEnds::GoOn });
}

#[test]
fn short_lives_shrink_the_defaults_that_follow() {
    let settings = load(&super::LEAST.replace("session:\n", "session:\n  lifetime: 2m\n"));
    assert_eq!(settings.session.idle_timeout, Duration::from_secs(120));
    assert_eq!(settings.session.grace, Duration::from_secs(120));
}

#[test]
fn variables_anywhere_and_aliases() {
    let mut world = World::new();
    for (name, value) in [("HOST", "app.example.com"), ("N", "3"), ("LIFE", "2h"), ("YES", "true")] {
        world.environment.insert(name.to_owned(), value.to_owned());
    }
    let text = super::LEAST
        .replace("app.example.com", "${HOST}")
        .replace("{ file: client-secret }", "${CLIENT_SECRET}")
        .replace("{ file: session.key }", "{ env: SESSION_KEY, id: a }, \"${OLD_KEY}\"")
        .replace("session:\n", "session:\n  lifetime: ${LIFE}\n  keep_id_token: ${YES}\n")
        .replace("/api/*, upstream: http://127.0.0.1:8080", "/api/*, upstream: &u http://127.0.0.1:8080")
        .replace("http://127.0.0.1:5173", "*u")
        + "workers: ${N}\ndrain: { limit: \"${NONE:-7s}\" }\n";
    let settings = world.load(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.gate.public_url.host_str(), Some("app.example.com"));
    assert_eq!(
        (settings.edge.workers, settings.edge.upstreams.len(), settings.session.keys.len()),
        (3, 1, 2)
    );
    assert_eq!(settings.edge.drain.limit, Duration::from_secs(7));
    assert_eq!(settings.session.keys[0].id, "a");
}

#[test]
fn upstreams_routes_and_switches() {
    let text = super::LEAST.replace("http://127.0.0.1:8080", "orders").replace(
        "auth: session }",
        "auth: session, refresh: false }\n  - { host: API.example.com, path: /health, methods: [GET], upstream: orders, auth: none }\n  - { host: api.example.com, path: /health, upstream: orders, auth: session }",
    ) + "upstreams: { orders: { endpoints: [https://orders.internal:8443], http2: true, timeouts: { read: 5m } } }\n\
         admin: { enabled: false }\nlog: { format: pretty, access: false, filter: debug }\n\
         limits: { head_bytes: 8KiB, uri_bytes: 8192 }\nendpoints: { base_path: /auth }\n\
         trusted_origins: [https://Other.example.com:443]\n";
    let settings = load(&text);
    assert_eq!(settings.edge.upstreams[0].endpoints[0].place.to_string(), "https://orders.internal:8443");
    assert!(settings.edge.upstreams[0].http2);
    assert_eq!(settings.edge.upstreams[0].read_timeout, Duration::from_secs(300));
    assert_eq!(settings.edge.admin, None);
    assert_eq!((settings.edge.limits.head_bytes, settings.edge.limits.uri_bytes), (8192, 8192));
    assert_eq!(settings.gate.routes[0].refresh, RefreshOn::Never);
    assert_eq!(settings.gate.routes[1].host.as_deref(), Some("api.example.com"));
    assert_eq!(settings.gate.routes[1].methods, [http::Method::GET]);
    assert_eq!(settings.gate.trusted_origins, ["https://other.example.com"]);
    assert_eq!(settings.oidc.redirect_uri.path(), "/auth/callback");
    assert_eq!((settings.telemetry.format, settings.telemetry.access), (Format::Pretty, AccessLog::Off));
}

#[test]
fn the_digest_tells_versions_apart() {
    let world = World::new();
    let digest = |text: &str| world.load(text).unwrap().source_digest;
    assert_eq!(digest(super::LEAST), digest(super::LEAST));
    assert_ne!(digest(super::LEAST), digest(&least("# a comment\n")));
}

#[test]
fn files_that_cannot_be_read() {
    let world = World::new();
    let said = |path: &std::path::Path| crate::config::load(path).unwrap_err().to_string();
    assert!(said(&world.path("none.yaml")).contains("cannot be used: no such file"));
    assert!(said(world.folder.path()).contains("cannot be used"));
    std::fs::write(world.path("latin1.yaml"), b"a: \xe4").unwrap();
    assert!(said(&world.path("latin1.yaml")).contains("it is not UTF-8"));
    std::fs::write(world.path("large.yaml"), vec![b'#'; 2 << 20]).unwrap();
    assert!(said(&world.path("large.yaml")).contains("it is larger than"));
    std::fs::write(world.path("gateway.yaml"), super::LEAST).unwrap();
    assert!(crate::config::load(&world.path("gateway.yaml")).is_ok());
    std::fs::write(world.path("bom.yaml"), format!("\u{feff}{}", super::LEAST)).unwrap();
    assert!(crate::config::load(&world.path("bom.yaml")).is_ok());
    std::fs::write(world.path("session.key"), vec![b'A'; 100_000]).unwrap();
    assert!(said(&world.path("gateway.yaml")).contains("it is larger than 65536 bytes"));
}

#[test]
fn stores() {
    let mut world = World::new();
    world.environment.insert("STORE_URL".to_owned(), "rediss://us%40er:p%2Fw@[::1]/3".to_owned());
    let store = |lines: &str| {
        let text = least(&format!("store: {lines}\n"));
        world.load(&text).unwrap_or_else(|problems| panic!("{problems}")).store
    };
    let redis = |lines: &str| match store(lines).kind {
        Kind::Redis(redis) => *redis,
        Kind::Memory | Kind::File(_) => panic!("no Redis"),
    };
    let node = |host: &str, port| Node { host: host.to_owned(), port };

    let Kind::File(path) = store("{ kind: file, path: state/store.redb }").kind else { panic!("no file") };
    assert_eq!(path, world.path("state/store.redb"));

    let one = redis("{ kind: redis, url: \"${STORE_URL}\", prefix: \"a:\", timeout: 250ms }");
    assert!(matches!(&one.topology, Topology::Single(Address::Tcp(at)) if *at == node("::1", 6379)));
    assert_eq!((one.tls, one.database, one.prefix.as_str()), (Tls::On { ca_file: None }, 3, "a:"));
    assert_eq!(one.timeout, Duration::from_millis(250));
    assert_eq!(one.login.username.as_deref(), Some("us@er"));
    assert_eq!(one.login.password.unwrap().expose(), "p/w");

    let socket = redis("{ kind: redis, url: unix:///run/redis.sock, password: { file: client-secret } }");
    assert!(
        matches!(&socket.topology, Topology::Single(Address::Unix(path)) if path.ends_with("redis.sock"))
    );
    assert_eq!((socket.tls, socket.database, socket.prefix.as_str()), (Tls::Off, 0, "bearward:"));
    assert_eq!(socket.login.password.unwrap().expose(), CLIENT_SECRET);

    let sentinel = "{ kind: redis, database: 2, sentinel: { master: m, nodes: [valkeys://a, valkeys://b:7] }, \
                    on_outage: { denials: closed, refresh: wait, after: 1m } }";
    let outage = store(sentinel).outage;
    let minute = Duration::from_secs(60);
    assert_eq!(outage, Outage { denials: Denials::Closed, refresh: RefreshAlone::Wait, after: minute });
    let behind = redis(sentinel);
    let Topology::Sentinel { master, nodes, login } = behind.topology else { panic!("no sentinel") };
    assert_eq!((master.as_str(), nodes), ("m", vec![node("a", 26379), node("b", 7)]));
    assert_eq!((behind.tls, behind.database), (Tls::On { ca_file: None }, 2));
    assert!(login.username.is_none() && login.password.is_none());

    let cluster = redis("{ kind: redis, cluster: { nodes: [redis://127.0.0.1, redis://localhost:7] } }");
    let Topology::Cluster { nodes } = cluster.topology else { panic!("no cluster") };
    assert_eq!(nodes, [node("127.0.0.1", 6379), node("localhost", 7)]);
}

#[test]
fn rules_about_other_origins_are_the_files_unless_a_route_has_its_own() {
    let text = super::LEAST.replace(
        "auth: session }",
        "auth: session }\n  - { path: /none, upstream: http://127.0.0.1:8080, auth: session, cors: { origins: [] } }",
    ) + "cors: { origins: [https://Spa.example.com:443] }\n";
    let settings = load(&text);
    let granted = |cors: Option<&std::sync::Arc<crate::gate::settings::Cors>>| {
        let origin = http::HeaderValue::from_static("https://spa.example.com");
        cors.is_some_and(|cors| {
            cors.grant(&http::HeaderMap::from_iter([(http::header::ORIGIN, origin)])).is_some()
        })
    };
    assert!(granted(settings.gate.cors.as_ref()));
    let routes: Vec<_> = settings.gate.routes.iter().map(|route| granted(route.cors.as_ref())).collect();
    assert_eq!(routes, [true, false, true]);
}

#[test]
fn what_is_watched_is_what_was_read() {
    let world = World::new();
    let file = world.path("gateway.yaml");
    std::fs::write(&file, super::LEAST).unwrap();
    let loaded = load_watched(&file, &Sources::default());
    let expected = [file.clone(), world.path("client-secret"), world.path("session.key")];
    assert_eq!(loaded.sources, Sources::of(expected.iter().map(PathBuf::as_path)));
    assert_eq!(loaded.fingerprint, loaded.sources.fingerprint());
    // What is wrong now is watched, and what was in use.
    std::fs::write(&file, super::LEAST.replace("client-secret }", "gone }")).unwrap();
    let broken = load_watched(&file, &loaded.sources);
    assert!(broken.settings.is_err() && !broken.fingerprint.whole);
    let more = Sources::of([world.path("gone").as_path()]);
    assert_eq!(broken.sources, loaded.sources.with(&more));
}
