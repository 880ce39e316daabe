//! What the platform says in the log of an app, in Heroku's words
//! (<https://devcenter.heroku.com/articles/error-codes>, <https://devcenter.heroku.com/articles/log-runtime-metrics>).

/// SIGTERM was sent.
pub(crate) const STOPPING: &str = "Stopping all processes with SIGTERM";

/// SIGKILL was sent.
pub(crate) const KILLING: &str = "Stopping process with SIGKILL";

/// Memory is short.
pub(crate) const OVER_QUOTA: &str = "Error R14 (Memory quota exceeded)";

/// Nobody asks for the app.
pub(crate) const IDLING: &str = "Idling";

/// Somebody asks for it again.
pub(crate) const UNIDLING: &str = "Unidling";

pub(crate) fn starting(command: &str) -> String {
    format!("Starting process with command `{command}`")
}

pub(crate) fn changed(from: &str, to: &str) -> String {
    format!("State changed from {from} to {to}")
}

pub(crate) fn exited(status: u8) -> String {
    format!("Process exited with status {status}")
}

pub(crate) fn failed(why: &str) -> String {
    format!("Process ended: {why}")
}

pub(crate) fn not_started(why: &str) -> String {
    format!("Process could not be started: {why}")
}

/// `Process running mem=512M(100.0%)`.
pub(crate) fn memory(bytes: u64, quota: u64) -> String {
    let mega = (bytes + (1 << 19)) >> 20;
    let permille = bytes.saturating_mul(1000) / quota.max(1);
    format!("Process running mem={mega}M({}.{}%)", permille / 10, permille % 10)
}

/// The kernel had to kill something.
pub(crate) fn killed_for_memory(quota: u64) -> impl Iterator<Item = String> {
    let quota = ruko_core::message::bytes(quota);
    [
        "Error R15 (Memory quota vastly exceeded)".to_owned(),
        format!("The kernel killed a process that wanted more memory than the {quota} of the dyno"),
    ]
    .into_iter()
}

/// It did not end by itself.
pub(crate) fn had_to_be_killed(seconds: u64) -> Vec<String> {
    let late = format!(
        "Error R12 (Exit timeout) -> At least one process failed to exit within {seconds} seconds of SIGTERM"
    );
    if seconds == 0 { vec![KILLING.to_owned()] } else { vec![late, KILLING.to_owned()] }
}

pub(crate) fn boot_timeout(seconds: u64) -> String {
    format!(
        "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within {seconds} seconds of launch"
    )
}

pub(crate) fn no_answer(path: &str, seconds: u64, last: &str) -> String {
    format!(
        "Error R10 (Boot timeout) -> Web process did not answer `{path}` with a status from 200 to 399 within \
         {seconds} seconds of launch (last: {last})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_megabytes_and_percent() {
        assert_eq!(memory(512 << 20, 512 << 20), "Process running mem=512M(100.0%)");
        assert_eq!(memory(487 << 20, 512 << 20), "Process running mem=487M(95.1%)");
    }

    #[test]
    fn who_had_to_be_killed_had_its_time_unless_it_had_none() {
        assert_eq!(had_to_be_killed(0), [KILLING]);
        assert!(
            had_to_be_killed(30)[0].contains("R12 (Exit timeout)") && had_to_be_killed(30)[0].contains("30")
        );
    }
}
