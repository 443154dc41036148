//! What the configuration says about logs.

/// How logs are written.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// One JSON object per line, or text for people.
    pub format: Format,
    /// A filter in `tracing_subscriber::EnvFilter` syntax; `info` by default.
    pub filter: Option<String>,
    /// Whether each request leaves an access record.
    pub access: AccessLog,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// Coloured text.
    Pretty,
}

/// Whether each request leaves an access record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// One record per request.
    #[default]
    On,
    /// None; metrics still count.
    Off,
}
