//! After the commit: how the new release fares, told as it happens, until it serves or has failed.

use ruko_api_types::host::{ReleaseProgress, ReleaseStatus};
use ruko_channel::{Client, ClientError};
use ruko_core::message;

use crate::output::Output;
use crate::refusal::Refusal;

/// Follows a release to its end and says what comes of it.
///
/// # Errors
/// It failed, and what served before goes on: then the app's repository is as it was, too.
pub fn follow(version: u64, web_url: &str, client: &mut Client, output: &mut Output) -> Result<(), Refusal> {
    let mut phase = Phase::default();
    let mut told = 0;
    loop {
        let progress = match client.progress(told) {
            Ok(progress) => progress,
            Err(error) => {
                give_up(version, error, output);
                return Ok(());
            }
        };
        phase.print(&progress.output, output);
        told = progress.output_to;
        if progress.status != ReleaseStatus::Pending {
            phase.end(output);
            return conclude(version, web_url, &progress, output);
        }
    }
}

/// What came of it.
fn conclude(
    version: u64,
    web_url: &str,
    progress: &ReleaseProgress,
    output: &mut Output,
) -> Result<(), Refusal> {
    match progress.status {
        ReleaseStatus::Failed => return Err(failed(version, progress)),
        ReleaseStatus::Expired => {
            output.trouble(format!("v{version} never served: a newer release came before it was up."));
        }
        ReleaseStatus::Pending | ReleaseStatus::Succeeded => serves(version, web_url, progress, output),
    }
    Ok(())
}

/// The release is made, and goes its way without anybody who waits for it.
fn give_up(version: u64, error: ClientError, output: &mut Output) {
    let why = match error {
        ClientError::Refused(why) => why,
        ClientError::Broken(_) | ClientError::Unexpected => "nobody tells how it fares any more".to_owned(),
    };
    output.trouble(format!("v{version} is made and not up yet: {why}."));
    output.trouble("`openruko ps` and `openruko logs` tell how it goes on.");
}

fn serves(version: u64, web_url: &str, progress: &ReleaseProgress, output: &mut Output) {
    output.detail(format!("Released v{version}"));
    for (process_type, dynos) in progress.dynos.iter().filter(|(_, dynos)| dynos.wanted > 0) {
        output.detail(format!("{process_type}: {} of {} up", dynos.up, dynos.wanted));
    }
    output.detail(format!("{web_url} deployed to openruko"));
}

fn failed(version: u64, progress: &ReleaseProgress) -> Refusal {
    let why = progress.reason.as_deref().unwrap_or("the log of the app tells why");
    let rest = match progress.serving {
        Some(serving) => format!("v{serving} keeps serving"),
        None => "nothing serves yet".to_owned(),
    };
    // Whether it booted is a question only for what got so far.
    let what = if why.starts_with("release command") { "was not released" } else { "did not boot" };
    Refusal::new(format!("v{version} {what} ({why}); {rest}."))
}

/// What the release phase prints, in whole lines.
#[derive(Default)]
struct Phase {
    begun: bool,
    rest: String,
}

impl Phase {
    fn print(&mut self, text: &str, output: &mut Output) {
        if text.is_empty() {
            return;
        }
        if !self.begun {
            self.begun = true;
            output.step("Running the release command...");
        }
        self.rest.push_str(text);
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            output.build_line(&message::detail(line.trim_end_matches(['\n', '\r'])));
        }
    }

    /// Its last line may have had no end.
    fn end(&mut self, output: &mut Output) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            output.build_line(&message::detail(&rest));
        }
    }
}
