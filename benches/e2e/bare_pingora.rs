//! What Bearward is measured against: pingora's own server, one thread, everything passed through.
//!
//! `bare_pingora LISTEN UPSTREAM`, both as address and port.
#![expect(clippy::unwrap_used, reason = "a measuring tool")]

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct PassThrough {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    // As Bearward does: the module for compression would be paid for by both or by none.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

fn main() {
    bearward::base::tls::install_provider();
    let mut args = std::env::args().skip(1);
    let (listen, upstream) = (args.next().unwrap(), args.next().unwrap());
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        // Nothing here speaks TLS; the machine's roots would only be loaded to be held.
        ca_file: Some("/dev/null".to_owned()),
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let peer = HttpPeer::new(upstream.as_str(), false, String::new());
    let mut service = http_proxy_service(&server.configuration, PassThrough { peer });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
