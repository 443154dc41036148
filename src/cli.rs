//! Commands: what is typed after `bearward`, and the exit code it ends with.
//!
//! A file per command. Exit codes: 0 done, 1 failed, 64 bad usage or configuration (`EX_USAGE` of sysexits). `explain`
//! ends with 1 where the request would be refused.

mod admin_call;
mod check;
pub mod dev;
mod explain;
mod healthcheck;
mod keygen;
mod run;
mod schema;
mod sessions;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use url::Url;

/// A reverse-proxy token gateway: browsers hold one sealed cookie, APIs receive a fresh bearer token.
#[derive(Debug, Parser)]
#[command(name = "bearward", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Run(RunArgs),
    /// Run the gateway before an embedded provider and a demo, without a file
    Dev(DevArgs),
    /// Check a configuration and say all that is wrong with it
    Check(CheckArgs),
    /// Explain what would become of a request, and why
    Explain(ExplainArgs),
    /// Make a session key: 256 random bits as base64url
    Keygen(KeygenArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Ask a running gateway whether it is ready; for container health checks
    Healthcheck(HealthcheckArgs),
    /// End sessions of a running gateway
    #[command(subcommand)]
    Sessions(SessionsCommand),
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// End sessions at every replica, within five seconds
    End(EndArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file
    #[arg(value_name = "FILE", env = "BEARWARD_CONFIG", default_value = "bearward.yaml")]
    pub file: PathBuf,
    /// The same, as an option
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the gateway listens; a loopback address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Forward to this server instead of the demo: scheme, host and port
    #[arg(long, value_name = "URL")]
    pub upstream: Option<Url>,
    /// Where the embedded provider listens; a loopback address [default: any free port]
    #[arg(long, value_name = "ADDRESS")]
    pub provider_listen: Option<SocketAddr>,
    /// Where health and metrics are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    pub admin: SocketAddr,
    /// How long the provider's access tokens live: short, so that rotation is seen
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_life)]
    pub access_token_life: Duration,
}

/// `10s`, `5m`: at least two seconds, since a token's life is counted in whole ones.
fn parse_life(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "write it like `10s` or `5m`".to_owned())?;
    match Duration::try_from(parsed) {
        Ok(life) if life >= Duration::from_secs(2) => Ok(life),
        _ => Err("at least `2s`".to_owned()),
    }
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE", env = "BEARWARD_CONFIG", default_value = "bearward.yaml")]
    pub file: PathBuf,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The method
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// The URL as a client would ask for it, or a path of the public URL; judged byte for byte
    #[arg(value_name = "URL")]
    pub url: String,
    /// A header field of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Who sends it
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    pub from: IpAddr,
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "BEARWARD_CONFIG", default_value = "bearward.yaml")]
    pub config: PathBuf,
}

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Write the key to a new file that only its owner may read, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The admin address of the gateway
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    pub address: SocketAddr,
}

/// Arguments of `sessions end`.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// Which sessions
    #[command(flatten)]
    pub which: Which,
    /// The admin address of a gateway; one of several replicas is enough
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    pub address: SocketAddr,
}

/// Which sessions to end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// One session, by the name that logs give it: 16 hexadecimal digits
    #[arg(long, value_name = "TAG")]
    pub sid: Option<String>,
    /// Every session of a user that has begun by now, by the `sub` at the provider
    #[arg(long, value_name = "SUB")]
    pub sub: Option<String>,
    /// Every session that has begun by now
    #[arg(long)]
    pub all: bool,
}

/// Does what was asked for.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Schema => schema::run(),
        Command::Run(args) => run::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Sessions(SessionsCommand::End(args)) => sessions::end(&args),
    }
}

/// Bad usage or configuration: `EX_USAGE` of sysexits.
pub const EX_USAGE: u8 = 64;

/// Prints a result. A reader that has gone is no failure: `bearward schema | head` is fine.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot write: {}", error.kind())),
    }
}

/// Prints a message for people, to standard error. Where even that fails, nobody is left to tell.
fn tell(text: &str) {
    use std::io::Write as _;
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn failed(why: &str) -> ExitCode {
    tell(&format!("error: {why}\n"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let parsed = Cli::try_parse_from(["bearward", "check", "a.yaml"]).unwrap();
        assert!(matches!(parsed.command, Command::Check(args) if args.file == *"a.yaml"));
        assert!(Cli::try_parse_from(["bearward", "dev", "--upstream", "http://127.0.0.1:1"]).is_ok());
        assert!(Cli::try_parse_from(["bearward", "dev", "--upstream", "nowhere"]).is_err());
        assert!(Cli::try_parse_from(["bearward"]).is_err());
        assert!(Cli::try_parse_from(["bearward", "sessions", "end", "--sub", "alice"]).is_ok());
        assert!(Cli::try_parse_from(["bearward", "sessions", "end"]).is_err(), "nobody ends all by accident");
        assert!(Cli::try_parse_from(["bearward", "sessions", "end", "--all", "--sub", "alice"]).is_err());
    }
}
