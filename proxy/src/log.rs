//! Logs: text for people, JSON for machines, always on stderr.

use tracing_subscriber::EnvFilter;
use twinport_config::{Log, LogFormat};

/// Starts logging as the settings say; `RUST_LOG` overrides the level. A second call changes nothing.
pub fn init(log: &Log) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{},rustls=error", log.level)));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    };
    // Somebody else in this process logs already: a test, or an embedding program.
    drop(started);
}
