//! One record per request, written when its response is over.
//!
//! No query, no header, no cookie is in it (std:180); the path was judged to hold no control character (std:181).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::Method;

use crate::gate::head::RequestId;
use crate::telemetry::logs;

/// What a record says.
pub(super) struct Record<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) client: Option<IpAddr>,
    pub(super) route: &'a str,
    pub(super) upstream: &'a str,
    pub(super) status: u16,
    pub(super) outcome: &'static str,
    pub(super) request_id: RequestId,
    pub(super) started: Instant,
}

/// Whether anyone listens: building a record costs more than most of what the edge does.
pub(super) fn enabled() -> bool {
    tracing::enabled!(target: logs::ACCESS, tracing::Level::INFO)
}

/// Writes a record.
pub(super) fn write(record: &Record<'_>) {
    tracing::info!(
        target: logs::ACCESS,
        method = %record.method,
        path = record.path,
        client = record.client.map(|address| tracing::field::display(address.to_canonical())),
        route = record.route,
        upstream = record.upstream,
        status = record.status,
        outcome = record.outcome,
        request_id = %record.request_id,
        duration_ms = millis(record.started.elapsed()),
        "request"
    );
}

fn millis(duration: Duration) -> f64 {
    // A tenth of a millisecond is as fine as such a figure is worth.
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_line_of_plain_fields() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(enabled());
            write(&Record {
                method: &Method::GET,
                path: "/a",
                client: Some(IpAddr::from([192, 0, 2, 1])),
                route: "/*",
                upstream: "echo",
                status: 200,
                outcome: "forwarded",
                request_id: RequestId(1),
                started: Instant::now(),
            });
        });
        let written = lines.0.lock().unwrap().clone();
        let record: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(record["target"], "access");
        let fields = &record["fields"];
        assert_eq!((&fields["path"], &fields["status"]), (&"/a".into(), &200.into()));
        assert_eq!(fields["request_id"], "0000000000000001");
        assert_eq!((&fields["outcome"], &fields["client"]), (&"forwarded".into(), &"192.0.2.1".into()));
    }
}
