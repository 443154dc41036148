//! What pingora is told of an endpoint.

use std::sync::Arc;

use pingora::listeners::ALPN;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::CertKey;

use super::trust::Trust;
use super::{UpstreamError, balance};
use crate::base::tls;
use crate::edge::settings::Upstream;

/// Who vouches for it, and what we show of ourselves. pingora puts a TLS configuration together anew for each
/// connection that has something of its own here, so that none resumes the session of another.
pub(super) fn secure(peer: &mut HttpPeer, settings: &Upstream, trust: &Trust) -> Result<(), UpstreamError> {
    peer.options.ca = trust.of_upstream(settings)?;
    // pingora keeps connections apart by address and name, but not by who vouched for them.
    let mut group = 0;
    for certificate in peer.options.ca.iter().flat_map(|all| all.iter()) {
        group = balance::fold(group, certificate.borrow_raw_cert());
    }
    if let Some(files) = &settings.tls.client {
        let identity = tls::identity(&files.cert, &files.key);
        let fail = |source| UpstreamError::Identity { name: settings.name.clone(), source };
        let identity = identity.map_err(fail)?;
        let chain: Vec<Vec<u8>> = identity.chain().map(<[u8]>::to_vec).collect();
        for certificate in &chain {
            group = balance::fold(group, certificate);
        }
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, identity.key().to_vec())));
    }
    peer.group_key = group;
    Ok(())
}

/// Deadlines, verification, versions.
pub(super) fn set_options(peer: &mut HttpPeer, settings: &Upstream, https: bool) {
    let options = &mut peer.options;
    options.connection_timeout = Some(settings.connect_timeout);
    options.total_connection_timeout = Some(settings.connect_timeout);
    options.read_timeout = Some(settings.read_timeout);
    options.write_timeout = Some(settings.write_timeout);
    options.idle_timeout = Some(settings.idle_timeout);
    // As it is by default; said again because everything rests on it.
    options.verify_cert = true;
    options.verify_hostname = true;
    options.alpn = match (settings.http2, https) {
        (true, true) => ALPN::H2H1,
        (true, false) => ALPN::H2,
        (false, _) => ALPN::H1,
    };
    if settings.http2 {
        options.max_h2_streams = 100;
        // What an upstream may send of one response before its client has taken it, and of all on one connection.
        options.h2_stream_window_size = Some(1 << 20);
        options.h2_connection_window_size = Some(1 << 24);
    }
}
