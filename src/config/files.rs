//! Certificates and keys that a file names: readable, and a pair.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::Error as PemError;

use super::problems::Findings;
use super::raw::File;
use super::raw::edge::Tls;
use super::reader::At;
use super::secrets::why;
use super::sources::Sources;
use crate::base::tls::server::{Pair, client_roots, pair};
use crate::base::tls::{self, TlsError};

/// Reads every PEM file that `file` names and reports those that TLS could not use.
pub(super) fn verify(file: &File, findings: &mut Findings, sources: &mut Sources) {
    let listeners = file.listeners.iter().flat_map(|list| &list.value);
    for tls in listeners.filter_map(|listener| listener.value.tls.as_ref()) {
        named_by(&tls.value).for_each(|path| sources.add(path));
        listener(&tls.value, findings);
    }
    let provider = file.provider.as_ref().and_then(|provider| provider.value.ca_file.as_ref());
    let upstreams = file.upstreams.iter().flat_map(|map| &map.value.0);
    for (_, upstream) in upstreams.clone() {
        let tls = upstream.value.tls.as_ref().and_then(|tls| tls.value.client.as_ref());
        if let Some((cert, key)) = tls.and_then(|pair| pair.value.cert.as_ref().zip(pair.value.key.as_ref()))
        {
            sources.add(&cert.value);
            sources.add(&key.value);
            client(cert, key, findings);
        }
    }
    let upstreams = upstreams.filter_map(|(_, upstream)| upstream.value.ca_file.as_ref());
    let store = file.store.as_ref().and_then(|store| store.value.tls.as_ref());
    let store = store.and_then(|tls| tls.value.ca_file.as_ref());
    for ca_file in provider.into_iter().chain(upstreams).chain(store) {
        sources.add(&ca_file.value);
        if let Err(error) = tls::client_config(Some(&ca_file.value)) {
            findings.report(&ca_file.at, said(&error)).help("name a PEM file of certificates");
        }
    }
}

/// The files of a listener.
fn named_by(tls: &Tls) -> impl Iterator<Item = &PathBuf> {
    let clients = tls.client_auth.as_ref().and_then(|auth| auth.value.ca_file.as_ref());
    let more = tls.more_certificates.iter().flat_map(|list| &list.value);
    let more = more.flat_map(|files| [files.value.cert.as_ref(), files.value.key.as_ref()]);
    let all = [tls.cert.as_ref(), tls.key.as_ref(), clients].into_iter().chain(more);
    all.flatten().map(|path| &path.value)
}

fn listener(tls: &Tls, findings: &mut Findings) {
    if let Some(ca_file) = tls.client_auth.as_ref().and_then(|auth| auth.value.ca_file.as_ref())
        && let Err(error) = client_roots(&ca_file.value)
    {
        findings.report(&ca_file.at, said(&error)).help("name a PEM file of certificates");
    }
    let more = tls.more_certificates.iter().flat_map(|list| &list.value);
    let more = more.map(|files| (&files.value.cert, &files.value.key));
    let mut named: Vec<String> = Vec::new();
    for (place, (cert, key)) in std::iter::once((&tls.cert, &tls.key)).chain(more).enumerate() {
        let (Some(cert), Some(key)) = (cert, key) else { continue };
        let Some(pair) = server(cert, key, findings) else { continue };
        if place > 0 && pair.leaf.names.iter().all(|name| named.contains(name)) {
            findings
                .warn(&cert.at, "this certificate is never presented")
                .help("certificates before it name all that it names");
        }
        named.extend(pair.leaf.names);
    }
}

fn client(cert: &At<PathBuf>, key: &At<PathBuf>, findings: &mut Findings) {
    together(cert, key, findings, |cert, key| tls::identity(cert, key).map(drop));
}

fn server(cert: &At<PathBuf>, key: &At<PathBuf>, findings: &mut Findings) -> Option<Pair> {
    let mut made = None;
    together(cert, key, findings, |cert, key| pair(cert, key).map(|pair| made = Some(pair)));
    made
}

/// Both files, and that they belong together.
fn together(
    cert: &At<PathBuf>,
    key: &At<PathBuf>,
    findings: &mut Findings,
    fits: impl FnOnce(&Path, &Path) -> Result<(), TlsError>,
) {
    let chain_error = tls::read_certificates(&cert.value).err();
    let key_error = tls::read_private_key(&key.value).err();
    if let Some(error) = &chain_error {
        findings.report(&cert.at, said(error)).help("name a PEM file of the certificate chain");
    }
    if let Some(error) = &key_error {
        findings.report(&key.at, said(error)).help("name a PEM file of the private key");
    }
    if chain_error.is_some() || key_error.is_some() {
        return;
    }
    if let Err(error) = fits(&cert.value, &key.value) {
        findings.report(&cert.at, said(&error)).also(&key.at, "the key").help("the two must belong together");
    }
}

/// What is wrong with a file, without its name: the caret shows it.
fn said(error: &TlsError) -> String {
    let (what, source) = match error {
        TlsError::Certificate { source, .. } => ("no readable PEM certificate", source),
        TlsError::Key { source, .. } => ("no readable PEM private key", source),
        TlsError::NoRoots => return error.to_string(),
        TlsError::Refused(source) => return format!("{error}: {source}"),
        TlsError::Unreadable(_) => return "the certificate cannot be read".to_owned(),
        TlsError::NoAuthority(_) => return "no certificate of an authority".to_owned(),
        TlsError::NoProvider => return error.to_string(),
    };
    if let PemError::Io(error) = source {
        return format!("the file cannot be used: {}", why(error));
    }
    format!("{what}: {source}")
}
