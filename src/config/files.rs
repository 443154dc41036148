//! Certificates and keys that the configuration names: readable, and fitting each other.

use std::error::Error;
use std::path::PathBuf;

use super::problems::Findings;
use super::raw::File;
use super::reader::At;
use crate::base::tls;

/// Reads every PEM file that `file` names and reports those that TLS could not use.
pub(super) fn verify(file: &File, findings: &mut Findings) {
    let listeners = file.listeners.iter().flat_map(|list| &list.value);
    for tls in listeners.filter_map(|listener| listener.value.tls.as_ref()) {
        if let (Some(cert), Some(key)) = (&tls.value.cert, &tls.value.key) {
            server(cert, key, findings);
        }
    }
    let provider = file.provider.as_ref().and_then(|provider| provider.value.ca_file.as_ref());
    let upstreams = file.upstreams.iter().flat_map(|map| &map.value.0);
    for ca_file in
        provider.into_iter().chain(upstreams.filter_map(|(_, upstream)| upstream.value.ca_file.as_ref()))
    {
        if let Err(error) = tls::client_config(Some(&ca_file.value)) {
            findings.report(&ca_file.at, chain(&error)).help("name a PEM file of certificates");
        }
    }
}

fn server(cert: &At<PathBuf>, key: &At<PathBuf>, findings: &mut Findings) {
    let chain_error = tls::read_certificates(&cert.value).err();
    let key_error = tls::read_private_key(&key.value).err();
    if let Some(error) = &chain_error {
        findings.report(&cert.at, chain(error)).help("name a PEM file of the certificate chain");
    }
    if let Some(error) = &key_error {
        findings.report(&key.at, chain(error)).help("name a PEM file of the private key");
    }
    if chain_error.is_some() || key_error.is_some() {
        return;
    }
    if let Err(error) = tls::server_config(&cert.value, &key.value) {
        findings
            .report(&cert.at, chain(&error))
            .also(&key.at, "the key")
            .help("the two must belong together");
    }
}

/// An error and its causes. Those of `base::tls` name files, never their content.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
