//! What the programs that serve HTTP have in common beside it.

use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// Logs to stderr, a line for each event, at the level that `RUST_LOG` names (`debug` adds a line for every
/// request); without it, `info`.
pub fn log_to_stderr() {
    let log = tracing_subscriber::fmt().with_max_level(log_level(std::env::var("RUST_LOG").ok()));
    log.with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
}

fn log_level(asked: Option<String>) -> LevelFilter {
    asked.and_then(|word| word.parse().ok()).unwrap_or(LevelFilter::INFO)
}

/// Ends at SIGTERM or SIGINT. Listens from the call on, not from the first poll: a signal in between must
/// not kill.
///
/// # Errors
/// Signals cannot be listened to.
pub fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
