//! The files that the design and the docs show.

use std::fs;

use super::{World, messages, repository};

const LEAST: &str = "\
public_url: https://app.example.com
provider:
  issuer: https://id.example.com
  client_id: bearward
  client_secret: { file: /run/secrets/client-secret }
session:
  keys: [ { file: /run/secrets/session.key } ]
routes:
  - { path: /api/*, upstream: http://127.0.0.1:8080, auth: session }
  - { path: /*,     upstream: http://127.0.0.1:5173, auth: none }
";

const COMMON: &str = r#"public_url: https://app.example.com          # the origin that browsers see; redirect_uri and cookies follow from it
listeners:
  - { address: 0.0.0.0:8443, tls: { cert: /tls/tls.crt, key: /tls/tls.key } }
admin: { address: 127.0.0.1:9901 }           # /healthz /readyz /metrics; never on a public listener
trusted_proxies: []                          # CIDRs whose Forwarded / X-Forwarded-* are believed; none by default

provider:
  issuer: https://id.example.com
  client_id: bearward
  client_auth: { method: private_key_jwt, key: { file: client.pem } }
  scopes: [openid, profile, offline_access]
  reuse_interval: 0s                         # the provider's own overlap for a spent refresh token

session:
  keys:                                      # the first seals, all open; `bearward keygen` makes one
    - { id: 2026-11, file: session-2026-11.key }
    - { id: 2026-05, file: session-2026-05.key }
  cookie: { name: __Host-bearward, same_site: lax }
  lifetime: 12h
  idle_timeout: 1h
  grace: 5m                                  # how long a superseded cookie still works
  rollback: end                              # or reject

store: { kind: memory }                      # or { kind: redis, url: rediss://redis:6379 }

bearer:                                      # access tokens that API clients bring themselves
  - issuer: https://id.example.com
    audiences: [orders]
  - issuer: https://legacy.example.com
    introspection: { endpoint: …, client_id: …, client_secret: … }

upstreams:
  orders: { endpoints: [http://10.0.0.1:8080, http://10.0.0.2:8080], health: { path: /healthz } }

routes:
  - path: /api/orders/*
    methods: [GET, POST]
    upstream: orders
    auth: any                                # session | bearer | any (either) | optional | none
    require: { scopes: [orders.read], claims: { groups: { contains: staff } } }
    headers: { set: { X-Forwarded-User: "{sub}", X-Forwarded-Email: "{email}" } }
"#;

impl World {
    /// The files of this world stand for those that a text names in `/run/secrets` and `/tls`.
    fn at_home(&self, text: &str) -> String {
        let home = self.folder.path().display().to_string();
        text.replace("/run/secrets/", &format!("{home}/")).replace("/tls/", &format!("{home}/"))
    }

    fn with_tls(self) -> Self {
        crate::base::tls::install_provider();
        let made = rcgen::generate_simple_self_signed(["app.example.com".to_owned()]).unwrap();
        fs::write(self.path("tls.crt"), made.cert.pem()).unwrap();
        fs::write(self.path("tls.key"), made.signing_key.serialize_pem()).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.example.com".to_owned()]).unwrap();
        fs::write(self.path("other.key"), other.signing_key.serialize_pem()).unwrap();
        self
    }
}

#[test]
fn the_least_file_loads() {
    let world = World::new();
    let settings = world.load(&world.at_home(LEAST)).unwrap();
    assert!(settings.warnings.is_empty(), "{}", settings.warnings);
}

#[test]
fn the_common_file_is_refused_for_what_is_not_built_yet_and_nothing_else() {
    let world = World::new().with_tls();
    fs::copy(world.path("session.key"), world.path("session-2026-11.key")).unwrap();
    fs::copy(world.path("old.key"), world.path("session-2026-05.key")).unwrap();
    let problems = world.load(&world.at_home(COMMON)).unwrap_err();
    assert_eq!(
        messages(&problems),
        [
            "10:26 `private_key_jwt`: not yet supported",
            "26:1 access tokens that clients bring themselves: not yet supported",
            "39:11 this kind of `auth`: not yet supported",
            "40:14 requirements on scopes and claims: not yet supported",
        ]
    );
}

#[test]
fn certificates_and_keys_are_looked_at() {
    let world = World::new().with_tls();
    let check = |tls: &str, expected: &str| {
        let text = super::least(&format!("listeners: [ {{ address: 127.0.0.1:8443, tls: {tls} }} ]\n"));
        match world.load(&text) {
            Ok(_) => assert_eq!(expected, "loads"),
            Err(problems) => {
                let said = problems.to_string();
                assert!(said.contains(expected), "{tls}:\n{said}");
            }
        }
    };
    check("{ cert: tls.crt, key: tls.key }", "loads");
    check("{ cert: tls.crt, key: other.key }", "the certificate or key is not usable");
    check("{ cert: tls.key, key: tls.key }", "no readable PEM certificate");
    check("{ cert: tls.crt, key: tls.crt }", "no readable PEM private key");
    check("{ cert: none.crt, key: none.key }", "the file cannot be used: no such file");
    let text = super::LEAST.replace("  client_id:", "  ca_file: session.key\n  client_id:");
    assert_eq!(world.load(&text).unwrap_err().iter().count(), 1);
    let text = super::LEAST.replace("  client_id:", "  ca_file: tls.crt\n  client_id:");
    assert!(world.load(&text).is_ok());
}

#[test]
fn every_sample_loads() {
    let world = World::new().with_tls();
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = world.at_home(&fs::read_to_string(&path).unwrap());
            let settings =
                world.load(&text).unwrap_or_else(|problems| panic!("{}\n{problems}", path.display()));
            assert!(settings.warnings.is_empty(), "{}\n{}", path.display(), settings.warnings);
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

/// Whoever stops the gateway must wait for what it finishes: connections until `drain.limit`, then refreshes.
#[test]
fn samples_of_deployment_load_and_give_the_drain_its_time() {
    let world = World::new().with_tls();
    let sample = |name: &str| fs::read_to_string(repository().join("deploy").join(name)).unwrap();
    let kubernetes = sample("kubernetes/bearward.yaml");
    let (_, rest) = kubernetes.split_once("  bearward.yaml: |\n").unwrap();
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    let text = lines.collect::<Vec<_>>().join("\n");
    let home = world.folder.path().display().to_string();
    let settings = world.load(&text.replace("/secrets/", &format!("{home}/"))).unwrap();
    assert_eq!(
        settings.edge.admin.unwrap().to_string(),
        "0.0.0.0:9901",
        "probes come from outside of the pod"
    );
    let number = |text: &str, key: &str| -> u64 {
        text.split(key).nth(1).unwrap().lines().next().unwrap().trim().parse().unwrap()
    };
    let needed = |settings: &crate::config::Settings| {
        let drain = &settings.edge.drain;
        (drain.accept + drain.limit + drain.limit.max(std::time::Duration::from_secs(15))).as_secs()
    };
    assert!(number(&kubernetes, "terminationGracePeriodSeconds:") > needed(&settings));
    let defaults = world.load(super::LEAST).unwrap();
    assert!(number(&sample("systemd/bearward.service"), "TimeoutStopSec=") > needed(&defaults));
}

#[test]
fn every_file_that_the_docs_show_loads() {
    let world = World::new().with_tls();
    let page = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let mut seen = 0;
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        // Blocks without an origin show one section and not a file.
        if text.contains("public_url:") {
            let text = world.at_home(text);
            world.load(&text).unwrap_or_else(|problems| panic!("{problems}"));
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

#[test]
fn keys_that_the_docs_show_are_refused() {
    let world = World::new();
    let page = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let is_key = |word: &&str| word.len() == 43 && !word.contains(['/', '.']);
    let shown: Vec<&str> = page.split(|c: char| c.is_whitespace() || c == '`').filter(is_key).collect();
    assert!(!shown.is_empty());
    for key in shown {
        fs::write(world.path("session.key"), key).unwrap();
        let problems = world.load(super::LEAST).unwrap_err();
        assert_eq!(messages(&problems), ["7:11 the session key is unusable: a placeholder, not a key"]);
    }
}
