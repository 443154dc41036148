//! A server of Redis that one test starts, stops, kills and starts again.
//!
//! On loopback and a socket in a folder of its own. Ended, and its folder deleted, when it is dropped.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, FromRedisValue};

use super::{redis_at, until};
use crate::store::settings::{Address, Node, Redis, Topology};

/// What a test may want otherwise.
#[derive(Default)]
pub(super) struct Options {
    /// Lines of its configuration. `{folder}` stands for its folder.
    pub(super) lines: Vec<String>,
    /// Files that stand in its folder.
    pub(super) files: Vec<(&'static str, String)>,
    /// `--sentinel` and the like.
    pub(super) arguments: Vec<String>,
}

/// A server.
pub(super) struct Server {
    /// Where its files are.
    pub(super) folder: tempfile::TempDir,
    /// Its port on loopback.
    pub(super) port: u16,
    options: Options,
    process: Option<Child>,
}

impl Server {
    /// `None` where there is no Redis; that has been said then.
    pub(super) async fn start(options: Options) -> Option<Self> {
        if Command::new(BINARY).arg("--version").stdout(Stdio::null()).status().is_err() {
            missing(BINARY);
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bw").tempdir().unwrap();
        for (name, text) in &options.files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut server = Self { folder, port: free_port(), options, process: None };
        server.begin().await;
        Some(server)
    }

    /// Starts it again, where and as it was.
    pub(super) async fn begin(&mut self) {
        assert!(self.process.is_none());
        let folder = self.folder.path().display().to_string();
        // Redis locks what it deletes, and a server that died leaves its socket.
        drop(std::fs::remove_file(self.socket()));
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("unixsocket {}", self.socket().display()),
            format!("dir {folder}"),
            "save \"\"".to_owned(),
            "logfile log".to_owned(),
        ];
        if !self.options.lines.iter().any(|line| line.starts_with("port ")) {
            lines.push(format!("port {}", self.port));
        }
        lines.extend(
            self.options
                .lines
                .iter()
                .map(|line| line.replace("{folder}", &folder).replace("{port}", &self.port.to_string())),
        );
        let file = self.folder.path().join("redis.conf");
        // Sentinels keep what they learn in their file.
        if !file.exists() {
            std::fs::write(&file, lines.join("\n")).unwrap();
        }
        let mut command = Command::new(BINARY);
        command.arg(file).args(&self.options.arguments).stdout(Stdio::null()).stdin(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        until("a server that answers", || async {
            if let Some(status) = self.process_status() {
                panic!("redis-server ended: {status}\n{}", self.log());
            }
            self.answers().then_some(())
        })
        .await;
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Holds it still: connections are accepted by the system and nothing is answered.
    pub(super) fn stop(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(super) fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Runs a command as an operator.
    pub(super) fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let client =
            Client::open(format!("unix://{}?user=admin&pass=admin", self.socket().display())).unwrap();
        let connection = client.get_connection();
        // Where nobody else is let in there is an `admin`; elsewhere anybody is.
        let mut connection = connection
            .or_else(|_| {
                Client::open(format!("unix://{}", self.socket().display())).unwrap().get_connection()
            })
            .unwrap();
        command.query(&mut connection).unwrap()
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Where it listens.
    pub(super) fn node(&self) -> Node {
        Node { host: "127.0.0.1".to_owned(), port: self.port }
    }

    /// Settings that lead there over its socket.
    pub(super) fn settings(&self) -> Redis {
        redis_at(Topology::Single(Address::Unix(self.socket())))
    }

    /// What it wrote.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        use std::io::Read as _;
        let Ok(mut socket) = std::os::unix::net::UnixStream::connect(self.socket()) else { return false };
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut said = [0; 5];
        let asked = socket.write_all(b"PING\r\n").and_then(|()| socket.read_exact(&mut said));
        asked.is_ok() && (&said == b"+PONG" || &said == b"-NOAU")
    }

    fn process_status(&self) -> Option<String> {
        let process = self.process.as_ref()?;
        let state = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then(|| "see its log".to_owned())
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listened on a moment ago.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says that a test cannot run here.
fn missing(what: &str) {
    use crate::config::{Environment as _, ProcessEnvironment};
    assert!(ProcessEnvironment.variable("CI").is_none(), "cannot run in CI: there is no {what}");
    // Past the test harness, which hides what passing tests print.
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    drop(writeln!(std::io::stderr(), "SKIPPED {name}: there is no {what}"));
}

const BINARY: &str = "redis-server";
