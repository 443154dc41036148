//! `bearward healthcheck`: whether a running gateway is ready.
//!
//! For container health checks in images without curl.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use super::{HealthcheckArgs, failed, print};

const PATIENCE: Duration = Duration::from_secs(3);

/// Asks `/readyz` of the admin listener.
pub(super) fn run(args: &HealthcheckArgs) -> ExitCode {
    match ask(args) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => print("ready\n"),
        Ok(answer) => {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            failed(&format!("not ready: {}", body.trim()))
        }
        Err(error) => failed(&format!("nobody answers on {}: {}", args.address, error.kind())),
    }
}

fn ask(args: &HealthcheckArgs) -> std::io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&args.address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}
