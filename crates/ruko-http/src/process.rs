//! What the programs that serve HTTP have in common beside it.

use std::panic::PanicHookInfo;

use ruko_core::Vital;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// Logs to stderr, a line for each event, at the level that `RUST_LOG` names (`debug` adds a line for every
/// request); without it, `info`. A panic is an event of the log, too.
pub fn log_to_stderr() {
    let log = tracing_subscriber::fmt().with_max_level(log_level(std::env::var("RUST_LOG").ok()));
    log.with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let cause = panic.payload_as_str().map(ruko_core::exit::one_line).unwrap_or_default();
    tracing::error!(place, cause, "a defect of this program: please report it");
}

fn log_level(asked: Option<String>) -> LevelFilter {
    asked.and_then(|word| word.parse().ok()).unwrap_or(LevelFilter::INFO)
}

/// A task that the server lives by: see [`Vital`].
pub async fn vital<T>(task: impl Future<Output = T>) -> T {
    let _vital = Vital;
    task.await
}

/// Ends at SIGTERM or SIGINT. Listens from the call on, not from the first poll: a signal in between must
/// not kill. Nor does SIGHUP, which tools send after they have replaced a certificate: it is read at the next
/// handshake anyway.
///
/// # Errors
/// Signals cannot be listened to.
pub fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Listened to once, it does nothing more by itself for as long as the program runs.
    drop(signal(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
