//! What one request costs inside, piece by piece and as a whole, without sockets.
//!
//! `cargo bench --bench micro`. Allocations are counted next to the time: they are what the budget is about.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Duration;

use bearward::base::secret::Secret;
use bearward::base::tasks::Tasks;
use bearward::base::time::{Clock, SystemClock};
use bearward::base::{http_client, tls};
use bearward::gate::Gate;
use bearward::gate::head::{RequestHead, RequestId};
use bearward::gate::policy::csrf::Origins;
use bearward::gate::route::path;
use bearward::gate::route::table::{Match, Table};
use bearward::gate::settings::{Auth, PathPattern, RefreshOn, Route, StreamRules, UpstreamId};
use bearward::gate::verdict::{ForwardPlan, Verdict};
use bearward::oidc::Provider;
use bearward::oidc::settings::{ClientAuth, Settings as ProviderSettings};
use bearward::session::codec;
use bearward::session::cookie::jar::{Jar, Names};
use bearward::session::cookie::seal::{Purpose, Sealer};
use bearward::session::model::{Identity, Session, SessionId, Tokens, bearer};
use bearward::session::sessions::{Sessions, Surroundings};
use bearward::session::settings::{
    AfterUnknown, Cookie, KeepIdToken, Key, Rollback, SameSite, Secure, Settings,
};
use bearward::telemetry::metrics::Metrics;
use divan::{AllocProfiler, Bencher, black_box};
use futures_util::FutureExt;
use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

const NAME: &str = "__Host-bearward";
const OTHERS: &str = "_ga=GA1.1.123456789.1763000000; theme=dark; prefs=";
const TARGET: &str = "/api/service-25/orders/4711?expand=lines&limit=50";

fn main() {
    tls::install_provider();
    divan::main();
}

#[divan::bench]
fn open(bencher: Bencher<'_, '_>) {
    let sealer = sealer();
    let sealed = sealer.seal(codec::encode(&session()).unwrap()).unwrap();
    let mut buffer = Vec::new();
    bencher.bench_local(|| sealer.open(black_box(sealed.as_bytes()), &mut buffer).unwrap().len());
}

#[divan::bench]
fn seal(bencher: Bencher<'_, '_>) {
    let sealer = sealer();
    let plain = codec::encode(&session()).unwrap();
    bencher.with_inputs(|| plain.clone()).bench_local_values(|plain| sealer.seal(plain).unwrap());
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let plain = codec::encode(&session()).unwrap();
    bencher.bench_local(|| codec::decode(black_box(&plain)).is_ok());
}

#[divan::bench]
fn decode_start(bencher: Bencher<'_, '_>) {
    let plain = codec::encode(&session()).unwrap();
    bencher.bench_local(|| codec::decode_start(black_box(&plain)).unwrap().generation);
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let session = session();
    bencher.bench_local(|| codec::encode(black_box(&session)).unwrap());
}

#[divan::bench]
fn read_jar(bencher: Bencher<'_, '_>) {
    let (headers, names) = (headers(), Names::new(NAME));
    bencher.bench_local(|| Jar::read(black_box(&headers), &names).chunks());
}

#[divan::bench]
fn cookies_of_others(bencher: Bencher<'_, '_>) {
    let (headers, names) = (headers(), Names::new(NAME));
    let jar = Jar::read(&headers, &names);
    bencher.bench_local(|| jar.others(black_box(&headers), &names));
}

#[divan::bench]
fn judge_path(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| path::judge(black_box(TARGET.as_bytes())).unwrap().path.as_str().len());
}

#[divan::bench]
fn match_route(bencher: Bencher<'_, '_>) {
    let table = table();
    let path = path::judge(TARGET.as_bytes()).unwrap().path;
    let host = Some("app.example");
    bencher.bench_local(|| matches!(table.find(host, black_box(path), &Method::GET), Match::Route(_)));
}

/// Routing and cookies, where no session is asked for.
#[divan::bench]
fn admit_none(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let request = request("/assets/app.js");
    bencher.bench_local(|| world.plan(black_box(&request)));
}

/// The whole decision with a session that is known and a token that is fresh, and the cookies of the response.
#[divan::bench]
fn admit_session(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let request = request(TARGET);
    // The first request makes the session known.
    drop(world.plan(&request));
    bencher.bench_local(|| {
        let plan = world.plan(black_box(&request));
        let cookies = world.gate.response_cookies(plan.session.as_ref().unwrap());
        (plan, cookies)
    });
}

/// A gate, and the runtime that its background work would run on.
struct World {
    gate: Gate,
    _runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = http_client::NetworkClient::new(&tls::trusting_nobody());
        let provider = Arc::new(Provider::new(provider(), Arc::new(http), Arc::clone(&clock)));
        let tasks = Tasks::new(runtime.handle().clone());
        let sessions = Sessions::new(
            settings(),
            provider,
            Surroundings { clock, tasks, metrics: Metrics::new(), fleet: None },
        )
        .unwrap();
        let origins = Origins::new(&"https://app.example".parse().unwrap(), &[]);
        Self { gate: Gate::new(table(), origins, None, sessions), _runtime: runtime }
    }

    fn plan(&self, request: &Parts) -> ForwardPlan {
        let target = request.uri.path_and_query().unwrap().as_str().as_bytes();
        let head = RequestHead { parts: request, target, peer: None, request_id: RequestId(1) };
        match self.gate.admit(&head).now_or_never() {
            Some(Verdict::Forward(plan)) => plan,
            other => panic!("not forwarded at once: {other:?}"),
        }
    }
}

/// A head as a browser's `fetch` makes it.
fn request(target: &str) -> Parts {
    let mut request = Request::get(target).body(()).unwrap().into_parts().0;
    let fields = [
        ("host", "app.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"),
        ("accept", "application/json"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
    ];
    request.headers = headers();
    for (name, value) in fields {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    request
}

/// 2.1 KB of cookies, 1.8 KB of them ours.
fn headers() -> HeaderMap {
    let sealed = sealer().seal(codec::encode(&session()).unwrap()).unwrap();
    let others = format!("{OTHERS}{}", "5".repeat(230));
    let line = format!("{others}; {NAME}={sealed}");
    HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(line).unwrap())])
}

/// Fifty routes: a service each.
fn table() -> Table {
    let route = |path: String, auth| {
        Arc::new(Route {
            name: format!("{path}/*"),
            host: None,
            path: PathPattern::Below(path),
            methods: Vec::new(),
            upstream: UpstreamId(0),
            rewrite: None,
            auth,
            refresh: RefreshOn::Requests,
            body_bytes: None,
            set_headers: Vec::new(),
            cors: None,
            stream: StreamRules::default(),
        })
    };
    let mut routes: Vec<_> =
        (1..50).map(|number| route(format!("/api/service-{number}"), Auth::Session)).collect();
    routes.push(route(String::new(), Auth::None));
    Table::new("app.example", "/oauth2", routes).unwrap()
}

/// Tokens of usual size: 1.3 KB in all, 1.8 KB sealed.
fn session() -> Session {
    let now = SystemClock.now();
    let hour = Duration::from_secs(3600);
    let claims = serde_json::json!({
        "name": "Alice Archer", "preferred_username": "alice", "email": "alice@example.com",
        "groups": ["staff", "orders-read", "orders-write"],
    });
    Session {
        sid: SessionId::from_bytes([3; 16]),
        generation: 1,
        identity: Identity {
            issuer: "https://id.example.com/realms/main".to_owned(),
            subject: "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
            provider_sid: Some("6f1c0a52-53b7-4e3b-a0f4-0c1ac2f2a5a1".to_owned()),
            auth_time: Some(now.as_secs()),
            nonce: "n".repeat(43),
        },
        login_at: now,
        refreshed_at: now,
        seen_at: now,
        expires_at: now.plus(hour),
        tokens: Tokens {
            bearer: bearer(&"a".repeat(840)).unwrap(),
            access_expires_at: now.plus(hour),
            refresh: Some(Secret::new("r".repeat(43))),
            id_token: None,
            scope: "openid profile email offline_access".to_owned(),
        },
        claims: claims.as_object().unwrap().clone(),
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[key()], Purpose::Session, NAME).unwrap()
}

fn key() -> Key {
    Key { id: "k".to_owned(), bytes: Secret::new([7; 32]) }
}

fn settings() -> Settings {
    Settings {
        keys: vec![key()],
        cookie: Cookie { name: NAME.to_owned(), same_site: SameSite::Lax, secure: Secure::Required },
        lifetime: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(3600),
        grace: Duration::from_secs(300),
        rollback: Rollback::End,
        after_unknown: AfterUnknown::RetryOnce,
        refresh_wait: Duration::from_secs(10),
        claims: Vec::new(),
        keep_id_token: KeepIdToken::Drop,
        capacity: 100,
    }
}

fn provider() -> ProviderSettings {
    ProviderSettings {
        issuer: "http://127.0.0.1:9".to_owned(),
        client_id: "bearward".to_owned(),
        client_auth: ClientAuth::Basic(Secret::new("secret".to_owned())),
        scopes: vec!["openid".to_owned()],
        authorization_params: Vec::new(),
        token_params: Vec::new(),
        resources: Vec::new(),
        require_refresh_token: false,
        id_token_algorithms: vec!["ES256".to_owned()],
        trusted_audiences: Vec::new(),
        clock_leeway: Duration::from_secs(60),
        ca_file: None,
        timeout: Duration::from_secs(10),
        default_token_life: Duration::from_secs(300),
        post_logout_redirect_uri: None,
        redirect_uri: "https://app.example/oauth2/callback".parse().unwrap(),
    }
}
