//! What tests want.

use std::collections::BTreeMap;

use ruko_api_types::host::{
    AppToRun, DynoToRun, OneOff, ProcessToRun, ReleaseToRun, SizeToRun, SlugToRun, WebSettings,
};
use ruko_api_types::{AppRef, Stored};

use super::Start;
use crate::dyno::file::Role;

pub(crate) fn size() -> SizeToRun {
    SizeToRun { name: "Basic".into(), memory_bytes: 512 << 20, shares: 10, pids: 256 }
}

/// A release with so many dynos of each type, all of this generation.
pub(crate) fn release(version: u64, types: &[(&str, u32)], generation: u64) -> ReleaseToRun {
    let process = |(kind, count): &(&str, u32)| ProcessToRun {
        process_type: kind.parse().unwrap(),
        command: format!("run {kind}"),
        size: size(),
        dynos: (1..=*count)
            .map(|number| DynoToRun { name: format!("{kind}.{number}").parse().unwrap(), generation })
            .collect(),
    };
    ReleaseToRun {
        id: format!("release-{version}"),
        version,
        created_at: "2026-11-30T12:00:00Z".into(),
        slug: Some(SlugToRun {
            url: "file:///slug".into(),
            stored: Stored { bytes: 1, sha256: "0".repeat(64) },
            commit: None,
        }),
        stack: None,
        config_vars: BTreeMap::new(),
        release_phase: None,
        processes: types.iter().map(process).collect(),
    }
}

pub(crate) fn app(current: Option<ReleaseToRun>, candidate: Option<ReleaseToRun>) -> AppToRun {
    AppToRun {
        app: AppRef { id: "app".into(), name: "shop".parse().unwrap() },
        revision: 1,
        current,
        candidate,
        web: WebSettings::default(),
        asleep: false,
        one_offs: Vec::new(),
    }
}

pub(crate) fn one_off(id: &str, release: ReleaseToRun) -> OneOff {
    OneOff {
        id: id.into(),
        name: "run.1".parse().unwrap(),
        command: "true".into(),
        env: BTreeMap::new(),
        size: size(),
        release,
        attach: None,
        stopped: false,
    }
}

pub(crate) fn start(name: &str) -> Start {
    Start {
        id: "01".into(),
        name: name.parse().unwrap(),
        role: Role::Formation,
        release: release(1, &[("web", 1)], 1),
        generation: 1,
        command: "run".into(),
        size: size(),
        env: BTreeMap::new(),
        attach: false,
        terminal: None,
    }
}
