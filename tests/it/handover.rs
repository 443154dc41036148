//! One socket in two processes, and what a service manager hears.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::process::{Plan, Process, local};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;
use crate::support::world::free_port;

/// A supervisor: it binds the socket once and starts gateways with it.
struct Supervisor {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

impl Supervisor {
    fn new() -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// As a service manager does it: descriptor 3, and variables that say so. It comes as standard input, which any shell
    /// can move.
    fn command(&self, file: &Path) -> Command {
        let mut command = Command::new("sh");
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web exec \"$0\" run --config \"$1\"";
        command.args(["-c", script, env!("CARGO_BIN_EXE_bearward")]).arg(file);
        command.stdin(OwnedFd::from(self.socket.try_clone().unwrap()));
        command
    }

    async fn start(&self, folder: &Path, name: &'static str, upstream: SocketAddr) -> Process {
        let listener = format!("{{ address: \"{}\" }}", self.address);
        let plan =
            Plan::new(folder, &listener, upstream, "drain: { linger: 10s, limit: 30s }\n").called(name);
        let file = plan.write();
        plan.spawn(self.command(&file), file).await
    }
}

/// Clients that never stop, and what became of their requests.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicUsize,
    lost: std::sync::Mutex<Vec<String>>,
}

enum Connection {
    Kept,
    New,
}

impl Load {
    /// Sends requests until it is told to stop: on one connection for as long as it is kept, or each on its own.
    async fn run(self: Arc<Self>, address: SocketAddr, connection: Connection) {
        let mut open = None;
        while !self.stop.load(Ordering::Relaxed) {
            match one(&mut open, address).await {
                Ok(Last::Yes) => open = None,
                Ok(Last::No) => {}
                Err(error) => {
                    self.lost.lock().unwrap().push(error.to_string());
                    open = None;
                }
            }
            match connection {
                Connection::New => open = None,
                // Idle most of the time: closed then, it would lose its next request.
                Connection::Kept => tokio::time::sleep(Duration::from_millis(3)).await,
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn answers(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        while self.answered.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Whether the connection was said to end.
enum Last {
    Yes,
    No,
}

async fn one(open: &mut Option<TcpStream>, address: SocketAddr) -> std::io::Result<Last> {
    let tcp = match open {
        Some(tcp) => tcp,
        None => open.insert(TcpStream::connect(address).await?),
    };
    tcp.write_all(b"GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n").await?;
    let mut read = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if read.len() >= end + 4 + length.unwrap().parse::<usize>().unwrap() {
                assert!(head.starts_with("http/1.1 200"), "{head}");
                return Ok(if head.contains("connection: close") { Last::Yes } else { Last::No });
            }
        }
        if tcp.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_of_the_same_socket_loses_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let supervisor = Supervisor::new();
    let mut running = supervisor.start(folder.path(), "a", upstream.address).await;
    let load = Arc::new(Load::default());
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(tokio::spawn(Arc::clone(&load).run(supervisor.address, Connection::Kept)));
        clients.push(tokio::spawn(Arc::clone(&load).run(supervisor.address, Connection::New)));
    }
    load.answers(300).await;
    for name in ["b", "c", "d"] {
        let next = supervisor.start(folder.path(), name, upstream.address).await;
        load.answers(200).await;
        running.signal("-TERM");
        assert!(running.ended().await.success(), "{}", running.logged());
        assert!(running.logged().contains("\"cut\":0"), "{}", running.logged());
        running = next;
        load.answers(200).await;
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    running.stop().await;
    let lost = load.lost.lock().unwrap();
    assert!(lost.is_empty(), "of {}: {lost:?}", load.answered.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_socket_that_nobody_configured_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new();
    let listener = format!("{{ address: \"{}\" }}", local(free_port()));
    let file = Plan::new(folder.path(), &listener, local(9), "").write();
    let output = supervisor.command(&file).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(Duration::from_secs(30), output).await.expect("it has started").unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("`web` listens on {}", supervisor.address)), "{said}");
    // What is meant for another process is not ours.
    let mut command = Command::new(env!("CARGO_BIN_EXE_bearward"));
    command.args(["check"]).arg(&file).env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    assert!(command.output().await.unwrap().status.success());
}

#[tokio::test]
async fn a_service_manager_hears_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = || {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let address = local(free_port());
    let plan = Plan::new(folder.path(), &format!("{{ address: \"{address}\" }}"), upstream.address, "");
    let file = plan.write();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bearward"));
    command.args(["run", "--config"]).arg(&file).env("NOTIFY_SOCKET", &path);
    let process = plan.spawn(command, file).await;
    assert!(heard().contains("READY=1"));
    assert_eq!(Raw::connect(address).await.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    process.signal("-HUP");
    let reloading = heard();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(heard().contains("READY=1"));
    process.stop().await;
    assert!(heard().contains("STOPPING=1"));
}
