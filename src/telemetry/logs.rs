//! Log lines on standard error: JSON for machines, coloured text for people.
//!
//! One event is one line, whatever its fields hold (std:181): JSON escapes control characters, and the text form
//! escapes them here. Events of crates that use `log` (pingora) take the same way.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};

use tracing::field::Field;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::audit;
use super::settings::{AccessLog, Format, Settings};

/// What is written where the configuration does not say.
const DEFAULT_FILTER: &str = "info";

/// The target of access records.
pub const ACCESS: &str = "access";

/// Why logs could not be started.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not in the syntax of `EnvFilter`.
    #[error("the log filter cannot be read")]
    Filter(#[from] ParseError),
    /// This process logs already; the first one stays.
    #[error("logs are already being written")]
    AlreadySet,
}

/// Starts logging to standard error, for `tracing` and for `log`.
///
/// # Errors
/// Where the filter cannot be read, or logs are already being written.
pub fn init(settings: &Settings) -> Result<(), InitError> {
    let colours = io::stderr().is_terminal();
    subscriber(settings, io::stderr, colours)?.try_init().map_err(|_| InitError::AlreadySet)
}

/// Whether `filter` could be used, for `check`.
///
/// # Errors
/// Where it is not in the syntax of `EnvFilter`.
pub fn check_filter(filter: &str) -> Result<(), ParseError> {
    EnvFilter::builder().parse(filter).map(drop)
}

fn subscriber<W>(settings: &Settings, writer: W, colours: bool) -> Result<Dispatch, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = tracing_subscriber::fmt().with_env_filter(filter(settings)?).with_writer(writer);
    let access = settings.access;
    let cap = filter_fn(move |metadata| may_speak(metadata.target(), *metadata.level(), access));
    Ok(match settings.format {
        Format::Json => {
            Dispatch::new(base.json().flatten_event(true).with_span_list(false).finish().with(cap))
        }
        Format::Pretty => {
            Dispatch::new(base.with_ansi(colours).fmt_fields(debug_fn(write_field)).finish().with(cap))
        }
    })
}

/// Whether an event may be written, whatever the configured filter says. Below `warn` the crates under us print
/// whole heads, cookies and bearers included; no filter can switch that on (std:180).
fn may_speak(target: &str, level: Level, access: AccessLog) -> bool {
    let of =
        |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if of(ACCESS) {
        access == AccessLog::On
    } else if of("bearward") || of(audit::TARGET) {
        true
    } else {
        // Request errors of pingora repeat the path and query; the access record tells more.
        level <= Level::WARN && !of("pingora_proxy")
    }
}

/// A filter that is turned down still lets audit events pass, unless it names them (std:182).
fn filter(settings: &Settings) -> Result<EnvFilter, ParseError> {
    let filter = settings.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let mut text = String::from(filter);
    if !filter.split(',').any(|part| part.trim_start().starts_with(audit::TARGET)) {
        // In front, so that an error in the configured part is reported as it was typed.
        text.insert(0, ',');
        text.insert_str(0, "=info");
        text.insert_str(0, audit::TARGET);
    }
    EnvFilter::builder().parse(text)
}

/// Writes one field of a text line. The message comes first and bare, the others as ` name=value`.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let name = field.name();
    if name.starts_with("log.") {
        return Ok(()); // What `log` tells of the place; the line has it as its target.
    }
    if name != "message" {
        let (dim, plain) = if writer.has_ansi_escapes() { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        write!(writer, " {dim}{name}={plain}")?;
    }
    write!(OneLine(writer), "{value:?}")
}

/// Escapes what could end a line, move a terminal's cursor or turn the direction of text.
struct OneLine<'a, 'b>(&'a mut Writer<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(breaks) {
            let mut chars = piece.chars();
            match chars.next_back() {
                Some(last) if breaks(last) => write!(self.0, "{}{}", chars.as_str(), last.escape_default())?,
                _ => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

fn breaks(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` logs under `settings`.
    pub(crate) fn logged(settings: &Settings, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = {
            let sink = sink.clone();
            move || sink.clone()
        };
        tracing::dispatcher::with_default(&subscriber(settings, writer, false).unwrap(), work);
        sink.text()
    }

    fn settings(format: Format, filter: Option<&str>) -> Settings {
        Settings { format, filter: filter.map(str::to_owned), ..Settings::default() }
    }

    const HOSTILE: &str = "a\r\nb\u{1b}[31mc\u{0}\u{85}\u{2028}\u{202e}\"d";

    // std:181
    #[test]
    fn control_characters_never_break_a_line() {
        for format in [Format::Json, Format::Pretty] {
            let text = logged(&settings(format, None), || {
                tracing::info!(shown = %HOSTILE, quoted = HOSTILE, "message {HOSTILE}");
                tracing::info!("next");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.contains('\u{1b}') && !text.contains('\r') && !text.contains('\0'), "{text:?}");
        }
        let text = logged(&settings(Format::Pretty, None), || tracing::info!(shown = %HOSTILE, "m"));
        assert!(text.contains(r#"m shown=a\r\nb\u{1b}[31mc\u{0}\u{85}\u{2028}\u{202e}"d"#), "{text}");
    }

    #[test]
    fn json_lines_are_flat_objects() {
        let text =
            logged(&settings(Format::Json, None), || tracing::info!(route = "/api/*", n = 3, "served"));
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["message"], "served");
        assert_eq!(line["route"], "/api/*");
        assert_eq!(line["n"], 3);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn audit_events_pass_a_filter_that_does_not_name_them() {
        let emit = || {
            tracing::info!(target: audit::TARGET, "kept");
            tracing::info!("dropped");
        };
        let text = logged(&settings(Format::Pretty, Some("error")), emit);
        assert!(text.contains("kept") && !text.contains("dropped"), "{text}");
        assert_eq!(logged(&settings(Format::Pretty, Some("error,audit=off")), emit), "");
    }

    #[test]
    fn a_bad_filter_is_an_error_and_a_good_one_is_not() {
        assert!(check_filter("info,bearward::edge=debug").is_ok());
        assert!(check_filter("info,=,=").is_err());
        assert!(matches!(init(&settings(Format::Json, Some("info,=,="))), Err(InitError::Filter(_))));
    }

    #[test]
    fn a_second_start_is_refused_and_does_not_panic() {
        drop(init(&settings(Format::Json, Some("off"))));
        assert!(matches!(init(&settings(Format::Json, Some("off"))), Err(InitError::AlreadySet)));
    }
}
