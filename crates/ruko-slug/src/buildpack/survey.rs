//! Which of the buildpacks that ship take an app.

use std::path::Path;

use super::fetch::{Shipped, Source};
use super::{Buildpack, Detected, ScriptError};
use crate::env::Environment;
use ruko_sys::PathError;

/// What the buildpacks that ship said of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Those that take it, in their order, with what they call it.
    pub takers: Vec<(Shipped, String)>,
    /// The names of the others, and what each of them looks for.
    pub others: Vec<(String, String)>,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// They cannot be listed.
    #[error("cannot list the buildpacks that ship")]
    List(#[source] PathError),
    /// A script of theirs cannot be run.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl Survey {
    /// Asks all of them, beside each other.
    ///
    /// # Errors
    /// They cannot be listed or run.
    pub fn of(source: &Source<'_>, app: &Path, env: &Environment) -> Result<Self, SurveyError> {
        let shipped = source.shipped().map_err(SurveyError::List)?;
        let buildpacks: Vec<_> =
            shipped.iter().map(|shipped| Buildpack::new(source.path(&shipped.name))).collect();
        let mut survey = Self::default();
        for (shipped, detected) in shipped.into_iter().zip(Buildpack::detect_all(&buildpacks, app, env)?) {
            match detected {
                Detected::Yes(called) => survey.takers.push((shipped, called)),
                Detected::No(why) => {
                    let first = why.lines().map(str::trim).find(|line| !line.is_empty());
                    survey.others.push((shipped.name, first.unwrap_or("?").to_owned()));
                }
            }
        }
        Ok(survey)
    }

    /// The names of those that take the app, where there are several and so somebody has to be told which one it is.
    pub fn rivals(&self) -> Vec<&str> {
        let takers: Vec<&str> = self
            .takers
            .iter()
            .filter(|(shipped, _)| !shipped.last_resort)
            .map(|(shipped, _)| shipped.name.as_str())
            .collect();
        if takers.len() > 1 { takers } else { vec![] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taker(name: &str, last_resort: bool) -> (Shipped, String) {
        (Shipped { name: name.into(), last_resort }, name.into())
    }

    #[test]
    fn what_takes_only_what_no_other_does_is_nobodys_rival() {
        let survey = |takers: Vec<_>| Survey { takers, others: vec![] };
        assert!(survey(vec![taker("a", false), taker("p", true)]).rivals().is_empty());
        assert_eq!(survey(vec![taker("a", false), taker("b", false), taker("p", true)]).rivals(), ["a", "b"]);
        assert!(survey(vec![taker("p", true)]).rivals().is_empty());
    }
}
