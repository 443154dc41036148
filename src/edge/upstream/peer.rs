//! What pingora is told of an endpoint.

use pingora::listeners::ALPN;
use pingora::upstreams::peer::HttpPeer;

use crate::edge::settings::Upstream;

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
