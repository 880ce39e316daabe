//! What builds print, as lines of the apps' logs: `app[build]`. (On Heroku it is in the output of the build alone.)
//!
//! A build's output comes in pieces that may end anywhere. What begins a line waits for its end, but not for long.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ruko_api_types::log::{LogSource, MAX_TEXT};
use ruko_core::PushId;

use super::line::Said;
use crate::api::Api;
use crate::clock;
use crate::store::pushes::PushRow;

/// The process that lines of builds are said to be of.
const PROCESS: &str = "build";

/// How long the beginning of a line waits for its end.
const WAIT: Duration = Duration::from_secs(1);

/// Builds whose lines can be unfinished at a time.
const BUILDS: usize = 1024;

/// The beginnings of lines.
#[derive(Default)]
pub(crate) struct BuildLines(Mutex<HashMap<PushId, String>>);

impl BuildLines {
    /// The lines that a piece ends; what is left waits. Says whether something does.
    fn ended_by(&self, push: &PushId, piece: &str) -> (String, bool) {
        let mut beginnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = beginnings.remove(push).unwrap_or_default() + piece;
        let ended = text.rfind('\n').map_or(0, |last| last + 1);
        let beginning = text.split_off(ended);
        if beginning.is_empty() {
            return (text, false);
        }
        if beginning.len() > MAX_TEXT || beginnings.len() >= BUILDS {
            return (text + &beginning, false);
        }
        beginnings.insert(push.clone(), beginning);
        (text, true)
    }

    fn beginning(&self, push: &PushId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(push).cloned()
    }
}

/// Puts what a build printed into the log of its app.
pub(crate) async fn tell(api: &Api, push: &PushRow, piece: &str) {
    let (text, waits) = api.build_lines.ended_by(&push.id, piece);
    api.logs.append_all(&push.app_id, said(&text)).await;
    let Some(beginning) = api.build_lines.beginning(&push.id).filter(|_| waits) else { return };
    let (api, push, app_id) = (api.clone(), push.id.clone(), push.app_id.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(WAIT) => {}
            () = api.stopping() => {}
        }
        // Unless it went on meanwhile.
        if api.build_lines.beginning(&push).is_some_and(|now| now == beginning) {
            let (text, _) = api.build_lines.ended_by(&push, "\n");
            api.logs.append_all(&app_id, said(&text)).await;
        }
    });
}

/// Lines without anything are left out.
fn said(text: &str) -> Vec<Said> {
    let lines = text.split('\n').filter(|line| !line.trim().is_empty());
    let now = clock::now_micros();
    lines.flat_map(|line| Said::all(now, LogSource::App, PROCESS, line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_whole_however_they_come() {
        let lines = BuildLines::default();
        let (one, other) = (PushId::generate(), PushId::generate());
        assert_eq!(lines.ended_by(&one, "-----> Bui"), (String::new(), true));
        assert_eq!(lines.ended_by(&other, "x\n"), ("x\n".to_owned(), false));
        assert_eq!(lines.ended_by(&one, "lding\n       a"), ("-----> Building\n".to_owned(), true));
        assert_eq!(lines.beginning(&one).unwrap(), "       a");
        assert_eq!(lines.ended_by(&one, "\n"), ("       a\n".to_owned(), false));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(lines.ended_by(&one, &long), (long, false));
        assert_eq!(
            said("a\r\n\n  b\n").iter().map(|said| said.text.as_str()).collect::<Vec<_>>(),
            ["a", "  b"]
        );
    }
}
