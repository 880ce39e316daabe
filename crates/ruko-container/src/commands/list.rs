//! `list`: the containers of this configuration.

use std::io::Write;
use std::net::Ipv4Addr;

use ruko_core::names::{ImageName, StackName, TemplateName};
use ruko_core::{Exit, Fault};
use serde::Serialize;

use crate::settings::Settings;
use crate::state::{self, Seen};

/// One container, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// `starting`, `running`, `ending`, or `abandoned`: its owner is gone and `reap` will destroy it.
    state: &'static str,
    /// `login`: a build or a fetch; `dyno`; none where that is not known yet.
    purpose: Option<&'static str>,
    /// What laid it out.
    template: Option<TemplateName>,
    /// The stack image that it has; none: the host's own `/usr`.
    stack: Option<StackName>,
    /// The slug of a dyno.
    image: Option<ImageName>,
    address: Option<Ipv4Addr>,
    slot: Option<u32>,
    age_seconds: Option<u64>,
    owner: Option<i32>,
    owner_alive: bool,
}

impl From<Seen> for Line {
    fn from(seen: Seen) -> Self {
        let record = seen.record.as_ref();
        let state = match (seen.owned, record) {
            (true, _) if seen.ending => "ending",
            (true, Some(_)) => "running",
            (true, None) => "starting",
            (false, _) => "abandoned",
        };
        Self {
            name: seen.name.to_string(),
            state,
            purpose: record.map(|record| if record.image.is_some() { "dyno" } else { "login" }),
            template: record.and_then(|record| record.template.clone()),
            stack: record.and_then(|record| record.stack.clone()),
            image: record.and_then(|record| record.image.clone()),
            address: record.map(|record| record.address),
            slot: record.map(|record| record.slot),
            age_seconds: record.map(|record| state::now().saturating_sub(record.started)),
            owner: record.map(|record| record.owner),
            owner_alive: seen.owned,
        }
    }
}

/// Prints them.
pub(crate) fn list(settings: &Settings, json: bool) -> Result<Exit, Fault> {
    let lines: Vec<Line> = state::all(settings)?.into_iter().map(Line::from).collect();
    let mut out = std::io::stdout().lock();
    if json {
        let _ = writeln!(out, "{}", serde_json::to_string(&lines)?);
        return Ok(Exit::Ok);
    }
    for line in lines {
        let show = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            out,
            "{:40} {:9} {:5} {:15} slot {:3} {:>6} s  owner {:7} {}",
            line.name,
            line.state,
            line.purpose.unwrap_or("-"),
            show(line.address.map(|address| address.to_string())),
            show(line.slot.map(|slot| slot.to_string())),
            show(line.age_seconds.map(|age| age.to_string())),
            show(line.owner.map(|owner| owner.to_string())),
            show(line.stack.map(String::from).or_else(|| line.template.map(String::from))),
        );
    }
    Ok(Exit::Ok)
}
