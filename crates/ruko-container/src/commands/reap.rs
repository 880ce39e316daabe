//! `reap`: destroys what has no owner any more.

use std::io::Write;
use std::time::Duration;

use ruko_core::{Exit, Fault};
use ruko_lxc::cgroup::Layout;

use crate::settings::Settings;
use crate::state;

/// How long all of them together may take to go away.
pub(crate) const TIME: Duration = Duration::from_secs(30);

/// Destroys and prints what was destroyed.
pub(crate) fn reap(settings: &Settings, json: bool) -> Result<Exit, Fault> {
    let state::Reaped { destroyed, failed } = state::reap(settings, &Layout::detect()?, TIME)?;
    let mut out = std::io::stdout().lock();
    if json {
        let _ = writeln!(out, "{}", serde_json::json!({ "destroyed": destroyed }));
    } else {
        for name in destroyed {
            let _ = writeln!(out, "{name}");
        }
    }
    match together(failed.into_iter().map(|(_, fault)| fault)) {
        Some(fault) => Err(fault),
        None => Ok(Exit::Ok),
    }
}

/// Several failures as one. Trying again is the advice only where it may help against all of them.
fn together(faults: impl Iterator<Item = Fault>) -> Option<Fault> {
    faults.reduce(|all, next| Fault {
        exit: if next.exit == Exit::TryAgain { all.exit } else { next.exit },
        message: format!("{}; {}", all.message, next.message),
        hint: all.hint.or(next.hint),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_told_and_one_that_lasts_decides() {
        let faults = || [Fault::try_again("a"), Fault::refused("b").hint("mend b"), Fault::try_again("c")];
        let all = together(faults().into_iter()).unwrap();
        assert_eq!((all.message.as_str(), all.exit), ("a; b; c", Exit::Refused));
        assert_eq!(all.hint.as_deref(), Some("mend b"));
        let passing = together(faults().into_iter().filter(|fault| fault.exit == Exit::TryAgain)).unwrap();
        assert_eq!(passing.exit, Exit::TryAgain);
        assert!(together(std::iter::empty()).is_none());
    }
}
