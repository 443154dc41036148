//! A real `redis-server` on loopback that a test stops, kills and starts again.

use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::gateway::free_port;
use super::process::Process;
use super::until;

/// A running server.
pub(crate) struct Redis {
    port: u16,
    persistence: Persistence,
    process: Process,
    folder: TempDir,
}

/// What survives its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Everything that it has answered.
    Everything,
    /// Nothing.
    Nothing,
}

impl Redis {
    /// Starts one and waits until it listens.
    pub(crate) async fn start(persistence: Persistence) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = run(port, persistence, &folder);
        let redis = Self { port, persistence, process, folder };
        redis.listens().await;
        redis
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it after its end, with what has survived.
    pub(crate) async fn start_again(&mut self) {
        self.process = run(self.port, self.persistence, &self.folder);
        self.listens().await;
    }

    /// Stops it in the middle of whatever it does.
    pub(crate) fn pause(&self) {
        self.process.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.process.signal("-CONT");
    }

    /// Everything that lies in it, as it prints.
    pub(crate) fn dump(&self) -> String {
        let script = "local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do \
                      all[#all+1] = key all[#all+1] = redis.call('DUMP', key) end return all";
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "--no-raw", "EVAL", script, "0"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn listens(&self) {
        until("redis listens", Duration::from_secs(10), || async {
            TcpStream::connect(("127.0.0.1", self.port)).await.ok()
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A process that is stopped dies of SIGKILL all the same.
        self.process.kill();
    }
}

/// Whether it can be run here.
pub(crate) fn available() -> Result<(), String> {
    let version = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    match version {
        Ok(status) if status.success() => Ok(()),
        Ok(_) | Err(_) => {
            Err("`redis-server` cannot be run; `scripts/test.sh` sets everything up".to_owned())
        }
    }
}

fn run(port: u16, persistence: Persistence, folder: &TempDir) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    command.args(["--maxmemory-policy", "noeviction", "--dir"]).arg(folder.path());
    if persistence == Persistence::Everything {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    }
    let mut process = Process::start("redis", command, folder.path());
    process.ignore_stdout();
    process
}
