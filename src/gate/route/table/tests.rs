//! Tests of the table.

use super::*;
use crate::gate::route::path::judge;
use crate::gate::settings::{Auth, RefreshOn, UpstreamId};

fn route(host: Option<&str>, path: &str, methods: &[Method]) -> Arc<Route> {
    let pattern = match path.strip_suffix("/*") {
        Some(below) => PathPattern::Below(below.to_owned()),
        None => PathPattern::Exact(path.to_owned()),
    };
    Arc::new(Route {
        name: format!("{}{path}{}", host.unwrap_or_default(), methods.len()),
        host: host.map(str::to_owned),
        path: pattern,
        methods: methods.to_vec(),
        upstream: UpstreamId(0),
        rewrite: None,
        auth: Auth::None,
        refresh: RefreshOn::Requests,
        body_bytes: None,
        set_headers: Vec::new(),
        cors: None,
        stream: crate::gate::settings::StreamRules::default(),
    })
}

fn guarded(host: Option<&str>, path: &str, methods: &[Method]) -> Arc<Route> {
    let mut route = route(host, path, methods);
    Arc::get_mut(&mut route).unwrap().auth = Auth::Session;
    route
}

fn found(table: &Table, host: Option<&str>, path: &str, method: Method) -> String {
    match table.find(host, judge(path.as_bytes()).unwrap().path, &method) {
        Match::Route(route) => route.name.clone(),
        Match::Endpoint(endpoint) => format!("{endpoint:?}"),
        Match::MethodNotAllowed(methods) => format!("{methods:?}"),
        Match::Nothing => "nothing".to_owned(),
        Match::HostNotServed => "host not served".to_owned(),
        Match::Twin => "twin".to_owned(),
    }
}

fn table() -> Table {
    let routes = vec![
        route(None, "/*", &[]),
        route(None, "/api/*", &[Method::GET]),
        route(None, "/api/*", &[Method::POST]),
        route(None, "/api/open", &[]),
        route(None, "/api/deep/er/*", &[]),
        route(Some("Other.example"), "/api/*", &[]),
        route(None, "/oauth2x/*", &[]),
    ];
    Table::new("app.example", "/oauth2", routes).unwrap()
}

#[test]
fn the_longest_pattern_decides_and_exact_beats_below() {
    let table = table();
    for (path, expected) in [
        ("/", "/*0"),
        ("/x/y", "/*0"),
        ("/api", "/api/*1"),
        ("/api/", "/api/*1"),
        ("/api/x", "/api/*1"),
        ("/apix", "/*0"),
        ("/API/x", "/*0"),
        ("/api/open", "/api/open0"),
        ("/api/open/x", "/api/*1"),
        ("/api/deep/er/x", "/api/deep/er/*0"),
        ("/api/deep/err", "/api/*1"),
        ("/oauth2x", "/oauth2x/*0"),
    ] {
        assert_eq!(found(&table, None, path, Method::GET), expected, "{path}");
    }
}

#[test]
fn a_method_never_falls_through_to_a_shorter_pattern() {
    let table = table();
    assert_eq!(found(&table, None, "/api/x", Method::POST), "/api/*1");
    assert_eq!(found(&table, None, "/api/x", Method::DELETE), "[GET, POST]");
    assert_eq!(found(&table, None, "/api/x", Method::HEAD), "/api/*1");
    assert_eq!(found(&table, None, "/x", Method::DELETE), "/*0");
}

#[test]
fn routes_of_the_host_come_first() {
    let table = table();
    assert_eq!(found(&table, Some("other.example"), "/api/x", Method::DELETE), "Other.example/api/*0");
    assert_eq!(found(&table, Some("other.example"), "/x", Method::GET), "/*0");
    assert_eq!(found(&table, Some("third.example"), "/api/x", Method::GET), "/api/*1");
}

#[test]
fn endpoints_always_win_and_nothing_else_lives_under_the_base_path() {
    let table = table();
    for (method, path, expected) in [
        (Method::GET, "/oauth2/login", "Login"),
        (Method::GET, "/oauth2/start", "Login"),
        (Method::GET, "/oauth2/callback", "Callback"),
        (Method::POST, "/oauth2/logout", "Logout"),
        (Method::POST, "/oauth2/sign_out", "Logout"),
        (Method::GET, "/oauth2/logout", "[POST]"),
        (Method::HEAD, "/oauth2/login", "[GET]"),
        (Method::GET, "/oauth2/logout/callback", "LoggedOut"),
        (Method::GET, "/oauth2/session", "Session"),
        (Method::POST, "/oauth2/session/refresh", "SessionRefresh"),
        (Method::GET, "/oauth2/userinfo", "UserInfo"),
        (Method::GET, "/oauth2", "nothing"),
        (Method::GET, "/oauth2/", "nothing"),
        (Method::GET, "/oauth2/login/x", "nothing"),
    ] {
        assert_eq!(found(&table, None, path, method), expected, "{path}");
    }
}

#[test]
fn what_nothing_serves_is_nothing() {
    // std:124
    let table = Table::new("app.example", "/oauth2", vec![route(None, "/api/*", &[])]).unwrap();
    assert_eq!(found(&table, None, "/", Method::GET), "nothing");
    assert_eq!(found(&table, None, "/apix", Method::GET), "nothing");
}

#[test]
fn conflicts_are_errors() {
    let conflict = |a, b| Table::new("app.example", "/oauth2", vec![a, b]).err();
    let expected = Some(TableError::Conflict { first: 0, second: 1 });
    assert_eq!(conflict(route(None, "/a", &[]), route(None, "/a", &[])), expected);
    assert_eq!(
        conflict(route(None, "/a", &[Method::GET, Method::PUT]), route(None, "/a", &[Method::PUT])),
        expected
    );
    assert_eq!(conflict(route(Some("A.b"), "/a", &[]), route(Some("a.B"), "/a", &[])), expected);
    assert_eq!(conflict(route(None, "/a", &[]), route(None, "/a", &[Method::GET])), None);
    assert_eq!(conflict(route(None, "/a", &[]), route(None, "/a/*", &[])), None);
    assert_eq!(conflict(route(None, "/a", &[]), route(Some("h"), "/a", &[])), None);
    assert_eq!(
        Table::new("app.example", "/oauth2", vec![route(None, "/oauth2/x", &[])]).err(),
        Some(TableError::UnderBasePath(0))
    );
}

// std:116, RFC 9110 §7.4
#[test]
fn a_host_that_no_route_names_is_not_served() {
    let routes = vec![route(Some("api.example"), "/*", &[])];
    let table = Table::new("App.example", "/oauth2", routes).unwrap();
    for (host, path, expected) in [
        (Some("api.example"), "/x", "/*"),
        (Some("api.example"), "/oauth2/login", "Login"),
        (Some("app.example"), "/oauth2/login", "Login"),
        (Some("app.example"), "/x", "nothing"),
        (Some("evil.example"), "/x", "host not served"),
        (Some("evil.example"), "/oauth2/login", "host not served"),
        (None, "/x", "nothing"),
    ] {
        assert_eq!(
            found(&table, host, path, Method::GET).trim_start_matches("api.example").trim_end_matches('0'),
            expected
        );
    }
    let any = Table::new("app.example", "/oauth2", vec![route(None, "/*", &[])]).unwrap();
    assert_eq!(found(&any, Some("evil.example"), "/x", Method::GET), "/*0");
}

// threat T17: Express serves `/Admin` and `/admin/` as `/admin`.
#[test]
fn an_open_route_does_not_lead_to_what_another_one_guards() {
    let routes = vec![
        route(None, "/*", &[]),
        guarded(None, "/admin/*", &[]),
        route(None, "/admin/open/*", &[]),
        guarded(None, "/Me", &[Method::GET]),
        guarded(None, "/both/*", &[]),
        route(None, "/BOTH/*", &[]),
        route(None, "/public", &[]),
        guarded(Some("other.example"), "/*", &[]),
    ];
    let table = Table::new("app.example", "/oauth2", routes).unwrap();
    for (path, expected) in [
        ("/admin/x", "/admin/*0"),
        ("/Admin/x", "twin"),
        ("/ADMIN", "twin"),
        ("/Admin/", "twin"),
        ("/Admin/open/x", "/*0"),
        ("/Admin/Open/x", "/*0"),
        ("/admin/OPEN/x", "/admin/*0"),
        ("/Me", "/Me1"),
        ("/me", "twin"),
        ("/Me/", "twin"),
        ("/Me/x", "/*0"),
        ("/both/x", "/both/*0"),
        ("/BOTH/x", "/BOTH/*0"),
        ("/Both/x", "twin"),
        ("/public", "/public0"),
        ("/Public/", "/*0"),
        ("/Administration", "/*0"),
        ("/", "/*0"),
        ("/x/", "/*0"),
    ] {
        assert_eq!(found(&table, None, path, Method::GET), expected, "{path}");
    }
    // A method that the guarded route does not serve is no way around it either.
    assert_eq!(found(&table, None, "/me", Method::POST), "twin");
    assert_eq!(found(&table, Some("other.example"), "/X/", Method::GET), "other.example/*0");
}

#[test]
fn without_a_guarded_route_there_is_nothing_to_slip_past() {
    let table =
        Table::new("app.example", "/oauth2", vec![route(None, "/*", &[]), route(None, "/a", &[])]).unwrap();
    assert_eq!(found(&table, None, "/A", Method::GET), "/*0");
}

#[test]
fn the_route_that_is_said_to_serve_is_the_one_that_does() {
    let routes = vec![
        route(None, "/*", &[]),
        route(None, "/a/*", &[Method::GET]),
        route(None, "/a/*", &[Method::POST]),
        route(None, "/a/b", &[Method::GET]),
        route(Some("h.example"), "/a/*", &[]),
        route(Some("h.example"), "/only", &[]),
        guarded(None, "/guarded", &[]),
    ];
    let table = Table::new("app.example", "/oauth2", routes).unwrap();
    for host in [None, Some("h.example"), Some("else.example")] {
        for path in ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/only", "/guarded", "/Guarded"] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
                let judged = judge(path.as_bytes()).unwrap().path;
                let reasons = table.reasons(host, judged, &method);
                assert_eq!(reasons.len(), 7);
                let named = reasons.iter().filter(|(_, reason)| *reason == Reason::Serves);
                let named: Vec<_> = named.map(|(route, _)| route.name.as_str()).collect();
                match table.find(host, judged, &method) {
                    Match::Route(route) => assert_eq!(named, [route.name.as_str()], "{host:?} {path}"),
                    Match::MethodNotAllowed(_) => {
                        let others = reasons.iter().filter(|(_, reason)| *reason == Reason::OtherMethod);
                        assert!(named.is_empty() && others.count() > 0, "{host:?} {path} {method}");
                    }
                    Match::Twin => {
                        assert!(
                            named.is_empty() && reasons.iter().any(|(_, reason)| *reason == Reason::Twin)
                        );
                    }
                    Match::Endpoint(_) | Match::Nothing | Match::HostNotServed => {
                        assert!(named.is_empty(), "{host:?} {path} {method}");
                    }
                }
            }
        }
    }
}
