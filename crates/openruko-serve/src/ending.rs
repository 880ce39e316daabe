//! How a run ends: what the developer is told, what the admin is told, and the exit status.

use std::process::{ExitCode, ExitStatus};

use ruko_api_client::ApiClientError;
use ruko_core::exit::chain;
use ruko_core::{AppName, Exit, Fault};

use crate::session::{self, Cut};
use crate::terminal;

/// An app that is not there and one that is somebody else's read the same.
pub(crate) fn denied(app: &AppName) -> Fault {
    Fault::refused(format!("There is no app {app} here that you may use."))
        .hint("Check the name, and ask its owner for access.")
}

/// Nothing is ever allowed because nobody could be asked.
pub(crate) fn api_down(why: &ApiClientError) -> Fault {
    terminal::log(&chain(why));
    Fault::try_again("The server cannot be asked at the moment; nothing was changed.")
        .hint("Try again in a minute.")
}

/// The reason goes to the admin.
pub(crate) fn not_begun(why: Fault) -> Fault {
    terminal::log(&why.message);
    session::not_started()
}

/// How a session ends that git had begun to speak in: what is left to do when its lease and its slot are free. A client
/// may take its time to read.
#[must_use]
pub(crate) struct Ending {
    /// What the developer is told.
    words: Vec<String>,
    status: ExitCode,
}

impl Ending {
    /// Something ended it. What is for the admin is in the log then.
    pub(crate) fn cut(cut: &Cut) -> Self {
        let status = match cut {
            Cut::ClientGone => Exit::Refused,
            Cut::Because { fault, detail } => {
                detail.iter().for_each(|detail| terminal::log(detail));
                fault.exit
            }
        };
        Self { words: cut.words().into_iter().collect(), status: status.into() }
    }

    /// git ended, and said why.
    pub(crate) fn git(status: ExitStatus) -> Self {
        Self { words: Vec::new(), status: passed_on(status) }
    }

    /// With these words of ours as well.
    pub(crate) fn saying(mut self, words: impl Into<String>) -> Self {
        self.words.push(words.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Tells it.
    pub(crate) fn tell(self) -> ExitCode {
        self.words.iter().for_each(terminal::trouble);
        self.status
    }
}

/// How a session ends in which git was never started.
pub(crate) fn not_started(cut: Cut) -> Result<ExitCode, Fault> {
    match cut {
        Cut::ClientGone => Ok(Exit::Refused.into()),
        Cut::Because { fault, detail } => {
            detail.iter().for_each(|detail| terminal::log(detail));
            Err(fault)
        }
    }
}

/// The status of ssh, which is that of git in the container.
pub(crate) fn passed_on(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(Exit::Refused.into(), ExitCode::from)
}
