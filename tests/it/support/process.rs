//! The binary with a file of its own, where a whole world would be in the way.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::world::free_port;

/// A gateway before `upstream`, as a child. Its provider is not there: only `auth: none` leads anywhere.
pub(crate) struct Process {
    child: Child,
    pub(crate) file: PathBuf,
    log: PathBuf,
    pub(crate) admin: SocketAddr,
}

/// What a child is started with.
pub(crate) struct Plan {
    folder: PathBuf,
    admin: SocketAddr,
    text: String,
    name: &'static str,
}

impl Plan {
    /// A file in `folder`, which names `listeners` as YAML does; `more` lines follow.
    pub(crate) fn new(folder: &Path, listeners: &str, upstream: SocketAddr, more: &str) -> Self {
        let admin = local(free_port());
        let text = format!(
            "public_url: https://app.example\n\
             listeners: [ {listeners} ]\n\
             admin: {{ address: \"{admin}\" }}\n\
             workers: 2\n\
             provider: {{ issuer: \"http://127.0.0.1:9\", client_id: a, client_secret: {{ file: secret }} }}\n\
             session: {{ keys: [ {{ file: key }} ] }}\n\
             routes:\n  - {{ path: /*, upstream: \"http://{upstream}\", auth: none }}\n{more}"
        );
        std::fs::write(folder.join("secret"), "f3a9c1d27b6e48509a1bcd\n").unwrap();
        std::fs::write(folder.join("key"), "q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6j7k8l9z0x1c\n").unwrap();
        Self { folder: folder.to_owned(), admin, text, name: "gateway" }
    }

    /// Another name than that of a gateway in the same folder.
    pub(crate) fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Writes the file.
    pub(crate) fn write(&self) -> PathBuf {
        let file = self.folder.join(format!("{}.yaml", self.name));
        std::fs::write(&file, &self.text).unwrap();
        file
    }

    /// Starts it and waits until it has said so.
    pub(crate) async fn start(self) -> Process {
        let file = self.write();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bearward"));
        command.args(["run", "--config"]).arg(&file).stdin(Stdio::null());
        self.spawn(command, file).await
    }

    /// The same by a command that runs it.
    pub(crate) async fn spawn(self, mut command: Command, file: PathBuf) -> Process {
        let log = self.folder.join(format!("{}.log", self.name));
        let child = command.stderr(std::fs::File::create(&log).unwrap()).kill_on_drop(true).spawn().unwrap();
        let process = Process { child, file, log, admin: self.admin };
        process.until_logged("\"started\"", 0).await;
        process
    }
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Process {
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until `text` is logged behind the first `after` bytes; returns what is there then.
    pub(crate) async fn until_logged(&self, text: &str, after: usize) -> String {
        let start = Instant::now();
        loop {
            let logged = self.logged().split_off(after);
            // A whole line only.
            if logged.rfind('\n').is_some_and(|end| logged[..end].contains(text)) {
                return logged;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{text:?} is not in\n{logged}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Does `change` and waits until `text` is logged.
    pub(crate) async fn until_logged_after(&self, text: &str, change: impl FnOnce()) -> String {
        let before = self.logged().len();
        change();
        self.until_logged(text, before).await
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(Duration::from_secs(60), self.child.wait())
            .await
            .expect("it does not end")
            .unwrap()
    }

    /// Ends it by SIGTERM.
    pub(crate) async fn stop(mut self) -> String {
        self.signal("-TERM");
        let status = self.ended().await;
        assert!(status.success(), "{status}\n{}", self.logged());
        self.logged()
    }

    /// What the admin listener says.
    pub(crate) async fn ask(&self, path: &str) -> String {
        let mut client = super::raw::Raw::connect(self.admin).await;
        let answer = client.call(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        String::from_utf8(answer.body).unwrap()
    }
}
