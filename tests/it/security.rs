//! What attackers try: forged callbacks, lying providers, other sites, other people's cookies.

use devidp::{CallbackFault, IdTokenFault, TokenFault};
use http::{Method, StatusCode};
use url::Url;

use crate::support::browser::{Browser, Kind, Reply};
use crate::support::raw::Raw;
use crate::support::world::World;

/// Starts a login and returns the callback's URL as the provider would send the browser to it.
async fn callback_of(world: &World, browser: &Browser) -> Url {
    let start =
        browser.send(Method::GET, "/oauth2/login?rd=/api/a&login_hint=alice", Kind::Navigation, &[]).await;
    let provider = Url::parse(start.location()).unwrap();
    let back = browser.navigate_once(&provider).await;
    let callback = Url::parse(back.location()).unwrap();
    assert!(callback.as_str().starts_with(&format!("{}/oauth2/callback?", world.home)), "{callback}");
    callback
}

fn refused(world: &World, browser: &Browser, reply: &Reply) {
    assert!(reply.status.is_client_error() || reply.status.is_server_error(), "{}", reply.status);
    assert!(browser.cookie("bearward").is_none(), "no session");
    assert!(
        world.api.arrivals().iter().all(|arrival| !arrival.target.starts_with("/api")),
        "no upstream call"
    );
}

#[tokio::test]
async fn a_callback_works_in_the_browser_that_began_it_and_nowhere_else() {
    // T4, std:12, std:22
    let world = World::start().await;
    let attacker = world.browser();
    let callback = callback_of(&world, &attacker).await;
    let victim = world.browser();
    let reply = victim.navigate_once(&callback).await;
    assert_eq!(reply.status, 400);
    refused(&world, &victim, &reply);
    assert_eq!(world.idp.seen().counts().token_code, 0, "no token request");
    let reply = attacker.navigate_once(&callback).await;
    assert_eq!((reply.status.as_u16(), reply.location()), (302, "/api/a"));
    // std:31
    assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    assert_eq!(reply.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_callback_of_another_browser_begins_a_login_of_one_s_own_at_most() {
    // T4 again: the victim has a login under way itself, so it has a binding, but not that one.
    let world = World::start().await;
    let attacker = world.browser();
    let callback = callback_of(&world, &attacker).await;
    let victim = world.browser();
    callback_of(&world, &victim).await;
    let reply = victim.navigate_once(&callback).await;
    assert_eq!(reply.status, 302);
    assert!(reply.location().starts_with(&world.idp.issuer()), "to the provider, not into a session");
    assert!(victim.cookie("bearward").is_none());
    assert_eq!(world.idp.seen().counts().token_code, 0, "nothing of that response was used");
}

#[tokio::test]
async fn a_callback_is_redeemed_once() {
    // std:28; with a session in hand the back button leads on instead of failing.
    let world = World::start().await;
    let browser = world.browser();
    let callback = callback_of(&world, &browser).await;
    assert_eq!(browser.navigate_once(&callback).await.status, 302);
    let again = browser.navigate_once(&callback).await;
    assert_eq!((again.status.as_u16(), again.location()), (302, "/"));
    assert!(again.cookies("bearward=").is_empty());
    let session = browser.cookie("bearward").unwrap();
    browser.set_cookie("bearward", "gone");
    let replay = browser.navigate_once(&callback).await;
    assert_eq!(replay.status, 400);
    browser.set_cookie("bearward", &session);
    let counts = world.idp.seen().counts();
    assert_eq!((counts.token_code, counts.code_replays), (1, 0));
}

#[tokio::test]
async fn a_callback_that_says_something_odd_makes_no_token_request() {
    // std:22, std:27, std:29, std:33; CVE-2023-27496
    let world = World::start().await;
    let browser = world.browser();
    let good = callback_of(&world, &browser).await;
    let query = good.query().unwrap();
    let state = good.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let odd = [
        String::new(),
        "code=a".to_owned(),
        "state=a&code=b".to_owned(),
        format!("state={state}"),
        format!("{query}&code=other"),
        format!("{query}&state={state}"),
        format!("{query}&iss=https://evil.example"),
        format!("{query}&access_token=x"),
        format!("{query}&id_token=x"),
        format!("state={state}x&code=b&iss={}", world.idp.issuer()),
        format!("state={state}&code=b&iss=https://evil.example"),
        format!("state={state}&code=b"),
        format!("error=access_denied&state={state}&iss=https://evil.example"),
        "%ff=%fe&%00".to_owned(),
        "a=b&".repeat(2_000),
    ];
    for query in odd {
        let reply =
            browser.send(Method::GET, &format!("/oauth2/callback?{query}"), Kind::Navigation, &[]).await;
        assert!(reply.status.is_client_error(), "{} for {query:.60}", reply.status);
        refused(&world, &browser, &reply);
    }
    assert_eq!(world.idp.seen().counts().token_code, 0);
    assert_eq!(browser.navigate_once(&good).await.status, 302, "and the login goes on unharmed");
}

#[tokio::test]
async fn a_provider_s_error_is_told_without_its_words() {
    // std:26
    let world = World::start().await;
    world.idp.faults().callback.set(CallbackFault::Error("access_denied"));
    let browser = world.browser();
    let reply = browser.log_in("alice", "/").await;
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("access_denied"));
    assert!(!reply.text().contains("<script") && !reply.text().contains("<b>"), "{}", reply.text());
    refused(&world, &browser, &reply);
}

#[tokio::test]
async fn the_callback_of_a_lying_provider_makes_no_session() {
    // RFC 9207, T6
    for fault in [
        CallbackFault::WrongIss,
        CallbackFault::MissingIss,
        CallbackFault::WrongState,
        CallbackFault::MissingState,
        CallbackFault::MissingCode,
        CallbackFault::DuplicateCode,
        CallbackFault::DuplicateState,
        CallbackFault::TokensInFrontChannel,
        CallbackFault::ErrorWithWrongIss("access_denied"),
    ] {
        let world = World::start().await;
        world.idp.faults().callback.set(fault.clone());
        let browser = world.browser();
        let reply = browser.log_in("alice", "/").await;
        assert_eq!(reply.status, 400, "{fault:?}");
        refused(&world, &browser, &reply);
        assert_eq!(world.idp.seen().counts().token_code, 0, "{fault:?}: no token request");
    }
}

#[tokio::test]
async fn no_id_token_that_breaks_a_rule_makes_a_session() {
    // std:45–60
    let world = World::start().await;
    for fault in [
        IdTokenFault::WrongIss,
        IdTokenFault::MissingIss,
        IdTokenFault::WrongAud,
        IdTokenFault::MissingAud,
        IdTokenFault::ExtraAud,
        IdTokenFault::WrongAzp,
        IdTokenFault::MissingSub,
        IdTokenFault::MissingIat,
        IdTokenFault::FutureIat,
        IdTokenFault::MissingExp,
        IdTokenFault::Expired,
        IdTokenFault::FutureNbf,
        IdTokenFault::WrongNonce,
        IdTokenFault::MissingNonce,
        IdTokenFault::WrongAtHash,
        IdTokenFault::AlgNone,
        IdTokenFault::BadSignature,
        IdTokenFault::Hs256ClientSecret,
        IdTokenFault::Hs256PublicKey,
        IdTokenFault::UnknownKid,
        IdTokenFault::UnknownCrit,
        IdTokenFault::TypLogout,
        IdTokenFault::TypAccessToken,
        IdTokenFault::DuplicateMember,
    ] {
        world.idp.faults().id_token.code.set(fault);
        let browser = world.browser();
        let reply = browser.log_in("alice", "/").await;
        assert_eq!(reply.status, 502, "{fault:?}");
        refused(&world, &browser, &reply);
    }
    world.idp.faults().clear();
    // An unknown key makes the keys be fetched once in 30 s (std:149).
    world.pass(std::time::Duration::from_secs(31));
    for fault in [IdTokenFault::AudAsArray, IdTokenFault::AbsentKid, IdTokenFault::KeysRotated] {
        world.idp.faults().id_token.code.set(fault);
        assert_eq!(world.browser().log_in("alice", "/").await.status, 200, "{fault:?} is allowed");
    }
}

#[tokio::test]
async fn token_answers_are_read_as_the_standard_says() {
    // std:40–42
    let world = World::start().await;
    for (fault, status) in [
        (TokenFault::TokenType("BEARER"), 200),
        (TokenFault::TokenType("bearer"), 200),
        (TokenFault::TokenType("mac"), 502),
        (TokenFault::OmitExpiresIn, 200),
        (TokenFault::ExpiresInText, 200),
        (TokenFault::OmitIdToken, 502),
        (TokenFault::OmitAccessToken, 502),
        (TokenFault::DuplicateMember, 502),
    ] {
        world.idp.faults().token.code.set(fault.clone());
        assert_eq!(world.browser().log_in("alice", "/").await.status, status, "{fault:?}");
    }
}

#[tokio::test]
async fn other_sites_cannot_use_our_cookie() {
    // std:99–102, T18, T19
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let cross = ("sec-fetch-site", "cross-site");
    let evil = ("origin", "https://evil.example");
    for (method, fields) in [
        (Method::POST, vec![cross, evil]),
        (Method::POST, vec![("sec-fetch-site", "same-site"), ("origin", "http://other.localhost")]),
        (Method::POST, vec![("sec-fetch-site", ""), ("origin", "")]),
        (Method::POST, vec![("sec-fetch-site", ""), ("origin", "null")]),
        (Method::DELETE, vec![("sec-fetch-site", ""), evil]),
        (Method::GET, vec![cross, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]),
        (Method::GET, vec![cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]),
        (Method::GET, vec![("upgrade", "websocket"), ("connection", "upgrade"), evil]),
        (Method::GET, vec![("upgrade", "websocket"), ("connection", "upgrade")]),
    ] {
        let reply = browser.send(method.clone(), "/api/a", Kind::Fetch, &fields).await;
        assert_eq!(reply.status, 403, "{method} {fields:?}");
    }
    assert!(world.api.arrivals().iter().all(|arrival| !arrival.target.starts_with("/api")));
    let link = [cross, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    assert_eq!(
        browser.send(Method::GET, "/api/a", Kind::Navigation, &link).await.status,
        200,
        "a link is followed"
    );
}

#[tokio::test]
async fn a_tossed_cookie_is_nobody_s() {
    // std:88, T2
    let world = World::start().await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let (a, b) = (alice.cookie("bearward").unwrap(), bob.cookie("bearward").unwrap());
    for cookies in [
        format!("bearward={a}; bearward={b}"),
        format!("bearward={a}; BEARWARD={b}"),
        format!("Bearward={a}"),
    ] {
        let reply = world.browser().send(Method::GET, "/api/a", Kind::Fetch, &[("cookie", &cookies)]).await;
        assert_eq!(reply.status, 401, "{cookies:.30}");
        assert!(reply.cookies("bearward").is_empty());
    }
    // T7: a value moved to another name opens nothing.
    let moved = format!("bearward-login={a}; bearward.1={a}");
    let reply = world.browser().send(Method::GET, "/api/a", Kind::Fetch, &[("cookie", &moved)]).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn every_unreadable_cookie_gets_one_and_the_same_answer() {
    // std:86, T25
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let good = browser.cookie("bearward").unwrap();
    let mut flipped = good.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let mut answers = Vec::new();
    for value in ["", "x", "1.k.AAAA", "2.k.AAAA", &flipped, &good[..good.len() / 2], "9-0-3.xyz"] {
        browser.set_cookie("bearward", value);
        let reply = browser.get("/api/a").await;
        assert_eq!(reply.status, 401);
        assert!(reply.cookies("bearward").is_empty(), "it is not deleted: {value:.10}");
        answers.push((reply.json()["code"].clone(), reply.headers.len()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn an_upstream_cannot_set_our_cookies_and_responses_are_not_stored() {
    // std:94, std:126
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let reply = browser.get("/api/sets-cookies").await;
    assert_eq!(reply.cookies(""), ["theirs=1"]);
    assert_eq!(reply.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_response_that_carries_our_cookie_is_stored_by_nobody() {
    // T24: whatever the upstream allows, a cache would log others in as this user.
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let without = browser.get("/api/cached.js").await;
    assert!(without.cookies("bearward").is_empty());
    assert_eq!(without.headers["cache-control"], "public, max-age=31536000, immutable");
    world.expire_access_tokens();
    let with = browser.get("/api/cached.js").await;
    assert_eq!(with.cookies("bearward=").len(), 1);
    assert_eq!(with.headers["cache-control"], "no-store");
    assert!(!with.headers.contains_key("expires") && !with.headers.contains_key("surrogate-control"));
}

#[tokio::test]
async fn a_header_that_one_route_sets_can_be_said_by_no_client_on_any_route() {
    // std:108, T10
    let world = World::plan()
        .routes(
            "  - { path: /api/*, upstream: UPSTREAM, auth: session, headers: { set: { X-Team: \"{groups}\" } } }\n  \
             - { path: /other/*, upstream: UPSTREAM, auth: session }\n  \
             - { path: /*, upstream: UPSTREAM, auth: none }\n",
        )
        .start()
        .await;
    let browser = world.signed_in("alice").await;
    for path in ["/api/a", "/other/a", "/a"] {
        for name in ["x-team", "X-TEAM", "x_team"] {
            browser.send(Method::GET, path, Kind::Fetch, &[(name, "admin")]).await;
            let arrived = world.api.last();
            assert_eq!(arrived.target, path);
            let expected = if path == "/api/a" { Some("staff") } else { None };
            let seen = arrived.headers.get("x-team").map(|value| value.to_str().unwrap());
            assert_eq!(seen, expected, "{name} on {path}");
            assert!(!arrived.headers.contains_key("x_team"));
        }
    }
}

#[tokio::test]
async fn ambiguous_paths_and_unknown_ones_reach_no_upstream() {
    // std:122–124, T17
    let world =
        World::plan().routes("  - { path: /api/*, upstream: UPSTREAM, auth: session }\n").start().await;
    let browser = world.signed_in_at("alice", "/api/ok").await;
    let before = world.api.arrivals().len();
    for (path, status) in [
        ("/api/%2e%2e/x", 400),
        ("/api//x", 400),
        ("/api/%2fx", 400),
        ("/api/%5cx", 400),
        ("/api/;x", 400),
        ("/api/%00", 400),
        ("/api/%252e", 400),
        ("/apix", 404),
        ("/other", 404),
        ("/oauth2/nothing", 404),
    ] {
        // Byte for byte: a parser of URLs would resolve the dots.
        let mut client = Raw::connect(world.address()).await;
        let cookies = browser.cookie_header();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n");
        assert_eq!(client.call(request).await.status, status, "{path}");
    }
    assert_eq!(world.api.arrivals().len(), before);
}

#[tokio::test]
async fn a_return_target_never_leads_away() {
    // std:16, T9
    let world = World::start().await;
    for target in
        ["//evil.example", "https://evil.example", "/\\evil.example", "/%2f/evil.example", "/oauth2/logout"]
    {
        let browser = world.browser();
        let reply = browser.log_in("alice", target).await;
        assert_eq!(
            (reply.status, reply.url.as_str()),
            (StatusCode::OK, format!("{}/", world.home).as_str()),
            "{target}"
        );
    }
}
