//! How many dynos of each process type are to run, and of what size: what was said of it, and what goes without
//! saying.

use ruko_core::ProcessType;
use sqlx::AnyConnection;

use crate::clock::Millis;
use crate::dyno_size::DynoSize;
use crate::settings::Settings;
use crate::store::Sql;
use crate::store::apps::AppRow;
use crate::store::formation::{self, FormationRow};
use crate::store::releases::{self, PHASE, ProcessTypes};

/// The process type that answers the web.
pub(crate) const WEB: &str = "web";

/// What is to run of a process type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) process_type: ProcessType,
    pub(crate) command: String,
    pub(crate) quantity: u32,
    pub(crate) size: DynoSize,
    pub(crate) created_at: Millis,
    /// When it was last changed.
    pub(crate) updated_at: Millis,
}

/// Of the process types of a release, in the order of their names.
pub(crate) async fn of_release(db: &mut AnyConnection, app: &AppRow, version: u64) -> Sql<Vec<Wanted>> {
    let types = releases::process_types(db, &app.id, version).await?;
    let said = formation::of_app(db, &app.id).await?;
    Ok(merged(types, &said, app.released_at.unwrap_or(app.created_at)))
}

/// What runs of a release, where that is all that it may.
pub(crate) async fn to_run(
    db: &mut AnyConnection,
    settings: &Settings,
    app: &AppRow,
    version: u64,
) -> Sql<Vec<Wanted>> {
    Ok(within(of_release(db, app, version).await?, settings.dynos_per_app))
}

/// At most so many dynos. An app is never scaled beyond them; but process types come back with a release, and what
/// was said about each is known still. What answers the web comes first, then the others by name.
fn within(mut all: Vec<Wanted>, most: u32) -> Vec<Wanted> {
    let mut left = most;
    let (web, others): (Vec<_>, Vec<_>) =
        all.iter_mut().partition(|wanted| wanted.process_type.as_str() == WEB);
    for wanted in web.into_iter().chain(others) {
        wanted.quantity = wanted.quantity.min(left);
        left -= wanted.quantity;
    }
    all
}

/// Of what nothing was said there is one dyno if it answers the web, else none: as Heroku does it. A release phase
/// is no dyno.
pub(crate) fn merged(types: ProcessTypes, said: &[FormationRow], since: Millis) -> Vec<Wanted> {
    let wanted = |(process_type, command): (ProcessType, String)| {
        let said = said.iter().find(|row| row.process_type == process_type);
        let quantity = said.map_or(u32::from(process_type.as_str() == WEB), |row| row.quantity);
        Wanted {
            quantity: if process_type.as_str() == PHASE { 0 } else { quantity },
            size: said.map_or(DynoSize::USUAL, |row| row.size),
            created_at: said.map_or(since, |row| row.created_at),
            updated_at: said.map_or(since, |row| row.updated_at),
            process_type,
            command,
        }
    };
    types.into_iter().map(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: &[&str]) -> ProcessTypes {
        names.iter().map(|name| (name.parse().unwrap(), format!("run {name}"))).collect()
    }

    fn said(name: &str, quantity: u32, size: DynoSize) -> FormationRow {
        FormationRow { process_type: name.parse().unwrap(), quantity, size, created_at: 5, updated_at: 6 }
    }

    #[test]
    fn one_web_dyno_runs_until_somebody_says_otherwise() {
        let all = merged(types(&["web", "worker"]), &[], 1);
        let told: Vec<_> = all.iter().map(|w| (w.process_type.as_str(), w.quantity, w.size)).collect();
        assert_eq!(told, [("web", 1, DynoSize::Basic), ("worker", 0, DynoSize::Basic)]);

        let rows = [said("web", 0, DynoSize::Standard2X), said("gone", 3, DynoSize::Eco)];
        let all = merged(types(&["web"]), &rows, 1);
        assert_eq!(all.len(), 1, "a process type that the release does not have is not there");
        assert_eq!((all[0].quantity, all[0].size, all[0].created_at), (0, DynoSize::Standard2X, 5));
    }

    #[test]
    fn process_types_that_come_back_share_what_an_app_may_have() {
        let rows = ["a", "web", "z"].map(|name| said(name, 60, DynoSize::Eco));
        let all = within(merged(types(&["a", "web", "z"]), &rows, 1), 100);
        let told: Vec<_> = all.iter().map(|w| (w.process_type.as_str(), w.quantity)).collect();
        assert_eq!(told, [("a", 40), ("web", 60), ("z", 0)]);
    }

    #[test]
    fn a_release_phase_is_no_dyno_whatever_was_said_before_there_was_one() {
        let all = merged(types(&["release"]), &[said("release", 3, DynoSize::Eco)], 1);
        assert_eq!((all.len(), all[0].quantity), (1, 0));
    }
}
