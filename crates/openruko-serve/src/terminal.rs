//! What the app developer reads, on stderr, and how a refusal reaches git.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use ruko_core::exit::one_line;
use ruko_core::{Fault, message};

use crate::request::Service;

/// Prints a line of progress.
pub(crate) fn step(text: impl Display) {
    say(&message::step(text));
}

/// Prints lines of trouble.
pub(crate) fn trouble(text: impl Display) {
    say(&message::trouble(text));
}

/// A line and its end in one write: git prints beside it, and would do so in the middle. The client may be
/// gone: what cannot be written is dropped.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Says to the admin, in the log of the service that `openruko-serve builds` is.
pub(crate) fn say_as_service(line: &str) {
    say(&format!("openruko-serve: {line}"));
}

/// Keeps what is for the admin alone, in the system log.
pub(crate) fn log(cause: &str) {
    let line = one_line(cause);
    let _ = ruko_sys::Tool::new("logger").args(["-t", "openruko-serve", "-p", "auth.err", "--", &line]).run();
}

/// Says in words why it ends so.
pub(crate) fn tell(fault: &Fault) -> ExitCode {
    trouble(&fault.message);
    if let Some(hint) = &fault.hint {
        trouble(hint);
    }
    fault.exit.into()
}

/// Says why nothing was started: to the developer in words, to git in its own protocol, so that it does not
/// add a guess about access rights.
pub(crate) fn refuse(service: Service, fault: &Fault) -> ExitCode {
    let status = tell(fault);
    let _ = io::stdout().lock().write_all(error_packet(service).as_bytes());
    status
}

/// git's error packet (`git help protocol-pack`, "ERR" line). git takes it only in place of its first
/// packet, so it is sent only when the service was never started.
fn error_packet(service: Service) -> String {
    let text = format!("ERR {} was not started", service.name());
    format!("{:04x}{text}", text.len() + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_packet_counts_itself() {
        let packet = error_packet(Service::ReceivePack);
        let length = usize::from_str_radix(&packet[..4], 16).unwrap();
        assert_eq!(length, packet.len());
    }
}
