//! TLS of a listener: what it comes to, and what is said of files that do not fit.

use std::path::Path;

use super::{World, least, messages};
use crate::base::tls::install_provider;
use crate::base::tls::server::{ClientAuth, ClientAuthMode, MinVersion, Terms, UnknownName};

/// A world with certificates `a` for `a.example`, `b` for `*.apps.example` and `a.example`.
fn world() -> World {
    install_provider();
    let world = World::new();
    for (file, names) in [("a", vec!["a.example"]), ("b", vec!["*.apps.example", "a.example"])] {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(world.path(&format!("{file}.crt")), made.cert.pem()).unwrap();
        std::fs::write(world.path(&format!("{file}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    world
}

fn listener(tls: &str) -> String {
    least(&format!("listeners:\n  - {{ address: 127.0.0.1:8443, tls: {{ {tls} }} }}\n"))
}

#[test]
fn certificates_and_terms() {
    let world = world();
    let load = |tls: &str| {
        let mut settings = world.load(&listener(tls)).unwrap_or_else(|problems| panic!("{problems}"));
        settings.edge.listeners.remove(0).tls.unwrap()
    };
    let least = load("cert: a.crt, key: a.key");
    assert_eq!(least.terms, Terms::default());
    assert_eq!(least.certificates.len(), 1);
    let most = load(
        "cert: a.crt, key: a.key, more_certificates: [ { cert: b.crt, key: b.key } ], unknown_name: refuse, \
         min_version: '1.3', client_auth: { ca_file: b.crt, mode: optional }",
    );
    let client_auth = ClientAuth { ca_file: world.path("b.crt"), mode: ClientAuthMode::Optional };
    assert_eq!(
        most.terms,
        Terms {
            unknown_name: UnknownName::Refuse,
            min_version: MinVersion::V1_3,
            client_auth: Some(client_auth)
        }
    );
    let files: Vec<&Path> = most.certificates.iter().map(|files| files.cert.as_path()).collect();
    assert_eq!(files, [world.path("a.crt"), world.path("b.crt")]);
}

#[test]
fn what_does_not_fit_is_shown_where_it_is() {
    let world = world();
    let said = |tls: &str| world.load(&listener(tls)).unwrap_err().to_string();
    let crossed = said("cert: a.crt, key: b.key");
    for part in
        ["the certificate or key is not usable", "^^^^^", "----- the key", "the two must belong together"]
    {
        assert!(crossed.contains(part), "{part} is not in\n{crossed}");
    }
    let crossed = said("cert: a.crt, key: a.key, more_certificates: [ { cert: b.crt, key: a.key } ]");
    assert!(crossed.contains("12:93") && crossed.contains("the two must belong together"), "{crossed}");
    assert!(
        said("cert: a.crt, key: a.key, client_auth: { ca_file: a.key }")
            .contains("no readable PEM certificate")
    );
    assert!(said("cert: a.crt, key: a.key, min_version: 1.2").contains("put it in quotes"));
    std::fs::write(world.path("odd.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(said("cert: odd.crt, key: a.key").contains("the certificate cannot be read"));
}

#[test]
fn a_certificate_that_nobody_would_get_is_warned_of() {
    let world = world();
    let warnings = |tls: &str| messages(&world.load(&listener(tls)).unwrap().warnings);
    let covered = "cert: b.crt, key: b.key, more_certificates: [ { cert: a.crt, key: a.key } ]";
    assert_eq!(warnings(covered), ["12:93 this certificate is never presented"]);
    let further = "cert: a.crt, key: a.key, more_certificates: [ { cert: b.crt, key: b.key } ]";
    assert!(warnings(further).is_empty());
}
