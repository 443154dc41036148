//! The scripts that run in Redis: each touches one key, and does all or nothing.
//!
//! They go by the server's clock, so replicas whose clocks differ agree. Sent by their hash; a server that does not
//! know one yet gets its text.

use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};

use super::connect::Connection;

/// A script and its hash.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Scripts {
    /// Reads a record.
    pub(super) read: Script,
    /// Replaces a record, if it is what was seen.
    pub(super) swap: Script,
    /// Adds an entry to the log.
    pub(super) append: Script,
    /// Reads entries of the log.
    pub(super) look: Script,
    /// Names the data by something that is lost with it.
    pub(super) epoch: Script,
}

impl Scripts {
    /// Hashes them.
    pub(super) fn new() -> Self {
        Self {
            read: Script::new(include_str!("read.lua")),
            swap: Script::new(include_str!("swap.lua")),
            append: Script::new(include_str!("append.lua")),
            look: Script::new(include_str!("look.lua")),
            epoch: Script::new(include_str!("epoch.lua")),
        }
    }
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs it.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
        key: &str,
        arguments: &[&[u8]],
    ) -> RedisResult<Value> {
        let answer = connection.ask(&call("EVALSHA", &self.hash, key, arguments)).await;
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.ask(&call("EVAL", self.text, key, arguments)).await
            }
            Ok(_) | Err(_) => answer,
        }
    }
}

fn call(name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(key);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}
