//! A child process that ends with its owner and shows its output when the test fails.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tokio::sync::oneshot;

/// A running child.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
    output: PathBuf,
}

impl Process {
    /// Runs `command`, its standard error in a file of `folder`.
    pub(crate) fn start(name: &'static str, mut command: Command, folder: &Path) -> Self {
        let output = folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&output).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name, output }
    }

    /// The first line on standard output. The rest goes to the file with standard error.
    pub(crate) async fn first_line(&mut self) -> String {
        let stdout = self.child.stdout.take().expect("the first line is asked for once");
        let (sender, receiver) = oneshot::channel();
        let mut log = File::options().append(true).open(&self.output).unwrap();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            drop(sender.send(lines.next()));
            for line in lines {
                drop(writeln!(log, "{line}"));
            }
        });
        let line = receiver.await.ok().flatten();
        line.unwrap_or_else(|| panic!("{} ended: {}", self.name, self.log()))
    }

    /// Throws standard output away, so that the child never blocks on it.
    pub(crate) fn ignore_stdout(&mut self) {
        if let Some(mut stdout) = self.child.stdout.take() {
            let mut log = File::options().append(true).open(&self.output).unwrap();
            thread::spawn(move || std::io::copy(&mut stdout, &mut log));
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Sends it a signal, by the name that `kill` knows.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success(), "{}", self.name);
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("--- last lines of {}\n{tail}", self.name);
        }
    }
}
